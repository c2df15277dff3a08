//! What a copy holds that is taken while a file system is frozen, and what writers see.

mod stage;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use harness::disk::Disk;
use harness::wait;
use serde_json::{Value, json};
use stage::{NOTICE, PATIENCE, PLENTY, disk, event, failed, handled, plugin, said, writer};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Copies a disk while it is frozen.
fn copying(disk: &Disk, copy: &Path) -> Value {
    json!({ "mount_points": [disk.path()], "then": { "argv": ["cp", "--sparse=always", disk.image(), copy] } })
}

/// Whether a file system that holds this must be repaired by its journal before it can be used.
fn needs_recovery(copy: &Path) -> bool {
    let (code, text) = said("dumpe2fs", &["-h"], copy);
    assert_eq!(code, 0, "{text}");
    text.lines().any(|line| line.starts_with("Filesystem features:") && line.contains("needs_recovery"))
}

#[test]
fn a_copy_that_is_taken_meanwhile_is_clean_and_of_one_moment() {
    let Some(disk) = disk("a_copy_that_is_taken_meanwhile_is_clean_and_of_one_moment", "ext4") else { return };
    let writer = writer(&disk);
    let unfrozen = disk.as_after_power_failure("unfrozen").unwrap();
    assert!(needs_recovery(&unfrozen), "without a freeze it is clean too: this shows nothing");
    let copy = disk.beside().join("copy");
    let plugin = plugin(&copying(&disk, &copy));
    let before = writer.last();
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    writer.goes_on().unwrap();
    assert!(!needs_recovery(&copy), "{result:#}");
    let (code, text) = said("fsck.ext4", &["-n", "-f"], &copy);
    assert!(code == 0 && !text.contains("recover"), "{code}: {text}");
    // Without its journal: nothing but what was written out.
    let restored = Disk::restored(&copy, "ro,noload").unwrap();
    let numbers = fs::read_to_string(restored.join("numbers")).unwrap();
    let numbers: Vec<u64> = numbers.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "numbers are missing");
    assert!(numbers.len() as u64 >= before, "{} of {before}", numbers.len());
    assert_eq!((&result["action"], &result["durable"]), (&json!("snapshot"), &json!("yes")));
    let told = &result["evidence"]["file_systems"][0];
    assert_eq!((&told["thawed_by"], &told["file_system"]), (&json!("plugin"), &json!("ext4")), "{result:#}");
    assert!(told["frozen_at"].as_str().unwrap() < told["thawed_at"].as_str().unwrap(), "{result:#}");
    assert_eq!(result["evidence"]["then"]["exit_code"], 0);
    let verified = handled(plugin.verify(&event(NOTICE), PLENTY));
    assert_eq!(verified["file_systems"][0]["takes_writes"], true);
}

#[test]
fn xfs_is_held_still_too() {
    let Some(disk) = disk("xfs_is_held_still_too", "xfs") else { return };
    let writer = writer(&disk);
    let copy = disk.beside().join("copy");
    let result = handled(plugin(&copying(&disk, &copy)).deliver(&event(NOTICE), PLENTY));
    writer.goes_on().unwrap();
    // Its log is never called empty, but all that is in it is in place too: it can be used without.
    let restored = Disk::restored(&copy, "ro,norecovery,nouuid").unwrap();
    let numbers = fs::read_to_string(restored.join("numbers")).unwrap();
    assert!(numbers.lines().zip(1_u64..).all(|(line, number)| line.parse() == Ok(number)));
    assert!(numbers.lines().count() > 0);
    assert_eq!(result["evidence"]["file_systems"][0]["file_system"], "xfs");
}

#[test]
fn writers_wait_while_it_is_frozen_and_go_on_afterwards() {
    let Some(disk) = disk("writers_wait_while_it_is_frozen_and_go_on_afterwards", "ext4") else { return };
    let writer = writer(&disk);
    let during = disk.beside().join("during");
    // The command itself sees that nothing is written: it compares two looks.
    let look = format!(
        "a=$(cat {0}); sleep 0.5; b=$(cat {0}); echo $a $b > {1}",
        disk.beside().join("acknowledged").display(),
        during.display()
    );
    let plugin = plugin(&json!({ "mount_points": [disk.path()], "then": { "shell": look } }));
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    let seen = fs::read_to_string(&during).unwrap();
    let (first, second) = seen.trim().split_once(' ').unwrap();
    assert_eq!(first, second, "the writer went on: {result:#}");
    let frozen = result["evidence"]["file_systems"][0]["frozen_seconds"].as_f64().unwrap();
    assert!((0.5..10.0).contains(&frozen), "{result:#}");
    writer.goes_on().unwrap();
    assert!(writer.last() > first.parse().unwrap());
}

#[test]
fn without_a_command_it_is_held_for_the_time_that_was_set() {
    let Some(disk) = disk("without_a_command_it_is_held_for_the_time_that_was_set", "ext4") else { return };
    let writer = writer(&disk);
    let plugin = plugin(&json!({ "mount_points": [disk.path()], "hold_seconds": 1 }));
    let result = std::thread::scope(|scope| {
        let stalled = scope.spawn(|| writer.stalls().unwrap());
        let delivered = plugin.deliver(&event(NOTICE), PLENTY);
        stalled.join().unwrap();
        handled(delivered)
    });
    assert_eq!(result["action"], "hold");
    let frozen = result["evidence"]["file_systems"][0]["frozen_seconds"].as_f64().unwrap();
    assert!((1.0..10.0).contains(&frozen), "{result:#}");
    writer.goes_on().unwrap();
}

#[test]
fn several_are_frozen_at_the_same_time() {
    let test = "several_are_frozen_at_the_same_time";
    let (Some(first), Some(second)) = (disk(test, "ext4"), disk(test, "ext4")) else { return };
    let (one, other) = (writer(&first), writer(&second));
    let points = json!([first.path(), second.path()]);
    let plugin = plugin(&json!({ "mount_points": points, "hold_seconds": 2 }));
    let result = std::thread::scope(|scope| {
        let stalled = scope.spawn(|| (one.stalls().unwrap(), other.stalls().unwrap()));
        let delivered = plugin.deliver(&event(NOTICE), PLENTY);
        stalled.join().unwrap();
        handled(delivered)
    });
    let [a, b] = [0, 1].map(|at| &result["evidence"]["file_systems"][at]);
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    assert!(text(a, "frozen_at") < text(b, "thawed_at") && text(b, "frozen_at") < text(a, "thawed_at"), "{result:#}");
    one.goes_on().unwrap();
    other.goes_on().unwrap();
}

#[test]
fn a_command_that_fails_or_takes_too_long_fails_the_event_and_it_is_thawed() {
    let test = "a_command_that_fails_or_takes_too_long_fails_the_event_and_it_is_thawed";
    let Some(disk) = disk(test, "ext4") else { return };
    let writer = writer(&disk);
    let with =
        |shell: &str| plugin(&json!({ "mount_points": [disk.path()], "hold_seconds": 1, "then": { "shell": shell } }));
    let delivered = with("echo no room >&2; exit 3").deliver(&event(NOTICE), PLENTY);
    assert_eq!(failed(&delivered, abi::SNOOZE_E_INTERNAL), "/bin/sh: exit code 3: no room");
    writer.goes_on().unwrap();
    let delivered = with("sleep 60").deliver(&event(NOTICE), PLENTY);
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("it was out of time"), "{text}");
    let told = &delivered.result.unwrap()["evidence"]["file_systems"][0];
    assert!(told["frozen_seconds"].as_f64().unwrap() < 10.0 && told["thawed_by"] == "plugin", "{told}");
    writer.goes_on().unwrap();
    // One that writes to what is frozen is held up by it, and cannot be ended before it is thawed.
    let delivered = with(&format!("echo x > {}", disk.join("own").display())).deliver(&event(NOTICE), PLENTY);
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("does it write to what is frozen?"), "{text}");
    writer.goes_on().unwrap();
}

#[test]
fn a_cancelled_call_thaws_at_once() {
    let Some(disk) = disk("a_cancelled_call_thaws_at_once", "ext4") else { return };
    let writer = writer(&disk);
    let pid = disk.beside().join("pid");
    let shell = format!("echo $$ > {}; sleep 60", pid.display());
    let plugin = plugin(&json!({ "mount_points": [disk.path()], "hold_seconds": 9, "then": { "shell": shell } }));
    let cancel = Canceller::default();
    let (delivered, took) = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            wait::until("the command", PATIENCE, || pid.exists().then_some(())).unwrap();
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
            Instant::now()
        });
        let delivered = plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel);
        (delivered, canceller.join().unwrap().elapsed())
    });
    let text = failed(&delivered, abi::SNOOZE_E_CANCELLED);
    assert!(text.contains("cancelled") && took < Duration::from_secs(5), "{text}: {took:?}");
    assert_eq!(delivered.result.unwrap()["evidence"]["file_systems"][0]["thawed_by"], "plugin");
    writer.goes_on().unwrap();
}

#[test]
fn without_time_for_a_freeze_it_is_only_written_out() {
    let Some(disk) = disk("without_time_for_a_freeze_it_is_only_written_out", "ext4") else { return };
    let ran = disk.beside().join("ran");
    let plugin =
        plugin(&json!({ "mount_points": [disk.path()], "hold_seconds": 5, "then": { "argv": ["touch", ran] } }));
    fs::write(disk.join("file"), "kept").unwrap();
    let delivered = plugin.deliver(&event(NOTICE), Duration::from_secs(4));
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.starts_with("not frozen: it may take 6.0 s, and ") && text.ends_with("written out only"), "{text}");
    let result = delivered.result.unwrap();
    assert_eq!(
        (&result["action"], &result["evidence"]["file_systems"][0]["frozen_at"]),
        (&json!("sync"), &json!(null))
    );
    assert!(!ran.exists());
    let restored = Disk::restored(&disk.as_after_power_failure("after").unwrap(), "").unwrap();
    assert_eq!(fs::read_to_string(restored.join("file")).unwrap(), "kept");
}
