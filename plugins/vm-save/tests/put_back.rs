//! Withdrawn notices, drills, and calls that are recalled: what runs afterwards, and what lies where.

mod guest;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use guest::{
    Ground, MAYBE, NOTICE, PATIENCE, PLENTY, Start, WITHDRAWN, declined, event, failed, handled, must_follow, plugin,
    saver, to_file,
};
use harness::wait;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn a_guest_that_was_kept_runs_on_and_what_was_saved_loses_its_name() {
    let Some(ground) = Ground::lay("a_guest_that_was_kept_runs_on", 64, 32, "raw") else { return };
    let guest = ground.counting("vm");
    let plugin = saver(&ground, "vm", json!({ "after": "keep-paused" }));
    assert!(declined(&plugin.deliver(&event(WITHDRAWN), PLENTY)).contains("nothing was done to it"));
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert_eq!(result["machines"][0]["evidence"]["after"]["status"], "postmigrate", "{result}");
    assert!(guest.stands_still());
    let verified = handled(plugin.verify(&event(NOTICE), PLENTY));
    assert_eq!(verified["machines"][0]["machine"], "postmigrate", "{verified}");
    let undone = handled(plugin.deliver(&event(WITHDRAWN), PLENTY));
    assert_eq!((&undone["action"], &undone["machines"][0]["outcome"]), (&json!("undo"), &json!("resumed")));
    guest.counts_on(5);
    must_follow(&ground.counted("vm"));
    assert_eq!(guest.execute("query-fdsets", Value::Null), json!([]), "QEMU keeps no descriptor of the file");
    // Started from it later, the guest would find disks of another time.
    assert!(!ground.path("vm.state").exists() && ground.path("vm.state.old").exists());
    assert!(declined(&plugin.deliver(&event(WITHDRAWN), PLENTY)).contains("nothing was done to it"));
    // And it can be saved again.
    handled(plugin.deliver(&guest::another(NOTICE, 2), PLENTY));
    assert!(ground.path("vm.state").exists() && !ground.path("vm.state.old").exists());
}

#[test]
fn a_guest_that_was_only_stopped_runs_on() {
    let Some(ground) = Ground::lay("a_guest_that_was_only_stopped", 64, 32, "raw") else { return };
    let guest = ground.counting("vm");
    let plugin = saver(&ground, "vm", json!({ "bandwidth": 10, "fallback": "pause" }));
    failed(&plugin.deliver(&event(NOTICE), Duration::from_secs(10)), abi::SNOOZE_E_DEADLINE);
    assert!(guest.stands_still());
    handled(plugin.deliver(&event(WITHDRAWN), PLENTY));
    guest.counts_on(5);
    must_follow(&ground.counted("vm"));
}

#[test]
fn a_guest_that_was_ended_is_left_or_started_by_the_command_that_is_configured() {
    let Some(ground) = Ground::lay("a_guest_that_was_ended", 64, 32, "raw") else { return };
    let mut guest = ground.counting("vm");
    let plain = saver(&ground, "vm", json!({}));
    handled(plain.deliver(&event(NOTICE), PLENTY));
    guest.wait_for_end();
    let reason = declined(&plain.deliver(&event(WITHDRAWN), PLENTY));
    assert!(reason.contains("there is no restore command"), "{reason}");
    assert!(ground.path("vm.state").exists());
    drop(plain);

    let mut words = ground.words("vm", &Start::Incoming("{to}".into()));
    words.extend(["-daemonize", "-pidfile"].map(str::to_owned));
    words.push(ground.path("pid").display().to_string());
    let restoring = saver(&ground, "vm", json!({ "restore": words }));
    let guest = ground.start("vm", &Start::Incoming(ground.path("vm.state")));
    guest.becomes("paused");
    guest.execute("cont", Value::Null);
    let seen = guest.counts_on(5);
    handled(restoring.deliver(&event(NOTICE), PLENTY));
    drop(guest);
    let undone = handled(restoring.deliver(&event(WITHDRAWN), PLENTY));
    let pid = fs::read_to_string(ground.path("pid")).unwrap();
    let end = KillOnDrop(pid.trim().to_owned());
    assert_eq!(undone["machines"][0]["outcome"], "resumed", "{undone}");
    wait::until("the guest to count on", PATIENCE, || (*ground.counted("vm").last()? > seen + 5).then_some(()))
        .unwrap();
    must_follow(&ground.counted("vm"));
    assert!(!ground.path("vm.state").exists());
    drop(end);
}

/// A QEMU that is nobody's child.
struct KillOnDrop(String);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _status = std::process::Command::new("kill").args(["-9", &self.0]).status();
    }
}

#[test]
fn a_save_that_is_recalled_leaves_its_guest_running_at_once() {
    let Some(ground) = Ground::lay("a_save_that_is_recalled", 1024, 900, "raw") else { return };
    let guest = ground.counting("vm");
    let plugin = saver(&ground, "vm", json!({}));
    let (done, cancel) = (AtomicBool::new(false), Canceller::default());
    let delivered = std::thread::scope(|scope| {
        scope.spawn(|| guest.slow_until(&done));
        scope.spawn(|| {
            wait::until("the save to begin", PATIENCE, || {
                let length = fs::metadata(ground.path("vm.state.part")).map_or(0, |metadata| metadata.len());
                (length > 100_000).then_some(())
            })
            .unwrap();
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
        });
        let delivered = plugin.deliver_cancellable(&event(NOTICE), Duration::from_secs(2000), &cancel);
        done.store(true, Ordering::Release);
        delivered
    });
    let text = failed(&delivered, abi::SNOOZE_E_CANCELLED);
    assert!(text.ends_with("; it runs on") || text.starts_with("the work is still going on"), "{text}");
    guest.counts_on(5);
    must_follow(&ground.counted("vm"));
    assert!(!ground.path("vm.state").exists());
    wait::until("the part to go", PATIENCE, || (!ground.path("vm.state.part").exists()).then_some(())).unwrap();
}

#[test]
fn a_check_changes_nothing_and_says_what_is_in_the_way() {
    let Some(ground) = Ground::lay("a_check_changes_nothing", 64, 32, "raw") else { return };
    let guest = ground.counting("vm");
    let plugin = saver(&ground, "vm", json!({}));
    fs::write(ground.path("vm.state"), "of an earlier time").unwrap();
    let before = guest.counts_on(1);
    let result = handled(plugin.deliver(&event(MAYBE), PLENTY));
    assert_eq!(
        (&result["action"], &result["machines"][0]["outcome"]),
        (&json!("check"), &json!("checked")),
        "{result}"
    );
    assert!(result["machines"][0]["evidence"]["estimate"]["bytes"].as_u64().unwrap() > 32 << 20, "{result}");
    assert!(guest.counts_on(3) > before && guest.status() == "running");
    assert_eq!(fs::read_to_string(ground.path("vm.state")).unwrap(), "of an earlier time");
    assert!(declined(&plugin.deliver(&event(WITHDRAWN), PLENTY)).contains("nothing was done"));

    let slow = saver(&ground, "vm", json!({ "bandwidth": 10 }));
    let text = failed(&slow.deliver(&event(MAYBE), PLENTY), abi::SNOOZE_E_DEADLINE);
    assert!(text.starts_with("vm: not begun: "), "{text}");
    let nowhere = saver(&ground, "vm", json!({ "to": "/nonexistent/vm.state", "bandwidth": 1_000_000_000 }));
    let text = failed(&nowhere.deliver(&event(MAYBE), PLENTY), abi::SNOOZE_E_DENIED);
    assert!(text.contains("write /nonexistent/vm.state"), "{text}");
    // Another client is at the monitor.
    let rival = UnixStream::connect(guest.qmp()).unwrap();
    let text = failed(&plugin.deliver(&event(MAYBE), PLENTY), abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("is another client connected to it?"), "{text}");
    drop(rival);
    let mut guest = guest;
    guest.execute("quit", Value::Null);
    guest.wait_for_end();
    let text = failed(&plugin.deliver(&event(MAYBE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.contains("it does not run: nobody listens on"), "{text}");
}

#[test]
fn three_that_fit_only_one_by_one_do_not_pass_the_check() {
    let Some(ground) = Ground::lay("three_that_fit_only_one_by_one", 64, 32, "raw") else { return };
    let _guests = ["a", "b", "c"].map(|name| ground.counting(name));
    let pace = json!({ "bandwidth": (64_u64 << 20) / 20 });
    let vms: Vec<Value> = ["a", "b", "c"].map(|name| to_file(&ground, name, pace.clone())).into();
    let plugin = plugin(&json!({ "vms": vms }));
    let text = failed(&plugin.deliver(&event(MAYBE), Duration::from_secs(60)), abi::SNOOZE_E_DEADLINE);
    assert!(text.starts_with("c: not begun: "), "{text}");
}

#[test]
fn verification_sees_what_was_spoilt_and_who_was_started_again() {
    let Some(ground) = Ground::lay("verification_sees", 64, 32, "raw") else { return };
    let mut guest = ground.counting("vm");
    let plugin = saver(&ground, "vm", json!({ "sha256": true }));
    let state = ground.path("vm.state");
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED, "nothing was done yet");
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    let kept = &result["machines"][0]["evidence"]["kept"];
    assert_eq!((kept["sha256"].as_str().unwrap().len(), &kept["synced"]), (64, &json!(true)), "{result}");
    guest.wait_for_end();
    let verify = || failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    let whole = fs::read(&state).unwrap();
    let verified = handled(plugin.verify(&event(NOTICE), PLENTY));
    assert_eq!(verified["machines"][0]["kept"]["hash_compared"], true, "{verified}");
    let mut spoilt = whole.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    fs::write(&state, &spoilt).unwrap();
    assert!(verify().contains("has another content"), "{}", verify());
    // As a file system leaves it that lost its last pages.
    let mut emptied = whole.clone();
    let last = emptied.len() - 4096;
    emptied[last..].fill(0);
    fs::write(&state, &emptied).unwrap();
    assert!(verify().contains("does not end as it did"), "{}", verify());
    fs::write(&state, [&whole[1..], &whole[..1]].concat()).unwrap();
    assert!(verify().contains("does not begin as a saved state"), "{}", verify());
    fs::write(&state, &whole[..whole.len() - 1]).unwrap();
    assert!(verify().contains(" bytes, and had "), "{}", verify());
    fs::remove_file(&state).unwrap();
    assert!(verify().contains("No such file"), "{}", verify());
    fs::write(&state, &whole).unwrap();
    handled(plugin.verify(&event(NOTICE), PLENTY));
    let again = ground.counting("vm");
    assert!(verify().contains("it was started again, and is running"), "{}", verify());
    drop(again);
    assert_eq!(plugin.verify(&guest::another(NOTICE, 9), PLENTY).status, abi::SNOOZE_SKIPPED, "another event");
}

#[test]
fn a_guest_without_a_saved_state_is_never_ended() {
    let Some(ground) = Ground::lay("a_guest_without_a_saved_state", 64, 32, "raw") else { return };
    let mut guest = ground.counting("vm");
    // No file can be made there.
    let nowhere =
        saver(&ground, "vm", json!({ "to": "/nonexistent/vm.state", "bandwidth": 1_000_000_000, "fallback": "none" }));
    let text = failed(&nowhere.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_IO);
    assert!(text.contains("open /nonexistent/vm.state.part") && text.ends_with("it runs on"), "{text}");
    // The disk of this guest is no qcow2.
    let vm = json!({ "qmp": ground.path("vm.qmp"), "savevm": "snooze", "fallback": "none" });
    let text = failed(&plugin(&json!({ "vms": [vm] })).deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.contains("none of its disks is qcow2") && text.ends_with("it runs on"), "{text}");
    assert!(guest.is_there());
    guest.counts_on(3);
}
