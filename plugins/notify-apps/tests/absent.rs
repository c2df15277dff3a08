//! What an instance says when there is no daemon. Whole conversations: tests/e2e/tests/apps.rs.
#![allow(missing_docs)]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::testing::TestInstance;
use notify_apps::NotifyApps;
use std::time::Duration;

fn event(event_type: &str) -> Value {
    json!({"id": "019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8", "type": event_type, "severity": "urgent",
        "data": {"action": "terminate", "timeRemaining": 120.0}})
}

#[test]
fn without_a_daemon_a_call_fails_at_once_and_says_where_it_looked() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("apps.sock");
    let instance = TestInstance::<NotifyApps>::new(&json!({ "socket": socket })).expect("it is made all the same");
    let delivered = instance.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(10));
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    let text = delivered.error.expect("a text");
    assert!(text.contains("applications cannot be reached at") && text.contains("apps.sock"), "{text}");
    let late = instance.deliver(&event("cloud.spot.interrupt"), Duration::from_millis(50));
    assert_eq!(late.status, abi::SNOOZE_E_DEADLINE, "{late:?}");
}
