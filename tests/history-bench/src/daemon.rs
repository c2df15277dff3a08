//! How fast the daemon's own store takes events, with the commits that survive a loss of power.
//!
//! Inputs: a path, a number. Outputs: a rate. Must never write less than the daemon does: each event is taken in, handled and over.

use crate::data;
use anyhow::{Context, Result};
use cloudsnooze::event::{Event, Moment};
use cloudsnooze::history::store::{Row, Store};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Rows of one commit, as the recorder has them at most.
const COMMIT_ROWS: usize = 512;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Written {
    /// Events in a second, with one delivery each.
    pub events_per_second: f64,
    /// Rows of a commit.
    pub together: usize,
}

/// Writes events as the recorder does.
pub fn write(path: &Path, events: u64) -> Result<Written> {
    let (mut store, _) = Store::open(path)?;
    let mut rows = Vec::new();
    for number in 0..events {
        let row = data::event(number, events);
        let json = row.get(9).and_then(|cell| cell.as_text()).unwrap_or_default().to_owned();
        let now = Moment { boot_ns: 0, wall_ns: data::detected(number, events) };
        let mut read: Value = serde_json::from_str(&json).context("an event")?;
        read["data"]["noticeKind"] = "deadline".into();
        let event = Arc::new(Event::from_json(&read, now).context("an event")?);
        let (event_id, instance) = (event.id.to_string(), "cloud.spot.*/flusher".to_owned());
        rows.push(Row::Published { event, state: "running", json: json.clone() });
        rows.push(Row::Started { event_id: event_id.clone(), instance: instance.clone(), attempt: 1 });
        let ended =
            Row::Ended { event_id: event_id.clone(), instance, state: "handled".to_owned(), report: json.clone() };
        rows.push(ended);
        rows.push(Row::Done { event_id, state: "completed".to_owned(), report: json });
    }
    let started = Instant::now();
    for together in rows.chunks(COMMIT_ROWS) {
        store.write(together)?;
    }
    Ok(Written { events_per_second: events as f64 / started.elapsed().as_secs_f64(), together: COMMIT_ROWS })
}
