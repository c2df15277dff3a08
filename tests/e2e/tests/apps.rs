//! Applications that are told of a notice: by the file, by the socket at which they register, by `snooze wait`.

use e2e::simple::application::Application;
use e2e::simple::possessions::Possessions;
use e2e::simple::{PATIENCE, Plugins, finished, simulate, status_when};
use fake_metadata::{Action, FakeMetadata, Maintenance, Options};
use harness::daemon::Daemon;
use harness::program;
use harness::{paths, require, wait};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const KEY: &str = "custom.end";

/// The handler alone, with this much time.
fn notifies(key: &str, timeout_seconds: f64) -> Value {
    json!({"event_handlers": {key: {"plugins": [
        {"name": "notify-apps", "priority": 60, "timeout_seconds": timeout_seconds},
    ]}}})
}

fn start(config: Value) -> Daemon {
    Plugins::empty().daemon(config).start().expect("it starts")
}

fn socket(daemon: &Daemon) -> PathBuf {
    daemon.root().join("apps.sock")
}

fn register(daemon: &Daemon, name: &str, needs_seconds: Option<f64>) -> Application {
    Application::register(&socket(daemon), name, needs_seconds, &["custom.*"])
}

/// The one handler's part of a report.
fn handler(report: &Value) -> &Value {
    let mut all = report["handlers"].as_array().expect("a list").iter();
    all.find(|handler| handler["handler"] == "notify-apps").unwrap_or_else(|| panic!("no notify-apps in {report:#}"))
}

fn rows(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = handler(report)["result"]["applications"].as_array().unwrap_or_else(|| panic!("no rows in {report:#}"));
    let mut rows: Vec<_> = rows.iter().map(|row| (text(&row["name"]), text(&row["answer"]))).collect();
    rows.sort();
    rows
}

fn row(name: &str, answer: &str) -> (String, String) {
    (name.to_owned(), answer.to_owned())
}

/// The file's list of notices, as soon as it is as wanted.
fn listed(daemon: &Daemon, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let path = daemon.root().join("notice.json");
    let mut last = String::new();
    let found = wait::until(what, PATIENCE, || {
        last = std::fs::read_to_string(&path).unwrap_or_default();
        let document: Value = serde_json::from_str(&last).ok()?;
        document["events"].as_array().filter(|events| wanted(events)).cloned()
    });
    found.unwrap_or_else(|error| panic!("{error}; the file is {last}"))
}

fn registered(daemon: &Daemon, count: usize) -> Vec<Value> {
    let found = wait::until("the applications", PATIENCE, || {
        let told = daemon.snooze_json(&["apps", "--json"]).ok()?;
        told["applications"].as_array().filter(|all| all.len() == count).cloned()
    });
    found.unwrap_or_else(|error| panic!("{error}: {:?}", daemon.snooze(&["apps"])))
}

#[test]
fn an_application_is_told_waited_for_and_verified() {
    let daemon = start(notifies("custom.*", 20.0));
    let mut trainer = register(&daemon, "trainer", Some(15.0));
    let known = registered(&daemon, 1);
    assert_eq!((&known[0]["name"], &known[0]["is_waited_for"]), (&json!("trainer"), &json!(true)));
    assert_eq!(known[0]["pid"], std::process::id(), "the kernel says who it is");
    let id = simulate(&daemon, KEY, &["--in", "60s"]);
    let notice = trainer.hear()["notice"].take();
    assert_eq!((&notice["id"], &notice["type"], &notice["simulated"]), (&json!(id), &json!(KEY), &json!(true)));
    assert_eq!(notice["answer_within"], 15.0);
    assert!(notice["seconds_left"].as_f64().is_some_and(|left| (50.0..=60.0).contains(&left)), "{notice}");
    // Until it has answered the handler goes on.
    let running = daemon.snooze_json(&["report", &id, "--json"]).expect("a report");
    assert_eq!(running["state"], "running", "{running:#}");
    assert!(trainer.hears_nothing_for(Duration::from_millis(300)));
    trainer.say(&json!({"ready": {"id": id, "detail": {"step": 7}}}));
    let report = finished(&daemon, &id);
    let handler = handler(&report);
    assert_eq!((&handler["status"], &handler["verified"]), (&json!("handled"), &json!("yes")), "{report:#}");
    assert!(handler["duration_ms"].as_f64().is_some_and(|ms| ms >= 300.0), "it waited: {report:#}");
    let told = &handler["result"]["applications"][0];
    assert_eq!((&told["name"], &told["detail"]), (&json!("trainer"), &json!({"step": 7})), "{report:#}");
    assert_eq!((&told["pid"], &told["answer"]), (&json!(std::process::id()), &json!("ready")));
    assert!(told["seconds"].as_f64().is_some_and(|seconds| (0.3..20.0).contains(&seconds)), "{told}");
    assert_eq!(registered(&daemon, 1)[0]["notices"], json!([{"id": id, "answer": "ready"}]));
    let screen = daemon.snooze(&["apps"]).expect("it runs").stdout;
    assert!(screen.contains("trainer") && screen.contains("15 s") && screen.contains("ready"), "{screen}");
}

#[test]
fn the_handler_does_the_same_in_a_process_of_its_own() {
    let mut config = notifies("custom.*", 20.0);
    config["event_handlers"]["custom.*"]["plugins"][0]["isolation"] = json!("process");
    let daemon = start(config);
    let mut trainer = register(&daemon, "trainer", None);
    let id = simulate(&daemon, KEY, &["--in", "60s"]);
    trainer.gets_ready(&json!({"step": 7}));
    let report = finished(&daemon, &id);
    assert_eq!(rows(&report), [row("trainer", "ready")], "{report:#}");
    assert_eq!(handler(&report)["verified"], "yes", "{report:#}");
    let status = daemon.snooze_json(&["status", "--json"]).expect("it answers");
    assert_eq!(status["instances"][0]["kind"], "isolated", "{status:#}");
}

#[test]
fn without_the_handler_nothing_is_sent_and_the_application_is_told_so() {
    let daemon = start(notifies("cloud.*", 20.0));
    let mut waits = Application::connect(&socket(&daemon));
    waits.say(&json!({"register": {"name": "waits", "events": ["custom.*"]}}));
    let told = waits.hear()["registered"].take();
    assert_eq!(told["is_waited_for"], false);
    assert!(told["warning"].as_str().is_some_and(|text| text.contains("notify-apps")), "{told}");
    let id = simulate(&daemon, KEY, &["--in", "60s"]);
    assert!(finished(&daemon, &id)["handlers"].as_array().is_some_and(Vec::is_empty));
    assert!(waits.hears_nothing_for(Duration::from_millis(300)));
}

#[test]
fn applications_have_their_place_among_the_priorities() {
    let plugins = Plugins::recorders(&["above", "below"]);
    let config = json!({"event_handlers": {"custom.*": {"plugins": [
        {"name": "above", "priority": 90, "config": plugins.gated("above", "gate")},
        {"name": "notify-apps", "priority": 60, "timeout_seconds": 20},
        {"name": "below", "priority": 10, "config": plugins.config("below")},
    ]}}});
    let daemon = plugins.daemon(config).start().expect("it starts");
    let mut trainer = register(&daemon, "trainer", None);
    let id = simulate(&daemon, KEY, &["--in", "120s"]);
    plugins.journal().wait(1, "above begin");
    assert!(trainer.hears_nothing_for(Duration::from_millis(300)), "a higher priority still runs");
    plugins.open("gate");
    let notice = trainer.hear()["notice"].take();
    assert_eq!(plugins.journal().all("above end").len(), 1);
    assert!(trainer.hears_nothing_for(Duration::from_millis(300)));
    assert_eq!(plugins.journal().all("below begin").len(), 0, "the sequence waits for the application");
    trainer.say(&json!({"ready": {"id": notice["id"]}}));
    plugins.journal().wait(1, "below end");
    assert_eq!(finished(&daemon, &id)["state"], "completed");
}

#[test]
fn who_is_silent_fails_or_leaves_is_told_apart_and_not_verified() {
    let daemon = start(notifies("custom.*", 20.0));
    let mut ready = register(&daemon, "ready", None);
    let mut fails = register(&daemon, "fails", None);
    let mut leaves = register(&daemon, "leaves", None);
    let mut silent = register(&daemon, "silent", Some(1.0));
    let begun = Instant::now();
    let id = simulate(&daemon, KEY, &["--in", "120s"]);
    ready.gets_ready(&json!({}));
    let notice = fails.hear()["notice"].take();
    fails.say(&json!({"failed": {"id": notice["id"], "error": "disk full"}}));
    leaves.hear();
    drop(leaves);
    silent.hear();
    let report = finished(&daemon, &id);
    assert!(begun.elapsed() < Duration::from_secs(15), "it does not wait for its whole time: {:?}", begun.elapsed());
    assert_eq!(
        rows(&report),
        [row("fails", "failed"), row("leaves", "gone"), row("ready", "ready"), row("silent", "silent")]
    );
    let handler = handler(&report);
    assert_eq!((&handler["status"], &handler["verified"]), (&json!("handled"), &json!("no")), "{report:#}");
    let text = report.to_string();
    assert!(text.contains("1 of 4 applications are ready") && text.contains("disk full"), "{report:#}");
    registered(&daemon, 3);
}

#[test]
fn more_time_is_granted_within_the_handlers_own_and_no_further() {
    let daemon = start(notifies("custom.*", 6.0));
    let mut slow = register(&daemon, "slow", Some(1.0));
    let id = simulate(&daemon, KEY, &["--in", "120s"]);
    slow.hear();
    slow.say(&json!({"more_time": {"id": id, "seconds": 2}}));
    let granted = slow.hear()["granted"].take();
    assert_eq!(granted["seconds"], 2.0, "{granted}");
    slow.say(&json!({"more_time": {"id": id, "seconds": 600}}));
    let granted = slow.hear()["granted"].take();
    assert!(granted["seconds"].as_f64().is_some_and(|seconds| (1.0..3.0).contains(&seconds)), "{granted}");
    assert!(granted["answer_within"].as_f64().is_some_and(|seconds| seconds <= 6.0), "{granted}");
    // Later than it said at first: without the grant it would be silent.
    assert!(slow.hears_nothing_for(Duration::from_millis(1_800)));
    slow.say(&json!({"ready": {"id": id}}));
    let report = finished(&daemon, &id);
    assert_eq!(rows(&report), [row("slow", "ready")], "{report:#}");
}

#[test]
fn a_handler_that_is_cancelled_still_tells_who_had_answered() {
    let fake = FakeMetadata::start(Options::default()).expect("a free port");
    let mut config = notifies("cloud.maintenance.*", 60.0);
    config["sources"]["aws"] = json!({"maintenance_interval_seconds": 0.05, "request_timeout_ms": 1000});
    let daemon = Plugins::empty().daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    let mut quick = Application::register(&socket(&daemon), "quick", None, &["cloud.*"]);
    let mut slow = Application::register(&socket(&daemon), "slow", None, &["cloud.*"]);
    let event = fake.maintenance(Maintenance::new("system-reboot", Duration::from_secs(3_600))).expect("a new id");
    let notice = quick.gets_ready(&json!({}));
    slow.hear();
    let open = listed(&daemon, "the notice", |events| events.len() == 1);
    assert_eq!((&open[0]["id"], &open[0]["action"]), (&notice["id"], &json!("reboot")));
    fake.cancel_maintenance(&event).expect("it is known");
    for application in [&mut quick, &mut slow] {
        let told = application.hear()["cancelled"].take();
        assert_eq!(told, json!({"id": notice["id"], "type": "cloud.maintenance.reboot"}));
    }
    listed(&daemon, "the end of the notice", <[Value]>::is_empty);
    let report = finished(&daemon, notice["id"].as_str().expect("an id"));
    assert_eq!(rows(&report), [row("quick", "ready"), row("slow", "cancelled")], "{report:#}");
}

#[test]
fn the_file_follows_a_notice_that_moves_and_its_applications_learn_it() {
    let fake = FakeMetadata::start(Options::default()).expect("a free port");
    let mut config = notifies("cloud.spot.*", 60.0);
    config["sources"]["aws"] = json!({"polling_interval_seconds": 0.05, "request_timeout_ms": 1000});
    let daemon = Plugins::empty().daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    assert!(listed(&daemon, "the empty list", |_| true).is_empty());
    let mut trainer = Application::register(&socket(&daemon), "trainer", None, &["cloud.spot.*"]);
    fake.notice(Action::Terminate, Duration::from_secs(300));
    let first = listed(&daemon, "the notice", |events| events.len() == 1);
    let left = |notice: &Value| notice["seconds_left"].as_f64().unwrap_or(f64::NAN);
    assert!((280.0..=300.0).contains(&left(&first[0])), "{first:?}");
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let epoch = first[0]["deadline_epoch"].as_f64().expect("a number");
    assert!((epoch - wall - 300.0).abs() < 20.0, "{epoch} at {wall}");
    let stamp: jiff::Timestamp = first[0]["deadline"].as_str().expect("a text").parse().expect("RFC 3339");
    assert!((stamp.as_second() as f64 - epoch).abs() <= 1.0, "both say the same");
    assert_eq!(trainer.hear()["notice"]["id"], first[0]["id"]);
    fake.notice(Action::Terminate, Duration::from_secs(100));
    let moved = listed(&daemon, "the new time", |events| events.len() == 1 && left(&events[0]) < 101.0);
    assert_eq!(moved[0]["id"], first[0]["id"], "it is the same notice");
    let told = trainer.hear()["moved"].take();
    assert_eq!((&told["id"], &told["deadline"]), (&first[0]["id"], &moved[0]["deadline"]));
    trainer.say(&json!({"ready": {"id": first[0]["id"]}}));
    // The handlers are done, the machine is still to go: scripts must find the notice.
    status_when(&daemon, "the end of the event", |status| status["dispatch"]["events_busy"] == 0);
    assert_eq!(listed(&daemon, "the notice", |_| true).len(), 1);
}

#[test]
fn a_notice_leaves_the_file_when_its_time_has_come_and_stands_in_it_again_after_a_restart() {
    let fake = FakeMetadata::start(Options::default()).expect("a free port");
    let mut config = notifies("*", 20.0);
    config["sources"]["aws"] = json!({"polling_interval_seconds": 0.05, "request_timeout_ms": 1000});
    let mut daemon = Plugins::empty().daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    fake.notice(Action::Terminate, Duration::from_secs(600));
    let long = listed(&daemon, "the notice", |events| events.len() == 1)[0]["id"].clone();
    simulate(&daemon, KEY, &["--in", "2s"]);
    listed(&daemon, "both", |events| events.len() == 2);
    let rest = listed(&daemon, "the one that is left", |events| events.len() == 1);
    assert_eq!(rest[0]["id"], long);
    finished(&daemon, long.as_str().expect("an id"));
    daemon.kill9();
    std::fs::remove_file(daemon.root().join("notice.json")).expect("it was there");
    daemon.start_again().expect("it starts");
    let rest = listed(&daemon, "the one that still stands", |events| events.len() == 1);
    assert_eq!(rest[0]["id"], long);
    assert_eq!(daemon.stop().expect("it stops").code(), Some(0));
    assert!(!socket(&daemon).exists(), "the socket goes with the daemon");
    assert!(daemon.root().join("notice.json").exists(), "the file stays");
}

#[test]
fn both_can_be_off_and_the_handler_is_then_refused() {
    let mut config = json!({"apps": {"socket": null, "state_file": null}});
    let daemon = start(config.clone());
    assert_eq!(registered(&daemon, 0).len(), 0);
    assert!(!socket(&daemon).exists() && !daemon.root().join("notice.json").exists());
    config["event_handlers"] = notifies("custom.*", 1.0)["event_handlers"].take();
    daemon.configure(config).expect("written");
    let refused = daemon.reload().expect("it runs");
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.stderr.contains("expected apps.socket not to be null"), "{refused:?}");
}

#[test]
fn one_hundred_applications_are_told_and_waited_for_together() {
    const COUNT: usize = 100;
    let daemon = start(notifies("custom.*", 30.0));
    let mut all: Vec<Application> =
        (0..COUNT).map(|number| register(&daemon, &format!("worker-{number:03}"), Some(25.0))).collect();
    registered(&daemon, COUNT);
    let id = simulate(&daemon, KEY, &["--in", "120s"]);
    for (number, application) in all.iter_mut().enumerate() {
        assert_eq!(application.gets_ready(&json!({"rank": number}))["id"], json!(id));
    }
    let report = finished(&daemon, &id);
    let result = &handler(&report)["result"];
    assert_eq!((&result["told"], &result["ready"], &result["all_ready"]), (&json!(COUNT), &json!(COUNT), &json!(true)));
    assert_eq!(rows(&report).len(), COUNT);
    assert_eq!(handler(&report)["verified"], "yes");
    drop(all);
    registered(&daemon, 0);
}

#[test]
fn hostile_lines_end_their_own_connection_with_one_sentence() {
    let daemon = start(notifies("custom.*", 20.0));
    let mut well = register(&daemon, "well", None);
    let long = [b"{\"register\": {\"name\": \"".to_vec(), vec![b'x'; 100_000], b"\"}}\n".to_vec()].concat();
    let cases: [(&[u8], &str); 7] = [
        (b"garbage\n", "is not a JSON object"),
        (b"\xff\xfe\x00\n", "is not a JSON object"),
        (b"{\"register\": {\"name\": 7}}\n", "is not one of the messages"),
        (b"{\"register\": {\"name\": \"\"}}\n", "'name' is to have"),
        (b"{\"register\": {\"name\": \"a\", \"events\": [\"Bad Type\"]}}\n", "'events' is to list"),
        (b"{\"ready\": {\"id\": \"x\"}}\n", "register first"),
        (&long, "a line has at most 8192 bytes"),
    ];
    for (bytes, wanted) in cases {
        let mut hostile = Application::connect(&socket(&daemon));
        // A long line may be cut off while it is written.
        let _ = hostile.write(bytes);
        let told = hostile.hear_or_end().unwrap_or_else(|| panic!("no sentence about {wanted}"));
        assert!(told["error"]["message"].as_str().is_some_and(|text| text.contains(wanted)), "{wanted}: {told}");
        assert!(hostile.hear_or_end().is_none(), "{wanted}: the connection ends");
    }
    // An answer to what was not asked is refused, and the talk goes on.
    well.say(&json!({"ready": {"id": "nothing"}}));
    assert!(well.hear()["error"]["message"].as_str().is_some_and(|text| text.contains("no notice with this id")));
    well.say(&json!({"ping": {}}));
    assert_eq!(well.hear(), json!({"pong": {}}));
    // A flood.
    let mut flood = register(&daemon, "flood", None);
    let _ = flood.write(&b"{\"ping\": {}}\n".repeat(10_000));
    let mut pongs = 0;
    while let Some(told) = flood.hear_or_end() {
        pongs += usize::from(told == json!({"pong": {}}));
    }
    assert!(pongs < 200, "{pongs} answers before it was cut off");
    registered(&daemon, 1);
    let id = simulate(&daemon, KEY, &["--in", "60s"]);
    well.gets_ready(&json!({}));
    assert_eq!(rows(&finished(&daemon, &id)), [row("well", "ready")]);
}

#[test]
fn who_never_reads_neither_blocks_the_daemon_nor_makes_it_grow() {
    const ROUNDS: usize = 60;
    let daemon = start(notifies("custom.*", 20.0));
    let mut well = register(&daemon, "well", None);
    // They register and answer nothing, and read nothing: neither the greeting nor any notice.
    let deaf: Vec<Application> = (0..20)
        .map(|number| {
            let mut deaf = Application::connect(&socket(&daemon));
            deaf.say(&json!({"register": {"name": format!("deaf-{number}"), "needs_seconds": 0}}));
            deaf
        })
        .collect();
    registered(&daemon, 21);
    let pid = daemon.pid().expect("it runs");
    let before = Possessions::of(pid);
    for _ in 0..ROUNDS {
        let id = simulate(&daemon, KEY, &["--in", "60s"]);
        well.gets_ready(&json!({}));
        let told = rows(&finished(&daemon, &id));
        assert!(told.contains(&row("well", "ready")), "{told:?}");
    }
    let after = Possessions::of(pid);
    assert!(after.memory_kib < before.memory_kib + 8 * 1024, "{before:?} {after:?}");
    assert!(after.descriptors <= before.descriptors + 4, "{before:?} {after:?}");
    registered(&daemon, 1);
    drop(deaf);
}

#[test]
fn an_application_that_connects_while_others_are_told_is_told_too_and_one_that_left_is_not_waited_for() {
    let daemon = start(notifies("custom.*", 20.0));
    let mut first = register(&daemon, "first", None);
    let id = simulate(&daemon, KEY, &["--in", "120s"]);
    first.hear();
    let mut late = register(&daemon, "late", None);
    late.gets_ready(&json!({}));
    assert_eq!(daemon.snooze_json(&["report", &id, "--json"]).expect("a report")["state"], "running");
    drop(first);
    assert_eq!(rows(&finished(&daemon, &id)), [row("first", "gone"), row("late", "ready")]);
}

#[test]
fn an_application_that_comes_back_after_a_crash_of_the_daemon_learns_what_stands() {
    let fake = FakeMetadata::start(Options::default()).expect("a free port");
    let mut config = notifies("cloud.spot.*", 60.0);
    config["sources"]["aws"] = json!({"polling_interval_seconds": 0.05, "request_timeout_ms": 1000});
    let mut daemon = Plugins::empty().daemon(config).endpoint(fake.base_url()).start().expect("it starts");
    let mut trainer = Application::register(&socket(&daemon), "trainer", None, &["cloud.*"]);
    fake.notice(Action::Terminate, Duration::from_secs(120));
    let id = trainer.hear()["notice"]["id"].take();
    let is_in_journal = || daemon.snooze_json(&["report", id.as_str()?, "--json"]).ok();
    wait::until("the event in the history", PATIENCE, is_in_journal).expect("it is written down");
    daemon.kill9();
    assert!(trainer.hear_or_end().is_none(), "the connection goes with the daemon");
    daemon.start_again().expect("it starts");
    // The event was taken up again before anybody could register.
    finished(&daemon, id.as_str().expect("an id"));
    let mut back = Application::register(&socket(&daemon), "trainer", None, &["cloud.*"]);
    let told = back.hear()["notice"].take();
    assert_eq!((&told["id"], &told["answer_within"]), (&id, &json!(0.0)));
    let still = listed(&daemon, "the notice", |events| events.len() == 1);
    assert_eq!(still[0]["id"], id);
}

/// The code of this language in the documentation.
fn snippet(language: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/apps.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let (_, rest) = text.split_once(&format!("```{language}\n")).expect("a block of this language");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// Ends the program when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.0);
    }
}

fn works_as_pasted(mut command: Command, name: &str, detail: &Value) {
    let daemon = start(notifies("cloud.spot.*", 20.0));
    let _running = Running(command.arg(socket(&daemon)).spawn().expect("it starts"));
    assert_eq!(registered(&daemon, 1)[0]["name"], name);
    for _ in 0..2 {
        let id = simulate(&daemon, "cloud.spot.interrupt", &["--in", "60s"]);
        let report = finished(&daemon, &id);
        assert_eq!(rows(&report), [row(name, "ready")], "{report:#}");
        assert_eq!(&handler(&report)["result"]["applications"][0]["detail"], detail);
    }
}

#[test]
fn the_python_of_the_documentation_works_as_pasted() {
    let Some(python) = program::find("python3") else {
        require::missing_means_skip("the_python_of_the_documentation: there is no python3");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("trainer.py");
    std::fs::write(&file, snippet("python")).expect("written");
    let mut command = Command::new(python);
    command.arg(file);
    works_as_pasted(command, "trainer", &json!({"step": 7}));
}

#[test]
fn the_c_of_the_documentation_works_as_pasted() {
    let Some(cc) = program::find("cc") else {
        require::missing_means_skip("the_c_of_the_documentation: there is no cc");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let (source, solver) = (directory.path().join("solver.c"), directory.path().join("solver"));
    std::fs::write(&source, snippet("c")).expect("written");
    let mut compile = Command::new(cc);
    compile.args(["-Wall", "-Wextra", "-Werror", "-o"]).arg(&solver).arg(&source);
    program::run(&mut compile, PATIENCE).and_then(|output| output.success("cc")).expect("it compiles");
    works_as_pasted(Command::new(solver), "solver", &json!({}));
}

#[test]
fn any_user_may_register_and_the_kernel_says_who_it_is() {
    let is_root = nix::unistd::Uid::effective().is_root();
    // The system's own first: another may lie where other users cannot read it.
    let own = Some(PathBuf::from("/usr/bin/python3")).filter(|path| path.is_file());
    let python = own.or_else(|| program::find("python3"));
    let (Some(setpriv), Some(python), true) = (program::find("setpriv"), python, is_root) else {
        require::missing_means_skip("any_user_may_register: that takes root, setpriv and python3");
        return;
    };
    let daemon = start(notifies("cloud.spot.*", 20.0));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(daemon.root(), open).expect("open for all");
    let as_nobody = |script: &str| {
        let mut command = Command::new(&setpriv);
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(&python).arg("-c").arg(script).arg(socket(&daemon));
        command
    };
    let can_run = program::run(&mut as_nobody("pass"), PATIENCE).is_ok_and(|output| output.code == Some(0));
    if !can_run {
        require::missing_means_skip("any_user_may_register: another user cannot run python3");
        return;
    }
    let _running = Running(as_nobody(&snippet("python")).spawn().expect("it starts"));
    let known = registered(&daemon, 1);
    assert_eq!((&known[0]["uid"], &known[0]["name"]), (&json!(65534), &json!("trainer")));
    // The place of the handler is not for strangers.
    let deliver = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
        s.sendall(b'{\"stop\": {}}\\n')\nprint(s.makefile().readline())";
    let told = program::run(&mut as_nobody(deliver), PATIENCE).expect("it ends").stdout;
    assert!(told.contains("only the daemon itself may do this"), "{told}");
}

#[test]
fn wait_prints_the_first_event_that_matches_and_gives_up_in_time() {
    let daemon = start(json!({}));
    let socket = daemon.socket();
    let snooze = paths::program(&e2e::simple::bin_dir(), "snooze").expect("it is built");
    let waiting = |args: &'static [&'static str]| {
        let mut command = Command::new(&snooze);
        command.arg("--socket").arg(&socket).arg("wait").args(args);
        std::thread::spawn(move || program::run(&mut command, PATIENCE).expect("it ends"))
    };
    let begun = Instant::now();
    let none = waiting(&["custom.never", "--timeout", "1s"]).join().expect("it ran");
    assert_eq!((none.code, none.stdout.as_str()), (Some(124), ""), "{none:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let all = [
        waiting(&["custom.end", "--json"]),
        waiting(&["custom.*"]),
        waiting(&["custom.end", "--exec", "sh", "-c", "cat; echo $CLOUDSNOOZE_EVENT_TYPE; exit 7"]),
        waiting(&["custom.end", "--json", "--exec", "true"]),
    ];
    // They say on standard error that they wait, but the test has no part in that: it makes events until all have ended.
    let made = wait::until("the end of all", PATIENCE, || {
        simulate(&daemon, "custom.other.thing", &[]);
        simulate(&daemon, KEY, &["--in", "60s", "--severity", "urgent"]);
        all.iter().all(std::thread::JoinHandle::is_finished).then_some(())
    });
    made.expect("they end");
    let [json, line, exec, quiet] = all.map(|thread| thread.join().expect("it ran"));
    let event: Value = serde_json::from_str(&json.stdout).expect("one event");
    assert_eq!((json.code, &event["type"], &event["severity"]), (Some(0), &json!(KEY), &json!("urgent")));
    assert_eq!((line.code, line.stdout.lines().count()), (Some(0), 1), "{line:?}");
    let (event, rest) = exec.stdout.split_once('\n').expect("two lines");
    assert_eq!(serde_json::from_str::<Value>(event).expect("the event")["type"], KEY);
    assert_eq!((exec.code, rest), (Some(7), "custom.end\n"));
    assert_eq!((quiet.code, quiet.stdout.as_str()), (Some(0), ""), "{quiet:?}");
    let wrong = daemon.snooze(&["wait", "Not A Type"]).expect("it runs");
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
