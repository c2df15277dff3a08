//! Nothing stays frozen, whatever becomes of the process that froze it: it is killed, or it hangs.

mod stage;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, TestInstance};
use fs_freeze::FsFreeze;
use harness::disk::{Disk, Hung, Writer};
use harness::program::{self, Signal};
use harness::wait;
use serde_json::{Value, json};
use stage::{NOTICE, PATIENCE, PLENTY, WITHDRAWN, declined, disk, event, handled, writer};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the process that a test runs itself as: what is to be frozen, and where its state and its answer go.
const INSIDE: &str = "CLOUDSNOOZE_TEST_INSIDE";
/// After so long a watchdog thaws whatever happens, and a busy machine may take some more.
const THAWED: Duration = Duration::from_secs(13);

/// Plays the daemon if this is that process.
fn plays_the_daemon() -> bool {
    let Some(told) = std::env::var_os(INSIDE) else { return false };
    let told: Value = serde_json::from_str(told.to_str().unwrap()).unwrap();
    let config = json!({ "mount_points": [told["mount_point"]], "hold_seconds": 8 });
    let state = PathBuf::from(told["state"].as_str().unwrap());
    let plugin = TestInstance::<FsFreeze>::new_in(&state, &config).unwrap();
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    let answer = json!({ "status": delivered.status, "result": delivered.result, "error": delivered.error });
    fs::write(state.join("answer"), answer.to_string()).unwrap();
    true
}

/// A process of its own that freezes the disk, and is at it now.
fn frozen_by_another(test: &str, disk: &Disk, state: &Path, writer: &Writer) -> Child {
    let told = json!({ "mount_point": disk.path(), "state": state }).to_string();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, told);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    writer.stalls().unwrap();
    child
}

/// How long it takes from now until the writer goes on.
fn stall(writer: &Writer) -> Duration {
    let begun = Instant::now();
    writer.goes_on().unwrap();
    begun.elapsed()
}

#[test]
fn a_daemon_that_is_killed_meanwhile_leaves_nothing_frozen() {
    if plays_the_daemon() {
        return;
    }
    let test = "a_daemon_that_is_killed_meanwhile_leaves_nothing_frozen";
    let Some(disk) = disk(test, "ext4") else { return };
    let (writer, state) = (writer(&disk), tempfile::tempdir().unwrap());
    let mut child = frozen_by_another(test, &disk, state.path(), &writer);
    assert!(state.path().join("frozen").exists(), "a later start would not know of it");
    program::kill_and_reap(&mut child);
    let stalled = stall(&writer);
    // The watchdog sees the end of the process, and need not wait for its own time.
    assert!(stalled < Duration::from_secs(6), "{stalled:?}");

    // The next start of the daemon finds the mark, and has nothing to do but to say so.
    let config = json!({ "mount_points": [disk.path()] });
    let plugin = TestInstance::<FsFreeze>::new_in(state.path(), &config).unwrap();
    assert!(plugin.log()[0].ends_with("was frozen; it is thawed"), "{:?}", plugin.log());
    let reason = declined(&plugin.deliver(&event(WITHDRAWN), PLENTY));
    assert_eq!(reason, "nothing that this instance has frozen is frozen still");
}

#[test]
fn a_daemon_that_hangs_meanwhile_holds_nobody_for_more_than_ten_seconds() {
    if plays_the_daemon() {
        return;
    }
    let test = "a_daemon_that_hangs_meanwhile_holds_nobody_for_more_than_ten_seconds";
    let Some(disk) = disk(test, "ext4") else { return };
    let (writer, state) = (writer(&disk), tempfile::tempdir().unwrap());
    let mut child = frozen_by_another(test, &disk, state.path(), &writer);
    program::signal(&child, Signal::SIGSTOP).unwrap();
    let stalled = stall(&writer);
    assert!(stalled < THAWED, "{stalled:?}");
    program::signal(&child, Signal::SIGCONT).unwrap();
    program::wait_for_exit(&mut child, PATIENCE).unwrap();
    let answer = fs::read_to_string(state.path().join("answer")).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    // It cannot know what was written to the disk in between.
    assert_eq!(answer["status"], abi::SNOOZE_E_STATE, "{answer:#}");
    let told = &answer["result"]["evidence"]["file_systems"][0];
    assert_eq!(told["thawed_by"], "watchdog", "{answer:#}");
    assert!(told["frozen_at"].as_str().unwrap() < told["thawed_at"].as_str().unwrap(), "{answer:#}");
    assert!(!state.path().join("frozen").exists());
}

#[test]
fn what_is_still_frozen_is_thawed_by_the_next_start_or_a_withdrawn_notice() {
    let test = "what_is_still_frozen_is_thawed_by_the_next_start_or_a_withdrawn_notice";
    let Some(disk) = disk(test, "ext4") else { return };
    let (writer, state) = (writer(&disk), tempfile::tempdir().unwrap());
    let config = json!({ "mount_points": [disk.path()] });
    // As it is when even the watchdog was killed.
    let leave_frozen = || {
        let mark = format!("{}\0", disk.path().display());
        fs::write(state.path().join("frozen"), mark).unwrap();
        disk.freeze().unwrap();
        writer.stalls().unwrap();
    };
    leave_frozen();
    let plugin = TestInstance::<FsFreeze>::new_in(state.path(), &config).unwrap();
    assert!(plugin.log()[0].ends_with("was frozen; it was thawed now"), "{:?}", plugin.log());
    writer.goes_on().unwrap();
    leave_frozen();
    let result = handled(plugin.deliver(&event(WITHDRAWN), PLENTY));
    assert_eq!(
        (&result["action"], &result["evidence"]["file_systems"][0]["was_frozen"]),
        (&json!("thaw"), &json!(true))
    );
    writer.goes_on().unwrap();
    declined(&plugin.deliver(&event(WITHDRAWN), PLENTY));
}

#[test]
fn what_does_not_take_writes_does_not_pass_verification() {
    let test = "what_does_not_take_writes_does_not_pass_verification";
    let Some(disk) = disk(test, "ext4") else { return };
    let plugin = stage::plugin(&json!({ "mount_points": [disk.path()], "hold_seconds": 0.1 }));
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED, "nothing was done yet");
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    handled(plugin.verify(&event(NOTICE), PLENTY));
    disk.freeze().unwrap();
    let text = stage::failed(&plugin.verify(&event(NOTICE), Duration::from_secs(2)), abi::SNOOZE_E_STATE);
    assert!(text.contains("takes no writes, as if it were frozen"), "{text}");
    disk.thaw().unwrap();
    wait::until("a verification", PATIENCE, || (plugin.verify(&event(NOTICE), PLENTY).status == 0).then_some(()))
        .unwrap();
}

#[test]
fn a_disk_that_hangs_is_not_frozen_and_the_answer_comes_in_time() {
    let test = "a_disk_that_hangs_is_not_frozen_and_the_answer_comes_in_time";
    let Some(hung) = stage::told(test, Hung::new()) else { return };
    let plugin = stage::plugin(&json!({ "mount_points": [hung.disk().path()], "hold_seconds": 0.5 }));
    let (begun, left) = (Instant::now(), Duration::from_secs(4));
    let delivered = plugin.deliver(&event(NOTICE), left);
    assert!(begun.elapsed() < left + Duration::from_secs(2), "{:?}", begun.elapsed());
    let text = stage::failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("writing it out: not done in"), "{text}");
    let result = delivered.result.unwrap();
    assert_eq!((&result["action"], &result["durable"]), (&json!("sync"), &json!("no")), "{result:#}");
    // A cancelled call does not wait for it either.
    let cancel = Canceller::default();
    let took = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            let text = hung.disk().path().to_string_lossy().into_owned();
            wait::until("a process that syncs", PATIENCE, || (syncs(&text) == 2).then_some(())).unwrap();
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
            Instant::now()
        });
        let delivered = plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel);
        assert_eq!(stage::failed(&delivered, abi::SNOOZE_E_CANCELLED), "cancelled");
        canceller.join().unwrap().elapsed()
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    hung.recover().unwrap();
    assert!(hung.disk().thaw().is_err(), "it was frozen");
}

/// How many processes write this place out. The one from the first call is still there: it cannot be ended.
fn syncs(mount_point: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with("sync\0") && line.contains(mount_point)).count()
}
