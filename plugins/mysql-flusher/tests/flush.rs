//! What the plugin does to a real server, and what it undoes: judged by the server's own numbers.

mod server;

use cloudsnooze_plugin::abi;
use mysql::prelude::Queryable;
use serde_json::{Value, json};
use server::{event, plugin, start_or_say};
use std::time::Duration;

/// Nothing reaches the disk by itself: no flush at commit, none in the background.
const LAZY: [&str; 4] =
    ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-log-at-timeout=2700", "--log-bin=bin", "--server-id=1"];
const PLENTY: Duration = Duration::from_secs(40);

fn number(result: &Value, path: &str) -> u64 {
    result.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {path} in {result}"))
}

#[test]
fn a_notice_empties_the_dirty_pages_flushes_the_log_and_stops_writers_and_its_withdrawal_undoes_that() {
    let Some(server) = start_or_say(&LAZY) else { return };
    server.make_shop();
    server.order(1, 30_000);
    let variables = server.variables();
    let binlog = server.ask("SHOW MASTER STATUS");
    assert!(server.status("Innodb_lsn_flushed") < server.status("Innodb_lsn_current"), "the server is not lazy");

    let flusher = server.plugin(&json!({}));
    let notice = event("cloud.spot.interrupt");
    let delivered = flusher.deliver(&notice, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["durable"], "yes", "{result}");
    assert_eq!(result["skipped"], json!([]), "{result}");
    assert_eq!(result["steps"], json!(["read_only", "flush_logs", "dump_buffer_pool", "flush_dirty_pages"]));
    assert_eq!(result["server"]["product"], "MariaDb");
    assert!(number(&result, "/evidence/before/dirty_pages") > 300, "{result}");
    assert!(number(&result, "/evidence/after/dirty_pages") < 10, "{result}");
    let goal = number(&result, "/evidence/flush_goal_lsn");
    assert!(number(&result, "/evidence/before/log_flushed_lsn") < goal, "{result}");
    assert!(number(&result, "/evidence/after/log_flushed_lsn") >= goal, "{result}");

    assert!(server.status("Innodb_buffer_pool_pages_dirty") < 10);
    assert!(server.status("Innodb_lsn_flushed") >= goal);
    assert_eq!(server.ask("SELECT @@innodb_flush_log_at_trx_commit"), "1");
    assert_eq!(server.ask("SELECT @@sync_binlog"), "1");
    assert_ne!(server.ask("SHOW MASTER STATUS"), binlog, "the binary log was not closed");
    assert!(server.dir.path().join("data/ib_buffer_pool").exists());
    let refused = server.account("app", "app").unwrap().query_drop("INSERT INTO shop.orders VALUES (0, '')");
    assert!(matches!(&refused, Err(mysql::Error::MySqlError(e)) if e.code == 1290), "{refused:?}");
    let verified = flusher.verify(&notice, PLENTY);
    assert_eq!(verified.status, abi::SNOOZE_OK, "{verified:?}");

    let withdrawn = event("cloud.spot.interrupt.cancelled");
    let undone = flusher.deliver(&withdrawn, PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    assert_eq!(undone.result.unwrap()["action"], "undone");
    assert_eq!(server.variables(), variables);
    server.order(40_000, 1);
    assert_eq!(flusher.verify(&withdrawn, PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(flusher.deliver(&withdrawn, PLENTY).status, abi::SNOOZE_SKIPPED, "there is nothing left to undo");
}

#[test]
fn what_others_set_is_not_undone() {
    let Some(server) = start_or_say(&[]) else { return };
    server.root().query_drop("SET GLOBAL read_only=1").unwrap();
    let flusher = server.plugin(&json!({ "dump_buffer_pool": false }));
    assert_eq!(flusher.deliver(&event("cloud.instance.terminate"), PLENTY).status, abi::SNOOZE_OK);
    assert_ne!(server.ask("SELECT @@innodb_io_capacity"), "200", "the flush did not raise it");
    server.root().query_drop("SET GLOBAL innodb_io_capacity=555").unwrap();

    let undone = flusher.deliver(&event("cloud.instance.terminate.cancelled"), PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    assert_eq!(server.ask("SELECT @@read_only"), "1", "it was on before the notice");
    assert_eq!(server.ask("SELECT @@innodb_io_capacity"), "555", "someone else set it after the notice");
    assert_eq!(server.ask("SELECT @@innodb_max_dirty_pages_pct"), "90.000000");
    assert!(undone.result.unwrap()["skipped"].to_string().contains("someone else changed it"));
}

#[test]
fn a_rebalance_flushes_pages_over_tcp_and_leaves_no_trace() {
    let Some(server) = start_or_say(&[]) else { return };
    server.make_shop();
    let mut root = server.root();
    root.query_drop("CREATE USER 'flush'@'%' IDENTIFIED BY 'p@ss/w:rd'").unwrap();
    root.query_drop("GRANT ALL ON *.* TO 'flush'@'%'").unwrap();
    server.order(1, 30_000);
    let variables = server.variables();
    assert!(server.status("Innodb_buffer_pool_pages_dirty") > 300);

    let flusher = plugin(&format!("flush:p@ss/w:rd@tcp(127.0.0.1:{})/nowhere?timeout=5s", server.port), &json!({}));
    assert_eq!(flusher.log(), [""; 0], "the connection ahead of the event failed");
    let delivered = flusher.deliver(&event("cloud.spot.rebalance"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert!(server.status("Innodb_buffer_pool_pages_dirty") < 10);
    assert_eq!(server.variables(), variables);
    server.order(40_000, 1);
}

#[test]
fn a_denied_step_names_its_grant_and_only_missing_durability_fails_the_event() {
    let Some(server) = start_or_say(&[]) else { return };
    server.make_shop();
    let mut root = server.root();
    root.query_drop("CREATE USER 'some'@'%' IDENTIFIED BY 'secret-word'").unwrap();
    root.query_drop("GRANT READ_ONLY ADMIN, RELOAD ON *.* TO 'some'@'%'").unwrap();
    let flusher = plugin(&format!("some:secret-word@tcp(127.0.0.1:{})/", server.port), &json!({}));

    let durable = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(durable.status, abi::SNOOZE_OK, "{durable:?}");
    let result = durable.result.unwrap();
    assert_eq!(result["durable"], "yes");
    assert_eq!(result["steps"], json!(["read_only", "flush_logs"]), "{result}");
    assert!(result["skipped"].to_string().contains("GRANT SUPER"), "{result}");

    root.query_drop("SET GLOBAL innodb_flush_log_at_trx_commit=0").unwrap();
    let not_durable = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(not_durable.status, abi::SNOOZE_E_DENIED, "{not_durable:?}");
    assert_eq!(not_durable.result.as_ref().unwrap()["durable"], "no");
    assert!(not_durable.error.as_ref().unwrap().contains("GRANT SUPER"), "{not_durable:?}");
    assert!(!format!("{not_durable:?}").contains("secret-word"));
}

#[test]
fn switching_read_only_off_again_fails_the_verification() {
    let Some(server) = start_or_say(&[]) else { return };
    let flusher = server.plugin(&json!({ "flush_dirty_pages": false, "dump_buffer_pool": false }));
    let notice = event("cloud.autoscaling.terminate");
    assert_eq!(flusher.deliver(&notice, PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_OK);
    server.root().query_drop("SET GLOBAL read_only=0").unwrap();
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_E_STATE);
}

#[test]
fn a_table_lock_held_by_others_holds_up_nothing_but_read_only() {
    let Some(server) = start_or_say(&[]) else { return };
    server.make_shop();
    let mut holder = server.root();
    holder.query_drop("LOCK TABLES shop.orders WRITE").unwrap();
    let flusher = server.plugin(&json!({}));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(6));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["durable"], "yes");
    assert!(result["skipped"].to_string().contains("table locks"), "{result}");
    assert!(result["steps"].to_string().contains("flush_logs"), "{result}");
}
