//! The journal and history file: SQLite in WAL mode, one writer, one commit for many rows.
//!
//! Inputs: rows in the order in which things happened, texts already scrubbed. Outputs: the same, by id, type and
//! age; what was not over when the last process ended. Must never fail the daemon: a full, read-only or broken disk
//! costs history, not the dispatch. A broken file is kept under another name.

use crate::config::History;
use crate::dispatch::report::{Ended, EventReport};
use crate::event::{Event, Moment};
use crate::sys::clock;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Events dropped at a time: some milliseconds, for which whoever asks for the history waits.
const DROPPED_MAX: i64 = 1_000;
/// One day, nanoseconds.
const DAY_NS: i64 = 86_400 * 1_000_000_000;
/// Number of the schema, in `user_version`.
const SCHEMA_VERSION: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE events (
  id TEXT PRIMARY KEY, type TEXT NOT NULL, severity TEXT NOT NULL, source TEXT NOT NULL,
  detected_wall_ns INTEGER NOT NULL, detected TEXT NOT NULL, deadline TEXT, simulated INTEGER NOT NULL,
  state TEXT NOT NULL, event TEXT NOT NULL, report TEXT
) STRICT;
CREATE INDEX events_by_age ON events (detected_wall_ns);
CREATE INDEX events_running ON events (state) WHERE state = 'running';
CREATE TABLE deliveries (
  event_id TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
  instance TEXT NOT NULL, state TEXT NOT NULL, report TEXT, attempts INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (event_id, instance)
) STRICT, WITHOUT ROWID;
";

/// From schema 1, which did not count attempts.
const FROM_1: &str = "
ALTER TABLE deliveries ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_running ON events (state) WHERE state = 'running';
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

/// One thing to be written down. Texts are scrubbed.
#[allow(missing_docs, reason = "the names are those of the columns")]
#[derive(Clone, Debug)]
pub enum Row {
    /// An event was taken in (`running`) or turned away (`refused`).
    Published { event: Arc<Event>, state: &'static str, json: String },
    /// An attempt of a handler began. Passed over when its event is not known: the note of that may have been dropped.
    Started { event_id: String, instance: String, attempt: u32 },
    /// A handler ended; its report as JSON. Passed over likewise.
    Ended { event_id: String, instance: String, state: String, report: String },
    /// An event is over; its report as JSON.
    Done { event_id: String, state: String, report: String },
}

/// An event that was not over when the last process ended.
#[derive(Clone, Debug)]
pub struct OpenEvent {
    /// As JSON, scrubbed.
    pub json: String,
    /// What of it had begun.
    pub deliveries: Vec<OpenDelivery>,
}

/// A handler that had begun.
#[derive(Clone, Debug)]
pub struct OpenDelivery {
    /// "EVENT_TYPE/PLUGIN".
    pub instance: String,
    /// Attempts begun.
    pub attempts: u32,
    /// Its report as JSON; None: it had not ended.
    pub report: Option<String>,
}

/// Whether writing may succeed later: the disk is full, read-only or failing, or somebody else has the file.
pub fn is_transient(error: &rusqlite::Error) -> bool {
    let codes = [
        ErrorCode::DiskFull,
        ErrorCode::SystemIoFailure,
        ErrorCode::ReadOnly,
        ErrorCode::CannotOpen,
        ErrorCode::DatabaseBusy,
        ErrorCode::DatabaseLocked,
        ErrorCode::OutOfMemory,
        ErrorCode::PermissionDenied,
    ];
    error.sqlite_error_code().is_some_and(|code| codes.contains(&code))
}

impl Store {
    /// Opens or makes the file. A broken one is put aside and a new one begun: then the text says where it is.
    ///
    /// # Errors
    /// The library's, and a file of a newer version.
    pub fn open(path: &Path) -> rusqlite::Result<(Self, Option<String>)> {
        match Self::open_sound(path) {
            Ok(store) => Ok((store, None)),
            Err(error) if is_broken(&error) => {
                let kept = put_aside(path)?;
                let text = format!(
                    "{} is broken ({error}): it is kept as {}, and a new history is begun; events that were open in it are \
                     taken up again only if their notice still stands",
                    path.display(),
                    kept.display()
                );
                Ok((Self::open_sound(path)?, Some(text)))
            }
            Err(error) => Err(error),
        }
    }

    fn open_sound(path: &Path) -> rusqlite::Result<Self> {
        let had_something = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is committed survives the loss of power (sqlite.org/pragma.html#pragma_synchronous). A commit then waits
        // for the disk: so there is one for many rows, on a thread for which nobody waits.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        // A file that was cut within its first page passes for an empty one.
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let why = match said.as_str() {
            "ok" if version == 0 && had_something => "there is something in it, but no history",
            "ok" => return Self::prepare(connection),
            said => said,
        };
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())))
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
        let upgrade = match version {
            0 => SCHEMA,
            1 => FROM_1,
            SCHEMA_VERSION => "",
            _ => {
                let text = format!("made by a newer version (schema {version}, this one knows {SCHEMA_VERSION})");
                return Err(rusqlite::Error::ToSqlConversionFailure(text.into()));
            }
        };
        if !upgrade.is_empty() {
            connection.execute_batch(&format!("BEGIN; {upgrade} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))?;
        }
        Ok(Self(connection))
    }

    /// Writes all rows in one commit, or none of them.
    ///
    /// # Errors
    /// The library's.
    pub fn write(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        for row in rows {
            write_row(&transaction, row)?;
        }
        transaction.commit()
    }

    /// Drops some of the oldest events, with their deliveries, of those that are over and are not to be kept; the file's
    /// pages are used again. Gives whether there may be more.
    ///
    /// # Errors
    /// The library's.
    pub fn drop_some(&mut self, keep: &History, now_wall_ns: i64) -> rusqlite::Result<bool> {
        let transaction = self.0.transaction()?;
        let count = "SELECT count(*) FROM events";
        let known: i64 = transaction.prepare_cached(count)?.query_row([], |row| row.get(0))?;
        let oldest = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE state <> 'running' \
                      AND detected_wall_ns < ? ORDER BY detected_wall_ns LIMIT ?)";
        let too_many = (known - i64::from(keep.keep_events)).clamp(0, DROPPED_MAX);
        let too_old_ns = now_wall_ns.saturating_sub(i64::from(keep.keep_days) * DAY_NS);
        let drop = |before_ns: i64, most: i64| transaction.prepare_cached(oldest)?.execute([before_ns, most]);
        let dropped = drop(i64::MAX, too_many)? + drop(too_old_ns, DROPPED_MAX - too_many)?;
        transaction.commit()?;
        Ok(i64::try_from(dropped).is_ok_and(|dropped| dropped >= DROPPED_MAX))
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

    /// Events that clouds announced since `since_wall_ns`, oldest first, as JSON texts, and whether they were withdrawn:
    /// what a restarted source must not take for new.
    ///
    /// # Errors
    /// The library's.
    pub fn seen_since(&self, since_wall_ns: i64) -> rusqlite::Result<Vec<(String, bool)>> {
        let sql = "SELECT event, state = 'withdrawn' FROM events WHERE simulated = 0 AND state <> 'refused' \
                   AND detected_wall_ns >= ? ORDER BY detected_wall_ns";
        self.0.prepare_cached(sql)?.query_map([since_wall_ns], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    /// Drills since this time, as JSON, that are over and have not been withdrawn.
    ///
    /// # Errors
    /// The library's.
    pub fn drills_left_since(&self, since_wall_ns: i64) -> rusqlite::Result<Vec<String>> {
        let sql = "SELECT event FROM events AS drill WHERE simulated = 1 AND state NOT IN ('running', 'refused') \
                   AND detected_wall_ns >= ?1 AND event ->> '$.drill' = 1 AND event ->> '$.data.cancels' IS NULL \
                   AND NOT EXISTS (SELECT 1 FROM events WHERE detected_wall_ns >= ?1 AND event ->> '$.data.cancels' = drill.id)";
        self.0.prepare_cached(sql)?.query_map([since_wall_ns], |row| row.get(0))?.collect()
    }

    /// Events that were not over when the last process ended, oldest first.
    ///
    /// # Errors
    /// The library's.
    pub fn open_events(&self) -> rusqlite::Result<Vec<OpenEvent>> {
        let sql = "SELECT id, event FROM events WHERE state = 'running' ORDER BY detected_wall_ns";
        let mut statement = self.0.prepare_cached(sql)?;
        let events = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let events: Vec<(String, String)> = events.collect::<rusqlite::Result<_>>()?;
        let open = |(id, json): (String, String)| Ok(OpenEvent { json, deliveries: self.deliveries(&id)? });
        events.into_iter().map(open).collect()
    }

    fn deliveries(&self, event_id: &str) -> rusqlite::Result<Vec<OpenDelivery>> {
        let sql = "SELECT instance, attempts, report FROM deliveries WHERE event_id = ?";
        let delivery = |row: &rusqlite::Row<'_>| {
            Ok(OpenDelivery { instance: row.get(0)?, attempts: row.get(1)?, report: row.get(2)? })
        };
        self.0.prepare_cached(sql)?.query_map([event_id], delivery)?.collect()
    }
}

fn write_row(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    match row {
        Row::Published { event, state, json } => {
            let sql = "INSERT OR IGNORE INTO events (id, type, severity, source, detected_wall_ns, detected, deadline, \
                       simulated, state, event) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            connection.prepare_cached(sql)?.execute(params![
                event.id.to_string(),
                event.event_type.as_str(),
                event.severity.as_str(),
                event.source,
                event.detected.wall_ns,
                event.detected.rfc3339(),
                event.effective.map(Moment::rfc3339),
                event.simulated,
                state,
                json
            ])?;
        }
        Row::Started { event_id, instance, attempt } => {
            let sql = "INSERT INTO deliveries (event_id, instance, state, attempts) SELECT id, ?2, 'started', ?3 \
                       FROM events WHERE id = ?1 ON CONFLICT DO UPDATE SET attempts = max(attempts, ?3)";
            connection.prepare_cached(sql)?.execute(params![event_id, instance, attempt])?;
        }
        Row::Ended { event_id, instance, state, report } => {
            let sql = "INSERT INTO deliveries (event_id, instance, state, report) SELECT id, ?2, ?3, ?4 \
                       FROM events WHERE id = ?1 ON CONFLICT DO UPDATE SET state = ?3, report = ?4";
            connection.prepare_cached(sql)?.execute(params![event_id, instance, state, report])?;
        }
        Row::Done { event_id, state, report } => {
            let sql = "UPDATE events SET state = ?, report = ? WHERE id = ?";
            connection.prepare_cached(sql)?.execute(params![state, report, event_id])?;
        }
    }
    Ok(())
}

fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Renames the file and what belongs to it; gives the new name.
fn put_aside(path: &Path) -> rusqlite::Result<PathBuf> {
    let now = jiff::Timestamp::from_nanosecond(i128::from(clock::wall_ns())).unwrap_or_default();
    let stamp = now.strftime("%Y%m%dT%H%M%S");
    let with = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let first = with(&format!(".broken-{stamp}"));
    let others = (2..1_000).map(|n| with(&format!(".broken-{stamp}-{n}")));
    let free = std::iter::once(first.clone()).chain(others).find(|kept| !kept.exists());
    let kept = free.unwrap_or(first);
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (with(suffix), PathBuf::from(format!("{}{suffix}", kept.display())));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
        }
    }
    Ok(kept)
}

fn summary(row: &rusqlite::Row<'_>) -> rusqlite::Result<EventSummary> {
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

    fn event(wall_ns: i64) -> Arc<Event> {
        let json = json!({ "id": EventId::at(wall_ns).to_string(), "type": "cloud.spot.interrupt", "severity": "urgent",
            "time": "2026-01-02T03:04:05Z", "data": { "action": "terminate", "noticeKind": "deadline" } });
        let mut event = Event::from_json(&json, TIME).expect("an event");
        event.detected = Moment { boot_ns: 0, wall_ns };
        Arc::new(event)
    }

    /// Publishes an event detected at this wall time; gives its id.
    fn publish(store: &mut Store, wall_ns: i64) -> String {
        let event = event(wall_ns);
        let id = event.id.to_string();
        store
            .write(&[Row::Published { event, state: "running", json: format!("{{\"id\":\"{id}\"}}") }])
            .expect("written");
        id
    }

    fn started(event_id: &str, instance: &str, attempt: u32) -> Row {
        Row::Started { event_id: event_id.into(), instance: instance.into(), attempt }
    }

    fn ended(event_id: &str, instance: &str) -> Row {
        let (state, report) = ("handled".into(), "{}".into());
        Row::Ended { event_id: event_id.into(), instance: instance.into(), state, report }
    }

    fn done(event_id: &str) -> Row {
        Row::Done { event_id: event_id.into(), state: "completed".into(), report: "{}".into() }
    }

    fn open(path: &Path) -> Store {
        let (store, mended) = Store::open(path).expect("open");
        assert_eq!(mended, None);
        store
    }

    fn ids(store: &Store) -> Vec<String> {
        store.events(usize::MAX, None).expect("read").into_iter().map(|event| event.event_id).collect()
    }

    const KEEP: History = History { keep_days: 10, keep_events: 5_000 };

    #[test]
    fn events_come_newest_first_and_old_ones_are_dropped_when_they_are_over() {
        let mut store = Store::in_memory().expect("open");
        let (old, new) = (publish(&mut store, 1), publish(&mut store, 10 * DAY_NS + 10));
        store.write(&[started(&old, "x/y", 1), ended(&old, "x/y"), done(&new)]).expect("written");
        assert!(!store.drop_some(&KEEP, 20 * DAY_NS).expect("written"));
        assert_eq!(ids(&store), [new.clone(), old.clone()], "it still runs");
        assert_eq!(store.report("last").expect("read").as_deref(), Some("{}"));
        assert_eq!(store.report(&old).expect("read"), None);
        store.write(&[done(&old)]).expect("written");
        assert!(!store.drop_some(&KEEP, 10 * DAY_NS).expect("written"));
        assert_eq!(ids(&store).len(), 2, "it is not old enough");
        assert!(!store.drop_some(&KEEP, 10 * DAY_NS + 2).expect("written"));
        assert_eq!(ids(&store), [new]);
        let deliveries = "SELECT count(*) FROM deliveries";
        let left: i64 = store.0.query_row(deliveries, [], |row| row.get(0)).expect("read");
        assert_eq!(left, 0, "its delivery went with it");
        assert_eq!(store.seen_since(0).expect("read").len(), 1);
    }

    #[test]
    fn of_too_many_the_newest_are_kept_and_the_file_does_not_grow_any_more() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut store = open(&dir.path().join("history.sqlite"));
        let mut round = |from: i64| {
            let published = |event: Arc<Event>| {
                let id = event.id.to_string();
                [Row::Published { event, state: "running", json: "{}".into() }, done(&id)]
            };
            let rows: Vec<Row> = (from..from + 7_500).flat_map(|n| published(event(n))).collect();
            store.write(&rows).expect("written");
            let steps = (0..9).take_while(|_| store.drop_some(&KEEP, 0).expect("written")).count();
            let pages: i64 = store.0.pragma_query_value(None, "page_count", |row| row.get(0)).expect("read");
            (steps, pages)
        };
        let (first_steps, first_pages) = round(0);
        assert_eq!(first_steps, 2, "2,500 too many: two whole steps and one that is not");
        let later: Vec<_> = (1..6).map(|n| round(7_500 * n)).collect();
        let is_small = |(_, pages): &(usize, i64)| *pages < first_pages * 2;
        assert!(later.iter().all(is_small), "{first_pages} pages after one round, then {later:?}");
        assert_eq!(ids(&store).len(), 5_000);
        let oldest = "SELECT min(detected_wall_ns) FROM events";
        let oldest: i64 = store.0.query_row(oldest, [], |row| row.get(0)).expect("read");
        assert_eq!(oldest, 6 * 7_500 - 5_000);
    }

    #[test]
    fn what_is_told_of_an_event_that_is_not_known_keeps_nothing_else_from_being_written() {
        let mut store = Store::in_memory().expect("open");
        store.0.pragma_update(None, "foreign_keys", true).expect("set");
        let id = publish(&mut store, 1);
        let rows = [started("nobody", "t/a", 1), ended("nobody", "t/a"), done("nobody"), started(&id, "t/a", 1)];
        store.write(&rows).expect("written");
        assert_eq!(store.open_events().expect("read")[0].deliveries.len(), 1);
    }

    #[test]
    fn what_was_open_is_found_again_with_what_had_begun_and_what_had_ended() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("history.sqlite");
        let mut store = open(&path);
        let (one, two) = (publish(&mut store, 1), publish(&mut store, 2));
        store.write(&[started(&one, "t/a", 1), started(&one, "t/b", 1), ended(&one, "t/a")]).expect("written");
        store.write(&[started(&one, "t/b", 2), done(&two)]).expect("written");
        // The process is gone without a word; the next one finds it so.
        drop(store);
        let found = open(&path).open_events().expect("read");
        let [event] = found.as_slice() else { panic!("one is open: {found:?}") };
        assert!(event.json.contains(&one));
        let had: Vec<_> =
            event.deliveries.iter().map(|d| (d.instance.as_str(), d.attempts, d.report.is_some())).collect();
        assert_eq!(had, [("t/a", 1, true), ("t/b", 2, false)]);
    }

    #[test]
    fn a_commit_that_fails_leaves_nothing_half_written() {
        let mut store = Store::in_memory().expect("open");
        let id = publish(&mut store, 1);
        let refuses = "CREATE TRIGGER no BEFORE INSERT ON deliveries WHEN new.instance = 't/no' \
                       BEGIN SELECT RAISE(ABORT, 'no'); END";
        store.0.execute_batch(refuses).expect("made");
        let error = store.write(&[started(&id, "t/b", 1), started(&id, "t/no", 1)]).expect_err("the second");
        assert!(!is_transient(&error));
        assert!(store.open_events().expect("read")[0].deliveries.is_empty());
    }

    #[test]
    fn a_file_of_version_1_is_taken_over_and_a_newer_one_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("history.sqlite");
        let old = "CREATE TABLE events (id TEXT PRIMARY KEY, type TEXT NOT NULL, severity TEXT NOT NULL, source TEXT NOT \
                   NULL, detected_wall_ns INTEGER NOT NULL, detected TEXT NOT NULL, deadline TEXT, simulated INTEGER NOT \
                   NULL, state TEXT NOT NULL, event TEXT NOT NULL, report TEXT) STRICT; CREATE TABLE deliveries (event_id \
                   TEXT NOT NULL, instance TEXT NOT NULL, state TEXT NOT NULL, report TEXT, PRIMARY KEY (event_id, \
                   instance)) STRICT, WITHOUT ROWID; INSERT INTO events VALUES ('e', 't', 'info', 's', 1, 'd', NULL, 0, \
                   'running', '{}', NULL); INSERT INTO deliveries VALUES ('e', 't/a', 'started', NULL); PRAGMA \
                   user_version = 1;";
        Connection::open(&path).expect("open").execute_batch(old).expect("made");
        let store = open(&path);
        assert_eq!(store.open_events().expect("read")[0].deliveries[0].attempts, 0);
        store.0.pragma_update(None, "user_version", 99).expect("set");
        drop(store);
        assert!(Store::open(&path).err().is_some_and(|e| e.to_string().contains("newer version")));
    }

    /// Torn, cut and overwritten files: a store is there afterwards, and the old one is kept.
    #[test]
    fn a_broken_file_is_kept_aside_and_a_new_one_begun() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("history.sqlite");
        let mut store = open(&path);
        for n in 0..200 {
            let id = publish(&mut store, n);
            store.write(&[done(&id)]).expect("written");
        }
        drop(store);
        let sound = std::fs::read(&path).expect("read");
        assert!(sound.len() > 16_384, "several pages");
        let mut scribbled = sound.clone();
        scribbled[8_192..12_288].fill(0xA5);
        for (n, bytes) in
            [&b"not a database, and long enough to be taken for one"[..], &sound[..sound.len() / 2 + 100], &scribbled]
                .iter()
                .enumerate()
        {
            std::fs::write(&path, bytes).expect("written");
            let (mut store, mended) = Store::open(&path).expect("a store all the same");
            let text = mended.unwrap_or_else(|| panic!("case {n} was taken for sound"));
            assert!(text.contains("is broken") && text.contains(".broken-"), "{text}");
            publish(&mut store, 1);
            let kept = std::fs::read_dir(dir.path()).expect("read").filter_map(Result::ok);
            let kept: Vec<_> = kept.filter(|f| f.file_name().to_string_lossy().contains(".broken-")).collect();
            assert!(!kept.is_empty());
            kept.iter().for_each(|file| std::fs::remove_file(file.path()).expect("removed"));
        }
    }
}
