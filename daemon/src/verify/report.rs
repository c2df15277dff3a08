//! What came of a verification: one record a test, a verdict, and the forms in which programs read them.
//!
//! Inputs: findings. Outputs: values that serialise, JUnit XML. Must never call a plugin fit of which nothing was
//! tested, nor one with a test that failed.

use super::{Finding, Group};
use serde::Serialize;
use std::fmt::Write as _;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As expected.
    Success,
    /// Works, but should be looked at.
    Warning,
    /// Not as expected.
    Failed,
    /// The process of the test ended in the middle of it.
    Crashed,
    /// It did not end in its time.
    TimedOut,
    /// There was nothing to test.
    Skipped,
}

impl Outcome {
    /// Whether the plugin is not fit because of it.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed | Self::TimedOut)
    }

    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed out",
            Self::Skipped => "skipped",
        }
    }
}

/// What came of one test.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Its place in the list of all tests, from 1.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: &'static str,
    /// What the author should do about a warning or a failure.
    pub advice: &'static str,
}

impl From<Finding> for (Outcome, String) {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Good(text) => (Outcome::Success, text),
            Finding::Doubtful(text) => (Outcome::Warning, text),
            Finding::Bad(text) => (Outcome::Failed, text),
            Finding::Late(text) => (Outcome::TimedOut, text),
            Finding::Skipped(text) => (Outcome::Skipped, text),
        }
    }
}

/// A whole verification.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the plugin.
    pub plugin: String,
    /// Its file.
    pub path: std::path::PathBuf,
    /// SHA-256 of the file, for the configuration's `sha256`.
    pub sha256: String,
    /// What chance began with.
    pub seed: u64,
    /// Whether it may be put into the daemon.
    pub is_fit: bool,
    /// How long everything took.
    pub seconds: f64,
    /// One a test, in order.
    pub tests: Vec<Record>,
}

impl Report {
    /// The verdict on these records.
    pub fn judge(tests: &[Record]) -> bool {
        let count = |wanted: Outcome| tests.iter().filter(|record| record.outcome == wanted).count();
        count(Outcome::Success) + count(Outcome::Warning) > 0 && !tests.iter().any(|record| record.outcome.is_bad())
    }

    /// How many tests ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.tests.iter().filter(|record| record.outcome == outcome).count()
    }

    /// JUnit's XML, as build servers read it: one suite a group.
    pub fn junit(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        let mut rest = self.tests.as_slice();
        // Writing to a String cannot fail.
        while let Some(first) = rest.first() {
            let (suite, after) = rest.split_at(rest.iter().take_while(|record| record.group == first.group).count());
            rest = after;
            let failures = suite.iter().filter(|r| r.outcome == Outcome::Failed).count();
            let errors = suite.iter().filter(|r| r.outcome.is_bad()).count() - failures;
            let skipped = suite.iter().filter(|r| r.outcome == Outcome::Skipped).count();
            let _ = writeln!(
                xml,
                "  <testsuite name=\"{}: {}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\">",
                escape(&self.plugin),
                escape(first.group.title()),
                suite.len()
            );
            for record in suite {
                let _ = writeln!(xml, "{}", self.junit_case(record));
            }
            xml.push_str("  </testsuite>\n");
        }
        xml + "</testsuites>\n"
    }

    fn junit_case(&self, record: &Record) -> String {
        let (name, class, found) = (record.name, escape(&self.plugin), escape(&record.found));
        let open = format!("    <testcase name=\"{name}\" classname=\"{class}\" time=\"{:.3}\"", record.seconds);
        let text = escape(&format!("expected: {}; do: {}", record.expected, record.advice));
        match record.outcome {
            Outcome::Success => format!("{open}/>"),
            Outcome::Skipped => format!("{open}><skipped message=\"{found}\"/></testcase>"),
            Outcome::Warning => format!("{open}><system-out>warning: {found}; {text}</system-out></testcase>"),
            Outcome::Failed => format!("{open}><failure message=\"{found}\">{text}</failure></testcase>"),
            Outcome::Crashed | Outcome::TimedOut => {
                let kind = record.outcome.word();
                format!("{open}><error type=\"{kind}\" message=\"{found}\">{text}</error></testcase>")
            }
        }
    }
}

/// XML's five characters, and none of those that XML 1.0 has no way to write.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &'static str, outcome: Outcome) -> Record {
        let group = Group::Delivery;
        let found = "a < b & \"c\"\x1b".to_owned();
        Record { number: 1, name, group, outcome, seconds: 0.5, found, expected: "x", advice: "y" }
    }

    #[test]
    fn one_bad_test_or_nothing_tested_is_not_fit_and_a_warning_is() {
        let judge = |outcomes: &[Outcome]| Report::judge(&outcomes.iter().map(|o| record("t", *o)).collect::<Vec<_>>());
        assert!(judge(&[Outcome::Success, Outcome::Warning, Outcome::Skipped]));
        for bad in [Outcome::Failed, Outcome::Crashed, Outcome::TimedOut] {
            assert!(!judge(&[Outcome::Success, bad]), "{bad:?}");
        }
        assert!(!judge(&[Outcome::Skipped]) && !judge(&[]));
    }

    #[test]
    fn junit_counts_and_escapes() {
        let tests = [Outcome::Success, Outcome::Failed, Outcome::Crashed, Outcome::Skipped, Outcome::Warning];
        let tests = tests.map(|outcome| record("delivery-kinds", outcome)).to_vec();
        let report = Report {
            plugin: "x".into(),
            path: "/x.so".into(),
            sha256: String::new(),
            seed: 1,
            is_fit: false,
            seconds: 1.0,
            tests,
        };
        let xml = report.junit();
        assert!(xml.contains("tests=\"5\" failures=\"1\" errors=\"1\" skipped=\"1\""), "{xml}");
        assert!(xml.contains("a &lt; b &amp; &quot;c&quot; \""), "{xml}");
        assert!(xml.contains("<error type=\"crashed\""), "{xml}");
    }
}
