//! `snooze insight risk`: how likely a machine is interrupted within the next hours. The daemon asks this too.
//!
//! Inputs: a history, or a file of lives; which machine. Outputs: a probability with its interval and reasons; as JSON in the form that
//! the daemon reads (`supervise::foresight`). Must never refuse for lack of data: the published figure is an answer, and is named as one.

use super::finding::{hours, moment, percent};
use super::kept::{Basis, Known, Question};
use super::source::{Opened, Source, above_zero};
use crate::cli::fault::{Exit, Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{plain, section};
use crate::cli::session::Session;
use crate::history::archive::views::{Filter, Table};
use crate::history::archive::{Archive, Cell};
use crate::history::life::{ON_DEMAND, RUNNING};
use crate::sys::{clock, sched};
use cloudsnooze_insight::data::lives::pool_of;
use cloudsnooze_insight::models::snooze::Snooze;
use cloudsnooze_insight::models::{Ask, Model, Risk};
use cloudsnooze_insight::{Level, Pool};
use serde::{Deserialize, Serialize};

const EXAMPLES: &str = "\
Examples:
  snooze insight risk
  snooze insight risk --hours 6 --json | jq .probability
  snooze insight risk --zone us-east-1a --instance-type m5.large --age-hours 12
  snooze insight risk --store fleet.sqlite --instance i-0123456789abcdef0";

/// A machine that the daemon has not seen for so long may be gone, hours; it notes every ten minutes that it is there.
const STALE_H: f64 = 1.0;
/// Most running machines that are looked through.
const RUNNING_MAX: u32 = 100_000;

/// Say how likely a machine is interrupted within the next hours: this one, or one of a pool.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How far to look ahead, hours.
    #[arg(long, value_name = "HOURS", default_value_t = 1.0, value_parser = above_zero)]
    hours: f64,

    /// Which machine of the history [default: the one that runs and was seen last]
    #[arg(long, value_name = "INSTANCE_ID", conflicts_with_all = ["zone", "instance_type"])]
    instance: Option<String>,

    /// Ask about a machine in this zone, not one of the history.
    #[arg(long, value_name = "NAME", requires = "instance_type")]
    zone: Option<String>,

    /// Its type.
    #[arg(long, value_name = "NAME", requires = "zone")]
    instance_type: Option<String>,

    /// Its provider [default: by the form of the zone's name]
    #[arg(long, value_name = "NAME", requires = "zone")]
    provider: Option<String>,

    /// Its region [default: by the form of the zone's name]
    #[arg(long, value_name = "NAME", requires = "zone")]
    region: Option<String>,

    /// How long it has lived, hours.
    #[arg(long, value_name = "HOURS", default_value_t = 0.0, value_parser = not_below_zero, requires = "zone")]
    age_hours: f64,

    /// Use only CPU time that nobody else wants, and give up the protection that a daemon passes on for when memory is short.
    #[arg(long)]
    in_background: bool,
}

fn not_below_zero(text: &str) -> Result<f64, String> {
    let bad = || format!("'{text}' is no age: expected a number of hours, 0 or above");
    text.parse::<f64>().ok().filter(|hours| hours.is_finite() && *hours >= 0.0).ok_or_else(bad)
}

/// Longest life of a process in the background, seconds: on a machine that has no time for it.
const BACKGROUND_MAX_S: u32 = 600;

/// The machine that is asked about.
#[derive(Clone, Debug, Default)]
struct Asked {
    instance_id: String,
    pool: Pool,
    age_h: f64,
    is_on_demand: bool,
    /// What is to be said of it.
    remarks: Vec<String>,
}

/// The model, and what it was fitted to.
#[derive(Debug, Serialize, Deserialize)]
struct Fitted {
    model: Snooze,
    data: Vec<String>,
}

impl Known<Fitted> {
    /// What the model was fitted to, and when.
    fn said(&self) -> Vec<String> {
        let kept = if self.was_kept { ", and kept" } else { "" };
        let when = |basis: &Basis| format!("The model was fitted at {}{kept}.", moment(basis.at_s));
        self.answer.data.iter().cloned().chain(self.basis.as_ref().map(when)).collect()
    }
}

/// The answer, in the form that the daemon reads.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    probability: f64,
    low: f64,
    high: f64,
    horizon_hours: f64,
    age_hours: f64,
    model: String,
    /// The closest level at which enough was seen, or `published`.
    level: &'static str,
    reasons: Vec<String>,
    data: Vec<String>,
    provider: String,
    machine: Named,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    #[serde(rename = "instanceID")]
    instance_id: String,
    instance_type: String,
    zone: String,
    region: String,
}

/// Runs the command.
///
/// # Errors
/// There is no machine to ask about, or no such source.
pub fn run(args: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    if args.in_background {
        sched::stand_back();
        // Who asked in the background waits for as long as this lives (alarm(2): SIGALRM ends the process).
        nix::unistd::alarm::set(BACKGROUND_MAX_S);
    }
    let now_s = clock::wall_ns() as f64 / 1e9;
    let mut opened = source.open(session)?;
    let asked = match (args.named(), &mut opened) {
        (Some(asked), _) => asked,
        (None, Opened::History(archive, _)) => running(archive, args, now_s)?,
        (None, Opened::Lives(_)) => {
            let text = "a file of lives has no machine that runs: name --zone and --instance-type";
            return Err(Fault::Usage(text.to_owned()));
        }
    };
    let model = source.answer_of(&mut opened, &Question::usual("model"), session, |opened, session| {
        let seen = opened.lives(session)?;
        Ok(Fitted { model: Snooze::fit(&seen.lives)?, data: seen.data })
    })?;
    let ask = Ask { pool: &asked.pool, age_h: asked.age_h, within_h: args.hours, now_s: Some(now_s) };
    let answer = answer(&asked, args.hours, &model.answer.model.risk(&ask), model.said());
    if session.global.json {
        session.print_json(&answer)?;
    } else {
        let text = screen(&answer, session);
        session.print(&text)?;
    }
    Ok(Exit::Ok)
}

impl Args {
    /// The machine that the options describe, if they do.
    fn named(&self) -> Option<Asked> {
        let (zone, kind) = (self.zone.as_deref()?, self.instance_type.as_deref()?);
        let mut pool = pool_of(zone, kind);
        pool.provider = self.provider.clone().unwrap_or(pool.provider);
        pool.region = self.region.clone().unwrap_or(pool.region);
        Some(Asked { pool, age_h: self.age_hours, ..Asked::default() })
    }
}

/// The machine of the history that runs: the one that is named, else that which was seen last.
fn running(archive: &mut Archive, args: &Args, now_s: f64) -> Result<Asked, Fault> {
    let (instance, outcome) = (args.instance.clone(), Some(RUNNING.to_owned()));
    let table = archive.lives(&Filter { instance, outcome, limit: RUNNING_MAX, ..Filter::default() })?;
    let seen_ns = |row: &[Cell]| cell(&table, row, "last_seen").and_then(Cell::as_int).unwrap_or_default();
    let Some(row) = table.rows.iter().max_by_key(|row| seen_ns(row)) else {
        let which = args.instance.as_ref().map_or_else(|| "no machine".to_owned(), |id| format!("no machine {id}"));
        return Err(Fault::Missing(format!(
            "{which} runs in {}: the daemon notes the one that it is on within a minute where the provider says its id; or ask with \
             --zone and --instance-type",
            archive.place()
        )));
    };
    let text = |name: &str| cell(&table, row, name).and_then(Cell::as_text).unwrap_or_default().to_owned();
    let launched_s = cell(&table, row, "launched").and_then(Cell::as_int).unwrap_or_default() as f64 / 1e9;
    let pool = Pool {
        provider: text("provider"),
        region: text("region"),
        zone: text("zone"),
        instance_type: text("instance_type"),
    };
    let mut remarks = Vec::new();
    if launched_s > now_s {
        remarks.push("By the clock it has not begun yet: it is taken for new.".to_owned());
    }
    let unseen_h = (now_s - seen_ns(row) as f64 / 1e9) / 3_600.0;
    if unseen_h > STALE_H {
        remarks.push(format!("It was last seen {} ago: it may be gone.", hours(unseen_h)));
    }
    if table.rows.len() > 1 {
        remarks.push(format!("{} other machines run in this history: --instance names one.", table.rows.len() - 1));
    }
    let age_h = ((now_s - launched_s) / 3_600.0).max(0.0);
    Ok(Asked { instance_id: text("instance_id"), pool, age_h, is_on_demand: text("market") == ON_DEMAND, remarks })
}

fn cell<'t>(table: &Table, row: &'t [Cell], name: &str) -> Option<&'t Cell> {
    row.get(table.columns.iter().position(|column| column.name == name)?)
}

fn answer(asked: &Asked, horizon_hours: f64, risk: &Risk, data: Vec<String>) -> Answer {
    let Pool { provider, region, zone, instance_type } = asked.pool.clone();
    let mut reasons = vec![format!("It is {} old.", hours(asked.age_h))];
    let (mut probability, mut low, mut high, mut model) =
        (risk.probability, risk.low, risk.high, risk.reasons.model.clone());
    let level = if asked.is_on_demand {
        (probability, low, high, model) = (0.0, 0.0, 0.0, "none".to_owned());
        reasons.push("It runs at the full price: nobody takes such a machine back.".to_owned());
        "on-demand"
    } else {
        reasons.push(format!("{}.", risk.reasons.basis));
        let few = |prior: &String| format!("With so little history the published figure counts: {prior}.");
        reasons.extend(risk.reasons.prior.as_ref().map(few));
        risk.reasons.basis.level.filter(|_| risk.reasons.prior.is_none()).map_or("published", level_name)
    };
    reasons.extend(asked.remarks.iter().cloned());
    Answer {
        probability,
        low,
        high,
        horizon_hours,
        age_hours: asked.age_h,
        model,
        level,
        reasons,
        data,
        provider,
        machine: Named { instance_id: asked.instance_id.clone(), instance_type, zone, region },
    }
}

/// A level as it is written.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Pool => "pool",
        Level::FamilyInRegion => "family_in_region",
        Level::Family => "family",
        Level::Provider => "provider",
        Level::Everything => "everything",
    }
}

fn screen(answer: &Answer, session: &Session<'_>) -> String {
    let Named { instance_id, instance_type, zone, .. } = &answer.machine;
    let who = if instance_id.is_empty() { "a machine" } else { instance_id.as_str() };
    let sentence = format!(
        "{}: {who} ({instance_type} in {zone}) is interrupted within {}.",
        percent(answer.probability),
        hours(answer.horizon_hours)
    );
    let sure =
        [format!("95 %: {} to {}.", percent(answer.low), percent(answer.high)), format!("Model: {}.", answer.model)];
    let mut text = format!("{}\n", session.paint.text(Tone::Strong, &plain(&sentence)));
    text += &section(session, "WHY", &answer.reasons);
    text += &section(session, "HOW SURE", &sure);
    text + &section(session, "DATA", &answer.data)
}
