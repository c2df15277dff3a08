//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod group;

use cloudsnooze_plugin::testing::{threads, threads_left};
use group::{Group, PLENTY};
use serde_json::json;

#[test]
fn deactivating_leaves_no_thread_and_no_descriptor() {
    let Some(group) = Group::open("threads", &["save"]) else { return };
    let open = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect::<Vec<_>>()
    };
    let mut first = None;
    for _ in 0..5 {
        group.set("Terminating:Wait");
        let plugin = group.plugin(&json!({ "mode": "heartbeat" }));
        assert_eq!(plugin.deliver(&group.terminate(), PLENTY).status, 0);
        assert!(threads("aws-lifecycle") > 0);
        drop(plugin);
        assert_eq!(threads_left("aws-lifecycle", PLENTY), 0);
        // The relay keeps its own ends until then.
        group.relay.cut();
        group.relay.mend();
        // The first may leave what a process needs once.
        let Some(first) = &first else {
            first = Some(open().len());
            continue;
        };
        let is_as_before = || (open().len() <= *first).then_some(());
        let waited = harness::wait::until("descriptors to be closed", PLENTY, is_as_before);
        waited.unwrap_or_else(|error| panic!("{error}: {first} before, now {:?}", open()));
    }
}
