//! However many events there were, the daemon holds no more of the machine than before; and a flood of unimportant ones keeps no
//! urgent one from being handled.
//!
//! `CLOUDSNOOZE_ENDURANCE_EVENTS` says how many; `make endurance` takes a million, with the daemon as it is shipped.

use e2e::simple::PATIENCE;
use e2e::simple::possessions::Possessions;
use e2e::simple::socket::Session;
use e2e::zoo::{Zoo, repository};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::wait;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Events of the quick form.
const EVENTS: usize = 20_000;
/// Events after which everything that is made once has been made, and the history is as large as it gets.
const WARM_UP: usize = 6_000;
/// Sent together: fewer than wait in a lane.
const TOGETHER: usize = 200;
/// Events that may be under way: their notes fit.
const AHEAD_MAX: usize = 600;
/// What the memory may grow by, KiB: pages of the history and of the allocator. One event that left 256 bytes behind would
/// show in the quick form.
const GROWTH_MAX_KIB: u64 = 4_096;
/// What a flood may take, KiB: full lanes, and notes that wait to be written.
const FLOOD_MAX_KIB: u64 = 96 * 1_024;

fn events() -> usize {
    std::env::var("CLOUDSNOOZE_ENDURANCE_EVENTS").map_or(EVENTS, |text| text.parse().expect("a number of events"))
}

fn say(text: &str) {
    // Past the capturing of the test runner: these are figures for people, nothing is compared with them.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn counts(session: &mut Session) -> Value {
    let status: Value = serde_json::from_str(&session.ask(1, "GET", "/v1/status", "")).expect("JSON");
    status["events"].clone()
}

/// Has the daemon handle `count` events of this type and gives what it counts when none is left.
fn handle(session: &mut Session, count: usize, event_type: &str) -> Value {
    let body = json!({"type": event_type}).to_string();
    let wanted = counts(session)["completed"].as_u64().expect("a count") + u64::try_from(count).expect("small");
    let before = wanted - u64::try_from(count).expect("small");
    for done in (0..count).step_by(TOGETHER) {
        session.ask(TOGETHER.min(count - done), "POST", "/v1/simulate", &body);
        // No faster than they are written down: what is counted here is what is left of each, not how many are lost.
        let written = before + u64::try_from(done.saturating_sub(AHEAD_MAX)).expect("small");
        let caught_up = wait::until("events to be written down", PATIENCE, || {
            (counts(session)["completed"].as_u64() >= Some(written)).then_some(())
        });
        caught_up.expect("it goes on");
    }
    let all = wait::until("the end of the last event", PATIENCE, || {
        Some(counts(session)).filter(|counts| counts["completed"].as_u64() >= Some(wanted))
    });
    all.unwrap_or_else(|error| panic!("{error}: {} and not {wanted}", counts(session)))
}

/// A library for each way to be called: on a worker, and on the thread that has the event.
fn handlers(zoo: &Zoo) {
    let marks = zoo.join("marks");
    let marks = format!("-DMARKS=\"{}\"", marks.display());
    zoo.c("refused.c", "worker.so", &["-DNAME=\"worker\"", &marks]);
    zoo.c("refused.c", "napper.so", &["-DNAME=\"napper\"", &marks, "-DNAP_MS=5"]);
    let lanes = repository().join("tests/abi/museum/1.0/lanes.c");
    zoo.c(lanes.to_str().expect("UTF-8"), "inline.so", &["-DNAME=\"inline\"", "-DCAPS=SNOOZE_CAP_REALTIME"]);
}

fn start(zoo: &Zoo, config: Value) -> Daemon {
    DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path()).start().expect("it starts")
}

fn history_bytes(daemon: &Daemon) -> u64 {
    let size = |name: &str| std::fs::metadata(daemon.root().join("state").join(name)).map_or(0, |file| file.len());
    size("history.sqlite") + size("history.sqlite-wal")
}

#[test]
fn however_many_events_there_were_threads_descriptors_memory_and_history_stay_as_they_are() {
    let Some(zoo) = Zoo::open("many events", &["cc"]) else { return };
    handlers(&zoo);
    let inline =
        json!({"name": "inline", "priority": 90, "verify": false, "config": {"file": zoo.join("inline.lines")}});
    let config = json!({
        "event_handlers": {"custom.many": {"plugins": [inline, {"name": "worker", "priority": 10}]}},
        "history": {"keep_events": 5000}, "log": {"level": "error"},
    });
    let daemon = start(&zoo, config);
    let (pid, mut session) = (daemon.pid().expect("it runs"), Session::open(&daemon.socket()));
    handle(&mut session, WARM_UP, "custom.many");
    let (before, bytes) = (Possessions::of(pid), history_bytes(&daemon));
    let started = Instant::now();
    let told = handle(&mut session, events(), "custom.many");
    let took = started.elapsed();
    let mut after = Possessions::of(pid);
    // The history is made shorter now and then.
    let settled = wait::until("what it was before", PATIENCE, || {
        after = Possessions::of(pid);
        // Fewer is no loss: what was open for a moment when it was counted first has been closed.
        let has_no_more = after.threads <= before.threads && after.descriptors <= before.descriptors;
        (has_no_more && after.memory_kib <= before.memory_kib + GROWTH_MAX_KIB).then_some(())
    });
    say(&format!(
        "{} events in {took:?}: {before:?}, then {after:?}; history {bytes} bytes, then {}",
        events(),
        history_bytes(&daemon)
    ));
    assert_eq!(settled, Ok(()), "{before:?} before, {after:?} after; {told}");
    assert_eq!((&told["refused"], &told["notes_dropped"]), (&json!(0), &json!(0)), "all were handled: {told}");
    assert!(history_bytes(&daemon) < bytes * 3, "the history grew from {bytes} to {} bytes", history_bytes(&daemon));
}

/// Sends events that mean little as fast as the daemon takes them, until told to stop. Gives how many.
fn flood(socket: &Path, until: &AtomicBool) -> usize {
    let (mut session, mut sent) = (Session::open(socket), 0);
    let body = json!({"type": "custom.flood", "severity": "info"}).to_string();
    while !until.load(Ordering::Relaxed) {
        session.ask(TOGETHER, "POST", "/v1/simulate", &body);
        sent += TOGETHER;
    }
    sent
}

#[test]
fn a_flood_of_events_that_mean_little_keeps_no_urgent_one_from_being_handled_and_takes_bounded_memory() {
    let Some(zoo) = Zoo::open("a flood of events", &["cc"]) else { return };
    handlers(&zoo);
    let of = |name: &str| json!({"plugins": [{"name": name}]});
    let config = json!({
        "event_handlers": {"custom.flood": of("napper"), "custom.urgent": of("worker")},
        "history": {"keep_events": 1_000_000}, "log": {"level": "error"},
    });
    let daemon = start(&zoo, config);
    let (pid, socket) = (daemon.pid().expect("it runs"), daemon.socket());
    let mut session = Session::open(&socket);
    handle(&mut session, 500, "custom.urgent");
    let before = Possessions::of(pid);
    let enough = AtomicBool::new(false);
    let (urgent, most, sent, took) = std::thread::scope(|scope| {
        let (started, sender) = (Instant::now(), scope.spawn(|| flood(&socket, &enough)));
        let (mut urgent, mut most) = (Vec::new(), before.memory_kib);
        while started.elapsed() < Duration::from_secs(5) {
            let body = json!({"type": "custom.urgent", "severity": "urgent", "in_seconds": 60}).to_string();
            let told: Value = serde_json::from_str(&session.ask(1, "POST", "/v1/simulate", &body)).expect("JSON");
            urgent.push(told["event_id"].as_str().expect("an id").to_owned());
            most = most.max(Possessions::of(pid).memory_kib);
        }
        enough.store(true, Ordering::Relaxed);
        (urgent, most, sender.join().expect("no panic"), started.elapsed())
    });
    let mut worst_us: f64 = 0.0;
    for id in &urgent {
        let report = daemon.snooze_json(&["report", id, "--json"]).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(
            (&report["state"], &report["handlers"][0]["status"]),
            (&json!("completed"), &json!("handled")),
            "{report:#}"
        );
        worst_us = worst_us.max(report["first_start_us"].as_f64().expect("it began"));
    }
    let refused = counts(&mut session)["refused"].as_u64().expect("a count");
    say(&format!(
        "{sent} events in {took:?}, {refused} refused; {} urgent ones began within {worst_us} us; {before:?}, at most {most} KiB",
        urgent.len()
    ));
    assert!(refused > 0, "it was no flood: nothing had to be refused");
    assert!(most <= before.memory_kib + FLOOD_MAX_KIB, "{before:?}, then {most} KiB");
    let settled = wait::until("threads and descriptors as before", PATIENCE, || {
        let after = Possessions::of(pid);
        (after.threads <= before.threads && after.descriptors <= before.descriptors).then_some(())
    });
    assert_eq!(settled, Ok(()), "{before:?} before, {:?} after", Possessions::of(pid));
}
