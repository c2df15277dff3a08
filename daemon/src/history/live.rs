//! The events that run, as the recorder knows them.
//!
//! Inputs: an event, what has ended of it. Outputs: its report as it stands. Pure but for the clock. Must never keep an event for
//! ever whose end was lost.

use crate::dispatch::report::{EventReport, HandlerReport};
use crate::event::{Event, EventId};
use crate::sys::clock;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Events that are held in memory as running: more than can run and wait at once. What is beyond has lost its end.
const LIVE_MAX: usize = 8_192;

/// One that runs.
pub(super) struct Live {
    /// The event.
    pub(super) event: Arc<Event>,
    /// What has ended of it.
    pub(super) handlers: Vec<HandlerReport>,
    /// So many of them ended in an earlier process.
    pub(super) earlier: usize,
    /// What has begun and not ended, as the stream tells it, by instance.
    pub(super) running: BTreeMap<String, Value>,
    /// The report, once it is over and until it is written down.
    pub(super) over: Option<EventReport>,
}

impl Live {
    /// One of which nothing has ended.
    pub(super) fn new(event: &Arc<Event>) -> Self {
        Self { event: Arc::clone(event), handlers: Vec::new(), earlier: 0, running: BTreeMap::new(), over: None }
    }

    /// A handler has begun; `told` is what the stream says of it.
    pub(super) fn begun(&mut self, instance: &str, told: &Value) {
        self.running.insert(instance.to_owned(), told.clone());
    }

    /// A handler has ended.
    pub(super) fn ended(&mut self, report: HandlerReport) {
        self.running.remove(&report.instance);
        self.handlers.push(report);
    }

    /// Its report as it stands, as JSON; what runs is in `running`, where something does.
    pub(super) fn as_json(&self) -> Value {
        let mut report = serde_json::to_value(self.report()).unwrap_or_default();
        if self.over.is_none() && !self.running.is_empty() {
            report["running"] = self.running.values().cloned().collect();
        }
        report
    }

    /// Its report as it stands.
    pub(super) fn report(&self) -> EventReport {
        if let Some(report) = &self.over {
            return report.clone();
        }
        let now = clock::now();
        let first = self.handlers.iter().filter_map(|h| h.start_ms).reduce(f64::min);
        let due = end_ns(&self.event, now.boot_ns);
        let mut report = EventReport::new(&self.event, "running", self.handlers.clone(), None, due, now);
        report.first_start_us = first.map(|ms| ms * 1_000.0);
        report
    }
}

/// Takes the oldest of too many events that seem to run out of the list: the note of its end was dropped, it would stay for
/// ever.
pub(super) fn forsaken(live: &mut HashMap<EventId, Live>) -> Option<EventReport> {
    let is_too_long = live.len() > LIVE_MAX;
    let open = live.iter().filter(|(_, live)| is_too_long && live.over.is_none());
    let oldest = open.min_by_key(|(_, live)| live.event.detected.boot_ns).map(|(id, _)| *id)?;
    let mut report = live.remove(&oldest)?.report();
    report.state = "interrupted".into();
    Some(report)
}

/// When the cloud acts, or what is assumed, CLOCK_BOOTTIME nanoseconds.
pub(super) fn end_ns(event: &Event, due_boot_ns: i64) -> i64 {
    event.effective.map_or(due_boot_ns, |e| e.boot_ns)
}
