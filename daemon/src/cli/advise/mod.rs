//! `snooze advise`: what interruptions and prices say one should do.
//!
//! Responsibilities: one file a question; each says what to do, why, how sure that is and what it rests on. Inputs: [`inputs::Inputs`].
//! Outputs: advice. Needs no daemon. Must never set, buy or bid anything itself.

mod answer;
mod auction;
mod cap;
mod checkpoint;
mod fetch;
pub mod inputs;
mod rank;
mod savings;
mod schedule;

use super::fault::Outcome;
use super::session::Session;

const EXAMPLES: &str = "\
Examples:
  snooze advise cap --prices prices.csv --advisor advisor.csv
  snooze advise rank --prices prices.csv --advisor advisor.csv --region us-east-1 --pools 4
  snooze advise checkpoint --lives lives.csv --save 60s --save 55s --save 70s --notice 120s
  snooze advise schedule --traces zones/*.json --work-hours 48 --deadline-hours 60
  snooze advise savings --lives lives.csv
  snooze advise auction --prices prices.csv --type m3.medium --work-hours 8

Each answer comes with its reasons, how sure it is, and the data behind it; where there is too little data, it says how much is \
missing (exit code 1).";

/// Say what to do about interruptions and prices: caps, types and zones, saves, schedules; and what was saved so far.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Cap(cap::Args),
    Rank(rank::Args),
    Checkpoint(checkpoint::Args),
    Schedule(schedule::Args),
    Savings(savings::Args),
    Auction(auction::Args),
    FetchPrices(fetch::Args),
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read, or too little data.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    match &args.command {
        Command::Cap(args) => cap::run(args, session),
        Command::Rank(args) => rank::run(args, session),
        Command::Checkpoint(args) => checkpoint::run(args, session),
        Command::Schedule(args) => schedule::run(args, session),
        Command::Savings(args) => savings::run(args, session),
        Command::Auction(args) => auction::run(args, session),
        Command::FetchPrices(args) => fetch::run(args, session),
    }
}
