//! Readers of the public data sets that models are measured on.
//!
//! Responsibilities: from the text of a file to values, each line checked. Inputs: texts (whoever calls opens the
//! files). Outputs: lives, ticks, or where the text is wrong, what was expected there and what was
//! found. They must never guess: a field that cannot be read is an error, not a zero.

pub mod lives;
pub mod ticks;

use std::collections::HashMap;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: expected {expected}, found {found}")]
pub struct BadData {
    /// `line 7, column lifetime_s`, or a path into a JSON document.
    pub place: String,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl BadData {
    fn new(place: impl Into<String>, expected: &str, found: impl Into<String>) -> Self {
        Self { place: place.into(), expected: expected.to_owned(), found: found.into() }
    }
}

/// Rows of a CSV file (RFC 4180) whose first line names the columns.
struct Rows<'t> {
    reader: csv::Reader<&'t [u8]>,
    columns: HashMap<String, usize>,
}

/// One row, and the line that it begins on.
struct Row<'r> {
    record: &'r csv::StringRecord,
    columns: &'r HashMap<String, usize>,
    line: u64,
}

impl<'t> Rows<'t> {
    /// Opens a text that has to have these columns, in any order; others are allowed.
    fn open(text: &'t str, wanted: &[&str]) -> Result<Self, BadData> {
        let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let names = reader.headers().map_err(|error| in_csv(&error))?;
        let columns: HashMap<String, usize> =
            names.iter().enumerate().map(|(at, name)| (name.trim().to_owned(), at)).collect();
        if let Some(missing) = wanted.iter().find(|name| !columns.contains_key(**name)) {
            let found = names.iter().collect::<Vec<_>>().join(",");
            return Err(BadData::new("line 1", &format!("a column {missing}"), format!("`{}`", excerpt(&found))));
        }
        Ok(Self { reader, columns })
    }

    /// Makes something of every row.
    fn each(mut self, mut take: impl FnMut(Row<'_>) -> Result<(), BadData>) -> Result<(), BadData> {
        let mut record = csv::StringRecord::new();
        while self.reader.read_record(&mut record).map_err(|error| in_csv(&error))? {
            let line = record.position().map_or(0, csv::Position::line);
            take(Row { record: &record, columns: &self.columns, line })?;
        }
        Ok(())
    }
}

impl<'r> Row<'r> {
    fn text(&self, column: &str) -> &'r str {
        self.columns.get(column).and_then(|at| self.record.get(*at)).unwrap_or_default().trim()
    }

    fn wrong(&self, column: &str, expected: &str) -> BadData {
        let found = format!("`{}`", excerpt(self.text(column)));
        BadData::new(format!("line {}, column {column}", self.line), expected, found)
    }

    fn some(&self, column: &str) -> Result<&'r str, BadData> {
        let text = self.text(column);
        if text.is_empty() { Err(self.wrong(column, "something")) } else { Ok(text) }
    }

    fn number(&self, column: &str) -> Result<f64, BadData> {
        let number = self.text(column).parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong(column, "a finite number"))
    }

    fn whole(&self, column: &str) -> Result<u64, BadData> {
        self.text(column).parse().map_err(|_| self.wrong(column, "a whole number"))
    }

    fn yes_or_no(&self, column: &str) -> Result<bool, BadData> {
        match self.text(column) {
            "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(self.wrong(column, "0 or 1")),
        }
    }
}

fn in_csv(error: &csv::Error) -> BadData {
    let place = error.position().map_or_else(|| "the file".to_owned(), |at| format!("line {}", at.line()));
    BadData::new(place, "a row of CSV in UTF-8 with as many fields as line 1", format!("`{error}`"))
}

/// The beginning of what was found, for a message of one line.
fn excerpt(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if line.chars().count() <= 60 { line } else { line.chars().take(59).chain(['…']).collect() }
}
