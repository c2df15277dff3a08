//! Five clouds, one event: what a handler is given of a spot interruption is the same whichever cloud the machine is in.

use e2e::simple::{PATIENCE, Plugins};
use fake_metadata::{Action, FakeMetadata, Options, Provider, When};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const INTERRUPT: &str = "cloud.spot.interrupt";

/// Name and priority of each handler, in the order in which they have to run.
const HANDLERS: [(&str, u32); 3] = [("flush", 100), ("checkpoint", 80), ("tell", 10)];

/// From the notice to the end of the machine, seconds. AWS: EC2 user guide, "Spot Instance interruption notices". Azure:
/// "Scheduled Events for Linux VMs", type Preempt. GCP: Compute API, `scheduling.skipGuestOsShutdown`; no document states
/// it, so it is `sources.gcp.preemption_notice_seconds`. Alibaba: "Query the interruption events of preemptible instances".
/// Tencent: "Querying the repossession status of a spot instance".
const RULES: [(Provider, i64); 5] = [
    (Provider::Aws, 120),
    (Provider::Azure, 30),
    (Provider::Gcp, 30),
    (Provider::Alibaba, 300),
    (Provider::Tencent, 120),
];

/// All in which the five events differ, and why. What is in here differs indeed; what is not, does not.
const PROVIDER_FIELDS: [(&str, &str); 13] = [
    ("/data/instanceID", "each cloud names its own machine; Azure by its name, which is what a scheduled event lists"),
    ("/data/instanceType", "each cloud has its own catalogue"),
    ("/data/provider", "which cloud it is"),
    ("/data/raw", "the cloud's document, untouched"),
    ("/data/region", "each cloud has its own map"),
    ("/data/time", "when the machine ends: each cloud gives another time, and each daemon was started at another"),
    ("/data/timeRemaining", "what was left of it at the detection"),
    ("/data/zone", "each cloud has its own map"),
    ("/id", "no two events share one"),
    ("/source", "which of the daemon's readers saw it"),
    ("/subject", "the machine again, where CloudEvents have it"),
    ("/time", "when it was detected"),
    ("/timestamp", "the same under the older name"),
];

/// What became of one cloud's interruption.
struct Story {
    provider: Provider,
    /// When the notice was there.
    notice: Timestamp,
    /// `snooze report --json`.
    report: Value,
    /// `snooze report`.
    text: String,
    /// What the handlers recorded, from their making to their end.
    calls: Vec<String>,
}

fn interrupted(provider: Provider) -> Story {
    let plugins = Plugins::recorders(&["recorder"]);
    let fake = FakeMetadata::start(Options::of(provider)).expect("a free port");
    let handlers = HANDLERS.map(|(id, priority)| {
        json!({"name": "recorder", "id": id, "priority": priority, "timeout_seconds": 60, "config": plugins.config(id)})
    });
    let config = json!({
        "sources": {provider.name(): {"enabled": true, "endpoint": fake.base_url(), "polling_interval_seconds": 0.5}},
        "event_handlers": {INTERRUPT: {"plugins": handlers}},
    });
    let mut daemon = plugins.daemon(config).start().expect("it starts");
    // From here on the machine is known, so that the event can name it, and no first look finds the notice.
    assert!(is_watched(provider, &fake), "{provider}: nobody looks for a notice");
    fake.notice(Action::Terminate, When::Usual);
    let notice = fake.changes().last().expect("a change").time;
    let report = daemon.report_of(INTERRUPT, PATIENCE).unwrap_or_else(|error| panic!("{provider}: {error}"));
    let id = report["event_id"].as_str().expect("an id");
    let text = daemon.snooze(&["report", id]).and_then(|told| told.told("snooze report")).expect("a report");
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0), "{provider}");
    Story { provider, notice, report, text, calls: plugins.journal().story() }
}

/// Whether the daemon has begun to look for a notice, and found none.
fn is_watched(provider: Provider, fake: &FakeMetadata) -> bool {
    let ending = match provider {
        Provider::Aws => "/spot/instance-action",
        Provider::Azure => "/scheduledevents",
        Provider::Alibaba | Provider::Tencent => "/spot/termination-time",
        // Two keys are held back there until they change.
        Provider::Gcp => return fake.wait_for_held(2, PATIENCE),
    };
    fake.wait_for(2, PATIENCE, |request| request.path.ends_with(ending)).is_some()
}

/// Every value of the event by its JSON pointer; a cloud's own document is one value.
fn leaves(value: &Value, at: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if at != "/data/raw" => {
            members.iter().for_each(|(name, value)| leaves(value, &format!("{at}/{name}"), found));
        }
        _ => drop(found.insert(at.to_owned(), value.clone())),
    }
}

/// The pointers at which not all have the same value, or not all have one.
fn differing(stories: &[Story]) -> BTreeSet<String> {
    let events: Vec<BTreeMap<String, Value>> = stories
        .iter()
        .map(|story| {
            let mut found = BTreeMap::new();
            leaves(&story.report["event"], "", &mut found);
            found
        })
        .collect();
    let pointers: BTreeSet<String> = events.iter().flat_map(|event| event.keys().cloned()).collect();
    let is_same = |pointer: &String| events.iter().all(|event| event.get(pointer) == events[0].get(pointer));
    pointers.into_iter().filter(|pointer| !is_same(pointer)).collect()
}

/// The rule, to the second, since most clouds write whole ones. Where the notice says no time the daemon counts from when it
/// saw it, which is later than its coming by what the detection took.
fn assert_deadline(story: &Story, seconds: i64) {
    let Story { provider, notice, report, text, .. } = story;
    let time = |name: &str| -> Timestamp {
        let said = report[name].as_str().unwrap_or_else(|| panic!("{provider}: no {name}: {report:#}"));
        said.parse().expect("a time")
    };
    let (detected, deadline) = (time("detected"), time("deadline"));
    let from = deadline - SignedDuration::from_secs(seconds);
    let second = SignedDuration::from_secs(1);
    let latest = if *provider == Provider::Gcp { detected } else { *notice };
    assert!(
        (*notice - second..=latest + second).contains(&from),
        "{provider}: {seconds} s after the notice of {notice}, detected at {detected}, is not {deadline}"
    );
    let said = report["deadline"].as_str().unwrap_or_default();
    assert_eq!(report["event"]["data"]["time"], said, "{provider}");
    let written = format!("deadline  {}", said[..19].replace('T', " "));
    assert!(text.contains(&written), "{provider}: no '{written}' in {text}");
}

#[test]
fn an_interruption_is_the_same_event_and_the_same_work_in_every_cloud() {
    let stories = std::thread::scope(|scope| {
        let threads = RULES.map(|(provider, _)| scope.spawn(move || interrupted(provider)));
        threads.map(|thread| thread.join().expect("a story"))
    });
    let events: Vec<&Value> = stories.iter().map(|story| &story.report["event"]).collect();
    let expected: BTreeSet<String> = PROVIDER_FIELDS.iter().map(|(pointer, _)| (*pointer).to_owned()).collect();
    assert_eq!(differing(&stories), expected, "{events:#?}");
    for (story, (provider, seconds)) in stories.iter().zip(RULES) {
        let event = &story.report["event"];
        assert_eq!((&event["type"], &event["data"]["action"]), (&json!(INTERRUPT), &json!("terminate")), "{provider}");
        assert_eq!(event["data"]["provider"], provider.name());
        assert_deadline(story, seconds);
        let work = |row: &Value| json!([row["handler"], row["priority"], row["status"], row["verified"]]);
        let rows: Vec<Value> = story.report["handlers"].as_array().expect("handlers").iter().map(work).collect();
        assert_eq!(rows, HANDLERS.map(|(id, priority)| json!([id, priority, "handled", "yes"])), "{provider}");
        assert_eq!(story.calls, stories[0].calls, "{provider} against {}", stories[0].provider);
    }
    let work: Vec<&str> = stories[0].calls.iter().map(String::as_str).filter(|call| is_work(call)).collect();
    let expected = HANDLERS.iter().flat_map(|(id, _)| [format!("{id} begin"), format!("{id} end")]);
    assert_eq!(work, expected.collect::<Vec<_>>());
}

fn is_work(call: &str) -> bool {
    call.ends_with(" begin") || call.ends_with(" end")
}
