//! What a plugin does to its host, found out before it runs in the daemon: `snooze plugin verify`.
//!
//! Responsibilities: the list of tests, each with a name that never changes; running each in a process of its own with
//! a time limit; saying what was found, what was expected and what the author should do. Inputs: a plugin's file, a
//! configuration, a seed. Outputs: a [`report::Report`]. `run` is the parent, `child` the process of one test; `image`
//! reads the file; `stage` plays the host, `scene` holds events and calls, `drive` calls the plugin. Must never run a
//! plugin's code in the process of the command line, unless asked to.

pub mod cancel;
pub mod case;
pub mod child;
pub mod delivery;
pub mod drive;
pub mod events;
pub mod image;
pub mod leftovers;
pub mod life;
pub mod load;
pub mod realtime;
pub mod report;
pub mod robust;
pub mod run;
pub mod scene;
pub mod source;
pub mod stage;

use case::Case;
use image::Image;
use serde::{Deserialize, Serialize};

/// What a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The file; none of its code runs.
    Static,
    /// Loading it.
    Load,
    /// Making, opening, closing and freeing instances.
    Life,
    /// Events.
    Delivery,
    /// Stopping in time.
    Cancel,
    /// The promise not to block.
    Realtime,
    /// What is not supposed to happen.
    Robustness,
    /// Bringing notices.
    Source,
}

impl Group {
    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Static => "static: the file, without running it",
            Self::Load => "load",
            Self::Life => "life cycle",
            Self::Delivery => "delivery",
            Self::Cancel => "cancel",
            Self::Realtime => "realtime",
            Self::Robustness => "robustness",
            Self::Source => "source: plugins that bring notices",
        }
    }
}

/// What a test found, in words that stand for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// As expected.
    Good(String),
    /// Works, but should be looked at.
    Doubtful(String),
    /// Not as expected.
    Bad(String),
    /// It did not come back in its time.
    Late(String),
    /// There was nothing to test, and why.
    Skipped(String),
}

/// How a test is run.
#[derive(Clone, Copy)]
pub enum Body {
    /// Reads the file; in the process of the command line.
    Static(fn(&Image) -> Finding),
    /// Runs the plugin; in a process of its own. May leave by `Err` when it cannot begin.
    Dynamic(fn(&Case) -> Result<Finding, Finding>),
}

/// One test.
#[derive(Clone, Copy)]
pub struct Test {
    /// Its name. Never changes and never gets another meaning: scripts and documents name it.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// What is expected, one phrase.
    pub expected: &'static str,
    /// What the author should do when it is not so, one sentence.
    pub advice: &'static str,
    /// Time limit, seconds.
    pub limit_seconds: u32,
    /// A test that must not have crashed, hung or (for `load-*` and `life-*`) failed for this one to make sense.
    pub needs: &'static str,
    /// How it is run.
    pub body: Body,
}

impl Test {
    /// What the dynamic tests of a group have in common; words and body are each test's own.
    const fn of(group: Group, limit_seconds: u32, needs: &'static str) -> Self {
        let body = Body::Dynamic(|_| Ok(Finding::Skipped(String::new())));
        Self { name: "", group, expected: "", advice: "", limit_seconds, needs, body }
    }
}

/// Every test, in order. The number shown is its place in this list.
pub fn all() -> Vec<Test> {
    [
        image::TESTS,
        load::TESTS,
        life::TESTS,
        delivery::TESTS,
        leftovers::TESTS,
        cancel::TESTS,
        realtime::TESTS,
        robust::TESTS,
        source::TESTS,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_begin_with_their_group_and_needs_come_first() {
        let mut seen = BTreeSet::new();
        for test in all() {
            let group = serde_json::to_value(test.group).expect("a word");
            let prefix = if test.group == Group::Robustness { "robust" } else { group.as_str().expect("a word") };
            assert!(test.name.starts_with(&format!("{prefix}-")), "{}", test.name);
            assert!(test.needs.is_empty() || seen.contains(test.needs), "{} needs {}", test.name, test.needs);
            assert!(seen.insert(test.name), "{} twice", test.name);
            let is_sentence = |text: &str| text.len() > 10 && !text.ends_with('.');
            assert!(is_sentence(test.expected) && is_sentence(test.advice), "{}", test.name);
        }
        assert!(seen.len() >= 44, "{}", seen.len());
    }

    #[test]
    fn the_guide_says_of_every_test_what_the_list_says() {
        let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plugins/verify.md");
        let guide = std::fs::read_to_string(guide).expect("docs/plugins/verify.md");
        for test in all() {
            let row = format!("| `{}` | {} | {} |", test.name, test.expected, test.advice);
            assert!(guide.contains(&row), "docs/plugins/verify.md lacks the row\n{row}");
        }
        let rows = guide.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `-")).count();
        assert_eq!(rows, all().len(), "docs/plugins/verify.md has rows of tests that are gone");
    }
}
