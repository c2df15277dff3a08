//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod guest;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{threads, threads_left};
use guest::{Ground, NOTICE, PATIENCE, PLENTY, WITHDRAWN, another, event, failed, handled, saver};
use serde_json::json;
use std::time::Duration;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn no_thread_and_no_descriptor_is_left_whether_the_guest_was_saved_or_not() {
    let Some(ground) = Ground::lay("no_thread_and_no_descriptor_is_left", 64, 32, "raw") else { return };
    let guest = ground.counting("vm");
    let (kept, refused) = (
        saver(&ground, "vm", json!({ "after": "keep-paused" })),
        saver(&ground, "vm", json!({ "bandwidth": 10, "fallback": "none" })),
    );
    let mut before = 0;
    for round in 0..5 {
        failed(&refused.deliver(&another(NOTICE, round), Duration::from_secs(5)), abi::SNOOZE_E_DEADLINE);
        handled(kept.deliver(&another(NOTICE, round), PLENTY));
        handled(kept.deliver(&event(WITHDRAWN), PLENTY));
        guest.counts_on(1);
        if round == 0 {
            before = descriptors();
        }
    }
    // A monitor's own descriptors come and go; none may gather.
    assert!(descriptors() <= before, "{before} grew to {}", descriptors());
    assert_eq!(threads("vm-work"), 2);
    assert_eq!(threads_left("vm-one", PATIENCE) + threads_left("vm-sync", PATIENCE), 0);
    drop((kept, refused));
    assert_eq!(threads_left("vm-", PATIENCE), 0);
}
