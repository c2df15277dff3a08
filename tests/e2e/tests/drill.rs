//! Drills, and what is put back when a notice is withdrawn.

use e2e::zoo::{Zoo, repository};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::wait;
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// A daemon with a handler that can undo and knows drills, and two that do not: one of them is for another action.
fn start(zoo: &Zoo, wait_seconds: f64) -> Daemon {
    let sdk = json!({"PYTHONPATH": repository().join("plugins/python/src")});
    zoo.python("undoer.py", "undoer", sdk, &["undo", "drill"]);
    zoo.rust("recorder-rs");
    let watched = json!({"plugins": [
        {"name": "undoer", "id": "first", "priority": 80, "config": {"file": zoo.join("first.lines"), "wait_seconds": wait_seconds}},
        {"name": "undoer", "id": "second", "priority": 60, "config": {"file": zoo.join("second.lines"), "wait_seconds": wait_seconds}},
        {"name": "recorder-rs", "priority": 50, "config": {"file": zoo.join("recorder.lines")}},
        {"name": "recorder-rs", "id": "on-reboot", "priority": 40, "when": {"actions": ["reboot"]},
         "config": {"file": zoo.join("reboot.lines")}},
    ]});
    let daemon = DaemonBuilder::new(zoo.bin()).config(json!({"event_handlers": {"cloud.spot.interrupt": watched}}));
    daemon.plugin_directory(zoo.path()).start().expect("the daemon started")
}

fn lines(zoo: &Zoo, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(zoo.join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn rows(report: &Value) -> Vec<(&str, &str)> {
    let handlers = report["handlers"].as_array().expect("handlers");
    handlers.iter().map(|h| (text(&h["handler"]), text(&h["status"]))).collect()
}

#[test]
fn a_drill_calls_who_knows_drills_and_is_put_back_by_the_same_instances_last_done_first() {
    let Some(zoo) = Zoo::open("a drill", &["python3"]) else { return };
    let daemon = start(&zoo, 0.0);
    let both = daemon.snooze_json(&["drill", "cloud.spot.interrupt", "--in", "60s", "--json"]).expect("two reports");

    let ran = rows(&both["drill"]);
    assert_eq!(
        ran,
        [("first", "handled"), ("second", "handled"), ("recorder-rs", "declined"), ("on-reboot", "declined")],
        "{both:#}"
    );
    assert_eq!(rows(&both["withdrawal"]), [("second", "handled"), ("first", "handled")], "{both:#}");
    for file in ["first.lines", "second.lines"] {
        let seen = lines(&zoo, file);
        let expected = [
            json!({"type": "cloud.spot.interrupt", "id": both["drill"]["event_id"], "drill": true, "cancels": null}),
            json!({"type": "cloud.spot.interrupt.cancelled", "id": both["withdrawal"]["event_id"], "drill": true,
                "cancels": both["drill"]["event_id"]}),
        ];
        assert_eq!(seen, expected, "{file}");
    }
    assert!(lines(&zoo, "recorder.lines").is_empty(), "it was called in a drill");
}

#[test]
fn a_withdrawn_notice_is_put_back_by_who_had_it_and_by_nobody_else() {
    let Some(zoo) = Zoo::open("a withdrawn notice", &["python3"]) else { return };
    let daemon = start(&zoo, 0.0);
    let told =
        daemon.snooze_json(&["simulate", "cloud.spot.interrupt", "--in", "60s", "--wait", "--json"]).expect("a report");
    let ran = rows(&told);
    let expected = [("first", "handled"), ("second", "handled"), ("recorder-rs", "handled"), ("on-reboot", "declined")];
    assert_eq!(ran, expected, "{told:#}");
    let id = told["event_id"].as_str().expect("an id");
    let withdrawal = ["simulate", "cloud.spot.interrupt.cancelled", "--cancels", id, "--wait", "--json"];
    let undone = daemon.snooze_json(&withdrawal).expect("a report");
    assert_eq!(rows(&undone), [("second", "handled"), ("first", "handled")], "{undone:#}");
    assert_eq!(lines(&zoo, "first.lines")[1]["cancels"], id);
    assert_eq!(lines(&zoo, "recorder.lines").len(), 1, "only the notice");
}

#[test]
fn a_drill_whose_daemon_is_killed_is_ended_by_the_next_one() {
    let Some(zoo) = Zoo::open("a drill and a killed daemon", &["python3"]) else { return };
    let mut daemon = start(&zoo, 1.5);
    let mut child = daemon.command().args(["drill", "--in", "60s"]).spawn().expect("snooze");
    let is_called = || (!lines(&zoo, "second.lines").is_empty()).then_some(());
    wait::until("the second handler is called", LIMIT, is_called).expect("it was called");
    // Nobody watches any more, and the daemon is gone in the middle.
    let _ = child.kill();
    let _ = child.wait();
    daemon.kill9();
    daemon.start_again().expect("it starts again");
    let seen = wait::until("the withdrawal", LIMIT, || {
        let seen = lines(&zoo, "second.lines");
        seen.iter().any(|line| !line["cancels"].is_null()).then_some(seen)
    })
    .expect("the drill was ended");
    // What had begun is done once more, what had ended is not; both are put back.
    let put_back = |file: &str| {
        let seen = lines(&zoo, file);
        assert_eq!(seen.last().expect("a line")["cancels"], seen[0]["id"], "{seen:?}");
        seen.len()
    };
    assert_eq!(seen.len(), put_back("second.lines"), "{seen:?}");
    wait::until("the first one's turn", LIMIT, || (lines(&zoo, "first.lines").len() == 2).then_some(()))
        .expect("it came");
    assert_eq!((put_back("second.lines"), put_back("first.lines")), (3, 2));
}
