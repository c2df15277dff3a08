//! What survives a crash: with the plugin everything that was acknowledged, and the server's own numbers tell the difference.

mod server;

use cloudsnooze_plugin::abi;
use serde_json::json;
use server::{LAZY, PLENTY, Postgres, event, start_or_say};

const ROWS: usize = 200;

/// Acknowledged rows of which the server says that their log is not on the disk, and nothing that would bring it there.
fn lazy_server_with_rows() -> Option<Postgres> {
    let server = start_or_say(LAZY)?;
    server.make_shop();
    server.ask("CHECKPOINT");
    server.freeze_only("walwriter");
    assert_eq!(server.order(1, ROWS), ROWS);
    let (inserted, flushed) = server.wal();
    assert!(flushed < inserted, "the log was flushed anyway");
    Some(server)
}

fn rows_after_a_crash(server: &mut Postgres) -> usize {
    server.kill();
    server.start_again();
    server.rows()
}

#[test]
fn no_acknowledged_row_is_lost_when_commits_do_not_wait_for_the_disk() {
    let Some(mut server) = lazy_server_with_rows() else { return };
    let (goal, _) = server.wal();
    // Only the step that counts here: a checkpoint would flush the log along the way.
    let flusher = server.plugin(&json!({ "checkpoint": false }));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["evidence"]["before"]["synchronous_commit"], "off", "{result}");
    assert!(result["evidence"]["before"]["wal_flushed"].as_u64().unwrap() < goal, "{result}");
    assert!(result["evidence"]["after"]["wal_flushed"].as_u64().unwrap() >= goal, "{result}");
    assert!(server.wal().1 >= goal);
    // Rows that come after the event wait for the disk one by one.
    assert_eq!(server.order(ROWS + 1, ROWS), ROWS);
    assert_eq!(rows_after_a_crash(&mut server), 2 * ROWS);
    assert_eq!(server.ask("SHOW synchronous_commit"), "off", "the next start is as its owner wants it");
}

#[test]
fn no_acknowledged_row_is_lost_with_nothing_but_the_rights_of_the_readme() {
    let Some(mut server) = lazy_server_with_rows() else { return };
    let flusher = server.modest_plugin(&json!({}));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["steps"], json!(["flush_wal", "checkpoint"]), "{result}");
    assert!(result["skipped"].to_string().contains("GRANT ALTER SYSTEM ON PARAMETER synchronous_commit"), "{result}");
    assert_eq!(rows_after_a_crash(&mut server), ROWS);
}

#[test]
fn without_the_plugin_acknowledged_rows_are_lost() {
    let Some(mut server) = lazy_server_with_rows() else { return };
    assert!(rows_after_a_crash(&mut server) < ROWS, "then the other tests of this file prove nothing");
}
