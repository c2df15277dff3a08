//! What needs no systemd; the work itself is tested in a machine of its own, in `tests/system`.

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt};
use serde_json::json;
use std::time::Duration;
use stop_units::StopUnits;

#[test]
fn a_wrong_name_is_refused_with_its_place() {
    let error = TestInstance::<StopUnits>::new(&json!({ "units": ["a.service", "web"] })).err().unwrap();
    assert!(error.starts_with("units[1]: \"web\" does not say of which type"), "{error}");
}

#[test]
fn where_nothing_was_stopped_nothing_is_started() {
    let plugin = TestInstance::<StopUnits>::new(&json!({ "units": ["there-is-no-such-unit.service"] })).unwrap();
    for (kind, words) in [
        ("cloud.spot.interrupt.cancelled", "has stopped nothing that has to run now"),
        ("cloud.spot.rebalance", "nothing is stopped"),
        ("cloud.maintenance.freeze", "nothing is stopped"),
    ] {
        let mut event = spot_interrupt();
        event["type"] = json!(kind);
        let delivered = plugin.deliver(&event, Duration::from_secs(30));
        assert_eq!(delivered.status, abi::SNOOZE_SKIPPED, "{kind}: {delivered:?}");
        let reason = delivered.result.unwrap()["declined"].as_str().unwrap().to_owned();
        assert!(reason.contains(words), "{kind}: {reason}");
    }
}
