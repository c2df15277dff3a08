//! One database, flushed.
//!
//! Inputs: a path, how long there is. Outputs: [`Flushed`]. First as much as nobody has to wait for, then the rest with the
//! application's writers held off for a moment; what a reader's snapshot keeps in the log stays there, and the log is
//! written to the disk with the database. Must never call it durable before fsync came back for all of them.

use crate::attend::Clock;
use crate::files;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin_commands::Stragglers;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long SQLite itself waits for a lock, before the clock is looked at.
const LOCK: Duration = Duration::from_millis(50);
/// Longest part of a database's time for the checkpoint: fsync needs some too.
const CHECKPOINT_SHARE: f64 = 0.6;

/// How far the log was brought into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// All of it, and the log was emptied.
    Truncated,
    /// All of it; somebody still reads the log, so it was not emptied.
    Full,
    /// A part: a reader's snapshot, or a writer, held the rest.
    Partial,
    /// There is no log: the journal mode is another one.
    NoLog,
}

impl Reached {
    fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Full => "full",
            Self::Partial => "partial",
            Self::NoLog => "no log",
        }
    }
}

/// What one checkpoint says: pages in the log, and how many of them are in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    busy: bool,
    log: i64,
    done: i64,
}

/// What became of a database.
#[derive(Clone, Debug)]
pub(crate) struct Flushed {
    pub(crate) path: PathBuf,
    pub(crate) journal_mode: String,
    /// None: it was not come to.
    pub(crate) reached: Option<Reached>,
    /// Bytes of the database.
    pub(crate) bytes: u64,
    pub(crate) synced: Result<(), String>,
    /// What a partial checkpoint left for the log.
    pub(crate) remark: Option<String>,
    wal_before: u64,
    wal_after: u64,
    first: Counts,
    last: Counts,
    took: Duration,
}

/// Why a database could not be flushed.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is no database.
    NotOne(String),
    Failed(String),
}

impl Flushed {
    fn new(path: &Path, wal_before: u64) -> Self {
        Self {
            path: path.to_owned(),
            journal_mode: "unknown".to_owned(),
            reached: None,
            bytes: 0,
            synced: Err("not come to".to_owned()),
            remark: None,
            wal_before,
            wal_after: wal_before,
            first: Counts::default(),
            last: Counts::default(),
            took: Duration::ZERO,
        }
    }

    pub(crate) fn report(&self) -> Value {
        let mut report = json!({
            "path": self.path.to_string_lossy(), "journal_mode": self.journal_mode,
            "checkpoint": self.reached.map_or("not done", Reached::name),
            "wal_bytes": { "before": self.wal_before, "after": self.wal_after },
            "bytes": self.bytes, "synced": self.synced.is_ok(),
            "seconds": (self.took.as_secs_f64() * 1000.0).round() / 1000.0,
        });
        if self.journal_mode == "wal" {
            report["pages"] = json!({
                "in_log": self.first.log, "checkpointed": self.first.done, "busy": self.last.busy,
                "left_in_log": (self.last.log - self.last.done).max(0),
            });
        }
        report
    }
}

/// Flushes it.
///
/// # Errors
/// It cannot even be opened.
pub(crate) fn flush(
    path: &Path,
    share: Duration,
    busy: Duration,
    clock: &Clock,
    stragglers: &Stragglers,
) -> Result<Flushed, Fault> {
    let begun = Instant::now();
    if files::is_open_here(path) {
        return Err(Fault::Failed("it is open in this very process, whose locks must not be disturbed".to_owned()));
    }
    let connection = open(path).map_err(|error| fault(&error))?;
    let mut flushed = Flushed::new(path, files::wal_bytes(path));
    {
        let _limited = clock.limit(&connection, share.mul_f64(CHECKPOINT_SHARE));
        match checkpoint(&connection, busy, clock, &mut flushed) {
            Ok(()) => {}
            // An application that lets nobody else in, or some of it was brought in: fsync is the way that is left.
            Err(error) if is_in_the_way(&error) => flushed.remark = Some(format!("checkpoint: {error}")),
            Err(error) => return Err(fault(&error)),
        }
    }
    flushed.synced = if clock.is_cancelled() {
        Err("cancelled before fsync".to_owned())
    } else {
        let ends = Instant::now() + share.saturating_sub(begun.elapsed()).min(clock.left());
        to_disk(&connection, &flushed, busy, &To { ends, clock, stragglers })
    };
    // When the last connection goes SQLite brings what is left of the log into the database, and syncs that itself.
    if let Err((_, error)) = connection.close() {
        return Err(fault(&error));
    }
    flushed.wal_after = files::wal_bytes(path);
    flushed.took = begun.elapsed();
    Ok(flushed)
}

/// Until when, and with what.
struct To<'a> {
    ends: Instant,
    clock: &'a Clock,
    stragglers: &'a Stragglers,
}

impl To<'_> {
    fn sync(&self, path: &Path) -> Result<(), String> {
        files::sync(path, self.ends.saturating_duration_since(Instant::now()), self.stragglers)
    }
}

/// Has a database written to the disk between two transactions.
///
/// fsync of several files takes a while. What an application that does not sync by itself writes meanwhile would be on the
/// disk in part, and could not be undone: its journal is empty by the time that it is its turn. A read transaction keeps
/// SQLite from writing into the database (<https://sqlite.org/lockingv3.html>, SHARED), and from using a log again
/// (<https://sqlite.org/wal.html>, section 2.2).
fn to_disk(connection: &Connection, flushed: &Flushed, busy: Duration, to: &To<'_>) -> Result<(), String> {
    let path = &flushed.path;
    if flushed.journal_mode != "wal" {
        // Writers wait for readers here: the most of it ahead of that.
        to.sync(path)?;
    }
    let gives_up = to.ends.min(Instant::now() + busy);
    let begun = connection.execute_batch("BEGIN");
    // The transaction begins with what is read first.
    let read = || connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    match begun.and_then(|()| patient(gives_up, to.clock, read)) {
        Ok(()) => to.sync(path),
        // It may be that of an application that never lets anybody in. Its log is whole at any time.
        Err(error) if is_in_the_way(&error) && files::beside(path, "-wal").exists() => to.sync(path),
        Err(error) => Err(format!("{error}: it was written to the disk, but perhaps in the midst of a transaction")),
    }
}

/// Opens a database that is there.
pub(crate) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK)?;
    Ok(connection)
}

fn fault(error: &rusqlite::Error) -> Fault {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Fault::NotOne(text),
        _ => Fault::Failed(text),
    }
}

fn is_in_the_way(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OperationInterrupted))
}

fn checkpoint(connection: &Connection, busy: Duration, clock: &Clock, flushed: &mut Flushed) -> rusqlite::Result<()> {
    let gives_up = Instant::now() + busy;
    flushed.journal_mode =
        patient(gives_up, clock, || connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)))?;
    let pages: i64 = patient(gives_up, clock, || connection.query_row("PRAGMA page_count", [], |row| row.get(0)))?;
    let page_size: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    flushed.bytes = u64::try_from(pages.saturating_mul(page_size)).unwrap_or_default();
    if flushed.journal_mode != "wal" {
        flushed.reached = Some(Reached::NoLog);
        return Ok(());
    }
    // SQLite then syncs the log before it copies from it, and the database after.
    connection.execute_batch("PRAGMA synchronous = FULL")?;
    flushed.reached = Some(Reached::Partial);
    bring_in(connection, gives_up, clock, flushed)?;
    if flushed.reached == Some(Reached::Partial) {
        let Counts { log, done, .. } = flushed.last;
        let text = format!("{done} of {log} pages of the log could be brought in: a reader or writer holds the rest");
        flushed.remark = Some(text);
    }
    Ok(())
}

fn bring_in(connection: &Connection, gives_up: Instant, clock: &Clock, flushed: &mut Flushed) -> rusqlite::Result<()> {
    flushed.first = run(connection, "PASSIVE")?;
    flushed.last = flushed.first;
    loop {
        flushed.last = run(connection, "TRUNCATE")?;
        if !flushed.last.busy {
            flushed.reached = Some(Reached::Truncated);
            return Ok(());
        }
        if clock.is_over() || Instant::now() >= gives_up {
            break;
        }
    }
    flushed.last = run(connection, "FULL")?;
    if flushed.last.done == flushed.last.log {
        flushed.reached = Some(Reached::Full);
    }
    Ok(())
}

fn run(connection: &Connection, mode: &str) -> rusqlite::Result<Counts> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(Counts { busy: row.get::<_, i64>(0)? != 0, log: row.get(1)?, done: row.get(2)? })
    })
}

/// Tries again while somebody has it locked.
fn patient<T>(gives_up: Instant, clock: &Clock, ask: impl Fn() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    loop {
        match ask() {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && !clock.is_over()
                    && Instant::now() < gives_up => {}
            answer => return answer,
        }
    }
}
