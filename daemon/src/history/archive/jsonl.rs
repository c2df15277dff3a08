//! JSON Lines: everything in one text file, a row a line, readable by everything.
//!
//! Inputs: a history; lines. Outputs: lines; rows. The first line names the schema, every other has `kind` and the columns of its
//! table. Must never take a line that it does not understand whole: each error names line and member.

use super::base::{Cell, Row};
use super::import::{Importer, Impossible, checked};
use super::tables::{ALL, Column, Exchanged, Kind};
use super::{Archive, ArchiveError, Fault, Result};
use crate::history::schema::SCHEMA_VERSION;
use serde_json::{Map, Value, json};
use std::io::{BufRead, Read, Write};

/// Longest line that is read, bytes: more than any event with its report.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// `kind` of the first line.
const HEADER: &str = "history";

/// Writes all tables; gives how many rows. `progress` hears of the number now and then.
///
/// # Errors
/// The database's and the writer's.
pub fn export(archive: &mut Archive, out: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> Result<u64> {
    let mut rows = 0;
    writeln!(out, "{}", json!({"kind": HEADER, "schema": SCHEMA_VERSION})).map_err(ArchiveError::Output)?;
    for table in ALL {
        archive.each(table, &mut |row| {
            writeln!(out, "{}", line(table, row)).map_err(ArchiveError::Output)?;
            rows += 1;
            if rows % 20_000 == 0 {
                progress(rows);
            }
            Ok(())
        })?;
    }
    out.flush().map_err(ArchiveError::Output)?;
    Ok(rows)
}

/// A row as an object; what it lacks is left out.
fn line(table: &Exchanged, row: &[Cell]) -> Value {
    let kind = ("kind".to_owned(), Value::from(table.row_name));
    let there = table.columns.iter().zip(row).filter(|(_, cell)| **cell != Cell::Null);
    Value::Object(
        std::iter::once(kind).chain(there.map(|(column, cell)| (column.name.to_owned(), cell.to_json()))).collect(),
    )
}

/// Takes all lines of `input`; `file` is its name in errors.
///
/// # Errors
/// The first line that is wrong, and the database's.
pub fn import(input: &mut dyn BufRead, file: &str, importer: &mut Importer<'_>) -> Result<()> {
    let (mut number, mut bytes) = (0, Vec::new());
    loop {
        bytes.clear();
        number += 1;
        let read = input.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes);
        let length = read.map_err(|error| ArchiveError::File { file: file.to_owned(), error })?;
        let fault = |column: &str, found: &str, expected: &str| {
            let [column, found, expected] = [column, found, expected].map(str::to_owned);
            Fault { file: file.to_owned(), line: number, column, found, expected }
        };
        if length == 0 {
            return Ok(());
        }
        if length as u64 > LINE_BYTES_MAX {
            return Err(fault("", "a longer line", "at most 16 MiB").into());
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let members: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|error| {
            let found = String::from_utf8_lossy(&bytes);
            fault(&error.column().to_string(), found.trim(), &format!("an object of JSON ({error})"))
        })?;
        let kind = members.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind == HEADER {
            let schema = members.get("schema").and_then(Value::as_i64);
            if schema.is_none_or(|schema| schema > SCHEMA_VERSION) {
                let found = members.get("schema").map_or_else(|| "nothing".to_owned(), Value::to_string);
                return Err(fault("schema", &found, &format!("{SCHEMA_VERSION} or less")).into());
            }
            continue;
        }
        let (table, row) = row_of(&members).map_err(|wrong| fault(wrong.column, &wrong.found, &wrong.expected))?;
        importer.take(table, row)?;
    }
}

/// The row that an object stands for, and its table.
///
/// # Errors
/// The first member that is wrong.
pub fn row_of(members: &Map<String, Value>) -> std::result::Result<(&'static Exchanged, Row), Impossible> {
    let said = |name: &str, else_: String| members.get(name).map_or(else_, Value::to_string);
    let kind = members.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some(table) = ALL.into_iter().find(|table| table.row_name == kind) else {
        let expected = "event, delivery, life, price or history".to_owned();
        return Err(Impossible { column: "kind", found: said("kind", "nothing".to_owned()), expected });
    };
    let row = row(table, members);
    match checked(table, &row) {
        Ok(()) => Ok((table, row)),
        Err(wrong) => Err(Impossible { found: said(wrong.column, wrong.found), ..wrong }),
    }
}

/// The values of the table's columns. What is of another kind stays what it is, and is refused afterwards.
fn row(table: &Exchanged, members: &Map<String, Value>) -> Row {
    let cell = |column: &Column| match members.get(column.name) {
        None | Some(Value::Null) => Cell::Null,
        Some(Value::String(text)) => Cell::Text(text.clone()),
        Some(Value::Number(number)) => match (column.kind, number.as_i64(), number.as_f64()) {
            (Kind::Real, _, Some(real)) => Cell::Real(real),
            (_, Some(int), _) => Cell::Int(int),
            (_, _, Some(real)) => Cell::Real(real),
            _ => Cell::Text(number.to_string()),
        },
        Some(Value::Bool(is)) if column.kind == Kind::Flag => Cell::Int(i64::from(*is)),
        // No column takes it.
        Some(_) if column.kind == Kind::Text => Cell::Real(f64::NAN),
        Some(other) => Cell::Text(other.to_string()),
    };
    table.columns.iter().map(cell).collect()
}
