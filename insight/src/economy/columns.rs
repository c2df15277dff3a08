//! Tables as text: comma-separated, the first line names the columns.
//!
//! Responsibilities: rows by the names of their columns, with the line in every error. Inputs: text, names. Outputs: whatever a row
//! is made into. Must never guess what a row means that lacks a column.

use crate::Scarce;
use csv::StringRecord;
use jiff::Timestamp;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'r> {
    headings: &'r StringRecord,
    cells: &'r StringRecord,
}

impl<'r> Row<'r> {
    /// The cell of the first of these columns that there is; `None` where there is none, or it is empty.
    #[must_use]
    pub fn text(&self, names: &[&str]) -> Option<&'r str> {
        let column = names.iter().find_map(|name| self.headings.iter().position(|heading| heading == *name))?;
        self.cells.get(column).filter(|cell| !cell.is_empty())
    }

    /// The same as a number that is none but a number.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn number(&self, names: &[&str]) -> Result<Option<f64>, String> {
        let Some(cell) = self.text(names) else { return Ok(None) };
        match cell.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(format!("{} is '{cell}', not a number", names.first().unwrap_or(&""))),
        }
    }

    /// A number that has to be there, zero or above.
    ///
    /// # Errors
    /// What is there instead.
    pub fn amount(&self, names: &[&str]) -> Result<f64, String> {
        match self.number(names)? {
            Some(number) if number >= 0.0 => Ok(number),
            Some(number) => Err(format!("{} is {number}: expected zero or above", names.first().unwrap_or(&""))),
            None => Err(format!("there is no {}", names.join(" or "))),
        }
    }

    /// A moment, seconds since 1970: seconds, or RFC 3339 with a zone.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn moment(&self, names: &[&str]) -> Result<Option<f64>, String> {
        let Some(cell) = self.text(names) else { return Ok(None) };
        if let Ok(seconds) = cell.parse::<f64>()
            && seconds.is_finite()
        {
            return Ok(Some(seconds));
        }
        match cell.parse::<Timestamp>() {
            Ok(moment) => Ok(Some(moment.as_millisecond() as f64 / 1e3)),
            Err(_) => Err(format!(
                "{} is '{cell}': expected seconds since 1970, or 2026-05-01T12:00:00Z",
                names.first().unwrap_or(&"")
            )),
        }
    }
}

/// Reads a table; rows that `read` makes nothing of are left out.
///
/// # Errors
/// A sentence with the name of the table and the line: no table, a column that is missing (`required`: each with its other names), or
/// what `read` says.
pub fn rows<T>(
    name: &str,
    text: &str,
    required: &[&[&str]],
    mut read: impl FnMut(Row<'_>) -> Result<Option<T>, String>,
) -> Result<Vec<T>, Scarce> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let bad = |line: u64, why: &str| Scarce(format!("{name}, line {line}: {why}"));
    let headings = reader.headers().map_err(|error| Scarce(format!("{name} is no table: {error}")))?.clone();
    for names in required {
        if !names.iter().any(|name| headings.iter().any(|heading| heading == *name)) {
            let found = headings.iter().collect::<Vec<_>>().join(", ");
            return Err(Scarce(format!("{name} has no column {}; it has: {found}", names.join(" or "))));
        }
    }
    let mut made = Vec::new();
    for record in reader.records() {
        let cells = record.map_err(|error| Scarce(format!("{name} is no table: {error}")))?;
        let line = cells.position().map_or(0, csv::Position::line);
        if let Some(row) = read(Row { headings: &headings, cells: &cells }).map_err(|why| bad(line, &why))? {
            made.push(row);
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_by_the_names_of_their_columns_and_errors_have_the_line() {
        let read = |text: &str| {
            rows("t", text, &[&["price", "usd"]], |row| {
                Ok(Some((row.amount(&["price", "usd"])?, row.moment(&["at"])?, row.text(&["zone"]).map(str::to_owned))))
            })
        };
        let found = read("zone, usd ,at\na,0,1970-01-01T00:00:01Z\n# a note\n,1.5,7\n").expect("a table");
        assert_eq!(found, [(0.0, Some(1.0), Some("a".to_owned())), (1.5, Some(7.0), None)]);
        for (text, why) in [
            ("", "no column price or usd"),
            ("zone\na\n", "it has: zone"),
            ("usd\n-1\n", "line 2: price is -1"),
            ("usd\nNaN\n", "'NaN', not a number"),
            ("usd,at\n1,soon\n", "'soon': expected"),
            ("usd,at\n1\n", "no table"),
            ("usd,at\n,1\n", "there is no price or usd"),
        ] {
            let said = read(text).expect_err(text).0;
            assert!(said.contains(why) && said.starts_with('t'), "{text}: {said}");
        }
    }
}
