//! What this machine's history says, for the history of the group.
//!
//! Inputs: rows as they are noted to be written down. Outputs: the same as lines of the exchange format (`history::archive::jsonl`), one
//! notice each. Threads: the recorder's. Must never wait, nor pass on what the group itself has told: it would come once from each member.

use super::SOURCE;
use super::delegate::Delegate;
use crate::event::told::Over;
use crate::event::{Event, EventId, Moment};
use crate::history::life::Life;
use crate::history::recorder::{Follower, Mirror};
use crate::history::store::Row;
use crate::sys::clock;
use cloudsnooze_fleet::Notice;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// The types of what is kept: a row of the table of events, or of that of lives.
const EVENT_ROW: &str = "history.event";
/// See [`EVENT_ROW`].
const LIFE_ROW: &str = "history.life";

/// Events that have not ended, of which the end is told with all that is known of them.
const OPEN_MAX: usize = 64;
/// Longest report that is passed on, bytes: the group's messages hold 64 KiB of it all.
const REPORT_MAX: usize = 40 << 10;

/// Tells what is written down.
pub struct Scribe {
    delegate: Arc<Delegate>,
    open: Mutex<BTreeMap<EventId, Arc<Event>>>,
}

impl Scribe {
    /// One that tells through this delegate.
    pub fn new(delegate: Arc<Delegate>) -> Arc<Self> {
        Arc::new(Self { delegate, open: Mutex::default() })
    }

    fn keep(&self, event_type: &str, details: Value) {
        self.delegate.keep(Notice {
            event: Uuid::now_v7(),
            event_type: event_type.to_owned(),
            detected: clock::wall_ns(),
            deadline: None,
            left: Duration::ZERO,
            details,
        });
    }

    fn over(&self, event_id: &str, state: &str, report: &str) {
        let id = event_id.parse().ok().map(EventId);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(event) = id.and_then(|id| open.remove(&id)) else { return };
        drop(open);
        let text = self.delegate.scrub(&event.to_json(event.detected).to_string());
        let report = Some(report).filter(|report| report.len() <= REPORT_MAX);
        self.keep(EVENT_ROW, event_row(&event, state, &text, report));
    }
}

impl Mirror for Scribe {
    fn noted(&self, row: &Row) {
        match row {
            Row::Published { event, state, json } if event.source != SOURCE => {
                self.keep(EVENT_ROW, event_row(event, state, json, None));
            }
            Row::Done { event_id, state, report } => self.over(event_id, state, report),
            Row::Life(life) => self.keep(LIFE_ROW, life_row(life)),
            // The report of the event has what became of its handlers.
            Row::Published { .. } | Row::Started { .. } | Row::Ended { .. } => {}
        }
    }
}

impl Follower for Scribe {
    fn published(&self, event: &Arc<Event>) {
        if event.source == SOURCE {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX {
            open.pop_first();
        }
        open.insert(event.id, Arc::clone(event));
    }

    fn moved(&self, id: EventId, effective: Moment) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = open.get_mut(&id) {
            *event = Arc::new(Event { effective: Some(effective), ..(**event).clone() });
        }
    }

    fn done(&self, _: EventId) {}

    fn over(&self, _: EventId, _: Over) {}
}

fn event_row(event: &Event, state: &str, text: &str, report: Option<&str>) -> Value {
    let machine = &event.machine;
    json!({
        "kind": "event", "id": event.id.to_string(), "type": event.event_type.as_str(), "severity": event.severity.as_str(),
        "source": event.source, "detected_wall_ns": event.detected.wall_ns, "detected": event.detected.rfc3339(),
        "deadline": event.effective.map(Moment::rfc3339), "simulated": event.simulated, "state": state, "event": text,
        "report": report, "instance_id": machine.instance_id, "provider": event.provider, "region": machine.region,
        "zone": machine.zone, "instance_type": machine.instance_type,
    })
}

fn life_row(life: &Life) -> Value {
    let pool = &life.pool;
    json!({
        "kind": "life", "id": life.id, "instance_id": life.instance_id, "market": life.market,
        "launched_wall_ns": life.launched_wall_ns, "last_seen_wall_ns": life.last_seen_wall_ns,
        "ended_wall_ns": life.ended_wall_ns, "outcome": life.outcome, "provider": pool.provider, "region": pool.region,
        "zone": pool.zone, "instance_type": pool.instance_type,
    })
}
