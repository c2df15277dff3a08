//! Waiting for a real replica and for the archive: those that come, and those that do not.

mod server;

use cloudsnooze_plugin::abi;
use serde_json::json;
use server::{PATIENCE, PLENTY, event, start_or_say};
use std::time::{Duration, Instant};

/// Little is written unless a test wants it.
const QUIET: &str = "autovacuum = off\ncheckpoint_timeout = 1h\n";

#[test]
fn a_replica_that_is_behind_fails_the_notice_and_one_that_has_everything_does_not() {
    let Some(server) = start_or_say(QUIET) else { return };
    server.make_shop();
    let replica = server.replica("second");
    let until = Instant::now() + PATIENCE;
    while server.ask("SELECT state FROM pg_stat_replication") != "streaming" {
        assert!(Instant::now() < until, "the replica does not stream");
    }
    replica.freeze_only("walreceiver");
    server.order_many(1, 10_000);
    let flusher = server.plugin(&json!({ "wait_for_replicas": ["second"], "wait_for_replica_count": 1 }));
    let notice = event("cloud.spot.interrupt");
    let behind = flusher.deliver(&notice, Duration::from_secs(3));
    assert_eq!(behind.status, abi::SNOOZE_E_IO, "{behind:?}");
    assert_eq!(behind.result.as_ref().unwrap()["durable"], "yes", "{behind:?}");
    assert!(behind.error.as_ref().unwrap().contains("replica second is "), "{behind:?}");

    replica.thaw();
    let delivered = flusher.deliver(&notice, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert!(result["steps"].to_string().contains("wait_for_replicas"), "{result}");
    let goal = result["evidence"]["replicas"]["goal_lsn"].as_u64().unwrap();
    assert!(replica.number("pg_last_wal_receive_lsn() - '0/0'") >= goal, "{result}");

    // The replica itself can be told to be safe too: it writes nothing, and has flushed what it received.
    let on_replica = replica.plugin(&json!({ "read_only": true, "checkpoint": false })).deliver(&notice, PLENTY);
    assert_eq!(on_replica.status, abi::SNOOZE_OK, "{on_replica:?}");
    assert_eq!(on_replica.result.unwrap()["evidence"]["before"]["in_recovery"], true);
}

#[test]
fn a_replica_that_is_not_there_is_named() {
    let Some(server) = start_or_say(QUIET) else { return };
    let flusher = server.plugin(&json!({ "wait_for_replicas": ["nobody"] }));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(1));
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("replica nobody is not connected"));
}

#[test]
fn the_segment_with_the_last_row_is_in_the_archive() {
    let archive = tempfile::tempdir().unwrap();
    std::fs::set_permissions(archive.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let command = format!("archive_mode = on\narchive_command = 'cp %p {}/%f'\n", archive.path().display());
    let Some(server) = start_or_say(&format!("{QUIET}{command}")) else { return };
    server.make_shop();
    assert_eq!(server.order(1, 3), 3);
    let last = server.ask("SELECT pg_walfile_name(pg_current_wal_lsn())");
    assert!(!archive.path().join(&last).exists());
    let flusher = server.plugin(&json!({ "archive_wal": true }));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert!(result["steps"].to_string().contains("archive_wal"), "{result}");
    assert!(archive.path().join(&last).exists(), "{result}");
}

#[test]
fn an_archive_that_takes_nothing_fails_the_notice() {
    let Some(server) = start_or_say(&format!("{QUIET}archive_mode = on\narchive_command = 'false'\n")) else { return };
    server.make_shop();
    let flusher = server.plugin(&json!({ "archive_wal": true }));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(4));
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    let error = delivered.error.unwrap();
    assert!(error.contains("the archive lacks a part of the log") && error.contains("was not archived"), "{error}");
    assert_eq!(delivered.result.unwrap()["durable"], "yes");
}
