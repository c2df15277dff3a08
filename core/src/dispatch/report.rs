//! What became of an event: plain values that are journalled, shown and kept.
//!
//! Inputs: outcomes as they come. Outputs: the report's JSON form (`snooze report --json`). Must never
//! hold a secret: whoever keeps or shows it scrubs it first.

use super::plan::{Handler, Start};
use crate::event::told::Over;
use crate::event::{Event, Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Did its work.
    Handled,
    /// Had nothing to do.
    Declined,
    /// Failed, all attempts included.
    Failed,
    /// Was told to stop when its time was over, and stopped.
    TimedOut,
    /// Did not stop when its time was over; its thread was given up or its process killed.
    Abandoned,
    /// Panicked or threw.
    Panicked,
    /// Its process died.
    Crashed,
    /// Was told to stop for another reason, and stopped.
    Cancelled,
    /// Never started: no time or no thread was left for it.
    NotRun,
}

impl Ended {
    /// All, as they are documented.
    pub const ALL: [Self; 9] = [
        Self::Handled,
        Self::Declined,
        Self::Failed,
        Self::TimedOut,
        Self::Abandoned,
        Self::Panicked,
        Self::Crashed,
        Self::Cancelled,
        Self::NotRun,
    ];

    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Abandoned => "abandoned",
            Self::Panicked => "panicked",
            Self::Crashed => "crashed",
            Self::Cancelled => "cancelled",
            Self::NotRun => "not-run",
        }
    }
}

/// Whether the effect was seen to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verified {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// Asked, but it cannot be told.
    Unknown,
    /// Not asked: the handler did not succeed, verification is off, or no time was left.
    NotAsked,
}

/// Whether a handler did its work, or had none: what `on_failure` goes by.
pub fn is_well(ended: Ended, verified: Verified) -> bool {
    matches!(ended, Ended::Handled | Ended::Declined) && verified != Verified::No
}

/// What a worker brings back from one delivery, every attempt included.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub ended: Ended,
    /// Attempts made.
    pub attempts: u32,
    /// First instruction of the first attempt, CLOCK_BOOTTIME nanoseconds.
    pub started_boot_ns: i64,
    /// Return of the last, CLOCK_BOOTTIME nanoseconds.
    pub ended_boot_ns: i64,
    /// Text of the last failure.
    pub error: Option<String>,
    /// The handler's evidence.
    pub result: Option<Map<String, Value>>,
    /// Whether the effect holds.
    pub verified: Verified,
    /// The verification's evidence.
    pub evidence: Option<Map<String, Value>>,
}

/// What became of one handler, as the real-time side notes it: shared values, no text of its own making.
pub struct Outcome<I> {
    /// The handler.
    pub handler: Arc<Handler<I>>,
    /// Its tier, from 0; None for one that started at once.
    pub tier: Option<usize>,
    /// How it went; when it never started, both times are that of the decision.
    pub finished: Finished,
    /// Time granted, nanoseconds.
    pub budget_ns: i64,
    /// Until the cloud acts (or the assumed time), at its end, nanoseconds; negative when that is past.
    pub left_ns: i64,
    /// By how much it answered after it had been told that its time was over, nanoseconds.
    pub late_ns: Option<i64>,
}

/// An event that is over, as the real-time side notes it.
pub struct Closed<I> {
    /// The event.
    pub event: Arc<Event>,
    /// `completed` or `withdrawn`.
    pub state: &'static str,
    /// Its handlers, in the order they ended.
    pub outcomes: Vec<Arc<Outcome<I>>>,
    /// First instruction of the first handler, CLOCK_BOOTTIME nanoseconds.
    pub first_start: Option<i64>,
    /// When the cloud acts, or the time assumed, CLOCK_BOOTTIME nanoseconds.
    pub end_boot_ns: i64,
    /// When it was over.
    pub at: Moment,
}

/// One handler's part of the report. Times in milliseconds are counted from detection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandlerReport {
    /// Name of the plugin.
    pub handler: String,
    /// "EVENT_TYPE/PLUGIN".
    pub instance: String,
    /// Priority.
    pub priority: u32,
    /// Number of the tier, from 0; None for one that started at once.
    pub tier: Option<usize>,
    /// When it was to start.
    pub start: String,
    /// How it ended.
    pub status: Ended,
    /// Attempts made.
    pub attempts: u32,
    /// Start of the first attempt, milliseconds; None when it never started.
    pub start_ms: Option<f64>,
    /// From first start to last return, milliseconds.
    pub duration_ms: f64,
    /// Time granted, milliseconds.
    pub budget_ms: f64,
    /// Seconds until the cloud acts (or the assumed time), at its end.
    pub left_seconds: f64,
    /// Whether its effect holds.
    pub verified: Verified,
    /// By how much it answered after it had been told that its time was over, milliseconds; None when it was in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<f64>,
    /// Text of the failure.
    pub error: Option<String>,
    /// The handler's evidence.
    pub result: Option<Map<String, Value>>,
    /// The verification's evidence.
    pub evidence: Option<Map<String, Value>>,
}

/// The report of one event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventReport {
    /// Identity.
    pub event_id: String,
    /// Type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `running`, `completed` or `withdrawn`.
    pub state: String,
    /// Detection, RFC 3339.
    pub detected: String,
    /// When the cloud acts, RFC 3339; None when it did not say.
    pub deadline: Option<String>,
    /// From detection to the first instruction of the first handler, microseconds.
    pub first_start_us: Option<f64>,
    /// From detection to the end of the last handler, milliseconds.
    pub duration_ms: f64,
    /// Seconds until the cloud acts (or the assumed time), at the end.
    pub left_seconds: f64,
    /// The handlers, in the order they ended.
    pub handlers: Vec<HandlerReport>,
    /// The event as it was published.
    pub event: Value,
}

/// Nanoseconds as milliseconds with three decimals.
#[allow(clippy::cast_precision_loss, reason = "microseconds are kept; 2^53 us are 285 years")]
pub fn millis(ns: i64) -> f64 {
    (ns / 1_000) as f64 / 1_000.0
}

/// Nanoseconds as seconds with three decimals, never negative.
#[allow(clippy::cast_precision_loss, reason = "milliseconds are kept")]
pub fn seconds(ns: i64) -> f64 {
    (ns.max(0) / 1_000_000) as f64 / 1_000.0
}

impl Start {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InOrder => "in-order",
            Self::AtOnce => "at-once",
        }
    }
}

impl HandlerReport {
    /// The report of one outcome of an event detected at `detected_boot_ns` (CLOCK_BOOTTIME).
    pub fn new<I>(outcome: &Outcome<I>, detected_boot_ns: i64) -> Self {
        let Outcome { handler, finished, .. } = outcome;
        let late = || Some(format!("answered {} ms after its time was over", outcome.late_ns? / 1_000_000));
        let has_run = finished.ended != Ended::NotRun;
        Self {
            handler: handler.name.clone(),
            instance: handler.instance_name.clone(),
            priority: handler.priority,
            tier: outcome.tier,
            start: handler.start.as_str().into(),
            status: finished.ended,
            attempts: finished.attempts,
            start_ms: has_run.then(|| millis(finished.started_boot_ns - detected_boot_ns)),
            duration_ms: millis(finished.ended_boot_ns - finished.started_boot_ns),
            budget_ms: millis(outcome.budget_ns),
            left_seconds: seconds(outcome.left_ns),
            verified: finished.verified,
            late_ms: outcome.late_ns.map(millis),
            error: finished.error.clone().or_else(late),
            result: finished.result.clone(),
            evidence: finished.evidence.clone(),
        }
    }
}

impl<I> Closed<I> {
    /// The event's report.
    pub fn report(&self) -> EventReport {
        let detected = self.event.detected.boot_ns;
        let handlers = self.outcomes.iter().map(|outcome| HandlerReport::new(outcome, detected)).collect();
        EventReport::new(&self.event, self.state, handlers, self.first_start, self.end_boot_ns, self.at)
    }
}

impl EventReport {
    /// How the event ended, for whoever told it.
    pub fn outcome(&self) -> Over {
        match () {
            () if self.state == "withdrawn" => Over::Withdrawn,
            () if self.handlers.iter().all(|handler| is_well(handler.status, handler.verified)) => Over::Handled,
            () => Over::Failed,
        }
    }

    /// The report of an event at `now`, with what has ended so far. `first_start` and `due` are
    /// CLOCK_BOOTTIME nanoseconds.
    pub fn new(
        event: &Arc<Event>,
        state: &str,
        handlers: Vec<HandlerReport>,
        first_start: Option<i64>,
        due_boot_ns: i64,
        now: Moment,
    ) -> Self {
        let detected = event.detected.boot_ns;
        Self {
            event_id: event.id.to_string(),
            event_type: event.event_type.to_string(),
            state: state.into(),
            detected: event.detected.rfc3339(),
            deadline: event.effective.map(Moment::rfc3339),
            first_start_us: first_start.map(|at| millis((at - detected).saturating_mul(1_000))),
            duration_ms: millis(now.boot_ns - detected),
            left_seconds: seconds(due_boot_ns - now.boot_ns),
            handlers,
            event: event.to_json(event.detected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_have_the_names_that_they_have_in_json() {
        for ended in Ended::ALL {
            assert_eq!(serde_json::to_value(ended).expect("JSON"), ended.as_str());
        }
    }
}
