//! How things look: tables, lines of facts, times and words.
//!
//! Inputs: values. Outputs: text that is readable in 100 columns, without colour too. Must never pass on
//! control characters from a plugin or a cloud: they could repaint the operator's terminal.

pub use crate::reports::words::{count, cut, plain, time, value};

use super::paint::{Paint, Tone};
use super::session::Session;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

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

/// A heading with a list below it; nothing where the list is empty.
pub fn section(session: &Session<'_>, heading: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let list: String = items.iter().map(|item| wrapped("  - ", &plain(item), usize::from(session.width))).collect();
    format!("\n{}\n{list}", session.paint.text(Tone::Strong, heading))
}

/// A text in lines of the screen's width, the later ones below the first.
pub fn wrapped(mark: &str, text: &str, width: usize) -> String {
    let indent = mark.chars().count();
    let mut lines = vec![mark.trim_end().to_owned()];
    let mut column = indent;
    for (number, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > width {
            lines.push(" ".repeat(indent) + word);
            column = indent + length;
        } else if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            column += length + usize::from(number > 0);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn long_texts_are_broken_between_words() {
        assert_eq!(wrapped("  - ", "one two three", 12), "  - one two\n    three\n");
        assert_eq!(wrapped("", "one two three", 7), "one two\nthree\n");
        assert_eq!(wrapped("", "", 7), "\n");
    }
}
