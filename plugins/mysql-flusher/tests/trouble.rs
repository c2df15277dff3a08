//! Servers that are down, frozen, or were restarted behind the plugin's back.

mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use mysql::prelude::Queryable;
use serde_json::json;
use server::{event, plugin, start_or_say};
use std::time::{Duration, Instant};

#[test]
fn a_server_that_is_down_is_a_warning_ahead_and_a_clear_failure_in_the_event() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nobody");
    let flusher = plugin(&format!("root:secret-word@unix({})/", socket.display()), &json!({}));
    assert!(flusher.log()[0].contains("cannot connect"), "{:?}", flusher.log());
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(20));
    assert_eq!(delivered.status, abi::SNOOZE_E_IO);
    let error = delivered.error.unwrap();
    assert!(error.contains(&socket.display().to_string()) && error.contains("No such file"), "{error}");
    assert!(!format!("{error} {:?}", flusher.log()).contains("secret-word"));
}

#[test]
fn a_password_that_is_wrong_is_not_shown() {
    let Some(server) = start_or_say(&[]) else { return };
    server.make_shop();
    let flusher = plugin(&format!("app:secret-word@tcp(127.0.0.1:{})/", server.port), &json!({}));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(20));
    assert_eq!(delivered.status, abi::SNOOZE_E_DENIED, "{delivered:?}");
    assert!(delivered.error.as_ref().unwrap().contains("Access denied"), "{delivered:?}");
    assert!(!format!("{delivered:?} {:?}", flusher.log()).contains("secret-word"));
}

#[test]
fn a_frozen_server_does_not_hold_the_call_beyond_its_deadline() {
    let Some(server) = start_or_say(&[]) else { return };
    let connected = server.plugin(&json!({ "connect_timeout_ms": 60_000 }));
    server.freeze();
    let left = Duration::from_secs(2);
    let began = Instant::now();
    let delivered = connected.deliver(&event("cloud.spot.interrupt"), left);
    assert!(began.elapsed() <= left, "{:?}", began.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_E_DEADLINE, "{delivered:?}");

    let began = Instant::now();
    let late = server.plugin(&json!({ "connect_timeout_ms": 300 }));
    let delivered = late.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(20));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("did not answer in time"));

    server.thaw();
    assert_eq!(connected.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(20)).status, abi::SNOOZE_OK);
}

#[test]
fn a_connection_that_went_stale_is_replaced_within_the_call() {
    let Some(mut server) = start_or_say(&[]) else { return };
    let flusher = server.plugin(&json!({}));
    assert!(flusher.log().is_empty(), "it was to be connected ahead: {:?}", flusher.log());
    server.kill();
    server.start_again();
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(20));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(server.ask("SELECT @@read_only"), "1");
}

#[test]
fn a_connection_opened_ahead_serves_a_server_that_takes_no_more() {
    let Some(server) = start_or_say(&["--max-connections=10"]) else { return };
    server.make_shop();
    let mut root = server.root();
    root.query_drop("CREATE USER one@'%' IDENTIFIED BY 'one'").unwrap();
    root.query_drop("GRANT READ_ONLY ADMIN, RELOAD ON *.* TO one@'%'").unwrap();
    let flusher = plugin(&format!("one:one@tcp(127.0.0.1:{})/", server.port), &json!({}));
    let crowd: Vec<_> = (0..20).map_while(|_| server.account("app", "app").ok()).collect();
    assert!(server.account("app", "app").is_err(), "{} connections were not the limit", crowd.len());
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(20));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
}

#[test]
fn a_cancelled_call_begins_no_step() {
    let Some(server) = start_or_say(&[]) else { return };
    let flusher = server.plugin(&json!({ "shutdown": true }));
    let cancel = Canceller::default();
    cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
    let delivered = flusher.deliver_cancellable(&event("cloud.spot.interrupt"), Duration::from_secs(20), &cancel);
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    assert_eq!(server.ask("SELECT @@read_only"), "0");
}
