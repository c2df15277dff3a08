//! Notices that a plugin brings: a cloud that does not exist, through the C ABI alone, and sources that go wrong.

use e2e::simple::{PATIENCE, Plugins, bin_dir, events, finished, handles, snoozed, status_when};
use e2e::zoo::Zoo;
use harness::daemon::Daemon;
use harness::program::{self, Signal};
use harness::{paths, wait};
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

const REBOOT: &str = "cloud.maintenance.reboot";

/// The example `c-examples/source`, the cloud behind it, and recorders as handlers.
struct Nimbus {
    zoo: Zoo,
    plugins: Plugins,
}

impl Nimbus {
    /// None, told loudly, where it cannot be built.
    fn open(what: &str) -> Option<Self> {
        let zoo = Zoo::open(what, &["make", "cc"])?;
        zoo.example("source");
        Some(Self { zoo, plugins: Plugins::recorders(&["first", "second"]) })
    }

    fn socket(&self) -> PathBuf {
        self.zoo.join("sky/nimbus.sock")
    }

    /// The cloud says something; waits until there is somebody who hears it.
    fn says(&self, line: &str) {
        let cloud = UnixDatagram::unbound().expect("a socket");
        let said = wait::until("somebody who listens to nimbus", PATIENCE, || {
            cloud.send_to(line.as_bytes(), self.socket()).ok()
        });
        said.unwrap_or_else(|error| panic!("{error}"));
    }

    fn config(&self, handlers: Value) -> Value {
        let settings = json!({"socket": self.socket(), "acknowledgements": self.zoo.join("done")});
        let mut config = handlers;
        config["sources"] = json!({"plugins": [{"name": "source", "id": "nimbus", "config": settings}]});
        config
    }

    fn start(&self, handlers: Value) -> Daemon {
        std::fs::create_dir_all(self.zoo.join("sky")).expect("a directory");
        let daemon = self.plugins.daemon(self.config(handlers)).plugin_directory(self.zoo.path());
        daemon.start().expect("it starts")
    }

    /// Waits for the acknowledgement of this event.
    fn acknowledged(&self, id: &Value, outcome: &str) {
        let line = format!("{} {outcome}", id.as_str().expect("an id").replace('-', ""));
        let found = wait::until(&format!("the acknowledgement {line}"), PATIENCE, || {
            self.acknowledgements().contains(&line).then_some(())
        });
        found.unwrap_or_else(|error| panic!("{error}; there is {:?}", self.acknowledgements()));
    }

    fn acknowledgements(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.zoo.join("done")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Waits for the state of the source of this name and gives its status.
fn source_when(daemon: &Daemon, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let of = |status: &Value| {
        let all = status["sources"].as_array().expect("sources").clone();
        all.into_iter().find(|source| source["name"] == format!("plugin.{name}"))
    };
    let status = status_when(daemon, what, |status| of(status).is_some_and(|source| wanted(&source)));
    of(&status).expect("it was there")
}

#[test]
fn a_cloud_of_ones_own_announces_moves_and_withdraws_and_handlers_are_called_revised_and_cancelled() {
    let Some(nimbus) = Nimbus::open("a source in C through the ABI alone") else { return };
    let cancelled = format!("{REBOOT}.cancelled");
    let mut handlers = handles(REBOOT, "first", &nimbus.plugins.gated("reboot", "never"));
    handlers["event_handlers"][&cancelled] =
        handles(&cancelled, "second", &nimbus.plugins.config("calm"))["event_handlers"][&cancelled].take();
    let mut daemon = nimbus.start(handlers);
    source_when(&daemon, "nimbus", "sight", |source| source["state"] == "seeing");
    let status = status_when(&daemon, "the machine", |status| status["machine"]["instance_id"] == "drop-1");
    assert_eq!((&status["machine"]["provider"], &status["health"]), (&json!("nimbus"), &json!("ok")), "{status:#}");

    nimbus.says("announce storm-1 reboot 120");
    let begun = nimbus.plugins.journal().wait(1, "reboot begin");
    assert_eq!((&begun["action"], &begun["type"]), (&json!("reboot"), &json!(REBOOT)));
    assert!(begun["left_ms"].as_i64().is_some_and(|ms| ms > 50_000), "{begun}");
    nimbus.says("announce storm-1 reboot 120");
    nimbus.says("announce storm-1 reboot 3");
    let stopped = nimbus.plugins.journal().wait(1, "reboot stopped");
    assert_eq!((&stopped["reason"], &stopped["id"]), (&json!(2), &begun["id"]), "its time had moved");
    nimbus.acknowledged(&begun["id"], "failed");
    assert_eq!(events(&daemon).len(), 1, "three lines, one notice");

    nimbus.says("announce storm-2 reboot 3600");
    let begun = nimbus.plugins.journal().wait(2, "reboot begin");
    nimbus.says("withdraw storm-2 reboot");
    let stopped = nimbus.plugins.journal().wait(2, "reboot stopped");
    assert_eq!((&stopped["reason"], &stopped["id"]), (&json!(4), &begun["id"]), "withdrawn");
    let calm = nimbus.plugins.journal().wait(1, "calm end");
    assert_eq!((&calm["cancels"], &calm["type"]), (&begun["id"], &json!(cancelled)));
    nimbus.acknowledged(&calm["id"], "handled");
    let report = finished(&daemon, begun["id"].as_str().expect("an id"));
    let data = &report["event"]["data"];
    assert_eq!(
        (&data["noticeID"], &data["provider"], &data["instanceID"]),
        (&json!("storm-2"), &json!("nimbus"), &json!("drop-1"))
    );
    assert_eq!(
        (&data["raw"], &report["event"]["source"]),
        (&json!("announce storm-2 reboot 3600"), &json!("plugin.nimbus"))
    );
    nimbus.says("garbage");
    nimbus.says("announce storm-3 dance 5");
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    assert!(!nimbus.socket().exists(), "run came back and closed what it had opened");
    assert_eq!(daemon.log().matches("said something strange").count(), 2, "{}", daemon.log());
}

#[test]
fn a_notice_told_again_after_a_crash_is_acknowledged_and_not_handled_again() {
    let Some(nimbus) = Nimbus::open("a source in C and a crash of the daemon") else { return };
    let mut daemon = nimbus.start(handles(REBOOT, "first", &nimbus.plugins.config("reboot")));
    nimbus.says("announce storm-1 reboot 3600");
    let ended = nimbus.plugins.journal().wait(1, "reboot end");
    nimbus.acknowledged(&ended["id"], "handled");
    finished(&daemon, ended["id"].as_str().expect("an id"));
    daemon.kill9();
    std::fs::remove_file(nimbus.zoo.join("done")).expect("forgotten");
    daemon.start_again().expect("it starts");
    source_when(&daemon, "nimbus", "sight", |source| source["state"] == "seeing");
    nimbus.says("announce storm-1 reboot 3600");
    nimbus.acknowledged(&ended["id"], "handled");
    assert_eq!((events(&daemon).len(), nimbus.plugins.journal().all("reboot begin").len()), (1, 1));
}

#[test]
fn a_source_that_fails_is_blind_with_its_reason_and_tried_again_until_it_sees() {
    let Some(nimbus) = Nimbus::open("a source in C without a place for its socket") else { return };
    let daemon = nimbus.plugins.daemon(nimbus.config(handles(REBOOT, "first", &nimbus.plugins.config("reboot"))));
    let daemon = daemon.plugin_directory(nimbus.zoo.path()).start().expect("it starts");
    let blind = source_when(&daemon, "nimbus", "blindness", |source| source["state"] == "blind");
    assert!(blind["summary"].to_string().contains("No such file or directory"), "{blind}");
    let status = daemon.snooze_json(&["status", "--json"]).expect("a status");
    assert_eq!(status["health"], "degraded", "{status:#}");
    assert!(status["problems"].to_string().contains("plugin.nimbus: blind"), "{status:#}");
    std::fs::create_dir(nimbus.zoo.join("sky")).expect("a directory");
    source_when(&daemon, "nimbus", "sight", |source| source["state"] == "seeing");
    nimbus.says("announce storm-1 reboot 3600");
    nimbus.plugins.journal().wait(1, "reboot end");
}

/// A daemon with one source of `plugins/simple/source.c` in this mode.
fn bad(plugins: &Plugins, mode: &str) -> Value {
    let settings = json!({"mode": mode, "file": plugins.file("told")});
    let mut config = handles("custom.nimbus.storm", "first", &plugins.config("storm"));
    config["sources"] = json!({"plugins": [{"name": "bad", "config": settings}]});
    config
}

fn with_bad_source() -> Plugins {
    let plugins = Plugins::recorders(&["first"]);
    plugins.build("source", "bad");
    plugins
}

#[test]
fn garbage_is_refused_with_a_reason_and_a_good_notice_after_it_is_handled() {
    let plugins = with_bad_source();
    let daemon = plugins.daemon(bad(&plugins, "garbage")).start().expect("it starts");
    plugins.journal().wait(1, "storm end");
    assert_eq!(events(&daemon).len(), 1);
    let logged = wait::until("the log", PATIENCE, || daemon.log().contains("32 refused").then(|| daemon.log()));
    let log = logged.unwrap_or_else(|error| panic!("{error}"));
    for why in ["struct_size", "raw document", "notice_id", "an action that is none", "resources", "event_type"] {
        assert!(log.lines().any(|line| line.contains("refused what the source told") && line.contains(why)), "{why}");
    }
}

#[test]
fn a_source_that_does_not_come_back_holds_the_daemons_end_up_for_its_grace_only() {
    let plugins = with_bad_source();
    let mut daemon = plugins.daemon(bad(&plugins, "deaf")).start().expect("it starts");
    source_when(&daemon, "bad", "sight", |source| source["state"] == "seeing");
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    assert!(daemon.log().contains("did not come back in its time"), "{}", daemon.log());
}

#[test]
fn a_source_that_breaks_its_promise_hangs_and_one_that_panicked_is_not_run_again() {
    let plugins = with_bad_source();
    let daemon = plugins.daemon(bad(&plugins, "silent")).start().expect("it starts");
    let hanging = source_when(&daemon, "bad", "a broken promise", |source| source["state"] == "blind");
    assert!(hanging["summary"].to_string().contains("hangs"), "{hanging}");
    status_when(&daemon, "the problem", |status| status["problems"].to_string().contains("it hangs"));
    drop(daemon);
    let daemon = plugins.daemon(bad(&plugins, "panics")).start().expect("it starts");
    let blind = source_when(&daemon, "bad", "blindness", |source| source["state"] == "blind");
    let summary = blind["summary"].to_string();
    assert!(summary.contains("panicked in a storm") && summary.contains("not run again"), "{blind}");
}

#[test]
fn a_source_that_ended_the_daemon_is_not_loaded_again() {
    let plugins = with_bad_source();
    let builder = plugins.daemon(bad(&plugins, "crashes"));
    let mut daemon = builder.prepare().expect("prepared");
    // It may crash before it answers, or after.
    let _ = daemon.start_again();
    let ended = wait::until("its end", PATIENCE, || {
        daemon.exit_status().map(|_| ()).or_else(|| daemon.pid().is_none().then_some(()))
    });
    ended.unwrap_or_else(|error| panic!("{error}"));
    std::fs::remove_file(plugins.file("told")).expect("it crashed, and would again");
    daemon.start_again().expect("it starts");
    let barred = source_when(&daemon, "bad", "quarantine", |source| source["state"] == "blind");
    assert!(barred["summary"].to_string().contains("not loaded"), "{barred}");
    let status = daemon.snooze_json(&["status", "--json"]).expect("a status");
    assert!(status["problems"].to_string().contains("source bad is quarantined"), "{status:#}");
    daemon.signal(Signal::SIGTERM).expect("it runs");
}

#[test]
fn what_is_wrong_with_a_source_is_named_with_its_place() {
    let plugins = with_bad_source();
    let mut config = bad(&plugins, "no table");
    let refused = |config: Value, place: &str, words: &str| {
        let daemon = plugins.daemon(config).prepare().expect("prepared");
        let file = daemon.config_file();
        let output = snoozed(&["--config", &file.to_string_lossy()], &[]);
        assert_eq!(output.code, Some(78), "{output:?}");
        let line = output.stderr.lines().find(|line| line.contains(place)).map(str::to_owned);
        assert!(line.is_some_and(|line| line.contains(words)), "{place} {words}: {}", output.stderr);
    };
    refused(config.clone(), "sources.plugins[0].name", "lacks run");
    let source = |more: Value| {
        let mut config = bad(&plugins, "");
        for (key, value) in more.as_object().expect("members") {
            config["sources"]["plugins"][0][key] = value.clone();
        }
        config
    };
    refused(source(json!({"name": "first"})), "sources.plugins[0].name", "does not claim to be one");
    refused(source(json!({"name": "nobody"})), "sources.plugins[0].name", "no plugin 'nobody'");
    refused(source(json!({"isolation": "process"})), "sources.plugins[0].isolation", "expected \"none\"");
    refused(source(json!({"sha256": "00".repeat(32)})), "sources.plugins[0].sha256", "pins");
    refused(
        source(json!({"config": {"a": {"env": "NOBODY_SET_THIS"}}})),
        "sources.plugins[0].config.a",
        "NOBODY_SET_THIS",
    );
    config["sources"]["plugins"] = json!([{"name": "bad"}, {"name": "bad"}]);
    refused(config, "sources.plugins[1].name", "a source named twice");
}

#[test]
fn the_example_says_what_it_is_and_takes_only_its_own_settings() {
    let Some(zoo) = Zoo::open("what a source says of itself", &["make", "cc"]) else { return };
    let library = zoo.example("source");
    let snooze = paths::program(&bin_dir(), "snooze").expect("it is built");
    let told = program::run(Command::new(snooze).args(["plugin", "info", "--json"]).arg(&library), PATIENCE);
    let text = told.and_then(|output| output.success("snooze plugin info")).expect("it answers");
    let info: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(info["class"]["capabilities"], json!(["source"]), "{info:#}");
    let plugins = Plugins::recorders(&["first"]);
    let mut config = handles(REBOOT, "first", &plugins.config("reboot"));
    config["sources"] = json!({"plugins": [{"name": "source", "config": {"socket": 5}}]});
    let daemon = plugins.daemon(config).plugin_directory(zoo.path()).prepare().expect("prepared");
    let checked = daemon.snooze(&["config", "check", &daemon.config_file().to_string_lossy()]).expect("it ran");
    assert_eq!(checked.code, Some(78), "{checked:?}");
    let all = format!("{}{}", checked.stdout, checked.stderr);
    assert!(all.contains("sources.plugins[0].config") && all.contains("acknowledgements"), "{all}");
}
