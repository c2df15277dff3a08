//! A sequence that wants ten times the time there is: the split is told beforehand, kept, and the report is there in time.
//!
//! `CLOUDSNOOZE_SEQUENCE_RUNS` says how many runs; each takes the 30 s that it is about, many side by side.

use e2e::simple::{Plugins, simulate};
use harness::wait;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const TYPE: &str = "custom.end";
/// What a cloud gives that gives little, seconds.
const LEFT: f64 = 30.0;
/// Priority, timeout and minimum of each handler, seconds. The timeouts add up to 300 s.
const HANDLERS: [(u32, f64, f64); 6] =
    [(95, 90.0, 12.0), (80, 60.0, 4.0), (60, 60.0, 3.0), (45, 30.0, 2.0), (30, 30.0, 1.0), (10, 30.0, 1.0)];
/// Runs side by side.
const ABREAST: usize = 20;

fn name(priority: u32) -> String {
    format!("step-{priority}")
}

fn seconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// One run. Gives how long before the deadline the report was there.
fn run(plugins: &Plugins) -> Duration {
    let handlers = HANDLERS.map(|(priority, timeout, minimum)| {
        // Behind a gate that nobody opens: each takes all it gets.
        json!({"name": "recorder", "id": name(priority), "priority": priority, "timeout_seconds": timeout,
            "minimum_seconds": minimum, "config": plugins.gated(&name(priority), "never")})
    });
    let config = json!({"event_handlers": {TYPE: {"plugins": handlers}}});
    let daemon = plugins.daemon(config).start().expect("the daemon started");

    let plan = daemon.snooze_json(&["plan", TYPE, "--left", "30s", "--json"]).expect("a plan");
    let planned: Vec<f64> =
        plan["budgets"][0]["granted_seconds"].as_array().expect("a split").iter().map(seconds).collect();
    assert_eq!(planned.len(), HANDLERS.len(), "{plan:#}");
    assert!(planned.iter().sum::<f64>() < LEFT, "more than there is is planned: {planned:?}");
    for ((priority, _, minimum), granted) in HANDLERS.iter().zip(&planned) {
        assert!(granted >= minimum, "{priority} is to get {granted} s of its minimum, {minimum} s: {planned:?}");
    }

    let began = SystemTime::now();
    let id = simulate(&daemon, TYPE, &["--in", "30s"]);
    let report = wait::until("the report", Duration::from_secs(40), || {
        let report = daemon.snooze_json(&["report", &id, "--json"]).ok()?;
        (report["state"] != "running").then_some(report)
    });
    let took = began.elapsed().expect("the clock runs on");
    let report = report.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log_tail()));
    let left = Duration::from_secs_f64(LEFT).checked_sub(took);
    let left = left.unwrap_or_else(|| panic!("the report came after {took:?}: {report:#}"));
    let rows = report["handlers"].as_array().expect("handlers");
    assert_eq!(rows.len(), HANDLERS.len(), "{report:#}");
    for ((priority, _, minimum), row) in HANDLERS.iter().zip(rows) {
        assert_eq!(row["handler"], name(*priority), "in order of priority: {report:#}");
        let granted = seconds(&row["budget_ms"]) / 1_000.0;
        // What a call takes to come home after its time is not given back to it.
        assert!(granted > minimum - 0.5, "{priority} got {granted} s of its minimum, {minimum} s: {report:#}");
        assert!(seconds(&row["left_seconds"]) > 0.0, "{priority} ended after the deadline: {report:#}");
    }
    let first = seconds(&rows[0]["budget_ms"]) / 1_000.0;
    assert!((first - planned[0]).abs() < 0.5, "the first got {first} s, planned were {}", planned[0]);
    left
}

#[test]
fn a_sequence_of_300_seconds_in_30_keeps_its_split_and_its_report_is_there_in_time() {
    let wanted = std::env::var("CLOUDSNOOZE_SEQUENCE_RUNS").ok().map(|text| text.parse().expect("a number of runs"));
    let mut runs: usize = wanted.unwrap_or(4);
    let plugins = Plugins::recorders(&["recorder"]);
    let mut least = Duration::MAX;
    while runs > 0 {
        let abreast = runs.min(ABREAST);
        let lefts: Vec<Duration> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..abreast).map(|_| scope.spawn(|| run(&plugins))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a run that holds")).collect()
        });
        least = lefts.into_iter().fold(least, Duration::min);
        runs -= abreast;
        println!("{runs} runs to go; the latest report was there {least:?} before the deadline");
    }
}
