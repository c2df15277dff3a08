//! Durations and what is shown of them. Inputs: measured durations. Outputs: percentiles, a table, JSON.

use comfy_table::Table;
use serde_json::{Value, json};
use std::time::Duration;

/// Measured durations.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The duration that so many of a hundred do not exceed (nearest rank), microseconds; zero without samples.
    fn percentile_us(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).map_or(0.0, |sample| sample.as_secs_f64() * 1e6)
    }

    fn summary(&self) -> Summary {
        Summary { calls: self.0.len(), p50: self.percentile_us(50), p99: self.percentile_us(99) }
    }
}

/// What is shown of one kind of connection; microseconds.
struct Summary {
    calls: usize,
    p50: f64,
    p99: f64,
}

impl Summary {
    fn json(&self) -> Value {
        json!({ "calls": self.calls, "p50_us": self.p50.round(), "p99_us": self.p99.round() })
    }
}

/// One line of the result.
pub struct Row {
    plugin: &'static str,
    transport: &'static str,
    kept: Summary,
    fresh: Summary,
}

impl Row {
    /// What was measured of one plugin over one transport.
    pub fn new(plugin: &'static str, transport: &'static str, kept: &Samples, fresh: &Samples) -> Self {
        Self { plugin, transport, kept: kept.summary(), fresh: fresh.summary() }
    }

    fn ratio(&self) -> f64 {
        self.fresh.p50 / self.kept.p50
    }
}

/// For programs.
pub fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "plugin": row.plugin, "transport": row.transport, "kept": row.kept.json(), "fresh": row.fresh.json(),
            "fresh_to_kept_p50": (row.ratio() * 10.0).round() / 10.0,
        })
    };
    rows.iter().map(row).collect()
}

/// For people.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN).set_header([
        "plugin",
        "over",
        "calls",
        "kept p50 µs",
        "kept p99 µs",
        "fresh p50 µs",
        "fresh p99 µs",
        "fresh / kept",
    ]);
    for row in rows {
        let Row { plugin, transport, kept, fresh } = row;
        let number = |number: f64| format!("{number:.0}");
        table.add_row([
            (*plugin).to_owned(),
            (*transport).to_owned(),
            format!("{} + {}", kept.calls, fresh.calls),
            number(kept.p50),
            number(kept.p99),
            number(fresh.p50),
            number(fresh.p99),
            format!("{:.1}", row.ratio()),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!(samples.summary().calls, 0);
        assert!(samples.percentile_us(50).abs() < 0.1);
        (1..=200).rev().for_each(|n| samples.add(Duration::from_micros(n)));
        assert!((samples.percentile_us(50) - 100.0).abs() < 0.1);
        assert!((samples.percentile_us(99) - 198.0).abs() < 0.1);
        assert!((samples.percentile_us(100) - 200.0).abs() < 0.1);
    }
}
