//! What one handler did, with its evidence.
//!
//! Inputs: one handler's report. Outputs: a heading and lines `name  before -> after`. Must never leave out that a handler
//! failed, whatever its evidence says.

use super::super::duration::human_ms;
use super::super::paint::{Paint, Tone};
use super::super::render::{count, cut, facts, plain, tone};
use crate::dispatch::report::{HandlerReport, Verified};
use crate::reports::evidence::{Members, rows};
use crate::reports::reading::ended;

/// Most lines of evidence that are shown of one handler; `--json` has them all.
const LINES_MAX: usize = 24;
/// Columns that a name of evidence takes at most.
const NAME_COLUMNS_MAX: usize = 32;

/// A handler's heading and evidence.
pub fn handler(handler: &HandlerReport, paint: Paint, width: usize) -> String {
    let name = paint.text(Tone::Strong, &plain(&handler.handler));
    let word = ended(handler.status);
    let result = paint.text(tone(word), word);
    let time = match handler.start_ms {
        Some(_) => format!(" in {} of {} granted", human_ms(handler.duration_ms), human_ms(handler.budget_ms)),
        None => String::new(),
    };
    let attempts = match handler.attempts {
        0 | 1 => String::new(),
        n => format!(", {}", count(n as usize, "attempt")),
    };
    let seen = match handler.verified {
        Verified::Yes => format!(", {}", paint.text(Tone::Good, "verified")),
        Verified::No => format!(", {}", paint.text(Tone::Bad, "not verified")),
        Verified::Unknown => ", cannot be verified".into(),
        Verified::NotAsked => String::new(),
    };
    let mut text = format!("{name}: {result}{time}{attempts}{seen}\n");
    if let Some(error) = &handler.error {
        text += &format!("  {} {}\n", paint.text(Tone::Bad, "error:"), plain(error));
    }
    let of = |members: &Option<Members>| members.as_ref().map(rows).unwrap_or_default();
    let told = of(&handler.result).into_iter().map(|row| (row.name.clone(), row.text()));
    let seen = of(&handler.evidence).into_iter().map(|row| (format!("seen afterwards: {}", row.name), row.text()));
    text + &shown(&told.chain(seen).collect::<Vec<_>>(), paint, width)
}

fn shown(rows: &[(String, String)], paint: Paint, width: usize) -> String {
    let name_columns = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(NAME_COLUMNS_MAX);
    let room = width.saturating_sub(name_columns + 4).max(20);
    let cut_rows: Vec<(String, String)> =
        rows.iter().take(LINES_MAX).map(|(name, value)| (cut(name, NAME_COLUMNS_MAX), cut(value, room))).collect();
    let borrowed: Vec<(&str, String)> = cut_rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let mut text = facts(paint, &borrowed);
    if let Some(more) = rows.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        text += &format!("  and {} (see --json)\n", count(more, "further line"));
    }
    text
}
