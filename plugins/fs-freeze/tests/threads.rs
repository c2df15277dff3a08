//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod stage;

use cloudsnooze_plugin::testing::{threads, threads_left};
use harness::wait;
use serde_json::json;
use stage::{NOTICE, PATIENCE, PLENTY, disk, event, handled, plugin};
use std::fs;

/// Children of this process, by their command lines, but for the guards of disks.
fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<String> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let line = |pid: &String| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    pids.iter().map(line).filter(|line| !line.contains("guard")).collect()
}

#[test]
fn no_thread_no_process_and_no_descriptor_is_left() {
    let Some(disk) = disk("no_thread_no_process_and_no_descriptor_is_left", "ext4") else { return };
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let plugin = plugin(&json!({ "mount_points": [disk.path()], "hold_seconds": 0.1 }));
    wait::until("the instance's thread", PATIENCE, || (threads("freeze-work") == 1).then_some(())).unwrap();
    for _ in 0..3 {
        handled(plugin.deliver(&event(NOTICE), PLENTY));
    }
    assert_eq!(children(), Vec::<String>::new());
    drop(plugin);
    assert_eq!(threads_left("freeze-work", PATIENCE), 0);
    assert_eq!(descriptors(), before);
}
