//! What holds for all providers alike: faults, control requests, times of changes.

use std::io::ErrorKind;
use std::time::Duration;

use fake_metadata::{Action, Body, ChangeError, Effect, FakeMetadata, Fault, GARBAGE, Options, Provider, When};
use serde_json::Value;

use crate::client::{Connection, PATIENCE, Reply};

/// What announces a spot instance's end, and the headers a request for it needs.
fn notice(provider: Provider) -> (&'static str, &'static [(&'static str, &'static str)]) {
    match provider {
        Provider::Aws => ("/latest/meta-data/spot/instance-action", &[]),
        Provider::Azure => ("/metadata/scheduledevents?api-version=2020-07-01", &[("Metadata", "true")]),
        Provider::Gcp => ("/computeMetadata/v1/instance/preempted", &[("Metadata-Flavor", "Google")]),
        Provider::Alibaba => ("/latest/meta-data/instance/spot/termination-time", &[]),
        Provider::Tencent => ("/latest/meta-data/spot/termination-time", &[]),
    }
}

/// What a fault's `paths` say for it.
fn pattern(provider: Provider) -> &'static str {
    match provider {
        Provider::Azure => "scheduledevents",
        Provider::Gcp => "instance/preempted",
        _ => "*spot/*",
    }
}

/// A service with a notice up.
fn start(provider: Provider) -> FakeMetadata {
    let mut options = Options { tokens_required: false, ..Options::of(provider) };
    options.settings.azure.requests_per_second = 0;
    let fake = FakeMetadata::start(options).expect("the service starts");
    fake.notice(Action::Terminate, When::Usual);
    fake
}

fn ask(fake: &FakeMetadata, provider: Provider) -> Connection {
    let (path, headers) = notice(provider);
    let mut connection = Connection::open(fake.address());
    connection.send("GET", path, headers, "");
    connection
}

fn read(fake: &FakeMetadata, provider: Provider) -> Reply {
    ask(fake, provider).receive(false).expect("a reply")
}

fn with_fault(effect: Effect, check: impl Fn(Provider, &FakeMetadata, &Reply)) {
    for provider in Provider::ALL {
        let fake = start(provider);
        let usual = read(&fake, provider);
        assert_eq!(usual.status, 200, "{provider}");
        let fault = fake.set_fault(Fault::new(effect.clone()).paths([pattern(provider)]));
        check(provider, &fake, &usual);
        fake.clear_fault(fault);
        assert_eq!(read(&fake, provider).body, usual.body, "{provider}: the fault is over");
    }
}

#[test]
fn statuses_and_redirects_replace_the_answer() {
    for status in [401, 403, 404, 410, 429, 500, 503] {
        with_fault(Effect::Status(status), |provider, fake, _| assert_eq!(read(fake, provider).status, status));
    }
    with_fault(Effect::Redirect("http://192.0.2.1/".to_owned()), |provider, fake, _| {
        let reply = read(fake, provider);
        assert_eq!((reply.status, reply.header("Location")), (302, Some("http://192.0.2.1/")));
    });
}

#[test]
fn bodies_are_garbled_mislabelled_cut_short_slow_or_huge() {
    with_fault(Effect::Garbage(GARBAGE.to_vec()), |provider, fake, _| assert_eq!(read(fake, provider).body, GARBAGE));
    let wrong = br#"{"unexpected": [1, 2, 3]}"#;
    with_fault(Effect::Garbage(wrong.to_vec()), |provider, fake, _| assert_eq!(read(fake, provider).body, wrong));
    with_fault(Effect::ContentType("image/png".to_owned()), |provider, fake, usual| {
        let reply = read(fake, provider);
        assert_eq!((reply.header("Content-Type"), &reply.body), (Some("image/png"), &usual.body));
    });
    with_fault(Effect::Truncated, |provider, fake, usual| {
        let mut connection = ask(fake, provider);
        assert_eq!(connection.receive(false).expect("half a reply").body, usual.body[..usual.body.len() / 2]);
        assert!(connection.is_closed());
    });
    with_fault(Effect::Drip(Duration::from_micros(10)), |provider, fake, usual| {
        assert_eq!(read(fake, provider).body, usual.body);
    });
    with_fault(Effect::Oversized(10_000_000), |provider, fake, usual| {
        let reply = read(fake, provider);
        assert_eq!((reply.header("Content-Length"), reply.body.len()), (None, 10_000_000));
        assert!(reply.body.starts_with(&usual.body));
    });
}

#[test]
fn connections_hang_and_are_reset() {
    with_fault(Effect::Hang, |provider, fake, _| {
        let mut connection = ask(fake, provider);
        assert!(fake.wait_for(1, PATIENCE, |request| request.status.is_none()).is_some(), "{provider}");
        connection.set_patience(Duration::from_millis(20));
        assert!(connection.receive(false).is_err(), "{provider} answered");
    });
    with_fault(Effect::Reset, |provider, fake, _| {
        let error = ask(fake, provider).receive(false).expect_err("no reply");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{provider}");
    });
}

#[test]
fn each_third_request_fails() {
    for provider in Provider::ALL {
        let fake = start(provider);
        fake.set_fault(Fault::new(Effect::Status(500)).every(3));
        let statuses: Vec<u16> = (0..6).map(|_| read(&fake, provider).status).collect();
        assert_eq!(statuses, [200, 200, 500, 200, 200, 500], "{provider}");
    }
}

#[test]
fn a_service_that_is_off_forbids_everything() {
    for provider in Provider::ALL {
        let fake = start(provider);
        fake.enable(false);
        assert_eq!(read(&fake, provider).status, 403, "{provider}");
        fake.enable(true);
        assert_eq!(read(&fake, provider).status, 200, "{provider}");
    }
}

#[test]
fn any_path_can_answer_something_else() {
    for (provider, path) in [(Provider::Azure, "scheduledevents"), (Provider::Gcp, "instance/preempted")] {
        let fake = start(provider);
        fake.body(path, Body::Text("surprise".to_owned()));
        assert_eq!(read(&fake, provider).text(), "surprise", "{provider}");
        fake.body(path, Body::Absent);
        assert_eq!(read(&fake, provider).status, 404, "{provider}");
        fake.body(path, Body::Usual);
        assert_eq!(read(&fake, provider).status, 200, "{provider}");
    }
}

#[test]
fn a_change_that_means_nothing_to_a_provider_is_refused() {
    let fake = start(Provider::Tencent);
    let refused = fake.apply(fake_metadata::Change::RevokeTokens);
    let unsupported = ChangeError::Unsupported { provider: Provider::Tencent, change: "revoke_tokens" };
    assert_eq!(refused, Err(unsupported));
}

fn post(fake: &FakeMetadata, name: &str, body: &str) -> Value {
    let mut connection = Connection::open(fake.address());
    connection.send("POST", &format!("/_control/{name}"), &[("Content-Type", "application/json")], body);
    let reply = connection.receive(false).expect("a reply");
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    serde_json::from_slice(&reply.body).expect("valid JSON")
}

/// Appear, move, begin, be withdrawn: by control requests, on every provider that has events.
#[test]
fn control_requests_lead_an_event_through_its_life() {
    for (provider, code) in [
        (Provider::Aws, "system-reboot"),
        (Provider::Azure, "Redeploy"),
        (Provider::Gcp, "MIGRATE_ON_HOST_MAINTENANCE"),
    ] {
        let fake = start(provider);
        let announced = post(&fake, "maintenance", &format!(r#"{{"code": "{code}", "in_seconds": 900}}"#));
        let event_id = announced["event_id"].as_str().expect("an id");
        post(&fake, "move-maintenance", &format!(r#"{{"event_id": "{event_id}", "in_seconds": 60}}"#));
        post(&fake, "start-maintenance", &format!(r#"{{"event_id": "{event_id}"}}"#));
        post(&fake, "complete-maintenance", &format!(r#"{{"event_id": "{event_id}"}}"#));
        post(&fake, "withdraw", "");
        let mut connection = Connection::open(fake.address());
        connection.send("GET", "/_control/changes", &[], "");
        let told: Value = serde_json::from_slice(&connection.receive(false).expect("a reply").body).expect("JSON");
        let changes: Vec<&str> =
            told["changes"].as_array().expect("a list").iter().filter_map(|c| c["change"].as_str()).collect();
        let words: Vec<&str> = changes.iter().filter_map(|change| change.split(' ').next()).collect();
        let expected =
            ["notice", "maintenance", "move_maintenance", "start_maintenance", "complete_maintenance", "withdraw"];
        assert_eq!(words, expected, "{provider}");
        assert_eq!(told["changes"][1]["event_id"], event_id, "{provider}");
        assert!(told["changes"][1]["boot_ns"].is_u64() && told["changes"][1]["monotonic_ns"].is_u64());
    }
}

/// A change is not visible before its stamp: a client that reads it afterwards has its reply after the stamp, and its request
/// before the stamp shows the state before.
#[test]
fn the_moment_a_notice_became_visible_lies_between_its_setting_and_its_reading() {
    for provider in Provider::ALL {
        let fake = start(provider);
        fake.withdraw();
        let _before = read(&fake, provider);
        let asked_ns = fake.requests().last().expect("a request").boot_ns;
        fake.notice(Action::Terminate, When::Usual);
        let visible_ns = fake.changed_boot_ns().expect("a change");
        let _after = read(&fake, provider);
        let written_ns = fake.first_notice_write().expect("a notice was written");
        assert!(asked_ns < visible_ns && visible_ns < written_ns, "{provider}");
    }
}
