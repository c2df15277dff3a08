//! What the plugin does to real jobs of a real cluster, judged by `scontrol` and by what the jobs wrote.

mod cluster;

use cloudsnooze_plugin::abi;
use cluster::{NODE, NOTICE, PLENTY, REASON, WITHDRAWN, declined, event, handled, of, start_or_say, wait_for};
use serde_json::json;
use std::time::Duration;

/// Counts, from where it was when it last saved itself, and notes where it began.
const COUNTS: &str = r#"
count=$(cat saved 2>/dev/null || echo 0)
echo "$count" >> begun
trap 'echo "$count" > saved.new; mv saved.new saved; echo "$count" > "saved-$SLURM_JOB_ID"' USR1
while :; do count=$((count + 1)); echo "$count" > live; sleep 0.1; done
"#;
/// Knows nothing of signals.
const SIMPLE: &str = "echo begun >> begun-simple; sleep 1000";

fn number(lines: &[String], index: usize) -> u64 {
    lines.get(index).and_then(|line| line.parse().ok()).unwrap_or_default()
}

#[test]
fn a_job_that_saves_itself_at_the_signal_goes_on_from_there_after_it_was_requeued() {
    let Some(cluster) = start_or_say() else { return };
    let id = cluster.submit(COUNTS, &[]);
    wait_for("the job to count", || number(&cluster.lines("live"), 0) >= 10);
    let state = cluster.at("plugin");
    let marker = cluster.at("work").join("saved-%j");
    let plugin = cluster.plugin_with_state(&json!({ "marker": marker, "save_seconds": 40 }), &state);
    assert!(plugin.log().is_empty(), "{:?}", plugin.log());
    let notice = event(NOTICE);
    let report = handled(plugin.deliver(&notice, PLENTY));

    assert_eq!(cluster.job(&id, "JobState"), "PENDING", "{report:#}");
    assert_eq!(cluster.job(&id, "Restarts"), "1");
    assert!(cluster.is_drained());
    let saved = number(&cluster.lines("saved"), 0);
    assert!(saved >= 10, "{report:#}");
    let job = of(&report, &id);
    assert_eq!(
        (&job["signalled"], &job["saved"], &job["requeued"]),
        (&json!(true), &json!(true), &json!(true)),
        "{job}"
    );
    assert_eq!((&job["before"]["state"], &job["before"]["restarts"]), (&json!("RUNNING"), &json!(0)), "{job}");
    assert_eq!((&job["after"]["state"], &job["after"]["restarts"]), (&json!("PENDING"), &json!(1)), "{job}");
    assert_eq!(report["evidence"]["before"]["running"], 1);
    assert_eq!(
        report["evidence"]["after"],
        json!({ "node": { "state": report["evidence"]["after"]["node"]["state"], "reason": REASON }, "running": 0 })
    );
    assert_eq!((&report["durable"], &report["skipped"]), (&json!("yes"), &json!([])), "{report:#}");
    handled(plugin.verify(&notice, PLENTY));
    drop(plugin);

    // The notice is withdrawn, after a restart of the daemon.
    let plugin = cluster.plugin_with_state(&json!({}), &state);
    let withdrawn = event(WITHDRAWN);
    let report = handled(plugin.deliver(&withdrawn, PLENTY));
    assert_eq!(report["evidence"]["before"]["node"]["reason"], REASON, "{report:#}");
    assert!(!cluster.is_drained());
    handled(plugin.verify(&withdrawn, PLENTY));
    assert!(declined(&plugin.deliver(&withdrawn, PLENTY)).contains("has not drained the node"));
    // Slurm lets a requeued job wait for a while.
    cluster.slurm("scontrol", &["update", &format!("JobId={id}"), "StartTime=now"]).unwrap();
    cluster.wait_for_state(&id, "RUNNING");
    wait_for("its second start", || cluster.lines("begun").len() == 2);
    assert_eq!(number(&cluster.lines("begun"), 1), saved, "it went on from there");
    wait_for("it to count on", || number(&cluster.lines("live"), 0) > saved);
}

#[test]
fn without_the_plugin_a_requeued_job_begins_anew() {
    let Some(cluster) = start_or_say() else { return };
    let id = cluster.submit(COUNTS, &[]);
    wait_for("the job to count", || number(&cluster.lines("live"), 0) >= 10);
    cluster.slurm("scontrol", &["requeue", &id]).unwrap();
    cluster.wait_for_state(&id, "PENDING");
    cluster.slurm("scontrol", &["update", &format!("JobId={id}"), "StartTime=now"]).unwrap();
    wait_for("its second start", || cluster.lines("begun").len() == 2);
    assert_eq!(number(&cluster.lines("begun"), 1), 0, "then the other test of this file proves nothing");
}

#[test]
fn a_job_that_the_signal_ends_is_requeued_and_one_that_cannot_be_is_named() {
    let Some(cluster) = start_or_say() else { return };
    let simple = cluster.submit(SIMPLE, &[]);
    let fixed = cluster.submit(COUNTS, &["--no-requeue"]);
    wait_for("the job to count", || number(&cluster.lines("live"), 0) >= 1);
    let plugin = cluster.plugin(&json!({ "save_seconds": 5 }));
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_STATE, "{delivered:?}");
    let error = delivered.error.unwrap();
    assert!(
        error.contains(&format!("1 of 2 jobs: job {fixed}: not requeued: it was submitted with --no-requeue")),
        "{error}"
    );
    let report = delivered.result.unwrap();
    assert_eq!(report["durable"], "no");
    assert_eq!(cluster.job(&simple, "JobState"), "PENDING", "{report:#}");
    assert_eq!(of(&report, &simple)["requeued"], true, "{report:#}");
    // It could save itself all the same.
    assert!(number(&cluster.lines("saved"), 0) >= 1);
    assert_eq!(cluster.job(&fixed, "JobState"), "RUNNING");
}

#[test]
fn with_too_little_time_a_save_is_cut_short_and_the_report_says_so() {
    let Some(cluster) = start_or_say() else { return };
    let id = cluster.submit(COUNTS, &[]);
    wait_for("the job to count", || number(&cluster.lines("live"), 0) >= 1);
    let plugin = cluster.plugin(&json!({ "save_seconds": 25, "requeue_seconds": 60 }));
    let report = handled(plugin.deliver(&event(NOTICE), Duration::from_secs(36)));
    // No more than half of the time is kept for the rest.
    assert_eq!(of(&report, &id)["signalled"], true, "{report:#}");
    let text = report["skipped"][0]["reason"].as_str().unwrap();
    assert!(text.starts_with("25 s are wanted, ") && text.ends_with("s are left"), "{report:#}");
    assert_eq!(cluster.job(&id, "JobState"), "PENDING", "{report:#}");
    assert_eq!(report["durable"], "unknown", "nothing proved a save");
}

#[test]
fn a_node_that_someone_else_drained_is_left_to_them() {
    let Some(cluster) = start_or_say() else { return };
    let drain = ["update", &format!("NodeName={NODE}"), "State=DRAIN", "Reason=a broken fan"];
    cluster.slurm("scontrol", &drain).unwrap();
    let plugin = cluster.plugin(&json!({}));
    let report = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert!(report["skipped"][0]["reason"].as_str().unwrap().contains("a broken fan"), "{report:#}");
    assert!(declined(&plugin.deliver(&event(WITHDRAWN), PLENTY)).contains("has not drained the node"));
    assert!(cluster.is_drained());

    // And one that they drained anew meanwhile too.
    cluster.slurm("scontrol", &["update", &format!("NodeName={NODE}"), "State=RESUME"]).unwrap();
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    cluster.slurm("scontrol", &["update", &format!("NodeName={NODE}"), "State=RESUME"]).unwrap();
    cluster.slurm("scontrol", &drain).unwrap();
    assert!(
        declined(&plugin.deliver(&event(WITHDRAWN), PLENTY)).contains("drained for another reason now: a broken fan")
    );
    assert!(cluster.is_drained());
}
