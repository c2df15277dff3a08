//! The history file: SQLite in WAL mode, one writer.
//!
//! Inputs: events and reports as JSON text that has been scrubbed. Outputs: the same, by id, type and
//! age. Must never fail the daemon: a full or read-only disk costs history, not the dispatch.

use crate::dispatch::report::{Ended, EventReport};
use crate::event::{Event, Moment};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Events kept.
const EVENTS_MAX: i64 = 20_000;
/// Age at which an event is dropped, nanoseconds: 400 days.
const AGE_MAX_NS: i64 = 400 * 86_400 * 1_000_000_000;
/// Number of the schema, in `user_version`.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE events (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, severity TEXT NOT NULL, source TEXT NOT NULL,
  detected_wall_ns INTEGER NOT NULL, detected TEXT NOT NULL, deadline TEXT, simulated INTEGER NOT NULL,
  state TEXT NOT NULL, event TEXT NOT NULL, report TEXT
) STRICT;
CREATE INDEX events_by_age ON events (detected_wall_ns);
CREATE TABLE deliveries (
  event_id TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
  instance TEXT NOT NULL, state TEXT NOT NULL, report TEXT, PRIMARY KEY (event_id, instance)
) STRICT, WITHOUT ROWID;
";

/// The open file.
pub struct Store(Connection);

/// One line of the list of events.
#[allow(missing_docs, reason = "the names are the documentation")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventSummary {
    pub event_id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub severity: String,
    pub source: String,
    pub detected: String,
    pub deadline: Option<String>,
    /// `running`, `completed`, `withdrawn`, `refused`, `interrupted` (the daemon ended first).
    pub state: String,
    pub simulated: bool,
    pub handled: usize,
    pub failed: usize,
    pub handlers: usize,
    pub duration_ms: Option<f64>,
}

/// An event that was taken in or refused.
pub struct NewEvent<'a> {
    /// The event.
    pub event: &'a Event,
    /// `running` or `refused`.
    pub state: &'a str,
    /// The event as scrubbed JSON.
    pub json: &'a str,
}

impl Store {
    /// Opens or makes the file. Events that were running when the daemon ended are marked so.
    ///
    /// # Errors
    /// The library's, and a file of a newer version.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A report survives a crash of the daemon; the last ones may be lost with the power. Issue of
        // speed: NORMAL commits in microseconds, FULL in milliseconds.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Self::prepare(connection)
    }

    /// A history that ends with the process, for when the file cannot be had.
    ///
    /// # Errors
    /// The library's.
    pub fn in_memory() -> rusqlite::Result<Self> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(connection: Connection) -> rusqlite::Result<Self> {
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > SCHEMA_VERSION {
            let text = format!("made by a newer version (schema {version}, this one knows {SCHEMA_VERSION})");
            return Err(rusqlite::Error::ToSqlConversionFailure(text.into()));
        }
        if version == 0 {
            connection.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))?;
        }
        connection.execute("UPDATE events SET state = 'interrupted' WHERE state = 'running'", [])?;
        Ok(Self(connection))
    }

    /// Writes an event that was taken in, or refused.
    ///
    /// # Errors
    /// The library's.
    pub fn published(&self, new: &NewEvent<'_>) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO events (id, type, severity, source, detected_wall_ns, detected, deadline, \
                   simulated, state, event) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let event = new.event;
        self.0.prepare_cached(sql)?.execute(params![
            event.id.to_string(),
            event.event_type.as_str(),
            event.severity.as_str(),
            event.source,
            event.detected.wall_ns,
            event.detected.rfc3339(),
            event.effective.map(Moment::rfc3339),
            event.simulated,
            new.state,
            new.json
        ])?;
        Ok(())
    }

    /// Journals that a handler was started.
    ///
    /// # Errors
    /// The library's.
    pub fn started(&self, event_id: &str, instance: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO deliveries (event_id, instance, state) VALUES (?, ?, 'started')";
        self.0.prepare_cached(sql)?.execute(params![event_id, instance])?;
        Ok(())
    }

    /// Journals how a handler ended.
    ///
    /// # Errors
    /// The library's.
    pub fn ended(&self, event_id: &str, instance: &str, state: &str, report: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO deliveries (event_id, instance, state, report) VALUES (?, ?, ?, ?)";
        self.0.prepare_cached(sql)?.execute(params![event_id, instance, state, report])?;
        Ok(())
    }

    /// Writes the report of an event that is over, and drops what is too old.
    ///
    /// # Errors
    /// The library's.
    pub fn done(&self, event_id: &str, state: &str, report: &str, now_wall_ns: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE events SET state = ?, report = ? WHERE id = ?";
        self.0.prepare_cached(sql)?.execute(params![state, report, event_id])?;
        let sql = "DELETE FROM events WHERE state <> 'running' AND (detected_wall_ns < ? OR id IN \
                   (SELECT id FROM events ORDER BY detected_wall_ns DESC LIMIT -1 OFFSET ?))";
        self.0.prepare_cached(sql)?.execute(params![now_wall_ns - AGE_MAX_NS, EVENTS_MAX])?;
        Ok(())
    }

    /// The newest events, newest first, of one type or all.
    ///
    /// # Errors
    /// The library's.
    pub fn events(&self, limit: usize, event_type: Option<&str>) -> rusqlite::Result<Vec<EventSummary>> {
        let sql = "SELECT id, type, severity, source, detected, deadline, state, simulated, report FROM events \
                   WHERE ?1 IS NULL OR type = ?1 ORDER BY detected_wall_ns DESC, id DESC LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.0.prepare_cached(sql)?.query_map(params![event_type, limit], summary)?.collect()
    }

    /// The report of an event: its own once it is over, else none. `last` means the newest event that
    /// has one.
    ///
    /// # Errors
    /// The library's.
    pub fn report(&self, id: &str) -> rusqlite::Result<Option<String>> {
        let sql = if id == "last" {
            "SELECT report FROM events WHERE report IS NOT NULL AND ?1 = 'last' ORDER BY detected_wall_ns DESC LIMIT 1"
        } else {
            "SELECT report FROM events WHERE id = ?1 AND report IS NOT NULL"
        };
        self.0.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()
    }

    /// Events that clouds announced since `since_wall_ns` and that were completed, as JSON texts: what a
    /// restarted source must not take for new.
    ///
    /// # Errors
    /// The library's.
    pub fn completed_since(&self, since_wall_ns: i64) -> rusqlite::Result<Vec<String>> {
        let sql = "SELECT event FROM events WHERE simulated = 0 AND state = 'completed' AND detected_wall_ns >= ? \
                   ORDER BY detected_wall_ns";
        self.0.prepare_cached(sql)?.query_map([since_wall_ns], |row| row.get(0))?.collect()
    }
}

fn summary(row: &Row<'_>) -> rusqlite::Result<EventSummary> {
    let report: Option<String> = row.get(8)?;
    let report: Option<EventReport> = report.and_then(|text| serde_json::from_str(&text).ok());
    let handlers = report.as_ref().map_or(&[][..], |r| &r.handlers);
    let well = |e: Ended| matches!(e, Ended::Handled | Ended::Declined);
    Ok(EventSummary {
        event_id: row.get(0)?,
        event_type: row.get(1)?,
        severity: row.get(2)?,
        source: row.get(3)?,
        detected: row.get(4)?,
        deadline: row.get(5)?,
        state: row.get(6)?,
        simulated: row.get(7)?,
        handled: handlers.iter().filter(|h| h.status == Ended::Handled).count(),
        failed: handlers.iter().filter(|h| !well(h.status)).count(),
        handlers: handlers.len(),
        duration_ms: report.as_ref().map(|r| r.duration_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;
    use serde_json::json;

    const TIME: Moment = Moment { boot_ns: 0, wall_ns: 0 };

    /// Publishes an event detected at this wall time; gives its id.
    fn publish(store: &Store, wall_ns: i64) -> String {
        let json = json!({ "id": EventId::at(wall_ns).to_string(), "type": "cloud.spot.interrupt", "severity": "urgent",
            "time": "2026-01-02T03:04:05Z", "data": { "action": "terminate", "noticeKind": "deadline" } });
        let mut event = Event::from_json(&json, TIME).expect("an event");
        event.detected = Moment { boot_ns: 0, wall_ns };
        store.published(&NewEvent { event: &event, state: "running", json: "{}" }).expect("written");
        event.id.to_string()
    }

    #[test]
    fn events_come_newest_first_and_old_ones_are_dropped() {
        let store = Store::in_memory().expect("open");
        let (old, new) = (publish(&store, 1), publish(&store, AGE_MAX_NS + 10));
        store.started(&old, "x/y").expect("written");
        store.ended(&old, "x/y", "handled", "{}").expect("written");
        store.done(&new, "completed", "{}", 5).expect("written");
        let ids = |s: &Store| s.events(9, None).expect("read").into_iter().map(|e| e.event_id).collect::<Vec<_>>();
        assert_eq!(ids(&store), [new.clone(), old.clone()]);
        assert_eq!(store.report("last").expect("read").as_deref(), Some("{}"));
        assert_eq!(store.report(&old).expect("read"), None);
        store.done(&old, "completed", "{}", AGE_MAX_NS + 10).expect("written");
        assert_eq!(ids(&store), [new], "the old one went, with its delivery");
        assert_eq!(store.completed_since(0).expect("read").len(), 1);
    }

    #[test]
    fn a_restart_marks_what_was_running_and_a_newer_file_is_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("history.sqlite");
        publish(&Store::open(&path).expect("open"), 1);
        let store = Store::open(&path).expect("open");
        assert_eq!(store.events(1, None).expect("read")[0].state, "interrupted");
        store.0.pragma_update(None, "user_version", 99).expect("set");
        drop(store);
        assert!(Store::open(&path).err().is_some_and(|e| e.to_string().contains("newer version")));
    }
}
