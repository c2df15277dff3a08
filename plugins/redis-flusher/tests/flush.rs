//! What the plugin does to a real server, and what it undoes: judged by the server's own numbers.

mod server;

use cloudsnooze_plugin::abi;
use serde_json::json;
use server::{MEMORY_ONLY, PATIENCE, PLENTY, event, start_or_say};
use std::time::{Duration, Instant};

const APPEND_ONLY: [&str; 8] =
    ["--save", "", "--appendonly", "yes", "--appendfsync", "no", "--no-appendfsync-on-rewrite", "yes"];

#[test]
fn a_withdrawn_notice_lets_writers_go_on() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    server.write(1, 10);
    let flusher = server.plugin(&json!({}));
    assert_eq!(flusher.deliver(&event("cloud.spot.interrupt"), PLENTY).status, abi::SNOOZE_OK);
    assert!(server.try_to_write("key:late").unwrap_err().is_timeout());
    let withdrawn = event("cloud.spot.interrupt.cancelled");
    let undone = flusher.deliver(&withdrawn, PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    assert_eq!(undone.result.unwrap()["restored"][0]["setting"], "pause_writes");
    assert_eq!(server.try_to_write("key:later").unwrap(), "OK");
    assert_eq!(flusher.verify(&withdrawn, PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(flusher.deliver(&withdrawn, PLENTY).status, abi::SNOOZE_SKIPPED, "there is nothing left to undo");
}

#[test]
fn writers_that_are_let_go_by_someone_else_fail_the_verification() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    server.write(1, 10);
    let flusher = server.plugin(&json!({}));
    let notice = event("cloud.instance.terminate");
    assert_eq!(flusher.deliver(&notice, PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_OK);
    server.ask::<String>(&["CLIENT", "UNPAUSE"]);
    assert_eq!(server.try_to_write("key:late").unwrap(), "OK");
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_E_STATE);
}

#[test]
fn an_append_only_file_is_synced_with_every_write_from_the_notice_on_and_its_withdrawal_undoes_that() {
    let Some(server) = start_or_say(&APPEND_ONLY) else { return };
    server.make_account();
    server.write(1, 10);
    let flusher = server.modest_plugin(&json!({}));
    let notice = event("cloud.spot.interrupt");
    let delivered = flusher.deliver(&notice, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["steps"], json!(["sync_append_only_file", "pause_writes"]), "{result}");
    assert_eq!(result["durable"], "yes");
    assert_eq!(server.setting("appendfsync"), "always");
    assert_eq!(server.setting("no-appendfsync-on-rewrite"), "no");
    assert_eq!(server.ask::<String>(&["GET", "cloudsnooze:fence"]), "a notice came");
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(flusher.deliver(&event("cloud.spot.rebalance"), PLENTY).status, abi::SNOOZE_SKIPPED);

    let withdrawn = event("cloud.spot.interrupt.cancelled");
    let undone = flusher.deliver(&withdrawn, PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    assert_eq!(server.setting("appendfsync"), "no");
    assert_eq!(server.setting("no-appendfsync-on-rewrite"), "yes");
    assert_eq!(server.try_to_write("key:late").unwrap(), "OK");
    assert_eq!(flusher.verify(&withdrawn, PLENTY).status, abi::SNOOZE_OK);
}

#[test]
fn what_others_set_is_not_undone() {
    let Some(server) = start_or_say(&APPEND_ONLY) else { return };
    let flusher = server.plugin(&json!({ "pause_writes": false }));
    assert_eq!(flusher.deliver(&event("cloud.spot.interrupt"), PLENTY).status, abi::SNOOZE_OK);
    server.ask::<String>(&["CONFIG", "SET", "appendfsync", "everysec"]);
    let undone = flusher.deliver(&event("cloud.spot.interrupt.cancelled"), PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    assert_eq!(server.setting("appendfsync"), "everysec");
    assert_eq!(server.setting("no-appendfsync-on-rewrite"), "yes");
    assert!(undone.result.unwrap()["skipped"].to_string().contains("someone else changed it"));
}

#[test]
fn a_rebalance_saves_and_leaves_no_trace() {
    let Some(mut server) = start_or_say(&MEMORY_ONLY) else { return };
    server.write(1, 50);
    let flusher = server.plugin(&json!({}));
    let rebalance = event("cloud.spot.rebalance");
    let delivered = flusher.deliver(&rebalance, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["steps"], json!(["save"]));
    assert_eq!(server.try_to_write("key:late").unwrap(), "OK");
    assert_eq!(flusher.verify(&rebalance, PLENTY).status, abi::SNOOZE_OK);
    server.kill();
    server.start_again();
    assert_eq!(server.keys(), 50);
}

#[test]
fn a_right_that_is_missing_is_named() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    server.make_account();
    server.ask::<String>(&["ACL", "SETUSER", "snooze", "-bgsave"]);
    server.write(1, 10);
    let flusher = server.modest_plugin(&json!({}));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_DENIED, "{delivered:?}");
    assert!(delivered.error.as_ref().unwrap().contains("the account's ACL needs +bgsave"), "{delivered:?}");
    assert!(!format!("{delivered:?}").contains("secret-word"));
}

#[test]
fn a_server_that_cannot_save_is_not_called_safe() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    server.write(1, 10);
    // A directory is where the file would go.
    std::fs::create_dir(server.directory().join("dump.rdb")).unwrap();
    let flusher = server.plugin(&json!({}));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(delivered.error.as_ref().unwrap().contains("could not save"), "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["durable"], "no");
}

#[test]
fn replicas_that_have_everything_stand_in_for_the_disk_and_those_that_do_not_fail_the_notice() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    let replica = start_or_say(&MEMORY_ONLY).unwrap();
    replica.ask::<String>(&["REPLICAOF", "127.0.0.1", &server.port().to_string()]);
    let until = Instant::now() + PATIENCE;
    while !server.ask::<redis::InfoDict>(&["INFO"]).get::<String>("slave0").is_some_and(|line| line.contains("online"))
    {
        assert!(Instant::now() < until, "the replica does not come");
    }
    replica.freeze();
    server.write(1, 100);
    let flusher = server.plugin(&json!({ "save": false, "wait_for_replica_count": 1 }));
    let behind = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(3));
    assert_eq!(behind.status, abi::SNOOZE_E_IO, "{behind:?}");
    assert!(behind.error.as_ref().unwrap().contains("0 of 1 replicas have everything"), "{behind:?}");

    replica.thaw();
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["durable"], "replicas", "{result}");
    assert_eq!(replica.keys(), 100);
    assert_eq!(flusher.verify(&event("cloud.spot.interrupt"), PLENTY).status, abi::SNOOZE_OK);
}

#[test]
fn a_shutdown_leaves_everything_on_the_disk_and_is_verified() {
    let Some(mut server) = start_or_say(&MEMORY_ONLY) else { return };
    server.write(1, 100);
    let flusher = server.plugin(&json!({ "shutdown": true }));
    let notice = event("cloud.spot.interrupt");
    let delivered = flusher.deliver(&notice, PLENTY);
    assert!(server.has_ended(), "the call returned before the server's process was gone: {delivered:?}");
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["evidence"]["server_exit"], "ended");
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_OK);
    server.start_again();
    assert_eq!(server.keys(), 100);
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_E_STATE, "it runs again");

    // Without a save before, the shutdown saves.
    server.write(101, 100);
    let only = server.plugin(&json!({ "shutdown": true, "save": false }));
    let delivered = only.deliver(&notice, PLENTY);
    assert!(server.has_ended(), "{delivered:?}");
    server.start_again();
    assert_eq!(server.keys(), 200);
}
