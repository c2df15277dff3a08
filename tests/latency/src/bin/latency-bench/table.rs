//! Results as a table for people.
//!
//! Inputs: one scenario's samples. Outputs: text. Must never show a ratio whose parts were not measured in the same run.

use crate::designs::DESIGNS;
use crate::measure::Measured;
use latency::stats::Estimate;
use std::fmt::Write as _;
use std::io::IsTerminal;

/// The table of one scenario.
pub(crate) fn table(measured: &Measured, seed: u64) -> String {
    let mut text = format!("\n{}: {}\n", measured.scenario.name, measured.scenario.what);
    let heads = ["p50", "p99", "p99.9", "max"];
    // Writing to a String cannot fail, here and below.
    let _ = write!(text, "{:<20}{:>8}", "design (us)", "events");
    for head in heads {
        let _ = write!(text, "{head:>12}");
    }
    let _ = writeln!(text, "   {:<22}{:<22}{:<22}over", "p50 ratio", "p99 ratio", "p99.9 ratio");
    for design in DESIGNS.iter().filter(|design| measured.samples.contains_key(design.name)) {
        let events: usize = measured.samples[design.name].iter().map(Vec::len).sum();
        let mut row = format!("{:<20}{events:>8}", design.name);
        for percentile in [50.0, 99.0, 99.9, 100.0] {
            let value = measured.pooled(design.name, percentile).unwrap_or(f64::NAN);
            let _ = write!(row, "{:>12}", figure(value));
        }
        row.push_str("   ");
        for percentile in [50.0, 99.0, 99.9] {
            // Seconds and a handful of samples: a ratio to microseconds would say nothing.
            let ratio = (!design.is_slow).then(|| measured.ratio(design.name, design.over, percentile, seed)).flatten();
            let _ = write!(row, "{:<22}", ratio.map_or_else(|| "-".into(), interval));
        }
        let is_compared = !design.is_slow && measured.samples.contains_key(design.over);
        row.push_str(if is_compared { design.over } else { "-" });
        let is_ours = design.name.ends_with("ours") || design.name.starts_with("ours");
        let _ = writeln!(text, "{}", if is_ours { bold(&row) } else { row });
    }
    for (name, reason) in &measured.failed {
        let _ = writeln!(text, "FAILED: {name}: {reason}");
    }
    text
}

/// A ratio with its interval, if it has one.
fn interval(ratio: Estimate) -> String {
    if ratio.low.is_nan() {
        return format!("{} *", figure(ratio.middle));
    }
    format!("{} [{}, {}]", figure(ratio.middle), figure(ratio.low), figure(ratio.high))
}

/// Three significant digits, thousands apart.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^63, never negative")]
pub(crate) fn figure(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".into(),
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => {
            let digits = (v.round() as u64).to_string();
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
            groups.join(",")
        }
    }
}

fn bold(row: &str) -> String {
    let is_plain =
        std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !std::io::stdout().is_terminal();
    if is_plain { row.to_owned() } else { format!("\u{1b}[1m{row}\u{1b}[0m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_groups() {
        for (value, text) in
            [(0.071, "0.07"), (9.5, "9.50"), (42.26, "42.3"), (999.6, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(figure(value), text);
        }
        assert_eq!(figure(f64::NAN), "-");
    }

    #[test]
    fn an_interval_is_shown_only_when_there_is_one() {
        assert_eq!(interval(Estimate { middle: 1.5, low: 1.25, high: 2.0 }), "1.50 [1.25, 2.00]");
        assert_eq!(interval(Estimate { middle: 1.5, low: f64::NAN, high: f64::NAN }), "1.50 *");
    }
}
