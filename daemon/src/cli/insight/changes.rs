//! `snooze insight changes`: when the rate of interruptions became another.
//!
//! Inputs: lives. Outputs: moments, with the rates before and after. Must never take hours without machines for quiet ones.

use super::finding::{Finding, moment, percent, rate, show};
use super::kept::Question;
use super::source::Source;
use crate::cli::fault::Outcome;
use crate::cli::paint::Tone;
use crate::cli::render::{lines, table};
use crate::cli::session::Session;
use cloudsnooze_insight::exposed::by_time;
use cloudsnooze_insight::patterns::change::Changes;

const EXAMPLES: &str = "\
Examples:
  snooze insight changes
  snooze insight changes --store fleet.sqlite --json | jq '.figures.changes'";

/// Say when the rate of interruptions became another.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// There is no such source, or too little in it.
pub fn run(_: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    let found = source.answer(&Question::usual("changes"), session, |opened, session| {
        let seen = opened.lives(session)?;
        Ok(finding(Changes::of(&by_time(&seen.lives)?)?, seen.data))
    })?;
    let text = screen(&found.answer.figures, session);
    show(&found, &text, session)
}

fn finding(changes: Changes, data: Vec<String>) -> Finding<Changes> {
    let uncertainty = vec![
        "A change is told once it is more likely than not that the rate is less than a day old. Hours count by what the ages of machines \
         explain, and machines of a batch and zone that are lost within an hour as one loss. All pools count alike: another mix of them \
         looks like another rate. Hours in which no machine was there are left out."
            .to_owned(),
    ];
    let (sentence, verdict) = (changes.sentence.clone(), Some(changes.verdict));
    Finding { sentence, verdict, uncertainty, data, figures: changes }
}

fn screen(changes: &Changes, session: &Session<'_>) -> String {
    let mut rows = table(session.paint, session.width, &["FROM", "KNOWN", "HOW LIKELY", "BEFORE", "AFTER"], &[2, 3, 4]);
    for change in &changes.changes {
        let cells = [
            moment(change.at_s),
            moment(change.known_s),
            percent(change.probability),
            format!("{} an hour", rate(change.before.per_hour)),
            format!("{} an hour", rate(change.after.per_hour)),
        ];
        rows.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    if changes.changes.is_empty() { String::new() } else { lines(&rows) }
}
