//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod store;

use cloudsnooze_plugin::testing::{threads, threads_left};
use serde_json::json;
use store::{MIB, PLENTY, Stage, handled, interrupt};

#[test]
fn deactivating_leaves_no_thread_and_no_descriptor() {
    let Some(stage) = Stage::open("threads") else { return };
    stage.write("a", 6 * MIB, 10);
    let open = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect::<Vec<_>>()
    };
    let mut first = None;
    for round in 0..5 {
        let uploader = stage.plugin(&json!({}));
        handled(uploader.deliver(&interrupt(round), PLENTY));
        assert!(threads("upload-run") > 0);
        drop(uploader);
        assert_eq!(threads_left("upload-run", PLENTY), 0);
        // The relay keeps its own ends until then.
        stage.relay.cut();
        stage.relay.mend();
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
