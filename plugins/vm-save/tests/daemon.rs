//! A real notice, read by the real daemon, saves a real guest; the report says so, and the guest goes on elsewhere.

mod guest;

use fake_metadata::{Action, FakeMetadata, Options};
use guest::{Ground, PATIENCE, Start, must_follow, to_file};
use harness::daemon::DaemonBuilder;
use harness::paths;
use serde_json::{Value, json};
use std::time::Duration;

/// Has a guest saved by a daemon whose handler is set up like this, and started again.
fn saved_through_the_daemon(ground: &Ground, more: &Value) {
    let mut guest = ground.counting("vm");
    let fake = FakeMetadata::start(Options::default()).unwrap();
    let config = json!({ "vms": [to_file(ground, "vm", json!({}))] });
    let mut handler = json!({ "name": "vm-save", "timeout_seconds": 60, "config": config });
    handler.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let watched = json!({ "polling_interval_seconds": 0.1, "plugins": [handler] });
    let daemon = DaemonBuilder::new(paths::bin_dir().unwrap())
        .config(json!({ "event_handlers": { "cloud.spot.interrupt": watched } }))
        .endpoint(fake.base_url())
        .start()
        .unwrap();
    let seen = guest.counts_on(5);
    fake.notice(Action::Terminate, Duration::from_secs(120));
    let report = daemon.report_of("cloud.spot.interrupt", PATIENCE).unwrap();
    let handler = &report["handlers"][0];
    assert_eq!((&handler["status"], &handler["verified"]), (&json!("handled"), &json!("yes")), "{report:#}");
    let machine = &handler["result"]["machines"][0];
    assert_eq!((&machine["outcome"], &handler["result"]["durable"]), (&json!("saved"), &json!("yes")), "{report:#}");
    guest.wait_for_end();
    let counted = ground.counted("vm").len();
    let next = ground.start("vm", &Start::Incoming(ground.path("vm.state")));
    next.becomes("paused");
    next.execute("cont", Value::Null);
    next.counts_on(5);
    assert!(ground.counted("vm")[counted] > seen);
    must_follow(&ground.counted("vm"));
}

#[test]
fn a_notice_of_the_cloud_saves_the_guest_and_the_report_proves_it() {
    let Some(ground) = Ground::lay("a_notice_of_the_cloud_saves_the_guest", 64, 32, "raw") else { return };
    saved_through_the_daemon(&ground, &json!({}));
}

#[test]
fn so_does_one_in_a_process_of_its_own_that_may_write_to_one_directory() {
    let Some(ground) = Ground::lay("so_does_one_in_a_process_of_its_own", 64, 32, "raw") else { return };
    saved_through_the_daemon(&ground, &json!({ "isolation": "process", "writable_directories": [ground.path("")] }));
}
