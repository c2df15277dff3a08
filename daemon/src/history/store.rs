//! The journal and history file: SQLite in WAL mode, one writer, one commit for many rows.
//!
//! Inputs: rows in the order in which things happened, texts already scrubbed. Outputs: the same, by id, type and
//! age; what was not over when the last process ended. Must never fail the daemon: a full, read-only or broken disk
//! costs history, not the dispatch. A broken file is kept under another name.

use super::life::Life;
use super::schema::{SCHEMA_VERSION, sqlite_upgrade};
use crate::config::History;
use crate::dispatch::report::{Ended, EventReport};
use crate::event::{Event, Moment};
use crate::sys::clock;
use cloudsnooze_insight::Pool;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Events dropped at a time: some milliseconds, for which whoever asks for the history waits.
const DROPPED_MAX: i64 = 1_000;
/// One day, nanoseconds.
const DAY_NS: i64 = 86_400 * 1_000_000_000;
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
    /// How far this machine's life has come; one of that identity is known afterwards as this one says.
    Life(Life),
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
        let Some(upgrade) = sqlite_upgrade(version) else {
            let text = format!("made by a newer version (schema {version}, this one knows {SCHEMA_VERSION})");
            return Err(rusqlite::Error::ToSqlConversionFailure(text.into()));
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

    /// The latest life of a machine.
    ///
    /// # Errors
    /// The library's.
    pub fn life_of(&self, instance_id: &str) -> rusqlite::Result<Option<Life>> {
        let sql = "SELECT lives.id, instance_id, market, launched_wall_ns, last_seen_wall_ns, ended_wall_ns, outcome, \
                   provider, region, zone, instance_type FROM lives JOIN pools ON pools.id = lives.pool \
                   WHERE instance_id = ? ORDER BY launched_wall_ns DESC LIMIT 1";
        let life = |row: &rusqlite::Row<'_>| {
            let [provider, region, zone, instance_type] = [row.get(7)?, row.get(8)?, row.get(9)?, row.get(10)?];
            Ok(Life {
                id: row.get(0)?,
                instance_id: row.get(1)?,
                pool: Pool { provider, region, zone, instance_type },
                market: row.get(2)?,
                launched_wall_ns: row.get(3)?,
                last_seen_wall_ns: row.get(4)?,
                ended_wall_ns: row.get(5)?,
                outcome: row.get(6)?,
            })
        };
        self.0.prepare_cached(sql)?.query_row([instance_id], life).optional()
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
            let sql = "INSERT INTO events (id, type, severity, source, detected_wall_ns, detected, deadline, simulated, \
                       state, event, instance_id, pool) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
            let pool = pool_number(connection, &pool_of(event))?;
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
                json,
                event.machine.instance_id,
                pool
            ])?;
        }
        Row::Started { event_id, instance, attempt } => {
            let sql = "INSERT INTO deliveries (event_id, instance, state, attempts, detected_wall_ns) \
                       SELECT id, ?2, 'started', ?3, detected_wall_ns FROM events WHERE id = ?1 \
                       ON CONFLICT DO UPDATE SET attempts = max(attempts, ?3)";
            connection.prepare_cached(sql)?.execute(params![event_id, instance, attempt])?;
        }
        Row::Ended { event_id, instance, state, report } => {
            let sql = "INSERT INTO deliveries (event_id, instance, state, report, detected_wall_ns) \
                       SELECT id, ?2, ?3, ?4, detected_wall_ns FROM events WHERE id = ?1 ON CONFLICT DO UPDATE SET state = ?3, report = ?4";
            connection.prepare_cached(sql)?.execute(params![event_id, instance, state, report])?;
        }
        Row::Done { event_id, state, report } => {
            let sql = "UPDATE events SET state = ?, report = ? WHERE id = ?";
            connection.prepare_cached(sql)?.execute(params![state, report, event_id])?;
        }
        Row::Life(life) => write_life(connection, life)?,
    }
    Ok(())
}

fn write_life(connection: &Connection, life: &Life) -> rusqlite::Result<()> {
    let sql = "INSERT INTO lives (id, instance_id, market, launched_wall_ns, last_seen_wall_ns, ended_wall_ns, outcome, pool) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET market = excluded.market, \
               last_seen_wall_ns = excluded.last_seen_wall_ns, ended_wall_ns = excluded.ended_wall_ns, \
               outcome = excluded.outcome";
    let pool = pool_number(connection, &life.pool)?;
    connection.prepare_cached(sql)?.execute(params![
        life.id,
        life.instance_id,
        life.market,
        life.launched_wall_ns,
        life.last_seen_wall_ns,
        life.ended_wall_ns,
        life.outcome,
        pool
    ])?;
    Ok(())
}

fn pool_of(event: &Event) -> Pool {
    Pool {
        provider: event.provider.to_string(),
        region: event.machine.region.clone(),
        zone: event.machine.zone.clone(),
        instance_type: event.machine.instance_type.clone(),
    }
}

/// The number of a pool in this file; it gets one when it has none.
fn pool_number(connection: &Connection, pool: &Pool) -> rusqlite::Result<i64> {
    let is_it = "SELECT id FROM pools WHERE provider = ? AND region = ? AND zone = ? AND instance_type = ?";
    let texts = [&pool.provider, &pool.region, &pool.zone, &pool.instance_type];
    let known = connection.prepare_cached(is_it)?.query_row(texts, |row| row.get(0)).optional()?;
    match known {
        Some(number) => Ok(number),
        None => {
            let sql = "INSERT INTO pools (provider, region, zone, instance_type) VALUES (?, ?, ?, ?)";
            connection.prepare_cached(sql)?.insert(texts)
        }
    }
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
mod tests;
