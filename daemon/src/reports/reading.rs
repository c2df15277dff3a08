//! What stands in a report, read for people: its order, its times, its words.
//!
//! Inputs: a report. Outputs: texts and lists that all its forms share. Must never say of a handler what the report does
//! not.

use super::words::exact;
use crate::dispatch::plan::Start;
use crate::dispatch::report::{Ended, EventReport, HandlerReport, Verified};

/// How the end lies to the deadline.
pub fn left(report: &EventReport) -> String {
    let deadline = if report.deadline.is_some() { "the deadline" } else { "the assumed deadline" };
    if report.left_seconds > 0.0 {
        return format!("{} before {deadline}", exact(report.left_seconds));
    }
    let late = notice_seconds(report).map(|notice| report.duration_ms / 1e3 - notice).filter(|late| *late >= 0.05);
    late.map_or_else(|| format!("at or after {deadline}"), |late| format!("{} after {deadline}", exact(late)))
}

/// Seconds from detection to the deadline that the notice named.
pub fn notice_seconds(report: &EventReport) -> Option<f64> {
    let detected: jiff::Timestamp = report.detected.parse().ok()?;
    let deadline: jiff::Timestamp = report.deadline.as_ref()?.parse().ok()?;
    Some(deadline.duration_since(detected).as_secs_f64())
}

/// The handlers as they started; those that never did come last.
pub fn in_order(report: &EventReport) -> Vec<&HandlerReport> {
    let mut handlers: Vec<&HandlerReport> = report.handlers.iter().collect();
    let start = |handler: &HandlerReport| handler.start_ms.unwrap_or(f64::INFINITY);
    handlers.sort_by(|a, b| {
        start(a).total_cmp(&start(b)).then(b.priority.cmp(&a.priority)).then(a.handler.cmp(&b.handler))
    });
    handlers
}

/// The word for how a handler ended.
pub const fn ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Handled => "handled",
        Ended::Declined => "nothing to do",
        Ended::Failed => "failed",
        Ended::TimedOut => "timed out",
        Ended::Abandoned => "abandoned",
        Ended::Panicked => "panicked",
        Ended::Crashed => "crashed",
        Ended::Cancelled => "cancelled",
        Ended::NotRun => "not run",
    }
}

/// The word for whether its effect was seen.
pub const fn verified(verified: Verified) -> &'static str {
    match verified {
        Verified::Yes => "yes",
        Verified::No => "no",
        Verified::Unknown => "unknown",
        Verified::NotAsked => "-",
    }
}

/// Name of the shape and of the colour that stand for how a handler ended.
pub const fn shape(ended: Ended) -> &'static str {
    match ended {
        Ended::Handled => "done",
        Ended::Declined => "idle",
        Ended::Failed | Ended::Panicked | Ended::Crashed => "failed",
        Ended::TimedOut | Ended::Abandoned => "late",
        Ended::Cancelled => "stopped",
        Ended::NotRun => "skipped",
    }
}

/// Whether a handler was to start with the first, whatever its priority.
pub fn at_once(handler: &HandlerReport) -> bool {
    handler.start == Start::AtOnce.as_str()
}
