//! What is to be shown, and the command line that says so.
//!
//! Inputs: arguments. Outputs: a [`Plan`]. Must never start anything.

use crate::resumptions::PROGRAMS;
use crate::servers::SERVERS;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use std::io::Write;
use std::path::PathBuf;

/// Shows that nothing acknowledged is lost when a machine goes away.
///
/// Servers: writers hammer a private MariaDB, PostgreSQL and Redis, each under settings with which it acknowledges what it can lose.
/// A notice appears in a metadata service, the real daemon has the real plugin flush the server, and at the deadline the server
/// is killed with SIGKILL. It is started again on the same data, and every write is read back.
///
/// Programs: a counter and a PyTorch trainer are saved by signal-checkpointer at the notice, killed at the deadline, and
/// resumed; the trainer's losses must be those of a training that was never interrupted.
///
/// Rounds without the plugin come first and must lose something: otherwise the test could not fail.
#[derive(Clone, Debug, Parser)]
#[command(name = "data-safety", max_term_width = 110, after_help = AFTER_HELP)]
pub struct Plan {
    /// Rounds of each server.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rounds: u64,
    /// Rounds of each program.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub resumptions: u64,
    /// Rounds of each without the plugin.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub control_rounds: u64,
    /// Time from notice to deadline; up to a second more, because the cloud names whole seconds.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..=120))]
    pub seconds: u64,
    /// Only these: mariadb, postgres, redis, counter, torch.
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true,
        value_parser = PossibleValuesParser::new(SERVERS.into_iter().chain(PROGRAMS)))]
    only: Vec<String>,
    /// How many of them side by side.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=5))]
    pub jobs: u64,
    /// Leaves the plugin out of all rounds: what is shown must fail.
    #[arg(long)]
    pub without_plugin: bool,
    /// Fail when anything could not run, as CLOUDSNOOZE_REQUIRE_ALL=1 does.
    #[arg(long)]
    pub require_all: bool,
    /// Print the outcome as JSON in place of tables.
    #[arg(long)]
    pub json: bool,
    /// Directory for promises/data-safety.json [default: cargo's target]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where programs and plugins are; found out, not given.
    #[arg(skip)]
    pub bin_dir: PathBuf,
}

const AFTER_HELP: &str = "\
Examples:
  data-safety                                        100 rounds of each server, 50 of each program: some 20 minutes
  data-safety --only postgres --rounds 5 --control-rounds 2
  data-safety --only counter,torch --json

Needs mariadb-server, postgresql, redis-server, python3 and python3-torch (tests/setup.sh safety); what is not there is
said to be NOT RUN. CLOUDSNOOZE_TORCH_PYTHON names a Python with PyTorch that is not the system's.

Exit codes: 0 nothing was lost, and without the plugin something was; 1 something was lost, not flushed, or nothing was
lost without the plugin; 2 misuse; 3 it could not be shown.

A SIGKILL is not a loss of power: what a server has handed to the kernel survives it. docs/data-safety.md says what is shown
and what is not.";

impl Plan {
    /// Names of what is to be shown, in the order of the output.
    pub fn subjects(&self) -> Vec<&'static str> {
        let all = SERVERS.into_iter().chain(PROGRAMS);
        all.filter(|name| self.only.is_empty() || self.only.iter().any(|only| only == name)).collect()
    }

    /// One line about how far it is.
    pub fn tell(&self, text: &str) {
        // Who has closed standard error does not want to know.
        let _written = writeln!(std::io::stderr().lock(), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_left_out_and_what_nobody_knows_is_misuse() {
        let parse = |words: &[&str]| Plan::try_parse_from(std::iter::once("data-safety").chain(words.iter().copied()));
        assert_eq!(parse(&[]).expect("good").subjects(), ["mariadb", "postgres", "redis", "counter", "torch"]);
        assert_eq!(parse(&["--only", "torch,mariadb"]).expect("good").subjects(), ["mariadb", "torch"]);
        for bad in [["--only", "oracle"], ["--rounds", "0"], ["--control-rounds", "0"], ["--seconds", "1"]] {
            assert_eq!(parse(&bad).expect_err("bad").exit_code(), 2, "{bad:?}");
        }
    }
}
