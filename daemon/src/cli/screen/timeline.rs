//! The picture of who ran when.
//!
//! Inputs: a report. Outputs: one line a handler, its bar from start to end over the time the event took,
//! and one line for that time within the whole notice. Must never draw a handler that ran as nothing.

use super::super::duration::{exact, human, human_ms};
use super::super::paint::{Paint, Tone};
use super::super::render::{cut, plain};
use super::coloured;
use crate::dispatch::report::{EventReport, HandlerReport};
use crate::reports::reading::{ended, in_order, notice_seconds, verified};

/// Most columns of a handler's name.
const NAME_COLUMNS_MAX: usize = 24;
/// Columns after the picture: result, verified, time left, and the spaces between.
const RIGHT_COLUMNS: usize = 2 + 13 + 2 + 8 + 2 + 8;
/// Columns of the picture.
const LANE_COLUMNS: std::ops::RangeInclusive<usize> = 12..=48;

/// The picture.
pub fn picture(report: &EventReport, paint: Paint, width: usize) -> String {
    let handlers = in_order(report);
    let longest = handlers.iter().map(|h| h.handler.chars().count()).max().unwrap_or(0);
    let name = longest.clamp("TIME USED".len(), NAME_COLUMNS_MAX);
    let left = 2 + name + 2 + "PRIORITY".len() + 2;
    let lane = width.saturating_sub(left + RIGHT_COLUMNS).clamp(*LANE_COLUMNS.start(), *LANE_COLUMNS.end());
    let end = |handler: &&HandlerReport| handler.start_ms.map_or(0.0, |start| start + handler.duration_ms);
    let total_ms = handlers.iter().map(end).fold(report.duration_ms, f64::max).max(0.001);

    let total = human_ms(total_ms);
    let scale = format!("0{total:>rest$}", rest = lane - 1);
    let heading = format!("  {:<name$}  PRIORITY  {scale}  {:<13}  VERIFIED  {:>8}", "HANDLER", "RESULT", "LEFT");
    let mut text = format!("{}\n", paint.text(Tone::Strong, heading.trim_end()));
    for handler in handlers {
        let bar = handler.start_ms.map_or_else(
            || bar(0.0, None, lane),
            |start| bar(start / total_ms, Some((start + handler.duration_ms) / total_ms), lane),
        );
        let line = format!(
            "  {:<name$}  {:>8}  {bar}  {}  {}  {:>8}",
            cut(&plain(&handler.handler), name),
            handler.priority,
            coloured(paint, ended(handler.status), 13),
            coloured(paint, verified(handler.verified), 8),
            exact(handler.left_seconds),
        );
        text += &format!("{}\n", line.trim_end());
    }
    text + &used(report, paint, name, lane)
}

/// The line for the whole: how much of the notice was used.
fn used(report: &EventReport, paint: Paint, name: usize, lane: usize) -> String {
    let all_seconds = notice_seconds(report).unwrap_or(report.duration_ms / 1e3 + report.left_seconds);
    if all_seconds <= 0.0 {
        return String::new();
    }
    let used_seconds = report.duration_ms / 1e3;
    // Whole notices are seconds to minutes; work that took less is told in its own unit.
    let shown = |seconds: f64| if seconds < 1.0 { human(seconds) } else { exact(seconds) };
    let bar = bar(0.0, Some(used_seconds / all_seconds), lane);
    let of = if report.deadline.is_some() { "" } else { " assumed" };
    let label = paint.text(Tone::Dim, &format!("{:<name$}", "time used"));
    format!("  {label}  {:>8}  {bar}  {} of {}{of}\n", "", shown(used_seconds), exact(all_seconds))
}

/// A lane with a bar between two parts of it (0 to 1); empty without an end.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "columns are few"
)]
fn bar(from: f64, to: Option<f64>, columns: usize) -> String {
    let Some(to) = to else { return "·".repeat(columns) };
    let first = ((from.clamp(0.0, 1.0) * columns as f64).floor() as usize).min(columns - 1);
    let last = ((to.clamp(0.0, 1.0) * columns as f64).ceil() as usize).clamp(first + 1, columns);
    format!("{}{}{}", "·".repeat(first), "█".repeat(last - first), "·".repeat(columns - last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bar_covers_its_part_of_the_lane() {
        assert_eq!(bar(0.0, Some(0.5), 8), "████····");
        assert_eq!(bar(0.5, Some(1.0), 8), "····████");
        assert_eq!(bar(1.0, Some(1.0), 8), "·······█");
        assert_eq!(bar(0.3, None, 4), "····");
    }

    proptest! {
        #[test]
        fn a_bar_is_never_empty_and_always_fits(from in -1.0f64..2.0, to in -1.0f64..2.0, columns in 1usize..60) {
            let drawn = bar(from, Some(to), columns);
            prop_assert!(drawn.contains('█') && drawn.chars().count() == columns, "{}", drawn);
        }
    }
}
