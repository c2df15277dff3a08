//! The numbers this project promises: what they are, where they are measured, whether they are kept.
//!
//! Inputs: `promises.toml`, the figures that benchmarks and campaigns wrote. Outputs: verdicts, and the page
//! `docs/PROMISES.md`. Must never call a figure good that was not measured.

pub mod verdict;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const SOURCE: &str = include_str!("../promises.toml");

/// Everything that is promised.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promises {
    /// What measures, by name.
    pub commands: BTreeMap<String, Command>,
    /// In the order of the page.
    #[serde(rename = "promise")]
    pub all: Vec<Promise>,
}

/// What measures.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// A line for the shell, at the root of the repository.
    pub run: String,
    /// The file below `target/promises` that it writes.
    pub file: String,
    /// About how long it takes on two cores, builds included.
    pub minutes: u32,
    /// How much has to have been measured: least values of the file's numbers, by their places (JSON pointers). A figure of a shorter run
    /// keeps no promise.
    #[serde(default)]
    pub needs: BTreeMap<String, f64>,
}

/// A number that is promised.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// A few words.
    pub name: String,
    /// What exactly is measured.
    pub about: String,
    /// Which command measures it.
    pub command: String,
    /// Where the figure stands in the command's file (a JSON pointer, RFC 6901): a number, or a list whose length counts.
    pub figure: String,
    /// Of the figure.
    pub unit: String,
    /// Greatest value that keeps it.
    pub at_most: Option<f64>,
    /// Least value that keeps it.
    pub at_least: Option<f64>,
}

impl Promise {
    /// What is promised, in words.
    pub fn limit(&self) -> String {
        let bound = |word: &str, bound: Option<f64>| bound.map(|bound| format!("{word} {bound}"));
        let bounds = [bound("at least", self.at_least), bound("at most", self.at_most)];
        let words: Vec<String> = bounds.into_iter().flatten().collect();
        format!("{} {}", words.join(", "), self.unit)
    }
}

/// What is promised.
///
/// # Errors
/// `promises.toml` is not what it should be.
pub fn promises() -> Result<Promises> {
    parse(SOURCE)
}

fn parse(text: &str) -> Result<Promises> {
    let promises: Promises = toml::from_str(text).context("promises.toml")?;
    for promise in &promises.all {
        if !promises.commands.contains_key(&promise.command) {
            bail!("promises.toml: `{}` is measured by `{}`, which is no command", promise.name, promise.command);
        }
        if promise.at_most.is_none() && promise.at_least.is_none() {
            bail!("promises.toml: `{}` promises nothing: it has neither at_most nor at_least", promise.name);
        }
    }
    Ok(promises)
}

/// `docs/PROMISES.md`.
///
/// # Errors
/// As for [`promises`].
pub fn page() -> Result<String> {
    let promises = promises()?;
    let minutes: u32 = promises.commands.values().map(|command| command.minutes).sum();
    let hours = (minutes + 30) / 60;
    let mut page = format!(
        "<!-- Made from tests/promises/promises.toml by `make generate`. -->\n# Promises\n\n\
         What this project promises in numbers, and the command that measures each. `make promises` runs them all, one after the\n\
         other, on a machine that should do nothing else; it prints promise, measured figure and verdict, writes\n\
         `target/promises/all.json`, and fails when one is not kept or was not measured. A run that was shorter\n\
         than the promised one can break a promise, and keeps none.\n\n\
         ```sh not-run=minutes\n\
         make promises                                   # everything, about {hours} hours on two cores\n\
         make promises PROMISES=\"--only footprint,soak\"  # some of it\n\
         make promises PROMISES=--judge                  # what was measured before\n\
         ```\n\n\
         Times are ratios against a baseline in the same run wherever there is one: those can be compared between machines.\n\
         Figures that were measured, with machine and day: [LATENCY.md](LATENCY.md), [data-safety.md](data-safety.md).\n\n",
    );
    page.push_str("| promise | what is measured | limit | measured by |\n|---|---|---|---|\n");
    for promise in &promises.all {
        let run = promises.commands.get(&promise.command).map_or("", |command| command.run.as_str());
        writeln!(page, "| {} | {} | {} | `{run}` |", promise.name, promise.about, promise.limit())?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_complete_and_each_command_measures_something() {
        let promises = promises().expect("promises.toml");
        for name in promises.commands.keys() {
            assert!(promises.all.iter().any(|promise| promise.command == *name), "{name} measures nothing");
        }
    }

    #[test]
    fn a_promise_without_a_command_or_a_limit_is_refused_with_its_name() {
        let with = |tail: &str| {
            let promise = format!("[[promise]]\nname = \"x\"\nabout = \"\"\nfigure = \"/a\"\nunit = \"\"\n{tail}");
            let command = "[commands.soak]\nrun = \"true\"\nfile = \"a.json\"\nminutes = 1\n";
            parse(&format!("{command}{promise}")).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(with("command = \"soak\"\nat_most = 1\n"), Ok(()));
        assert!(with("command = \"other\"\nat_most = 1\n").is_err_and(|text| text.contains("`other`, which is no")));
        assert!(with("command = \"soak\"\n").is_err_and(|text| text.contains("`x` promises nothing")));
    }
}
