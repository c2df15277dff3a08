//! The command line on a daemon that runs, on one that does not, and without any.

use cloudsnooze::control::wire::{Events, PlanView, Reloaded, Simulated, Status, Watched};
use cloudsnooze::dispatch::report::EventReport;
use e2e::simple::{PATIENCE, Plugins, bin_dir, events, finished, handles, simulate};
use harness::daemon::Daemon;
use harness::program::{self, Output};
use harness::{paths, require, wait};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

const KEY: &str = "custom.thing";

fn program_path() -> PathBuf {
    paths::program(&bin_dir(), "snooze").expect("it is built")
}

/// `snooze` without a daemon of the test's own.
fn snooze(args: &[&str]) -> Output {
    program::run(Command::new(program_path()).args(args), PATIENCE).expect("it ends")
}

/// Two handlers, one after the other, and one that waits for a gate that never opens.
fn start(plugins: &Plugins) -> Daemon {
    let mut config = json!({"event_handlers": {KEY: {"plugins": [
        {"name": "first", "priority": 90, "config": plugins.config("first")},
        {"name": "second", "priority": 10, "config": plugins.config("second")},
    ]}}});
    let stuck = handles("custom.stuck", "first", &plugins.gated("stuck", "never"));
    config["event_handlers"]["custom.stuck"] = stuck["event_handlers"]["custom.stuck"].clone();
    plugins.daemon(config).start().expect("it starts")
}

fn recorders() -> Plugins {
    Plugins::recorders(&["first", "second"])
}

/// Runs a command with `--json`, checks its exit code and decodes what it wrote.
fn decoded(daemon: &Daemon, args: &[&str], code: i32) -> Value {
    let output = daemon.snooze(&[args, &["--json"]].concat()).expect("it runs");
    assert_eq!(output.code, Some(code), "{args:?}: {output:?}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

#[test]
fn each_reply_as_json_is_the_type_that_programs_are_promised() {
    let plugins = recorders();
    let daemon = start(&plugins);
    let id = simulate(&daemon, KEY, &[]);
    finished(&daemon, &id);
    let healthy = daemon.snooze(&["status"]).expect("it runs").code.expect("a code");
    let status: Status = serde_json::from_value(decoded(&daemon, &["status"], healthy)).expect("a status");
    assert_eq!((status.instances.len(), Some(status.pid)), (3, daemon.pid()));
    assert_eq!(healthy, i32::from(status.health != "ok"), "the code says what the word says");
    let plan = decoded(&daemon, &["plan", KEY, "--left", "2m", "--left", "500ms"], 0);
    let plan: PlanView = serde_json::from_value(plan).expect("a plan");
    assert_eq!(plan.budgets.iter().map(|budget| budget.left_seconds).collect::<Vec<_>>(), [120.0, 0.5]);
    let simulated = decoded(&daemon, &["simulate", KEY, "--data", "n=[1,2]", "--data", "why=release"], 0);
    let simulated: Simulated = serde_json::from_value(simulated).expect("an id");
    let report = finished(&daemon, &simulated.event_id);
    assert_eq!((&report["event"]["data"]["n"], &report["event"]["data"]["why"]), (&json!([1, 2]), &json!("release")));
    let all: Events = serde_json::from_value(decoded(&daemon, &["events"], 0)).expect("events");
    assert_eq!(all.events.iter().map(|event| &event.event_id).collect::<Vec<_>>(), [&simulated.event_id, &id]);
    let report: EventReport = serde_json::from_value(decoded(&daemon, &["report", &id], 0)).expect("a report");
    assert_eq!((report.event_id, report.handlers.len()), (id, 2));
    let reloaded: Reloaded = serde_json::from_value(decoded(&daemon, &["reload"], 0)).expect("a reply");
    assert_eq!((reloaded.changes.len(), reloaded.needs_restart.len()), (0, 0));
}

#[test]
fn screens_are_plain_text_and_json_goes_to_standard_output_alone() {
    let plugins = recorders();
    let daemon = start(&plugins);
    finished(&daemon, &simulate(&daemon, KEY, &["--in", "120s"]));
    for (args, words) in [
        (&["status"][..], &["custom.thing/first", "custom.stuck/first", "1 published"][..]),
        (&["plan", KEY], &["first", "second", "90", "10"]),
        (&["events"], &[KEY, "2 of 2 handled (test)"]),
        (&["report"], &["first", "second", "2 of 2 handled and verified"]),
    ] {
        let output = daemon.snooze(args).expect("it runs");
        for word in words {
            assert!(output.stdout.contains(word), "{args:?} lacks {word}: {}", output.stdout);
        }
        assert!(!output.stdout.contains('\x1b'), "{args:?} is coloured without a terminal: {output:?}");
        assert!(output.stdout.lines().all(|line| line.chars().count() <= 100), "{args:?}: {}", output.stdout);
        let coloured = daemon.snooze(&[args, &["--color", "always"]].concat()).expect("it runs");
        assert!(coloured.stdout.contains('\x1b'), "{args:?}: {coloured:?}");
        let quiet = daemon.snooze(&[args, &["--json", "-q"]].concat()).expect("it runs");
        assert_eq!(quiet.stderr, "", "{args:?}");
        assert!(serde_json::from_str::<Value>(&quiet.stdout).is_ok(), "{args:?}: {quiet:?}");
    }
}

#[test]
fn no_color_is_obeyed_on_a_terminal() {
    let Some(script) = program::find("script") else {
        require::missing_means_skip("colours on a terminal: there is no script(1) to make one");
        return;
    };
    let plugins = recorders();
    let daemon = start(&plugins);
    let command = format!("{} --socket {} status", program_path().display(), daemon.socket().display());
    let on_terminal = |no_color: &str| {
        let mut script = Command::new(&script);
        script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm-256color").env("NO_COLOR", no_color);
        program::run(&mut script, PATIENCE).expect("it runs").stdout
    };
    let (coloured, plain) = (on_terminal(""), on_terminal("1"));
    assert!(coloured.contains("\x1b[") && coloured.contains("snoozed"), "{coloured:?}");
    assert!(!plain.contains("\x1b[") && plain.contains("snoozed"), "{plain:?}");
}

#[test]
fn every_command_has_a_help_that_teaches_by_examples() {
    let mut count = 0;
    for command in cloudsnooze::cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        let output = snooze(&[name, "--help"]);
        assert_eq!((output.code, &output.stderr[..]), (Some(0), ""), "{name}");
        let help = output.stdout;
        assert!(
            help.to_lowercase().contains("examples:") && help.contains(&format!("snooze {name}")),
            "{name}: {help}"
        );
        assert!(help.lines().all(|line| line.chars().count() <= 140), "{name}: {help}");
        for below in command.get_subcommands() {
            let output = snooze(&[name, below.get_name(), "--help"]);
            assert!(output.code == Some(0) && output.stdout.contains("Usage: snooze"), "{name}: {output:?}");
        }
        count += 1;
    }
    assert_eq!(
        count, 23,
        "status plan simulate drill emit watch dashboard wait apps events fleet report history insight advise simulate-policy plugin \
         config reload upgrade-ready doctor mock-metadata completions"
    );
    let output = snooze(&["--help"]);
    for word in ["Exit codes:", "69", "78", "snooze doctor"] {
        assert!(output.stdout.contains(word), "{word}: {}", output.stdout);
    }
}

#[test]
fn without_a_daemon_a_command_that_needs_one_says_so_with_code_69() {
    let plugins = recorders();
    let daemon = plugins.daemon(json!({})).prepare().expect("prepared");
    let needing: [&[&str]; 6] = [&["status"], &["simulate", KEY], &["watch"], &["events"], &["report"], &["reload"]];
    for args in needing {
        for more in [&[][..], &["--json"]] {
            let output = daemon.snooze(&[args, more].concat()).expect("it runs");
            assert_eq!((output.code, &output.stdout[..]), (Some(69), ""), "{args:?}: {output:?}");
            let hint = "(start it: systemctl start cloudsnooze; other socket: --socket)";
            assert!(output.stderr.contains("not running") && output.stderr.contains(hint), "{args:?}: {output:?}");
            assert!(output.stderr.contains(&daemon.socket().display().to_string()), "{args:?}: {output:?}");
        }
    }
    let mut stale = start(&plugins);
    stale.kill9();
    let output = stale.snooze(&["status"]).expect("it runs");
    assert!(output.code == Some(69) && output.stderr.contains("nobody listens"), "{output:?}");
}

#[test]
fn without_a_daemon_the_plan_comes_from_the_configuration() {
    let plugins = recorders();
    let daemon = plugins.daemon(handles(KEY, "first", &plugins.config("first"))).prepare().expect("prepared");
    let config = daemon.config_file().display().to_string();
    let output = snooze(&["plan", KEY, "--config", &config]);
    assert!(output.code == Some(0) && output.stdout.contains("first"), "{output:?}");
    let output = daemon.snooze(&["plan", KEY, "--config", &config]).expect("it runs");
    assert!(output.code == Some(0) && output.stderr.contains("snoozed is not running"), "{output:?}");
    // Asked what they subscribe to, but never opened for an event.
    let story = plugins.journal().story();
    assert!(story.chunks(2).all(|pair| pair == ["first create", "first destroy"]), "{story:?}");
}

#[test]
fn a_wrong_command_line_is_code_2_and_what_does_not_exist_is_66() {
    let plugins = recorders();
    let daemon = start(&plugins);
    let none = "00000000-0000-7000-8000-000000000000";
    for (args, code, words) in [
        (&["statsu"][..], 2, "status"),
        (&["plan"], 2, "EVENT_TYPE"),
        (&["plan", "No Type"], 2, "No Type"),
        (&["plan", KEY, "--left", "soon"], 2, "soon"),
        (&["simulate", KEY, "--severity", "awful"], 2, "critical"),
        (&["simulate", KEY, "--data", "x"], 2, "NAME=VALUE"),
        (&["simulate", KEY, "--wait", "--dry-run"], 2, "cannot be used with"),
        (&["simulate", KEY, "--data", "raw=1"], 1, "set by the daemon itself"),
        (&["simulate", KEY, "--in", "3d"], 1, "86400"),
        (&["report", "x"], 2, "not the id of an event"),
        (&["report", none], 66, "snooze events"),
        (&["config", "check", "/no/such/file.json"], 66, "/no/such/file.json"),
        (&["plugin", "info", "no-such-plugin"], 66, "no-such-plugin"),
        (&["plugin", "load-test", "/no/such/plugin.so"], 66, "/no/such/plugin.so"),
        (&["events", "--limit", "0"], 2, "limit"),
    ] {
        let output = daemon.snooze(args).expect("it runs");
        assert_eq!((output.code, &output.stdout[..]), (Some(code), ""), "{args:?}: {output:?}");
        assert!(output.stderr.contains(words), "{args:?}: {output:?}");
    }
    assert_eq!(events(&daemon).len(), 0, "nothing of that made an event");
    let version = snooze(&["--version"]);
    assert_eq!((version.code, version.stdout), (Some(0), format!("snooze {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_dry_run_shows_the_plan_and_runs_nothing() {
    let plugins = recorders();
    let daemon = start(&plugins);
    let output = daemon.snooze(&["simulate", KEY, "--in", "100s", "--dry-run"]).expect("it runs");
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("AT 100 S") && output.stdout.contains("second"), "{output:?}");
    // An event made before would be handled before this one.
    finished(&daemon, &simulate(&daemon, KEY, &[]));
    assert_eq!(events(&daemon).len(), 1);
    assert_eq!(plugins.journal().all("first begin").len(), 1);
}

#[test]
fn a_simulation_that_is_waited_for_ends_with_the_reports_verdict() {
    let plugins = recorders();
    let daemon = start(&plugins);
    let output = daemon.snooze(&["simulate", KEY, "--in", "60s", "--wait"]).expect("it runs");
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("2 of 2 handled and verified"), "{output:?}");
    let output = daemon.snooze(&["simulate", "custom.stuck", "--in", "1s", "--wait", "--json"]).expect("it runs");
    assert_eq!(output.code, Some(1), "{output:?}");
    let report: EventReport = serde_json::from_str(&output.stdout).expect("a report");
    assert_eq!(report.event_type, "custom.stuck");
    let last = daemon.snooze(&["report", "--json"]).expect("it runs");
    assert_eq!(last.code, Some(1), "a report with a failure: {last:?}");
    let last: EventReport = serde_json::from_str(&last.stdout).expect("a report");
    assert_eq!(last.event_id, report.event_id, "without an id, it is the last one");
    assert_eq!(daemon.snooze(&["report", "last"]).expect("it runs").code, Some(1));
}

#[test]
fn the_stream_tells_event_start_end_and_completion_in_order() {
    let plugins = recorders();
    let daemon = start(&plugins);
    let (sender, lines) = channel();
    let watch = daemon.watch(move |line| drop(sender.send(line))).expect("it watches");
    let connected = wait::until("a first line", PATIENCE, || {
        finished(&daemon, &simulate(&daemon, KEY, &[]));
        lines.try_recv().ok()
    });
    connected.expect("the stream is open");
    let id = simulate(&daemon, KEY, &["--in", "60s"]);
    let mut story = Vec::new();
    while story.last().is_none_or(|last| last != "completed") {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the stream ends after {story:?}"));
        let watched: Watched = serde_json::from_value(line.clone()).unwrap_or_else(|error| panic!("{error}: {line}"));
        let told = match watched {
            Watched::Event { event } if event["id"] == id.as_str() => "event".to_owned(),
            Watched::Started { event_id, handler, .. } if event_id == id => format!("{handler} started"),
            Watched::Finished { event_id, handler, status, verified, .. } if event_id == id => {
                format!("{handler} {status} {verified}")
            }
            Watched::Completed { event_id, state, .. } if event_id == id => state,
            _ => continue,
        };
        story.push(told);
    }
    drop(watch);
    let expected = ["event", "first started", "first handled yes", "second started", "second handled yes", "completed"];
    assert_eq!(story, expected);
}

#[test]
fn events_are_listed_newest_first_by_type_and_number() {
    let plugins = recorders();
    let daemon = start(&plugins);
    for event_type in [KEY, "custom.other", KEY, KEY] {
        finished(&daemon, &simulate(&daemon, event_type, &[]));
    }
    let types = |args: &[&str]| -> Vec<String> {
        let list: Events = serde_json::from_value(decoded(&daemon, args, 0)).expect("events");
        assert!(list.events.is_sorted_by(|a, b| a.detected >= b.detected), "{list:?}");
        list.events.into_iter().map(|event| event.event_type).collect()
    };
    assert_eq!(types(&["events"]), [KEY, KEY, "custom.other", KEY]);
    assert_eq!(types(&["events", "--type", KEY, "--limit", "2"]), [KEY, KEY]);
    assert_eq!(types(&["events", "--type", "custom.other"]), ["custom.other"]);
    assert_eq!(types(&["events", "--type", "cloud.spot.interrupt"]), [""; 0]);
}

#[test]
fn plugins_are_listed_described_and_tried_without_an_event() {
    let plugins = recorders();
    let daemon = plugins.daemon(json!({})).prepare().expect("prepared");
    std::fs::write(plugins.file("broken.so"), "no library").expect("written");
    let config = daemon.config_file().display().to_string();
    let run = |args: &[&str], code: i32| -> Value {
        let output = snooze(&[&["--config", &config, "--json", "plugin"], args].concat());
        assert_eq!(output.code, Some(code), "{args:?}: {output:?}");
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
    };
    let list = run(&["list"], 0);
    let of = |name: &str| list["plugins"].as_array().expect("a list").iter().find(|p| p["name"] == name).cloned();
    assert_eq!(of("first").expect("it is listed")["version"], "1.0.0");
    assert_eq!(of("broken").expect("it is listed")["refused"]["code"], "NOT_ELF");
    let screen = snooze(&["--config", &config, "plugin", "list"]).stdout;
    assert!(screen.contains("first") && screen.contains("refused (NOT_ELF)"), "{screen}");
    let info = run(&["info", "first"], 0);
    assert_eq!((&info["kind"], &info["config_schema"]["required"]), (&json!("native"), &json!(["file"])));
    let by_file = plugins.file("second.so").display().to_string();
    assert_eq!(run(&["info", &by_file], 0)["name"], "second");
    assert_eq!(plugins.journal().story(), [""; 0], "looking makes no instance");
    let settings = plugins.file("settings.json");
    std::fs::write(&settings, plugins.config("tried").to_string()).expect("written");
    let settings = settings.display().to_string();
    let tried = run(&["load-test", &by_file, "--config-file", &settings], 0);
    assert_eq!((&tried["ok"], tried["steps"].as_array().map(Vec::len)), (&json!(true), Some(5)), "{tried:#}");
    let story = plugins.journal().story();
    assert_eq!(story, ["create", "activate", "deactivate", "destroy"].map(|what| format!("tried {what}")));
    let refused = run(&["load-test", "first"], 1);
    let last = refused["steps"].as_array().and_then(|steps| steps.last()).cloned().unwrap_or_default();
    assert_eq!(last["refused"]["code"], "CONFIG", "{refused:#}");
    assert!(last["refused"]["reason"].as_str().is_some_and(|reason| reason.contains("'file' missing")), "{refused:#}");
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let plugins = recorders();
    let daemon = start(&plugins);
    let config = daemon.config_file().display().to_string();
    let examine = |code: Option<i32>| {
        let output = daemon.snooze(&["--config", &config, "--json", "doctor"]).expect("it runs");
        let found: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!(output.code, Some(i32::from(found["ok"] == false)), "{found:#}");
        assert!(code.is_none_or(|code| output.code == Some(code)), "{found:#}");
        found["checks"].as_array().expect("checks").clone()
    };
    let says = |checks: &[Value], mark: &str, words: &str| {
        let is_one =
            |check: &&Value| check["mark"] == mark && check["text"].as_str().is_some_and(|t| t.contains(words));
        let found = checks.iter().find(is_one);
        let hint = found.unwrap_or_else(|| panic!("no {mark} check says {words}: {checks:#?}"))["hint"].clone();
        assert_eq!(hint.is_string(), mark != "good", "what is not well has a hint: {checks:#?}");
    };
    // Whether all is well depends on the machine.
    let checks = examine(None);
    says(&checks, "good", "answers, running for");
    says(&checks, "good", "3 handlers in 2 event types");
    says(&checks, "doubtful", "switched off in the configuration");
    daemon.configure(handles(KEY, "frist", &plugins.config("x"))).expect("written");
    says(&examine(Some(1)), "bad", "did you mean 'first'?");
    let mut daemon = daemon;
    daemon.kill9();
    let output = daemon.snooze(&["--config", &config, "doctor"]).expect("it runs");
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("✗ snoozed is not running") && output.stdout.contains("hint: "), "{output:?}");
}

/// A program that is stopped when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn the_stand_in_for_a_cloud_starts_and_gives_the_daemon_a_notice() {
    let args = ["mock-metadata", "--listen", "127.0.0.1:0", "--notice-in", "0s", "--json"];
    let spawned = Command::new(program_path()).args(args).stdout(Stdio::piped()).spawn();
    let mut service = Running(spawned.expect("it starts"));
    // Kept to the end: the service stops when nobody can read what it says.
    let mut output = BufReader::new(service.0.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let started: Value = serde_json::from_str(&line).expect("JSON");
    let plugins = recorders();
    let config = handles("cloud.spot.interrupt", "first", &plugins.config("first"));
    let builder = plugins.daemon(config).endpoint(started["started"].as_str().expect("an address"));
    let _daemon = builder.start().expect("it starts");
    assert_eq!(plugins.journal().wait(1, "first end")["type"], "cloud.spot.interrupt");
}

#[test]
fn the_completions_are_scripts_that_their_shells_take() {
    let directory = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish"] {
        let output = snooze(&["completions", shell]);
        assert_eq!((output.code, &output.stderr[..]), (Some(0), ""), "{shell}");
        for word in ["simulate", "mock-metadata", "load-test", "dry-run"] {
            assert!(output.stdout.contains(word), "{shell} does not complete {word}");
        }
        let file = directory.path().join(shell);
        std::fs::write(&file, output.stdout).expect("written");
        let Some(program) = program::find(shell) else {
            require::missing_means_skip(&format!("the syntax of the completions for {shell}: there is no {shell}"));
            continue;
        };
        let checked = program::run(Command::new(program).arg("-n").arg(&file), PATIENCE).expect("it runs");
        assert_eq!((checked.code, &checked.stderr[..]), (Some(0), ""), "{shell}: {checked:?}");
    }
}

#[test]
fn the_schema_of_the_configuration_is_json_and_a_check_counts_handlers() {
    let plugins = recorders();
    let daemon = start(&plugins);
    let schema: Value = serde_json::from_str(&snooze(&["config", "schema"]).stdout).expect("JSON");
    assert!(schema["properties"]["event_handlers"].is_object(), "{schema}");
    let file = daemon.config_file().display().to_string();
    let output = daemon.snooze(&["config", "check", &file]).expect("it runs");
    assert!(output.code == Some(0) && output.stdout.contains("3 handlers in 2 event types; OK"), "{output:?}");
}
