//! What is never frozen, and what a drill does.

mod stage;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::TestInstance;
use fs_freeze::FsFreeze;
use serde_json::json;
use stage::{NOTICE, PLENTY, disk, event, failed, handled, plugin, writer};
use std::fs::{self, File};

#[test]
fn what_the_daemon_writes_to_is_refused_when_it_is_configured() {
    let test = "what_the_daemon_writes_to_is_refused_when_it_is_configured";
    let refused = |config| TestInstance::<FsFreeze>::new(&config).err().unwrap_or_default();
    for path in ["/", "/usr", "/tmp"] {
        let text = refused(json!({ "mount_points": [path] }));
        assert_eq!(text, format!("mount_points: {path} is never frozen: the system itself writes there"));
    }
    let Some(disk) = disk(test, "ext4") else { return };
    let config = json!({ "mount_points": [disk.path()] });
    assert_eq!(refused(config.clone()), "");
    let state = disk.join("state/of/instance");
    let text = TestInstance::<FsFreeze>::new_in(&state, &config).err().unwrap_or_default();
    assert!(text.contains("may not be frozen: this instance's state ("), "{text}");
    let log = File::create(disk.join("log")).unwrap();
    let text = refused(config.clone());
    assert!(text.contains("may not be frozen: a file that the daemon has open ("), "{text}");
    drop(log);

    // What has become so since is found at the event.
    let plugin = plugin(&config);
    let log = File::create(disk.join("log")).unwrap();
    let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_CONFIG);
    assert!(text.contains("a file that the daemon has open"), "{text}");
    // It would wait for ever if it were frozen.
    fs::write(disk.join("other"), "x").unwrap();
    drop(log);
}

#[test]
fn what_is_not_mounted_or_cannot_be_frozen_fails_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = plugin(&json!({ "mount_points": [dir.path()] }));
    assert!(nothing.log()[0].starts_with("nothing is mounted on /"), "{:?}", nothing.log());
    let text = failed(&nothing.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.starts_with("nothing is mounted on /"), "{text}");
    let memory = plugin(&json!({ "mount_points": ["/dev/shm"] }));
    let text = failed(&memory.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert_eq!(text, "/dev/shm is of type tmpfs, which cannot be frozen");
    let Some(disk) = disk("what_is_not_mounted_or_cannot_be_frozen_fails_and_says_so", "ext4") else { return };
    let config = json!({ "mount_points": [disk.path()], "then": { "argv": ["no-such-program"] } });
    let text = failed(&plugin(&config).deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_IO);
    assert!(text.starts_with("there is no program 'no-such-program'"), "{text}");
}

#[test]
fn one_that_somebody_else_has_frozen_is_left_to_them() {
    let Some(disk) = disk("one_that_somebody_else_has_frozen_is_left_to_them", "ext4") else { return };
    let plugin = plugin(&json!({ "mount_points": [disk.path()], "hold_seconds": 0.1 }));
    disk.freeze().unwrap();
    let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_IO);
    assert!(text.contains("cannot be frozen"), "{text}");
    // Which fails if it is not frozen any more.
    disk.thaw().unwrap();
}

#[test]
fn a_drill_looks_whether_it_could_and_freezes_nothing() {
    let Some(disk) = disk("a_drill_looks_whether_it_could_and_freezes_nothing", "ext4") else { return };
    let writer = writer(&disk);
    let ran = disk.beside().join("ran");
    let config = json!({ "mount_points": [disk.path()], "hold_seconds": 9, "then": { "argv": ["touch", ran] } });
    let plugin = plugin(&config);
    let mut drill = event(NOTICE);
    drill["drill"] = json!(true);
    let result = handled(plugin.deliver(&drill, PLENTY));
    assert_eq!((&result["action"], &result["skipped"][0]["step"]), (&json!("check"), &json!("freeze")));
    assert_eq!(result["evidence"]["file_systems"][0]["can_be_frozen"], true);
    assert!(!ran.exists());
    writer.goes_on().unwrap();
    assert!(disk.thaw().is_err(), "it was frozen");
    assert_eq!(plugin.verify(&drill, PLENTY).status, abi::SNOOZE_SKIPPED);
    // What would fail fails in the drill.
    let broken = stage::plugin(&json!({ "mount_points": [disk.path()], "then": { "argv": ["no-such-program"] } }));
    failed(&broken.deliver(&drill, PLENTY), abi::SNOOZE_E_IO);
}
