//! Brings rows into a history, each once.
//!
//! Inputs: rows as they are exchanged, from a file or another history. Outputs: how many there were and how many brought something.
//! Must never take half of a file, nor a row that says what cannot be: who calls has one transaction around all of it.

use super::base::{Cell, Row};
use super::tables::{ALL, Exchanged, Kind};
use super::{Archive, Result};
use cloudsnooze_insight::Pool;
use std::collections::HashSet;

/// Rows of one statement.
const BATCH_ROWS: usize = 2_000;
/// Rows between two words of progress.
const TELL_ROWS: u64 = 20_000;

/// Times further from 1970 than this, about 127 years, are none: their differences would not fit either, nanoseconds.
const TIME_MAX_NS: u64 = 4_000_000_000_000_000_000;

/// What came of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Rows that were given.
    pub given: u64,
    /// Those that were new or brought something new.
    pub taken: u64,
}

/// What came of all tables, in their order.
pub type Counts = [(&'static str, Count); 4];

/// Takes rows, one after the other.
pub struct Importer<'a> {
    archive: &'a mut Archive,
    progress: &'a mut dyn FnMut(u64),
    table: &'static Exchanged,
    batch: Vec<Row>,
    /// What tells apart the rows that wait: one statement cannot take the same twice.
    keys: HashSet<String>,
    counts: [Count; 4],
    given: u64,
}

impl<'a> Importer<'a> {
    /// One that brings rows into `archive` and tells `progress` now and then how many there were.
    pub fn new(archive: &'a mut Archive, progress: &'a mut dyn FnMut(u64)) -> Self {
        let (table, batch, keys) = (ALL[0], Vec::new(), HashSet::new());
        Self { archive, progress, table, batch, keys, counts: [Count::default(); 4], given: 0 }
    }

    /// Takes a row, whose values are those of the table's columns.
    ///
    /// # Errors
    /// The database's.
    pub fn take(&mut self, table: &'static Exchanged, mut row: Row) -> Result<()> {
        if table.name != self.table.name {
            self.flush()?;
            self.table = table;
        }
        if table.has_pool {
            let texts = row.split_off(table.own().len());
            let pool = self.archive.pool_number(&pool_of(&texts))?;
            row.push(Cell::Int(pool));
        }
        let key = self.key(&row);
        if self.keys.contains(&key) || self.batch.len() >= BATCH_ROWS {
            self.flush()?;
        }
        self.keys.insert(key);
        self.batch.push(row);
        self.given += 1;
        if self.given.is_multiple_of(TELL_ROWS) {
            (self.progress)(self.given);
        }
        Ok(())
    }

    /// Writes what waits, and gives what came of all.
    ///
    /// # Errors
    /// The database's.
    pub fn finish(mut self) -> Result<Counts> {
        self.flush()?;
        let counts = &self.counts;
        Ok(std::array::from_fn(|number| (ALL[number].name, counts[number])))
    }

    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let taken = self.archive.base.insert(self.table, &self.batch)?;
        let number = ALL.iter().position(|table| table.name == self.table.name).unwrap_or_default();
        self.counts[number].given += self.batch.len() as u64;
        self.counts[number].taken += taken;
        self.batch.clear();
        self.keys.clear();
        Ok(())
    }

    fn key(&self, row: &[Cell]) -> String {
        let mut key = String::new();
        for (name, cell) in self.table.stored().iter().zip(row).filter(|(name, _)| self.table.key.contains(name)) {
            let _ = name;
            match cell {
                Cell::Text(text) => key.push_str(text),
                Cell::Int(number) => key.push_str(&number.to_string()),
                Cell::Null | Cell::Real(_) => {}
            }
            key.push('\u{1f}');
        }
        key
    }
}

fn pool_of(texts: &[Cell]) -> Pool {
    let text = |number: usize| texts.get(number).and_then(Cell::as_text).unwrap_or_default().to_owned();
    Pool { provider: text(0), region: text(1), zone: text(2), instance_type: text(3) }
}

/// What cannot be.
#[derive(Debug, PartialEq, Eq)]
pub struct Impossible {
    /// The column.
    pub column: &'static str,
    /// What it says.
    pub found: String,
    /// What it should.
    pub expected: String,
}

/// Whether a row's values are of the kinds of its columns, and can be true.
///
/// # Errors
/// The first that is not.
pub fn checked(table: &Exchanged, row: &[Cell]) -> std::result::Result<(), Impossible> {
    for (column, cell) in table.columns.iter().zip(row) {
        let is_right = match (column.kind, cell) {
            (_, Cell::Null) => column.may_lack,
            (Kind::Text, Cell::Text(text)) => !text.contains('\0'),
            (Kind::Time, Cell::Int(wall_ns)) => wall_ns.unsigned_abs() <= TIME_MAX_NS,
            (Kind::Int, Cell::Int(_)) | (Kind::Flag, Cell::Int(0 | 1)) => true,
            (Kind::Real, Cell::Real(number)) => number.is_finite(),
            _ => false,
        };
        if !is_right {
            return Err(Impossible {
                column: column.name,
                found: words(cell),
                expected: expected(column.kind, column.may_lack),
            });
        }
    }
    let of =
        |name: &str| table.columns.iter().position(|column| column.name == name).and_then(|number| row.get(number));
    let wrong = |column: &'static str, expected: &str| {
        Err(Impossible { column, found: of(column).map_or_else(String::new, words), expected: expected.to_owned() })
    };
    let time = |name: &str| of(name).and_then(Cell::as_int);
    match table.name {
        "lives" => {
            let launched = time("launched_wall_ns");
            let is_before = |name: &str| time(name).is_some_and(|at| Some(at) < launched);
            if is_before("last_seen_wall_ns") {
                return wrong("last_seen_wall_ns", "a time not before launched_wall_ns");
            }
            if is_before("ended_wall_ns") {
                return wrong("ended_wall_ns", "a time not before launched_wall_ns");
            }
            let outcome = of("outcome").and_then(Cell::as_text).unwrap_or_default();
            if !["running", "interrupted", "stopped"].contains(&outcome) {
                return wrong("outcome", "running, interrupted or stopped");
            }
        }
        "prices" if of("price_per_hour").and_then(Cell::as_real).is_none_or(|price| price < 0.0) => {
            return wrong("price_per_hour", "a price, 0 or more");
        }
        "deliveries" if of("attempts").and_then(Cell::as_int).is_none_or(|attempts| attempts < 0) => {
            return wrong("attempts", "a count, 0 or more");
        }
        _ => {}
    }
    Ok(())
}

/// A value as people read it.
pub fn words(cell: &Cell) -> String {
    match cell {
        Cell::Null => "nothing".to_owned(),
        Cell::Int(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
    }
}

/// What a column takes, in words.
pub fn expected(kind: Kind, may_lack: bool) -> String {
    let what = match kind {
        Kind::Text => "a text",
        Kind::Int => "a whole number",
        Kind::Real => "a finite number",
        Kind::Time => "nanoseconds since 1970, a whole number",
        Kind::Flag => "0 or 1",
    };
    if may_lack { format!("{what}, or null") } else { what.to_owned() }
}
