//! A scale set of Azure as a group: one event that names two machines is approved once, by the member that led, when both are done.
//! Two metadata services serve the same event, as the real one does to each machine of the set.

use e2e::simple::{PATIENCE, events};
use fake_metadata::{AzureSettings, FakeMetadata, Instance, Maintenance, Options, Provider, Request, Settings, When};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::nats::Server;
use harness::{paths, wait};
use serde_json::{Value, json};
use std::path::Path;

const EVENT_ID: &str = "602D9444-D2CD-49C7-8624-8643E7171297";
const NAMES: [&str; 2] = ["vm-a", "vm-b"];

fn service(name: &str) -> FakeMetadata {
    let azure = AzureSettings { requests_per_second: 0, approved_ends_seconds: 3_600.0, ..AzureSettings::default() };
    let instance = Instance { name: name.to_owned(), scale_set: None, ..Instance::of(Provider::Azure) };
    let settings = Settings { azure, ..Settings::default() };
    FakeMetadata::start(Options { settings, instance, ..Options::of(Provider::Azure) }).expect("a free port")
}

fn announce(service: &FakeMetadata) {
    let resources = NAMES.map(str::to_owned).to_vec();
    let event_id = Some(EVENT_ID.to_owned());
    let event = Maintenance { resources, event_id, ..Maintenance::new("Reboot", When::Usual) };
    service.maintenance(event).expect("a new id");
}

fn approvals(services: &[FakeMetadata]) -> Vec<Request> {
    let all = services.iter().flat_map(FakeMetadata::requests);
    all.filter(|request| request.method == "POST").collect()
}

/// Waits for its turn, then waits for `gate`, a file; at the end of the operation whoever led approves.
fn start(service: &FakeMetadata, servers: &str, name: &str, gate: &Path) -> Daemon {
    let work = format!("until [ -e '{}' ]; do sleep 0.05; done", gate.display());
    let config = json!({
        "fleet": {
            "group": "set", "role": "db", "servers": [servers], "replicas": 1, "lease_seconds": 1.5,
            "heartbeat_seconds": 1, "work_seconds": 0.5,
        },
        "sources": { "azure": { "enabled": true, "endpoint": service.base_url(), "polling_interval_seconds": 0.5 } },
        "event_handlers": {
            "cloud.maintenance.reboot": { "plugins": [
                { "name": "fleet-turn", "priority": 100, "timeout_seconds": 25 },
                { "name": "exec", "priority": 50, "timeout_seconds": 25, "config": { "argv": ["/bin/sh", "-c", work] } },
            ] },
            "fleet.operation.completed": { "plugins": [
                { "name": "finish", "timeout_seconds": 20,
                  "config": { "action": "none", "approve": "group", "metadata_endpoint": service.base_url() } },
            ] },
        },
    });
    let bin = paths::bin_dir().expect("the programs are built");
    DaemonBuilder::new(bin).config(config).start().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The report of the handler that approves, of the operation that said so.
fn approval(daemon: &Daemon) -> Option<Value> {
    let of_type = |event: &Value| event["type"] == "fleet.operation.completed";
    events(daemon).into_iter().filter(of_type).find_map(|event| {
        let id = event["event_id"].as_str()?;
        let report = daemon.snooze_json(&["report", id, "--json"]).ok()?;
        let handlers = report["handlers"].as_array()?;
        let approval = handlers.first()?["result"]["evidence"]["approval"][0].clone();
        (approval["accepted"] == true).then_some(approval)
    })
}

#[test]
fn an_event_that_names_two_machines_is_approved_once_when_both_are_done() {
    let Some(server) = Server::start("") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let gates = NAMES.map(|name| directory.path().join(name));
    let services = NAMES.map(service);
    let at = server.address();
    let daemons = [0, 1].map(|index| start(&services[index], &at, NAMES[index], &gates[index]));
    let both = wait::until("both members", PATIENCE, || {
        let found = daemons[0].snooze_json(&["fleet", "members", "--json"]).ok()?;
        let names: Vec<&str> = found["members"].as_array()?.iter().filter_map(|one| one["member"].as_str()).collect();
        (names == NAMES).then_some(())
    });
    both.unwrap_or_else(|error| panic!("{error}: {}", daemons[0].log_tail()));

    services.iter().for_each(announce);
    std::fs::write(&gates[0], "").expect("a gate");
    let answered = wait::until("the first has answered, the second has not", PATIENCE, || {
        let found = daemons[0].snooze_json(&["fleet", "status", "--json"]).ok()?;
        (found["operation"]["acting"] == json!(["vm-b"])).then_some(())
    });
    answered.unwrap_or_else(|error| panic!("{error}: {}", daemons[1].log_tail()));
    assert!(approvals(&services).is_empty(), "one is not done");

    std::fs::write(&gates[1], "").expect("a gate");
    let approved = wait::until("an approval", PATIENCE, || daemons.iter().find_map(approval));
    let approved = approved.unwrap_or_else(|error| panic!("{error}: {}", daemons[0].log_tail()));
    let mut names: Vec<&str> =
        approved["resources"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, NAMES, "{approved:#}");
    // The other member hears of the same end, and declines.
    let told = wait::until("both were told", PATIENCE, || {
        let of_type = |daemon: &Daemon| events(daemon).iter().any(|event| event["type"] == "fleet.operation.completed");
        daemons.iter().all(of_type).then_some(())
    });
    told.expect("both hear of the end");
    let posts = approvals(&services);
    assert_eq!(posts.iter().map(|post| post.status).collect::<Vec<_>>(), [Some(200)], "once for the group");
}
