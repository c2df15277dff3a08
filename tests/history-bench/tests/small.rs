//! The measurement itself, with few events: it says everything, on both databases, and leaves nothing behind.

use harness::{postgres, require};
use serde_json::Value;
use std::process::Command;

#[test]
fn a_few_events_are_measured_on_both_databases_and_nothing_is_left_behind() {
    let is_there = postgres::missing().is_none();
    if !is_there {
        require::missing_means_skip("the measurement on PostgreSQL: install postgresql");
    }
    let (files, figures) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let on = if is_there { "sqlite,postgres" } else { "sqlite" };
    let mut bench = Command::new(env!("CARGO_BIN_EXE_history-bench"));
    bench.args(["--events", "3000", "--questions", "3", "--on", on, "--directory"]).arg(files.path());
    let output = bench.arg("--to").arg(figures.path()).env("CARGO_TARGET_DIR", env!("CARGO_TARGET_TMPDIR")).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(figures.path().join("history.json")).expect("figures");
    let told: Value = serde_json::from_str(&text).expect("JSON");
    for name in on.split(',') {
        let views = told[name]["views"].as_array().expect("views");
        assert_eq!(views.len(), 25, "{name}");
        let asked = views.iter().filter(|view| view["rows"].as_f64() > Some(0.0)).count();
        assert!(asked >= 20, "{name}: only {asked} views had rows: {text}");
        assert!(
            told[name]["bytes"].as_u64() > Some(100_000) && told[name]["lives"].as_u64() > Some(40),
            "{name}: {text}"
        );
    }
    for name in on.split(',') {
        let answers = &told[name]["insight"];
        let len = |of: &str| answers[of].as_array().map_or(0, Vec::len);
        assert_eq!(len("views") + len("left_out"), 11, "{name}: every view is told, or why not: {answers:#}");
        for view in answers["views"].as_array().into_iter().flatten() {
            assert!(view["first_seconds"].as_f64() > Some(0.0) && view["p95_ms"].as_f64() > Some(0.0), "{view:#}");
        }
        let asked =
            |name: &str| answers["views"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == name));
        assert!(["the page", "risk", "rates"].into_iter().all(asked), "{name}: {answers:#}");
        assert!(answers["worst_p95_ms"].as_f64() > Some(0.0));
    }
    assert!(told["daemon"]["events_per_second"].as_f64() > Some(0.0));
    assert_eq!(std::fs::read_dir(files.path()).expect("readable").count(), 0);
}
