//! `snooze insight models`: which model would have foreseen one's own interruptions best.
//!
//! Inputs: lives. Outputs: scores on the second half of the time of models that were fitted to the first. Must never pick a model by
//! that: the one that is used chooses its parts by itself, on what it is given.

use super::SEED;
use super::finding::{Finding, moment, show};
use super::source::{Ages, Source};
use crate::cli::fault::Outcome;
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use cloudsnooze_insight::models::compare::Comparison;
use cloudsnooze_insight::{Life, Scarce};

const EXAMPLES: &str = "\
Examples:
  snooze insight models
  snooze insight models --lives lifetimes.csv --json | jq '.figures.scores[] | {model, log_loss}'";

/// Ages of which the next hour is asked at most, hours: a week.
const AGES_MAX: f64 = 168.0;

/// Say which model would have foreseen these interruptions best: fitted to the first half of the time, scored on the second.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    ages: Ages,
}

/// Runs the command.
///
/// # Errors
/// There is no such source, or too little in it.
pub fn run(args: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    let found = source.answer(&args.ages.question("models"), session, |opened, session| {
        let seen = opened.lives(session)?;
        Ok(finding(compared(&seen.lives, args.ages.until_h(&seen.lives))?, seen.data))
    })?;
    let text = screen(&found.answer.figures, session);
    show(&found, &text, session)
}

fn finding(found: Comparison, data: Vec<String>) -> Finding<Comparison> {
    let mut uncertainty = vec![
        format!(
            "Learned from {} machines that were launched before {}, as they were known then; asked about {} hours of {} machines launched \
             later, of which {} ended in an interruption.",
            found.learned_machines,
            moment(found.split_s),
            found.held_out_hours,
            found.held_out_machines,
            found.held_out_events
        ),
        "The interval is that of the log-loss beyond the constant rate's, whole batches drawn anew; below 0 is better beyond doubt."
            .to_owned(),
    ];
    if found.every > 1 {
        uncertainty.push(format!("There are so many machines that one of {} was looked at.", found.every));
    }
    uncertainty.extend(found.left_out.iter().map(|why| format!("Left out: {why}.")));
    let (sentence, verdict) = (found.sentence.clone(), Some(found.verdict));
    Finding { sentence, verdict, uncertainty, data, figures: found }
}

fn screen(found: &Comparison, session: &Session<'_>) -> String {
    let headings = ["MODEL", "LOG-LOSS", "BRIER", "AUC", "CALIBRATION", "BEYOND CONSTANT"];
    let mut rows = table(session.paint, session.width, &headings, &[1, 2, 3, 4, 5]);
    for score in &found.scores {
        let cells = [
            plain(&score.model),
            format!("{:.4}", score.log_loss),
            format!("{:.4}", score.brier),
            score.auc.map_or_else(|| "-".to_owned(), |auc| format!("{auc:.3}")),
            format!("{:.3}", score.calibration_error),
            score.over_constant.map_or_else(String::new, |over| format!("{:+.4} to {:+.4}", over.low, over.high)),
        ];
        rows.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    lines(&rows)
}

/// The comparison on lives until an age.
///
/// # Errors
/// Too little of them.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 168")]
pub fn compared(lives: &[Life], until_h: f64) -> Result<Comparison, Scarce> {
    Comparison::of(lives, until_h.clamp(1.0, AGES_MAX) as u32, SEED)
}
