//! What needs no login manager: nothing, and a real sync of this machine's file systems.

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt, threads_left};
use finish::Finish;
use serde_json::{Value, json};
use std::time::Duration;

const PLENTY: Duration = Duration::from_secs(120);

fn plugin(action: &str) -> TestInstance<Finish> {
    TestInstance::new(&json!({ "action": action, "fallback": "none" })).unwrap()
}

fn declined(plugin: &TestInstance<Finish>, event: &Value) -> String {
    let delivered = plugin.deliver(event, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_SKIPPED, "{delivered:?}");
    delivered.result.unwrap()["declined"].as_str().unwrap().to_owned()
}

#[test]
fn a_sync_is_done_in_time_and_told_with_what_waited_to_be_written() {
    let plugin = plugin("sync");
    let delivered = plugin.deliver(&spot_interrupt(), PLENTY);
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None), "{delivered:?}");
    let result = delivered.result.unwrap();
    let sync = &result["evidence"]["sync"];
    assert_eq!((&result["action"], &sync["complete"]), (&json!("sync"), &json!(true)), "{result:#}");
    assert!(sync["before"]["dirty_kib"].is_u64() && sync["after"]["dirty_kib"].is_u64(), "{result:#}");
    drop(plugin);
    assert_eq!(threads_left("finish-", PLENTY), 0);
}

#[test]
fn a_withdrawal_finds_nothing_to_take_back_and_none_is_nothing() {
    let mut withdrawn = spot_interrupt();
    withdrawn["type"] = json!("cloud.spot.interrupt.cancelled");
    assert!(declined(&plugin("sync"), &withdrawn).contains("nothing that could be taken back"));
    assert_eq!(declined(&plugin("none"), &spot_interrupt()), "the configured action is none");
    let mut ahead = spot_interrupt();
    ahead["type"] = json!("cloud.spot.rebalance");
    assert!(declined(&plugin("sync"), &ahead).contains("may stay"));
}
