//! `snooze advise schedule`: when to start and where to run a job with a deadline.
//!
//! Inputs: traces of availability until now, a job, prices; lives where a running machine may be used again. Outputs: what to do now,
//! and what that is expected to cost. Must never advise what misses a deadline that can be kept.

use super::answer::{Answer, hours, percent, show};
use super::inputs::{Files, Inputs, Priced};
use crate::cli::fault::{Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use crate::cli::simulate_policy::JobArgs;
use cloudsnooze_insight::economy::checkpoint::programme::{Task, programme};
use cloudsnooze_insight::economy::checkpoint::replay::Lives;
use cloudsnooze_insight::economy::policy::{Job, Kind, Machine, Observation, Offer, Setting};
use cloudsnooze_insight::economy::simulate::{self, Summary};
use cloudsnooze_insight::economy::survival;
use cloudsnooze_insight::{Life, Scarce};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  snooze advise schedule --traces a.json b.json --work-hours 48 --deadline-hours 60
  snooze advise schedule --traces a --work-hours 6 --deadline-hours 9 --lives l.csv --age-hours 5

Traces end now: their last tick is what there is to be had. With several, the job may run in any of them.";

/// Runs over the past of each policy.
const RUNS: usize = 120;
/// Steps that work on one machine is looked at in.
const STEPS: usize = 120;
/// Policies that are compared.
const KINDS: [Kind; 4] = [Kind::OnDemand, Kind::Greedy, Kind::UniformProgress, Kind::Advised];

/// Say when to start, where, and on what, so that a job is over in time for the least money.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    files: Files,

    #[command(flatten)]
    job: JobArgs,

    #[command(flatten)]
    priced: Priced,

    /// Age of a spot machine that runs already and could be used; with --lives.
    #[arg(long, value_name = "HOURS", requires = "lives")]
    age_hours: Option<f64>,
}

#[derive(Serialize)]
struct Figures {
    now: Machine,
    zone: Option<String>,
    zones: Vec<Zone>,
    policies: Vec<Row>,
    reuse: Option<Reuse>,
}

#[derive(Serialize)]
struct Zone {
    name: String,
    is_available: bool,
    available_share: f64,
    available_share_last_week: f64,
}

#[derive(Serialize)]
struct Row {
    policy: &'static str,
    #[serde(flatten)]
    summary: Summary,
}

/// Whether a machine that runs is better than a new one.
#[derive(Serialize)]
struct Reuse {
    age_hours: f64,
    expected_hours_reused: f64,
    expected_hours_new: f64,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, no traces, or traces shorter than the deadline.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let (job, market) = (args.job.job()?, args.priced.market()?);
    let inputs = args.files.read()?;
    if inputs.traces.is_empty() {
        return Err(Fault::Usage("where there was capacity is not known: name --traces FILE (one a zone)".to_owned()));
    }
    let setting = Setting { job, market, zones: &inputs.traces };
    let starts = simulate::spread_starts(&setting, 0, RUNS);
    let block = (job.deadline_h / setting.tick_h()).ceil() as usize;
    let mut policies = Vec::new();
    for kind in KINDS {
        session.progress(kind.name());
        let runs = simulate::runs(&setting, &starts, kind)?;
        let summary = simulate::summary(&runs, simulate::on_demand_usd(&setting), block)?;
        policies.push(Row { policy: kind.name(), summary });
    }
    session.progress("");
    let now = now(&setting);
    let zone = match now {
        Machine::Spot(zone) => inputs.traces.get(zone).map(|trace| trace.name.clone()),
        Machine::None | Machine::OnDemand => None,
    };
    let reuse = args.age_hours.map(|age_h| reuse(age_h, &job, &inputs)).transpose()?;
    let figures = Figures { now, zone, zones: zones(&setting), policies, reuse };
    let answer = Answer {
        answer: words(&figures),
        reasons: reasons(&figures, &setting),
        uncertainty: uncertainty(&figures, &setting),
        data: inputs.sources.clone(),
        figures,
    };
    let text = screen(&answer.figures, session);
    show(&answer, &text, session)
}

/// What the advised policy does with a job that starts as the traces end.
fn now(setting: &Setting<'_>) -> Machine {
    let last = setting.ticks().saturating_sub(1);
    let offers: Vec<Offer> = setting.zones.iter().map(|zone| setting.offer(zone, last)).collect();
    let seen = Observation {
        elapsed_h: 0.0,
        time_left_h: setting.job.deadline_h,
        work_left_h: setting.job.work_h,
        machine: Machine::None,
        offers: &offers,
    };
    let mut policy = Kind::Advised.policy();
    policy.begin(setting, last);
    policy.decide(setting, &seen)
}

fn zones(setting: &Setting<'_>) -> Vec<Zone> {
    let week = (168.0 / setting.tick_h()) as usize;
    let zones = setting.zones.iter().map(|trace| {
        let last = trace.available.len().saturating_sub(week);
        let recent = trace.available.get(last..).unwrap_or_default();
        let up = recent.iter().filter(|is_up| **is_up).count();
        Zone {
            name: trace.name.clone(),
            is_available: trace.available.last().copied().unwrap_or(false),
            available_share: trace.share_available(usize::MAX).unwrap_or(0.0),
            available_share_last_week: up as f64 / recent.len().max(1) as f64,
        }
    });
    let mut zones: Vec<Zone> = zones.collect();
    zones.sort_by(|one, other| other.available_share.total_cmp(&one.available_share));
    zones
}

/// How long the work takes on a machine of an age and on a new one, if nothing is saved on the way.
fn reuse(age_hours: f64, job: &Job, inputs: &Inputs) -> Result<Reuse, Fault> {
    if !(age_hours.is_finite() && age_hours >= 0.0) {
        return Err(Fault::Usage("--age-hours is a number of hours, zero or above".to_owned()));
    }
    let lives: Vec<Life> = inputs.lives.iter().map(|paid| paid.life.clone()).collect();
    let lives = Lives::new(&survival::curve(&lives)?)?;
    let save_h = if job.checkpoint_h > 0.0 { 0.0 } else { job.work_h };
    let expected = |age_h: f64| {
        let task = Task { work_h: job.work_h, save_h, restart_h: job.changeover_h, age_h };
        // A save as long as the work is never worth it: the work is done in one go.
        let steps = if job.checkpoint_h > 0.0 { STEPS } else { 1 };
        programme(&task, steps, |age_h| lives.survival(age_h)).map(|found| found.expected_h)
    };
    if lives.survival(age_hours) <= 0.0 {
        return Err(
            Scarce(format!("no machine was seen to live {age_hours} h: nothing is known of one that old")).into()
        );
    }
    Ok(Reuse {
        age_hours,
        expected_hours_reused: expected(age_hours)?,
        expected_hours_new: job.changeover_h + expected(0.0)?,
    })
}

fn words(figures: &Figures) -> String {
    let mut words = match (figures.now, &figures.zone) {
        (Machine::Spot(_), Some(zone)) => format!("Start now, on spot capacity in {}.", plain(zone)),
        (Machine::OnDemand, _) => "Start now, on demand, and go over to spot capacity when there is some.".to_owned(),
        _ => "Wait: there is no spot capacity now, and time enough to wait for some.".to_owned(),
    };
    if let Some(reuse) = &figures.reuse {
        let is_better = reuse.expected_hours_reused < reuse.expected_hours_new;
        words += if is_better {
            " Use the machine that runs."
        } else {
            " Start a new machine: the one that runs is not worth it."
        };
    }
    words
}

fn reasons(figures: &Figures, setting: &Setting<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    let of = |kind: Kind| figures.policies.iter().find(|row| row.policy == kind.name());
    if let (Some(advised), Some(uniform)) = (of(Kind::Advised), of(Kind::UniformProgress)) {
        reasons.push(format!(
            "Over the past, this policy would have saved {} of the cost on demand ({} with Uniform Progress), and missed {} of \
             {} deadlines.",
            percent(advised.summary.saved),
            percent(uniform.summary.saved),
            advised.summary.late,
            advised.summary.runs
        ));
    }
    reasons.push(format!(
        "It runs on spot capacity while there is some, and on demand as soon as that is expected to be cheaper than to wait, at the latest \
         when only {} are left beyond the work.",
        hours(setting.reserve_h())
    ));
    if let Some(best) = figures.zones.first().filter(|_| figures.zones.len() > 1) {
        reasons.push(format!(
            "The right zone is worth most, several zones come next, then the policy: {} had capacity in {} of the time.",
            plain(&best.name),
            percent(best.available_share)
        ));
    }
    if let Some(reuse) = &figures.reuse {
        reasons.push(format!(
            "A machine {} old is expected to need {} for the work, a new one {} with its start.",
            hours(reuse.age_hours),
            hours(reuse.expected_hours_reused),
            hours(reuse.expected_hours_new)
        ));
    }
    reasons
}

fn uncertainty(figures: &Figures, setting: &Setting<'_>) -> Vec<String> {
    let advised = figures.policies.iter().find(|row| row.policy == Kind::Advised.name());
    let range = advised.map_or_else(String::new, |row| {
        format!("Nine of ten such runs cost {:.2} to {:.2} USD. ", row.summary.cost_p5_usd, row.summary.cost_p95_usd)
    });
    let days = setting.ticks() as f64 * setting.tick_h() / 24.0;
    let independent = (days * 24.0 / setting.job.deadline_h).floor().max(1.0);
    vec![
        format!("{range}The past is {days:.0} days, room for {independent:.0} runs that share no hour: capacity may be \
         different from now on."),
        "The deadline is kept whatever the capacity does, as long as machines on demand are to be had and the changeover takes \
         no longer than said."
            .to_owned(),
    ]
}

fn screen(figures: &Figures, session: &Session<'_>) -> String {
    let mut policies = table(
        session.paint,
        session.width,
        &["POLICY", "COST USD", "9 OF 10 RUNS", "SAVED", "LATE", "MAKESPAN"],
        &[1, 2, 3, 4, 5],
    );
    for row in &figures.policies {
        let s = &row.summary;
        let cells = [
            row.policy.to_owned(),
            format!("{:.2} ±{:.2}", s.cost_usd, 1.96 * s.cost_error_usd),
            format!("{:.2}-{:.2}", s.cost_p5_usd, s.cost_p95_usd),
            percent(s.saved),
            s.late.to_string(),
            format!("{:.1} h", s.makespan_h),
        ];
        policies.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    let mut zones = table(session.paint, session.width, &["ZONE", "NOW", "CAPACITY", "LAST WEEK"], &[2, 3]);
    for zone in &figures.zones {
        let now = if zone.is_available { "there is some" } else { "none" };
        let cells =
            [plain(&zone.name), now.to_owned(), percent(zone.available_share), percent(zone.available_share_last_week)];
        zones.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    format!("{}\n{}", lines(&policies), lines(&zones))
}
