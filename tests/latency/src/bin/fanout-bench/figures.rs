//! The results: printed as they come, kept for the file.
//!
//! Inputs: samples, single numbers. Outputs: lines, JSON. Must never average samples: percentiles only.

use latency::stats;
use serde_json::{Map, Value, json};

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Figures(Map<String, Value>);

impl Figures {
    /// Samples in nanoseconds, told as percentiles in microseconds.
    pub(crate) fn add(&mut self, group: &str, name: &str, samples: &[i64]) {
        let of = |percentile| stats::percentile_us(samples, percentile);
        let (p50, p99, max) = (of(50.0), of(99.0), of(100.0));
        println!("{group:<14}{name:<46}{p50:>10.2}{p99:>10.2}{max:>10.2} us");
        self.put(group, name, json!({"p50_us": p50, "p99_us": p99, "max_us": max, "samples": samples.len()}));
    }

    /// A single number.
    pub(crate) fn note(&mut self, group: &str, name: &str, value: i64) {
        println!("{group:<14}{name:<46}{value:>10}");
        self.put(group, name, json!(value));
    }

    /// Anything else worth keeping.
    pub(crate) fn put(&mut self, group: &str, name: &str, value: Value) {
        let group = self.0.entry(group).or_insert_with(|| json!({}));
        group[name] = value;
    }

    /// Everything.
    pub(crate) fn json(self) -> Value {
        Value::Object(self.0)
    }
}
