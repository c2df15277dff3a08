//! What the plugin does to a real server, and what it undoes: judged by the server's own numbers.

mod server;

use cloudsnooze_plugin::abi;
use serde_json::{Value, json};
use server::{PATIENCE, PLENTY, Postgres, event, start_or_say};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Nothing is written out by itself.
const QUIET: &str = "autovacuum = off\ncheckpoint_timeout = 1h\n";
/// About 15 MB of log.
const MANY: usize = 40_000;

fn number(result: &Value, path: &str) -> u64 {
    result.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {path} in {result}"))
}

fn busy_server() -> Option<Postgres> {
    let server = start_or_say(QUIET)?;
    server.make_shop();
    server.order_many(1, MANY);
    assert!(server.redo_distance() > 5_000_000, "{}", server.redo_distance());
    Some(server)
}

#[test]
fn a_notice_writes_everything_out_and_stops_writers_and_its_withdrawal_undoes_that() {
    let Some(server) = busy_server() else { return };
    let (distance, file) = (server.redo_distance(), server.auto_file());
    let flusher = server.plugin(&json!({ "read_only": true }));
    let notice = event("cloud.spot.interrupt");
    let delivered = flusher.deliver(&notice, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["durable"], "yes", "{result}");
    assert_eq!(result["skipped"], json!([]), "{result}");
    assert_eq!(result["steps"], json!(["flush_wal", "read_only", "checkpoint"]));
    assert!(number(&result, "/evidence/checkpoint/redo_distance_before") >= distance, "{result}");
    assert!(number(&result, "/evidence/checkpoint/redo_distance_after") < 100_000, "{result}");
    assert!(number(&result, "/evidence/after/wal_flushed") >= number(&result, "/evidence/flush_goal_lsn"), "{result}");
    assert!(server.redo_distance() < 100_000, "{}", server.redo_distance());

    let refused = server.run_as("app", "INSERT INTO orders VALUES (0, '')").unwrap_err();
    assert!(refused.contains("read-only transaction"), "{refused}");
    assert_eq!(server.auto_file(), file, "the next start must be writable");
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_OK);

    let withdrawn = event("cloud.spot.interrupt.cancelled");
    let undone = flusher.deliver(&withdrawn, PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    let result = undone.result.unwrap();
    assert_eq!(result["restored"][0]["before"], "on", "{result}");
    assert_eq!(result["restored"][0]["after"], "off", "{result}");
    assert_eq!(server.order(MANY + 1, 1), 1);
    assert_eq!(flusher.verify(&withdrawn, PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(flusher.deliver(&withdrawn, PLENTY).status, abi::SNOOZE_SKIPPED, "there is nothing left to undo");
}

#[test]
fn a_server_that_dies_after_the_notice_starts_writable() {
    let Some(mut server) = busy_server() else { return };
    let flusher = server.plugin(&json!({ "read_only": true, "checkpoint": false }));
    assert_eq!(flusher.deliver(&event("cloud.spot.interrupt"), PLENTY).status, abi::SNOOZE_OK);
    server.kill();
    server.start_again();
    assert_eq!(server.order(MANY + 1, 1), 1);
}

#[test]
fn what_others_set_is_not_undone() {
    let Some(server) = start_or_say(QUIET) else { return };
    server.ask("ALTER SYSTEM SET default_transaction_read_only = on;\nSELECT pg_reload_conf();");
    let until = Instant::now() + PATIENCE;
    while server.ask("SHOW default_transaction_read_only") != "on" {
        assert!(Instant::now() < until, "the server does not reload");
    }
    let flusher = server.plugin(&json!({ "read_only": true }));
    assert_eq!(flusher.deliver(&event("cloud.instance.terminate"), PLENTY).status, abi::SNOOZE_OK);
    let undone = flusher.deliver(&event("cloud.instance.terminate.cancelled"), PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_SKIPPED, "{undone:?}");
    assert_eq!(server.ask("SHOW default_transaction_read_only"), "on");
    assert!(server.auto_file().contains("default_transaction_read_only"));
}

#[test]
fn a_rebalance_writes_out_and_leaves_no_trace_with_the_rights_of_the_readme() {
    let Some(server) = busy_server() else { return };
    let flusher = server.modest_plugin(&json!({ "read_only": true }));
    assert_eq!(flusher.log(), [""; 0], "the connection ahead of the event failed");
    let rebalance = event("cloud.spot.rebalance");
    let delivered = flusher.deliver(&rebalance, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["steps"], json!(["checkpoint"]));
    assert!(server.redo_distance() < 100_000, "{}", server.redo_distance());
    assert_eq!(server.order(MANY + 1, 1), 1);
    assert_eq!(flusher.verify(&rebalance, PLENTY).status, abi::SNOOZE_OK);
}

#[test]
fn a_denied_step_names_its_right_and_only_missing_durability_fails_the_notice() {
    let Some(server) = busy_server() else { return };
    server.ask("REVOKE pg_checkpoint FROM snooze");
    let flusher = server.modest_plugin(&json!({}));
    let durable = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(durable.status, abi::SNOOZE_OK, "{durable:?}");
    let result = durable.result.unwrap();
    assert_eq!(result["durable"], "yes", "{result}");
    assert!(result["skipped"].to_string().contains("GRANT pg_checkpoint TO this account"), "{result}");
    let ahead = flusher.deliver(&event("cloud.spot.rebalance"), PLENTY);
    assert_eq!(ahead.status, abi::SNOOZE_E_DENIED, "{ahead:?}");
    assert!(server.redo_distance() > 5_000_000);
    assert!(!format!("{result} {ahead:?}").contains("secret-word"));
}

#[test]
fn a_setting_that_may_be_written_but_not_taken_is_named_and_leaves_no_trace() {
    let Some(server) = start_or_say(QUIET) else { return };
    server.make_shop();
    server.ask("GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO snooze");
    let file = server.auto_file();
    let flusher = server.modest_plugin(&json!({ "read_only": true }));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert!(result["skipped"].to_string().contains("GRANT EXECUTE ON FUNCTION pg_reload_conf()"), "{result}");
    assert_eq!(server.auto_file(), file);
    assert_eq!(flusher.deliver(&event("cloud.spot.interrupt.cancelled"), PLENTY).status, abi::SNOOZE_SKIPPED);
    // With both rights it is done.
    server.ask("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO snooze");
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert!(delivered.result.unwrap()["steps"].to_string().contains("read_only"));
    assert_eq!(server.auto_file(), file);
}

#[test]
fn a_checkpoint_that_cannot_fit_is_not_begun_and_the_log_is_saved_all_the_same() {
    let Some(server) = busy_server() else { return };
    let distance = server.redo_distance();
    let flusher = server.plugin(&json!({ "checkpoint_mb_per_second": 1 }));
    let left = Duration::from_secs(4);
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), left);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["durable"], "yes", "{result}");
    assert!(result["skipped"].to_string().contains("at 1 MB/s may take"), "{result}");
    assert!(server.redo_distance() >= distance, "it was begun");
    let ahead = flusher.deliver(&event("cloud.spot.rebalance"), left);
    assert_eq!(ahead.status, abi::SNOOZE_SKIPPED, "{ahead:?}");
}

#[test]
fn sessions_are_ended_and_the_plugins_own_is_not() {
    let Some(server) = start_or_say(QUIET) else { return };
    server.make_shop();
    let mut psql = server.psql("app");
    let mut client = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let sessions = || server.number("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'");
    let until = Instant::now() + PATIENCE;
    while sessions() == 0 {
        assert!(Instant::now() < until, "the client does not come");
    }
    let flusher = server.plugin(&json!({ "terminate_sessions": true }));
    let delivered = flusher.deliver(&event("cloud.autoscaling.terminate"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert!(result["steps"].to_string().contains("terminate_sessions"), "{result}");
    assert_eq!(result["evidence"]["before"]["client_sessions"], 1, "{result}");
    assert_eq!(result["evidence"]["after"]["client_sessions"], 0, "{result}");
    assert_eq!(sessions(), 0);
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn a_server_that_syncs_nothing_is_made_to_and_its_files_are_synced() {
    let Some(server) = start_or_say(&format!("{QUIET}fsync = off\n")) else { return };
    server.make_shop();
    server.order_many(1, MANY);
    let flusher = server.plugin(&json!({}));
    let delivered = flusher.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!(result["steps"], json!(["flush_wal", "make_commits_wait", "checkpoint", "sync_files"]), "{result}");
    assert_eq!(result["evidence"]["before"]["fsync"], "off");
    assert_eq!(server.ask("SHOW fsync"), "on");
    let undone = flusher.deliver(&event("cloud.spot.interrupt.cancelled"), PLENTY);
    assert_eq!(undone.status, abi::SNOOZE_OK, "{undone:?}");
    assert_eq!(server.ask("SHOW fsync"), "off");

    // Who may not change that cannot call anything durable.
    let modest = server.modest_plugin(&json!({}));
    let delivered = modest.deliver(&event("cloud.spot.interrupt"), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_DENIED, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["durable"], "no");
}

#[test]
fn switching_read_only_off_again_fails_the_verification() {
    let Some(server) = start_or_say(QUIET) else { return };
    let flusher = server.plugin(&json!({ "read_only": true }));
    let notice = event("cloud.spot.interrupt");
    assert_eq!(flusher.deliver(&notice, PLENTY).status, abi::SNOOZE_OK);
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_OK);
    server.ask("SELECT pg_reload_conf()");
    let until = Instant::now() + PATIENCE;
    while server.ask("SHOW default_transaction_read_only") == "on" {
        assert!(Instant::now() < until, "the server does not reload");
    }
    assert_eq!(flusher.verify(&notice, PLENTY).status, abi::SNOOZE_E_STATE);
}
