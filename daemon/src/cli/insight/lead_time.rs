//! `snooze insight lead-time`: how long before an interruption a recommendation to leave comes.
//!
//! Inputs: events of a history. Outputs: the distribution of that time, and the share of interruptions without. Must never count
//! rehearsals, or notices that were withdrawn.

use super::finding::{Finding, hours, percent, show};
use super::kept::Question;
use super::source::Source;
use crate::cli::fault::{Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{lines, table};
use crate::cli::session::Session;
use crate::event::EventType;
use crate::history::archive::Archive;
use cloudsnooze_insight::patterns::lead::{LeadTime, Warned};
use std::collections::BTreeMap;

const EXAMPLES: &str = "\
Examples:
  snooze insight lead-time
  snooze insight lead-time --store fleet.sqlite --json";

/// Say how long before an interruption the recommendation to leave comes, and how often none does.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// There is no such history, or too little in it.
pub fn run(_: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    let found = source.answer(&Question::usual("lead-time"), session, |opened, session| {
        let archive = opened.history()?;
        session.progress("recommendations and notices are read");
        let warned = warned(archive)?;
        let data = vec![format!("{}: {} interruptions that were no rehearsals", archive.place(), warned.len())];
        Ok(finding(LeadTime::of(&warned)?, data))
    })?;
    let text = screen(&found.answer.figures, session);
    show(&found, &text, session)
}

fn screen(lead: &LeadTime, session: &Session<'_>) -> String {
    let mut rows = table(session.paint, session.width, &["OF THOSE WITH ONE", "AT MOST", "95 %"], &[1, 2]);
    for quantile in &lead.quantiles {
        let (low, high) = quantile.seconds_95;
        let span = [quantile.seconds, low, high].map(|seconds| hours(seconds / 3_600.0));
        let cells = [percent(quantile.share), span[0].clone(), format!("{} - {}", span[1], span[2])];
        rows.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    lines(&rows)
}

fn finding(lead: LeadTime, data: Vec<String>) -> Finding<LeadTime> {
    Finding {
        sentence: lead.sentence.clone(),
        verdict: None,
        uncertainty: vec![
            "Intervals of quantiles are those of order statistics, that of the share is exact. The first recommendation of a machine since \
             its last interruption counts."
                .to_owned(),
        ],
        data,
        figures: lead,
    }
}

/// Interruptions, each with the first recommendation before it.
///
/// # Errors
/// The database's.
pub fn warned(archive: &mut Archive) -> Result<Vec<Warned>, Fault> {
    // By machine, in the order of time: moments, and whether it is the interruption.
    let mut moments: BTreeMap<String, Vec<(f64, bool)>> = BTreeMap::new();
    for (event_type, is_end) in [(EventType::SPOT_REBALANCE, false), (EventType::SPOT_INTERRUPT, true)] {
        archive.snapshot(|archive| {
            archive.each_of_type(&event_type, &mut |event| {
                if is_end && event.state == "withdrawn" {
                    return;
                }
                let moment = (event.wall_ns as f64 / 1e9, is_end);
                match moments.get_mut(event.instance) {
                    Some(known) => known.push(moment),
                    None => drop(moments.insert(event.instance.to_owned(), vec![moment])),
                }
            })
        })?;
    }
    let mut all = Vec::new();
    for mut moments in moments.into_values() {
        moments.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut recommended_s = None;
        for (at_s, is_end) in moments {
            if is_end {
                all.push(Warned { recommended_s: recommended_s.take(), interrupted_s: at_s });
            } else {
                recommended_s = recommended_s.or(Some(at_s));
            }
        }
    }
    Ok(all)
}
