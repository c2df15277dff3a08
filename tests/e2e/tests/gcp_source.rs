//! The GCP source against a metadata server that is real on the wire and goes wrong on demand.

use cloudsnooze::config::GcpSource;
use cloudsnooze::event::Event;
use cloudsnooze::normalise::NoticeKey;
use cloudsnooze::normalise::revise::Reviser;
use cloudsnooze::source::cloud::{Cloud, Pace};
use cloudsnooze::source::gcp::{Begun, MaintenanceEvent, Preempted, UpcomingMaintenance};
use cloudsnooze::source::health::State;
use cloudsnooze::sys::clock;
use e2e::scripted::{Scripted, google};
use e2e::watched::{PATIENCE, Told, Watched, assert_pace_kept};
use fake_metadata::{
    Action, Body, Change, Effect, FakeMetadata, Fault, GARBAGE, GcpSettings, Maintenance, NoUpcoming, Options,
    Provider, Request, Settings, Upcoming, UpcomingForm, When,
};
use jiff::SignedDuration;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PREEMPTED: &str = "instance/preempted";
const MIGRATE: &str = "MIGRATE_ON_HOST_MAINTENANCE";
const TERMINATE: &str = "TERMINATE_ON_HOST_MAINTENANCE";
const WEEK_SECONDS: i64 = 7 * 86_400;

fn fake() -> FakeMetadata {
    FakeMetadata::start(Options::of(Provider::Gcp)).expect("a free port")
}

fn fake_with(gcp: GcpSettings) -> FakeMetadata {
    let settings = Settings { gcp, ..Settings::default() };
    FakeMetadata::start(Options { settings, ..Options::of(Provider::Gcp) }).expect("a free port")
}

fn config(endpoint: String) -> GcpSource {
    GcpSource { endpoint, request_timeout_ms: 300, ..GcpSource::default() }
}

/// Holds for a second only, so that a question that is never answered is given up soon.
fn short(endpoint: String) -> GcpSource {
    GcpSource { hold_seconds: 1, ..config(endpoint) }
}

fn pace() -> Pace {
    Pace { seconds: vec![0.05], hurried_seconds: 0.05 }
}

fn preempted_with(settings: &GcpSource, reviser: Reviser) -> Watched {
    Watched::start(pace(), reviser, |bell| Preempted::new(settings, bell).expect("a valid endpoint"))
}

fn preempted(settings: &GcpSource) -> Watched {
    preempted_with(settings, Reviser::new(Preempted::SOURCE))
}

fn event(settings: &GcpSource, begun: &Arc<Begun>) -> Watched {
    Watched::start(pace(), Reviser::new(MaintenanceEvent::SOURCE), |bell| {
        MaintenanceEvent::new(settings, bell, Arc::clone(begun)).expect("a valid endpoint")
    })
}

fn upcoming(settings: &GcpSource, begun: &Arc<Begun>) -> Watched {
    Watched::start(pace(), Reviser::new(UpcomingMaintenance::SOURCE), |bell| {
        UpcomingMaintenance::new(settings, bell, Arc::clone(begun)).expect("a valid endpoint")
    })
}

/// An announcement whose window opens in a week.
fn announced(status: &str) -> Change {
    Change::UpcomingMaintenance(Upcoming {
        window_start: When::In(SignedDuration::from_secs(WEEK_SECONDS)),
        window: SignedDuration::from_hours(4),
        latest_window_start: None,
        kind: "SCHEDULED".into(),
        status: status.into(),
        can_reschedule: true,
        reasons: Vec::new(),
    })
}

fn held(fake: &FakeMetadata, count: usize) {
    assert!(fake.wait_for_held(count, PATIENCE), "no question is held: {:?}", fake.requests());
}

/// Does something and waits until the key was answered this many times after it.
fn answers_after<T>(fake: &FakeMetadata, path: &str, count: usize, act: impl FnOnce() -> T) -> T {
    let is_one = |r: &Request| r.path.ends_with(path) && r.status.is_some();
    let before = fake.requests().into_iter().filter(is_one).count();
    let made = act();
    assert!(fake.wait_for(before + count, PATIENCE, is_one).is_some(), "{path} is not asked for");
    made
}

/// Has the time pass for which the server was asked to hold the key, until it has answered once more.
fn time_passes(fake: &FakeMetadata, path: &str) {
    let is_one = |r: &Request| r.path.ends_with(path) && r.status.is_some();
    let before = fake.requests().into_iter().filter(is_one).count();
    let started = Instant::now();
    loop {
        // A question that is asked only after this is held for a minute of its own.
        fake.advance_clock(Duration::from_secs(61));
        if fake.wait_for(before + 1, Duration::from_millis(200), is_one).is_some() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{path} is not asked for");
    }
}

/// Waits until the key was answered this many more times.
fn answers(fake: &FakeMetadata, path: &str, count: usize) {
    answers_after(fake, path, count, || ());
}

fn seconds_left(event: &Event) -> f64 {
    event.seconds_left(event.detected).expect("a deadline")
}

#[test]
fn a_preemption_becomes_one_event_that_names_machine_and_deadline() {
    let fake = fake();
    let mut source = preempted(&config(fake.base_url()));
    held(&fake, 1);
    source.assert_silent();
    fake.notice(Action::Terminate, When::Usual);
    let event = source.event("cloud.spot.interrupt");
    assert!((29.0..=30.0).contains(&seconds_left(&event)), "{event:?}");
    assert_eq!((&*event.source, &*event.provider), ("gcp.compute.preempted", "gcp"));
    let machine = &event.machine;
    assert_eq!((&*machine.instance_id, &*machine.instance_type), ("3520447112733571046", "n2-standard-4"));
    assert_eq!((&*machine.zone, &*machine.region), ("us-central1-a", "us-central1"));
    held(&fake, 1);
    // The server answers what still stands when the time is over that it was asked to hold.
    for _ in 0..3 {
        time_passes(&fake, PREEMPTED);
        held(&fake, 1);
    }
    source.assert_silent();
    assert_eq!((source.report().state, source.report().errors), (State::Seeing, 0));
}

#[test]
fn nothing_is_polled_while_the_server_holds_the_question() {
    let fake = fake();
    let _source = preempted(&config(fake.base_url()));
    held(&fake, 1);
    let before = fake.requests().len();
    let waited = fake.wait_for(before + 1, Duration::from_secs(1), |_| true);
    assert!(waited.is_none(), "{waited:?}");
}

#[test]
fn the_time_of_a_preemption_is_the_configured_one() {
    let fake = fake();
    fake.notice(Action::Terminate, When::Usual);
    let settings = GcpSource { preemption_notice_seconds: 150.0, ..config(fake.base_url()) };
    let event = preempted(&settings).event("cloud.spot.interrupt");
    assert!((149.0..=150.0).contains(&seconds_left(&event)), "{event:?}");
}

#[test]
fn a_preemption_told_before_a_restart_is_not_told_again_and_one_after_a_false_is() {
    let fake = fake();
    fake.notice(Action::Terminate, When::Usual);
    let told = preempted(&config(fake.base_url())).event("cloud.spot.interrupt");
    let mut reviser = Reviser::new(Preempted::SOURCE);
    reviser.seed(NoticeKey::of(&told), told.id, told.effective, false);
    let mut source = preempted_with(&config(fake.base_url()), reviser);
    held(&fake, 1);
    source.assert_silent();
    // The machine was stopped and started again.
    answers_after(&fake, PREEMPTED, 1, || fake.withdraw());
    held(&fake, 1);
    source.assert_silent();
    fake.notice(Action::Terminate, When::Usual);
    assert_ne!(source.event("cloud.spot.interrupt").id, told.id);
}

#[test]
fn events_before_the_machine_is_known_fire() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Status(500)).paths(["instance/id"]));
    fake.notice(Action::Terminate, When::Usual);
    let mut source = preempted(&config(fake.base_url()));
    assert_eq!(source.event("cloud.spot.interrupt").machine.instance_id, "");
    fake.clear_faults();
    let known = fake.wait_for(1, PATIENCE, |r| r.path.ends_with("/machine-type") && r.status == Some(200));
    assert!(known.is_some());
    source.assert_silent();
}

#[test]
fn a_question_cut_by_a_live_migration_misses_nothing_and_promises_no_time_that_has_gone() {
    let fake = fake();
    let mut source = preempted(&config(fake.base_url()));
    held(&fake, 1);
    let id = fake.maintenance(Maintenance::new(MIGRATE, When::Usual)).expect("the first");
    fake.start_maintenance(&id).expect("it is there");
    // Cut, asked again at once, then with pauses: 503.
    source.until(|r| r.paths[0].state == State::Blind);
    let blind_since = Instant::now();
    fake.notice(Action::Terminate, When::Usual);
    let refused = fake.requests().into_iter().filter(|r| r.status == Some(503)).count();
    assert!(fake.wait_for(refused + 2, PATIENCE, |r| r.status == Some(503)).is_some(), "it asks again");
    let blind_for = blind_since.elapsed();
    fake.complete_maintenance(&id).expect("it is there");
    let event = source.event("cloud.spot.interrupt");
    let left = seconds_left(&event);
    assert!(
        left <= 30.0 - blind_for.as_secs_f64(),
        "it may have been preempted when it was cut off: {left}, {blind_for:?}"
    );
    let asked = fake.requests().into_iter().filter(|r| r.path.ends_with(PREEMPTED));
    let queries: Vec<String> = asked.map(|r| r.query).collect();
    let etag = |query: &String| query.split('&').find(|part| part.starts_with("last_etag")).map(str::to_owned);
    let cut = queries.iter().position(|query| etag(query) != Some("last_etag=0".into())).expect("a later one");
    let olds = queries[cut..].iter().take_while(|query| etag(query) == etag(&queries[cut])).count();
    assert!(olds >= 3, "the questions after the cut name what was known before: {queries:?}");
    source.until(|r| r.state == State::Seeing);
}

#[test]
fn a_migration_is_told_a_minute_ahead_and_withdrawn_when_it_is_over_and_the_next_is_another() {
    let fake = fake();
    let mut source = event(&config(fake.base_url()), &Begun::new());
    held(&fake, 1);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let id = fake.maintenance(Maintenance::new(MIGRATE, When::Usual)).expect("a new one");
        let event = source.event("cloud.maintenance.freeze");
        assert_eq!((event.action.as_str(), event.severity.as_str()), ("freeze", "warning"));
        assert!((59.0..=60.0).contains(&seconds_left(&event)), "{event:?}");
        held(&fake, 1);
        fake.start_maintenance(&id).expect("it is there");
        source.until(|r| r.state == State::Blind);
        source.assert_silent();
        fake.complete_maintenance(&id).expect("it is there");
        assert_eq!(source.event("cloud.maintenance.freeze.cancelled").cancels, Some(event.id));
        held(&fake, 1);
        ids.push(event.id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn the_end_of_a_machine_with_a_gpu_is_told_an_hour_ahead() {
    let fake = fake();
    let mut source = event(&config(fake.base_url()), &Begun::new());
    held(&fake, 1);
    let id = fake.maintenance(Maintenance::new(TERMINATE, When::Usual)).expect("the first");
    let event = source.event("cloud.maintenance.stop");
    assert_eq!((event.action.as_str(), event.severity.as_str()), ("stop", "urgent"));
    assert!((3_599.0..=3_600.0).contains(&seconds_left(&event)), "{event:?}");
    fake.cancel_maintenance(&id).expect("it is there");
    assert_eq!(source.event("cloud.maintenance.stop.cancelled").cancels, Some(event.id));
    source.assert_silent();
}

#[test]
fn no_upcoming_maintenance_is_nothing_in_all_four_forms() {
    for no_upcoming in [NoUpcoming::Unavailable, NoUpcoming::None, NoUpcoming::Empty, NoUpcoming::NotFound] {
        let fake = fake_with(GcpSettings { no_upcoming, ..GcpSettings::default() });
        let mut source = upcoming(&config(fake.base_url()), &Begun::new());
        source.until(|r| r.state == State::Seeing);
        source.assert_silent();
        assert_eq!(source.report().errors, 0, "{no_upcoming:?}: {}", source.report());
        fake.apply(announced("PENDING")).expect("it is taken");
        source.event("cloud.maintenance.stop");
    }
}

#[test]
fn an_announcement_is_an_advice_with_its_window_in_each_form() {
    for upcoming_form in [UpcomingForm::SnakeCase, UpcomingForm::CamelCase, UpcomingForm::Wrapped] {
        let fake = fake_with(GcpSettings { upcoming_form, ..GcpSettings::default() });
        fake.body("instance/scheduling/on-host-maintenance", Body::Text("MIGRATE".into()));
        fake.apply(announced("PENDING")).expect("it is taken");
        let mut source = upcoming(&config(fake.base_url()), &Begun::new());
        let event = source.event("cloud.maintenance.freeze");
        assert_eq!((event.action.as_str(), event.notice_kind.as_str()), ("none", "advisory"));
        assert!((seconds_left(&event) - WEEK_SECONDS as f64).abs() < 5.0, "{upcoming_form:?}: {event:?}");
        held(&fake, 1);
        source.assert_silent();
    }
}

#[test]
fn only_a_200_takes_an_announcement_back() {
    let fake = fake_with(GcpSettings { no_upcoming: NoUpcoming::Unavailable, ..GcpSettings::default() });
    fake.apply(announced("PENDING")).expect("it is taken");
    let mut source = upcoming(&config(fake.base_url()), &Begun::new());
    let event = source.event("cloud.maintenance.stop");
    held(&fake, 1);
    fake.apply(Change::ClearUpcomingMaintenance).expect("it is taken");
    for no_upcoming in [NoUpcoming::Unavailable, NoUpcoming::NotFound] {
        let gcp = GcpSettings { no_upcoming, ..GcpSettings::default() };
        fake.settings(Settings { gcp, ..Settings::default() });
        answers(&fake, "upcoming-maintenance", 3);
        source.assert_silent();
    }
    let gcp = GcpSettings { no_upcoming: NoUpcoming::None, ..GcpSettings::default() };
    fake.settings(Settings { gcp, ..Settings::default() });
    assert_eq!(source.event("cloud.maintenance.stop.cancelled").cancels, Some(event.id));
}

#[test]
fn what_maintenance_does_is_asked_for_again_and_an_announcement_is_told_all_the_same_when_nobody_says() {
    for (times, expected) in [(3, "cloud.maintenance.stop"), (1_000, "cloud.maintenance.freeze")] {
        let fake = fake();
        fake.set_fault(Fault::new(Effect::Status(500)).paths(["instance/scheduling/*"]).count(times));
        fake.apply(announced("PENDING")).expect("it is taken");
        let mut source = upcoming(&short(fake.base_url()), &Begun::new());
        source.event(expected);
        fake.clear_faults();
        answers(&fake, "upcoming-maintenance", 2);
        source.assert_silent();
    }
}

#[test]
fn an_announcement_that_is_put_off_moves() {
    let fake = fake();
    fake.apply(announced("PENDING")).expect("it is taken");
    let mut source = upcoming(&config(fake.base_url()), &Begun::new());
    let event = source.event("cloud.maintenance.stop");
    held(&fake, 1);
    let Change::UpcomingMaintenance(mut later) = announced("PENDING") else { unreachable!() };
    later.window_start = When::In(SignedDuration::from_secs(2 * WEEK_SECONDS));
    fake.apply(Change::UpcomingMaintenance(later)).expect("it is taken");
    let Told::Moved(id, effective) = source.tells() else { panic!("not moved") };
    assert_eq!(id, event.id);
    assert!(effective.boot_ns > event.effective.expect("a time").boot_ns);
}

#[test]
fn maintenance_under_both_keys_is_an_advice_and_one_beginning_each_withdrawn_by_who_told_it() {
    let fake = fake_with(GcpSettings { no_upcoming: NoUpcoming::None, ..GcpSettings::default() });
    let begun = Begun::new();
    let mut host = event(&config(fake.base_url()), &begun);
    held(&fake, 1);
    let mut plan = upcoming(&config(fake.base_url()), &begun);
    held(&fake, 2);
    fake.apply(announced("PENDING")).expect("it is taken");
    let advice = plan.event("cloud.maintenance.stop");
    host.assert_silent();
    let id = fake.maintenance(Maintenance::new(TERMINATE, When::Usual)).expect("the first");
    let beginning = host.event("cloud.maintenance.stop");
    held(&fake, 2);
    answers_after(&fake, "upcoming-maintenance", 1, || fake.apply(announced("ONGOING")).expect("it is taken"));
    held(&fake, 2);
    plan.assert_silent();
    fake.complete_maintenance(&id).expect("it is there");
    assert_eq!(host.event("cloud.maintenance.stop.cancelled").cancels, Some(beginning.id));
    // The other key still says ONGOING: that is the same maintenance.
    time_passes(&fake, "upcoming-maintenance");
    held(&fake, 2);
    plan.assert_silent();
    fake.apply(Change::ClearUpcomingMaintenance).expect("it is taken");
    assert_eq!(plan.event("cloud.maintenance.stop.cancelled").cancels, Some(advice.id));
    held(&fake, 2);
    plan.assert_silent();
    host.assert_silent();
}

#[test]
fn maintenance_that_only_the_announcement_tells_of_is_told_when_it_goes_on() {
    let fake = fake_with(GcpSettings { no_upcoming: NoUpcoming::Empty, ..GcpSettings::default() });
    let begun = Begun::new();
    let mut host = event(&config(fake.base_url()), &begun);
    held(&fake, 1);
    fake.apply(announced("ONGOING")).expect("it is taken");
    let mut plan = upcoming(&config(fake.base_url()), &begun);
    let event = plan.event("cloud.maintenance.stop");
    assert_eq!((event.action.as_str(), event.notice_kind.as_str(), event.effective), ("stop", "deadline", None));
    fake.apply(Change::ClearUpcomingMaintenance).expect("it is taken");
    assert_eq!(plan.event("cloud.maintenance.stop.cancelled").cancels, Some(event.id));
    host.assert_silent();
}

/// Every way an answer can fail: seen as an error and never as "no notice", over with the first good answer, and no reason to
/// ask more rarely.
#[test]
fn no_error_passes_for_the_absence_of_a_notice_and_the_first_good_answer_tells() {
    let cases = [
        (Effect::Status(403), "HTTP status 403"),
        (Effect::Status(404), "HTTP status 404"),
        (Effect::Status(410), "HTTP status 410"),
        (Effect::Status(429), "HTTP status 429"),
        (Effect::Status(500), "HTTP status 500"),
        (Effect::Status(503), "HTTP status 503"),
        (Effect::Garbage(GARBAGE.to_vec()), "it is not from the metadata service"),
        (Effect::Truncated, "closed before the answer was complete"),
        (Effect::Reset, "closed before the answer was complete"),
        (Effect::Oversized(10 << 20), "longer than 262144 bytes"),
        (Effect::Redirect("http://127.0.0.1:9/".into()), "a redirect, which is not followed"),
        (Effect::Drip(Duration::from_millis(900)), "no answer within the time limit"),
        (Effect::Hang, "no answer within the time limit"),
    ];
    for (effect, expected) in cases {
        let fake = fake();
        fake.set_fault(Fault::new(effect.clone()).paths([PREEMPTED]));
        fake.notice(Action::Terminate, When::Usual);
        let mut source = preempted(&short(fake.base_url()));
        let report = source.until(|r| r.state == State::Blind);
        let error = report.paths[0].last_error.as_deref().unwrap_or_default();
        assert!(error.contains(expected), "{effect:?}: {report}");
        source.assert_silent();
        source.until(|r| r.paths[0].consecutive_errors >= 6);
        let failed: Vec<Request> = fake.requests().into_iter().filter(|r| !r.faults.is_empty()).collect();
        assert_pace_kept(&failed, &format!("{effect:?}"));
        fake.clear_faults();
        source.event("cloud.spot.interrupt");
        let good = |r: &Request| r.path.ends_with(PREEMPTED) && r.status == Some(200) && r.faults.is_empty();
        let count = fake.requests().into_iter().filter(good).count();
        assert_eq!(count, 1, "{effect:?}: the first good answer is the one that tells");
        source.until(|r| r.state == State::Seeing);
    }
}

/// What comes with the header that makes it Google's, and is not what the key promises.
#[test]
fn a_document_that_is_not_understood_takes_nothing_back_and_is_asked_for_again() {
    for body in ["", "{\"maintenance_status\": \"PEND", "{\"error\": \"x\"}", "[]", "\0\u{fffd}<html>"] {
        let fake = fake();
        fake.notice(Action::Terminate, When::Usual);
        fake.apply(announced("PENDING")).expect("it is taken");
        let settings = short(fake.base_url());
        let (mut spot, mut plan) = (preempted(&settings), upcoming(&settings, &Begun::new()));
        spot.event("cloud.spot.interrupt");
        plan.event("cloud.maintenance.stop");
        for (path, source) in [(PREEMPTED, &mut spot), ("instance/upcoming-maintenance", &mut plan)] {
            fake.body(path, Body::Text(body.into()));
            let report = source.until(|r| r.state == State::Blind);
            assert!(report.to_string().contains("not understood: expected"), "{body:?}: {report}");
            fake.body(path, Body::Usual);
            source.until(|r| r.state == State::Seeing);
            source.assert_silent();
        }
    }
}

#[test]
fn every_third_answer_that_fails_hides_no_change_of_any_key() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Status(500)).every(3));
    let begun = Begun::new();
    let settings = short(fake.base_url());
    let (mut spot, mut host) = (preempted(&settings), event(&settings, &begun));
    let mut plan = upcoming(&settings, &begun);
    answers(&fake, "instance/maintenance-event", 2);
    fake.apply(announced("PENDING")).expect("it is taken");
    plan.event("cloud.maintenance.stop");
    fake.maintenance(Maintenance::new(TERMINATE, When::Usual)).expect("the first");
    host.event("cloud.maintenance.stop");
    fake.notice(Action::Terminate, When::Usual);
    spot.event("cloud.spot.interrupt");
    answers(&fake, PREEMPTED, 4);
    spot.assert_silent();
}

#[test]
fn what_only_looks_odd_is_no_error() {
    for effect in [Effect::Close, Effect::ContentType("image/gif".into()), Effect::Delay(Duration::from_millis(50))] {
        let fake = fake();
        fake.set_fault(Fault::new(effect));
        fake.notice(Action::Terminate, When::Usual);
        let mut source = preempted(&short(fake.base_url()));
        source.event("cloud.spot.interrupt");
        answers(&fake, PREEMPTED, 2);
        assert_eq!(source.report().errors, 0, "{}", source.report());
    }
}

#[test]
fn a_redirect_is_not_followed_to_another_service() {
    let (service, other) = (fake(), fake());
    other.notice(Action::Terminate, When::Usual);
    let location = format!("{}/computeMetadata/v1/{PREEMPTED}", other.base_url());
    service.set_fault(Fault::new(Effect::Redirect(location)).paths([PREEMPTED]));
    let mut source = preempted(&short(service.base_url()));
    source.until(|r| r.state == State::Blind);
    assert!(other.requests().is_empty(), "{:?}", other.requests());
    source.assert_silent();
}

#[test]
fn an_answer_without_googles_header_is_not_believed() {
    let server = Scripted::start(|_| Some("HTTP/1.1 200 OK\r\nETag: a\r\nContent-Length: 4\r\n\r\nTRUE".into()));
    let mut source = preempted(&short(server.base_url()));
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("it is not from the metadata service"), "{report}");
    source.assert_silent();
}

#[test]
fn a_server_that_holds_nothing_back_is_asked_at_the_interval() {
    let server = Scripted::start(|_| Some(google("FALSE", "a")));
    let slow = Pace { seconds: vec![0.2], hurried_seconds: 0.2 };
    let settings = config(server.base_url());
    let _source = Watched::start(slow, Reviser::new(Preempted::SOURCE), |bell| {
        Preempted::new(&settings, bell).expect("a valid endpoint")
    });
    let times = server.wait(8, PATIENCE, |target| target.contains("/preempted"));
    // The second comes at once, because the first was news.
    let took = times[7] - times[1];
    assert!(took >= Duration::from_millis(6 * 200 * 9 / 10), "asked too often: {took:?}");
}

#[test]
fn an_etag_that_would_change_the_question_is_not_used() {
    let server = Scripted::start(|_| Some(google("FALSE", "a&timeout_sec=99999")));
    let _source = preempted(&config(server.base_url()));
    server.wait(4, PATIENCE, |target| target.contains("/preempted"));
    assert!(server.asked().iter().all(|(_, target)| !target.contains("99999")), "{:?}", server.asked());
}

#[test]
fn a_look_that_is_asked_for_gives_a_held_question_up() {
    // A server that has forgotten the question it holds.
    let server = Scripted::start(|target| match target {
        _ if target.contains("last_etag=0") => Some(google("FALSE", "a")),
        _ if target.contains("wait_for_change") => None,
        _ if target.ends_with("/preempted") => Some(google("TRUE", "b")),
        _ => Some(google("1", "c")),
    });
    let mut source = preempted(&config(server.base_url()));
    server.wait(1, PATIENCE, |target| target.contains("last_etag=a"));
    assert!(source.control.has_looked() && !source.control.stands());
    source.control.look_now();
    source.event("cloud.spot.interrupt");
    let started = Instant::now();
    while !source.control.has_looked() {
        assert!(started.elapsed() < PATIENCE, "it does not say that it has looked");
        std::thread::yield_now();
    }
    assert!(source.control.stands());
    assert_eq!(source.report().errors, 0, "{}", source.report());
    server.wait(1, PATIENCE, |target| target.contains("last_etag=b"));
}

#[test]
fn stop_ends_a_question_that_is_held() {
    let fake = fake();
    let mut source = preempted(&config(fake.base_url()));
    held(&fake, 1);
    let started = Instant::now();
    source.stop();
    assert!(started.elapsed() < PATIENCE, "it waited for the answer, which comes after 60 s");
}

#[test]
fn a_held_question_shows_that_its_thread_lives_and_other_intervals_do_not_end_it() {
    let fake = fake();
    let source = preempted(&GcpSource { request_timeout_ms: 50, ..config(fake.base_url()) });
    held(&fake, 1);
    let asked = fake.requests().len();
    source.control.set(Pace { seconds: vec![0.5], hurried_seconds: 0.5 });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        assert_eq!(source.health.owed_ns(clock::boot_ns()), 0, "it owes a sign of life");
        std::thread::yield_now();
    }
    assert_eq!(fake.requests().len(), asked, "the question was given up");
    assert_eq!(source.report().state, State::Seeing);
}

#[test]
fn a_service_that_is_off_or_not_there_is_blindness_with_the_reason() {
    let fake = fake();
    fake.enable(false);
    let mut source = preempted(&short(fake.base_url()));
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("HTTP status 403"), "{report}");
    fake.enable(true);
    source.until(|r| r.state == State::Seeing);
    let endpoint = fake.base_url();
    drop(source);
    drop(fake);
    let mut source = preempted(&short(endpoint));
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("refuses connections"), "{report}");
}
