//! Azure: the rules of requests, the document of scheduled events, approvals, instance data. What is claimed is what
//! Microsoft's "Scheduled Events for Linux VMs" and "Azure Instance Metadata Service" say; quotations give the sense, often
//! in fewer words.

use std::time::Duration;

use fake_metadata::{
    Action, AzureSettings, Effect, FakeMetadata, Fault, Maintenance, Options, Provider, Settings, When,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::{Connection, PATIENCE, Reply, request};

const EVENTS: &str = "/metadata/scheduledevents?api-version=2020-07-01";
const MARK: (&str, &str) = ("Metadata", "true");
/// Enough for a test that asks more often than a machine may.
const UNLIMITED: AzureSettings = AzureSettings {
    first_reply_seconds: 0.0,
    serves_2024_07_09: false,
    unserved_version_status: 400,
    iso_times: false,
    requests_per_second: 0,
    approved_starts_seconds: 0.0,
    approved_ends_seconds: 10.0,
};

fn start_with(azure: AzureSettings) -> FakeMetadata {
    let settings = Settings { azure, ..Settings::default() };
    FakeMetadata::start(Options { settings, ..Options::of(Provider::Azure) }).expect("the service starts")
}

fn start() -> FakeMetadata {
    start_with(UNLIMITED)
}

fn get(fake: &FakeMetadata, path: &str) -> Reply {
    request(fake, "GET", path, &[MARK])
}

fn parsed(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).expect("valid JSON")
}

fn document(fake: &FakeMetadata) -> Value {
    let reply = get(fake, EVENTS);
    assert_eq!((reply.status, reply.header("Content-Type")), (200, Some("application/json; charset=utf-8")));
    parsed(&reply)
}

fn approve(fake: &FakeMetadata, body: &str) -> u16 {
    let mut connection = Connection::open(fake.address());
    connection.send("POST", EVENTS, &[MARK, ("Content-Type", "application/json")], body);
    connection.receive(false).expect("a reply").status
}

/// "Scheduled Events … sequence": 1 without events, 2 scheduled, 3 started without a time, 4 without events.
#[test]
fn the_document_goes_through_the_recorded_sequence() {
    let fake = start();
    assert_eq!(get(&fake, EVENTS).text(), r#"{"DocumentIncarnation":1,"Events":[]}"#);
    let mut event = Maintenance::new("Freeze", "2022-04-11T22:26:58Z".parse::<Timestamp>().expect("a valid time"));
    event.event_id = Some("C7061BAC-AFDC-4513-B24B-AA5F13A16123".to_owned());
    event.resources = vec!["WestNO_0".to_owned(), "{name}".to_owned()];
    event.impact_seconds = Some(5);
    let event_id = fake.maintenance(event).expect("a new event");
    let description = "Virtual machine is being paused because of a memory-preserving Live Migration operation.";
    let scheduled = json!({"DocumentIncarnation": 2, "Events": [{
        "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123", "EventStatus": "Scheduled", "EventType": "Freeze",
        "ResourceType": "VirtualMachine", "Resources": ["WestNO_0", "workers_0"],
        "NotBefore": "Mon, 11 Apr 2022 22:26:58 GMT", "Description": description, "EventSource": "Platform",
        "DurationInSeconds": 5}]});
    assert_eq!(document(&fake), scheduled);
    fake.start_maintenance(&event_id).expect("a scheduled event");
    let started = document(&fake);
    assert_eq!(started["DocumentIncarnation"], 3);
    let event = &started["Events"][0];
    assert_eq!((&event["EventStatus"], &event["NotBefore"]), (&"Started".into(), &"".into()));
    assert_eq!(event["EventId"], scheduled["Events"][0]["EventId"]);
    fake.complete_maintenance(&event_id).expect("a started event");
    assert_eq!(get(&fake, EVENTS).text(), r#"{"DocumentIncarnation":4,"Events":[]}"#);
}

/// "Same value = same content": `DocumentIncarnation` acts as an ETag.
#[test]
fn the_number_of_the_document_changes_with_its_content_only() {
    let fake = start();
    assert_eq!(document(&fake), document(&fake));
    fake.notice(Action::Terminate, Duration::from_secs(30));
    let first = document(&fake);
    assert_eq!((&first["DocumentIncarnation"], &first["Events"][0]["EventType"]), (&2.into(), &"Preempt".into()));
    fake.notice(Action::Terminate, Duration::from_secs(90));
    let moved = document(&fake);
    assert_eq!(moved["DocumentIncarnation"], 3);
    assert_eq!(moved["Events"][0]["EventId"], first["Events"][0]["EventId"], "a moved event keeps its id");
    assert_ne!(moved["Events"][0]["NotBefore"], first["Events"][0]["NotBefore"]);
    fake.advance_clock(Duration::from_secs(3600));
    fake.notice(Action::Terminate, When::Usual);
    let usual = document(&fake);
    assert_eq!(usual["DocumentIncarnation"], 4);
    let time = |document: &Value| {
        let text = document["Events"][0]["NotBefore"].as_str().expect("a time").to_owned();
        jiff::fmt::rfc2822::parse(&text).expect("an RFC 1123 time").timestamp().as_second()
    };
    // An hour later, and 30 s ahead as the first was.
    assert!((3600..3660).contains(&(time(&usual) - time(&first))), "{usual}");
    fake.withdraw();
    assert_eq!(document(&fake), json!({"DocumentIncarnation": 5, "Events": []}));
}

/// "The Metadata: true header is required", "requests that contain X-Forwarded-For are rejected", "duplicate query
/// parameters are rejected".
#[test]
fn requests_that_break_a_rule_are_bad() {
    let fake = start();
    let bare = request(&fake, "GET", EVENTS, &[]);
    assert_eq!(bare.status, 400);
    assert!(parsed(&bare)["error"].as_str().is_some_and(|why| why.contains("metadata header")), "{}", bare.text());
    assert_eq!(request(&fake, "GET", EVENTS, &[("Metadata", "false")]).status, 400);
    assert_eq!(request(&fake, "GET", EVENTS, &[MARK, ("X-Forwarded-For", "10.0.0.1")]).status, 400);
    assert_eq!(get(&fake, "/metadata/scheduledevents?api-version=2020-07-01&api-version=2020-07-01").status, 400);
    assert_eq!(request(&fake, "DELETE", EVENTS, &[MARK]).status, 405);
    assert_eq!(get(&fake, "/metadata/nothing?api-version=2021-02-01").status, 404);
    assert_eq!(get(&fake, "/latest/meta-data/").status, 404);
    assert_eq!(request(&fake, "GET", "/metadata/scheduledevents?api-version=2017-03-01", &[]).status, 200);
}

/// "api-version was not specified in the request … newest-versions".
#[test]
fn a_version_that_does_not_exist_is_refused_with_those_that_do() {
    let fake = start();
    for (path, expected) in [
        ("/metadata/scheduledevents", "Bad request. api-version was not specified in the request."),
        ("/metadata/instance", "Bad request. api-version was not specified in the request."),
        ("/metadata/scheduledevents?api-version=1999-01-01", "Bad request. api-version is invalid"),
    ] {
        let reply = get(&fake, path);
        assert_eq!(reply.status, 400, "{path}");
        let body = parsed(&reply);
        let why = body["error"].as_str().expect("a reason");
        assert!(why.starts_with(expected), "{why}");
        assert_eq!(body["newest-versions"][0], "2025-04-07");
    }
}

/// 2024-07-09 adds SpotRebalanceRecommendation and is served in some places only; elsewhere it is 400 or 404.
#[test]
fn the_version_with_recommendations_is_served_only_when_switched_on() {
    const NEW: &str = "/metadata/scheduledevents?api-version=2024-07-09";
    let fake = start();
    assert_eq!(get(&fake, NEW).status, 400);
    fake.settings(Settings {
        azure: AzureSettings { unserved_version_status: 404, ..UNLIMITED },
        ..Settings::default()
    });
    assert_eq!(get(&fake, NEW).status, 404);
    fake.settings(Settings { azure: AzureSettings { serves_2024_07_09: true, ..UNLIMITED }, ..Settings::default() });
    fake.rebalance();
    assert_eq!(parsed(&get(&fake, NEW))["Events"][0]["EventType"], "SpotRebalanceRecommendation");
    assert_eq!(document(&fake)["Events"], json!([]), "an older version does not know the type");
}

/// The table of versions: Preempt since 2017-11-01, Terminate since 2019-01-01, Description since 2019-04-01, EventSource
/// since 2019-08-01, DurationInSeconds since 2020-07-01; the preview put an underscore before names.
#[test]
fn older_versions_have_fewer_fields_and_types() {
    let fake = start();
    for code in ["Reboot", "Preempt", "Terminate"] {
        fake.maintenance(Maintenance::new(code, When::Usual)).expect("a new event");
    }
    let expected = [
        ("2017-03-01", 1, 0),
        ("2017-08-01", 1, 0),
        ("2017-11-01", 2, 0),
        ("2019-01-01", 3, 0),
        ("2019-04-01", 3, 1),
        ("2019-08-01", 3, 2),
        ("2020-07-01", 3, 3),
    ];
    for (version, events, later_fields) in expected {
        let body = parsed(&get(&fake, &format!("/metadata/scheduledevents?api-version={version}")));
        assert_eq!(body["Events"].as_array().map(Vec::len), Some(events), "{version}");
        let fields = ["Description", "EventSource", "DurationInSeconds"];
        let present = fields.iter().filter(|field| body["Events"][0].get(field).is_some()).count();
        assert_eq!(present, later_fields, "{version}");
    }
    let preview = parsed(&get(&fake, "/metadata/scheduledevents?api-version=2017-03-01"));
    assert_eq!(preview["Events"][0]["Resources"], json!(["_workers_0"]));
}

#[test]
fn times_can_be_iso_8601_as_a_well_known_mock_writes_them() {
    let fake = start_with(AzureSettings { iso_times: true, ..UNLIMITED });
    let time: Timestamp = "2022-04-11T22:26:58Z".parse().expect("a valid time");
    fake.maintenance(Maintenance::new("Redeploy", time)).expect("a new event");
    assert_eq!(document(&fake)["Events"][0]["NotBefore"], "2022-04-11T22:26:58Z");
}

/// "Always 200 for a valid id, even if already approved"; approval has the event begin, and soon it is gone.
#[test]
fn an_approved_event_starts_and_is_soon_gone() {
    let fake = start();
    let event_id = fake.maintenance(Maintenance::new("Reboot", When::Usual)).expect("a new event");
    let body = json!({"StartRequests": [{"EventId": event_id.to_lowercase()}]}).to_string();
    assert_eq!(approve(&fake, &body), 200);
    assert_eq!(document(&fake)["Events"][0]["EventStatus"], "Started");
    assert_eq!(approve(&fake, &body), 200, "approved before");
    fake.advance_clock(Duration::from_secs(11));
    assert_eq!(document(&fake), json!({"DocumentIncarnation": 4, "Events": []}));
    assert_eq!(approve(&fake, &body), 200, "gone, but once valid");
}

#[test]
fn a_malformed_approval_is_bad_and_changes_nothing() {
    let fake = start();
    fake.maintenance(Maintenance::new("Reboot", When::Usual)).expect("a new event");
    let before = document(&fake);
    for body in
        ["", "{", "{}", r#"{"StartRequests": []}"#, r#"{"StartRequests": [{"Id": "x"}]}"#, r#"{"StartRequests":"#]
    {
        assert_eq!(approve(&fake, body), 400, "{body}");
    }
    assert_eq!(approve(&fake, r#"{"StartRequests": [{"EventId": "never-was"}]}"#), 400);
    assert_eq!(document(&fake), before);
}

/// "Hardware failure: the event appears directly as Started."
#[test]
fn an_event_can_begin_as_it_appears() {
    let fake = start();
    let mut event = Maintenance::new("Reboot", When::Usual);
    event.started = true;
    fake.maintenance(event).expect("a new event");
    let shown = &document(&fake)["Events"][0];
    assert_eq!((&shown["EventStatus"], &shown["NotBefore"]), (&"Started".into(), &"".into()));
}

/// "The first request enables scheduled events … the reply may be delayed up to two minutes."
#[test]
fn the_first_reply_comes_late_and_the_next_at_once() {
    let fake = start_with(AzureSettings { first_reply_seconds: 120.0, ..UNLIMITED });
    let mut first = Connection::open(fake.address());
    first.send("GET", EVENTS, &[MARK], "");
    assert!(fake.wait_for_held(1, PATIENCE));
    assert_eq!(get(&fake, "/metadata/versions").status, 200, "instance data is not held back");
    fake.advance_clock(Duration::from_secs(119));
    assert!(fake.wait_for_held(1, Duration::ZERO));
    assert_eq!(fake.requests().iter().filter(|request| request.path.ends_with("scheduledevents")).count(), 0);
    fake.advance_clock(Duration::from_secs(1));
    assert_eq!(first.receive(false).expect("a reply").status, 200);
    assert_eq!(get(&fake, EVENTS).status, 200);
}

/// "No request for 24 hours: disabled"; enabled again, the number of the document is reset.
#[test]
fn a_day_without_a_request_resets_the_number() {
    let fake = start();
    fake.notice(Action::Terminate, Duration::from_secs(30));
    assert_eq!(document(&fake)["DocumentIncarnation"], 2);
    fake.advance_clock(Duration::from_secs(23 * 3600));
    assert_eq!(document(&fake)["DocumentIncarnation"], 2);
    fake.advance_clock(Duration::from_secs(24 * 3600));
    assert_eq!(document(&fake)["DocumentIncarnation"], 1);
}

/// "The Instance Metadata Service … limited to 5 requests per second per VM … 429".
#[test]
fn the_sixth_request_in_a_second_is_one_too_many() {
    let fake = start_with(AzureSettings::default());
    // Sent together, so that even a slow machine has more than five of them in one second.
    let mut connection = Connection::open(fake.address());
    let request = format!("GET {EVENTS} HTTP/1.1\r\nHost: metadata\r\nMetadata: true\r\n\r\n");
    connection.send_bytes(request.repeat(50).as_bytes());
    let statuses: Vec<u16> = (0..50).map(|_| connection.receive(false).expect("a reply").status).collect();
    assert_eq!(statuses[..5], [200; 5]);
    assert!(statuses.contains(&429), "{statuses:?}");
    fake.advance_clock(Duration::from_secs(1));
    assert_eq!(get(&fake, EVENTS).status, 200);
}

#[test]
fn gone_and_failing_replies_come_as_faults() {
    let fake = start();
    for code in [410, 429, 500] {
        fake.set_fault(Fault::new(Effect::Status(code)).paths(["scheduledevents"]).count(1));
        let reply = get(&fake, EVENTS);
        assert_eq!(reply.status, code);
        assert!(parsed(&reply)["error"].is_string());
        assert_eq!(get(&fake, EVENTS).status, 200);
    }
}

/// "All primitives are strings"; a leaf needs format=text; `versions` needs no version.
#[test]
fn instance_data_is_text_or_json() {
    let fake = start();
    let body = parsed(&get(&fake, "/metadata/instance/compute?api-version=2021-02-01"));
    for (field, expected) in [
        ("name", "workers_0"),
        ("vmScaleSetName", "workers"),
        ("location", "westeurope"),
        ("zone", "1"),
        ("vmSize", "Standard_D4s_v5"),
        ("priority", "Spot"),
        ("evictionPolicy", "Delete"),
        ("platformFaultDomain", "0"),
    ] {
        assert_eq!(body[field], expected, "{field}");
    }
    assert_eq!(parsed(&get(&fake, "/metadata/instance?api-version=2021-02-01"))["compute"], body);
    let leaf = get(&fake, "/metadata/instance/compute/name?api-version=2021-02-01&format=text");
    assert_eq!((leaf.status, leaf.text()), (200, "workers_0"));
    assert_eq!(get(&fake, "/metadata/instance/compute/name?api-version=2021-02-01").status, 400);
    let versions = parsed(&get(&fake, "/metadata/versions"));
    assert!(versions["apiVersions"].as_array().is_some_and(|versions| versions.contains(&"2021-02-01".into())));
}
