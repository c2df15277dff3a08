//! What an instance leaves behind. Alone in its file: other tests have descriptors of their own.

mod podman;

use podman::{NOTICE, ORDERLY, PLENTY, event, handled, start_or_say};
use serde_json::json;

#[test]
fn calls_leave_no_descriptor_and_no_thread() {
    let Some(podman) = start_or_say() else { return };
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let plugin = podman.plugin(&json!({ "groups": [{ "all": true }] }));
    podman.run("app", ORDERLY, &[]);
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    let before = (count("fd"), count("task"));
    for _ in 0..3 {
        podman.podman(&["start", "app"]).unwrap();
        handled(plugin.deliver(&event(NOTICE), PLENTY));
    }
    drop(plugin);
    assert_eq!((count("fd"), count("task")), before);
}
