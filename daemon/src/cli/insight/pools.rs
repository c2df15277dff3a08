//! `snooze insight pools`: which pools lose capacity together.
//!
//! Inputs: traces of availability, or lives. Outputs: correlations. Must never say of lives what only traces can: when nobody runs a
//! machine in a pool, nobody knows whether it had one.

use super::SEED;
use super::finding::{Finding, show};
use super::source::Source;
use crate::cli::advise::inputs::traces;
use crate::cli::fault::{Fault, Outcome};
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use cloudsnooze_insight::data::lives::pool_of;
use cloudsnooze_insight::exposed::capacity;
use cloudsnooze_insight::patterns::correlation::{Availability, Correlations, Estimate};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  snooze insight pools
  snooze insight pools --traces us-east-1a.json us-east-1c.json us-west-2a.json";

/// How often days are drawn anew.
const ROUNDS: usize = 500;
/// Rows on a screen.
const SHOWN: usize = 30;

/// Say which pools lose capacity together: by lives, or by traces of availability.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Traces of availability, one a zone, named like it, all from the same moment on: JSON as `snooze simulate-policy` takes it.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    traces: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// There is no such source, or too little in it.
pub fn run(args: &Args, source: &Source, session: &mut Session<'_>) -> Outcome {
    let (pools, tick_h, data, uncertainty) = match args.traces.as_slice() {
        [] => {
            let seen = source.read(session)?;
            let how = "By lives: a pool counts as without capacity from an interruption to the next launch there. Where nobody runs \
                       machines all the time, that misses much: traces (--traces) say more.";
            (capacity(&seen.lives), 1.0, seen.data, how.to_owned())
        }
        paths => {
            let (pools, tick_h, data) = of_traces(paths)?;
            (pools, tick_h, data, "By traces. Their files are taken to begin at the same moment.".to_owned())
        }
    };
    let found = Correlations::of(&pools, tick_h, ROUNDS, SEED)?;
    let uncertainty =
        vec![uncertainty, format!("Intervals are of 95 %, whole days drawn anew; there are {} days.", found.days)];
    let text = screen(&found, session);
    let (sentence, verdict) = (found.sentence.clone(), Some(found.verdict));
    show(&Finding { sentence, verdict, uncertainty, data, figures: found }, &text, session)
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
