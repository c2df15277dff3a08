//! The service manager's watchdog is fed while the daemon does its work, however long handlers and reloads take, and starves
//! when a thread that the daemon cannot do without does not come back.

use e2e::simple::notify::Notified;
use e2e::simple::{PATIENCE, Plugins, finished, handles, simulate, status_when};
use e2e::zoo::Zoo;
use fake_metadata::{Action, FakeMetadata, Options};
use harness::daemon::DaemonBuilder;
use harness::program::Signal;
use harness::wait;
use serde_json::json;
use std::time::Duration;

/// Longer than any part may owe a sign of life while it is asked for one.
const LONG: Duration = Duration::from_secs(24);
/// The watchdog is fed every 2 s; less often on a busy machine, but never as seldom as this.
const PAUSE_MAX: Duration = Duration::from_secs(8);

const FED: &str = "WATCHDOG=1";

/// Whether the watchdog was fed all the time.
fn is_fed(told: &[(Duration, String)], time: Duration) -> bool {
    let fed = told.iter().filter(|(_, text)| text.lines().any(|line| line == FED)).map(|(at, _)| *at);
    let times: Vec<Duration> = [Duration::ZERO].into_iter().chain(fed).chain([time]).collect();
    times.windows(2).all(|pair| pair[1] - pair[0] < PAUSE_MAX)
}

#[test]
fn the_watchdog_is_fed_while_nothing_happens_and_while_a_handler_and_a_reload_take_long() {
    let plugins = Plugins::recorders(&["first"]);
    let notified = Notified::listen(plugins.directory());
    let builder = plugins.daemon(handles("custom.x", "first", &plugins.gated("first", "gate")));
    let daemon = builder.env("NOTIFY_SOCKET", notified.path()).start().expect("it starts");
    notified.wait("READY=1");
    let quiet = Duration::from_secs(10);
    let told = notified.listen_for(quiet);
    assert!(is_fed(&told, quiet), "nothing happens: {told:?}");

    let id = simulate(&daemon, "custom.x", &["--in", "120s"]);
    plugins.journal().wait(1, "first begin");
    let mut slow = plugins.gated("second", "gate");
    slow["create_gate"] = json!(plugins.file("create-gate"));
    daemon.configure(handles("custom.x", "first", &slow)).expect("written");
    daemon.signal(Signal::SIGHUP).expect("it runs");
    plugins.journal().wait(1, "second create");
    let told = notified.listen_for(LONG);
    assert!(is_fed(&told, LONG), "a handler and a reload take long: {told:?}");
    assert!(!daemon.log().contains("no longer fed"), "{}", daemon.log());
    assert!(!daemon.log().contains("configuration taken"), "the reload did not take long");
    plugins.open("create-gate");
    let taken = wait::until("the reload", PATIENCE, || daemon.log().contains("configuration taken").then_some(()));
    taken.unwrap_or_else(|error| panic!("{error}: {}", daemon.log()));
    plugins.open("gate");
    assert_eq!(finished(&daemon, &id)["state"], "completed");
}

#[test]
fn the_watchdog_starves_while_the_thread_that_reads_notices_hangs_in_a_handler_and_is_fed_when_it_comes_back() {
    let Some(zoo) = Zoo::open("a handler that hangs on the thread that reads notices", &["cc"]) else { return };
    zoo.c("misbehaves.c", "promises.so", &["-DNAME=\"promises\"", "-DCAPS=SNOOZE_CAP_REALTIME"]);
    let file = zoo.join("lines");
    let handler =
        json!({"name": "promises", "timeout_seconds": 0.4, "verify": false, "config": {"mode": "deaf", "file": file}});
    let often = json!({"polling_interval_seconds": 0.2, "request_timeout_ms": 200});
    let fake = FakeMetadata::start(Options::default()).expect("a free port");
    let notified = Notified::listen(zoo.path());
    let config = json!({"event_handlers": {"cloud.spot.interrupt": {"plugins": [handler]}}, "sources": {"aws": often}});
    let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path()).endpoint(fake.base_url());
    let daemon = builder.env("NOTIFY_SOCKET", notified.path()).start().expect("the daemon started");
    notified.wait("READY=1");
    notified.wait(FED);
    fake.notice(Action::Terminate, Duration::from_secs(120));
    let given_up = daemon.report_of("cloud.spot.interrupt", PATIENCE).expect("the event ends without the thread");
    assert_eq!(given_up["handlers"][0]["status"], "abandoned", "{given_up:#}");

    // Its sign of life has been owed since the poll's end at the latest; 15 s later it is missed.
    let stuck = "the thread snooze-aws does not come back to read notices";
    let mut told = Vec::new();
    let missed = wait::until("the watchdog to starve", Duration::from_secs(40), || {
        told = notified.listen_for(Duration::from_secs(3));
        daemon.log().contains(&format!("{stuck}: the service manager's watchdog is no longer fed")).then_some(())
    });
    missed.unwrap_or_else(|error| panic!("{error}; it said {told:?}"));
    let told = notified.listen_for(PAUSE_MAX);
    assert!(!told.iter().any(|(_, text)| text.contains(FED)), "{told:?}");
    assert!(told.iter().any(|(_, text)| text.contains("STATUS=")), "the daemon itself goes on: {told:?}");
    let is_told = |status: &serde_json::Value| status["problems"].to_string().contains(stuck);
    status_when(&daemon, "the problem", is_told);
    assert_eq!(daemon.log().matches("no longer fed").count(), 1, "it is said once: {}", daemon.log());

    std::fs::write(zoo.join("lines.release"), "").expect("written");
    notified.wait(FED);
    status_when(&daemon, "no problem of this kind", |status| !is_told(status));
    assert_eq!(daemon.log().matches(&format!("no longer so: {stuck}")).count(), 1, "{}", daemon.log());
}
