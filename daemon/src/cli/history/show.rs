//! How answers of a history look: a screen, JSON, CSV.
//!
//! Inputs: tables of plain values. Outputs: text. Must never pass on control characters to a terminal, nor hide that an event was
//! only a rehearsal.

use crate::cli::fault::Fault;
use crate::cli::paint::{Paint, Tone};
use crate::cli::render::{keep_whole, lines, plain, table, tone};
use crate::event::rfc3339;
use crate::history::archive::Cell;
use crate::history::archive::tables::Kind;
use crate::history::archive::views::Table;
use serde_json::{Map, Value, json};
use std::io::Write;

/// Columns of a screen, with their headings: the rest is in JSON and CSV.
const SCREENS: [(&str, &[(&str, &str)]); 5] = [
    (
        "events",
        &[
            ("id", "EVENT"),
            ("detected", "DETECTED (UTC)"),
            ("type", "TYPE"),
            ("instance_id", "INSTANCE"),
            ("state", "STATE"),
        ],
    ),
    (
        "deliveries",
        &[
            ("event_id", "EVENT"),
            ("detected", "DETECTED (UTC)"),
            ("handler", "HANDLER"),
            ("state", "STATE"),
            ("duration_ms", "MS"),
        ],
    ),
    (
        "lives",
        &[
            ("instance_id", "INSTANCE"),
            ("zone", "ZONE"),
            ("instance_type", "TYPE"),
            ("market", "MARKET"),
            ("launched", "LAUNCHED (UTC)"),
            ("hours", "HOURS"),
            ("outcome", "OUTCOME"),
        ],
    ),
    (
        "prices",
        &[
            ("at", "AT (UTC)"),
            ("zone", "ZONE"),
            ("instance_type", "TYPE"),
            ("market", "MARKET"),
            ("price_per_hour", "AN HOUR"),
            ("currency", "CURRENCY"),
            ("source", "SOURCE"),
        ],
    ),
    (
        "summary",
        &[
            ("provider", "CLOUD"),
            ("zone", "ZONE"),
            ("instance_type", "TYPE"),
            ("events", "EVENTS"),
            ("notices", "NOTICES"),
            ("lives", "LIVES"),
            ("interrupted", "INTERRUPTED"),
            ("exposure_hours", "EXPOSED H"),
        ],
    ),
];

/// A screen.
pub fn screen(answer: &Table, paint: Paint, width: u16) -> String {
    if answer.rows.is_empty() {
        return format!(
            "No {} in this history that fit.\n",
            if answer.name == "summary" { "pools" } else { answer.name }
        );
    }
    let wanted = SCREENS.iter().find(|(name, _)| *name == answer.name).map_or(&[][..], |(_, wanted)| wanted);
    let number_of = |name: &str| answer.columns.iter().position(|column| column.name == name);
    let chosen: Vec<(usize, &str)> = wanted.iter().filter_map(|(name, head)| Some((number_of(name)?, *head))).collect();
    let headings: Vec<&str> = chosen.iter().map(|(_, head)| *head).collect();
    let is_number = |number: usize| matches!(answer.columns[number].kind, Kind::Int | Kind::Real);
    let right: Vec<usize> = (0..chosen.len()).filter(|at| is_number(chosen[*at].0)).collect();
    let mut drawn = table(paint, width, &headings, &right);
    let simulated = number_of("simulated");
    for row in &answer.rows {
        let is_simulated = simulated.and_then(|number| row.get(number)) == Some(&Cell::Int(1));
        drawn.add_row(chosen.iter().map(|(number, head)| {
            let text = row.get(*number).map_or_else(String::new, |cell| short(cell, answer.columns[*number].kind));
            match *head {
                "STATE" if is_simulated => paint.cell(tone(&text), format!("{text} (test)")),
                "STATE" | "OUTCOME" => paint.cell(tone(&text), text),
                _ => paint.cell(Tone::Plain, text),
            }
        }));
    }
    // What people copy, and times.
    (0..2).for_each(|column| keep_whole(&mut drawn, column));
    lines(&drawn)
}

/// A value for people.
fn short(cell: &Cell, kind: Kind) -> String {
    match (kind, cell) {
        (Kind::Time, Cell::Int(wall_ns)) => {
            rfc3339(*wall_ns).replace('T', " ").get(..16).unwrap_or_default().to_owned()
        }
        (_, Cell::Null) => "-".to_owned(),
        (_, Cell::Int(number)) => number.to_string(),
        (_, Cell::Real(number)) if number.abs() >= 100.0 => format!("{number:.1}"),
        (_, Cell::Real(number)) => format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        (_, Cell::Text(text)) => plain(text),
    }
}

/// One object with a list; what a row lacks is left out.
pub fn json(answer: &Table) -> Value {
    let object = |row: &Vec<Cell>| -> Value {
        let there = answer.columns.iter().zip(row).filter(|(_, cell)| **cell != Cell::Null);
        there.map(|(column, cell)| (column.name.to_owned(), value(cell, column.kind))).collect::<Map<_, _>>().into()
    };
    json!({ answer.name: answer.rows.iter().map(object).collect::<Vec<_>>() })
}

fn value(cell: &Cell, kind: Kind) -> Value {
    match (kind, cell) {
        (Kind::Time, Cell::Int(wall_ns)) => rfc3339(*wall_ns).into(),
        (Kind::Flag, Cell::Int(number)) => (*number != 0).into(),
        _ => cell.to_json(),
    }
}

/// CSV with a head (RFC 4180).
///
/// # Errors
/// The output is closed or full.
pub fn csv(answer: &Table, out: &mut dyn Write) -> Result<(), Fault> {
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => Fault::Output(error),
        other => Fault::Broken(format!("cannot write CSV: {other:?}")),
    };
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(answer.columns.iter().map(|column| column.name)).map_err(failed)?;
    for row in &answer.rows {
        let fields = answer.columns.iter().zip(row).map(|(column, cell)| match value(cell, column.kind) {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        });
        writer.write_record(fields).map_err(failed)?;
    }
    Ok(writer.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::archive::tables::Column;

    fn answer() -> Table {
        let column = |name, kind| Column { name, kind, may_lack: true };
        let columns = vec![
            column("instance_id", Kind::Text),
            column("launched", Kind::Time),
            column("hours", Kind::Real),
            column("outcome", Kind::Text),
            column("batch", Kind::Int),
        ];
        let text = |text: &str| Cell::Text(text.to_owned());
        let rows =
            vec![vec![text("i-1, \"x\"\u{1b}[2J"), Cell::Int(0), Cell::Real(1.5), text("interrupted"), Cell::Null]];
        Table { name: "lives", columns, rows }
    }

    #[test]
    fn an_answer_says_the_same_in_three_forms_and_repaints_no_terminal() {
        let screen = screen(&answer(), Paint(false), 100);
        assert!(
            screen.contains("INSTANCE") && screen.contains("1970-01-01 00:00") && screen.contains("1.5"),
            "{screen}"
        );
        assert!(!screen.contains('\u{1b}'), "{screen:?}");
        let json = json(&answer());
        assert_eq!(json["lives"][0]["launched"], "1970-01-01T00:00:00Z");
        assert_eq!(json["lives"][0].get("batch"), None);
        let mut out = Vec::new();
        csv(&answer(), &mut out).expect("written");
        let text = String::from_utf8(out).expect("UTF-8");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("instance_id,launched,hours,outcome,batch"));
        assert!(
            lines.next().is_some_and(|line| line.starts_with("\"i-1, \"\"x\"\"") && line.ends_with("1.5,interrupted,"))
        );
    }

    #[test]
    fn an_empty_answer_says_so() {
        let empty = Table { rows: Vec::new(), ..answer() };
        assert_eq!(screen(&empty, Paint(false), 100), "No lives in this history that fit.\n");
        assert_eq!(json(&empty), json!({"lives": []}));
    }
}
