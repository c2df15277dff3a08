//! How things look: tables, lines of facts, times and words.
//!
//! Inputs: values. Outputs: text that is readable in 100 columns, without colour too. Must never pass on
//! control characters from a plugin or a cloud: they could repaint the operator's terminal.

use super::paint::{Paint, Tone};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;

/// A table without lines: headings above columns, two spaces between them. `right` names the columns
/// (from 0) whose cells are numbers.
pub fn table(paint: Paint, width: u16, headings: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    if paint.0 {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(headings.iter().map(|text| paint.cell(Tone::Strong, *text)));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index + 1 == headings.len() { 0 } else { 2 }));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Keeps a column from being broken into lines, for what people copy.
pub fn keep_whole(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// The table's lines, each ending in a line break, without spaces at the end.
pub fn lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Lines of `name  value`, the values below each other; empty values are left out.
pub fn facts(paint: Paint, facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let shown = facts.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("  {}  {value}\n", paint.text(Tone::Dim, &format!("{name:<width$}")))).collect()
}

/// RFC 3339 in UTC as people read it: `2026-05-01 12:00:00.120 UTC`.
pub fn time(rfc3339: &str) -> String {
    let text = plain(rfc3339);
    let parts = text.strip_suffix('Z').and_then(|text| text.split_once('T'));
    parts.map(|(date, time)| format!("{date} {time} UTC")).unwrap_or(text)
}

/// The text on one line and without control characters.
pub fn plain(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Cuts after `width` characters, with a mark where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{start}…")
}

/// A JSON value as a phrase: strings as they are, lists of plain values with commas, the rest as JSON.
pub fn value(value: &Value) -> String {
    let is_plain = |v: &Value| !v.is_object() && !v.is_array();
    plain(&match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(is_plain) => {
            items.iter().map(self::value).collect::<Vec<_>>().join(", ")
        }
        Value::Null => "-".into(),
        other => other.to_string(),
    })
}

/// `1 handler`, `3 handlers`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The tone of a word that says how something is: a state, a result, a health.
pub fn tone(word: &str) -> Tone {
    match word {
        "ok" | "handled" | "verified" | "yes" | "seeing" | "active" | "completed" | "ready" => Tone::Good,
        "degraded" | "partial" | "starting" | "unknown" | "withdrawn" | "running" | "waiting" | "cancelled" => {
            Tone::Warn
        }
        "declined" | "nothing to do" | "not asked" | "off" | "-" => Tone::Dim,
        "failed" | "timed out" | "abandoned" | "panicked" | "crashed" | "not run" | "not verified" | "no" | "blind"
        | "quarantined" | "refused" | "interrupted" => Tone::Bad,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc\r"), "a [2Jb c");
        assert_eq!(value(&json!(["x\x07", 2, null])), "x , 2, -");
        assert_eq!((time("\x1b[31mT").as_str(), time("\x1b[TxZ").as_str()), (" [31mT", " [ x UTC"));
    }

    #[test]
    fn times_and_values_read_well() {
        assert_eq!(time("2026-05-01T12:00:00.120Z"), "2026-05-01 12:00:00.120 UTC");
        assert_eq!(value(&json!({"a": [1]})), r#"{"a":[1]}"#);
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!((count(1, "handler"), count(0, "handler")), ("1 handler".into(), "0 handlers".into()));
    }

    #[test]
    fn a_table_has_the_same_words_with_and_without_colour() {
        let draw = |paint: Paint| {
            let mut table = table(paint, 100, &["NAME", "STATE"], &[]);
            table.add_row([paint.cell(Tone::Plain, "a"), paint.cell(Tone::Bad, "failed")]);
            lines(&table)
        };
        let (plain, coloured) = (draw(Paint(false)), draw(Paint(true)));
        assert_eq!(plain, "NAME  STATE\na     failed\n");
        assert!(coloured.contains("\x1b[") && coloured.contains("failed"), "{coloured:?}");
    }
}
