//! What a database must do to keep a history.
//!
//! Inputs: SQL of its dialect, values. Outputs: rows of plain values. Must never build SQL: that is written once, for all of them.

use super::Result;
use super::tables::Exchanged;
use crate::history::schema::Dialect;
use serde_json::Value;

/// Begins a transaction that writes.
pub(super) const BEGIN_TO_WRITE: &str = "BEGIN";
/// Begins a transaction that sees one state of the whole.
pub(super) const BEGIN_TO_READ: &str = "BEGIN READ ONLY";

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// A number, a time in nanoseconds since 1970, or 0 and 1 for no and yes.
    Int(i64),
    /// A finite number.
    Real(f64),
    /// A text.
    Text(String),
}

/// The values of one row, in the order of its columns.
pub type Row = Vec<Cell>;

impl Cell {
    /// The number, where it is a whole one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number.
    #[allow(clippy::cast_precision_loss, reason = "for people and models; identities stay whole")]
    pub fn as_real(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Real(number) => Some(*number),
            _ => None,
        }
    }

    /// The text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => (*number).into(),
            Self::Real(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

/// A database. One connection, used by one thread.
pub trait Base {
    /// How it wants its SQL.
    fn dialect(&self) -> Dialect;

    /// The rows of a query.
    ///
    /// # Errors
    /// What the database says.
    fn query(&mut self, sql: &str, values: &[Cell]) -> Result<Vec<Row>>;

    /// Runs a statement; gives how many rows it changed.
    ///
    /// # Errors
    /// What the database says.
    fn execute(&mut self, sql: &str, values: &[Cell]) -> Result<u64>;

    /// Runs statements without values; the two that begin a transaction in the words of the database.
    ///
    /// # Errors
    /// What the database says.
    fn batch(&mut self, sql: &str) -> Result<()>;

    /// Puts rows into a table, or what they bring that is new; gives how many were new or brought something. Each row has the
    /// table's own columns and, where it has pools, the pool's number. No two of them have the same key.
    ///
    /// # Errors
    /// What the database says.
    fn insert(&mut self, table: &Exchanged, rows: &[Row]) -> Result<u64>;

    /// Has the planner look at the tables anew.
    ///
    /// # Errors
    /// What the database says.
    fn settle(&mut self) -> Result<()>;

    /// Bytes on the disk.
    ///
    /// # Errors
    /// What the database says.
    fn bytes(&mut self) -> Result<u64>;
}
