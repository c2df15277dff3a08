//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod stage;

use cloudsnooze_plugin::testing::threads_left;
use serde_json::json;
use stage::{CARELESS, NOTICE, PATIENCE, PLENTY, Writer, event, handled, must_have_python, plugin, told};
use std::fs;

#[test]
fn no_thread_and_no_descriptor_is_left() {
    if told("no_thread_and_no_descriptor_is_left", must_have_python()).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    Writer::start(&path, dir.path(), CARELESS).kill();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let plugin = plugin(&json!({ "paths": [path], "backup_directory": dir.path().join("copies") }));
    for _ in 0..3 {
        handled(plugin.deliver(&event(NOTICE), PLENTY));
        handled(plugin.verify(&event(NOTICE), PLENTY));
    }
    drop(plugin);
    assert_eq!(threads_left("sqlite-flush", PATIENCE), 0);
    assert_eq!(descriptors(), before);
}
