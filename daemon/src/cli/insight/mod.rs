//! `snooze insight`: what past interruptions say, of this machine and of its pools.
//!
//! Responsibilities: one file a question; each reads, asks the crate `cloudsnooze-insight`, and shows. Inputs: a history or a file of
//! lives. Outputs: sentences with their uncertainty and the data behind them; pictures. Needs no daemon, which asks `risk` in a process
//! of its own. Must never compute here what the crate can be asked, nor print a number that is none.
//!
//! `source` is what is looked at, `finding` how answers look, `kept` answers and the fitted model, for a day.

mod changes;
mod finding;
mod kept;
mod lead_time;
mod lifetimes;
mod models;
mod picture;
mod pools;
mod rates;
mod risk;
mod seasons;
mod source;
mod summary;

use super::fault::Outcome;
use super::session::Session;
use source::Source;

const EXAMPLES: &str = "\
Examples:
  snooze insight                                      what is found, and what is not
  snooze insight risk --hours 1                       how likely is this machine interrupted within an hour?
  snooze insight risk --zone us-east-1a --instance-type m5.large --age-hours 0
  snooze insight rates --store fleet.sqlite
  snooze insight seasons --lives lifetimes.csv --json
  snooze insight changes --fresh                      worked out anew, not as it was kept
  snooze insight picture survival --output lives.svg

Each answer comes with how sure it is and the data behind it. Where there is too little data, it says how much is missing (exit \
code 1); `risk` and `rates` then count with published figures, and say so. What was worked out is kept for a day, until there is a \
tenth more in the history; the answer says so, and --fresh works it out anew.";

/// Draws for tests and intervals begin with this; any would do.
const SEED: u64 = 20_260_101;

/// Say what past interruptions mean: the risk now, rates of pools, lifetimes, patterns, pictures.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,

    #[command(flatten)]
    source: Source,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Risk(risk::Args),
    Rates(rates::Args),
    Lifetimes(lifetimes::Args),
    Seasons(seasons::Args),
    Changes(changes::Args),
    Pools(pools::Args),
    LeadTime(lead_time::Args),
    Models(models::Args),
    Picture(picture::Args),
}

/// Runs the command.
///
/// # Errors
/// There is no such history or file, or too little data.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let source = &args.source;
    match &args.what {
        None => summary::run(source, session),
        Some(What::Risk(args)) => risk::run(args, source, session),
        Some(What::Rates(args)) => rates::run(args, source, session),
        Some(What::Lifetimes(args)) => lifetimes::run(args, source, session),
        Some(What::Seasons(args)) => seasons::run(args, source, session),
        Some(What::Changes(args)) => changes::run(args, source, session),
        Some(What::Pools(args)) => pools::run(args, source, session),
        Some(What::LeadTime(args)) => lead_time::run(args, source, session),
        Some(What::Models(args)) => models::run(args, source, session),
        Some(What::Picture(args)) => picture::run(args, source, session),
    }
}
