//! Results as the file that promises are checked against: `promises/latency.json`.
//!
//! Inputs: what every scenario gave. Outputs: JSON with fixed names; a figure whose designs did not run is absent. Must
//! never hold a figure of another run.

use crate::machine::Machine;
use crate::measure::Measured;
use serde_json::{Map, Value, json};

/// The whole file.
pub(crate) fn promises(all: &[Measured], machine: &Machine, rounds: usize, seed: u64) -> Value {
    let mut file = Map::new();
    for measured in all {
        file.insert(measured.scenario.name.into(), Value::Object(scenario(measured, seed)));
    }
    file.insert("machine".into(), json!(machine));
    file.insert("rounds".into(), json!(rounds));
    file.insert("seed".into(), json!(seed));
    Value::Object(file)
}

fn scenario(measured: &Measured, seed: u64) -> Map<String, Value> {
    let mut found = Map::new();
    let mut put = |name: String, value: Option<f64>| {
        if let Some(value) = value.filter(|v| v.is_finite()) {
            // Three decimals: a nanosecond.
            found.insert(name, json!((value * 1_000.0).round() / 1_000.0));
        }
    };
    let ratio = |above: &str, below: &str, p: f64| measured.ratio(above, below, p, seed).map(|e| e.middle);
    for (word, percentile) in [("p50", 50.0), ("p99", 99.0), ("p999", 99.9)] {
        put(format!("floor_{word}_us"), measured.pooled("floor", percentile));
        put(format!("ours_{word}_us"), measured.pooled("ours", percentile));
        put(format!("ratio_floor_{word}"), ratio("ours", "floor", percentile));
        // Like with like, for who asks what the self-test before each round of polls is worth: both woken, neither woken.
        put(format!("ratio_floor_in_round_{word}"), ratio("ours", "floor-in-round", percentile));
        put(format!("ratio_floor_from_sleep_{word}"), ratio("ours-from-sleep", "floor", percentile));
        put(format!("isolated_over_ours_{word}"), ratio("ours-isolated", "ours", percentile));
        put(format!("isolated_ratio_floor_{word}"), ratio("ours-isolated", "floor-shm", percentile));
    }
    for rival in ["tokio", "channel", "go"] {
        for (word, percentile) in [("p99", 99.0), ("p999", 99.9)] {
            put(format!("times_faster_{rival}_{word}"), ratio(&format!("rival-{rival}"), "ours", percentile));
        }
    }
    put("inline_over_direct_p99_us".into(), measured.difference("ours-inline", "direct", 99.0));
    put("end_to_end_ratio_p99".into(), ratio("e2e-ours", "e2e-bare", 99.0));
    put("end_to_end_inline_ratio_p99".into(), ratio("e2e-ours-inline", "e2e-bare", 99.0));
    put("end_to_end_near_ratio_p99".into(), ratio("e2e-ours-near", "e2e-bare-near", 99.0));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;
    use std::collections::BTreeMap;

    #[test]
    fn figures_of_designs_that_did_not_run_are_absent() {
        let of = |ns: i64| vec![vec![ns; 10]; 3];
        let samples = BTreeMap::from([("floor", of(2_000)), ("ours", of(3_000)), ("rival-tokio", of(30_000))]);
        let measured = Measured { scenario: &SCENARIOS[1], samples, failed: Vec::new() };
        let machine = Machine { kernel: "k".into(), cpu: "c".into(), cores: 2, granted: "SCHED_FIFO 10".into() };
        let file = promises(&[measured], &machine, 3, 7);
        let loaded = &file["loaded"];
        for (name, wanted) in [
            ("floor_p50_us", 2.0),
            ("ours_p999_us", 3.0),
            ("ratio_floor_p99", 1.5),
            ("ratio_floor_p999", 1.5),
            ("times_faster_tokio_p99", 10.0),
        ] {
            let value = loaded[name].as_f64().expect(name);
            assert!((value - wanted).abs() < wanted * 0.01, "{name}: {value}");
        }
        for name in ["times_faster_go_p99", "inline_over_direct_p99_us", "end_to_end_ratio_p99"] {
            assert!(loaded.get(name).is_none(), "{name}");
        }
        assert_eq!((&file["rounds"], &file["seed"], &file["machine"]["cores"]), (&json!(3), &json!(7), &json!(2)));
        assert!(file.get("idle").is_none());
    }
}
