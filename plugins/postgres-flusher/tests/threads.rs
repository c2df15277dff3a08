//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod server;

use cloudsnooze_plugin::testing::{threads, threads_left};
use serde_json::json;
use server::{PATIENCE, plugin, start_or_say};
use std::time::Instant;

#[test]
fn deactivating_leaves_no_thread_and_no_session_whether_the_server_answers_or_not() {
    let Some(server) = start_or_say("") else { return };
    let connected = server.plugin(&json!({}));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let waiting = plugin(&format!("host=127.0.0.1 port={port} user=u"), &json!({}));
    let sessions = || server.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cloudsnooze'");
    assert_eq!((threads("keep-"), sessions()), (2, 1));
    drop((connected, waiting));
    assert_eq!(threads_left("keep-", PATIENCE), 0);
    // The server lists a session that has ended for a moment longer.
    let until = Instant::now() + PATIENCE;
    while sessions() > 0 {
        assert!(Instant::now() < until, "a session is left");
    }
}
