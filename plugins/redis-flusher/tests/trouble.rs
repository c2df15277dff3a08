//! Servers that are down, frozen, or were restarted behind the plugin's back.

mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use serde_json::json;
use server::{MEMORY_ONLY, PLENTY, event, plugin, start_or_say};
use std::time::{Duration, Instant};

#[test]
fn a_server_that_is_down_is_a_warning_ahead_and_a_clear_failure_in_the_event() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nobody");
    let flusher = plugin(&format!("unix://{}?user=u&pass=secret-word", socket.display()), &json!({}));
    assert!(flusher.log()[0].contains("cannot connect"), "{:?}", flusher.log());
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_IO);
    let error = delivered.error.unwrap();
    assert!(error.contains(&socket.display().to_string()) && error.contains("No such file"), "{error}");
    assert!(!format!("{error} {:?}", flusher.log()).contains("secret-word"));
}

#[test]
fn a_password_that_is_wrong_is_not_shown() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    server.make_account();
    let flusher = plugin(&format!("redis://snooze:another-word@127.0.0.1:{}", server.port()), &json!({}));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_DENIED, "{delivered:?}");
    assert!(delivered.error.as_ref().unwrap().contains("password is wrong"), "{delivered:?}");
    assert!(!format!("{delivered:?} {:?}", flusher.log()).contains("another-word"));
}

#[test]
fn a_frozen_server_does_not_hold_the_call_beyond_its_deadline() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    let connected = server.plugin(&json!({ "connect_timeout_ms": 60_000 }));
    server.freeze();
    let left = Duration::from_secs(2);
    let began = Instant::now();
    let delivered = connected.deliver(&event("cloud.spot.interrupt"), left);
    assert!(began.elapsed() <= left, "{:?}", began.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_E_DEADLINE, "{delivered:?}");

    let began = Instant::now();
    let late = server.plugin(&json!({ "connect_timeout_ms": 300 }));
    let delivered = late.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("did not answer in time"));

    server.thaw();
    assert_eq!(connected.deliver(&event("cloud.spot.interrupt"), PLENTY).status, abi::SNOOZE_OK);
}

#[test]
fn a_connection_that_went_stale_is_replaced_within_the_call_and_a_good_one_is_kept() {
    let Some(mut server) = start_or_say(&MEMORY_ONLY) else { return };
    let flusher = server.plugin(&json!({}));
    assert!(flusher.log().is_empty(), "it was to be connected ahead: {:?}", flusher.log());
    let connection = || {
        let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
        assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
        delivered.result.unwrap()["evidence"]["connection"].as_str().unwrap().to_owned()
    };
    assert_eq!((connection().as_str(), connection().as_str()), ("kept", "kept"));
    server.kill();
    server.start_again();
    assert_eq!((connection().as_str(), connection().as_str()), ("fresh", "kept"));
}

#[test]
fn a_cancelled_call_begins_no_step() {
    let Some(mut server) = start_or_say(&MEMORY_ONLY) else { return };
    let flusher = server.plugin(&json!({ "shutdown": true }));
    let cancel = Canceller::default();
    cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
    let delivered = flusher.deliver_cancellable(&event("cloud.spot.interrupt"), PLENTY, &cancel);
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    assert_eq!(server.try_to_write("key:1").unwrap(), "OK");
    assert!(!server.has_ended());
}

#[test]
fn a_call_that_is_cancelled_while_it_waits_ends_at_once_and_can_be_undone() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    let flusher = server.plugin(&json!({ "wait_for_replica_count": 1, "save": false }));
    let cancel = Canceller::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It waits for a replica once it has made writers wait.
            let until = Instant::now() + PLENTY / 4;
            while server.try_to_write("key:1").is_ok() && Instant::now() < until {}
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
        });
        let began = Instant::now();
        let delivered = flusher.deliver_cancellable(&event("cloud.spot.interrupt"), PLENTY, &cancel);
        assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
        assert!(began.elapsed() < PLENTY / 4, "{:?}", began.elapsed());
    });
    assert_eq!(flusher.deliver(&event("cloud.spot.interrupt.cancelled"), PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(server.try_to_write("key:2").unwrap(), "OK");
}
