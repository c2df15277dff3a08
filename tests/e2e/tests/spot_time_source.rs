//! Alibaba's and Tencent's sources against metadata services that are real on the wire and go wrong on demand.

use cloudsnooze::config::SpotTimeSource;
use cloudsnooze::event::Event;
use cloudsnooze::normalise::NoticeKey;
use cloudsnooze::normalise::revise::Reviser;
use cloudsnooze::source::alibaba::Alibaba;
use cloudsnooze::source::cloud::{Cloud, Pace};
use cloudsnooze::source::health::State;
use cloudsnooze::source::tencent::Tencent;
use e2e::watched::{PATIENCE, Told, Watched, assert_pace_kept};
use fake_metadata::{Action, Body, Effect, FakeMetadata, Fault, GARBAGE, Options, Provider, Request};
use std::time::{Duration, Instant};

const MINUTES: Duration = Duration::from_secs(120);
const SECOND_NS: i64 = 1_000_000_000;

/// Both clouds: everything that is claimed here holds for either.
const CLOUDS: [Provider; 2] = [Provider::Alibaba, Provider::Tencent];

fn fake(provider: Provider) -> FakeMetadata {
    FakeMetadata::start(Options::of(provider)).expect("a free port")
}

fn settings(endpoint: String) -> SpotTimeSource {
    SpotTimeSource { endpoint: Some(endpoint), request_timeout_ms: 300, ..SpotTimeSource::default() }
}

fn start(provider: Provider, settings: &SpotTimeSource, seconds: f64, reviser: Option<Reviser>) -> Watched {
    let fresh = |source: &'static str| reviser.unwrap_or_else(|| Reviser::new(source));
    match provider {
        Provider::Alibaba => Watched::start(Pace::every(seconds, Alibaba::ITEMS), fresh(Alibaba::SOURCE), |bell| {
            Alibaba::new(settings, bell).expect("a valid endpoint")
        }),
        _ => Watched::start(Pace::every(seconds, Tencent::ITEMS), fresh(Tencent::SOURCE), |bell| {
            Tencent::new(settings, bell).expect("a valid endpoint")
        }),
    }
}

fn watch(provider: Provider, fake: &FakeMetadata) -> Watched {
    start(provider, &settings(fake.base_url()), 0.05, None)
}

fn is_notice(request: &Request) -> bool {
    request.path.ends_with("spot/termination-time")
}

/// Waits until the notice has been asked for and answered `polls` more times.
fn polls(fake: &FakeMetadata, polls: usize) {
    let before = fake.requests().iter().filter(|request| is_notice(request)).count();
    // A request shows that the answers to those before it have been dealt with.
    assert!(fake.wait_for(before + polls + 1, PATIENCE, is_notice).is_some(), "the notice is not polled");
}

fn seconds_left(event: &Event) -> f64 {
    event.seconds_left(event.detected).expect("a deadline")
}

#[test]
fn a_notice_becomes_one_event_that_names_machine_and_deadline() {
    for (provider, source_name, id) in [
        (Provider::Alibaba, "alibaba.ecs.metadata-service", "i-"),
        (Provider::Tencent, "tencent.cvm.metadata-service", "ins-"),
    ] {
        let fake = fake(provider);
        let mut source = watch(provider, &fake);
        polls(&fake, 2);
        source.assert_silent();
        fake.notice(Action::Terminate, MINUTES);
        let event = source.event("cloud.spot.interrupt");
        assert!((115.0..=120.0).contains(&seconds_left(&event)), "{event:?}");
        assert_eq!((event.action.as_str(), event.severity.as_str()), ("terminate", "urgent"));
        assert!(event.machine.instance_id.starts_with(id), "{event:?}");
        assert!(!event.machine.zone.is_empty() && !event.machine.instance_type.is_empty(), "{event:?}");
        assert!(!event.machine.region.is_empty(), "{event:?}");
        assert_eq!((&*event.source, &*event.provider), (source_name, provider.name()));
        polls(&fake, 10);
        source.assert_silent();
        assert_eq!((source.report().state, source.report().errors), (State::Seeing, 0), "{}", source.report());
    }
}

#[test]
fn a_notice_in_the_past_does_not_fire_and_does_not_hide_the_next_one() {
    for provider in CLOUDS {
        let fake = fake(provider);
        fake.notice(Action::Terminate, jiff::Timestamp::now() - jiff::SignedDuration::from_secs(600));
        let mut source = watch(provider, &fake);
        polls(&fake, 5);
        source.assert_silent();
        fake.notice(Action::Terminate, MINUTES);
        source.event("cloud.spot.interrupt");
    }
}

#[test]
fn a_deadline_that_moves_is_told_for_the_same_event_and_one_that_drifts_is_not() {
    for provider in CLOUDS {
        let fake = fake(provider);
        fake.set_fault(Fault::new(Effect::Drift(jiff::SignedDuration::from_secs(5))));
        fake.notice(Action::Terminate, Duration::from_secs(300));
        let mut source = watch(provider, &fake);
        let event = source.event("cloud.spot.interrupt");
        fake.clear_faults();
        fake.notice(Action::Terminate, Duration::from_secs(60));
        let Told::Moved(id, effective) = source.tells() else { panic!("not moved") };
        assert_eq!(id, event.id);
        assert!(effective.boot_ns < event.effective.expect("a deadline").boot_ns - 50 * SECOND_NS);
    }
}

#[test]
fn a_notice_that_is_gone_has_ended_and_the_next_one_is_another_event() {
    for provider in CLOUDS {
        let fake = fake(provider);
        fake.notice(Action::Terminate, MINUTES);
        let mut source = watch(provider, &fake);
        let first = source.event("cloud.spot.interrupt");
        fake.withdraw();
        polls(&fake, 2);
        source.assert_silent();
        fake.notice(Action::Terminate, Duration::from_secs(600));
        assert_ne!(source.event("cloud.spot.interrupt").id, first.id);
    }
}

#[test]
fn a_notice_told_before_a_restart_is_not_told_again() {
    for provider in CLOUDS {
        let fake = fake(provider);
        fake.notice(Action::Terminate, MINUTES);
        let told = watch(provider, &fake).event("cloud.spot.interrupt");
        let mut reviser = Reviser::new("a.source");
        reviser.seed(NoticeKey::of(&told), told.id, told.effective, false);
        let mut source = start(provider, &settings(fake.base_url()), 0.05, Some(reviser));
        polls(&fake, 3);
        source.assert_silent();
    }
}

#[test]
fn a_local_clock_that_is_hours_behind_does_not_change_the_time_left() {
    for provider in CLOUDS {
        let fake = fake(provider);
        fake.advance_clock(Duration::from_secs(3 * 3_600));
        fake.notice(Action::Terminate, MINUTES);
        let event = watch(provider, &fake).event("cloud.spot.interrupt");
        assert!((115.0..=120.0).contains(&seconds_left(&event)), "{provider:?}: {event:?}");
    }
}

#[test]
fn an_empty_answer_is_no_notice_with_alibaba_and_an_error_with_tencent() {
    let empty = |provider| {
        let fake = fake(provider);
        fake.termination_time(Some(""));
        let mut source = watch(provider, &fake);
        polls(&fake, 4);
        source.assert_silent();
        let state = source.report().state;
        fake.termination_time(None);
        fake.body("spot/termination-time", Body::Usual);
        fake.notice(Action::Terminate, MINUTES);
        source.event("cloud.spot.interrupt");
        state
    };
    assert_eq!(CLOUDS.map(empty), [State::Seeing, State::Blind]);
}

/// Every way the notice can fail: seen as an error and never as "no notice", over when it is over, and no reason to look more
/// rarely.
#[test]
fn no_error_passes_for_the_absence_of_a_notice_or_delays_the_next_look() {
    let cases = [
        (Effect::Status(500), "HTTP status 500"),
        (Effect::Status(503), "HTTP status 503"),
        (Effect::Status(429), "HTTP status 429"),
        (Effect::Status(410), "HTTP status 410"),
        (Effect::Garbage(GARBAGE.to_vec()), "not understood: expected text"),
        (Effect::Garbage(b"<html>".to_vec()), "not understood: expected a time"),
        (Effect::Truncated, "closed before the answer was complete"),
        (Effect::Reset, "closed before the answer was complete"),
        (Effect::Oversized(10 << 20), "longer than 262144 bytes"),
        (Effect::Redirect("http://127.0.0.1:9/".into()), "a redirect, which is not followed"),
        (Effect::Drip(Duration::from_millis(50)), "no answer within the time limit"),
        (Effect::Hang, "no answer within the time limit"),
    ];
    for provider in CLOUDS {
        for (effect, expected) in &cases {
            let fake = fake(provider);
            fake.set_fault(Fault::new(effect.clone()).paths(["*spot/termination-time"]));
            fake.notice(Action::Terminate, MINUTES);
            let mut source = watch(provider, &fake);
            let report = source.until(|r| r.state == State::Blind);
            let error = report.paths[0].last_error.as_deref().unwrap_or_default();
            assert!(error.contains(expected), "{provider:?} {effect:?}: {report}");
            source.assert_silent();
            source.until(|r| r.paths[0].consecutive_errors >= 6);
            let failed: Vec<Request> = fake.requests().into_iter().filter(|r| !r.faults.is_empty()).collect();
            assert_pace_kept(&failed, &format!("{provider:?} {effect:?}"));
            fake.clear_faults();
            source.event("cloud.spot.interrupt");
            source.until(|r| r.state == State::Seeing);
        }
    }
}

#[test]
fn what_only_looks_odd_is_no_error() {
    for provider in CLOUDS {
        for effect in [Effect::Close, Effect::ContentType("image/gif".into()), Effect::Delay(Duration::from_millis(50))]
        {
            let fake = fake(provider);
            fake.set_fault(Fault::new(effect));
            fake.notice(Action::Terminate, MINUTES);
            let mut source = watch(provider, &fake);
            source.event("cloud.spot.interrupt");
            polls(&fake, 3);
            assert_eq!(source.report().errors, 0, "{provider:?}: {}", source.report());
        }
    }
}

#[test]
fn events_before_the_machine_is_known_fire_all_the_same() {
    for provider in CLOUDS {
        let fake = fake(provider);
        fake.set_fault(Fault::new(Effect::Status(500)).paths(["instance-id"]));
        fake.notice(Action::Terminate, MINUTES);
        let mut source = watch(provider, &fake);
        assert_eq!(source.event("cloud.spot.interrupt").machine.instance_id, "");
        polls(&fake, 2);
        assert_eq!(source.report().state, State::Seeing, "not knowing its name hides no notice");
    }
}

#[test]
fn stop_ends_a_request_that_gets_no_answer() {
    for provider in CLOUDS {
        let fake = fake(provider);
        fake.set_fault(Fault::new(Effect::Hang));
        let slow = SpotTimeSource { request_timeout_ms: 60_000, ..settings(fake.base_url()) };
        let mut source = start(provider, &slow, 0.05, None);
        assert!(fake.wait_for(1, PATIENCE, |_| true).is_some());
        let started = Instant::now();
        source.stop();
        assert!(started.elapsed() < PATIENCE);
    }
}

#[test]
fn a_service_that_demands_tokens_gets_them_and_nothing_is_missed_when_one_ends() {
    let fake = fake(Provider::Alibaba);
    fake.require_tokens(true);
    let mut source = watch(Provider::Alibaba, &fake);
    polls(&fake, 2);
    fake.revoke_tokens();
    fake.notice(Action::Terminate, MINUTES);
    source.event("cloud.spot.interrupt");
    assert_eq!(source.report().errors, 0, "{}", source.report());
    let tokens = fake.requests().into_iter().filter(|r| r.method == "PUT").count();
    assert_eq!(tokens, 2);
}

#[test]
fn a_service_without_tokens_is_read_without_and_one_that_comes_to_demand_them_is_read_with() {
    let fake = fake(Provider::Alibaba);
    fake.require_tokens(false);
    let fault = fake.set_fault(Fault::new(Effect::Status(404)).paths(["api/token"]));
    let mut source = watch(Provider::Alibaba, &fake);
    polls(&fake, 2);
    assert_eq!((source.report().state, source.report().errors), (State::Seeing, 0), "{}", source.report());
    fake.clear_fault(fault);
    fake.require_tokens(true);
    fake.notice(Action::Terminate, MINUTES);
    source.event("cloud.spot.interrupt");
    assert_eq!(source.report().errors, 0, "{}", source.report());
}

#[test]
fn a_token_lost_on_the_way_costs_nothing_where_none_is_needed_and_is_named_where_one_is() {
    let fake = fake(Provider::Alibaba);
    fake.require_tokens(false);
    fake.set_fault(Fault::new(Effect::HopLimit));
    fake.notice(Action::Terminate, MINUTES);
    let mut source = watch(Provider::Alibaba, &fake);
    source.event("cloud.spot.interrupt");
    drop(source);
    fake.require_tokens(true);
    let mut source = watch(Provider::Alibaba, &fake);
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("its token never arrives"), "{report}");
}
