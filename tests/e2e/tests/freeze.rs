//! A daemon that is killed while it holds a file system still: who writes to it goes on, and the next start knows.

use e2e::zoo::Zoo;
use harness::daemon::DaemonBuilder;
use harness::disk::{Disk, Writer};
use harness::require::missing_means_skip;
use harness::wait;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
/// The watchdog sees the end of the daemon, and need not wait for its own ten seconds.
const SOON: Duration = Duration::from_secs(6);

fn leaves_nothing_frozen(test: &str, isolation: &Value) {
    let Some(zoo) = Zoo::open(test, &[]) else { return };
    zoo.rust("fs-freeze");
    let disk = match Disk::new("ext4", 64, "") {
        Ok(disk) => disk,
        Err(error) => {
            missing_means_skip(&format!("{test}: {error}"));
            return;
        }
    };
    let writer = Writer::start(&disk).expect("it writes");
    let mut handler = json!({
        "name": "fs-freeze", "timeout_seconds": 60, "config": { "mount_points": [disk.path()], "hold_seconds": 9 },
    });
    for (key, value) in isolation.as_object().expect("an object") {
        handler[key] = value.clone();
    }
    let config = json!({ "event_handlers": { "custom.freeze": { "plugins": [handler] } } });
    let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
    let mut daemon = builder.start().expect("the daemon started");
    daemon.snooze_json(&["simulate", "custom.freeze", "--in", "120s", "--json"]).expect("an event");
    writer.stalls().unwrap_or_else(|error| panic!("{error}: {}", daemon.log_tail()));
    daemon.kill9();
    let killed = Instant::now();
    writer.goes_on().expect("it is thawed");
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());

    daemon.start_again().expect("it starts");
    let told = || daemon.log().contains("the daemon ended while").then_some(());
    wait::until("a word about it", LIMIT, told).unwrap_or_else(|error| panic!("{error}: {}", daemon.log_tail()));
    // What was not over is done again, and ends well.
    let report =
        daemon.report_of("custom.freeze", LIMIT).unwrap_or_else(|error| panic!("{error}: {}", daemon.log_tail()));
    let told = &report["handlers"][0];
    assert_eq!((&told["status"], &told["error"]), (&json!("handled"), &json!(null)), "{report:#}");
    writer.goes_on().expect("it is thawed");
}

#[test]
fn a_daemon_that_is_killed_while_it_freezes_leaves_nothing_frozen() {
    leaves_nothing_frozen("a_daemon_that_is_killed_while_it_freezes_leaves_nothing_frozen", &json!({}));
}

#[test]
fn an_isolated_handler_leaves_nothing_frozen_either() {
    leaves_nothing_frozen("an_isolated_handler_leaves_nothing_frozen_either", &json!({ "isolation": "process" }));
}
