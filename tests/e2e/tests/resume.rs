//! Nothing is lost with the daemon: killed, crashed by a plugin, with a broken or full disk, the next one finds what was
//! open, does what had not ended, and does not do again what had.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::zoo::Zoo;
use harness::daemon::{Daemon, DaemonBuilder};
use harness::wait;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// A daemon with three handlers of one event type, in three tiers: before, the one in the middle, after.
struct Stage {
    daemon: Daemon,
    zoo: Zoo,
}

impl Stage {
    fn open(what: &str, mode: &str, dispatch: &Value) -> Option<Self> {
        Self::open_in(what, mode, dispatch, None)
    }

    fn open_in(what: &str, mode: &str, dispatch: &Value, state: Option<&Path>) -> Option<Self> {
        let zoo = Zoo::open(what, &["cc"])?;
        for name in ["before", "dies", "after"] {
            let flags = [&format!("-DNAME=\"{name}\"") as &str, "-Wno-infinite-recursion"];
            zoo.c("dies.c", &format!("{name}.so"), &flags);
        }
        let file = zoo.join("lines");
        let handler = |name: &str, priority: u32, mode: &str| {
            let config = json!({"mode": mode, "file": file});
            json!({"name": name, "priority": priority, "config": config})
        };
        let plugins = [handler("before", 90, ""), handler("dies", 50, mode), handler("after", 10, "")];
        let mut config = json!({"event_handlers": {"custom.test": {"plugins": plugins}}, "dispatch": dispatch});
        if let Some(state) = state {
            config["state_directory"] = json!(state);
        }
        let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
        Some(Self { daemon: builder.start().expect("the daemon started"), zoo })
    }

    /// Lines that the handlers wrote: name, attempt, key.
    fn lines(&self) -> Vec<(String, u32, String)> {
        let text = std::fs::read_to_string(self.zoo.join("lines")).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().expect("three words");
            (word(), word().parse().expect("a number"), word())
        };
        text.lines().map(line).collect()
    }

    /// The names and attempts of those lines.
    fn calls(&self) -> Vec<(String, u32)> {
        self.lines().into_iter().map(|(name, attempt, _)| (name, attempt)).collect()
    }

    fn simulate(&self) -> String {
        let told = self.daemon.snooze_json(&["simulate", "custom.test", "--in", "120s", "--json"]).expect("an event");
        told["event_id"].as_str().expect("its id").to_owned()
    }

    fn wait_for_calls(&self, count: usize) {
        let seen = wait::until("the handlers' lines", LIMIT, || (self.lines().len() >= count).then_some(()));
        seen.unwrap_or_else(|error| panic!("{error}: {:?}", self.lines()));
    }

    /// Waits until these texts have reached the journal's file.
    fn wait_for_the_journal(&self, texts: &[&str]) {
        let path = self.state_directory().join("history.sqlite-wal");
        let is_there = || {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let has = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            texts.iter().all(has).then_some(())
        };
        wait::until("the journal", LIMIT, is_there).unwrap_or_else(|error| panic!("{error}: {texts:?}"));
    }

    fn wait_for_the_end(&mut self) {
        let ended = wait::until("the end of the daemon", LIMIT, || self.daemon.exit_status());
        ended.unwrap_or_else(|error| panic!("{error}: {}", self.daemon.log_tail()));
    }

    /// The report of an event, once it is over.
    fn report(&self, id: &str) -> Value {
        let report = wait::until("the report", LIMIT, || {
            let report = self.daemon.snooze_json(&["report", id, "--json"]).ok()?;
            (report["state"] != "running").then_some(report)
        });
        report.unwrap_or_else(|error| panic!("{error}: {}", self.daemon.log_tail()))
    }

    fn problems(&self) -> String {
        self.daemon.snooze_json(&["status", "--json"]).expect("a status")["problems"].to_string()
    }

    fn state_directory(&self) -> PathBuf {
        let status = self.daemon.root().join("state");
        assert!(status.is_dir(), "{}", status.display());
        status
    }
}

fn statuses(report: &Value) -> Vec<(&str, &str)> {
    let handlers = report["handlers"].as_array().expect("handlers");
    handlers.iter().map(|h| (h["handler"].as_str().expect("a name"), h["status"].as_str().expect("a status"))).collect()
}

fn call(name: &str, attempt: u32) -> (String, u32) {
    (name.to_owned(), attempt)
}

#[test]
fn after_sigkill_what_had_ended_is_not_done_again_and_what_had_not_is_with_the_same_key() {
    let Some(mut stage) = Stage::open("an event that outlives the daemon", "waits", &json!({})) else { return };
    let id = stage.simulate();
    stage.wait_for_calls(2);
    stage.wait_for_the_journal(&["\"handler\":\"before\"", "custom.test/dies"]);
    stage.daemon.kill9();
    assert_eq!(stage.calls(), [call("before", 1), call("dies", 1)]);
    std::fs::write(stage.zoo.join("lines.release"), "").expect("released");
    stage.daemon.start_again().expect("it starts again");
    let report = stage.report(&id);
    assert_eq!(report["state"], "completed", "{report:#}");
    assert_eq!(statuses(&report), [("before", "handled"), ("dies", "handled"), ("after", "handled")], "{report:#}");
    assert_eq!(report["handlers"][1]["attempts"], 2, "{report:#}");
    assert_eq!(stage.calls(), [call("before", 1), call("dies", 1), call("dies", 2), call("after", 1)]);
    let lines = stage.lines();
    assert_eq!(lines[1].2, lines[2].2, "the key says that it is the same work");
    assert!(lines[0].2 != lines[1].2 && lines[3].2 != lines[1].2, "and other work has another");

    // It is over: the next start has nothing to take up.
    stage.daemon.kill9();
    stage.daemon.start_again().expect("it starts again");
    assert_eq!(stage.report(&id)["state"], "completed");
    assert_eq!(stage.lines().len(), 4);
    assert_eq!(stage.daemon.log().matches("event taken up again").count(), 1, "{}", stage.daemon.log());
}

/// The plugin ends the daemon; the next one knows whose fault it was, and the others do their part of the event.
fn crashes(mode: &str, what: &str) {
    let tried = format!("a plugin that ends the daemon: {mode}");
    let Some(mut stage) = Stage::open(&tried, mode, &json!({"on_crash": "disable"})) else { return };
    let id = stage.simulate();
    stage.wait_for_the_end();
    assert_eq!(stage.calls(), [call("before", 1), call("dies", 1)]);
    stage.daemon.start_again().expect("it starts again");
    let report = stage.report(&id);
    assert_eq!(statuses(&report), [("before", "handled"), ("dies", "crashed"), ("after", "handled")], "{report:#}");
    let error = report["handlers"][1]["error"].as_str().unwrap_or_default();
    assert!(error.contains(what), "{mode}: {error}");
    assert_eq!(stage.calls(), [call("before", 1), call("dies", 1), call("after", 1)]);
    assert!(stage.problems().contains("custom.test/dies is quarantined: it ended the daemon"), "{}", stage.problems());

    // It is not called again, and the others are.
    let report = stage.report(&stage.simulate());
    assert_eq!(statuses(&report), [("before", "handled"), ("dies", "failed"), ("after", "handled")], "{report:#}");
    let error = report["handlers"][1]["error"].as_str().unwrap_or_default();
    assert!(error.contains("quarantined: it ended the daemon"), "{error}");
    assert_eq!(stage.lines().len(), 5);
}

#[test]
fn a_segmentation_fault_costs_its_own_handler_and_nothing_else() {
    crashes("segfault", "it ended the daemon: SIGSEGV in on_event");
}

#[test]
fn an_abort_costs_its_own_handler_and_nothing_else() {
    crashes("abort", "it ended the daemon: SIGABRT in on_event");
}

#[test]
fn an_exit_costs_its_own_handler_and_nothing_else() {
    crashes("exit", "it ended the daemon: exit() in on_event");
}

#[test]
fn a_stack_overflow_costs_its_own_handler_and_nothing_else() {
    crashes("stack overflow", "it ended the daemon: SIGSEGV in on_event");
}

#[test]
fn who_ended_the_daemon_goes_on_in_a_process_of_its_own() {
    let Some(mut stage) = Stage::open("a plugin that is isolated after its crash", "segfault", &json!({})) else {
        return;
    };
    let id = stage.simulate();
    stage.wait_for_the_end();
    stage.daemon.start_again().expect("it starts again");
    let report = stage.report(&id);
    assert_eq!(statuses(&report), [("before", "handled"), ("dies", "crashed"), ("after", "handled")], "{report:#}");
    // Tried once more, and this time only its own process ended.
    assert_eq!(report["handlers"][1]["attempts"], 2, "{report:#}");
    let pid = stage.daemon.pid();
    let report = stage.report(&stage.simulate());
    assert_eq!(statuses(&report), [("before", "handled"), ("dies", "crashed"), ("after", "handled")], "{report:#}");
    assert_eq!((stage.daemon.pid(), stage.daemon.exit_status()), (pid, None), "the daemon goes on");
    let status = stage.daemon.snooze_json(&["status", "--json"]).expect("a status");
    assert!(status["instances"].to_string().contains("isolated"), "{status:#}");
}

#[test]
fn a_plugin_that_crashes_while_it_is_activated_does_not_keep_the_daemon_from_starting() {
    let Some(zoo) = Zoo::open("a crash in activate", &["cc"]) else { return };
    zoo.c("dies.c", "dies.so", &["-Wno-infinite-recursion"]);
    let plugins = json!([{"name": "dies", "config": {"mode": "segfault in activate", "file": zoo.join("lines")}}]);
    let config = json!({"event_handlers": {"custom.test": {"plugins": plugins}}, "dispatch": {"on_crash": "disable"}});
    let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
    let mut daemon = builder.prepare().expect("prepared");
    assert!(daemon.start_again().is_err(), "it crashes at first");
    daemon.start_again().expect("then it knows");
    let status = daemon.snooze_json(&["status", "--json"]).expect("a status");
    assert!(status["problems"].to_string().contains("SIGSEGV in activate"), "{status:#}");

    // Whoever knows better lets it go on: and it crashes again.
    let config = daemon.config_file().display().to_string();
    let release = || daemon.snooze(&["plugin", "release", "dies", "--config", &config]).expect("it runs").code;
    assert_eq!((release(), release()), (Some(0), Some(1)), "it was in, and is not any more");
}

#[test]
fn where_crashes_are_allowed_a_handler_is_tried_three_times_and_then_reported() {
    let Some(mut stage) =
        Stage::open("a plugin that crashes again and again", "segfault", &json!({"on_crash": "allow"}))
    else {
        return;
    };
    let id = stage.simulate();
    stage.wait_for_the_end();
    for _ in 2..=3 {
        // It takes the event up again at once, and may be gone before it answers.
        if stage.daemon.start_again().is_ok() {
            stage.wait_for_the_end();
        }
    }
    stage.daemon.start_again().expect("it starts again");
    let report = stage.report(&id);
    assert_eq!(statuses(&report), [("before", "handled"), ("dies", "crashed"), ("after", "handled")], "{report:#}");
    assert_eq!(report["handlers"][1]["attempts"], 3, "{report:#}");
    let expected = [call("before", 1), call("dies", 1), call("dies", 2), call("dies", 3), call("after", 1)];
    assert_eq!(stage.calls(), expected);
}

#[test]
fn a_broken_history_file_is_kept_and_the_daemon_works_on() {
    let Some(mut stage) = Stage::open("a broken history", "", &json!({})) else { return };
    stage.report(&stage.simulate());
    stage.daemon.kill9();
    let path = stage.state_directory().join("history.sqlite");
    let size = std::fs::metadata(&path).expect("it is there").len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(size / 2 + 10).expect("torn");
    drop(file);
    std::fs::write(path.with_extension("sqlite-wal"), [0xA5; 10_000]).expect("garbage");
    stage.daemon.start_again().expect("it starts again");
    let problems = stage.problems();
    assert!(problems.contains("is broken") && problems.contains(".broken-"), "{problems}");
    let kept = std::fs::read_dir(stage.state_directory()).expect("read").filter_map(Result::ok);
    assert!(kept.into_iter().any(|file| file.file_name().to_string_lossy().contains(".broken-")), "a copy is kept");
    let report = stage.report(&stage.simulate());
    assert_eq!(statuses(&report), [("before", "handled"), ("dies", "handled"), ("after", "handled")]);
}

/// Mounts a file system of half a megabyte here; false where this is not allowed.
fn small_disk(at: &Path) -> bool {
    std::fs::create_dir_all(at).expect("made");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(at).output();
    mount.is_ok_and(|output| output.status.success())
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_no_handler_and_what_could_not_be_written_is_written_when_there_is_room() {
    let dir = tempfile::tempdir().expect("tempdir");
    let state = dir.path().join("state");
    if !small_disk(&state) {
        harness::require::missing_means_skip("a full disk: mounting a small file system needs root");
        return;
    }
    let _mounted = Mounted(state.clone());
    let Some(stage) = Stage::open_in("a full disk", "", &json!({}), Some(&state)) else { return };
    // Full to the last byte.
    let _ = std::fs::write(state.join("filler"), vec![0; 1 << 20]);
    let ids: Vec<String> = (0..20).map(|_| stage.simulate()).collect();
    for id in &ids {
        let report = stage.report(id);
        assert_eq!(statuses(&report), [("before", "handled"), ("dies", "handled"), ("after", "handled")], "{report:#}");
    }
    let problems = stage.problems();
    assert!(problems.contains("the history cannot be written"), "{problems}");
    std::fs::remove_file(state.join("filler")).expect("room");
    wait::until("the history to be written", LIMIT, || (!stage.problems().contains("cannot be written")).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {}", stage.daemon.log_tail()));
    let events = stage.daemon.snooze_json(&["events", "--json"]).expect("events");
    let text = events.to_string();
    assert!(ids.iter().all(|id| text.contains(id.as_str())), "{text}");
}
