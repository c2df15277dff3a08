//! Servers that are down, frozen, or were restarted behind the plugin's back.

mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use serde_json::json;
use server::{PATIENCE, PLENTY, event, plugin, start_or_say};
use std::time::{Duration, Instant};

#[test]
fn a_server_that_is_down_is_a_warning_ahead_and_a_clear_failure_in_the_event() {
    let dir = tempfile::tempdir().unwrap();
    let login = format!("host={} user=u password=secret-word", dir.path().display());
    let flusher = plugin(&login, &json!({}));
    assert!(flusher.log()[0].contains("cannot connect"), "{:?}", flusher.log());
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_IO);
    let error = delivered.error.unwrap();
    assert!(error.contains(&dir.path().display().to_string()) && error.contains("No such file"), "{error}");
    assert!(!format!("{error} {:?}", flusher.log()).contains("secret-word"));
}

#[test]
fn a_password_that_is_wrong_is_not_shown() {
    let Some(server) = start_or_say("") else { return };
    server.make_shop();
    let flusher = plugin(&format!("postgresql://snooze:another-word@127.0.0.1:{}/postgres", server.port()), &json!({}));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_DENIED, "{delivered:?}");
    assert!(delivered.error.as_ref().unwrap().contains("password authentication failed"), "{delivered:?}");
    assert!(!format!("{delivered:?} {:?}", flusher.log()).contains("another-word"));
}

#[test]
fn a_frozen_server_does_not_hold_the_call_beyond_its_deadline() {
    let Some(server) = start_or_say("") else { return };
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
fn a_checkpoint_that_hangs_is_given_up_in_its_part_of_the_time_and_the_log_is_saved() {
    let Some(server) = start_or_say("") else { return };
    server.freeze_only("checkpointer");
    let flusher = server.plugin(&json!({}));
    let left = Duration::from_secs(3);
    let began = Instant::now();
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), left);
    assert!(began.elapsed() <= left, "{:?}", began.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["durable"], "yes", "{result}");
    assert!(result["skipped"].to_string().contains("its part of the time was over"), "{result}");
    assert_eq!(
        server.number("SELECT count(*) FROM pg_stat_activity WHERE query = 'CHECKPOINT' AND state = 'active'"),
        0
    );
    server.thaw();
}

#[test]
fn a_session_that_the_server_ended_is_replaced_within_the_call_and_a_good_one_is_kept() {
    let Some(mut server) = start_or_say("") else { return };
    let flusher = server.plugin(&json!({ "checkpoint": false }));
    assert!(flusher.log().is_empty(), "it was to be connected ahead: {:?}", flusher.log());
    let connection = || {
        let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
        assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
        delivered.result.unwrap()["evidence"]["connection"].as_str().unwrap().to_owned()
    };
    assert_eq!(connection(), "kept");
    server.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cloudsnooze'");
    let sessions = |server: &server::Postgres| {
        server.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cloudsnooze'")
    };
    let until = Instant::now() + PATIENCE;
    while sessions(&server) > 0 {
        assert!(Instant::now() < until, "the session does not end");
    }
    assert_eq!(connection(), "fresh");
    assert_eq!(connection(), "kept");
    server.kill();
    server.start_again();
    assert_eq!(connection(), "fresh");
}

#[test]
fn a_cancelled_call_begins_no_step() {
    let Some(mut server) = start_or_say("") else { return };
    let flusher = server.plugin(&json!({ "shutdown": true, "read_only": true }));
    let cancel = Canceller::default();
    cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
    let delivered = flusher.deliver_cancellable(&event("cloud.spot.interrupt"), PLENTY, &cancel);
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    assert_eq!(server.ask("SHOW default_transaction_read_only"), "off");
    assert!(!server.has_ended());
}

#[test]
fn a_call_that_is_cancelled_in_the_middle_ends_at_once_and_leaves_no_setting_on_the_disk() {
    let Some(server) = start_or_say("") else { return };
    server.freeze_only("checkpointer");
    let file = server.auto_file();
    let flusher = server.plugin(&json!({ "read_only": true }));
    let cancel = Canceller::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + PATIENCE;
            let asks = "SELECT count(*) FROM pg_stat_activity WHERE query = 'CHECKPOINT' AND state = 'active'";
            while server.number(asks) == 0 {
                assert!(Instant::now() < until, "no checkpoint is asked for");
            }
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
        });
        let began = Instant::now();
        let delivered = flusher.deliver_cancellable(&event("cloud.spot.interrupt"), PATIENCE, &cancel);
        assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    });
    assert_eq!(server.auto_file(), file);
    server.thaw();
    let undone = flusher.deliver(&event("cloud.spot.interrupt.cancelled"), PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    assert_eq!(server.ask("SHOW default_transaction_read_only"), "off");
}
