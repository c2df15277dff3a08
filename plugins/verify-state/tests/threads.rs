//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt, threads, threads_left};
use harness::wait;
use serde_json::json;
use std::time::Duration;
use verify_state::VerifyState;

const PLENTY: Duration = Duration::from_secs(60);

#[test]
fn where_nothing_had_to_be_reached_it_declines_and_no_thread_is_left() {
    let plugin = TestInstance::<VerifyState>::new(&json!({ "checks": [{ "command": ["false"] }] })).unwrap();
    // A thread takes its name when it begins to run.
    wait::until("the instance's thread", PLENTY, || (threads("verify-run") == 1).then_some(())).unwrap();
    for kind in ["cloud.spot.interrupt.cancelled", "cloud.spot.rebalance", "cloud.maintenance.freeze"] {
        let mut event = spot_interrupt();
        event["type"] = json!(kind);
        let delivered = plugin.deliver(&event, PLENTY);
        assert_eq!(delivered.status, abi::SNOOZE_SKIPPED, "{kind}: {delivered:?}");
    }
    drop(plugin);
    assert_eq!(threads_left("verify-run", PLENTY), 0);
}
