//! A program that counts, killed fifty times: what it had counted when the notice came is never lost. Without the plugin
//! it is.

mod subject;

use serde_json::json;
use signal_checkpointer::SignalCheckpointer;
use std::path::Path;
use subject::{PLENTY, Subject, event, handled, plugin, python, read, save_file, wait_for};

const ROUNDS: u32 = 50;

/// Starts the program, waits until it has counted a little, and gives what it resumed from.
fn start(dir: &Path, (python, program): &(String, String)) -> (Subject, u64) {
    let _none_there = std::fs::remove_file(dir.join("seen"));
    let subject = Subject::start(dir, python, &[program, &dir.to_string_lossy()]);
    let mark = format!("{} ", subject.pid());
    wait_for("the program to begin", || subject.read("resumed").starts_with(&mark));
    let resumed: u64 = subject.read("resumed").strip_prefix(&mark).unwrap().parse().unwrap();
    wait_for("the program to count", || seen(dir) > resumed + 50);
    (subject, resumed)
}

fn seen(dir: &Path) -> u64 {
    read(dir, "seen").parse().unwrap_or(0)
}

fn counter_plugin(dir: &Path) -> cloudsnooze_plugin::testing::TestInstance<SignalCheckpointer> {
    let find = json!({ "command_line": format!("counter\\.py {}$", dir.display()) });
    plugin(&json!({ "targets": [{ "name": "counter", "process": find, "save": save_file(dir, "saved") }] }))
}

#[test]
fn nothing_that_was_counted_before_the_notice_is_lost_in_fifty_rounds() {
    let Some(program) = python("nothing_that_was_counted_is_lost", "counter.py") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut subject, resumed) = start(dir.path(), &program);
    assert_eq!(resumed, 0);
    // Made once, as in a daemon: processes come and go.
    let plugin = counter_plugin(dir.path());
    for round in 0..ROUNDS {
        let before = seen(dir.path());
        let result = handled(plugin.deliver(&event("cloud.spot.interrupt"), PLENTY));
        let saved: u64 = read(dir.path(), "saved").parse().unwrap();
        let proof = &result["targets"][0]["evidence"]["steps"][0]["proof"];
        assert_eq!(proof["bytes"], json!(saved.to_string().len()), "{result}");
        assert_eq!(
            (&result["durable"], &result["targets"][0]["evidence"]["process_count"]),
            (&json!("yes"), &json!(1))
        );
        assert!(saved >= before, "round {round}: {before} counted, {saved} saved");
        wait_for("the program to go on", || seen(dir.path()) > saved);
        subject.kill();
        let (next, resumed) = start(dir.path(), &program);
        assert_eq!(resumed, saved, "round {round}");
        subject = next;
    }
}

#[test]
fn without_the_plugin_every_round_loses_counts() {
    let Some(program) = python("without_the_plugin_every_round_loses_counts", "counter.py") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut subject, _) = start(dir.path(), &program);
    handled(counter_plugin(dir.path()).deliver(&event("cloud.spot.interrupt"), PLENTY));
    let saved: u64 = read(dir.path(), "saved").parse().unwrap();
    for round in 0..10 {
        wait_for("the program to count", || seen(dir.path()) > saved + 100);
        let before = seen(dir.path());
        subject.kill();
        let (next, resumed) = start(dir.path(), &program);
        assert!(resumed == saved && resumed < before, "round {round}: {resumed} of {before}");
        subject = next;
    }
}
