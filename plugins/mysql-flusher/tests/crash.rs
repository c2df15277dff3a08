//! What survives `kill -9`: with the plugin everything that was acknowledged, and the server's own
//! numbers tell the difference.

mod server;

use cloudsnooze_plugin::abi;
use serde_json::json;
use server::{MariaDb, event, start_or_say};
use std::time::Duration;

const ROWS: usize = 200;

/// Acknowledged rows of which the server says that their log is not on the disk.
fn lazy_server_with_rows(at_commit: u8) -> Option<MariaDb> {
    let at_commit = format!("--innodb-flush-log-at-trx-commit={at_commit}");
    let server = start_or_say(&[&at_commit, "--innodb-flush-log-at-timeout=2700"])?;
    server.make_shop();
    server.order(1, ROWS);
    assert!(server.status("Innodb_lsn_flushed") < server.status("Innodb_lsn_current"), "the log was flushed anyway");
    Some(server)
}

fn rows_after_a_crash(server: &mut MariaDb) -> usize {
    server.kill();
    server.start_again();
    server.ask("SELECT COUNT(*) FROM shop.orders").parse().unwrap()
}

fn no_acknowledged_row_is_lost(at_commit: u8) {
    let Some(mut server) = lazy_server_with_rows(at_commit) else { return };
    let goal = server.status("Innodb_lsn_current");
    // Only the step that counts here: flushing pages would flush the log along the way.
    let flusher = server.plugin(&json!({ "flush_dirty_pages": false, "dump_buffer_pool": false, "read_only": false }));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(20));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert!(server.status("Innodb_lsn_flushed") >= goal);
    // Rows that come after the event wait for the disk one by one.
    server.order(ROWS + 1, ROWS);
    assert_eq!(rows_after_a_crash(&mut server), 2 * ROWS);
}

#[test]
fn no_acknowledged_row_is_lost_when_commits_do_not_write_the_log() {
    no_acknowledged_row_is_lost(0);
}

#[test]
fn no_acknowledged_row_is_lost_when_commits_do_not_flush_the_log() {
    no_acknowledged_row_is_lost(2);
}

#[test]
fn without_the_flush_acknowledged_rows_are_lost_and_the_event_is_not_called_handled() {
    let Some(mut server) = lazy_server_with_rows(0) else { return };
    let idle = json!({ "flush_logs": false, "flush_dirty_pages": false, "dump_buffer_pool": false });
    let delivered = server.plugin(&idle).deliver(&event("cloud.spot.interrupt"), Duration::from_secs(20));
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["durable"], "no");
    assert!(server.status("Innodb_lsn_flushed") < server.status("Innodb_lsn_current"));
    assert!(rows_after_a_crash(&mut server) < ROWS, "then the other tests of this file prove nothing");
}
