//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod server;

use cloudsnooze_plugin::testing::{threads, threads_left};
use mysql::prelude::Queryable;
use serde_json::json;
use server::{PATIENCE, plugin, start_or_say};
use std::time::Instant;

#[test]
fn deactivating_leaves_no_thread_and_no_session_whether_the_server_answers_or_not() {
    let Some(server) = start_or_say(&[]) else { return };
    let connected = server.plugin(&json!({}));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let waiting = plugin(&format!("u@tcp(127.0.0.1:{port})/"), &json!({}));
    assert_eq!(threads("keep-"), 2);
    drop((connected, waiting));
    assert_eq!(threads_left("keep-", PATIENCE), 0);
    // The server lists a session that has ended for a moment longer.
    let (mut root, until) = (server.root(), Instant::now() + PATIENCE);
    while root.query::<u64, _>("SELECT id FROM information_schema.processlist WHERE user = 'root'").unwrap().len() > 1 {
        assert!(Instant::now() < until, "a session is left");
        std::thread::yield_now();
    }
}
