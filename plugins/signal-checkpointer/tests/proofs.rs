//! What ends a wait, and what does not: on real processes, with the time there is.

mod subject;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};
use subject::{PLENTY, Subject, end, event, failed, handled, one, plugin, save_file, wait_for};

const NOTICE: &str = "cloud.spot.interrupt";
/// Saves at once.
const SAVES: &str = "trap 'echo saved > ckpt.tmp; mv ckpt.tmp ckpt' USR1";

fn step(result: &Value, target: usize, step: usize) -> &Value {
    &result["targets"][target]["evidence"]["steps"][step]
}

#[test]
fn a_new_file_is_the_evidence_and_verification_sees_when_it_changes_or_goes() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::shell(dir.path(), SAVES);
    let mut save = save_file(dir.path(), "ckpt");
    save["until"]["file"]["sha256"] = json!(true);
    let plugin = plugin(&one(dir.path(), json!({ "name": "shell", "save": save })));
    assert_eq!(plugin.log(), [""; 0]);
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert_eq!((&result["action"], &result["durable"]), (&json!("checkpoint"), &json!("yes")), "{result}");
    let target = &result["targets"][0];
    assert_eq!((&target["name"], &target["outcome"]), (&json!("shell"), &json!("done")));
    let process = &target["evidence"]["processes"][0];
    assert_eq!(process["pid"], subject.pid().as_raw());
    assert!(process["started_s_after_boot"].as_f64().unwrap() > 0.0);
    assert!(!["ended", "stopped"].contains(&process["state_after"].as_str().unwrap()), "{result}");
    let done = step(&result, 0, 0);
    assert_eq!((&done["step"], &done["signal"]), (&json!("save"), &json!("SIGUSR1")));
    assert!(done["seconds"].as_f64().unwrap() > 0.05, "it is looked at until it is stable: {result}");
    let file = &done["proof"]["files"][0];
    assert_eq!((&file["path"], &file["bytes"]), (&json!(dir.path().join("ckpt")), &json!(6)));
    // What sha256sum says of "saved\n".
    assert_eq!(file["sha256"], "2f0bc36d997d0234300e13257d8aaa4444ff4b6b24b4b56293da3bcdd5d9eb63");

    let verified = plugin.verify(&event(NOTICE), PLENTY);
    assert_eq!(verified.status, abi::SNOOZE_OK, "{verified:?}");
    // The same size and the same time, but other bytes.
    let path = dir.path().join("ckpt");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "spoil\n").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert!(failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE).contains("another content"));
    fs::write(&path, "longer than it was").unwrap();
    assert!(failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE).contains("was changed"));
    fs::remove_file(&path).unwrap();
    assert!(failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE).ends_with("ckpt is gone"));
    let mut other = event(NOTICE);
    other["id"] = json!("01936b7e-5b3a-7000-8000-000000000002");
    assert_eq!(plugin.verify(&other, PLENTY).status, abi::SNOOZE_SKIPPED, "nothing is known of another event");
}

#[test]
fn a_file_that_still_grows_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let grows = "trap 'for i in 1 2 3 4 5 6 7 8; do echo $i >> ckpt; sleep 0.04; done' USR1";
    let _subject = Subject::shell(dir.path(), grows);
    let mut save = save_file(dir.path(), "ckpt");
    // Far above the pause of the writer, which a busy machine makes longer.
    save["until"]["file"]["stable_ms"] = json!(600);
    let result = handled(plugin(&one(dir.path(), json!({ "save": save }))).deliver(&event(NOTICE), PLENTY));
    assert_eq!(step(&result, 0, 0)["proof"]["bytes"], 16, "{result}");
}

#[test]
fn a_signal_that_has_no_effect_is_no_checkpoint_and_costs_the_time_granted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ckpt"), "of yesterday").unwrap();
    let mut subject = Subject::shell(dir.path(), "trap '' USR1");
    let plugin = plugin(&one(dir.path(), json!({ "save": save_file(dir.path(), "ckpt") })));
    let begun = Instant::now();
    let delivered = plugin.deliver(&event(NOTICE), Duration::from_millis(700));
    let took = begun.elapsed();
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("time is up, still waiting for a new file") && text.contains("there is none"), "{text}");
    assert!(took >= Duration::from_millis(600) && took < Duration::from_secs(5), "{took:?}");
    let result = delivered.result.unwrap();
    assert_eq!((&result["durable"], &result["targets"][0]["outcome"]), (&json!("no"), &json!("failed")));
    assert!(subject.is_alive());
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED);
}

#[test]
fn a_process_that_dies_of_the_signal_has_saved_nothing_and_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let _subject = Subject::shell(dir.path(), ":");
    let begun = Instant::now();
    let plugin = plugin(&one(dir.path(), json!({ "save": save_file(dir.path(), "ckpt") })));
    let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.contains("ended after SIGUSR1, without a new file"), "{text}");
    assert!(begun.elapsed() < PLENTY / 2);
}

#[test]
fn a_process_that_saves_and_ends_has_saved() {
    let dir = tempfile::tempdir().unwrap();
    let _subject = Subject::shell(dir.path(), "trap 'echo saved > ckpt; exit 0' USR1");
    let plugin = plugin(&one(dir.path(), json!({ "save": save_file(dir.path(), "ckpt") })));
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert_eq!(result["durable"], "yes");
    // Nor need it be told to end any more.
    fs::remove_file(dir.path().join("ckpt")).unwrap();
    let _subject = Subject::shell(dir.path(), "trap 'echo saved > ckpt; exit 0' USR1");
    let both = json!({ "save": save_file(dir.path(), "ckpt"), "then": end() });
    handled(subject::plugin(&one(dir.path(), both)).deliver(&event(NOTICE), PLENTY));
}

#[test]
fn the_end_of_the_process_is_proved_and_verification_sees_when_it_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let traps = "trap 'sleep 0.2; exit 0' TERM";
    let mut subject = Subject::shell(dir.path(), traps);
    let plugin = plugin(&one(dir.path(), json!({ "save": end() })));
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert!(!subject.is_alive());
    assert_eq!(step(&result, 0, 0)["proof"], json!({ "kind": "exit" }));
    assert!(step(&result, 0, 0)["seconds"].as_f64().unwrap() >= 0.2, "{result}");
    assert_eq!(result["targets"][0]["evidence"]["processes"][0]["state_after"], "ended");
    assert_eq!(result["durable"], "unknown", "an end says nothing about a disk");
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_OK);
    let _next = Subject::shell(dir.path(), traps);
    assert!(failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE).contains("it was started again as sh"));
}

#[test]
fn a_process_that_does_not_end_is_told_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::shell(dir.path(), "trap '' TERM");
    let plugin = plugin(&one(dir.path(), json!({ "save": end() })));
    let text = failed(&plugin.deliver(&event(NOTICE), Duration::from_millis(500)), abi::SNOOZE_E_DEADLINE);
    assert!(text.contains(&format!("still waiting for the end of sh ({})", subject.pid())), "{text}");
    assert!(subject.is_alive());
}

#[test]
fn a_line_counts_when_it_was_logged_after_the_signal() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log"), "checkpoint saved at step 1\n").unwrap();
    let line = json!({ "line": { "path": dir.path().join("log"), "regex": "^checkpoint saved at step [0-9]+$" } });
    let config = one(dir.path(), json!({ "save": { "signal": "HUP", "until": line } }));
    let _subject = Subject::shell(dir.path(), "trap 'echo begun >> log; echo checkpoint saved at step 7 >> log' HUP");
    let result = handled(plugin(&config).deliver(&event(NOTICE), PLENTY));
    let proof = &step(&result, 0, 0)["proof"];
    assert_eq!(*proof, json!({ "kind": "line", "line": "checkpoint saved at step 7" }));
    assert_eq!(result["durable"], "unknown");
    drop(_subject);
    let _silent = Subject::shell(dir.path(), "trap '' HUP");
    let text = failed(&plugin(&config).deliver(&event(NOTICE), Duration::from_millis(400)), abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("a line that matches"), "{text}");
}

#[test]
fn the_second_signal_follows_the_proof_unless_the_machine_may_stay() {
    let dir = tempfile::tempdir().unwrap();
    let traps = "trap 'sleep 0.3; echo saved > ckpt' USR1; trap 'test -s ckpt && echo in order > then; exit 0' TERM";
    let mut subject = Subject::shell(dir.path(), traps);
    let plugin = plugin(&one(dir.path(), json!({ "save": save_file(dir.path(), "ckpt"), "then": end() })));
    let ahead = handled(plugin.deliver(&event("cloud.spot.rebalance"), PLENTY));
    assert!(subject.is_alive());
    assert_eq!(ahead["targets"][0]["skipped"][0]["step"], "then", "{ahead}");
    fs::remove_file(dir.path().join("ckpt")).unwrap();
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert!(!subject.is_alive());
    assert_eq!(subject.read("then"), "in order");
    assert_eq!((&step(&result, 0, 1)["step"], &step(&result, 0, 1)["signal"]), (&json!("then"), &json!("SIGTERM")));
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_OK);
}

#[test]
fn the_second_signal_is_not_sent_when_the_first_had_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::shell(dir.path(), "trap '' USR1");
    let plugin = plugin(&one(dir.path(), json!({ "save": save_file(dir.path(), "ckpt"), "then": end() })));
    failed(&plugin.deliver(&event(NOTICE), Duration::from_millis(400)), abi::SNOOZE_E_DEADLINE);
    assert!(subject.is_alive());
}

#[test]
fn what_would_end_the_process_waits_until_the_machine_really_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::shell(dir.path(), "trap 'exit 0' TERM");
    let plugin = plugin(&one(dir.path(), json!({ "save": end() })));
    assert_eq!(plugin.deliver(&event("cloud.spot.rebalance"), PLENTY).status, abi::SNOOZE_SKIPPED);
    assert_eq!(plugin.deliver(&event("cloud.spot.interrupt.cancelled"), PLENTY).status, abi::SNOOZE_SKIPPED);
    assert!(subject.is_alive());
}

#[test]
fn a_stopped_process_is_continued_first() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::shell(dir.path(), SAVES);
    subject.signal(Signal::SIGSTOP);
    let is_stopped = || fs::read_to_string(format!("/proc/{}/stat", subject.pid())).unwrap().contains(") T ");
    wait_for("the process to stop", is_stopped);
    let mut target = json!({ "save": save_file(dir.path(), "ckpt") });
    let stopped = plugin(&one(dir.path(), target.clone()));
    let delivered = stopped.deliver(&event(NOTICE), Duration::from_millis(500));
    failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert_eq!(delivered.result.unwrap()["targets"][0]["evidence"]["processes"][0]["state_after"], "stopped");
    target["continue_first"] = json!(true);
    let result = handled(plugin(&one(dir.path(), target)).deliver(&event(NOTICE), PLENTY));
    let process = &result["targets"][0]["evidence"]["processes"][0];
    assert_eq!(process["state_before"], "stopped", "{result}");
    assert_ne!(process["state_after"], "stopped");
}

#[test]
fn what_cannot_fit_is_not_begun_and_its_fallback_is() {
    let dir = tempfile::tempdir().unwrap();
    let traps = format!("{SAVES}; trap 'echo last > last; exit 0' TERM");
    let mut subject = Subject::shell(dir.path(), &traps);
    // A terabyte at a gigabyte a second.
    let mut target = json!({
        "save": save_file(dir.path(), "ckpt"), "expected_bytes": 1_000_000_000_000_u64, "bandwidth": 1_000_000_000,
    });
    let refused = plugin(&one(dir.path(), target.clone()));
    let text = failed(&refused.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("not begun: 1000000000000 bytes are expected, and"), "{text}");
    assert!(subject.is_alive() && subject.read("ckpt").is_empty());
    target["fallback"] = end();
    let result = handled(plugin(&one(dir.path(), target.clone())).deliver(&event(NOTICE), PLENTY));
    assert_eq!((subject.read("ckpt").as_str(), subject.read("last").as_str()), ("", "last"));
    assert_eq!((&result["targets"][0]["action"], subject.is_alive()), (&json!("fallback"), false));
    assert_eq!(result["targets"][0]["skipped"][0]["step"], "save", "{result}");
    // What does fit is saved.
    target["expected_bytes"] = json!(1_000_000_000);
    let mut subject = Subject::shell(dir.path(), &traps);
    handled(plugin(&one(dir.path(), target)).deliver(&event(NOTICE), PLENTY));
    assert!(subject.is_alive() && !subject.read("ckpt").is_empty());
}

#[test]
fn a_cancelled_call_comes_back_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let _subject = Subject::shell(dir.path(), "trap 'echo told > told' USR1");
    let plugin = plugin(&one(dir.path(), json!({ "save": save_file(dir.path(), "ckpt"), "then": end() })));
    let cancel = Canceller::default();
    let (delivered, took) = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            wait_for("the signal", || dir.path().join("told").exists());
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
            Instant::now()
        });
        let delivered = plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel);
        (delivered, canceller.join().unwrap().elapsed())
    });
    assert!(failed(&delivered, abi::SNOOZE_E_CANCELLED).contains("cancelled while waiting for a new file"));
    assert!(took < Duration::from_secs(2), "{took:?}");
    let before = Canceller::default();
    before.cancel(abi::SNOOZE_CANCEL_SHUTDOWN);
    failed(&plugin.deliver_cancellable(&event(NOTICE), PLENTY, &before), abi::SNOOZE_E_CANCELLED);
}

#[test]
fn targets_are_saved_in_order_or_at_once() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = [dirs[0].path(), dirs[1].path()];
    let _first = Subject::shell(first, "trap 'sleep 0.5; echo saved > ckpt' USR1");
    let look =
        format!("trap 'test -s {}/ckpt && echo later > seen || echo sooner > seen; echo > ckpt' USR1", first.display());
    let second_subject = Subject::shell(second, &look);
    let targets: Vec<Value> =
        [first, second].map(|dir| one(dir, json!({ "save": save_file(dir, "ckpt") }))["targets"][0].clone()).into();
    for (at_once, seen) in [(false, "later"), (true, "sooner")] {
        for dir in [first, second] {
            let _none_there = fs::remove_file(dir.join("ckpt"));
        }
        let plugin = plugin(&json!({ "targets": targets, "at_once": at_once }));
        let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
        assert_eq!((second_subject.read("seen").as_str(), &result["durable"]), (seen, &json!("yes")), "{result}");
    }
}

#[test]
fn one_target_that_fails_fails_the_event_and_the_others_are_saved_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::shell(dir.path(), SAVES);
    let good = one(dir.path(), json!({ "name": "good", "save": save_file(dir.path(), "ckpt") }))["targets"][0].clone();
    let mut gone = good.clone();
    gone["name"] = json!("gone");
    gone["process"] = json!({ "pid_file": dir.path().join("nothing") });
    let plugin_of = |gone: &Value| plugin(&json!({ "targets": [gone, good] }));
    let plugin = plugin_of(&gone);
    assert!(plugin.log()[0].starts_with("gone: no process is found by pid file"), "{:?}", plugin.log());
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    let text = failed(&delivered, abi::SNOOZE_E_STATE);
    assert!(text.starts_with("gone: no process was found by pid file"), "{text}");
    assert_eq!(subject.read("ckpt"), "saved");
    assert_eq!(delivered.result.unwrap()["targets"][1]["outcome"], "done");
    gone["optional"] = json!(true);
    let result = handled(plugin_of(&gone).deliver(&event(NOTICE), PLENTY));
    assert_eq!((&result["targets"][0]["outcome"], &result["durable"]), (&json!("declined"), &json!("yes")));
}

#[test]
fn a_target_has_no_more_than_its_own_time() {
    let dir = tempfile::tempdir().unwrap();
    let _subject = Subject::shell(dir.path(), "trap '' USR1");
    let target = json!({ "save": save_file(dir.path(), "ckpt"), "timeout_ms": 200 });
    let begun = Instant::now();
    failed(&plugin(&one(dir.path(), target)).deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_DEADLINE);
    assert!(begun.elapsed() < PLENTY / 2);
}
