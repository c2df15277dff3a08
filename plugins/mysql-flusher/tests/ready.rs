//! The session that is logged in before the event, seen from the server's own list of sessions.

mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::TestInstance;
use mysql::prelude::Queryable;
use mysql_flusher::MysqlFlusher;
use serde_json::json;
use server::{MariaDb, PATIENCE, event, plugin, start_or_say};
use std::time::{Duration, Instant};

const PLENTY: Duration = Duration::from_secs(20);

/// An account that nobody but the plugin uses.
fn server_with_account() -> Option<MariaDb> {
    let server = start_or_say(&[])?;
    let mut root = server.root();
    root.query_drop("CREATE USER keeper@'%' IDENTIFIED BY 'keeper'").unwrap();
    root.query_drop("GRANT ALL ON *.* TO keeper@'%'").unwrap();
    Some(server)
}

fn flusher(server: &MariaDb) -> TestInstance<MysqlFlusher> {
    let light = json!({ "flush_dirty_pages": false, "dump_buffer_pool": false });
    plugin(&format!("keeper:keeper@tcp(127.0.0.1:{})/", server.port), &light)
}

/// Ids of the plugin's sessions that are logged in.
fn sessions(server: &MariaDb) -> Vec<u64> {
    server.root().query("SELECT id FROM information_schema.processlist WHERE user = 'keeper' ORDER BY id").unwrap()
}

/// Waits for sessions like these: the server lists one that has ended for a moment longer.
fn wait_for_sessions(server: &MariaDb, wanted: impl Fn(&[u64]) -> bool) -> Vec<u64> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = sessions(server);
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < until, "the sessions are {found:?}");
        std::thread::yield_now();
    }
}

/// Delivers a notice and gives what the report says about the connection.
fn connection_of_a_call(flusher: &TestInstance<MysqlFlusher>) -> String {
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    delivered.result.unwrap()["evidence"]["connection"].as_str().unwrap().to_owned()
}

#[test]
fn the_session_of_a_call_was_there_before_it_and_stays() {
    let Some(server) = server_with_account() else { return };
    let flusher = flusher(&server);
    let before = sessions(&server);
    assert_eq!(before.len(), 1);
    for _ in 0..2 {
        assert_eq!(connection_of_a_call(&flusher), "kept");
        assert_eq!(sessions(&server), before);
    }
    assert_eq!(flusher.verify(&event("cloud.spot.interrupt"), PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(sessions(&server), before);
}

#[test]
fn a_session_that_the_server_ended_is_replaced_within_the_call() {
    let Some(server) = server_with_account() else { return };
    let flusher = flusher(&server);
    let before = sessions(&server);
    server.root().query_drop(format!("KILL {}", before[0])).unwrap();
    assert_eq!(connection_of_a_call(&flusher), "fresh");
    let after = wait_for_sessions(&server, |now| now.len() == 1 && now != before);
    assert_eq!(connection_of_a_call(&flusher), "kept");
    assert_eq!(sessions(&server), after);
}

#[test]
fn a_server_that_is_down_when_activated_is_logged_in_to_without_an_event() {
    let Some(mut server) = server_with_account() else { return };
    server.kill();
    let flusher = flusher(&server);
    assert!(flusher.log()[0].contains("cannot connect"), "{:?}", flusher.log());
    server.start_again();
    wait_for_sessions(&server, |now| now.len() == 1);
}
