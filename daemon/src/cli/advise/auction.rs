//! `snooze advise auction`: what to bid where there is an auction.
//!
//! Inputs: prices of one pool. Outputs: bids. Must never leave out that AWS, Azure and GCP hold none.

use super::answer::{Answer, percent, show};
use super::inputs::Files;
use crate::cli::duration;
use crate::cli::fault::{Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{lines, table};
use crate::cli::session::Session;
use cloudsnooze_insight::economy::auction::{Bid, Prices};
use cloudsnooze_insight::economy::prices::{Course, courses};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  snooze advise auction --prices prices.csv --type m3.medium --zone us-east-1a --work-hours 8
  snooze advise auction --prices prices.csv --type m3.medium --work-hours 8 --slot 5m";

/// Slots that prices are cut into, at most.
const SLOTS_MAX: f64 = 1e6;

/// Work out a bid, for providers that hold a true auction (AWS, Azure and GCP do not: see `snooze advise cap`).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    files: Files,

    /// The instance type to bid for [default: the one there are prices of]
    #[arg(long = "type", value_name = "TYPE")]
    instance_type: Option<String>,

    /// The zone to bid in [default: the one there are prices of]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,

    /// Work, in hours.
    #[arg(long, value_name = "HOURS")]
    work_hours: f64,

    /// What an interruption costs: restart and work that is lost.
    #[arg(long, value_name = "DURATION", default_value = "6m", value_parser = duration::parse)]
    recovery: f64,

    /// How long a price holds.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    slot: f64,
}

#[derive(Serialize)]
struct Figures {
    one_time: Bid,
    persistent: Bid,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, prices of no or several pools, or too few.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let inputs = args.files.read()?;
    let all = courses(&inputs.prices);
    let is_meant = |course: &&Course| {
        args.instance_type.as_ref().is_none_or(|kind| *kind == course.pool.instance_type)
            && args.zone.as_ref().is_none_or(|zone| *zone == course.pool.zone)
    };
    let meant: Vec<&Course> = all.iter().filter(is_meant).collect();
    let [course] = meant[..] else {
        let hint =
            if meant.is_empty() { "there are prices of no such pool" } else { "name one with --type and --zone" };
        return Err(Fault::Usage(format!("{} of {} pools are meant: {hint}", meant.len(), all.len())));
    };
    let slot_h = args.slot / 3600.0;
    if slot_h <= 0.0 || course.hours() / slot_h > SLOTS_MAX {
        return Err(Fault::Usage("--slot: too short for the time there are prices of".to_owned()));
    }
    let first_s = course.changes.first().map_or(0.0, |(at_s, _)| *at_s);
    let slots = (course.hours() / slot_h) as usize;
    let sampled: Vec<f64> = (0..slots).filter_map(|slot| course.at(first_s + slot as f64 * args.slot)).collect();
    let prices = Prices::new(&sampled, slot_h)?;
    let figures = Figures {
        one_time: prices.one_time(args.work_hours)?,
        persistent: prices.persistent(args.work_hours, args.recovery / 3600.0)?,
    };
    let answer = Answer {
        answer: format!(
            "Only where there is a true auction: bid {:.4} USD an hour if the job may be interrupted, {:.4} if it must not.",
            figures.persistent.usd_per_hour, figures.one_time.usd_per_hour
        ),
        reasons: vec![
            "If it may be: the bid with the least expected cost, recovery included; if not: the least bid with which a run lasts as long \
             as the work in the mean (How to Bid the Cloud, SIGCOMM 2015)."
                .to_owned(),
            "AWS, Azure and GCP hold no auction any more: a maximum price there is no bid, and the advice is none (`snooze advise cap`)."
                .to_owned(),
        ],
        uncertainty: vec![
            format!("The formulas take the {} slots for independent; prices that stay high for long make waiting longer.", sampled.len()),
            "A run that lasts as long as the work in the mean is shorter in nearly two cases of three: what must never be \
             interrupted does not \
             belong into an auction."
                .to_owned(),
        ],
        data: inputs.sources,
        figures,
    };
    let text = screen(&answer.figures, session);
    show(&answer, &text, session)
}

fn screen(figures: &Figures, session: &Session<'_>) -> String {
    let headings = ["JOB", "BID USD/H", "RUNS", "ON MACHINES", "UNTIL THE END", "COST USD"];
    let mut table = table(session.paint, session.width, &headings, &[1, 2, 3, 4, 5]);
    for (name, bid) in [("may be interrupted", &figures.persistent), ("must not be", &figures.one_time)] {
        let cells = [
            name.to_owned(),
            format!("{:.4}", bid.usd_per_hour),
            percent(bid.runs),
            format!("{:.1} h", bid.machine_h),
            format!("{:.1} h", bid.makespan_h),
            format!("{:.3}", bid.cost_usd),
        ];
        table.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    lines(&table)
}
