//! No engine, one that does not answer, settings that cannot work.

mod podman;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::TestInstance;
use container_stop::ContainerStop;
use podman::{NOTICE, PLENTY, event};
use serde_json::json;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

#[test]
fn an_engine_that_is_not_there_is_a_warning_ahead_and_a_clear_failure_in_the_event() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({ "socket": dir.path().join("nobody"), "groups": [{ "all": true }] });
    let plugin = TestInstance::<ContainerStop>::new(&config).unwrap();
    assert!(plugin.log()[0].contains("no container engine answers now"), "{:?}", plugin.log());
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("nobody: "));
}

#[test]
fn an_engine_that_does_not_answer_holds_no_call_beyond_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let _silent = UnixListener::bind(&socket).unwrap();
    let plugin = TestInstance::<ContainerStop>::new(&json!({ "socket": socket, "groups": [{ "all": true }] })).unwrap();
    let (began, left) = (Instant::now(), Duration::from_secs(2));
    let delivered = plugin.deliver(&event(NOTICE), left);
    assert!(began.elapsed() <= left, "{:?}", began.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_E_DEADLINE, "{delivered:?}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused_by_key() {
    let refused = |config: serde_json::Value| TestInstance::<ContainerStop>::new(&config).err().unwrap();
    assert!(refused(json!({ "groups": [{ "name": "x" }] })).contains("groups[0]: needs names, labels or"));
}
