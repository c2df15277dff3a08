//! A unit that fails and comes back, with a real systemd as the first process, and a daemon in the sandbox of a packaged one.

use harness::wait;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use system::{Guest, HOME};

const LIMIT: Duration = Duration::from_secs(60);
const DAEMON: &str = include_str!("units/snoozed.service");
const FRAGILE: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
const UNIT: &str = "fragile.service";

fn snooze(guest: &Guest, words: &str) -> Value {
    let text = guest.sh(&format!("{HOME}/bin/snooze {words} --json || true"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The newest event of this type.
fn event(guest: &Guest, event_type: &str) -> Option<Value> {
    let list = snooze(guest, &format!("events --limit 1 --type {event_type}"));
    let id = list["events"].get(0)?["event_id"].as_str()?.to_owned();
    Some(snooze(guest, &format!("report {id}"))["event"].clone())
}

fn system(guest: &Guest) -> Value {
    let status = snooze(guest, "status");
    let source = status["sources"].as_array().and_then(|all| all.iter().find(|source| source["name"] == "system"));
    source.unwrap_or_else(|| panic!("{status:#}")).clone()
}

#[test]
fn a_unit_that_fails_is_told_at_once_and_so_is_that_it_runs_again() {
    let kept_in = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(guest) = Guest::boot("a unit that fails", kept_in, &[]) else { return };
    let config = json!({
        "plugin_directories": [format!("{HOME}/plugins")],
        "sources": { "aws": { "enabled": false }, "system": { "units": { "names": [UNIT] } } },
    });
    guest.write("/etc/cloudsnooze/cloudsnooze.json", &config.to_string());
    guest.write("/run/systemd/system/snoozed.service", DAEMON);
    guest.write(&format!("/run/systemd/system/{UNIT}"), FRAGILE);
    guest.sh(&format!("systemctl daemon-reload && systemctl start snoozed.service {UNIT}"));
    let watched =
        || system(&guest)["summary"].as_str().is_some_and(|text| text.contains("units: fragile")).then_some(());
    wait::until("the unit to be watched", LIMIT, watched)
        .unwrap_or_else(|error| panic!("{error}: {:#}", system(&guest)));

    guest.sh(&format!("systemctl kill -s SEGV {UNIT}"));
    let alarm = wait::until("its failure", LIMIT, || event(&guest, "system.unit.failed"));
    let alarm = alarm.unwrap_or_else(|error| panic!("{error}: {:#}", system(&guest)));
    let data = &alarm["data"];
    assert_eq!((&data["unit"], &data["activeState"]), (&json!(UNIT), &json!("failed")), "{alarm:#}");
    assert!(["signal", "core-dump"].iter().any(|result| data["result"] == *result), "{alarm:#}");
    guest.sh(&format!("systemctl start {UNIT}"));
    let end = wait::until("its recovery", LIMIT, || event(&guest, "system.unit.recovered"));
    let end = end.unwrap_or_else(|error| panic!("{error}: {alarm:#}"));
    assert_eq!((&end["data"]["recovers"], &end["data"]["activeState"]), (&alarm["id"], &json!("active")), "{end:#}");

    // In the sandbox everything else is seen as well.
    let source = system(&guest);
    assert_eq!(source["state"], "seeing", "{source:#}");
    let summary = source["summary"].as_str().expect("a sentence");
    assert!(!summary.contains("not watched"), "{summary}");
}
