//! Every plugin of the zoo in a running daemon: isolated, it harms neither the daemon nor the other handlers; in the
//! daemon's own process, it leaves a daemon that can be started again and that does the rest of the event.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::bestiary::{ANIMALS, Animal};
use e2e::zoo::Zoo;
use fake_metadata::{Action, FakeMetadata, Options};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::wait;
use serde_json::{Value, json};

const INTERRUPT: &str = "cloud.spot.interrupt";
/// From the notice to the end of the event, with a handler that is given up on the way; many times what it takes.
const LIMIT: Duration = Duration::from_secs(30);
/// After this long a daemon that does not get on is killed, as the service manager's watchdog would.
const WATCHDOG: Duration = Duration::from_secs(6);
/// So many animals are tried at the same time: they sleep more than they work.
const SIDE_BY_SIDE: usize = 4;

/// Each plugin once for each function in which its defect strikes; none is tried twice for another test of `verify`.
fn animals() -> Vec<&'static Animal> {
    let mut known = BTreeMap::new();
    for animal in ANIMALS {
        known.entry((animal.name, animal.when, animal.flags)).or_insert(animal);
    }
    known.into_values().collect()
}

/// Tries each animal in a place of its own; fails with all that went wrong.
fn with_each(what: &str, one: impl Fn(&Zoo, &Animal) -> Result<(), String> + Sync) {
    let Some(first) = Zoo::open(what, &["cc", "c++"]) else { return };
    drop(first);
    let (animals, next, wrong) = (animals(), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(animal) = animals.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(zoo) = Zoo::open(what, &["cc", "c++"]) else { return };
                    if let Err(error) = one(&zoo, animal) {
                        let text = format!("{} ({}): {error}", animal.name, animal.when);
                        wrong.lock().expect("no thread panics with it").push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panicked");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), animals.len(), wrong.join("\n"));
}

/// A daemon with three handlers of a spot notice: a good one, the animal, a good one.
fn prepared(zoo: &Zoo, animal: &Animal, more: &Value, fake: &FakeMetadata) -> Daemon {
    animal.build(zoo);
    for name in ["before", "after"] {
        zoo.c("dies.c", &format!("{name}.so"), &[&format!("-DNAME=\"{name}\""), "-Wno-infinite-recursion"]);
    }
    let good = |name: &str, priority: u32| json!({"name": name, "priority": priority, "config": {"mode": "", "file": zoo.join("lines")}});
    let mut bad = json!({"name": animal.name, "priority": 50, "timeout_seconds": 0.5, "config": {"when": animal.when}});
    for (key, value) in more.as_object().expect("members") {
        bad[key] = value.clone();
    }
    let config = json!({
        "event_handlers": {INTERRUPT: {"plugins": [good("before", 90), bad, good("after", 10)]}},
        "dispatch": {"cancel_grace_ms": 200, "on_crash": "disable"},
        "sources": {"aws": {"polling_interval_seconds": 0.05, "request_timeout_ms": 1000}},
    });
    let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path()).endpoint(fake.base_url());
    builder.prepare().expect("prepared")
}

/// Starts the daemon as often as a service manager would: one that leaves no last words ends the daemon with each
/// attempt that an event is allowed.
fn start_in_the_end(daemon: &mut Daemon) -> Result<(), String> {
    let mut last = Ok(());
    for _ in 0..5 {
        last = daemon.start_again().map_err(|e| format!("not startable: {e}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

/// What the good handlers came to in the report of an event that is over; None while it is not.
fn good_ones(daemon: &Daemon) -> Option<[String; 2]> {
    let report = daemon.snooze_json(&["report", "last", "--json"]).ok()?;
    let handlers = report["handlers"].as_array()?;
    let status = |name: &str| Some(handlers.iter().find(|h| h["handler"] == name)?["status"].as_str()?.to_owned());
    (report["state"] == "completed").then(|| Some([status("before")?, status("after")?]))?
}

fn until_over(
    daemon: &mut Daemon,
    mut look: impl FnMut(&mut Daemon) -> Result<(), String>,
) -> Result<[String; 2], String> {
    let done = wait::until("the end of the event", LIMIT, || match look(daemon) {
        Ok(()) => good_ones(daemon).map(Ok),
        Err(error) => Some(Err(error)),
    });
    done.unwrap_or_else(|error| Err(format!("{error}: {}", daemon.log_tail())))
}

#[test]
fn an_isolated_animal_harms_neither_the_daemon_nor_the_other_handlers() {
    with_each("the zoo, isolated", |zoo, animal| {
        let fake = FakeMetadata::start(Options::default()).map_err(|e| e.to_string())?;
        let mut daemon = prepared(zoo, animal, &json!({"isolation": "process"}), &fake);
        if daemon.start_again().is_err() {
            // Refused, in words, before anything ran in the daemon.
            let code = daemon.exit_status().and_then(|status| status.code());
            let refused = daemon.log().contains("the configuration was refused");
            return if refused { Ok(()) } else { Err(format!("no refusal ({code:?}): {}", daemon.log_tail())) };
        }
        let pid = daemon.pid();
        fake.notice(Action::Terminate, Duration::from_secs(120));
        let done = until_over(&mut daemon, |daemon| match daemon.exit_status() {
            Some(status) => Err(format!("the daemon ended with {status}: {}", daemon.log_tail())),
            None => Ok(()),
        })?;
        if done != ["handled", "handled"] || daemon.pid() != pid {
            return Err(format!("{done:?}: {}", daemon.log_tail()));
        }
        let status = daemon.stop()?;
        if status.code() == Some(0) { Ok(()) } else { Err(format!("it left with {status}: {}", daemon.log_tail())) }
    });
}

#[test]
fn an_animal_in_the_daemon_leaves_one_that_can_be_started_again_and_does_the_rest() {
    with_each("the zoo, in the daemon", |zoo, animal| {
        let fake = FakeMetadata::start(Options::default()).map_err(|e| e.to_string())?;
        let mut daemon = prepared(zoo, animal, &json!({}), &fake);
        if daemon.start_again().is_err() {
            if daemon.log().contains("the configuration was refused") {
                return Ok(());
            }
            // It ended the process while it was made: the next one knows.
            start_in_the_end(&mut daemon)?;
        }
        fake.notice(Action::Terminate, Duration::from_secs(120));
        let mut moved_on = Instant::now();
        let done = until_over(&mut daemon, |daemon| {
            let is_stuck = moved_on.elapsed() > WATCHDOG;
            if is_stuck {
                daemon.kill9();
            }
            if is_stuck || daemon.exit_status().is_some() {
                moved_on = Instant::now();
                start_in_the_end(daemon)?;
            }
            Ok(())
        })?;
        if done == ["handled", "handled"] { Ok(()) } else { Err(format!("{done:?}: {}", daemon.log_tail())) }
    });
}
