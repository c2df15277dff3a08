//! One sentence: was it well?
//!
//! Inputs: a report. Outputs: the sentence and the answer. Must never say yes when a handler failed, an
//! effect did not hold, or something is still running.

use super::reading::{ended, left};
use super::words::{count, exact, plain};
use crate::dispatch::report::{Ended, EventReport, HandlerReport, Verified};

/// The answer.
pub struct Verdict {
    /// Whether everything that was to be done was done and holds.
    pub is_well: bool,
    /// It in words.
    pub sentence: String,
}

/// The verdict on a report.
pub fn verdict(report: &EventReport) -> Verdict {
    let is_withdrawn = report.state == "withdrawn";
    // A withdrawn event needs no handler any more: those it stopped have not failed.
    let is_excused = |h: &&HandlerReport| is_withdrawn && matches!(h.status, Ended::Cancelled | Ended::NotRun);
    let failures: Vec<String> = report.handlers.iter().filter(|h| !is_excused(h)).filter_map(failure).collect();
    let end = match report.state.as_str() {
        "running" => format!("still running, {} left", exact(report.left_seconds)),
        "withdrawn" => "the cloud took the notice back".into(),
        "completed" => format!("finished {}", left(report)),
        "interrupted" => "the daemon ended before the event did".into(),
        other => plain(other),
    };
    let is_over = matches!(report.state.as_str(), "completed" | "withdrawn");
    if report.handlers.is_empty() {
        let nothing = if is_over { "nothing handles this event" } else { "no handler has ended yet" };
        return Verdict { is_well: is_withdrawn, sentence: format!("{nothing}; {end}") };
    }
    let failed = if failures.is_empty() { String::new() } else { format!("; {}", failures.join(", ")) };
    let sentence = format!("{}{failed}; {end}", counts(&report.handlers));
    Verdict { is_well: is_over && failures.is_empty(), sentence }
}

fn counts(handlers: &[HandlerReport]) -> String {
    let number = |what: fn(&HandlerReport) -> bool| handlers.iter().filter(|h| what(h)).count();
    let all = handlers.len();
    let handled = number(|h| h.status == Ended::Handled);
    let declined = number(|h| h.status == Ended::Declined);
    let verified = number(|h| h.verified == Verified::Yes);
    let idle = if declined > 0 { format!(", {declined} had nothing to do") } else { String::new() };
    let seen = match verified {
        0 => ", none verified".into(),
        n if n == handled => " and verified".into(),
        n => format!(", {n} verified"),
    };
    match handled {
        0 if declined == all => format!("{} had nothing to do", count(all, "handler")),
        0 => format!("0 of {all} handled{idle}"),
        _ => format!("{handled} of {all} handled{seen}{idle}"),
    }
}

fn failure(handler: &HandlerReport) -> Option<String> {
    let name = plain(&handler.handler);
    match (handler.status, handler.verified) {
        (Ended::Handled, Verified::No) => Some(format!("{name} is not verified")),
        (Ended::Handled | Ended::Declined, _) => None,
        (Ended::Cancelled | Ended::Abandoned | Ended::NotRun, _) => {
            Some(format!("{name} was {}", ended(handler.status)))
        }
        _ => Some(format!("{name} {}", ended(handler.status))),
    }
}
