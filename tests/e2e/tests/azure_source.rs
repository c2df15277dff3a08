//! The Azure source against a metadata service that is real on the wire and goes wrong on demand.

use cloudsnooze::config::AzureSource;
use cloudsnooze::event::Event;
use cloudsnooze::normalise::NoticeKey;
use cloudsnooze::normalise::revise::Reviser;
use cloudsnooze::source::azure::Azure;
use cloudsnooze::source::cloud::{Cloud, Pace};
use cloudsnooze::source::health::State;
use cloudsnooze::source::imds::MetadataClient;
use cloudsnooze::sys::bell::Bell;
use e2e::watched::{PATIENCE, Told, Watched, assert_pace_kept};
use fake_metadata::{
    Action, AzureSettings, Change, Effect, FakeMetadata, Fault, GARBAGE, Maintenance, Options, Provider, Request,
    Settings, When,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HALF_A_MINUTE: Duration = Duration::from_secs(30);
const SECOND_NS: i64 = 1_000_000_000;

/// Tests ask more often than a machine may.
fn unlimited() -> AzureSettings {
    AzureSettings { requests_per_second: 0, ..AzureSettings::default() }
}

fn fake_with(azure: AzureSettings) -> FakeMetadata {
    let settings = Settings { azure, ..Settings::default() };
    FakeMetadata::start(Options { settings, ..Options::of(Provider::Azure) }).expect("a free port")
}

fn fake() -> FakeMetadata {
    fake_with(unlimited())
}

fn start(fake: &FakeMetadata, seconds: f64, reviser: Reviser) -> Watched {
    let settings = AzureSource { endpoint: fake.base_url(), request_timeout_ms: 300, ..AzureSource::default() };
    let pace = Pace::every(seconds, Azure::ITEMS);
    Watched::start(pace, reviser, |bell| Azure::new(&settings, bell).expect("a valid endpoint"))
}

fn watch(fake: &FakeMetadata) -> Watched {
    start(fake, 0.05, Reviser::new(Azure::SOURCE))
}

fn is_events(request: &Request) -> bool {
    request.path.ends_with("scheduledevents")
}

/// Waits until the events have been asked for and answered `polls` more times.
fn polls(fake: &FakeMetadata, polls: usize) {
    let before = fake.requests().iter().filter(|r| is_events(r)).count();
    // A request shows that the answers to those before it have been dealt with.
    assert!(fake.wait_for(before + polls + 1, PATIENCE, is_events).is_some(), "events are not asked for");
}

fn event_of(code: &str, resources: &[&str]) -> Maintenance {
    let resources = resources.iter().map(|name| (*name).to_owned()).collect();
    Maintenance { resources, ..Maintenance::new(code, When::Usual) }
}

fn seconds_left(event: &Event) -> f64 {
    event.seconds_left(event.detected).expect("a deadline")
}

#[test]
fn an_eviction_becomes_one_event_that_names_machine_and_deadline() {
    let fake = fake();
    let mut source = watch(&fake);
    polls(&fake, 2);
    source.assert_silent();
    fake.notice(Action::Terminate, HALF_A_MINUTE);
    let event = source.event("cloud.spot.interrupt");
    assert!((25.0..=30.0).contains(&seconds_left(&event)), "{event:?}");
    assert_eq!((event.severity.as_str(), event.action.as_str()), ("urgent", "terminate"), "its policy is Delete");
    assert_eq!((&*event.machine.instance_id, &*event.machine.region), ("workers_0", "westeurope"));
    assert_eq!((&*event.source, &*event.provider), ("azure.scheduled-events", "azure"));
    polls(&fake, 5);
    source.assert_silent();
    assert_eq!((source.report().state, source.report().errors), (State::Seeing, 0));
}

#[test]
fn every_type_becomes_its_event_with_the_deadline_that_azure_gives() {
    for (code, event_type, action, severity, seconds) in [
        ("Freeze", "cloud.maintenance.freeze", "freeze", "warning", 900.0),
        ("Reboot", "cloud.maintenance.reboot", "reboot", "warning", 900.0),
        ("Redeploy", "cloud.maintenance.redeploy", "redeploy", "warning", 600.0),
        ("Preempt", "cloud.spot.interrupt", "terminate", "urgent", 30.0),
        ("Terminate", "cloud.instance.terminate", "terminate", "urgent", 300.0),
    ] {
        for iso_times in [false, true] {
            let fake = fake_with(AzureSettings { iso_times, ..unlimited() });
            fake.maintenance(event_of(code, &["workers_7", "{name}"])).expect("a new id");
            let mut source = watch(&fake);
            let event = source.event(event_type);
            assert_eq!((event.action.as_str(), event.severity.as_str()), (action, severity), "{code}");
            assert!((seconds - 5.0..=seconds).contains(&seconds_left(&event)), "{code}: {event:?}");
            assert_eq!(event.resources, ["workers_7"], "{code}");
        }
    }
}

#[test]
fn what_concerns_the_neighbours_only_is_not_told() {
    let fake = fake();
    for code in ["Preempt", "Freeze", "Terminate"] {
        fake.maintenance(event_of(code, &["workers_1", "workers_00"])).expect("a new id");
    }
    let mut source = watch(&fake);
    polls(&fake, 3);
    source.assert_silent();
    fake.maintenance(event_of("Reboot", &["WORKERS_0"])).expect("a new id");
    source.event("cloud.maintenance.reboot");
}

#[test]
fn maintenance_that_goes_is_withdrawn_whether_it_started_or_not_and_an_eviction_that_started_is_over() {
    let fake = fake();
    let mut source = watch(&fake);
    let id = fake.maintenance(event_of("Freeze", &[])).expect("a new id");
    let event = source.event("cloud.maintenance.freeze");
    fake.cancel_maintenance(&id).expect("a known id");
    assert_eq!(source.event("cloud.maintenance.freeze.cancelled").cancels, Some(event.id));
    let id = fake.maintenance(event_of("Freeze", &[])).expect("a new id");
    let event = source.event("cloud.maintenance.freeze");
    fake.start_maintenance(&id).expect("a known id");
    let Told::Moved(moved, effective) = source.tells() else { panic!("it has begun a quarter of an hour early") };
    assert_eq!(moved, event.id);
    assert!(effective.boot_ns < event.effective.expect("a deadline").boot_ns - 800 * SECOND_NS);
    polls(&fake, 2);
    fake.complete_maintenance(&id).expect("a known id");
    assert_eq!(source.event("cloud.maintenance.freeze.cancelled").cancels, Some(event.id));
    let id = fake.maintenance(event_of("Preempt", &[])).expect("a new id");
    source.event("cloud.spot.interrupt");
    fake.start_maintenance(&id).expect("a known id");
    assert!(matches!(source.tells(), Told::Moved(..)), "it has begun before its time");
    fake.complete_maintenance(&id).expect("a known id");
    polls(&fake, 3);
    source.assert_silent();
}

#[test]
fn one_that_has_begun_as_it_appears_leaves_no_time() {
    let fake = fake();
    fake.maintenance(Maintenance { started: true, ..event_of("Reboot", &[]) }).expect("a new id");
    let mut source = watch(&fake);
    let event = source.event("cloud.maintenance.reboot");
    assert_eq!((event.severity.as_str(), seconds_left(&event)), ("critical", 0.0));
    polls(&fake, 3);
    source.assert_silent();
}

#[test]
fn a_deadline_that_moves_is_told_for_the_same_event_and_one_that_drifts_is_not() {
    let fake = fake();
    let id = fake.maintenance(event_of("Reboot", &[])).expect("a new id");
    let mut source = watch(&fake);
    let event = source.event("cloud.maintenance.reboot");
    fake.move_maintenance(&id, Duration::from_secs(60)).expect("a known id");
    let Told::Moved(moved, _) = source.tells() else { panic!("not moved") };
    assert_eq!(moved, event.id);
    fake.set_fault(Fault::new(Effect::Drift(jiff::SignedDuration::from_secs(3))));
    polls(&fake, 10);
    source.assert_silent();
}

#[test]
fn a_local_clock_that_is_hours_behind_does_not_change_the_time_left() {
    let fake = fake();
    fake.advance_clock(Duration::from_secs(3_600));
    fake.notice(Action::Terminate, HALF_A_MINUTE);
    let event = watch(&fake).event("cloud.spot.interrupt");
    assert!((25.0..=30.0).contains(&seconds_left(&event)), "{event:?}");
}

#[test]
fn a_notice_told_before_a_restart_is_not_told_again_and_still_moves() {
    let fake = fake();
    fake.notice(Action::Terminate, HALF_A_MINUTE);
    let told = watch(&fake).event("cloud.spot.interrupt");
    let mut reviser = Reviser::new(Azure::SOURCE);
    reviser.seed(NoticeKey::of(&told), told.id, told.effective, false);
    let mut source = start(&fake, 0.05, reviser);
    polls(&fake, 3);
    fake.start_maintenance(told.raw.as_ref().expect("a document")["EventId"].as_str().expect("an id")).expect("known");
    let Told::Moved(moved, _) = source.tells() else { panic!("not moved") };
    assert_eq!(moved, told.id);
}

#[test]
fn a_number_that_begins_anew_repeats_and_withdraws_nothing() {
    let fake = fake();
    fake.notice(Action::Terminate, HALF_A_MINUTE);
    let mut source = watch(&fake);
    source.event("cloud.spot.interrupt");
    fake.apply(Change::Incarnation { value: 1 }).expect("applied");
    polls(&fake, 3);
    fake.withdraw();
    fake.apply(Change::Incarnation { value: 0 }).expect("applied");
    polls(&fake, 3);
    source.assert_silent();
}

#[test]
fn a_notice_is_not_missed_while_the_name_is_not_known_and_a_neighbours_is_taken_back() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Status(500)).paths(["instance/compute"]));
    fake.maintenance(event_of("Preempt", &["workers_1", "workers_2"])).expect("a new id");
    let mut source = watch(&fake);
    let event = source.event("cloud.spot.interrupt");
    assert_eq!((&*event.machine.instance_id, event.resources.len()), ("", 2));
    fake.clear_faults();
    assert_eq!(source.event("cloud.spot.interrupt.cancelled").cancels, Some(event.id));
    polls(&fake, 2);
    source.assert_silent();
}

#[test]
fn a_name_that_comes_in_time_decides_before_anything_is_told() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Status(500)).paths(["instance/compute"]));
    fake.maintenance(event_of("Freeze", &["workers_1"])).expect("a new id");
    fake.maintenance(event_of("Redeploy", &["workers_1", "{name}"])).expect("a new id");
    let mut source = watch(&fake);
    polls(&fake, 3);
    source.assert_silent();
    fake.clear_faults();
    assert_eq!(source.event("cloud.maintenance.redeploy").machine.instance_id, "workers_0");
    polls(&fake, 2);
    source.assert_silent();
}

#[test]
fn who_this_machine_is_keeps_no_notice_waiting() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Hang).paths(["instance/compute"]));
    let mut source = watch(&fake);
    polls(&fake, 5);
    fake.maintenance(event_of("Terminate", &[])).expect("a new id");
    fake.clear_faults();
    source.event("cloud.instance.terminate");
}

#[test]
fn the_newest_version_that_is_served_is_taken() {
    for status in [400, 404] {
        let fake = fake_with(AzureSettings { unserved_version_status: status, ..unlimited() });
        let mut source = watch(&fake);
        polls(&fake, 3);
        let asked: Vec<String> = fake.requests().into_iter().filter(is_events).map(|r| r.query).collect();
        assert_eq!(asked[0], "api-version=2024-07-09");
        assert!(asked[1..].iter().all(|query| query == "api-version=2020-07-01"), "{asked:?}");
        assert_eq!(source.report().errors, 0, "{}", source.report());
        source.assert_silent();
    }
    let fake = fake_with(AzureSettings { serves_2024_07_09: true, ..unlimited() });
    fake.rebalance();
    let mut source = watch(&fake);
    let event = source.event("cloud.spot.rebalance");
    assert_eq!((event.notice_kind.as_str(), event.effective), ("advisory", None));
    fake.clear_rebalance();
    polls(&fake, 3);
    source.assert_silent();
}

#[test]
fn the_first_answer_may_take_two_minutes_and_status_says_why() {
    let fake = fake_with(AzureSettings { first_reply_seconds: 120.0, ..unlimited() });
    fake.notice(Action::Terminate, Duration::from_secs(600));
    let mut source = watch(&fake);
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("being enabled for this VM, which may take two minutes"), "{report}");
    assert!(source.report().to_string().contains("no answer within the time limit"), "{report}");
    assert!(fake.wait_for_held(1, PATIENCE));
    fake.advance_clock(Duration::from_secs(120));
    source.event("cloud.spot.interrupt");
    source.until(|r| r.state == State::Seeing);
}

#[test]
fn a_question_that_is_left_open_is_heard_when_its_answer_comes() {
    let fake = fake_with(AzureSettings { first_reply_seconds: 120.0, ..unlimited() });
    let bell = Arc::new(Bell::new().expect("a descriptor"));
    let mut client = MetadataClient::new(&fake.base_url(), 300, bell).expect("a valid endpoint");
    client.begin("/metadata/scheduledevents?api-version=2020-07-01", &[("metadata", "true")]).expect("sent");
    assert!(fake.wait_for_held(1, PATIENCE));
    assert_eq!(client.hear(), Ok(None));
    fake.advance_clock(Duration::from_secs(120));
    let began = Instant::now();
    let found = loop {
        if let Some(found) = client.hear().expect("no error") {
            break found;
        }
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    };
    assert_eq!(found.body, br#"{"DocumentIncarnation":1,"Events":[]}"#);
    assert!(client.hear().is_err(), "heard once");
}

/// Every way a request can fail: seen as an error and never as "no notice", the notice is told with the first good answer,
/// and the looks do not become rarer, however many fail.
#[test]
fn no_error_passes_for_the_absence_of_a_notice_or_delays_the_next_look() {
    let cases = [
        (Effect::Status(404), "none of the versions"),
        (Effect::Status(410), "being updated, which takes up to 70 s"),
        (Effect::Status(429), "more than five requests a second"),
        (Effect::Status(500), "HTTP status 500"),
        (Effect::Status(503), "HTTP status 503"),
        (Effect::Garbage(GARBAGE.to_vec()), "not understood: expected JSON"),
        (Effect::Garbage(b"{\"Events\": 1}".to_vec()), "not understood: expected an object with the member Events"),
        (Effect::Truncated, "closed before the answer was complete"),
        (Effect::Reset, "closed before the answer was complete"),
        (Effect::Oversized(10 << 20), "longer than 262144 bytes"),
        (Effect::Redirect("http://127.0.0.1:9/".into()), "a redirect, which is not followed"),
        (Effect::Drip(Duration::from_millis(50)), "no answer within the time limit"),
        (Effect::Hang, "no answer within the time limit"),
    ];
    for (effect, expected) in cases {
        let fake = fake();
        let mut source = watch(&fake);
        polls(&fake, 1);
        fake.set_fault(Fault::new(effect.clone()).paths(["scheduledevents"]));
        fake.notice(Action::Terminate, HALF_A_MINUTE);
        let report = source.until(|r| r.paths[0].consecutive_errors >= 6);
        assert_eq!(report.state, State::Blind, "{effect:?}");
        let error = report.paths[0].last_error.as_deref().unwrap_or_default();
        assert!(error.contains(expected), "{effect:?}: {report}");
        source.assert_silent();
        let failed: Vec<Request> =
            fake.requests().into_iter().filter(|r| is_events(r) && !r.faults.is_empty()).collect();
        assert_pace_kept(&failed, &format!("{effect:?}"));
        fake.clear_faults();
        source.event("cloud.spot.interrupt");
        source.until(|r| r.state == State::Seeing);
        source.assert_silent();
    }
}

#[test]
fn a_service_that_is_off_or_not_there_is_blindness_with_the_reason() {
    let fake = fake();
    fake.enable(false);
    let mut source = watch(&fake);
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("HTTP status 403"), "{report}");
    fake.enable(true);
    source.until(|r| r.state == State::Seeing);
    drop(fake);
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("refuses connections"), "{report}");
}

#[test]
fn what_only_looks_odd_is_no_error() {
    for effect in [Effect::Close, Effect::ContentType("image/gif".into()), Effect::Delay(Duration::from_millis(50))] {
        let fake = fake();
        fake.set_fault(Fault::new(effect));
        fake.notice(Action::Terminate, HALF_A_MINUTE);
        let mut source = watch(&fake);
        source.event("cloud.spot.interrupt");
        polls(&fake, 3);
        assert_eq!(source.report().errors, 0, "{}", source.report());
    }
}

#[test]
fn a_slow_answer_is_heard_though_it_comes_after_its_time() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Delay(Duration::from_secs(2))).paths(["scheduledevents"]));
    fake.notice(Action::Terminate, HALF_A_MINUTE);
    watch(&fake).event("cloud.spot.interrupt");
}

#[test]
fn while_every_third_answer_is_an_error_the_looks_keep_their_interval() {
    let fake = fake();
    let mut source = start(&fake, 0.2, Reviser::new(Azure::SOURCE));
    polls(&fake, 1);
    fake.set_fault(Fault::new(Effect::Status(500)).paths(["scheduledevents"]).every(3));
    polls(&fake, 30);
    let log: Vec<Request> = fake.requests().into_iter().filter(is_events).skip(3).collect();
    // By the middle one: single looks may be late on a machine that is busy.
    let middle = |failed: bool| {
        let pairs = log.windows(2).filter(|pair| (pair[0].status == Some(500)) == failed);
        let mut gaps: Vec<u64> = pairs.map(|pair| pair[1].boot_ns - pair[0].boot_ns).collect();
        gaps.sort_unstable();
        assert!(gaps.len() >= 8, "{log:?}");
        gaps[gaps.len() / 2]
    };
    assert!(middle(true) * 100 <= middle(false) * 120, "{} after errors, {} else", middle(true), middle(false));
    source.assert_silent();
}

#[test]
fn the_limit_of_the_service_is_kept_at_the_usual_pace() {
    let fake = fake_with(AzureSettings::default());
    let mut source = start(&fake, AzureSource::default().polling_interval_seconds, Reviser::new(Azure::SOURCE));
    polls(&fake, 3);
    fake.notice(Action::Terminate, HALF_A_MINUTE);
    source.event("cloud.spot.interrupt");
    assert!(fake.requests().iter().all(|r| r.status != Some(429)), "{:?}", fake.requests());
}

#[test]
fn stop_ends_a_request_that_gets_no_answer() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Hang));
    let settings = AzureSource { endpoint: fake.base_url(), request_timeout_ms: 60_000, ..AzureSource::default() };
    let make = |bell| Azure::new(&settings, bell).expect("a valid endpoint");
    let mut source = Watched::start(Pace::every(0.05, Azure::ITEMS), Reviser::new(Azure::SOURCE), make);
    assert!(fake.wait_for(1, PATIENCE, is_events).is_some());
    let began = Instant::now();
    source.stop();
    assert!(began.elapsed() < PATIENCE);
}
