//! `snooze insight pools`: which pools lose capacity together, and whether machines of a batch do.
//!
//! Inputs: traces of availability, or lives. Outputs: correlations, shares. Must never say of lives what only traces can: when nobody
//! runs a machine in a pool, nobody knows whether it had one.

use super::SEED;
use super::finding::{Finding, show};
use super::kept::Known;
use super::source::{Ages, Source, ages_said};
use crate::cli::advise::inputs::traces;
use crate::cli::fault::{Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use cloudsnooze_insight::data::lives::pool_of;
use cloudsnooze_insight::patterns::batches::Together;
use cloudsnooze_insight::patterns::correlation::{Availability, Correlations, Estimate};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  snooze insight pools
  snooze insight pools --traces us-east-1a.json us-east-1c.json us-west-2a.json";

/// How often days are drawn anew, and lengths of lives exchanged.
const ROUNDS: usize = 500;
/// Ends so near to each other count as together, minutes.
pub const TOGETHER_MIN: f64 = 10.0;
/// Lives cannot say it: when machines are launched and stopped is their users' doing, and looks like a pool that comes and goes.
pub const NEEDS_TRACES: &str = "\
Whether pools have capacity at the same time, lives do not say, as nobody knows whether a pool had a machine when nobody asked \
for one: name traces of availability (snooze insight pools --traces FILE...)";
/// Rows on a screen.
const SHOWN: usize = 30;

/// Say whether machines of a batch end together (by lives) and which pools have capacity together (by traces).
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Traces of availability, one a zone, named like it, all from the same moment on: JSON as `snooze simulate-policy` takes it.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    traces: Vec<PathBuf>,

    #[command(flatten)]
    ages: Ages,
}

/// Runs the command.
///
/// # Errors
/// There is no such source, or too little in it.
pub fn run(args: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    if args.traces.is_empty() {
        return batches(args.ages, source, session);
    }
    let (pools, tick_h, data) = of_traces(&args.traces)?;
    let found = Correlations::of(&pools, tick_h, ROUNDS, SEED)?;
    let uncertainty = vec![
        "Traces are taken to begin at the same moment.".to_owned(),
        format!("Intervals are of 95 %, whole days drawn anew; there are {} days.", found.days),
    ];
    let text = screen(&found, session);
    let (sentence, verdict) = (found.sentence.clone(), Some(found.verdict));
    show(&Known::now(Finding { sentence, verdict, uncertainty, data, figures: found }), &text, session)
}

/// What lives do say: whether machines of a batch end together.
fn batches(ages: Ages, source: &Source, session: &mut Session<'_>) -> Outcome {
    let found = source.answer(&ages.question("pools"), session, |opened, session| {
        let seen = opened.lives(session)?;
        let until_h = ages.until_h(&seen.lives);
        Ok(finding(Together::of(&seen.lives, TOGETHER_MIN, until_h, ROUNDS, SEED)?, until_h, seen.data))
    })?;
    show(&found, "", session)
}

fn finding(found: Together, until_h: f64, data: Vec<String>) -> Finding<Together> {
    let mut uncertainty = ages_said(until_h);
    uncertainty.push(format!(
        "Lengths of lives were exchanged among machines {ROUNDS} times: chance reached that share with p {:.3}.",
        found.p
    ));
    uncertainty.push(format!("{NEEDS_TRACES}."));
    let (sentence, verdict) = (found.sentence.clone(), Some(found.verdict));
    Finding { sentence, verdict, uncertainty, data, figures: found }
}

fn of_traces(paths: &[PathBuf]) -> Result<(Vec<Availability>, f64, Vec<String>), Fault> {
    let read = traces(paths, 1)?;
    let tick_h = read.first().map_or(1.0, |trace| trace.tick_h);
    if let Some(other) = read.iter().find(|trace| (trace.tick_h - tick_h).abs() > 1e-9) {
        return Err(Fault::Usage(format!("{} has ticks of another length than the first trace", other.name)));
    }
    let data = read.iter().map(|trace| format!("{}: {:.1} days", trace.name, trace.length_h() / 24.0)).collect();
    let zone = |name: &str| name.split('.').next().unwrap_or(name).split('_').next().unwrap_or(name).to_owned();
    let pools =
        read.into_iter().map(|trace| Availability { pool: pool_of(&zone(&trace.name), ""), up: trace.available });
    Ok((pools.collect(), tick_h, data))
}

fn screen(found: &Correlations, session: &Session<'_>) -> String {
    let headings = ["ONE", "OTHER", "REGION", "CAPACITY", "95 %", "LOSSES"];
    let mut rows = table(session.paint, session.width, &headings, &[3, 4, 5]);
    let value = |of: &Option<Estimate>| of.as_ref().map_or_else(|| "-".to_owned(), |of| format!("{:.2}", of.value));
    for pair in found.pairs.iter().take(SHOWN) {
        let name = |pool: &cloudsnooze_insight::Pool| plain(format!("{} {}", pool.zone, pool.instance_type).trim());
        let cells = [
            name(&pair.pools.0),
            name(&pair.pools.1),
            (if pair.same_region { "same" } else { "another" }).to_owned(),
            value(&pair.up),
            pair.up.map_or_else(String::new, |of| format!("{:.2} - {:.2}", of.interval_95.0, of.interval_95.1)),
            value(&pair.drops),
        ];
        rows.add_row(cells.map(|text| session.paint.cell(Tone::Plain, text)));
    }
    lines(&rows)
}
