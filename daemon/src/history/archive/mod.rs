//! The history as people ask it: the same questions and the same tables, in one file or on a server.
//!
//! Responsibilities: open a history file beside the daemon, or a PostgreSQL database; queries, import, export and merge are written
//! once, on `Base`. Inputs: a path or an address, filters, rows. Outputs: rows. Must never run in the daemon: that has its own
//! connection (`store`), and none of what is here is linked into it. Nothing is half done: what writes is one transaction.
//!
//! `base` is what a database must do, `sqlite` and `postgres` do it, `schema` (one level up) holds what differs in their SQL;
//! `tables` says what the tables hold, `views` asks, `import` brings rows in; `jsonl`, `parquet`, `public` read and write files;
//! `prune` drops.

mod base;
pub mod import;
pub mod jsonl;
pub mod parquet;
mod postgres;
pub mod prune;
pub mod public;
mod sqlite;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod views;

pub use base::{Base, Cell, Row};

use crate::history::schema::SCHEMA_VERSION;
use cloudsnooze_insight::Pool;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use tables::Exchanged;

/// Parameters of an address that say which database is meant.
const IDENTIFYING: [&str; 5] = ["host", "hostaddr", "port", "user", "dbname"];
/// Rows of one page of an export or a merge.
const PAGE_ROWS: usize = 5_000;

/// Where a history is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of PostgreSQL: `postgres://USER@HOST/DATABASE`, with what else libpq understands as parameters.
    Server(String),
}

impl Place {
    /// What somebody wrote: an address that begins with `postgres://` or `postgresql://`, else a path.
    pub fn parse(text: &str) -> Self {
        let is_address = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if is_address { Self::Server(text.to_owned()) } else { Self::File(PathBuf::from(text)) }
    }

    /// A name that no other history has, without secrets. None: there is no such file, or the address cannot be read.
    pub fn identity(&self) -> Option<String> {
        match self {
            Self::File(path) => std::fs::canonicalize(path).ok().map(|path| path.display().to_string()),
            Self::Server(address) => {
                let mut address = url::Url::parse(address).ok()?;
                // It cannot fail where there is a host; without one there is no password.
                let _ = address.set_password(None);
                let told: Vec<(String, String)> = address.query_pairs().into_owned().collect();
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                query.extend_pairs(told.iter().filter(|(name, _)| IDENTIFYING.contains(&name.as_str())));
                address.set_query(Some(&query.finish()));
                address.set_fragment(None);
                Some(address.to_string())
            }
        }
    }
}

impl fmt::Display for Place {
    /// Without the password that may stand in an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(address) => f.write_str(&without_password(address)),
        }
    }
}

fn without_password(address: &str) -> String {
    match url::Url::parse(address) {
        Ok(mut address) => {
            // It cannot fail where there is a host; without one there is no password.
            let _ = address.set_password(None);
            let (host, path) = (address.host_str().unwrap_or_default(), address.path());
            let user = if address.username().is_empty() { String::new() } else { format!("{}@", address.username()) };
            let port = address.port().map_or_else(String::new, |port| format!(":{port}"));
            format!("{}://{user}{host}{port}{path}", address.scheme())
        }
        Err(_) => "the PostgreSQL database".to_owned(),
    }
}

/// What is wanted of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To look. The daemon may run.
    Read,
    /// To bring rows in or drop some. It is made where there is none, and an older one is brought up.
    Write,
}

/// Why a history did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is none.
    #[error("{0}")]
    Missing(String),
    /// The system or the server does not let us.
    #[error("{0}")]
    Forbidden(String),
    /// It is of another version.
    #[error("{place} is of schema {found}, this program knows {SCHEMA_VERSION}: {hint}")]
    Version {
        /// Where it is.
        place: String,
        /// Its schema.
        found: i64,
        /// What to do.
        hint: &'static str,
    },
    /// What the database says, and what of.
    #[error("{place}: {text}")]
    Database {
        /// Where it is.
        place: String,
        /// Its words.
        text: String,
    },
    /// What is to be brought in is not what it should be.
    #[error("{0}")]
    Input(#[from] Fault),
    /// A file cannot be read or written.
    #[error("{file}: {error}")]
    File {
        /// Which.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// The one who asked wants no more.
    #[error("cannot write: {0}")]
    Output(std::io::Error),
}

impl ArchiveError {
    /// An error of a file.
    pub fn file(path: &Path, error: std::io::Error) -> Self {
        Self::File { file: path.display().to_string(), error }
    }
}

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// Line, from 1; in a Parquet file the row.
    pub line: u64,
    /// Name of the column or member; empty: the line as a whole.
    pub column: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, found, expected } = self;
        write!(f, "{file}, line {line}")?;
        if !column.is_empty() {
            write!(f, ", column {column}")?;
        }
        let found: String = found.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect();
        write!(f, ": found '{found}', expected {expected}; nothing of the file was taken")
    }
}

impl std::error::Error for Fault {}

/// What this module gives back.
pub type Result<T> = std::result::Result<T, ArchiveError>;

/// A history that is open.
pub struct Archive {
    base: Box<dyn Base>,
    place: String,
    /// Numbers of the pools, as far as they were needed.
    pools: HashMap<Pool, i64>,
}

impl Archive {
    /// Opens it. Waits for a server at most ten seconds.
    ///
    /// # Errors
    /// There is none, it may not be opened, or it is of another version.
    pub fn open(place: &Place, access: Access) -> Result<Self> {
        let base: Box<dyn Base> = match place {
            Place::File(path) => Box::new(sqlite::File::open(path, access)?),
            Place::Server(address) => Box::new(postgres::Server::open(address, &place.to_string(), access)?),
        };
        Ok(Self { base, place: place.to_string(), pools: HashMap::new() })
    }

    /// Opens what is to be merged into another: a file of an older version is read through a copy that is brought up.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_source(place: &Place) -> Result<Self> {
        let Place::File(path) = place else { return Self::open(place, Access::Read) };
        let base = Box::new(sqlite::File::open_any_version(path)?);
        Ok(Self { base, place: place.to_string(), pools: HashMap::new() })
    }

    /// Where it is, without secrets.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Runs `work` in one transaction: all of it, or nothing.
    ///
    /// # Errors
    /// Those of the work and of the database.
    pub fn transact<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.base.batch(base::BEGIN_TO_WRITE)?;
        let done = work(self).and_then(|value| self.base.batch("COMMIT").map(|()| value));
        if done.is_err() {
            self.pools.clear();
            // The first error is the one to tell; a connection that is gone has rolled back.
            let _ = self.base.batch("ROLLBACK");
        }
        done
    }

    /// Runs `work` on the history as it is now, whatever others write meanwhile.
    ///
    /// # Errors
    /// Those of the work and of the database.
    pub fn snapshot<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.base.batch(base::BEGIN_TO_READ)?;
        let done = work(self);
        // Nothing was written: there is nothing to keep.
        let _ = self.base.batch("ROLLBACK");
        done
    }

    /// Has the planner look at the tables anew, after many rows came or went.
    ///
    /// # Errors
    /// The database's.
    pub fn settle(&mut self) -> Result<()> {
        self.base.settle()
    }

    /// Bytes on the disk.
    ///
    /// # Errors
    /// The database's.
    pub fn bytes(&mut self) -> Result<u64> {
        self.base.bytes()
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// The database's.
    pub fn count(&mut self, table: &Exchanged) -> Result<u64> {
        let rows = self.query(&format!("SELECT count(*) FROM {}", table.name), &[])?;
        Ok(rows.first().and_then(|row| row.first()).and_then(Cell::as_int).map_or(0, |n| u64::try_from(n).unwrap_or(0)))
    }

    /// Gives all rows of a table to `take`, in the order of its keys, page by page.
    ///
    /// # Errors
    /// The database's, and those of `take`.
    pub fn each(&mut self, table: &Exchanged, take: &mut dyn FnMut(&[Cell]) -> Result<()>) -> Result<()> {
        let mut after: Option<Row> = None;
        loop {
            let sql = table.page(after.is_some(), PAGE_ROWS);
            let rows = self.query(&sql, after.as_deref().unwrap_or_default())?;
            for row in &rows {
                take(&row[..table.columns.len()])?;
            }
            match rows.into_iter().nth(PAGE_ROWS - 1) {
                Some(mut last) => after = Some(last.split_off(table.columns.len())),
                None => return Ok(()),
            }
        }
    }

    fn query(&mut self, sql: &str, values: &[Cell]) -> Result<Vec<Row>> {
        let sql = self.base.dialect().of(sql);
        self.base.query(&sql, values)
    }

    fn execute(&mut self, sql: &str, values: &[Cell]) -> Result<u64> {
        let sql = self.base.dialect().of(sql);
        self.base.execute(&sql, values)
    }

    /// The number of a pool; it gets one when it has none.
    fn pool_number(&mut self, pool: &Pool) -> Result<i64> {
        if let Some(number) = self.pools.get(pool) {
            return Ok(*number);
        }
        let texts =
            [&pool.provider, &pool.region, &pool.zone, &pool.instance_type].map(|text| Cell::Text(text.clone()));
        let make =
            "INSERT INTO pools (provider, region, zone, instance_type) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        self.execute(make, &texts)?;
        let is_it = "SELECT id FROM pools WHERE provider = ?1 AND region = ?2 AND zone = ?3 AND instance_type = ?4";
        let rows = self.query(is_it, &texts)?;
        let number = rows.first().and_then(|row| row.first()).and_then(Cell::as_int);
        let text = || "a pool that was just written down is not there".to_owned();
        let number = number.ok_or_else(|| ArchiveError::Database { place: self.place.clone(), text: text() })?;
        self.pools.insert(pool.clone(), number);
        Ok(number)
    }
}
