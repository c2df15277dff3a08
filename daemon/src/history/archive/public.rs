//! CSV files in the forms in which public data sets come: lives of preemptible machines, and prices.
//!
//! Inputs: a CSV file whose head names the columns. Outputs: rows. Known are `vm,zone,machine_type,preemptible,launch_utc,end_utc,
//! lifetime_s,event,batch` (lives on GCP: an event of 1 is a preemption, 0 a stop by the user) and
//! `az,instance_type,timestamp_utc,usd_per_hour` (spot prices on AWS). Must never take a row that does not fit together.

use super::base::{Cell, Row};
use super::import::{Importer, checked};
use super::tables::{LIVES, PRICES};
use super::{ArchiveError, Fault, Result};
use crate::history::life::{INTERRUPTED, ON_DEMAND, SPOT, STOPPED};
use csv::{Position, StringRecord};
use std::io::Read;

const LIVES_HEAD: [&str; 9] =
    ["vm", "zone", "machine_type", "preemptible", "launch_utc", "end_utc", "lifetime_s", "event", "batch"];
const PRICES_HEAD: [&str; 4] = ["az", "instance_type", "timestamp_utc", "usd_per_hour"];
/// A stated length may differ so much from the times, seconds: they are rounded.
const ROUNDING_SECONDS: f64 = 1.5;

/// Takes all rows of a file; `file` is its name in errors, `name` that of the data set, which becomes a part of identities.
///
/// # Errors
/// The first row that is wrong, and the database's.
pub fn import(input: impl Read, file: &str, name: &str, importer: &mut Importer<'_>) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
    let broken = |error: csv::Error| broken(file, error);
    let head = reader.headers().map_err(broken)?.clone();
    let has = |wanted: &[&str]| wanted.iter().all(|column| head.iter().any(|there| there == *column));
    let take = if has(&LIVES_HEAD) {
        life
    } else if has(&PRICES_HEAD) {
        price
    } else {
        let expected = format!("the columns {}, or {}", LIVES_HEAD.join(","), PRICES_HEAD.join(","));
        let found = head.iter().collect::<Vec<_>>().join(",");
        return Err(Fault { file: file.to_owned(), line: 1, column: String::new(), found, expected }.into());
    };
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(broken)? {
        let line = record.position().map_or(0, Position::line);
        take(&Line { head: &head, record: &record, file, line, name }, importer)?;
    }
    Ok(())
}

fn broken(file: &str, error: csv::Error) -> ArchiveError {
    let line = error.position().map_or(0, Position::line);
    let (file, column) = (file.to_owned(), String::new());
    match error.into_kind() {
        csv::ErrorKind::Io(error) => ArchiveError::File { file, error },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Fault { file, line, column, found: format!("{len} fields"), expected: format!("{expected_len} fields") }
                .into()
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            Fault { file, line, column, found: "other bytes".to_owned(), expected: format!("UTF-8 ({err})") }.into()
        }
        other => Fault { file, line, column, found: format!("{other:?}"), expected: "CSV".to_owned() }.into(),
    }
}

/// One line of a file.
struct Line<'a> {
    head: &'a StringRecord,
    record: &'a StringRecord,
    file: &'a str,
    line: u64,
    name: &'a str,
}

impl Line<'_> {
    fn text(&self, column: &str) -> &str {
        let number = self.head.iter().position(|there| there == column);
        number.and_then(|number| self.record.get(number)).unwrap_or_default()
    }

    fn fault(&self, column: &str, expected: &str) -> Fault {
        let [file, column_name, found, expected] = [self.file, column, self.text(column), expected].map(str::to_owned);
        Fault { file, line: self.line, column: column_name, found, expected }
    }

    fn some(&self, column: &str) -> std::result::Result<&str, Fault> {
        let text = self.text(column);
        if text.is_empty() { Err(self.fault(column, "a text")) } else { Ok(text) }
    }

    fn time(&self, column: &str) -> std::result::Result<i64, Fault> {
        let time: Option<jiff::Timestamp> = self.text(column).parse().ok();
        let wall_ns = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        wall_ns.ok_or_else(|| self.fault(column, "a time with its zone (2019-02-18T16:57:37Z)"))
    }

    fn number(&self, column: &str) -> std::result::Result<f64, Fault> {
        let number = self.text(column).parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| self.fault(column, "a number"))
    }

    fn yes_or_no(&self, column: &str) -> std::result::Result<bool, Fault> {
        match self.text(column) {
            "1" => Ok(true),
            "0" => Ok(false),
            _ => Err(self.fault(column, "0 or 1")),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds, compared roughly")]
fn life(line: &Line<'_>, importer: &mut Importer<'_>) -> Result<()> {
    let (vm, zone, kind) = (line.some("vm")?, line.some("zone")?, line.some("machine_type")?);
    let (launched, ended) = (line.time("launch_utc")?, line.time("end_utc")?);
    if ended < launched {
        return Err(line.fault("end_utc", "a time not before launch_utc").into());
    }
    let stated = line.number("lifetime_s")?;
    if ((ended - launched) as f64 / 1e9 - stated).abs() > ROUNDING_SECONDS {
        return Err(line.fault("lifetime_s", "the seconds from launch_utc to end_utc").into());
    }
    let is_interrupted = line.yes_or_no("event")?;
    let market = if line.yes_or_no("preemptible")? { SPOT } else { ON_DEMAND };
    let batch = match line.text("batch") {
        "" => Cell::Null,
        text => Cell::Int(text.parse().map_err(|_| line.fault("batch", "a whole number, or nothing"))?),
    };
    let text = |text: &str| Cell::Text(text.to_owned());
    // On GCP a zone is its region and a letter (cloud.google.com/compute/docs/regions-zones).
    let region = zone.rsplit_once('-').map_or(zone, |(region, _)| region);
    let row: Row = vec![
        Cell::Text(format!("{}/{vm}@{}", line.name, line.text("launch_utc"))),
        Cell::Text(format!("{}/{vm}", line.name)),
        text(market),
        Cell::Int(launched),
        Cell::Int(ended),
        Cell::Int(ended),
        text(if is_interrupted { INTERRUPTED } else { STOPPED }),
        batch,
        text("gcp"),
        text(region),
        text(zone),
        text(kind),
    ];
    debug_assert_eq!(checked(&LIVES, &row), Ok(()));
    importer.take(&LIVES, row)
}

fn price(line: &Line<'_>, importer: &mut Importer<'_>) -> Result<()> {
    let (zone, kind, at) = (line.some("az")?, line.some("instance_type")?, line.time("timestamp_utc")?);
    let price = line.number("usd_per_hour")?;
    if price < 0.0 {
        return Err(line.fault("usd_per_hour", "a price, 0 or more").into());
    }
    // On AWS a zone is its region and a letter.
    let region = zone.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let text = |text: &str| Cell::Text(text.to_owned());
    let row: Row = vec![
        text(SPOT),
        Cell::Int(at),
        Cell::Real(price),
        text("USD"),
        text(line.name),
        text("aws"),
        text(region),
        text(zone),
        text(kind),
    ];
    debug_assert_eq!(checked(&PRICES, &row), Ok(()));
    importer.take(&PRICES, row)
}
