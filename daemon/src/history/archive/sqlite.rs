//! A history file, opened beside the daemon.
//!
//! Inputs: a path, SQL. Outputs: rows. Must never make a file where one is only to be read, nor keep the daemon from its own: a reader
//! holds up no writer (WAL), and a writer waits for its turn.

use super::base::{BEGIN_TO_READ, BEGIN_TO_WRITE};
use super::tables::Exchanged;
use super::{Access, ArchiveError, Base, Cell, Result, Row};
use crate::history::schema::{Dialect, SCHEMA_VERSION, sqlite_upgrade};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};
use std::path::Path;
use std::time::Duration;

/// Longest wait for the daemon's own commit, or for another import.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Statements that are kept ready.
const STATEMENTS_KEPT: usize = 64;
/// Pages that are kept in memory, KiB (negative: sqlite.org/pragma.html#pragma_cache_size). An import walks through indexes.
const CACHE_KIB: i64 = -65_536;

/// The open file.
pub(super) struct File {
    connection: Connection,
    place: String,
    /// A copy that goes away with it.
    _copy: Option<tempfile::TempDir>,
}

impl File {
    /// Opens a file of this version; to write, also makes it or brings it up.
    pub(super) fn open(path: &Path, access: Access) -> Result<Self> {
        let place = path.display().to_string();
        if access == Access::Write {
            return Self::open_to_write(path, place);
        }
        let file = Self::open_to_read(path, place)?;
        match file.version()? {
            SCHEMA_VERSION => Ok(file),
            found => Err(file.of_other_version(found)),
        }
    }

    /// Opens a file to read it, of whatever version is known.
    pub(super) fn open_any_version(path: &Path) -> Result<Self> {
        let file = Self::open_to_read(path, path.display().to_string())?;
        let found = file.version()?;
        if found == SCHEMA_VERSION {
            return Ok(file);
        }
        if found == 0 || sqlite_upgrade(found).is_none() {
            return Err(file.of_other_version(found));
        }
        let directory = tempfile::tempdir().map_err(|error| ArchiveError::file(path, error))?;
        let copy = directory.path().join("history.sqlite");
        let to = [Cell::Text(copy.display().to_string())];
        // A copy in one piece, with what stands in the log of the file (sqlite.org/lang_vacuum.html).
        file.connection.execute("VACUUM INTO ?1", rusqlite::params_from_iter(&to)).map_err(|e| file.said(&e))?;
        let upgraded = Self::open_to_write(&copy, file.place.clone())?;
        Ok(Self { _copy: Some(directory), ..upgraded })
    }

    fn open_to_read(path: &Path, place: String) -> Result<Self> {
        // SQLite's own words for a file that is not there do not say so.
        match std::fs::File::open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ArchiveError::Missing(format!(
                    "no history at {place}: snoozed makes it, or snooze history import"
                )));
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(ArchiveError::Forbidden(format!("may not read {place} (try with sudo)")));
            }
            Err(error) => return Err(ArchiveError::file(path, error)),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        Self::prepared(connection.map_err(|error| said(&place, &error))?, place)
    }

    fn open_to_write(path: &Path, place: String) -> Result<Self> {
        let existed = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| said(&place, &error))?;
        let file = Self::prepared(connection, place)?;
        let found = file.version()?;
        if existed && found == 0 {
            return Err(ArchiveError::Missing(format!("{} holds something else than a history", file.place)));
        }
        let upgrade = sqlite_upgrade(found).ok_or_else(|| file.of_other_version(found))?;
        if !upgrade.is_empty() {
            let set = format!(
                "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; {upgrade} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            );
            file.connection.execute_batch(&set).map_err(|error| file.said(&error))?;
        }
        Ok(file)
    }

    fn prepared(connection: Connection, place: String) -> Result<Self> {
        let set = || {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
            connection.pragma_update(None, "cache_size", CACHE_KIB)?;
            connection.pragma_update(None, "foreign_keys", true)
        };
        set().map_err(|error| said(&place, &error))?;
        Ok(Self { connection, place, _copy: None })
    }

    fn version(&self) -> Result<i64> {
        self.connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|error| self.said(&error))
    }

    fn of_other_version(&self, found: i64) -> ArchiveError {
        let hint = match found {
            0 => "it is no history",
            1..SCHEMA_VERSION => "snoozed brings it up when it starts, and so does snooze history prune",
            _ => "use the snooze that belongs to the snoozed that wrote it",
        };
        ArchiveError::Version { place: self.place.clone(), found, hint }
    }

    fn said(&self, error: &rusqlite::Error) -> ArchiveError {
        said(&self.place, error)
    }
}

fn said(place: &str, error: &rusqlite::Error) -> ArchiveError {
    let text = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            return ArchiveError::Forbidden(format!("may not use {place}: {error} (try with sudo)"));
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("somebody else writes to it for longer than {} s", BUSY_TIMEOUT.as_secs())
        }
        Some(ErrorCode::NotADatabase) => "it is no history".to_owned(),
        _ => error.to_string(),
    };
    ArchiveError::Database { place: place.to_owned(), text }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Real(number) => ToSqlOutput::Owned(Value::Real(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Int(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

impl Base for File {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn query(&mut self, sql: &str, values: &[Cell]) -> Result<Vec<Row>> {
        let run = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let columns = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| {
                (0..columns).map(|n| Ok(row.get_ref(n)?.into())).collect::<rusqlite::Result<Row>>()
            };
            statement.query_map(rusqlite::params_from_iter(values), row)?.collect::<rusqlite::Result<Vec<Row>>>()
        };
        run().map_err(|error: rusqlite::Error| self.said(&error))
    }

    fn execute(&mut self, sql: &str, values: &[Cell]) -> Result<u64> {
        let run = || self.connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values));
        run().map(|changed| changed as u64).map_err(|error| self.said(&error))
    }

    fn batch(&mut self, sql: &str) -> Result<()> {
        let sql = match sql {
            // At once: a reader that becomes a writer halfway may not wait for another (sqlite.org/lang_transaction.html).
            BEGIN_TO_WRITE => "BEGIN IMMEDIATE",
            BEGIN_TO_READ => "BEGIN",
            other => other,
        };
        self.connection.execute_batch(sql).map_err(|error| self.said(&error))
    }

    fn insert(&mut self, table: &Exchanged, rows: &[Row]) -> Result<u64> {
        let named =
            table.stored().iter().enumerate().map(|(n, name)| format!("?{} AS {name}", n + 1)).collect::<Vec<_>>();
        let sql = Dialect::Sqlite.of(&table.insert(&format!("SELECT {}", named.join(", "))));
        let run = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            rows.iter().try_fold(0, |sum, row| {
                statement.execute(rusqlite::params_from_iter(row)).map(|changed| sum + changed as u64)
            })
        };
        run().map_err(|error: rusqlite::Error| self.said(&error))
    }

    fn settle(&mut self) -> Result<()> {
        // As its authors advise after large changes; looks at a part of each index (sqlite.org/pragma.html#pragma_optimize).
        self.batch("PRAGMA analysis_limit = 1000; PRAGMA optimize = 0x10002; PRAGMA wal_checkpoint(PASSIVE)")
    }

    fn bytes(&mut self) -> Result<u64> {
        let rows = self.query("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()", &[])?;
        Ok(rows.first().and_then(|row| row.first()).and_then(Cell::as_int).map_or(0, |n| u64::try_from(n).unwrap_or(0)))
    }
}
