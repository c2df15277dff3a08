//! A trainer (plain Python: see its file) that is saved by USR1 and ended by TERM, and resumed: it comes to the very same
//! result as one that was never interrupted. Killed without the plugin, it begins again.

mod subject;

use cloudsnooze_plugin::abi;
use serde_json::{Value, json};
use std::path::Path;
use subject::{PLENTY, Subject, event, handled, plugin, python, read, wait_for};

const STEPS: u64 = 20_000;
/// Steps after which the notice comes.
const NOTICE: u64 = 300;

fn start(dir: &Path, (python, program): &(String, String)) -> (Subject, u64) {
    let subject = Subject::start(dir, python, &[program, &dir.to_string_lossy(), &STEPS.to_string()]);
    let resumed = || -> Value { serde_json::from_str(&read(dir, "resumed")).unwrap_or_default() };
    wait_for("the trainer to begin", || resumed()[0] == json!(subject.pid().as_raw()));
    (subject, resumed()[1].as_u64().unwrap())
}

fn progress(dir: &Path) -> u64 {
    read(dir, "progress").parse().unwrap_or(0)
}

fn finish(dir: &Path, mut subject: Subject) -> Value {
    subject.wait_for_end();
    serde_json::from_str(&read(dir, "result.json")).unwrap()
}

#[test]
fn a_trainer_that_is_interrupted_comes_to_the_same_result_and_without_the_plugin_begins_again() {
    let Some(program) = python("a_trainer_that_is_interrupted", "trainer.py") else { return };
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let [whole, saved, lost] = [0, 1, 2].map(|at| dirs[at].path());
    let wanted = finish(whole, start(whole, &program).0);

    let (mut subject, _) = start(saved, &program);
    let plugin = plugin(&json!({ "targets": [{
        "name": "trainer",
        "process": { "command_line": format!("trainer\\.py {} ", saved.display()) },
        "save": { "signal": "USR1", "until": { "file":
            { "path": saved.join("step-*.json"), "stable_ms": 60, "sha256": true, "min_bytes": 1000 } } },
        "then": { "signal": "TERM", "until": "exit" },
    }] }));
    wait_for("the trainer to train", || progress(saved) >= NOTICE);
    let done = progress(saved);
    let result = handled(plugin.deliver(&event("cloud.spot.interrupt"), PLENTY));
    subject.wait_for_end();
    let evidence = &result["targets"][0]["evidence"];
    let file = &evidence["steps"][0]["proof"]["files"][0];
    assert_eq!((file["sha256"].as_str().unwrap().len(), &file["synced"]), (64, &json!(true)), "{result}");
    assert_eq!(evidence["steps"][1]["proof"]["kind"], "exit");
    assert_eq!(evidence["processes"][0]["state_after"], "ended");
    let verified = plugin.verify(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(verified.status, abi::SNOOZE_OK, "{verified:?}");
    let again = &verified.result.unwrap()["targets"][0];
    assert_eq!(*again, json!({ "name": "trainer", "files_unchanged": 1, "hashes_compared": 1, "processes_gone": 1 }));
    let (subject, resumed) = start(saved, &program);
    assert!(resumed >= done && resumed < STEPS, "{done} steps were done, {resumed} are left of them");
    assert_eq!(finish(saved, subject), wanted);

    let (mut subject, _) = start(lost, &program);
    wait_for("the trainer to train", || progress(lost) >= NOTICE);
    subject.kill();
    let (_subject, resumed) = start(lost, &program);
    assert_eq!(resumed, 0, "nobody told it to save itself");
}
