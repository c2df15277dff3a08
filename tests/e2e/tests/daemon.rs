//! The daemon's life: restarts, crashes, signals, sockets, disks, and sources that see nothing for a while.

use e2e::simple::notify::Notified;
use e2e::simple::socket::ask;
use e2e::simple::{PATIENCE, Plugins, events, finished, handles, simulate, snoozed, status_when};
use fake_metadata::{Action, FakeMetadata, Maintenance, Options};
use harness::daemon::Daemon;
use harness::program::Signal;
use harness::wait;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const INTERRUPT: &str = "cloud.spot.interrupt";
const REBOOT: &str = "cloud.maintenance.reboot";
const TWO_MINUTES: Duration = Duration::from_secs(120);

fn fake() -> FakeMetadata {
    FakeMetadata::start(Options::default()).expect("a free port")
}

/// Looks for every notice twenty times a second.
fn eager(mut config: Value) -> Value {
    let often =
        json!({"polling_interval_seconds": 0.05, "maintenance_interval_seconds": 0.05, "request_timeout_ms": 1000});
    config["sources"]["aws"] = often;
    config
}

/// Two handlers, each for a type of its own.
fn two(first: (&str, &Value), second: (&str, &Value)) -> Value {
    let mut config = handles(first.0, "first", first.1);
    config["event_handlers"][second.0] = handles(second.0, "second", second.1)["event_handlers"][second.0].take();
    config
}

/// Waits until the service has answered a path this many more times: what it said before has been dealt with.
fn polls(fake: &FakeMetadata, path: &str, count: usize) {
    let is_one = |request: &fake_metadata::Request| request.path.ends_with(path);
    let before = fake.requests().into_iter().filter(is_one).count();
    assert!(fake.wait_for(before + count, PATIENCE, is_one).is_some(), "{path} is not asked for");
}

/// Waits until the newest event of this type is over and gives its report.
fn newest(daemon: &Daemon, event_type: &str) -> Value {
    let found = wait::until(event_type, PATIENCE, || {
        let all = events(daemon).into_iter().find(|event| event["type"] == event_type)?;
        all["event_id"].as_str().map(str::to_owned)
    });
    finished(daemon, &found.expect("an event of this type"))
}

fn states(daemon: &Daemon) -> Vec<String> {
    events(daemon).iter().map(|event| event["state"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_restart_does_not_run_a_completed_event_again_while_its_notice_stands() {
    let (fake, plugins) = (fake(), Plugins::recorders(&["first"]));
    let config = eager(handles(INTERRUPT, "first", &plugins.config("first")));
    let mut daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    fake.notice(Action::Terminate, TWO_MINUTES);
    plugins.journal().wait(1, "first end");
    assert_eq!(newest(&daemon, INTERRUPT)["state"], "completed");
    for restart in ["stopped", "killed"] {
        if restart == "stopped" {
            assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
        } else {
            daemon.kill9();
        }
        daemon.start_again().expect("it starts");
        polls(&fake, "spot/instance-action", 5);
        assert_eq!(plugins.journal().all("first begin").len(), 1, "{restart}");
        assert_eq!(states(&daemon), ["completed"], "{restart}");
    }
    // A notice of something else is still seen.
    fake.rebalance();
    wait::until("the rebalance", PATIENCE, || (events(&daemon).len() == 2).then_some(())).expect("it is seen");
}

#[test]
fn an_event_that_a_crash_interrupted_is_taken_up_again_and_its_notice_is_no_news() {
    let (fake, plugins) = (fake(), Plugins::recorders(&["first"]));
    let config = eager(handles(INTERRUPT, "first", &plugins.gated("first", "gate")));
    let mut daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    fake.notice(Action::Terminate, TWO_MINUTES);
    plugins.journal().wait(1, "first begin");
    status_when(&daemon, "the event in the history", |_| states(&daemon) == ["running"]);
    daemon.kill9();
    daemon.start_again().expect("it starts");
    plugins.journal().wait(2, "first begin");
    plugins.open("gate");
    let report = newest(&daemon, INTERRUPT);
    assert_eq!((&report["state"], &report["handlers"][0]["status"]), (&json!("completed"), &json!("handled")));
    assert_eq!(report["handlers"][0]["attempts"], 2, "{report:#}");
    // The notice still stands, and is read again.
    polls(&fake, "spot/instance-action", 5);
    assert_eq!(states(&daemon), ["completed"]);
    assert_eq!(plugins.journal().all("first end").len(), 1);
}

#[test]
fn asked_to_stop_the_daemon_finishes_what_runs_first() {
    let plugins = Plugins::recorders(&["first"]);
    let notified = Notified::listen(plugins.directory());
    let builder = plugins.daemon(handles("custom.x", "first", &plugins.gated("first", "gate")));
    let mut daemon = builder.env("NOTIFY_SOCKET", notified.path()).start().expect("it starts");
    notified.wait("READY=1");
    let id = simulate(&daemon, "custom.x", &["--in", "60s"]);
    plugins.journal().wait(1, "first begin");
    daemon.signal(Signal::SIGTERM).expect("it runs");
    notified.wait("STOPPING=1");
    let status = daemon.snooze_json(&["status", "--json"]).expect("it still answers");
    assert_eq!(status["dispatch"]["events_busy"], 1);
    plugins.open("gate");
    assert_eq!(exit_code(&mut daemon), Some(0));
    let story = plugins.journal().story();
    assert_eq!(
        story,
        ["create", "activate", "begin", "end", "deactivate", "destroy"].map(|what| format!("first {what}"))
    );
    assert!(!daemon.socket().exists(), "the socket goes with the daemon");
    daemon.start_again().expect("it starts");
    assert_eq!(finished(&daemon, &id)["state"], "completed");
}

fn exit_code(daemon: &mut Daemon) -> Option<i32> {
    let ended = wait::until("the daemon's end", PATIENCE, || daemon.exit_status());
    ended.expect("it ends").code()
}

#[test]
fn asked_twice_it_cancels_what_runs() {
    let plugins = Plugins::recorders(&["first"]);
    let notified = Notified::listen(plugins.directory());
    let builder = plugins.daemon(handles("custom.x", "first", &plugins.gated("first", "never")));
    let mut daemon = builder.env("NOTIFY_SOCKET", notified.path()).start().expect("it starts");
    let id = simulate(&daemon, "custom.x", &["--in", "60s"]);
    plugins.journal().wait(1, "first begin");
    daemon.signal(Signal::SIGTERM).expect("it runs");
    notified.wait("STOPPING=1");
    daemon.signal(Signal::SIGTERM).expect("it runs");
    assert_eq!(exit_code(&mut daemon), Some(0));
    let story = plugins.journal().story();
    assert_eq!(story[2..], ["first begin", "first stopped", "first deactivate", "first destroy"]);
    assert_eq!(plugins.journal().all("first stopped")[0]["reason"], 1, "because of the shutdown");
    daemon.start_again().expect("it starts");
    let report = finished(&daemon, &id);
    assert_eq!((&report["state"], &report["handlers"][0]["status"]), (&json!("withdrawn"), &json!("cancelled")));
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_respected() {
    let plugins = Plugins::recorders(&["first"]);
    let mut daemon =
        plugins.daemon(handles("custom.x", "first", &plugins.gated("first", "gate"))).start().expect("it starts");
    daemon.kill9();
    assert!(daemon.socket().exists(), "a stale socket");
    daemon.start_again().expect("it replaces the stale socket");
    let id = simulate(&daemon, "custom.x", &["--in", "60s"]);
    plugins.journal().wait(1, "first begin");
    let before = plugins.journal().story();
    let second = snoozed(&["--config", &daemon.config_file().display().to_string()], &[]);
    assert_eq!(second.code, Some(71), "{second:?}");
    let expected = format!("another daemon listens on {}", daemon.socket().display());
    assert!(second.stderr.contains(&expected), "{second:?}");
    assert_eq!(plugins.journal().story(), before, "the second daemon made an instance");
    assert_eq!(states(&daemon), ["running"], "the second daemon touched the history");
    plugins.open("gate");
    assert_eq!(finished(&daemon, &id)["state"], "completed");
}

#[test]
fn a_file_that_is_no_socket_is_never_replaced() {
    let plugins = Plugins::recorders(&["first"]);
    let precious = plugins.file("precious");
    std::fs::write(&precious, "data").expect("written");
    let mut config = handles("custom.x", "first", &plugins.config("first"));
    config["control"] = json!({"socket": precious});
    let daemon = plugins.daemon(config).prepare().expect("prepared");
    let output = snoozed(&["--config", &daemon.config_file().display().to_string()], &[]);
    assert_eq!(output.code, Some(71), "{output:?}");
    assert!(output.stderr.contains(&format!("{}", precious.display())), "{output:?}");
    assert_eq!(std::fs::read_to_string(&precious).expect("it is still there"), "data");
}

#[test]
fn without_a_history_the_daemon_works_on_and_says_so() {
    let plugins = Plugins::recorders(&["first"]);
    // Root may write anywhere, so this is a place where nobody can.
    let file = plugins.file("file");
    std::fs::write(&file, "").expect("written");
    let state = file.join("state");
    let mut config = handles("custom.x", "first", &plugins.config("first"));
    config["state_directory"] = json!(state);
    let daemon = plugins.daemon(config).start().expect("it starts");
    let id = simulate(&daemon, "custom.x", &[]);
    let report = finished(&daemon, &id);
    assert_eq!(report["handlers"][0]["verified"], "yes", "{report:#}");
    assert_eq!(plugins.journal().all("first end").len(), 1);
    let output = daemon.snooze(&["status"]).expect("it runs");
    assert_eq!(output.code, Some(1), "{output:?}");
    let path = state.join("history.sqlite").display().to_string();
    assert!(output.stdout.contains("the history is not kept") && output.stdout.contains(&path), "{output:?}");
    assert!(daemon.log().contains("the history cannot be kept"), "{}", daemon.log());
}

#[test]
fn a_source_that_sees_nothing_says_why_until_it_sees_again() {
    let (fake, plugins) = (fake(), Plugins::recorders(&["first"]));
    fake.enable(false);
    let config = eager(handles(INTERRUPT, "first", &plugins.config("first")));
    let daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    let status = status_when(&daemon, "a blind source", |status| status["sources"][0]["state"] == "blind");
    let summary = status["sources"][0]["summary"].as_str().expect("a sentence");
    assert!(summary.contains("HTTP status 403"), "{summary}");
    assert_eq!(status["health"], "degraded");
    assert!(status["problems"].to_string().contains("HTTP status 403"), "{status}");
    assert_eq!(daemon.snooze(&["status"]).expect("it runs").code, Some(1));
    let config_file = daemon.config_file().display().to_string();
    let doctor = daemon.snooze(&["--config", &config_file, "doctor"]).expect("it runs");
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains("403"), "{doctor:?}");
    fake.enable(true);
    let status = status_when(&daemon, "a seeing source", |status| status["sources"][0]["state"] == "seeing");
    assert!(!status["problems"].to_string().contains("403"), "{status}");
    let known = status_when(&daemon, "the machine", |status| status["machine"]["instance_id"] != "");
    assert_eq!(known["machine"]["instance_type"], "m5.large", "{known}");
    fake.notice(Action::Terminate, TWO_MINUTES);
    plugins.journal().wait(1, "first end");
}

#[test]
fn an_urgent_event_is_not_held_up_by_a_slow_one() {
    let (fake, plugins) = (fake(), Plugins::recorders(&["first", "second"]));
    let rebalance = ("cloud.spot.rebalance", &plugins.gated("slow", "gate"));
    let config = eager(two(rebalance, (INTERRUPT, &plugins.config("urgent"))));
    let daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    fake.rebalance();
    plugins.journal().wait(1, "slow begin");
    fake.notice(Action::Terminate, TWO_MINUTES);
    plugins.journal().wait(1, "urgent end");
    assert_eq!(newest(&daemon, INTERRUPT)["state"], "completed");
    assert_eq!(plugins.journal().all("slow end").len(), 0, "it is still at work");
    plugins.open("gate");
    assert_eq!(newest(&daemon, "cloud.spot.rebalance")["state"], "completed");
    assert_eq!(plugins.journal().all("slow stopped").len(), 0, "nobody had to make room");
}

#[test]
fn one_handler_of_both_leaves_the_slow_event_for_the_urgent_one() {
    let (fake, plugins) = (fake(), Plugins::recorders(&["first"]));
    let config = eager(handles("cloud.spot.*", "first", &plugins.gated("both", "gate")));
    let daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    fake.rebalance();
    plugins.journal().wait(1, "both begin");
    fake.notice(Action::Terminate, TWO_MINUTES);
    assert_eq!(plugins.journal().wait(1, "both stopped")["reason"], 3, "superseded");
    assert_eq!(plugins.journal().wait(2, "both begin")["type"], INTERRUPT);
    plugins.open("gate");
    assert_eq!(newest(&daemon, INTERRUPT)["handlers"][0]["status"], "handled");
    let rebalance = newest(&daemon, "cloud.spot.rebalance");
    assert_eq!(rebalance["handlers"][0]["status"], "cancelled", "{rebalance:#}");
}

#[test]
fn a_withdrawn_notice_stops_its_handler_and_is_an_event_of_its_own() {
    let (fake, plugins) = (fake(), Plugins::recorders(&["first", "second"]));
    let cancelled = format!("{REBOOT}.cancelled");
    let config = eager(two((REBOOT, &plugins.gated("reboot", "never")), (&cancelled, &plugins.config("calm"))));
    let daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    let event_id = fake.maintenance(Maintenance::new("system-reboot", Duration::from_secs(3_600))).expect("a new id");
    let begun = plugins.journal().wait(1, "reboot begin");
    assert_eq!(begun["action"], "reboot");
    fake.cancel_maintenance(&event_id).expect("it is known");
    let stopped = plugins.journal().wait(1, "reboot stopped");
    assert_eq!((&stopped["reason"], &stopped["id"]), (&json!(4), &begun["id"]), "withdrawn");
    let calm = plugins.journal().wait(1, "calm end");
    assert_eq!((&calm["cancels"], &calm["type"]), (&begun["id"], &json!(cancelled)));
    let report = newest(&daemon, REBOOT);
    assert_eq!((&report["state"], &report["handlers"][0]["status"]), (&json!("withdrawn"), &json!("cancelled")));
    let report = newest(&daemon, &cancelled);
    assert_eq!(report["event"]["data"]["cancels"], begun["id"], "{report:#}");
    assert_eq!(report["state"], "completed");
}

#[test]
fn a_deadline_that_moves_nearer_stops_the_handler_in_time() {
    let (fake, plugins) = (fake(), Plugins::recorders(&["first"]));
    let config = eager(handles(INTERRUPT, "first", &plugins.gated("first", "never")));
    let daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    fake.notice(Action::Terminate, TWO_MINUTES);
    let begun = plugins.journal().wait(1, "first begin");
    assert!(begun["left_ms"].as_i64().is_some_and(|ms| ms > 50_000), "{begun}");
    let started = Instant::now();
    fake.notice(Action::Terminate, Duration::from_secs(3));
    let stopped = plugins.journal().wait(1, "first stopped");
    assert_eq!(stopped["reason"], 2, "the deadline");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let report = newest(&daemon, INTERRUPT);
    assert_eq!(report["handlers"][0]["status"], "timed-out", "{report:#}");
    assert_eq!(events(&daemon).len(), 1, "it is the same event");
}

#[test]
fn a_hibernation_is_handled_at_once_with_the_little_time_there_is() {
    let (fake, plugins) = (fake(), Plugins::recorders(&["first"]));
    let config = eager(handles(INTERRUPT, "first", &plugins.config("first")));
    let daemon = plugins.daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    fake.notice(Action::Hibernate, Duration::ZERO);
    let begun = plugins.journal().wait(1, "first begin");
    assert_eq!(begun["action"], "hibernate");
    assert!(begun["left_ms"].as_i64().is_some_and(|ms| (1..=10_000).contains(&ms)), "{begun}");
    let report = newest(&daemon, INTERRUPT);
    assert_eq!(
        (&report["event"]["severity"], &report["handlers"][0]["status"]),
        (&json!("critical"), &json!("handled"))
    );
}

#[test]
fn a_burst_of_two_hundred_events_is_handled_to_the_last() {
    const BURST: usize = 200;
    let plugins = Plugins::recorders(&["first", "second"]);
    let config = json!({"event_handlers": {"custom.*": {"plugins": [
        {"name": "first", "priority": 90, "config": plugins.gated("first", "gate")},
        {"name": "second", "priority": 10, "config": plugins.config("second")},
    ]}}});
    let daemon = plugins.daemon(config).start().expect("it starts");
    for number in 0..BURST {
        let body = json!({"type": "custom.burst", "in_seconds": 600, "data": {"number": number}}).to_string();
        let (status, answer) = ask(&daemon.socket(), "POST", "/v1/simulate", &body);
        assert_eq!(status, 200, "{answer}");
    }
    // More than run at the same time: the rest waits.
    status_when(&daemon, "all events", |status| status["dispatch"]["events_busy"] == BURST);
    plugins.open("gate");
    let status = status_when(&daemon, "the end of all", |status| status["events"]["completed"] == BURST);
    assert_eq!((&status["events"]["refused"], &status["events"]["notes_dropped"]), (&json!(0), &json!(0)));
    assert_eq!(status["dispatch"]["calls_abandoned"], 0);
    for tag in ["first", "second"] {
        let ids = |what: &str| -> Vec<String> {
            let mut ids: Vec<String> =
                plugins.journal().all(&format!("{tag} {what}")).iter().map(|line| line["id"].to_string()).collect();
            ids.sort();
            ids.dedup();
            ids
        };
        assert_eq!((ids("begin").len(), ids("end").len()), (BURST, BURST), "{tag}");
    }
    let all = events(&daemon);
    let is_well = |event: &&Value| event["state"] == "completed" && event["handled"] == 2 && event["failed"] == 0;
    assert_eq!(all.iter().filter(is_well).count(), BURST);
}
