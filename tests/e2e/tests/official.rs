//! All official plugins in one daemon: they load side by side, each is called, and none of them holds the others up.

use e2e::official;
use e2e::simple::{finished, simulate, status_when};
use e2e::zoo::Zoo;
use harness::daemon::DaemonBuilder;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const EVENT: &str = "cloud.spot.interrupt";

fn names<'a>(list: &'a Value, member: &str, wanted: impl Fn(&Value) -> bool) -> BTreeSet<&'a str> {
    let list = list.as_array().expect("a list").iter();
    list.filter(|one| wanted(one)).filter_map(|one| one[member].as_str()).collect()
}

#[test]
fn all_official_plugins_work_side_by_side_in_one_daemon() {
    let Some(zoo) = Zoo::open("all official plugins in one daemon", &[]) else { return };
    let plugins = official::plugins();
    let all: BTreeSet<&str> = plugins.iter().map(|(name, _)| *name).collect();
    assert!(all.len() >= 14, "{all:?}");
    let mut handlers = Vec::new();
    for (name, config) in &plugins {
        zoo.rust(name);
        handlers.push(json!({ "name": name, "timeout_seconds": 10, "config": config }));
    }
    let config = json!({ "event_handlers": { EVENT: { "plugins": handlers } }, "log": { "level": "error" } });
    let daemon = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path()).start().expect("it starts");
    let is_active = |one: &Value| one["state"] == "active" && one["kind"] == "native";
    let status =
        status_when(&daemon, "all of them active", |status| names(&status["instances"], "plugin", is_active) == all);
    let report = finished(&daemon, &simulate(&daemon, EVENT, &[]));
    let ended = names(&report["handlers"], "handler", |one| one["status"].is_string());
    assert_eq!(ended, all, "{report:#}");
    let after = status_when(&daemon, "nothing under way", |status| status["events"]["running"] != json!(1));
    assert_eq!(names(&after["instances"], "plugin", is_active), all, "before: {status:#}");
}
