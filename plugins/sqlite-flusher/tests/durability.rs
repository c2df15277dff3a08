//! What is found of an application's rows after a power failure, and in the database's file alone.

mod stage;

use cloudsnooze_plugin::abi;
use serde_json::{Value, json};
use stage::{
    CARELESS, Habits, NOTICE, PLENTY, Reader, USUAL, Writer, disk, event, failed, handled, must_have_python, plugin,
    rows, rows_after_power_failure, told,
};
use std::fs;

fn of(result: &Value) -> &Value {
    &result["evidence"]["databases"][0]
}

/// With an application of these habits, which is killed right after the flush.
fn survives(test: &str, habits: Habits) -> Option<Value> {
    let disk = disk(test)?;
    let path = disk.join("app.db");
    let writer = Writer::start(&path, disk.beside(), habits);
    let committed = writer.last();
    let before = rows_after_power_failure(&disk, "app.db");
    assert!(before < Some(committed), "{before:?} of {committed} were on the disk anyway: this shows nothing");
    let plugin = plugin(&json!({ "paths": [path] }));
    writer.has_written(100);
    let committed = writer.last();
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    writer.kill();
    let after = rows_after_power_failure(&disk, "app.db");
    assert!(after >= Some(committed), "{after:?} of {committed}: {result:#}");
    assert_eq!(result["durable"], "yes", "{result:#}");
    Some(result)
}

#[test]
fn rows_committed_without_any_sync_survive_a_power_failure_after_the_flush() {
    let test = "rows_committed_without_any_sync_survive_a_power_failure_after_the_flush";
    let Some(result) = survives(test, CARELESS) else { return };
    let told = of(&result);
    assert_eq!((&told["journal_mode"], &told["synced"]), (&json!("wal"), &json!(true)), "{result:#}");
    assert!(told["wal_bytes"]["before"].as_u64().unwrap() > told["wal_bytes"]["after"].as_u64().unwrap(), "{result:#}");
    assert!(told["pages"]["checkpointed"].as_u64().unwrap() > 0, "{result:#}");
}

#[test]
fn rows_committed_as_usual_survive_a_power_failure_after_the_flush() {
    survives("rows_committed_as_usual_survive_a_power_failure_after_the_flush", USUAL);
}

#[test]
fn rows_committed_with_a_rollback_journal_survive_a_power_failure_after_the_flush() {
    let test = "rows_committed_with_a_rollback_journal_survive_a_power_failure_after_the_flush";
    // It writes as often as it can: many a time it is in the midst of a transaction.
    let habits = Habits { journal: "TRUNCATE", pause: "0", ..CARELESS };
    let Some(result) = survives(test, habits) else { return };
    assert_eq!(of(&result)["checkpoint"], "no log", "{result:#}");
}

#[test]
fn a_rollback_journal_that_lets_nobody_else_in_is_not_called_durable() {
    let test = "a_rollback_journal_that_lets_nobody_else_in_is_not_called_durable";
    let Some(disk) = disk(test) else { return };
    let path = disk.join("app.db");
    let habits = Habits { journal: "TRUNCATE", locking: "EXCLUSIVE", ..CARELESS };
    let writer = Writer::start(&path, disk.beside(), habits);
    let plugin = plugin(&json!({ "paths": [path], "busy_ms": 300 }));
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    let text = failed(&delivered, abi::SNOOZE_E_IO);
    assert!(text.contains("in the midst of a transaction"), "{text}");
    assert_eq!(delivered.result.unwrap()["durable"], "no");
    drop(writer);
}

#[test]
fn a_database_that_lets_nobody_else_in_is_written_to_the_disk_with_its_log() {
    let test = "a_database_that_lets_nobody_else_in_is_written_to_the_disk_with_its_log";
    let habits = Habits { locking: "EXCLUSIVE", ..CARELESS };
    let Some(result) = survives(test, habits) else { return };
    assert_eq!((&of(&result)["checkpoint"], &of(&result)["synced"]), (&json!("not done"), &json!(true)), "{result:#}");
    assert!(result["skipped"][0]["reason"].as_str().unwrap().contains("locked"), "{result:#}");
}

#[test]
fn a_reader_with_a_snapshot_makes_the_checkpoint_partial_and_nothing_is_lost() {
    let test = "a_reader_with_a_snapshot_makes_the_checkpoint_partial_and_nothing_is_lost";
    let Some(disk) = disk(test) else { return };
    let path = disk.join("app.db");
    let writer = Writer::start(&path, disk.beside(), CARELESS);
    let reader = Reader::start(&path);
    writer.has_written(200);
    let committed = writer.last();
    assert!(rows_after_power_failure(&disk, "app.db") < Some(committed), "this shows nothing");
    let plugin = plugin(&json!({ "paths": [path], "busy_ms": 300 }));
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    let told = of(&result);
    assert_eq!((&told["checkpoint"], &told["pages"]["busy"]), (&json!("partial"), &json!(true)), "{result:#}");
    assert!(told["pages"]["left_in_log"].as_u64().unwrap() > 0, "{result:#}");
    let reason = result["skipped"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("a reader or writer holds the rest; database and log were written"), "{result:#}");
    writer.kill();
    let after = rows_after_power_failure(&disk, "app.db");
    assert!(after >= Some(committed), "{after:?} of {committed}: {result:#}");
    drop(reader);
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert_eq!(of(&result)["checkpoint"], "truncated", "{result:#}");
}

#[test]
fn the_file_of_a_database_alone_holds_everything_after_a_checkpoint() {
    let test = "the_file_of_a_database_alone_holds_everything_after_a_checkpoint";
    if told(test, must_have_python()).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, alone) = (dir.path().join("app.db"), dir.path().join("alone.db"));
    // It goes on, and has the database open: what SQLite does when the last one closes it is not what is shown here.
    let writer = Writer::start(&path, dir.path(), CARELESS);
    let committed = writer.last();
    fs::copy(&path, &alone).unwrap();
    assert!(rows(&alone) < Some(committed), "it was in the file anyway: this shows nothing");
    // In a drill too: it changes nothing that anybody could want back.
    let mut drill = event(NOTICE);
    drill["drill"] = json!(true);
    let result = handled(plugin(&json!({ "paths": [path] })).deliver(&drill, PLENTY));
    assert_eq!(of(&result)["checkpoint"], "truncated", "{result:#}");
    let alone = dir.path().join("alone-afterwards.db");
    fs::copy(&path, &alone).unwrap();
    let found = rows(&alone);
    assert!(found >= Some(committed), "{found:?} of {committed}: {result:#}");
    drop(writer);
}
