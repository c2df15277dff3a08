//! The same `.so` in a process of its own: it answers as in the daemon, and what it does to its process it does to nobody
//! else. A process that dies, hangs or scribbles costs its own call; the next event finds a fresh one.

use std::path::PathBuf;
use std::time::Duration;

use e2e::zoo::Zoo;
use fake_metadata::{Action, FakeMetadata, Options};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::require::missing_means_skip;
use harness::wait;
use serde_json::{Map, Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// How long a call may go on after it was cancelled.
const GRACE_MS: u32 = 700;

/// Much more than a crash takes to be seen on a busy machine, much less than the 30 s that the handler may take.
const SOON_MS: f64 = 8_000.0;

/// A daemon whose handlers each have an event type of their own.
struct Stage {
    daemon: Daemon,
    zoo: Zoo,
}

/// A handler for the events `custom.NAME`.
fn handler(zoo: &Zoo, name: &str, plugin: &str, config: Value, more: Value) -> (String, Value) {
    let mut handler = json!({"name": plugin, "config": config});
    if handler["config"].get("mode").is_some() {
        handler["config"]["file"] = json!(zoo.join(&format!("{name}.lines")));
    }
    for (key, value) in more.as_object().expect("an object") {
        handler[key] = value.clone();
    }
    (format!("custom.{name}"), json!({"plugins": [handler]}))
}

/// A handler of misbehaves.c, isolated.
fn apart(zoo: &Zoo, name: &str, mode: &str, more: Value) -> (String, Value) {
    let (key, mut handlers) = handler(zoo, name, "misbehaves", json!({"mode": mode}), more);
    handlers["plugins"][0]["isolation"] = json!("process");
    (key, handlers)
}

impl Stage {
    fn open(zoo: Zoo, handlers: impl IntoIterator<Item = (String, Value)>) -> Self {
        let handlers: Map<String, Value> = handlers.into_iter().collect();
        let config = json!({"event_handlers": handlers, "dispatch": {"cancel_grace_ms": GRACE_MS}});
        let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
        Self { daemon: builder.start().expect("the daemon started"), zoo }
    }

    fn open_one(zoo: Zoo, name: &str, mode: &str, more: Value) -> Self {
        let one = apart(&zoo, name, mode, more);
        Self::open(zoo, [one])
    }

    /// What the report says of the handler of this event's type.
    fn play(&self, name: &str) -> Value {
        let event_type = format!("custom.{name}");
        let args = ["simulate", &event_type, "--in", "120s", "--data", r#"deep={"x":"a secret word"}"#, "--json"];
        let told = self.daemon.snooze_json(&args).expect("an event");
        let id = told["event_id"].as_str().expect("its id").to_owned();
        let report = wait::until(&format!("the report of {name}"), LIMIT, || {
            let report = self.daemon.snooze_json(&["report", &id, "--json"]).ok()?;
            (report["state"] == "completed").then_some(report)
        });
        report.expect("a completed event")["handlers"][0].clone()
    }

    /// Status, error and result of one event.
    fn outcome(&self, name: &str) -> Value {
        let told = self.play(name);
        let keys = ["status", "error", "result", "evidence", "verified", "attempts"];
        Value::Object(keys.into_iter().map(|key| (key.to_owned(), told[key].clone())).collect())
    }

    fn instance(&self, name: &str) -> Value {
        let status = self.daemon.snooze_json(&["status", "--json"]).expect("a status");
        let key = format!("custom.{name}/");
        let found = status["instances"].as_array().expect("instances").iter();
        let found = found.into_iter().find(|i| i["name"].as_str().is_some_and(|name| name.starts_with(&key)));
        found.unwrap_or_else(|| panic!("{name} is not in {status:#}")).clone()
    }

    /// Number of the process of an isolated handler.
    fn pid(&self, name: &str) -> u32 {
        let pid = wait::until("a process", LIMIT, || {
            let instance = self.instance(name);
            let (_, rest) = instance["detail"].as_str()?.split_once("isolated, process ")?;
            rest.split_once(',')?.0.parse().ok()
        });
        pid.expect("a number")
    }

    fn is_well(&self, name: &str) {
        let told = self.play(name);
        assert_eq!((&told["status"], &told["error"]), (&json!("handled"), &json!(null)), "{name}: {told:#}");
        assert_eq!(self.instance(name)["state"], "active");
    }

    /// What the plugin is told of its second completion, which comes when the call is long over.
    fn second_completion(&self, name: &str) -> String {
        let file = self.zoo.join(&format!("{name}.lines"));
        std::fs::write(file.with_extension("lines.release"), "").expect("released");
        let said = file.with_extension("lines.completions");
        let told = || std::fs::read_to_string(&said).ok().filter(|text| text.ends_with('\n'));
        wait::until("the second completion", LIMIT, told).expect("it came")
    }

    /// The two warnings that a handler logs, without their times and its name.
    fn warnings(&self, name: &str) -> Vec<String> {
        let instance = format!("instance=\"custom.{name}/misbehaves\"");
        let lines = wait::until("both warnings", LIMIT, || {
            let log = self.daemon.log();
            let lines =
                log.lines().filter(|line| line.contains(&instance)).filter_map(|line| line.split_once(" WARN "));
            let lines: Vec<String> = lines.map(|(_, line)| line.replace(name, "")).collect();
            (lines.len() == 2).then_some(lines)
        });
        lines.unwrap_or_else(|error| panic!("{error}: {}", self.daemon.log()))
    }

    fn is_logged(&self, text: &str) {
        let found = wait::until(text, LIMIT, || self.daemon.log().contains(text).then_some(()));
        found.unwrap_or_else(|error| panic!("{error} in the log: {}", self.daemon.log()));
    }

    fn ends_well(mut self) {
        assert_eq!(self.daemon.stop().expect("it stops").code(), Some(0), "{}", self.daemon.log());
    }
}

fn zoo(what: &str) -> Option<Zoo> {
    let zoo = Zoo::open(what, &["cc"])?;
    zoo.c("misbehaves.c", "misbehaves.so", &[]);
    Some(zoo)
}

fn proc_file(pid: u32, file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

/// A process that nobody collected yet is as good as gone.
fn is_gone(pid: u32) -> bool {
    proc_file(pid, "status").is_none_or(|text| text.contains("State:\tZ"))
}

fn ends(pid: u32) {
    wait::until(&format!("the end of process {pid}"), LIMIT, || is_gone(pid).then_some(())).expect("it ended");
}

#[test]
fn a_plugin_answers_in_its_own_process_as_it_does_in_the_daemon() {
    let Some(zoo) = zoo("a plugin in its own process") else { return };
    let hasty = json!({"timeout_seconds": 0.4});
    let cases = [
        ("", json!({})),
        ("tells", json!({})),
        ("declines", json!({})),
        ("fails", json!({"retries": 1})),
        ("retries", json!({})),
        ("retries in vain", json!({"timeout_seconds": 0.5})),
        ("status 12345", json!({})),
        ("status -9999", json!({})),
        ("bad results", json!({})),
        ("error text of bytes", json!({})),
        ("error text of a megabyte", json!({})),
        ("completes twice", json!({})),
        ("never completes", hasty.clone()),
        ("obeys", hasty),
        ("verify says no", json!({})),
        ("verify cannot tell", json!({})),
    ];
    let handlers: Vec<_> = cases
        .iter()
        .enumerate()
        .flat_map(|(n, (mode, more))| {
            let here = handler(&zoo, &format!("here{n}"), "misbehaves", json!({"mode": mode}), more.clone());
            [here, apart(&zoo, &format!("apart{n}"), mode, more.clone())]
        })
        .collect();
    let stage = Stage::open(zoo, handlers);
    for (n, (mode, _)) in cases.iter().enumerate() {
        // The second event too: an instance remembers.
        for time in ["first", "second"] {
            let (here, apart) = (stage.outcome(&format!("here{n}")), stage.outcome(&format!("apart{n}")));
            assert_eq!(here, apart, "'{mode}', {time} event");
        }
        let lines = |place: &str| {
            let text = std::fs::read_to_string(stage.zoo.join(&format!("{place}{n}.lines"))).unwrap_or_default();
            text.lines().count()
        };
        assert_eq!(lines("here"), lines("apart"), "'{mode}'");
        if *mode == "completes twice" {
            let said = ["here", "apart"].map(|place| stage.second_completion(&format!("{place}{n}")));
            assert_eq!(said, ["0 -8\n", "0 -8\n"], "the second is refused (SNOOZE_E_STATE)");
        }
    }
    let (here, apart) = (stage.warnings("here1"), stage.warnings("apart1"));
    assert_eq!(here, apart);
    assert!(here[0].contains("it was told a secret word") && here[1].contains("a long line lll"), "{here:?}");
    assert_eq!(
        (&stage.instance("here0")["kind"], &stage.instance("apart0")["kind"]),
        (&json!("native"), &json!("isolated"))
    );
    stage.ends_well();
}

#[test]
fn an_isolated_library_is_mapped_in_its_process_and_nowhere_else() {
    let Some(zoo) = zoo("where an isolated library is mapped") else { return };
    let stage = Stage::open_one(zoo, "one", "", json!({}));
    stage.is_well("one");
    let maps = |pid| proc_file(pid, "maps").expect("maps");
    let (daemon, process) = (stage.daemon.pid().expect("a daemon"), stage.pid("one"));
    assert!(maps(process).contains("misbehaves.so") && !maps(daemon).contains("misbehaves.so"));
    // What was checked before the start and what a reload checks is not mapped either.
    assert_eq!(stage.daemon.reload().expect("a reload").code, Some(0));
    assert!(!maps(daemon).contains("misbehaves.so"));
    ends(process);
    let environment = proc_file(stage.pid("one"), "environ").expect("an environment");
    let mut names: Vec<&str> = environment.split('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "PATH"], "none of the daemon's own");
    let pid = stage.pid("one");
    let destroyed = stage.zoo.join("one.lines.destroyed");
    let _ = std::fs::remove_file(&destroyed);
    stage.daemon.signal(harness::program::Signal::SIGTERM).expect("told");
    ends(stage.daemon.pid().expect("a daemon"));
    assert!(is_gone(pid) && destroyed.exists(), "it was deactivated and destroyed, not killed");
}

#[test]
fn a_process_that_dies_costs_its_own_call_and_the_next_event_finds_another() {
    let Some(zoo) = zoo("processes that die") else { return };
    let handlers = ["segfault", "exits", "aborts"].map(|mode| apart(&zoo, mode, mode, json!({})));
    let again = apart(&zoo, "again", "segfault", json!({"retries": 1}));
    let beside = handler(&zoo, "beside", "misbehaves", json!({"mode": ""}), json!({}));
    let stage = Stage::open(zoo, handlers.into_iter().chain([again, beside]));
    let daemon = stage.daemon.pid();
    for (mode, how) in
        [("segfault", "killed by signal 11"), ("exits", "exited with status 3"), ("aborts", "killed by signal 6")]
    {
        let pid = stage.pid(mode);
        let told = stage.play(mode);
        assert_eq!((told["status"].as_str(), told["error"].as_str()), (Some("crashed"), Some(how)), "{told:#}");
        assert!(
            told["duration_ms"].as_f64().is_some_and(|ms| ms < SOON_MS),
            "seen at once, not at the deadline: {told:#}"
        );
        stage.is_well(mode);
        assert_ne!(stage.pid(mode), pid);
        assert!(stage.instance(mode)["detail"].as_str().is_some_and(|detail| detail.contains(", 1 restarts")));
    }
    // With a retry the same event is handled after all.
    let told = stage.play("again");
    assert_eq!((&told["status"], &told["attempts"]), (&json!("handled"), &json!(2)), "{told:#}");
    stage.is_well("beside");
    assert_eq!(stage.daemon.pid(), daemon);
    stage.is_logged("killed by signal 11; started again in at most 100ms");
    stage.ends_well();
}

#[test]
fn a_process_that_does_not_stop_is_killed_after_the_grace_whatever_it_writes() {
    let Some(zoo) = zoo("processes that hang") else { return };
    let hasty = json!({"timeout_seconds": 0.4});
    let handlers = ["hangs", "scribbles"].map(|mode| apart(&zoo, mode, mode, hasty.clone()));
    let stage = Stage::open(zoo, handlers);
    for mode in ["hangs", "scribbles"] {
        let pid = stage.pid(mode);
        let told = stage.play(mode);
        assert_eq!(told["status"], "abandoned", "{mode}: {told:#}");
        let error = told["error"].as_str().expect("an error");
        assert!(error.contains("did not stop within 700 ms of being cancelled"), "{error}");
        let length = told["duration_ms"].as_f64().expect("a length");
        assert!(length < 400.0 + f64::from(GRACE_MS) + SOON_MS, "{told:#}");
        ends(pid);
        stage.is_well(mode);
    }
    stage.ends_well();
}

#[test]
fn a_panic_or_an_exception_is_reported_and_a_fresh_process_takes_the_next_event() {
    let Some(zoo) = Zoo::open("panics in a process of their own", &["c++"]) else { return };
    zoo.rust("misbehaves-rs");
    zoo.cpp("misbehaves.cpp", "misbehaves-cpp.so", &[]);
    let isolated = json!({"isolation": "process"});
    let rust =
        |name, function: &str| handler(&zoo, name, "misbehaves-rs", json!({"panics_in": function}), isolated.clone());
    let cpp = handler(
        &zoo,
        "throws",
        "misbehaves-cpp",
        json!({"throws_in": "on_event", "what": "an exception"}),
        isolated.clone(),
    );
    let handlers = [rust("panics", "on_event"), rust("doubts", "verify"), cpp];
    let stage = Stage::open(zoo, handlers);
    for (name, status, text) in [
        ("panics", "panicked", "panicked: the bear in on_event woke up at "),
        ("doubts", "handled", "not verified: panicked: the bear in verify woke up at "),
        ("throws", "panicked", "a bear was met in on_event"),
    ] {
        // The same again: what answers is a process that knows nothing of the first time.
        for _ in 0..2 {
            let (pid, told) = (stage.pid(name), stage.play(name));
            assert_eq!(told["status"], status, "{told:#}");
            assert!(told["error"].as_str().is_some_and(|error| error.contains(text)), "{told:#}");
            ends(pid);
            assert_eq!(stage.instance(name)["state"], "active");
        }
    }
    stage.ends_well();
}

#[test]
fn a_handler_that_burns_cpu_in_its_own_process_loses_its_real_time_priority_too() {
    let Some(zoo) = zoo("an isolated handler that burns CPU") else { return };
    let handlers = ["burns", "scribbles"].map(|mode| apart(&zoo, mode, mode, json!({})));
    let stage = Stage::open(zoo, handlers);
    let scheduling = |pid: u32| {
        let stat = proc_file(pid, "stat").expect("a process");
        // Fields 40 and 41 of proc_pid_stat(5): real-time priority and policy; the name in field 2 may hold anything.
        let fields: Vec<String> =
            stat.rsplit_once(')').expect("a name").1.split_whitespace().map(str::to_owned).collect();
        (fields[37].clone(), fields[38].clone())
    };
    let status = stage.daemon.snooze_json(&["status", "--json"]).expect("a status");
    if !status["dispatch"].to_string().contains("real-time") {
        missing_means_skip("an isolated handler that burns CPU: no real-time scheduling here");
        return;
    }
    let pid = stage.pid("burns");
    // As the workers have it (SCHED_RR is 2).
    let (round_robin, normal) = (("10".to_owned(), "2".to_owned()), ("0".to_owned(), "0".to_owned()));
    let become_it = |what: &str, wanted: &(String, String)| {
        wait::until(what, LIMIT, || (scheduling(pid) == *wanted).then_some(())).expect("its scheduling");
    };
    become_it("its real-time scheduling", &round_robin);
    assert_ne!(scheduling(pid), normal);
    stage.is_well("burns");
    stage.is_logged("burned more CPU than its real-time budget");
    become_it("its real-time scheduling again", &round_robin);
    stage.is_well("burns");
    // One that writes over what it says of itself: the kernel is asked. The daemon's end is that of the process.
    let hostile = stage.pid("scribbles");
    stage.daemon.snooze_json(&["simulate", "custom.scribbles", "--in", "120s", "--json"]).expect("an event");
    wait::until("normal scheduling", LIMIT, || (scheduling(hostile) == normal).then_some(())).expect("demoted");
}

#[test]
fn a_daemon_that_is_killed_leaves_no_process_behind() {
    let Some(zoo) = zoo("what a killed daemon leaves behind") else { return };
    let handlers = ["idle", "hangs"].map(|mode| apart(&zoo, mode, mode, json!({})));
    let mut stage = Stage::open(zoo, handlers);
    let pids = ["idle", "hangs"].map(|name| stage.pid(name));
    // One of them in the middle of a call.
    stage.daemon.snooze_json(&["simulate", "custom.hangs", "--in", "120s", "--json"]).expect("an event");
    let begun = stage.zoo.join("hangs.lines.once");
    wait::until("the call", LIMIT, || begun.exists().then_some(())).expect("it hangs");
    stage.daemon.kill9();
    for pid in pids {
        ends(pid);
    }
}

#[test]
fn what_is_said_to_be_enforced_is_what_the_kernel_shows() {
    let Some(zoo) = zoo("confinement") else { return };
    let is_root = nix::unistd::geteuid().is_root();
    let user = nix::unistd::User::from_name("nobody").ok().flatten().filter(|_| is_root);
    let as_user = user.as_ref().map_or(json!({}), |_| json!({"user": "nobody"}));
    let writable = json!({"writable_directories": [zoo.path()]});
    let (here, elsewhere) = (apart(&zoo, "plain", "", json!({})), tempfile::tempdir().expect("a directory"));
    let mut outside = apart(&zoo, "outside", "", writable.clone());
    outside.1["plugins"][0]["config"]["file"] = json!(elsewhere.path().join("lines"));
    let handlers = [here, apart(&zoo, "user", "declines", as_user), apart(&zoo, "inside", "", writable), outside];
    let stage = Stage::open(zoo, handlers);
    let detail = |name: &str| stage.instance(name)["detail"].as_str().expect("a detail").to_owned();
    let shown = |name: &str| proc_file(stage.pid(name), "status").expect("a status");
    for name in ["plain", "user", "inside"] {
        let (said, status) = (detail(name), shown(name));
        assert_eq!(said.contains("no new privileges;"), status.contains("NoNewPrivs:\t1"), "{said}");
        assert_eq!(said.contains("system calls refused"), status.contains("Seccomp:\t2"), "{said}");
        assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{said}: {status}");
    }
    stage.is_well("plain");
    match user {
        Some(user) => {
            assert!(detail("user").contains("user nobody; "), "{}", detail("user"));
            let uid = user.uid;
            assert!(shown("user").contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")), "{}", shown("user"));
            assert_eq!(stage.play("user")["status"], "declined");
        }
        None => drop(missing_means_skip("an isolated plugin as another user: takes root and a user 'nobody'")),
    }
    stage.is_well("inside");
    if detail("outside").contains("landlock: writes below") {
        stage.play("outside");
        assert!(!elsewhere.path().join("lines").exists(), "it wrote where it may not");
        assert!(stage.zoo.join("inside.lines").exists());
    } else {
        assert!(detail("outside").contains("landlock NOT enforced"), "{}", detail("outside"));
        missing_means_skip("files that an isolated plugin may not write: this kernel has no Landlock");
    }
    stage.ends_well();
}

#[test]
fn an_isolated_plugin_that_cannot_begin_is_refused_with_its_place_in_the_configuration() {
    let Some(zoo) = zoo("isolated plugins that are refused") else { return };
    zoo.write("outside.plugin.json", br#"{"name": "outside", "version": "1", "command": ["/bin/true"]}"#);
    let constructor = zoo.c("misbehaves.c", "dies.so", &["-DNAME=\"dies\"", "-DDIES_AT_LOAD"]);
    let isolated = |name: &str, more: Value| {
        let mut handler = json!({"name": name, "isolation": "process", "config": {"mode": "", "file": zoo.join("f")}});
        for (key, value) in more.as_object().expect("an object") {
            handler[key] = value.clone();
        }
        let config = json!({"event_handlers": {"custom.a": {"plugins": [handler]}}});
        let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
        builder.start().expect_err("it was refused")
    };
    let place = "event_handlers[\"custom.a\"].plugins[0]";
    for (error, words) in [
        (isolated("outside", json!({})), format!("{place}.isolation: found 'outside' is a process of its own already")),
        (
            isolated("misbehaves", json!({"user": "no-such-user"})),
            format!("{place}.user: found user 'no-such-user' is no user"),
        ),
        (isolated("misbehaves", json!({"sha256": "0".repeat(64)})), format!("{place}.sha256: found sha256 is ")),
        (
            isolated("dies", json!({})),
            format!("{place}.name: found plugin 'dies' was refused: the process did not start: killed by signal 6"),
        ),
    ] {
        assert!(error.contains(&words), "{words}: {error}");
    }
    assert!(constructor.exists());
}

/// The plugins of three languages isolated, beside one that is a process of its own anyway.
const PLUGINS: [(&str, u32); 4] = [("minimal", 90), ("cpp", 70), ("recorder-rs", 50), ("recorder-py", 30)];

#[test]
fn isolated_plugins_in_c_cpp_and_rust_see_the_event_that_an_external_one_sees() {
    let needed = ["make", "cc", "c++", "python3"];
    let Some(zoo) = Zoo::open("isolated plugins of three languages", &needed) else { return };
    zoo.example("minimal");
    zoo.example("cpp");
    zoo.rust("recorder-rs");
    let sdk = e2e::zoo::repository().join("plugins/python/src");
    zoo.python("recorder.py", "recorder-py", json!({"PYTHONPATH": sdk}), &[]);
    let fake = FakeMetadata::start(Options::default()).expect("a metadata service");
    let file = |name: &str| -> PathBuf { zoo.join(&format!("{name}.lines")) };
    let handlers: Vec<Value> = PLUGINS
        .iter()
        .map(|(name, priority)| {
            let isolation = if *name == "recorder-py" { "none" } else { "process" };
            json!({"name": name, "priority": priority, "isolation": isolation, "config": {"file": file(name)}})
        })
        .collect();
    let watched = json!({"polling_interval_seconds": 0.1, "plugins": handlers});
    let daemon = DaemonBuilder::new(zoo.bin())
        .config(json!({"event_handlers": {"cloud.spot.interrupt": watched}}))
        .plugin_directory(zoo.path())
        .endpoint(fake.base_url())
        .start()
        .expect("the daemon started");
    fake.notice(Action::Terminate, Duration::from_secs(120));
    let report = daemon.report_of("cloud.spot.interrupt", LIMIT).expect("a report");
    let handlers = report["handlers"].as_array().expect("handlers");
    let ran: Vec<_> = handlers.iter().map(|h| (&h["handler"], &h["status"], &h["verified"])).collect();
    for ((name, _), ran) in PLUGINS.iter().zip(&ran) {
        assert_eq!(*ran, (&json!(name), &json!("handled"), &json!("yes")), "{report:#}");
    }
    let line = |name: &str| {
        let text = std::fs::read_to_string(file(name)).expect("the plugin wrote");
        let mut line: Map<String, Value> = serde_json::from_str(text.trim()).expect("one JSON object");
        assert_eq!(line.remove("plugin"), Some(json!(name)));
        line
    };
    let seen = line("recorder-py");
    assert_eq!((&seen["id"], &seen["deadline"]), (&report["event_id"], &report["deadline"]));
    for (name, _) in &PLUGINS[..3] {
        assert_eq!(line(name), seen, "{name} saw another event");
    }
}
