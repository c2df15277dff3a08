//! `snooze advise checkpoint`: how often to save, and whether a notice is enough.
//!
//! Inputs: measured saves, the time of the notice, lives or a mean time between interruptions. Outputs: an interval and what it costs.
//! Must never advise to rely on a notice that the measured saves do not fit.

use super::answer::{Answer, hours, percent, show};
use super::inputs::Files;
use crate::cli::duration;
use crate::cli::fault::{Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{lines, table};
use crate::cli::session::Session;
use cloudsnooze_insight::economy::checkpoint::interval::{at_age, between_h, daly};
use cloudsnooze_insight::economy::checkpoint::notice::{self, Decision, Saving};
use cloudsnooze_insight::economy::checkpoint::programme::{self, Programme, programme};
use cloudsnooze_insight::economy::checkpoint::replay::{self, Lives, Overhead, Way};
use cloudsnooze_insight::economy::survival;
use cloudsnooze_insight::{Life, Scarce};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  snooze advise checkpoint --save 60s --between 32h --notice 120s
  snooze advise checkpoint --lives lives.csv --save 55s --save 61s --save 70s --notice 30s
  snooze advise checkpoint --lives lives.csv --save 60s --wall-hours 24 --age-hours 6

--save is what was measured, once for each save that was seen (`snooze report` has the times of the plugins that save). With lives, \
the hazard goes by age, and every way of saving is replayed on machines that live as they did.";

/// Jobs that each way of saving is replayed with.
const RUNS: u32 = 4_000;
/// Steps that a job is planned in.
const STEPS: usize = 120;
/// A wall is no interruption: what is said of young machines ends so long before it, hours.
const BEFORE_WALL_H: f64 = 1.0;

/// Say how often to save, and whether to save at the notice, on the clock, or both.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    files: Files,

    /// How long a save took; give every one that was measured.
    #[arg(long, value_name = "DURATION", required = true, value_parser = duration::parse)]
    save: Vec<f64>,

    /// How long before its end a machine is told (AWS 120s, Azure and GCP 30s).
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = duration::parse)]
    notice: f64,

    /// From an interruption until the work goes on.
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = duration::parse)]
    restart: f64,

    /// Mean time between interruptions, where there are no lives: hours that machines ran over interruptions.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    between: Option<f64>,

    /// How long the job is.
    #[arg(long, value_name = "HOURS", default_value_t = 10.0)]
    work_hours: f64,

    /// Age of the machine that the job starts on.
    #[arg(long, value_name = "HOURS", default_value_t = 0.0)]
    age_hours: f64,

    /// Age at which every machine ends (GCP preemptible VMs: 24) [default: none does]
    #[arg(long, value_name = "HOURS")]
    wall_hours: Option<f64>,

    /// Seed of the replay.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

#[derive(Serialize)]
struct Figures {
    notice: Decision,
    between_hours: f64,
    interval_hours: f64,
    by_age: Vec<ByAge>,
    programme: Option<Programme>,
    replayed: Vec<Replayed>,
}

#[derive(Serialize)]
struct ByAge {
    age_hours: f64,
    interval_hours: Option<f64>,
}

#[derive(Serialize)]
struct Replayed {
    way: String,
    #[serde(flatten)]
    overhead: Overhead,
}

/// What is known of lives.
struct Known {
    between_h: f64,
    hazard: Vec<(f64, f64)>,
    lives: Option<Lives>,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, too few interruptions, or times that are none.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let inputs = args.files.read()?;
    let is_time = |hours: f64| hours.is_finite() && hours >= 0.0;
    if !is_time(args.work_hours)
        || !is_time(args.age_hours)
        || !args.wall_hours.is_none_or(is_time)
        || args.work_hours == 0.0
    {
        return Err(Fault::Usage(
            "hours of work, age and wall are numbers, zero or above, and work is above zero".to_owned(),
        ));
    }
    let lives: Vec<Life> = inputs.lives.iter().map(|paid| paid.life.clone()).collect();
    let known = known(&lives, args)?;
    let longest_h = args.save.iter().copied().fold(0.0, f64::max) / 3600.0;
    let decision = notice::decide(&args.save, args.notice);
    let interval_h = daly(longest_h, known.between_h);
    let figures = Figures {
        by_age: by_age(&known, longest_h, args.wall_hours),
        programme: plan(&known, longest_h, args)?,
        replayed: replayed(&known, longest_h, interval_h, args)?,
        notice: decision,
        between_hours: known.between_h,
        interval_hours: interval_h,
    };
    let answer = Answer {
        answer: words(&figures),
        reasons: reasons(&figures, args),
        uncertainty: uncertainty(&known, &lives, args),
        data: inputs.sources,
        figures,
    };
    let text = screen(&answer.figures, session);
    show(&answer, &text, session)
}

fn known(lives: &[Life], args: &Args) -> Result<Known, Fault> {
    if lives.is_empty() {
        let Some(seconds) = args.between.filter(|seconds| *seconds > 0.0) else {
            let why = "how often machines are interrupted is not known: name --lives FILE, or --between DURATION (hours that machines ran \
                       over interruptions)";
            return Err(Fault::Usage(why.to_owned()));
        };
        return Ok(Known { between_h: seconds / 3600.0, hazard: Vec::new(), lives: None });
    }
    // All machines run into a wall: it says nothing about those that have not reached it.
    let young = args.wall_hours.map_or(f64::INFINITY, |wall_h| wall_h - BEFORE_WALL_H);
    let young: Vec<Life> = lives.iter().map(|life| life.until(young)).collect();
    let events = u32::try_from(survival::events(&young)).unwrap_or(u32::MAX);
    let hazard = survival::hazard(&young)?;
    let none = || Scarce("no machine was interrupted: there is no time between interruptions".to_owned());
    let between_h = between_h(survival::exposure_h(&young), events).ok_or_else(none)?;
    Ok(Known { between_h, hazard, lives: Some(Lives::new(&survival::curve(lives)?)?) })
}

fn by_age(known: &Known, save_h: f64, wall_h: Option<f64>) -> Vec<ByAge> {
    let ages = if known.hazard.is_empty() { &[][..] } else { &survival::AGES_H };
    let ages = ages.iter().filter(|age_h| wall_h.is_none_or(|wall_h| **age_h < wall_h));
    ages.map(|age_h| {
        let interval_h = at_age(save_h, &known.hazard, *age_h, wall_h);
        ByAge { age_hours: *age_h, interval_hours: interval_h.is_finite().then_some(interval_h) }
    })
    .collect()
}

fn plan(known: &Known, save_h: f64, args: &Args) -> Result<Option<Programme>, Fault> {
    let Some(lives) = &known.lives else { return Ok(None) };
    let task =
        programme::Task { work_h: args.work_hours, save_h, restart_h: args.restart / 3600.0, age_h: args.age_hours };
    Ok(Some(programme(&task, STEPS, |age_h| lives.survival(age_h))?))
}

/// What each way of saving costs on machines that live as those did.
fn replayed(known: &Known, save_h: f64, interval_h: f64, args: &Args) -> Result<Vec<Replayed>, Fault> {
    let Some(lives) = &known.lives else { return Ok(Vec::new()) };
    let task = replay::Task { work_h: args.work_hours, save_h, restart_h: args.restart / 3600.0 };
    let ways = [
        ("never".to_owned(), Way::Never),
        (format!("every {}", hours(interval_h)), Way::Every(interval_h)),
        ("by age".to_owned(), Way::ByAge { hazard: &known.hazard, wall_h: args.wall_hours }),
        (format!("at {:.0} s of notice", args.notice), Way::AtNotice { notice_h: args.notice / 3600.0 }),
    ];
    let replayed = ways
        .into_iter()
        .map(|(way, how)| Ok(Replayed { way, overhead: replay::overhead(&task, how, lives, RUNS, args.seed)? }));
    replayed.collect()
}

fn words(figures: &Figures) -> String {
    let clock = format!("every {} of work", hours(figures.interval_hours));
    match figures.notice.saving {
        Saving::AtNotice => {
            "Save at the notice: it is enough. Saves on the clock are not needed for interruptions that are announced."
                .to_owned()
        }
        Saving::OnTheClock => format!("Save {clock}: the notice is too short."),
        Saving::Both => format!("Save {clock}, and at the notice too."),
    }
}

fn reasons(figures: &Figures, args: &Args) -> Vec<String> {
    let mut reasons = vec![
        format!("The notice: {}.", figures.notice.reason),
        format!(
            "{} between interruptions (hours that machines ran over interruptions, those that were not interrupted counted too) and \
             the longest save give Daly's interval, {}.",
            hours(figures.between_hours),
            hours(figures.interval_hours)
        ),
    ];
    if let Some(programme) = &figures.programme {
        let intervals: Vec<String> = programme.intervals_h.iter().map(|interval| hours(*interval)).collect();
        let overhead = programme.expected_h / args.work_hours - 1.0;
        reasons.push(format!(
            "For {} h of work on a machine that is {} old, the best saves (dynamic programme) follow on {}: {} more than the work.",
            args.work_hours,
            hours(args.age_hours),
            intervals.join(", "),
            percent(overhead)
        ));
    }
    reasons
}

fn uncertainty(known: &Known, lives: &[Life], args: &Args) -> Vec<String> {
    let mut words =
        vec!["The interval is flat at its best: half or twice of it costs a few tenths of a percent more.".to_owned()];
    let events = survival::events(lives);
    if known.lives.is_some() {
        // The relative error of a rate from n events is 1/sqrt(n), and the interval goes with its root.
        let error = 0.5 * 1.96 / (events.max(1) as f64).sqrt();
        words.push(format!(
            "{events} interruptions leave the interval uncertain by ±{} (95 %); machines that start together end together, so that it is \
             more where lives come in batches.",
            percent(error)
        ));
        words.push(format!(
            "Overheads are replays of {RUNS} jobs with the seed {}, on the very lives that the intervals come from.",
            args.seed
        ));
    } else {
        words.push(
            "Interruptions are taken to come at a constant rate: lives (--lives) would say whether young machines go \
         sooner."
                .to_owned(),
        );
    }
    words
}

fn screen(figures: &Figures, session: &Session<'_>) -> String {
    let mut text = String::new();
    if !figures.replayed.is_empty() {
        let mut table =
            table(session.paint, session.width, &["SAVE", "OVERHEAD", "±", "INTERRUPTIONS A JOB"], &[1, 2, 3]);
        for one in &figures.replayed {
            let cells = [
                one.way.clone(),
                percent(one.overhead.mean),
                percent(1.96 * one.overhead.error),
                format!("{:.2}", one.overhead.interruptions),
            ];
            table.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
        }
        text += &lines(&table);
    }
    if !figures.by_age.is_empty() {
        let mut table = table(session.paint, session.width, &["AGE OF THE MACHINE", "SAVE EVERY"], &[0, 1]);
        for one in &figures.by_age {
            let interval = one.interval_hours.unwrap_or(f64::INFINITY);
            let cells = [hours(one.age_hours), hours(interval)];
            table.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
        }
        text += &format!("\n{}", lines(&table));
    }
    text
}
