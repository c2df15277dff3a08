//! `snooze advise savings`: what was saved so far.
//!
//! Inputs: lives with prices. Outputs: sums. Must never count hours whose prices are not known.

use super::answer::{Answer, hours, percent, show};
use super::inputs::Files;
use crate::cli::duration;
use crate::cli::fault::Outcome;
use crate::cli::paint::Tone;
use crate::cli::render::{lines, plain, table};
use crate::cli::session::Session;
use cloudsnooze_insight::Pool;
use cloudsnooze_insight::economy::savings::{Savings, savings};
use serde::Serialize;
use std::collections::BTreeMap;

const EXAMPLES: &str = "\
Examples:
  snooze advise savings --lives lives.csv
  snooze advise savings --lives lives.csv --lost 20m --json";

/// Say what spot machines have saved against machines on demand, interruptions included.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    files: Files,

    /// What an interruption costs: half the time between saves, and the restart.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration::parse)]
    lost: f64,
}

#[derive(Serialize)]
struct Figures {
    all: Savings,
    families: Vec<Family>,
}

#[derive(Serialize)]
struct Family {
    pool: Pool,
    #[serde(flatten)]
    savings: Savings,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, or no life with prices.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let inputs = args.files.read()?;
    let lost_h = args.lost / 3600.0;
    let (all, pools) = savings(&inputs.lives, lost_h)?;
    let verb = if all.saved_usd < 0.0 { "Lost" } else { "Saved" };
    let mut uncertainty = vec![format!(
        "What an interruption costs is taken as {}: without any such cost it were {:.2} USD, with twice that {:.2}.",
        hours(lost_h),
        all.saved_usd + all.lost_usd,
        all.saved_usd - all.lost_usd
    )];
    if all.without_price > 0 {
        uncertainty.push(format!(
            "{} lives of {:.0} h are left out, because a price of theirs is not known.",
            all.without_price, all.hours_without_price
        ));
    }
    let answer = Answer {
        answer: format!(
            "{verb} so far: {:.2} USD, {} of what the same hours cost on demand.",
            all.saved_usd.abs(),
            percent(all.saved.abs())
        ),
        reasons: vec![format!(
            "{:.0} h of {} machines cost {:.2} USD; on demand they were {:.2}. {} interruptions took {:.2} back.",
            all.hours, all.lives, all.paid_usd, all.on_demand_usd, all.interruptions, all.lost_usd
        )],
        uncertainty,
        data: inputs.sources,
        figures: Figures { all, families: families(pools) },
    };
    let text = screen(&answer.figures, session);
    show(&answer, &text, session)
}

fn families(pools: BTreeMap<Pool, Savings>) -> Vec<Family> {
    pools.into_iter().map(|(pool, savings)| Family { pool, savings }).collect()
}

fn screen(figures: &Figures, session: &Session<'_>) -> String {
    let headings = ["FAMILY", "REGION", "HOURS", "PAID USD", "ON DEMAND USD", "INTERRUPTED", "SAVED USD", "SAVED"];
    let mut table = table(session.paint, session.width, &headings, &[2, 3, 4, 5, 6, 7]);
    for family in &figures.families {
        let s = &family.savings;
        let tone = if s.saved_usd < 0.0 { Tone::Bad } else { Tone::Plain };
        let cells = [
            (Tone::Plain, plain(&family.pool.instance_type)),
            (Tone::Plain, plain(&family.pool.region)),
            (Tone::Plain, format!("{:.0}", s.hours)),
            (Tone::Plain, format!("{:.2}", s.paid_usd)),
            (Tone::Plain, format!("{:.2}", s.on_demand_usd)),
            (Tone::Plain, s.interruptions.to_string()),
            (tone, format!("{:.2}", s.saved_usd)),
            (tone, percent(s.saved)),
        ];
        table.add_row(cells.map(|(tone, text)| session.paint.cell(tone, text)));
    }
    lines(&table)
}
