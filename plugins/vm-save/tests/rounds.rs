//! A guest that counts, saved, ended and started again ten times: it never counts anything twice and never begins anew.
//! Without the saved state it does.

mod guest;

use guest::{Ground, Guest, NOTICE, PLENTY, Start, another, handled, must_follow, plugin, saver};
use serde_json::{Value, json};
use std::fs;

const ROUNDS: usize = 10;

/// Loads a saved state in a new QEMU, and lets it run.
fn started_from(ground: &Ground, start: &Start) -> Guest {
    let guest = ground.start("vm", start);
    // With -S, QEMU has a word of its own for one that stands still.
    guest.becomes(if matches!(start, Start::Snapshot(_)) { "prelaunch" } else { "paused" });
    guest.execute("cont", Value::Null);
    guest
}

/// Saves and restores a counting guest so many times, and gives all that was counted.
fn rounds(ground: &Ground, vm: Value, start: &Start) -> Vec<u64> {
    // Made once, as in a daemon: machines come and go.
    let plugin = plugin(&json!({ "vms": [vm] }));
    let mut guest = ground.counting("vm");
    for round in 0..ROUNDS {
        let seen = guest.counts_on(10);
        let notice = another(NOTICE, round);
        let result = handled(plugin.deliver(&notice, PLENTY));
        let machine = &result["machines"][0];
        assert_eq!((&result["durable"], &machine["outcome"]), (&json!("yes"), &json!("saved")), "{result}");
        assert_eq!(machine["evidence"]["before"]["status"], "running");
        assert_eq!(machine["evidence"]["after"]["status"], "ended");
        assert!(machine["evidence"]["kept"]["bytes"].as_u64().unwrap() > 1 << 20, "{result}");
        guest.wait_for_end();
        let verified = handled(plugin.verify(&notice, PLENTY));
        assert_eq!(verified["machines"][0]["machine"], "ended", "{verified}");
        let counted = ground.counted("vm");
        guest = started_from(ground, start);
        guest.counts_on(1);
        let next = ground.counted("vm")[counted.len()];
        assert!(next > seen, "round {round}: it had counted to {seen}, and went on at {next}");
    }
    ground.counted("vm")
}

#[test]
fn ten_rounds_into_a_file_lose_nothing_that_was_counted() {
    let Some(ground) = Ground::lay("ten_rounds_into_a_file", 64, 32, "raw") else { return };
    let ground = ground.accelerated();
    let state = ground.path("vm.state");
    let counted =
        rounds(&ground, guest::to_file(&ground, "vm", json!({ "sha256": true })), &Start::Incoming(state.clone()));
    assert_eq!(counted.first(), Some(&0));
    must_follow(&counted);
    for name in ["vm.state.part", "vm.state.old"] {
        assert!(!ground.path(name).exists(), "{name} is left");
    }
    // The 32 MiB that it fills are in there, and it looks through them while it counts.
    assert!(fs::metadata(state).unwrap().len() > 32 << 20);
}

#[test]
fn ten_rounds_into_the_disk_lose_nothing_that_was_counted() {
    let Some(ground) = Ground::lay("ten_rounds_into_the_disk", 64, 32, "qcow2") else { return };
    let ground = ground.accelerated();
    let vm = json!({ "name": "vm", "qmp": ground.path("vm.qmp"), "savevm": "snooze" });
    let counted = rounds(&ground, vm, &Start::Snapshot("snooze".to_owned()));
    assert_eq!(counted.first(), Some(&0));
    must_follow(&counted);
}

#[test]
fn without_its_saved_state_the_count_begins_anew() {
    let Some(ground) = Ground::lay("without_its_saved_state", 64, 32, "raw") else { return };
    let plugin = saver(&ground, "vm", json!({}));
    let mut guest = ground.counting("vm");
    guest.counts_on(10);
    handled(plugin.deliver(&another(NOTICE, 1), PLENTY));
    guest.wait_for_end();
    let before = ground.counted("vm").len();
    let guest = ground.start("vm", &Start::Boot);
    guest.counts_on(3);
    assert_eq!(ground.counted("vm")[before..before + 3], [0, 1, 2]);
}
