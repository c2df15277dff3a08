//! `snooze insight picture`: what was found, drawn.
//!
//! Inputs: lives. Outputs: an SVG or PNG file, made whole or not at all. Must never draw what there are too few data for.

use super::finding::writing;
use super::models::compared;
use super::source::{Ages, Opened, Source};
use crate::cli::fault::{Exit, Fault, Outcome};
use crate::cli::session::Session;
use cloudsnooze_insight::exposed::{WeekHour, by_week};
use cloudsnooze_insight::lifetimes::{Observed, Survival, hazard};
use cloudsnooze_insight::pictures::{
    Curves, HeatCell, HeatMap, Picture, Reliability, ReliabilityBin, SIZE, Undrawable, png, svg,
};
use cloudsnooze_insight::scores::reliability;
use cloudsnooze_insight::{Life, Scarce};
use std::io::Write;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  snooze insight picture survival --output survival.svg
  snooze insight picture hours --lives lifetimes.csv --output hours.png";

/// Ages at which the hazard may change, hours.
const AGES_H: [f64; 17] =
    [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 23.0, 48.0, 96.0, 336.0, 1_440.0];
/// Groups of forecasts.
const BINS: usize = 10;
/// An hour of the week with fewer expected interruptions is unsure.
const SURE: f64 = 5.0;

/// Draw what was found, as SVG or PNG.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to draw.
    #[arg(value_name = "KIND", value_enum)]
    kind: Kind,

    /// File to write; its ending, .svg or .png, says in which form.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    ages: Ages,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// How often machines of an age are interrupted.
    Hazard,
    /// Which share of machines outlives an age.
    Survival,
    /// Foreseen risks beside what happened.
    Calibration,
    /// Interruptions by hour and weekday, beside what ages explain.
    Hours,
}

/// Runs the command.
///
/// # Errors
/// There is no such source, too little in it, or the file cannot be written.
pub fn run(args: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    let form = Form::of(&args.output)?;
    let drawn = draw(args, form, &mut source.open(session)?, session);
    session.progress("");
    let bytes = drawn?;
    write(&args.output, &bytes).map_err(|error| writing(&args.output, &error))?;
    if session.global.json {
        session.print_json(&serde_json::json!({ "output": args.output, "bytes": bytes.len() }))?;
    } else {
        session.note(&format!("{} is written", args.output.display()));
    }
    Ok(Exit::Ok)
}

fn draw(args: &Args, form: Form, opened: &mut Opened, session: &mut Session<'_>) -> Result<Vec<u8>, Fault> {
    let lives = opened.lives(session)?.lives;
    let until_h = args.ages.until_h(&lives);
    let bytes = match args.kind {
        Kind::Hazard => form.draw(&hazard_of(&lives, until_h)?),
        Kind::Survival => form.draw(&survival_of(&lives, until_h)?),
        Kind::Calibration => form.draw(&calibration_of(&lives, until_h)?),
        Kind::Hours => form.draw(&hours_of(&lives, until_h)?),
    };
    bytes.map_err(|why| Fault::Scarce(Scarce(why.0)))
}

#[derive(Clone, Copy)]
enum Form {
    Svg,
    Png,
}

impl Form {
    fn of(path: &Path) -> Result<Self, Fault> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => Err(Fault::Usage(format!("{}: the name of a picture ends in .svg or .png", path.display()))),
        }
    }

    fn draw(self, picture: &impl Picture) -> Result<Vec<u8>, Undrawable> {
        match self {
            Self::Svg => svg(picture, SIZE).map(String::into_bytes),
            Self::Png => png(picture, SIZE),
        }
    }
}

/// Beside it first: whoever looks sees the old picture or the new one.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let readable = std::fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

fn observed(lives: &[Life], until_h: f64) -> Vec<Observed> {
    lives.iter().map(|life| Observed::from(&life.until(until_h))).collect()
}

fn survival_of(lives: &[Life], until_h: f64) -> Result<Curves, Scarce> {
    let curve = Survival::of(observed(lives, until_h))?;
    Ok(Curves::survival("How long machines live", &[("all machines", &curve)]))
}

fn hazard_of(lives: &[Life], until_h: f64) -> Result<Curves, Scarce> {
    let ages: Vec<f64> = AGES_H.into_iter().filter(|age| *age <= until_h).collect();
    let rates = hazard::by_age(&observed(lives, until_h), &ages)?;
    Ok(Curves::hazard("How often machines of an age are interrupted", &[("all machines", &rates)]))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count, which is a count")]
fn calibration_of(lives: &[Life], until_h: f64) -> Result<Reliability, Scarce> {
    let found = compared(lives, until_h)?;
    let bins = reliability(&found.foreseen, BINS).into_iter().map(|group| ReliabilityBin {
        predicted: group.foreseen,
        count: group.forecasts as u64,
        came_true: (group.happened * group.forecasts as f64).round() as u64,
    });
    Ok(Reliability {
        title: "Foreseen and seen".to_owned(),
        what: "interrupted within the next hour".to_owned(),
        note: format!(
            "{} hours of {} machines, {} interruptions; the model had learned from {} machines launched earlier.",
            found.held_out_hours, found.held_out_machines, found.held_out_events, found.learned_machines
        ),
        bins: bins.collect(),
    })
}

fn hours_of(lives: &[Life], until_h: f64) -> Result<HeatMap, Scarce> {
    let lives: Vec<Life> = lives.iter().map(|life| life.until(until_h)).collect();
    let week = by_week(&lives)?;
    let cell = |hour: &WeekHour| HeatCell {
        value: (hour.expected > 0.0).then(|| hour.seen / hour.expected),
        is_unsure: hour.expected < SURE,
    };
    let interrupted = lives.iter().filter(|life| life.is_interrupted()).count();
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].map(str::to_owned).to_vec();
    Ok(HeatMap {
        title: "Interruptions by hour and weekday, beside what ages explain".to_owned(),
        note: format!(
            "{} machines, {interrupted} interrupted. Hatched: fewer than {SURE} were to be expected. Whether an hour stands out beyond \
             chance, `snooze insight seasons` says.",
            lives.len()
        ),
        columns: ("hour of the day, UTC".to_owned(), (0..24).map(|hour| hour.to_string()).collect()),
        rows: ("day of the week".to_owned(), days),
        what: "seen / expected".to_owned(),
        cells: week.iter().map(|day| day.iter().map(cell).collect()).collect(),
    })
}
