//! The orderly shutdown: the process is gone, and the next start has nothing to recover.

mod server;

use cloudsnooze_plugin::abi;
use serde_json::json;
use server::{PLENTY, event, start_or_say};
use std::process::Stdio;
use std::time::Duration;

const RECOVERY: &str = "was not properly shut down";

#[test]
fn an_orderly_shutdown_leaves_nothing_to_recover_and_is_verified() {
    let Some(mut server) = start_or_say("autovacuum = off\n") else { return };
    server.make_shop();
    server.order_many(1, 20_000);
    // A client that does not go by itself; the other two ways of shutting down would wait for it, or crash.
    let mut psql = server.psql("app");
    let mut client = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let flusher = server.plugin(&json!({ "shutdown": true, "read_only": true }));
    let notice = event("cloud.spot.interrupt");
    let delivered = flusher.deliver(&notice, PLENTY);
    assert!(server.has_ended(), "the call returned before the server's process was gone: {delivered:?}");
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["action"], "shut-down");
    assert_eq!(result["evidence"]["server_exit"], "orderly", "{result}");
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_OK);
    client.kill().unwrap();
    client.wait().unwrap();

    server.start_again();
    assert!(!server.log().contains(RECOVERY), "{}", server.log());
    assert_eq!(server.rows(), 20_000);
    assert_eq!(server.order(30_000, 1), 1, "the next start must be writable");
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_E_STATE, "it runs again");

    // The same server after a crash, to show that the line would have been there.
    server.kill();
    server.start_again();
    assert!(server.log().contains(RECOVERY), "{}", server.log());
}

#[test]
fn without_time_for_it_the_server_stays_up() {
    let Some(mut server) = start_or_say("") else { return };
    let flusher = server.plugin(&json!({ "shutdown": true, "checkpoint": false }));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_millis(900));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert!(delivered.result.unwrap()["skipped"].to_string().contains("were left for it"));
    assert!(!server.has_ended());
}
