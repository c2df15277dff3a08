//! The AWS source against a metadata service that is real on the wire and goes wrong on demand.

use cloudsnooze::config::AwsSource;
use cloudsnooze::event::Event;
use cloudsnooze::normalise::NoticeKey;
use cloudsnooze::normalise::revise::Reviser;
use cloudsnooze::source::aws::Aws;
use cloudsnooze::source::cloud::{Cloud, Pace};
use cloudsnooze::source::health::State;
use cloudsnooze::source::imds::MetadataClient;
use cloudsnooze::source::token::{self, TokenKeeper};
use cloudsnooze::sys::bell::Bell;
use e2e::watched::{PATIENCE, Told, Watched, assert_pace_kept};
use fake_metadata::{Action, Body, Effect, FakeMetadata, Fault, GARBAGE, Maintenance, Options, Request};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TWO_MINUTES: Duration = Duration::from_secs(120);
const SECOND_NS: i64 = 1_000_000_000;

fn fake() -> FakeMetadata {
    FakeMetadata::start(Options::default()).expect("a free port")
}

fn config(endpoint: String) -> AwsSource {
    AwsSource { endpoint, request_timeout_ms: 300, ..AwsSource::default() }
}

fn every(seconds: f64) -> Pace {
    Pace::every(seconds, Aws::ITEMS)
}

fn start(settings: &AwsSource, pace: Pace, reviser: Reviser) -> Watched {
    Watched::start(pace, reviser, |bell| Aws::new(settings, bell).expect("a valid endpoint"))
}

fn watch(settings: &AwsSource) -> Watched {
    start(settings, every(0.05), Reviser::new(Aws::SOURCE))
}

fn watch_it(fake: &FakeMetadata) -> Watched {
    watch(&config(fake.base_url()))
}

/// Waits until each path has been asked for and answered `polls` more times.
fn polls(fake: &FakeMetadata, polls: usize) {
    for path in ["spot/instance-action", "events/maintenance/history"] {
        let is_one = |r: &Request| r.path.ends_with(path);
        let before = fake.requests().into_iter().filter(is_one).count();
        // A request shows that the answers to those before it have been dealt with.
        assert!(fake.wait_for(before + polls + 1, PATIENCE, is_one).is_some(), "{path} is not polled");
    }
}

fn seconds_left(event: &Event) -> f64 {
    event.seconds_left(event.detected).expect("a deadline")
}

#[test]
fn a_notice_becomes_one_event_that_names_machine_and_deadline() {
    let fake = fake();
    let mut source = watch_it(&fake);
    polls(&fake, 2);
    source.assert_silent();
    fake.notice(Action::Terminate, TWO_MINUTES);
    let event = source.event("cloud.spot.interrupt");
    assert!((115.0..=120.0).contains(&seconds_left(&event)), "{event:?}");
    assert!(event.machine.instance_id.starts_with("i-") && !event.machine.zone.is_empty(), "{event:?}");
    assert_eq!((&*event.source, &*event.provider), ("aws.ec2.metadata-service", "aws"));
    polls(&fake, 10);
    source.assert_silent();
    assert_eq!(source.report().state, State::Seeing);
    assert_eq!(source.report().errors, 0);
}

#[test]
fn a_time_that_drifts_at_each_poll_is_one_event() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Drift(jiff::SignedDuration::from_secs(5))));
    fake.notice(Action::Stop, TWO_MINUTES);
    let mut source = watch_it(&fake);
    source.event("cloud.spot.interrupt");
    polls(&fake, 30);
    source.assert_silent();
}

#[test]
fn a_notice_in_the_past_does_not_fire_and_does_not_hide_the_next_one() {
    let fake = fake();
    let past = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(600);
    fake.notice(Action::Terminate, past);
    let mut source = watch_it(&fake);
    polls(&fake, 5);
    source.assert_silent();
    fake.notice(Action::Terminate, TWO_MINUTES);
    source.event("cloud.spot.interrupt");
}

#[test]
fn a_deadline_that_moves_is_told_for_the_same_event() {
    let fake = fake();
    fake.notice(Action::Terminate, TWO_MINUTES);
    let mut source = watch_it(&fake);
    let event = source.event("cloud.spot.interrupt");
    fake.notice(Action::Terminate, Duration::from_secs(60));
    let Told::Moved(id, effective) = source.tells() else { panic!("not moved") };
    assert_eq!(id, event.id);
    assert!(effective.boot_ns < event.effective.expect("a deadline").boot_ns - 50 * SECOND_NS);
}

#[test]
fn a_hibernation_is_critical_and_leaves_no_time() {
    let fake = fake();
    fake.notice(Action::Hibernate, Duration::ZERO);
    let mut source = watch_it(&fake);
    let event = source.event("cloud.spot.interrupt");
    assert_eq!((event.severity.as_str(), seconds_left(&event)), ("critical", 0.0));
    polls(&fake, 3);
    source.assert_silent();
}

#[test]
fn the_older_path_alone_is_enough() {
    let fake = fake();
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(100);
    fake.termination_time(Some(&format!("{time:.0}")));
    let mut source = watch_it(&fake);
    let event = source.event("cloud.spot.interrupt");
    assert_eq!(event.action.as_str(), "terminate");
    polls(&fake, 3);
    source.assert_silent();
}

#[test]
fn a_local_clock_that_is_hours_behind_does_not_change_the_time_left() {
    for hours in [1, 24] {
        let fake = fake();
        fake.advance_clock(Duration::from_secs(3_600 * hours));
        fake.notice(Action::Terminate, TWO_MINUTES);
        let event = watch_it(&fake).event("cloud.spot.interrupt");
        assert!((115.0..=120.0).contains(&seconds_left(&event)), "{event:?}");
    }
}

#[test]
fn a_notice_told_before_a_restart_is_not_told_again() {
    let fake = fake();
    fake.notice(Action::Terminate, TWO_MINUTES);
    let told = watch_it(&fake).event("cloud.spot.interrupt");
    let mut reviser = Reviser::new(Aws::SOURCE);
    reviser.seed(NoticeKey::of(&told), told.id, told.effective, false);
    let mut source = start(&config(fake.base_url()), every(0.05), reviser);
    polls(&fake, 3);
    source.assert_silent();
}

#[test]
fn events_before_the_machine_is_known_fire_and_later_ones_name_it() {
    let fake = fake();
    let fault = fake.set_fault(Fault::new(Effect::Status(500)).paths(["dynamic/*"]));
    fake.notice(Action::Terminate, TWO_MINUTES);
    let mut source = watch_it(&fake);
    assert_eq!(source.event("cloud.spot.interrupt").machine.instance_id, "");
    assert!(fake.clear_fault(fault));
    // The identity is asked for again after five seconds.
    let known = fake.wait_for(1, PATIENCE, |r| r.path.ends_with("/document") && r.status == Some(200));
    assert!(known.is_some());
    polls(&fake, 1);
    fake.rebalance();
    assert_ne!(source.event("cloud.spot.rebalance").machine.instance_id, "");
    source.assert_silent();
}

#[test]
fn rebalance_is_an_advice_without_deadline_told_once() {
    let fake = fake();
    fake.rebalance();
    let mut source = watch_it(&fake);
    let event = source.event("cloud.spot.rebalance");
    assert_eq!((event.notice_kind.as_str(), event.effective), ("advisory", None));
    polls(&fake, 5);
    source.assert_silent();
}

#[test]
fn maintenance_is_told_and_its_cancellation_names_it() {
    let fake = fake();
    let mut source = watch_it(&fake);
    let days = Duration::from_secs(3 * 86_400);
    let id = fake.maintenance(Maintenance::new("system-reboot", days)).expect("a new id");
    let event = source.event("cloud.maintenance.reboot");
    assert!((seconds_left(&event) - 259_200.0).abs() < 5.0, "{event:?}");
    polls(&fake, 3);
    source.assert_silent();
    fake.cancel_maintenance(&id).expect("a known id");
    let cancelled = source.event("cloud.maintenance.reboot.cancelled");
    assert_eq!(cancelled.cancels, Some(event.id));
    polls(&fake, 3);
    source.assert_silent();
}

#[test]
fn a_broken_history_does_not_hide_what_is_scheduled() {
    for effect in [Effect::Status(500), Effect::Garbage(GARBAGE.to_vec())] {
        let fake = fake();
        fake.set_fault(Fault::new(effect).paths(["events/maintenance/history"]));
        fake.maintenance(Maintenance::new("instance-stop", TWO_MINUTES)).expect("a new id");
        let mut source = watch_it(&fake);
        source.event("cloud.maintenance.stop");
        let report = source.until(|r| r.state == State::Partial);
        assert!(report.to_string().contains("events/maintenance not seen"), "{report}");
    }
}

#[test]
fn only_targets_that_end_in_termination_are_told_and_another_target_withdraws_them() {
    let fake = fake();
    fake.lifecycle_state(Some("InService"));
    let mut source = watch_it(&fake);
    polls(&fake, 2);
    source.assert_silent();
    fake.lifecycle_state(Some("Terminated"));
    let event = source.event("cloud.autoscaling.terminate");
    assert_eq!((event.severity.as_str(), event.effective), ("urgent", None));
    polls(&fake, 3);
    source.assert_silent();
    fake.lifecycle_state(Some("InService"));
    assert_eq!(source.event("cloud.autoscaling.terminate.cancelled").cancels, Some(event.id));
}

/// Every way a path can fail: seen as an error of that path and never as "no notice", over when it is over, no reason to look
/// more rarely, and no obstacle for other paths.
#[test]
fn no_error_passes_for_the_absence_of_a_notice_delays_the_next_look_or_hides_another_path() {
    let cases = [
        (Effect::Status(410), "HTTP status 410"),
        (Effect::Status(500), "HTTP status 500"),
        (Effect::Status(503), "HTTP status 503"),
        (Effect::Status(429), "HTTP status 429"),
        (Effect::Garbage(GARBAGE.to_vec()), "not understood: expected JSON"),
        (Effect::Garbage(Vec::new()), "not understood: expected JSON"),
        (Effect::Truncated, "closed before the answer was complete"),
        (Effect::Reset, "closed before the answer was complete"),
        (Effect::Oversized(10 << 20), "longer than 262144 bytes"),
        (Effect::Redirect("http://127.0.0.1:9/".into()), "a redirect, which is not followed"),
        (Effect::Drip(Duration::from_millis(50)), "no answer within the time limit"),
        (Effect::Hang, "no answer within the time limit"),
    ];
    for (effect, expected) in cases {
        let fake = fake();
        fake.termination_time(None);
        fake.set_fault(Fault::new(effect.clone()).paths(["spot/instance-action"]));
        fake.notice(Action::Terminate, TWO_MINUTES);
        let mut source = watch_it(&fake);
        let report = source.until(|r| r.state == State::Partial && r.paths[0].state == State::Blind);
        let error = report.paths[0].last_error.as_deref().unwrap_or_default();
        assert!(error.contains(expected), "{effect:?}: {report}");
        source.assert_silent();
        fake.lifecycle_state(Some("Terminated"));
        source.event("cloud.autoscaling.terminate");
        source.until(|r| r.paths[0].consecutive_errors >= 6);
        let failed: Vec<Request> = fake.requests().into_iter().filter(|r| !r.faults.is_empty()).collect();
        assert_pace_kept(&failed, &format!("{effect:?}"));
        fake.clear_faults();
        source.event("cloud.spot.interrupt");
        source.until(|r| r.state == State::Seeing);
    }
}

#[test]
fn what_only_looks_odd_is_no_error() {
    for effect in [Effect::Close, Effect::ContentType("image/gif".into()), Effect::Delay(Duration::from_millis(50))] {
        let fake = fake();
        fake.set_fault(Fault::new(effect));
        fake.notice(Action::Terminate, TWO_MINUTES);
        let mut source = watch_it(&fake);
        source.event("cloud.spot.interrupt");
        polls(&fake, 3);
        assert_eq!(source.report().errors, 0, "{}", source.report());
    }
}

#[test]
fn a_service_slower_than_the_interval_starves_no_path() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Delay(Duration::from_millis(100))));
    let mut source = watch_it(&fake);
    polls(&fake, 2);
    fake.notice(Action::Terminate, TWO_MINUTES);
    source.event("cloud.spot.interrupt");
}

#[test]
fn a_connection_that_died_between_polls_costs_no_poll() {
    let fake = fake();
    fake.termination_time(None);
    fake.set_fault(Fault::new(Effect::Reset).paths(["spot/instance-action"]).count(1));
    fake.notice(Action::Terminate, TWO_MINUTES);
    let mut source = watch_it(&fake);
    source.event("cloud.spot.interrupt");
    assert_eq!(source.report().errors, 0, "{}", source.report());
}

#[test]
fn a_redirect_is_not_followed_to_another_service() {
    let (service, other) = (fake(), fake());
    other.notice(Action::Terminate, TWO_MINUTES);
    let location = format!("{}/latest/meta-data/spot/instance-action", other.base_url());
    service.set_fault(Fault::new(Effect::Redirect(location)).paths(["spot/*"]));
    let mut source = watch_it(&service);
    source.until(|r| r.paths[0].state == State::Blind);
    assert!(other.requests().is_empty(), "{:?}", other.requests());
    source.assert_silent();
}

#[test]
fn a_proxy_in_the_environment_is_ignored() {
    const CHILD: &str = "CLOUDSNOOZE_TEST_BEHIND_PROXY";
    if std::env::var_os(CHILD).is_some() {
        let fake = fake();
        fake.notice(Action::Terminate, TWO_MINUTES);
        watch_it(&fake).event("cloud.spot.interrupt");
        return;
    }
    // The environment of a process with threads cannot be changed safely, so a process of its own gets another.
    let proxy = fake();
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "a_proxy_in_the_environment_is_ignored"]).env(CHILD, "1").env_remove("NO_PROXY");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, proxy.base_url());
    }
    let output = child.output().expect("this program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
}

#[test]
fn a_token_that_ends_without_warning_is_replaced_and_nothing_is_missed() {
    let fake = fake();
    let mut source = watch_it(&fake);
    polls(&fake, 1);
    fake.revoke_tokens();
    fake.notice(Action::Terminate, TWO_MINUTES);
    source.event("cloud.spot.interrupt");
    fake.advance_clock(Duration::from_secs(21_601));
    fake.rebalance();
    source.event("cloud.spot.rebalance");
    assert_eq!(source.report().errors, 0, "{}", source.report());
    let tokens = fake.requests().into_iter().filter(|r| r.method == "PUT").count();
    assert_eq!(tokens, 3);
}

#[test]
fn a_token_is_renewed_before_it_ends_and_kept_when_that_fails() {
    let fake = fake();
    let bell = Arc::new(Bell::new().expect("a descriptor"));
    let mut client = MetadataClient::new(&fake.base_url(), 300, bell).expect("a valid endpoint");
    let mut keeper = TokenKeeper::new(&token::EC2, false);
    let puts = || fake.requests().into_iter().filter(|r| r.method == "PUT").count();
    let mut at = |seconds: i64| {
        keeper.header(&mut client, seconds * SECOND_NS).map(|header| header.expect("the second version").1.to_owned())
    };
    let first = at(0).expect("a token");
    assert_eq!(at(21_299), Ok(first.clone()));
    assert_eq!(puts(), 1);
    fake.set_fault(Fault::new(Effect::Status(503)).paths(["api/token"]));
    assert_eq!(at(21_301), Ok(first.clone()));
    assert_eq!(at(21_310), Ok(first.clone()), "no second attempt within 15 s");
    assert_eq!(puts(), 2);
    assert!(at(21_601).is_err(), "an ended token is not offered");
    fake.clear_faults();
    let second = at(21_602).expect("a token");
    assert_ne!(first, second);
}

#[test]
fn a_storm_of_401_is_blindness_and_ends_with_the_storm() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::TokenStorm));
    fake.notice(Action::Terminate, TWO_MINUTES);
    let mut source = watch_it(&fake);
    let report = source.until(|r| r.state == State::Blind && r.paths.iter().all(|p| p.state == State::Blind));
    assert!(report.to_string().contains("HTTP status 401"), "{report}");
    source.assert_silent();
    fake.clear_faults();
    source.event("cloud.spot.interrupt");
}

#[test]
fn a_token_lost_to_the_hop_limit_is_diagnosed() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::HopLimit));
    let mut source = watch_it(&fake);
    let report = source.until(|r| r.paths[0].state == State::Blind);
    assert!(report.to_string().contains("HttpPutResponseHopLimit to 2 or use host networking"), "{report}");
    // A service that answers nothing at all is another matter.
    fake.set_fault(Fault::new(Effect::Hang));
    source.until(|r| r.paths[0].last_error.as_deref().is_some_and(|e| e.contains("no answer within")));
}

#[test]
fn the_first_version_of_the_service_is_used_only_when_configured() {
    for fault in [Fault::new(Effect::Status(403)).paths(["api/token"]), Fault::new(Effect::HopLimit)] {
        let fake = fake();
        fake.require_tokens(false);
        fake.set_fault(fault);
        fake.notice(Action::Terminate, TWO_MINUTES);
        let mut strict = watch_it(&fake);
        strict.until(|r| r.paths[0].state == State::Blind);
        strict.assert_silent();
        strict.stop();
        let lenient = AwsSource { allow_imds_v1: true, ..config(fake.base_url()) };
        watch(&lenient).event("cloud.spot.interrupt");
    }
}

#[test]
fn a_service_that_is_off_or_not_there_is_blindness_with_the_reason() {
    let fake = fake();
    fake.enable(false);
    let mut source = watch_it(&fake);
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("HTTP status 403"), "{report}");
    fake.enable(true);
    source.until(|r| r.state == State::Seeing);
    // The port of a service that has gone is free, and nothing listens there.
    let endpoint = fake.base_url();
    drop(fake);
    let mut source = watch(&config(endpoint));
    let report = source.until(|r| r.state == State::Blind);
    assert!(report.to_string().contains("refuses connections"), "{report}");
}

#[test]
fn stop_ends_a_request_that_gets_no_answer() {
    let fake = fake();
    fake.set_fault(Fault::new(Effect::Hang));
    let slow = AwsSource { request_timeout_ms: 600_000, ..config(fake.base_url()) };
    let mut source = watch(&slow);
    assert!(fake.wait_for(1, PATIENCE, |_| true).is_some());
    let started = Instant::now();
    source.stop();
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn other_intervals_count_at_once() {
    let fake = fake();
    let mut source = start(&config(fake.base_url()), every(3_600.0), Reviser::new(Aws::SOURCE));
    assert!(fake.wait_for(1, PATIENCE, |r| r.path.ends_with("history")).is_some());
    fake.notice(Action::Terminate, TWO_MINUTES);
    source.control.set(every(0.05));
    source.event("cloud.spot.interrupt");
    polls(&fake, 3);
}

#[test]
fn a_recommendation_to_leave_makes_it_look_more_often() {
    let fake = fake();
    let mut calm = Pace { hurried_seconds: 0.05, ..every(3_600.0) };
    calm.seconds[2] = 0.05;
    let mut source = start(&config(fake.base_url()), calm, Reviser::new(Aws::SOURCE));
    let is_spot = |r: &Request| r.path.ends_with("spot/instance-action");
    assert!(fake.wait_for(1, PATIENCE, is_spot).is_some());
    assert!(source.health.interval_seconds() > 3_000.0);
    fake.rebalance();
    source.event("cloud.spot.rebalance");
    assert!(fake.wait_for(5, PATIENCE, is_spot).is_some(), "the spot notice is looked for at the hurried interval");
    assert!(source.health.interval_seconds() < 0.1, "and status says so");
    let maintenance = fake.requests().into_iter().filter(|r| r.path.ends_with("history")).count();
    assert!(maintenance <= 2, "what has no hurry keeps its rhythm");
}

#[test]
fn an_on_demand_instance_is_named_as_such_and_polled_all_the_same() {
    let fake = fake();
    fake.body("instance-life-cycle", Body::Text("on-demand".into()));
    let mut source = watch_it(&fake);
    polls(&fake, 1);
    assert!(source.report().to_string().contains("on-demand"), "{}", source.report());
    fake.notice(Action::Stop, TWO_MINUTES);
    source.event("cloud.spot.interrupt");
}
