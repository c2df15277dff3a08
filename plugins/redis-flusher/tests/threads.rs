//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod server;

use cloudsnooze_plugin::testing::{threads, threads_left};
use serde_json::json;
use server::{MEMORY_ONLY, PATIENCE, plugin, start_or_say};
use std::time::Instant;

#[test]
fn deactivating_leaves_no_thread_and_no_connection_whether_the_server_answers_or_not() {
    let Some(server) = start_or_say(&MEMORY_ONLY) else { return };
    let connected = server.plugin(&json!({}));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let waiting = plugin(&format!("redis://127.0.0.1:{port}"), &json!({}));
    // The one that asks is one of them.
    assert_eq!((threads("keep-"), server.info("connected_clients")), (2, 2));
    drop((connected, waiting));
    assert_eq!(threads_left("keep-", PATIENCE), 0);
    let until = Instant::now() + PATIENCE;
    while server.info("connected_clients") > 1 {
        assert!(Instant::now() < until, "a connection is left");
    }
}
