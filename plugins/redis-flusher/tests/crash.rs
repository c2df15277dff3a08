//! What survives a crash: with the plugin everything that was acknowledged, without it nothing.

mod server;

use cloudsnooze_plugin::abi;
use serde_json::json;
use server::{MEMORY_ONLY, PLENTY, Redis, event, start_or_say};

const KEYS: usize = 300;

fn server_with_keys() -> Option<Redis> {
    let server = start_or_say(&MEMORY_ONLY)?;
    server.make_account();
    server.write(1, KEYS);
    assert!(server.info("rdb_changes_since_last_save") >= 300);
    Some(server)
}

fn keys_after_a_crash(server: &mut Redis) -> usize {
    server.kill();
    server.start_again();
    server.keys()
}

#[test]
fn no_acknowledged_write_is_lost_by_a_server_that_keeps_everything_in_memory() {
    let Some(mut server) = server_with_keys() else { return };
    let flusher = server.modest_plugin(&json!({}));
    let notice = event("cloud.spot.interrupt");
    let delivered = flusher.deliver(&notice, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["durable"], "yes", "{result}");
    assert_eq!(result["steps"], json!(["pause_writes", "save"]), "{result}");
    assert!(result["evidence"]["before"]["changes_since_last_save"].as_u64().unwrap() >= 300, "{result}");
    assert_eq!(result["evidence"]["after"]["changes_since_last_save"], 0, "{result}");
    // Who writes now waits, so that nothing is acknowledged that would be lost.
    assert!(server.try_to_write("key:late").unwrap_err().is_timeout());
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(keys_after_a_crash(&mut server), KEYS);
}

#[test]
fn without_the_plugin_everything_is_lost() {
    let Some(mut server) = server_with_keys() else { return };
    assert_eq!(keys_after_a_crash(&mut server), 0, "then the other test of this file proves nothing");
}

#[test]
fn a_save_that_cannot_fit_is_not_begun_and_the_notice_is_not_called_handled() {
    let Some(mut server) = server_with_keys() else { return };
    // Memory that would take 10 s and more at this rate.
    server.ask::<String>(&["SET", "big", &"x".repeat(10_000_000)]);
    let flusher = server.plugin(&json!({ "save_mb_per_second": 1 }));
    let left = std::time::Duration::from_secs(5);
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), left);
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(delivered.error.as_ref().unwrap().contains("were left for it"), "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["durable"], "no");
    assert_eq!(server.info("rdb_bgsave_in_progress"), 0);
    assert_eq!(flusher.deliver(&event("cloud.spot.rebalance"), left).status, abi::SNOOZE_SKIPPED);
    assert_eq!(keys_after_a_crash(&mut server), 0, "it was begun");
}
