//! What the handlers say they did, and whether that is what was promised.
//!
//! Inputs: the lines that the witnesses wrote, the report of the event. Outputs: what is wrong with them, in words.
//! Decides only.

use crate::draw::{Announced, Draw};
use serde_json::Value;
use std::collections::BTreeSet;

/// The handlers, in the order of their priorities.
pub const HANDLERS: [&str; 3] = ["first", "second", "third"];
/// After this long the journal knows that a handler has ended, nanoseconds: the pool hands its notes over within
/// milliseconds, and a commit takes some, on a busy machine more.
const JOURNALLED_NS: i64 = 200_000_000;

/// One line of a witness.
#[derive(Clone, Debug)]
pub struct Line {
    /// begin, effect, again, end.
    pub what: String,
    /// Which handler.
    pub name: String,
    /// Idempotency key.
    pub key: String,
    /// Event id.
    pub event: String,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub at_ns: i64,
}

/// Reads the lines of a file; a line that was cut by a crash of its writer is left out.
pub fn read(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, name, _, key, event, at_ns] = words.as_slice() else { return None };
        let own = |text: &str| text.to_owned();
        Some(Line { what: own(what), name: own(name), key: own(key), event: own(event), at_ns: at_ns.parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

/// What was found wrong with one interruption.
#[derive(Debug, Default)]
pub struct Findings {
    /// An effect that should be there is not.
    pub lost: Vec<String>,
    /// An effect was done twice, or work was done again that the journal knew of.
    pub repeated: Vec<String>,
    /// Anything else that was promised.
    pub violations: Vec<String>,
}

/// Judges one interruption whose event is over, by its lines, its report and when the daemon was killed in its course
/// (CLOCK_MONOTONIC, nanoseconds).
pub fn judge(draw: &Draw, lines: &[Line], report: &Value, kills_ns: &[i64]) -> Findings {
    let mut findings = Findings::default();
    let events: BTreeSet<&str> = lines.iter().map(|line| line.event.as_str()).collect();
    if events.len() > 1 {
        findings.repeated.push(format!("one notice became {} events", events.len()));
    }
    let may_be_cut_short = draw.announced == Announced::Withdrawn;
    let state = report["state"].as_str().unwrap_or_default();
    if state != "completed" && !(may_be_cut_short && state == "withdrawn") {
        findings.violations.push(format!("the event's state is '{state}'"));
    }
    for name in HANDLERS {
        let of = |what: &str| lines.iter().filter(|l| l.name == name && l.what == what).collect::<Vec<_>>();
        let effects = of("effect");
        if effects.len() > 1 {
            findings.repeated.push(format!("{name} did its work {} times", effects.len()));
        }
        let keys: BTreeSet<&str> = lines.iter().filter(|l| l.name == name).map(|l| l.key.as_str()).collect();
        if keys.len() > 1 {
            findings.repeated.push(format!("{name} was given {} keys for one notice", keys.len()));
        }
        let status = status_of(report, name);
        let must_have_worked = if name == "second" { status == "handled" } else { !may_be_cut_short };
        // A kill may come between the effect and the line that tells of it: then the next attempt found it done.
        if must_have_worked && effects.is_empty() && of("again").is_empty() {
            findings.lost.push(format!("{name} is reported as '{status}' and did nothing"));
        }
        if name != "second" && status != "handled" && !may_be_cut_short {
            findings.violations.push(format!("{name} ended as '{status}'"));
        }
        for end in of("end") {
            let known = kills_ns.iter().any(|kill_ns| *kill_ns > end.at_ns + JOURNALLED_NS);
            if known && of("begin").into_iter().any(|begin| begin.at_ns > end.at_ns) {
                findings.repeated.push(format!("{name} was called again though the journal knew that it had ended"));
            }
        }
    }
    findings.violations.extend(out_of_order(lines));
    findings
}

/// The work of a tier is done before the next one begins.
fn out_of_order(lines: &[Line]) -> Option<String> {
    let first =
        |name: &str, what: &str| lines.iter().filter(|l| l.name == name && l.what == what).map(|l| l.at_ns).min();
    let later = [("first", "second"), ("first", "third"), ("second", "third")];
    later.into_iter().find_map(|(before, after)| {
        let what = if before == "second" { "begin" } else { "effect" };
        let (done, begun) = (first(before, what)?, first(after, "begin")?);
        (begun < done).then(|| format!("{after} began before {before} had done its work"))
    })
}

fn status_of<'a>(report: &'a Value, name: &str) -> &'a str {
    let handlers = report["handlers"].as_array().map_or(&[][..], Vec::as_slice);
    let found = handlers.iter().find(|h| h["handler"] == name);
    found.and_then(|h| h["status"].as_str()).unwrap_or("not reported")
}
