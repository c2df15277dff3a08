//! The command line.
//!
//! Inputs: arguments. Outputs: what to run, how often, where results go. Must never start anything.

use crate::designs::{DESIGNS, Design};
use crate::scenario::{SCENARIOS, Scenario};
use clap::Parser;
use std::path::PathBuf;

/// Measures how long it takes from "event published" to the first instruction of the handler: the floor of this machine,
/// CloudSnooze and rivals, side by side.
///
/// Designs are small programs that take turns, round by round, in an order drawn afresh for each round, so that whatever
/// disturbs the machine hits all of them alike. Absolute figures hold for this machine only; ratios are taken within each
/// round and are what to compare. docs/LATENCY.md explains the method.
#[derive(Debug, Parser)]
#[command(name = "latency-bench", after_help = AFTER_HELP)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct Options {
    /// About a minute: enough to see the order of magnitude, not for publishing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds a scenario; every design has one slice in each [default: 5, quick: 3].
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<usize>,
    /// Events a slice; from 1000 on p99.9 is taken a round, below over all rounds together [default: 300, quick: 80].
    #[arg(long, value_name = "N")]
    pub(crate) events: Option<usize>,
    /// Only these designs; the ones they are compared with run too.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these scenarios: idle, loaded, pressure, cold.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    scenario: Vec<String>,
    /// Number that the order of the rounds is drawn from [default: the time].
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Print the promises as JSON in place of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Directory for charts (latency-SCENARIO.svg) and the promises (promises/latency.json) [default: cargo's target].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Fail when anything could not run: a missing compiler, a missing load generator, no real-time scheduling.
    #[arg(long)]
    pub(crate) require_all: bool,
}

const AFTER_HELP: &str = "\
Examples:
  latency-bench --quick                              a first look
  latency-bench --scenario loaded --only ours,rival-go
  latency-bench --rounds 10 --events 2000            for publishing: p99.9 has its own interval

Needs a C compiler; uses go, curl and stress-ng where they are installed (tests/setup.sh bench) and says loudly
what did not run without them. Real-time scheduling needs root or CAP_SYS_NICE.
NO_COLOR=1 keeps tables plain.";

impl Options {
    /// Rounds a scenario.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1)
    }

    /// Events in one slice of this design; 0 when it sits this scenario out.
    pub(crate) fn events(&self, design: &Design, scenario: &Scenario) -> usize {
        let events = self.events.unwrap_or(if self.quick { 80 } else { 300 }).max(1);
        match (design.is_slow, scenario.is_cold) {
            // Starting three processes an event is colder than anything that thrashing memory could add.
            (true, true) => 0,
            (true, false) => {
                if self.quick {
                    1
                } else {
                    2
                }
            }
            // Sixty over all rounds.
            (false, true) => if self.quick { 4 } else { 60usize.div_ceil(self.rounds()) }.min(events),
            (false, false) => events,
        }
    }

    /// The designs to run, in the order of the table; those that others are divided by included.
    ///
    /// # Errors
    /// A sentence that lists the names there are.
    pub(crate) fn designs(&self) -> Result<Vec<&'static Design>, String> {
        let chosen = chosen("design", &self.only, DESIGNS, |design| design.name)?;
        let is_needed = |name: &str| chosen.iter().any(|design| design.name == name || design.over == name);
        Ok(DESIGNS.iter().filter(|design| is_needed(design.name)).collect())
    }

    /// The scenarios to run.
    ///
    /// # Errors
    /// A sentence that lists the names there are.
    pub(crate) fn scenarios(&self) -> Result<Vec<&'static Scenario>, String> {
        chosen("scenario", &self.scenario, SCENARIOS, |scenario| scenario.name)
    }
}

/// Those of `all` that are named; all of them when none is.
fn chosen<T>(
    what: &str,
    names: &[String],
    all: &'static [T],
    name_of: fn(&T) -> &'static str,
) -> Result<Vec<&'static T>, String> {
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|one| name_of(one) == *name)) {
        let known: Vec<&str> = all.iter().map(name_of).collect();
        return Err(format!("there is no {what} '{unknown}'; there are {}", known.join(", ")));
    }
    Ok(all.iter().filter(|one| names.is_empty() || names.iter().any(|name| name == name_of(one))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Options {
        Options::parse_from([&["latency-bench"], args].concat())
    }

    #[test]
    fn what_a_design_is_compared_with_runs_too() {
        let names = |args: &[&str]| -> Vec<&str> {
            options(args).designs().expect("known").iter().map(|design| design.name).collect()
        };
        assert_eq!(names(&["--only", "rival-go,ours"]), ["floor", "ours", "rival-go"]);
        assert_eq!(names(&["--only", "e2e-bare"]), ["e2e-bare"]);
        assert_eq!(names(&[]).len(), DESIGNS.len());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = options(&["--scenario", "warm"]).scenarios().expect_err("unknown");
        assert!(error.contains("'warm'") && error.contains("idle, loaded, pressure, cold"), "{error}");
    }

    #[test]
    fn slow_designs_and_cold_scenarios_get_few_events() {
        let options = options(&["--rounds", "6", "--events", "2000"]);
        let of = |name: &str, scenario: usize| {
            let design = DESIGNS.iter().find(|design| design.name == name).expect("known");
            options.events(design, &SCENARIOS[scenario])
        };
        assert_eq!((of("ours", 0), of("ours", 3)), (2_000, 10));
        assert_eq!((of("rival-shell", 0), of("rival-shell", 3)), (2, 0));
    }
}
