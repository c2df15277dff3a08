//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod stage;

use cloudsnooze_plugin::testing::threads_left;
use serde_json::json;
use stage::{NOTICE, PLENTY, disk, event, handled, plugin};
use std::fs;

#[test]
fn no_thread_and_no_descriptor_is_left() {
    let Some(disk) = disk("no_thread_and_no_descriptor_is_left") else { return };
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let plugin = plugin(&json!({ "mount_points": [disk.path()] }));
    for _ in 0..3 {
        handled(plugin.deliver(&event(NOTICE), PLENTY));
    }
    assert_eq!(threads_left("sync-wait", PLENTY), 0);
    drop(plugin);
    assert_eq!(descriptors(), before);
}
