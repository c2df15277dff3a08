//! The orderly shutdown: the process is gone, and the next start has nothing to recover.

mod server;

use cloudsnooze_plugin::abi;
use mysql::prelude::Queryable;
use serde_json::json;
use server::{event, start_or_say};
use std::time::Duration;

const RECOVERY: &str = "Starting crash recovery";

#[test]
fn an_orderly_shutdown_leaves_nothing_to_recover_and_is_verified() {
    let Some(mut server) = start_or_say(&["--innodb-flush-log-at-trx-commit=0"]) else { return };
    server.make_shop();
    server.order(1, 20_000);
    let flusher = server.plugin(&json!({ "shutdown": true }));
    let notice = event("cloud.spot.interrupt");
    let delivered = flusher.deliver(&notice, Duration::from_secs(60));
    assert!(server.has_ended(), "the call returned before the server's process was gone");
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["action"], "shut-down");
    assert_eq!(result["evidence"]["server_exit"], "orderly", "{result}");
    assert_eq!(flusher.verify(&notice, Duration::from_secs(5)).status, abi::SNOOZE_OK);
    assert!(server.log().contains("Shutdown complete"));
    assert!(server.wait_for_end().success());

    server.start_again();
    assert!(!server.log().contains(RECOVERY), "{}", server.log());
    assert_eq!(server.ask("SELECT COUNT(*) FROM shop.orders"), "20000");
    assert_eq!(flusher.verify(&notice, Duration::from_secs(5)).status, abi::SNOOZE_E_STATE, "it runs again");

    // The same server after a crash, to show that the line would have been there.
    server.root().query_drop("SET GLOBAL innodb_flush_log_at_trx_commit=1").unwrap();
    server.order(30_000, 1);
    server.kill();
    server.start_again();
    assert!(server.log().contains(RECOVERY), "{}", server.log());
}

#[test]
fn without_time_for_it_the_server_stays_up() {
    let Some(server) = start_or_say(&[]) else { return };
    let flusher = server.plugin(&json!({ "shutdown": true, "dump_buffer_pool": false, "flush_dirty_pages": false }));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_millis(900));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert!(delivered.result.unwrap()["skipped"].to_string().contains("were left for it"));
    assert_eq!(server.ask("SELECT @@read_only"), "1");
}
