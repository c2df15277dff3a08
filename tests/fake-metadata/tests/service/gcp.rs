//! GCP: the rules of requests, values that clients wait for, maintenance and preemption. What is claimed is what Google's
//! "Query VM metadata", "Get live migration notices" and "Troubleshoot the metadata server" say, or was recorded;
//! quotations give the sense, often in fewer words.

use std::time::Duration;

use fake_metadata::{
    Action, Change, Effect, FakeMetadata, Fault, GcpSettings, Maintenance, NoUpcoming, Options, Provider, Settings,
    Upcoming, UpcomingForm, When,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::client::{Connection, PATIENCE, Reply, request};

const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");
const PREEMPTED: &str = "instance/preempted";
const MAINTENANCE: &str = "instance/maintenance-event";
const UPCOMING: &str = "instance/upcoming-maintenance";
const MIGRATE: &str = "MIGRATE_ON_HOST_MAINTENANCE";

fn start() -> FakeMetadata {
    FakeMetadata::start(Options::of(Provider::Gcp)).expect("the service starts")
}

fn start_with(gcp: GcpSettings) -> FakeMetadata {
    let settings = Settings { gcp, ..Settings::default() };
    FakeMetadata::start(Options { settings, ..Options::of(Provider::Gcp) }).expect("the service starts")
}

fn at(path: &str) -> String {
    format!("/computeMetadata/v1/{path}")
}

fn get(fake: &FakeMetadata, path: &str) -> Reply {
    request(fake, "GET", &at(path), &[FLAVOR])
}

/// A request that was sent and not answered yet.
fn waiting(fake: &FakeMetadata, path: &str) -> Connection {
    let mut connection = Connection::open(fake.address());
    connection.send("GET", &at(path), &[FLAVOR], "");
    assert!(fake.wait_for_held(1, PATIENCE), "{path} does not hang");
    connection
}

/// "Metadata-Flavor: Google" is required and sent back, "X-Forwarded-For" is rejected.
#[test]
fn the_flavour_is_required_and_sent_back() {
    let fake = start();
    let refused = request(&fake, "GET", &at(PREEMPTED), &[]);
    assert_eq!((refused.status, refused.text()), (403, "Missing Metadata-Flavor:Google header."));
    assert_eq!(request(&fake, "GET", &at(PREEMPTED), &[FLAVOR, ("X-Forwarded-For", "10.0.0.1")]).status, 403);
    let served = get(&fake, PREEMPTED);
    assert_eq!((served.status, served.text()), (200, "FALSE"));
    assert_eq!(served.header("Metadata-Flavor"), Some("Google"));
    assert_eq!(served.header("Content-Type"), Some("application/text"));
    let etag = served.header("ETag").expect("an ETag");
    assert!(etag.len() == 16 && etag.chars().all(|digit| digit.is_ascii_hexdigit()), "{etag}");
    assert_eq!(get(&fake, "instance/nothing").status, 404);
}

#[test]
fn the_instance_is_described_by_values_and_as_a_tree() {
    let fake = start();
    for (path, expected) in [
        ("instance/id", "3520447112733571046"),
        ("instance/name", "worker-1"),
        ("instance/zone", "projects/123456789012/zones/us-central1-a"),
        ("instance/machine-type", "projects/123456789012/machineTypes/n2-standard-4"),
        ("instance/scheduling/preemptible", "TRUE"),
        ("instance/scheduling/on-host-maintenance", "TERMINATE"),
        ("instance/scheduling/automatic-restart", "FALSE"),
        ("instance/scheduling/", "automatic-restart\non-host-maintenance\npreemptible\n"),
        (MAINTENANCE, "NONE"),
    ] {
        assert_eq!(get(&fake, path).text(), expected, "{path}");
    }
    let tree: Value =
        serde_json::from_slice(&get(&fake, "instance/?recursive=true&alt=json").body).expect("valid JSON");
    assert_eq!((&tree["preempted"], &tree["maintenanceEvent"]), (&"FALSE".into(), &"NONE".into()));
    assert_eq!(tree["scheduling"]["onHostMaintenance"], "TERMINATE");
    assert_eq!(get(&fake, "instance/preempted?alt=json").text(), "\"FALSE\"");
    assert_eq!(get(&fake, "instance/scheduling/provisioning-model").status, 404, "often so in reality");
}

/// "A directory URL without a trailing slash is redirected to the one with it"; a value never is.
#[test]
fn a_directory_without_its_slash_is_elsewhere() {
    let reply = get(&start(), "instance/scheduling?alt=text");
    assert_eq!(reply.status, 301);
    assert_eq!(reply.header("Location"), Some("/computeMetadata/v1/instance/scheduling/?alt=text"));
}

/// `preempted` is FALSE and turns TRUE; a request that waits for it is answered at once.
#[test]
fn a_waiting_request_is_answered_the_moment_the_value_changes() {
    let fake = start();
    let etag = get(&fake, PREEMPTED).header("ETag").expect("an ETag").to_owned();
    let mut hanging = waiting(&fake, &format!("{PREEMPTED}?wait_for_change=true&last_etag={etag}"));
    fake.notice(Action::Terminate, When::Usual);
    let reply = hanging.receive(false).expect("a reply");
    assert_eq!((reply.status, reply.text()), (200, "TRUE"));
    assert_ne!(reply.header("ETag"), Some(etag.as_str()));
    let visible = fake.changed_boot_ns().expect("a change");
    assert!(fake.first_notice_write().is_some_and(|written| written >= visible));
}

/// "last_etag … returns at once if the current ETag differs", so no change between two requests is missed. Clients begin
/// with NONE (guest agent) or 0 (Google's sample).
#[test]
fn a_request_with_an_old_etag_does_not_wait() {
    let fake = start();
    for start in ["NONE", "0"] {
        let reply = get(&fake, &format!("{PREEMPTED}?wait_for_change=true&last_etag={start}"));
        assert_eq!(reply.text(), "FALSE");
    }
    let etag = get(&fake, PREEMPTED).header("ETag").expect("an ETag").to_owned();
    fake.notice(Action::Terminate, When::Usual);
    fake.withdraw();
    let reply = get(&fake, &format!("{PREEMPTED}?wait_for_change=true&last_etag={etag}"));
    assert_eq!((reply.status, reply.text()), (200, "FALSE"), "a value that went and came back has changed");
}

/// "timeout_sec=N: the server returns the current value after N seconds", with 200 and the same ETag.
#[test]
fn a_wait_that_ends_gives_the_value_as_it_is() {
    let fake = start();
    let etag = get(&fake, PREEMPTED).header("ETag").expect("an ETag").to_owned();
    let query = format!("{PREEMPTED}?wait_for_change=true&timeout_sec=60&last_etag={etag}");
    let mut hanging = waiting(&fake, &query);
    fake.advance_clock(Duration::from_secs(59));
    assert!(fake.wait_for_held(1, Duration::ZERO));
    fake.advance_clock(Duration::from_secs(1));
    let reply = hanging.receive(false).expect("a reply");
    assert_eq!((reply.status, reply.text(), reply.header("ETag")), (200, "FALSE", Some(etag.as_str())));
}

#[test]
fn a_waiting_request_hears_only_of_what_it_asked_for() {
    let fake = start();
    let mut hanging = waiting(&fake, &format!("{PREEMPTED}?wait_for_change=true"));
    let mut whole = Connection::open(fake.address());
    whole.send("GET", &at("instance/?recursive=true&wait_for_change=true"), &[FLAVOR], "");
    assert!(fake.wait_for_held(2, PATIENCE));
    fake.maintenance(Maintenance::new(MIGRATE, When::Usual)).expect("the first");
    let tree: Value = serde_json::from_slice(&whole.receive(false).expect("a reply").body).expect("valid JSON");
    assert_eq!(tree["maintenanceEvent"], MIGRATE);
    assert!(fake.wait_for_held(1, Duration::ZERO), "preempted has not changed");
    fake.notice(Action::Terminate, When::Usual);
    assert_eq!(hanging.receive(false).expect("a reply").text(), "TRUE");
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let fake = start();
    drop(waiting(&fake, &format!("{PREEMPTED}?wait_for_change=true")));
    let left = fake.wait_for(1, PATIENCE, |request| request.status.is_none()).expect("it is noticed");
    assert_eq!(left[0].query, "wait_for_change=true");
}

/// "The 60 s warning is only given if the key was queried at least once since the last event."
#[test]
fn maintenance_warns_only_those_who_asked_since_the_last() {
    let fake = start();
    let first = fake.maintenance(Maintenance::new(MIGRATE, When::Usual)).expect("a new one");
    assert_eq!(get(&fake, MAINTENANCE).text(), "NONE", "nobody had asked");
    fake.cancel_maintenance(&first).expect("an event");
    assert_eq!(get(&fake, MAINTENANCE).text(), "NONE");
    let second = fake.maintenance(Maintenance::new(MIGRATE, When::Usual)).expect("a new one");
    assert_eq!(get(&fake, MAINTENANCE).text(), MIGRATE);
    fake.complete_maintenance(&second).expect("an event");
    assert_eq!(get(&fake, MAINTENANCE).text(), "NONE");
    let eager = start_with(GcpSettings { warns_only_when_asked: false, ..GcpSettings::default() });
    eager.maintenance(Maintenance::new("TERMINATE_ON_HOST_MAINTENANCE", When::Usual)).expect("a new one");
    assert_eq!(get(&eager, MAINTENANCE).text(), "TERMINATE_ON_HOST_MAINTENANCE");
}

/// "503 during … migration", and "a hanging GET may be cut".
#[test]
fn a_migration_makes_everything_unavailable_and_cuts_those_who_wait() {
    let fake = start();
    assert_eq!(get(&fake, MAINTENANCE).text(), "NONE");
    let event_id = fake.maintenance(Maintenance::new(MIGRATE, When::Usual)).expect("a new one");
    let mut hanging = waiting(&fake, &format!("{PREEMPTED}?wait_for_change=true"));
    fake.start_maintenance(&event_id).expect("an event");
    assert!(hanging.receive(false).is_err());
    let refused = get(&fake, "instance/id");
    assert_eq!((refused.status, refused.header("Metadata-Flavor")), (503, Some("Google")));
    fake.complete_maintenance(&event_id).expect("an event");
    assert_eq!(get(&fake, MAINTENANCE).text(), "NONE");
}

fn upcoming(status: &str) -> Change {
    Change::UpcomingMaintenance(Upcoming {
        window_start: When::At("2026-03-01T00:00:00Z".parse().expect("a valid time")),
        window: SignedDuration::from_hours(4),
        latest_window_start: Some(When::At("2026-03-08T00:00:00Z".parse().expect("a valid time"))),
        kind: "SCHEDULED".to_owned(),
        status: status.to_owned(),
        can_reschedule: true,
        reasons: vec!["HARDWARE_REPAIR".to_owned()],
    })
}

/// Without one: 503 with the recorded body, or NONE, or `{ }`, or 404. All four were seen.
#[test]
fn no_upcoming_maintenance_looks_like_one_of_four_things() {
    let fake = start();
    let reply = get(&fake, "instance/upcoming-maintenance?alt=json");
    let recorded = r#"{"error":"no notifications have been received yet, try again later"}"#;
    assert_eq!((reply.status, reply.text()), (503, recorded));
    for (no_upcoming, status, body) in [
        (NoUpcoming::None, 200, Some("NONE")),
        (NoUpcoming::Empty, 200, Some("{ }")),
        (NoUpcoming::NotFound, 404, None),
    ] {
        fake.settings(Settings { gcp: GcpSettings { no_upcoming, ..GcpSettings::default() }, ..Settings::default() });
        let reply = get(&fake, UPCOMING);
        assert_eq!(reply.status, status, "{no_upcoming:?}");
        assert!(body.is_none_or(|body| reply.text() == body), "{}", reply.text());
    }
}

#[test]
fn an_upcoming_maintenance_is_an_object_in_one_of_three_forms() {
    let fake = start();
    fake.apply(upcoming("PENDING")).expect("GCP has it");
    let snake = json!({"can_reschedule": "true", "latest_window_start_time": "2026-03-08T00:00:00Z",
        "maintenance_status": "PENDING", "type": "SCHEDULED", "window_start_time": "2026-03-01T00:00:00Z",
        "window_end_time": "2026-03-01T04:00:00Z", "maintenance_reasons": ["HARDWARE_REPAIR"]});
    let read = || serde_json::from_slice::<Value>(&get(&fake, "instance/upcoming-maintenance?alt=json").body);
    assert_eq!(read().expect("valid JSON"), snake);
    let form = |upcoming_form| {
        fake.settings(Settings { gcp: GcpSettings { upcoming_form, ..GcpSettings::default() }, ..Settings::default() });
    };
    form(UpcomingForm::Wrapped);
    assert_eq!(read().expect("valid JSON"), json!({"Upcoming maintenance": snake}));
    form(UpcomingForm::CamelCase);
    assert_eq!(read().expect("valid JSON")["windowStartTime"], "2026-03-01T00:00:00Z");
    fake.apply(upcoming("ONGOING")).expect("GCP has it");
    assert_eq!(read().expect("valid JSON")["maintenanceStatus"], "ONGOING");
    fake.apply(Change::ClearUpcomingMaintenance).expect("GCP has it");
    assert_eq!(get(&fake, UPCOMING).status, 503);
}

#[test]
fn faults_strike_a_request_that_would_hang() {
    let fake = start();
    fake.set_fault(Fault::new(Effect::Status(503)).paths([PREEMPTED]).every(2));
    let etag = get(&fake, PREEMPTED).header("ETag").expect("an ETag").to_owned();
    let reply = get(&fake, &format!("{PREEMPTED}?wait_for_change=true&last_etag={etag}"));
    assert_eq!((reply.status, reply.header("Metadata-Flavor")), (503, Some("Google")));
}
