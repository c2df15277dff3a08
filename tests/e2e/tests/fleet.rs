//! Daemons of several machines in one group, on a real server: who stays acts first, who goes waits for its turn, and without servers all
//! goes on alone.

use e2e::simple::{PATIENCE, Plugins, finished, simulate};
use e2e::zoo::{Zoo, repository};
use fake_metadata::{FakeMetadata, Options};
use harness::daemon::Daemon;
use harness::nats::Server;
use harness::{paths, wait};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const EVENT: &str = "cloud.spot.interrupt";

/// This machine's part in the group. The load balancer reacts before a replica goes.
fn fleet(server: &str, member: &str, role: &str) -> Value {
    json!({
        "group": "g", "role": role, "member": member, "servers": [server], "replicas": 1, "lease_seconds": 1.5,
        "heartbeat_seconds": 1, "work_seconds": 0.2,
        "steps": [{ "role": "lb", "timeout_seconds": 20, "reacts": true }, { "role": "replica", "timeout_seconds": 20 }],
    })
}

/// Waits for its turn, then does its work.
fn leaver(plugins: &Plugins, fleet: &Value) -> Value {
    json!({
        "fleet": fleet,
        "event_handlers": { EVENT: { "plugins": [
            { "name": "fleet-turn", "priority": 100, "timeout_seconds": 25 },
            { "name": "work", "priority": 20, "timeout_seconds": 10, "config": plugins.config("replica") },
        ] } },
    })
}

/// Does its part for those who go.
fn balancer(plugins: &Plugins, fleet: &Value, gate: &str) -> Value {
    json!({
        "fleet": fleet,
        "event_handlers": {
            "fleet.operation.step": { "plugins": [
                { "name": "work", "timeout_seconds": 15, "config": plugins.gated("lb", gate) },
            ] },
            "fleet.member.leaving": { "plugins": [
                { "name": "work", "timeout_seconds": 10, "config": plugins.config("heard") },
            ] },
        },
    })
}

/// A directory with the recorder and the plugin that waits.
fn plugins() -> Plugins {
    let plugins = Plugins::recorders(&["work"]);
    let bin = paths::bin_dir().expect("the programs are built");
    let built = paths::plugin(&bin, "fleet-turn").expect("the plugin is built");
    fs::copy(built, plugins.file("fleet-turn.so")).expect("copied");
    plugins
}

fn start(plugins: &Plugins, config: Value, root: &Path) -> Daemon {
    fs::create_dir_all(root).expect("a directory");
    plugins.daemon(config).root(root).start().expect("it starts")
}

/// The group's state as a daemon sees it, as soon as it is as wanted.
fn status_when(daemon: &Daemon, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = wait::until(what, PATIENCE, || {
        last = daemon.snooze_json(&["fleet", "status", "--json"]).unwrap_or_default();
        wanted(&last).then(|| last.clone())
    });
    found.unwrap_or_else(|error| panic!("{error}: {last:#}; {}", daemon.log_tail()))
}

fn turn(report: &Value) -> Value {
    let mut all = report["handlers"].as_array().expect("a list").iter();
    let waited = all.find(|handler| handler["handler"] == "fleet-turn");
    waited.unwrap_or_else(|| panic!("no fleet-turn in {report:#}"))["result"].clone()
}

#[test]
fn who_stays_acts_first_and_who_goes_waits_for_its_turn() {
    let Some(server) = Server::start("") else { return };
    let (plugins, directory) = (plugins(), tempfile::tempdir().expect("a directory"));
    let at = server.address();
    let lb = start(&plugins, balancer(&plugins, &fleet(&at, "lb-1", "lb"), "drained"), &directory.path().join("lb"));
    let db = start(&plugins, leaver(&plugins, &fleet(&at, "db-1", "replica")), &directory.path().join("db"));
    let leader = |status: &Value| status["leader"].is_string();
    status_when(&lb, "a leader", leader);
    status_when(&db, "the same leader", leader);
    let both = wait::until("both members", PATIENCE, || {
        let found = db.snooze_json(&["fleet", "members", "--json"]).ok()?;
        (found["members"].as_array()?.len() == 2).then_some(())
    });
    both.expect("both are there");

    let id = simulate(&db, EVENT, &["--in", "100s"]);
    plugins.journal().wait(1, "lb begin");
    plugins.journal().wait(1, "heard begin");
    let seen = status_when(&db, "the operation", |status| status["operation"]["acting"] == json!(["lb-1"]));
    assert_eq!(seen["operation"]["leaving"], json!(["db-1"]), "{seen:#}");
    assert!(plugins.journal().all("replica begin").is_empty(), "the balancer has not finished");
    plugins.open("drained");

    let report = finished(&db, &id);
    let turn = turn(&report);
    assert_eq!((&turn["turn"], &turn["step"]), (&json!("go"), &json!(1)), "{report:#}");
    let over = status_when(&lb, "the end", |status| status["operation"]["complete"] == true);
    assert_eq!((&over["operation"]["missing"], &over["operation"]["roles"]), (&json!([]), &json!(["lb", "replica"])));
    let told = lb.snooze_json(&["fleet", "events", "--json"]).expect("a list");
    let types: Vec<&str> =
        told["events"].as_array().expect("a list").iter().filter_map(|e| e["type"].as_str()).collect();
    assert!(types.contains(&"fleet.member.leaving") && types.contains(&"fleet.operation.step"), "{types:?}");
    let plan = db.snooze(&["fleet", "plan"]).expect("it runs");
    assert!(plan.stdout.contains("lb (over) -> replica (over)"), "{}", plan.stdout);
}

#[test]
fn a_notice_that_is_withdrawn_withdraws_the_departure() {
    let Some(server) = Server::start("") else { return };
    let (plugins, directory) = (plugins(), tempfile::tempdir().expect("a directory"));
    let at = server.address();
    let lb = start(&plugins, balancer(&plugins, &fleet(&at, "lb-1", "lb"), "never"), &directory.path().join("lb"));
    let db = start(&plugins, leaver(&plugins, &fleet(&at, "db-1", "replica")), &directory.path().join("db"));
    status_when(&lb, "a leader", |status| status["leader"].is_string());
    status_when(&db, "the same leader", |status| status["leader"].is_string());
    let id = simulate(&db, EVENT, &["--in", "100s"]);
    plugins.journal().wait(1, "lb begin");
    let withdrawn = format!("{EVENT}.cancelled");
    simulate(&db, &withdrawn, &["--cancels", &id]);
    finished(&db, &id);
    assert!(plugins.journal().all("replica begin").is_empty(), "its work was never begun");
    let told = wait::until("the withdrawal", PATIENCE, || {
        let told = lb.snooze_json(&["fleet", "events", "--json"]).ok()?;
        told["events"].as_array()?.iter().find(|one| one["type"] == "fleet.member.leaving.cancelled").cloned()
    });
    told.expect("it is told");
}

#[test]
fn without_servers_a_machine_acts_alone_and_says_so() {
    let (plugins, directory) = (plugins(), tempfile::tempdir().expect("a directory"));
    // Nobody listens there: a port of the discard service, which no Debian offers.
    let fleet = fleet("nats://127.0.0.1:9", "db-1", "replica");
    let db = start(&plugins, leaver(&plugins, &fleet), &directory.path().join("db"));
    let status =
        status_when(&db, "a problem", |status| status["problems"].as_array().is_some_and(|all| !all.is_empty()));
    assert_eq!(status["connected"], false);
    let id = simulate(&db, EVENT, &["--in", "20s"]);
    let turn = turn(&finished(&db, &id));
    assert_eq!(turn["turn"], "alone");
    assert!(turn["why"].as_str().is_some_and(|why| why.contains("no leader")), "{turn:#}");
    plugins.journal().wait(1, "replica end");
    let degraded = db.snooze_json(&["status", "--json"]).expect("a status");
    let problems = degraded["problems"].to_string();
    assert!(problems.contains("fleet: ") && problems.contains("127.0.0.1:9"), "{problems}");
}

#[test]
fn bad_settings_are_refused_with_their_place_and_no_group_is_said() {
    let plugins = plugins();
    let bad = json!({ "fleet": { "group": "a b", "role": "r", "servers": ["http://x"] }, "event_handlers": {} });
    let daemon = plugins.daemon(bad).prepare().expect("files");
    let file = daemon.config_file().display().to_string();
    let checked = daemon.snooze(&["config", "check", &file]).expect("it runs");
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("fleet") && said.contains("`group`") && said.contains("nats://"), "{said}");
    let alone = plugins.daemon(json!({ "event_handlers": {} })).start().expect("it starts");
    let asked = alone.snooze(&["fleet", "status"]).expect("it runs");
    assert!(asked.stderr.contains("belongs to no group"), "{}", asked.stderr);
}

/// `snooze` on a history of the whole group.
fn of_group(daemon: &Daemon, args: &[&str], store: &Path) -> Value {
    let (config, store) = (daemon.config_file(), store.display().to_string());
    let all = [args, &["--store", &store, "--json", "--config", config.to_str().expect("UTF-8")]].concat();
    let output = daemon.snooze(&all).expect("it runs");
    assert_eq!(output.code, Some(0), "{all:?}: {output:?}");
    // One line for each batch; nothing where nothing came.
    let lines: Vec<Value> = match serde_json::from_str(&output.stdout) {
        Ok(whole) => return whole,
        Err(_) => output.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(),
    };
    json!(lines)
}

#[test]
fn the_histories_of_all_members_are_collected_in_one_each_row_once() {
    let Some(server) = Server::start("") else { return };
    let (plugins, directory) = (plugins(), tempfile::tempdir().expect("a directory"));
    let (at, fake) = (server.address(), FakeMetadata::start(Options::default()).expect("a free port"));
    let lb = start(&plugins, balancer(&plugins, &fleet(&at, "lb-1", "lb"), "drained"), &directory.path().join("lb"));
    plugins.open("drained");
    let root = directory.path().join("db");
    fs::create_dir_all(&root).expect("a directory");
    let leaver = leaver(&plugins, &fleet(&at, "db-1", "replica"));
    let db = plugins.daemon(leaver).endpoint(fake.base_url()).root(&root).start().expect("it starts");
    status_when(&lb, "a leader", |status| status["leader"].is_string());
    status_when(&db, "the same leader", |status| status["leader"].is_string());
    let id = simulate(&db, EVENT, &["--in", "100s"]);
    let report = finished(&db, &id);
    let store = directory.path().join("group.sqlite");
    let known = wait::until("the event's end and a life", PATIENCE, || {
        of_group(&db, &["fleet", "collect", "--once"], &store);
        let events = of_group(&db, &["history", "events", "--type", EVENT], &store);
        let lives = of_group(&db, &["history", "lives"], &store);
        let is_over = events["events"][0]["state"] == report["state"];
        (is_over && lives["lives"][0]["outcome"].is_string()).then_some((events, lives))
    });
    let (events, lives) = known.expect("both are collected");
    assert_eq!((&events["events"][0]["id"], events["events"].as_array().map(Vec::len)), (&json!(id), Some(1)));
    assert_eq!((&lives["lives"][0]["provider"], lives["lives"].as_array().map(Vec::len)), (&json!("aws"), Some(1)));
    // Another reader is given everything again, and takes nothing twice.
    of_group(&db, &["fleet", "collect", "--once", "--name", "another"], &store);
    assert_eq!(of_group(&db, &["history", "events", "--type", EVENT], &store), events);
    assert_eq!(of_group(&db, &["history", "lives"], &store), lives);
}

#[test]
fn a_drill_of_the_group_goes_in_order_as_a_drill_and_puts_everything_back() {
    const WHAT: &str = "a_drill_of_the_group_goes_in_order_as_a_drill_and_puts_everything_back";
    let Some(zoo) = Zoo::open(WHAT, &["python3"]) else { return };
    let Some(server) = Server::start("") else { return };
    let (plugins, directory) = (plugins(), tempfile::tempdir().expect("a directory"));
    let sdk = json!({ "PYTHONPATH": repository().join("plugins/python/src") });
    zoo.python("undoer.py", "undoer", sdk, &["undo", "drill"]);
    let lines = |who: &str| directory.path().join(format!("{who}.lines"));
    let undoer = |who: &str| json!({ "name": "undoer", "timeout_seconds": 20, "config": { "file": lines(who) } });
    let waits = json!({ "name": "fleet-turn", "priority": 100, "timeout_seconds": 25 });
    let start_with = |who: &str, role: &str, handlers: Value| {
        let root = directory.path().join(who);
        fs::create_dir_all(&root).expect("a directory");
        let config = json!({ "fleet": fleet(&server.address(), who, role), "event_handlers": handlers });
        plugins.daemon(config).plugin_directory(zoo.path()).root(&root).start().expect("it starts")
    };
    let lb = start_with("lb-1", "lb", json!({ "fleet.operation.step": { "plugins": [undoer("lb-1")] } }));
    let db = start_with("db-1", "replica", json!({ EVENT: { "plugins": [waits, undoer("db-1")] } }));
    status_when(&lb, "a leader", |status| status["leader"].is_string());
    status_when(&db, "the same leader", |status| status["leader"].is_string());
    let both = wait::until("both members", PATIENCE, || {
        let found = db.snooze_json(&["fleet", "members", "--json"]).ok()?;
        (found["members"].as_array()?.len() == 2).then_some(())
    });
    both.expect("both are there");
    let drilled = db.snooze_within(&["fleet", "drill", "--in", "100s", "--json"], PATIENCE).expect("it ends");
    let both: Value = serde_json::from_str(&drilled.stdout).unwrap_or_else(|error| panic!("{error}: {drilled:?}"));
    assert_eq!((&turn(&both["drill"])["turn"], drilled.code), (&json!("go"), Some(0)), "{both:#}");
    status_when(&lb, "the end", |status| status["operation"]["complete"] == true);
    // The balancer's part was a drill, and was put back; both before this machine's own.
    let told = wait::until("the balancer's withdrawal", PATIENCE, || {
        let told = lb.snooze_json(&["fleet", "events", "--json"]).ok()?;
        let types: Vec<String> =
            told["events"].as_array()?.iter().filter_map(|one| one["type"].as_str().map(str::to_owned)).collect();
        types.contains(&"fleet.operation.step.cancelled".to_owned()).then_some(types)
    });
    let types = told.unwrap_or_else(|error| panic!("{error}: {}", lb.log_tail()));
    assert!(types.contains(&"fleet.member.leaving".to_owned()), "{types:?}");
    for who in ["lb-1", "db-1"] {
        let text = fs::read_to_string(lines(who)).unwrap_or_default();
        let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(all.len() == 2 && all.iter().all(|line| line["drill"] == true), "{who}: {text}");
        assert_eq!((&all[0]["cancels"], &all[1]["cancels"]), (&Value::Null, &all[0]["id"]), "{who}: {text}");
    }
    // A drill of one machine stays its own.
    let before = lb.snooze_json(&["fleet", "events", "--json"]).expect("a list");
    let alone = db.snooze_within(&["drill", "--in", "100s", "--json"], PATIENCE).expect("it ends");
    let alone: Value = serde_json::from_str(&alone.stdout).unwrap_or_else(|error| panic!("{error}: {alone:?}"));
    let waited =
        alone["drill"]["handlers"].as_array().and_then(|all| all.iter().find(|one| one["handler"] == "fleet-turn"));
    assert_eq!(waited.map(|waited| &waited["status"]), Some(&json!("declined")), "{alone:#}");
    assert_eq!(lb.snooze_json(&["fleet", "events", "--json"]).expect("a list"), before);
}
