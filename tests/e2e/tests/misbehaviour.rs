//! A plugin that misbehaves costs its own handler and nothing else: the handlers before and behind it run in their time and
//! order, the report says what it did, and the next event is handled.

use std::path::PathBuf;
use std::time::Duration;

use e2e::zoo::Zoo;
use harness::daemon::{Daemon, DaemonBuilder};
use harness::wait;
use serde_json::{Map, Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// How long a call may go on after it was cancelled.
const GRACE_MS: u32 = 700;

/// Much more than any step takes on a busy machine, much less than the 30 s that every handler may take.
const SOON_MS: f64 = 8_000.0;

/// A daemon with one event type for each case: a recorder before, a plugin that misbehaves, a recorder after.
struct Stage {
    daemon: Daemon,
    zoo: Zoo,
}

/// One misbehaving handler.
struct Case {
    name: &'static str,
    plugin: &'static str,
    /// Its configuration; `file` is added.
    config: Value,
    /// Further members of the handler.
    handler: Value,
}

fn case(name: &'static str, plugin: &'static str, config: Value) -> Case {
    Case { name, plugin, config, handler: json!({}) }
}

/// A case of misbehaves.c or misbehaves.py whose name is the mode, with hyphens for spaces.
fn mode(name: &'static str, plugin: &'static str) -> Case {
    case(name, plugin, json!({"mode": name.replace('-', " ")}))
}

/// A case with a short time for its handler.
fn hasty(case: Case) -> Case {
    Case { handler: json!({"timeout_seconds": 0.4}), ..case }
}

impl Case {
    fn event_type(&self) -> String {
        format!("custom.{}", self.name)
    }

    fn handlers(&self, zoo: &Zoo) -> Value {
        let records = json!({"mode": "", "file": self.file(zoo)});
        let recorder = |name: &str, priority: u32| json!({"name": name, "priority": priority, "config": records});
        let mut bad = self.handler.clone();
        bad["name"] = json!(self.plugin);
        bad["priority"] = json!(50);
        bad["config"] = self.config.clone();
        if self.config.get("mode").is_some() {
            bad["config"]["file"] = json!(self.file(zoo));
        }
        json!({"plugins": [recorder("before", 90), bad, recorder("after", 10)]})
    }

    /// Where the handlers of the case record the events that they handled.
    fn file(&self, zoo: &Zoo) -> PathBuf {
        zoo.join(&format!("{}.lines", self.name))
    }
}

impl Stage {
    fn open(what: &str, needed: &[&str], make: impl FnOnce(&Zoo), cases: &[Case]) -> Option<Self> {
        let zoo = Zoo::open(what, &[&["cc"], needed].concat())?;
        for name in ["before", "after"] {
            zoo.c("misbehaves.c", &format!("{name}.so"), &[&format!("-DNAME=\"{name}\"")]);
        }
        make(&zoo);
        let handlers: Map<String, Value> = cases.iter().map(|case| (case.event_type(), case.handlers(&zoo))).collect();
        let config = json!({"event_handlers": handlers, "dispatch": {"cancel_grace_ms": GRACE_MS}});
        let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
        Some(Self { daemon: builder.start().expect("the daemon started"), zoo })
    }

    /// An event for the case: whatever its handler does, those around it did their work in time and in order. Gives what
    /// the report says of the one between them.
    fn play(&self, case: &Case) -> Value {
        let told = self.daemon.snooze_json(&["simulate", &case.event_type(), "--in", "120s", "--json"]);
        let id = told.expect("an event")["event_id"].as_str().expect("its id").to_owned();
        let report = wait::until(&format!("the report of {}", case.name), LIMIT, || {
            let report = self.daemon.snooze_json(&["report", &id, "--json"]).ok()?;
            (report["state"] == "completed").then_some(report)
        });
        let report = report.expect("a completed event");
        let handlers = report["handlers"].as_array().expect("handlers");
        let names: Vec<&str> = handlers.iter().filter_map(|h| h["handler"].as_str()).collect();
        assert_eq!(names, ["before", case.plugin, "after"], "{report:#}");
        for recorder in [&handlers[0], &handlers[2]] {
            assert_eq!(recorder["status"], "handled", "{report:#}");
            assert_eq!(recorder["verified"], "yes", "{report:#}");
        }
        let (start, length) =
            (|n: usize| number(&handlers[n], "start_ms"), |n: usize| number(&handlers[n], "duration_ms"));
        assert!(start(0) < SOON_MS, "{report:#}");
        let bad_end = start(1) + length(1);
        assert!(start(1) >= start(0) + length(0) && start(2) >= bad_end && start(2) < bad_end + SOON_MS, "{report:#}");
        let at_most = number(&handlers[1], "budget_ms") + f64::from(GRACE_MS) + SOON_MS;
        assert!(length(1) < at_most, "{report:#}");
        // What the recorders wrote, in the order in which they wrote it.
        let lines = std::fs::read_to_string(case.file(&self.zoo)).expect("recorded");
        let wrote: Vec<&str> = lines.lines().filter_map(|line| line.strip_suffix(&format!(" {id}"))).collect();
        assert_eq!((wrote.first(), wrote.last()), (Some(&"before"), Some(&"after")), "{lines}");
        handlers[1].clone()
    }

    /// Two events: what becomes of the handler at the first, and that the second finds it well.
    fn once(&self, case: &Case, expected: &Expected) {
        expected.holds(&self.play(case));
        let next = self.play(case);
        assert_eq!((&next["status"], &next["error"]), (&json!("handled"), &json!(null)), "{}: {next:#}", case.name);
    }

    /// Two events: what becomes of the handler at the first, and what the report says when it is not called again.
    fn for_good(&self, case: &Case, expected: &Expected, then: &str) {
        expected.holds(&self.play(case));
        failed(then).holds(&self.play(case));
    }

    fn instance(&self, case: &Case) -> Value {
        let status = self.daemon.snooze_json(&["status", "--json"]).expect("a status");
        let name = format!("{}/{}", case.event_type(), case.plugin);
        let found = status["instances"].as_array().expect("instances").iter().find(|i| i["name"] == name.as_str());
        found.unwrap_or_else(|| panic!("{name} is not in {status:#}")).clone()
    }

    fn is_logged(&self, text: &str) {
        let found = wait::until(text, LIMIT, || self.daemon.log().contains(text).then_some(()));
        found.unwrap_or_else(|error| panic!("{error} in the log: {}", self.daemon.log()));
    }

    /// Whatever is stuck in a plugin, the daemon ends when it is asked to.
    fn ends_well(mut self) {
        let status = self.daemon.stop().expect("it stops");
        assert_eq!(status.code(), Some(0), "{}", self.daemon.log());
    }
}

fn number(handler: &Value, key: &str) -> f64 {
    handler[key].as_f64().unwrap_or_else(|| panic!("no {key} in {handler}"))
}

/// What the report has to say of a handler.
struct Expected {
    status: &'static str,
    /// Part of the error; empty: there is none.
    error: String,
    verified: &'static str,
    attempts: u32,
}

fn expected(status: &'static str, error: &str) -> Expected {
    Expected { status, error: error.to_owned(), verified: "not-asked", attempts: 1 }
}

fn failed(error: &str) -> Expected {
    expected("failed", error)
}

fn handled() -> Expected {
    Expected { verified: "yes", ..expected("handled", "") }
}

impl Expected {
    fn holds(&self, handler: &Value) {
        assert_eq!(handler["status"], self.status, "{handler:#}");
        match handler["error"].as_str() {
            None => assert_eq!(self.error, "", "{handler:#}"),
            Some(error) => assert!(!self.error.is_empty() && error.contains(&self.error), "{handler:#}"),
        }
        assert_eq!(handler["verified"], self.verified, "{handler:#}");
        assert_eq!(handler["attempts"], self.attempts, "{handler:#}");
    }
}

fn c_plugin(zoo: &Zoo) {
    zoo.c("misbehaves.c", "misbehaves.so", &[]);
}

const QUARANTINED: &str = "the instance is quarantined after an earlier call";

#[test]
fn a_handler_that_stops_when_told_is_timed_out_and_called_again() {
    let cases = [hasty(mode("obeys", "misbehaves")), hasty(mode("finishes-late", "misbehaves"))];
    let Some(stage) = Stage::open("handlers that run late", &[], c_plugin, &cases) else { return };
    let [obeys, finishes_late] = &cases;
    // Reason 2 is the deadline, and it is over.
    stage.once(obeys, &expected("timed-out", "stopped for reason 2, 0 ms left"));
    stage.once(finishes_late, &expected("handled", "ms after its time was over"));
    assert_eq!(stage.instance(obeys)["state"], "active");
    stage.ends_well();
}

#[test]
fn a_handler_that_does_not_stop_is_abandoned_and_its_instance_quarantined() {
    let cases = [hasty(mode("deaf", "misbehaves")), hasty(mode("hangs-in-on_cancel", "misbehaves"))];
    let Some(stage) = Stage::open("handlers that do not stop", &[], c_plugin, &cases) else { return };
    let abandoned = expected("abandoned", "did not stop within 700 ms of being cancelled");
    for case in &cases {
        stage.for_good(case, &abandoned, QUARANTINED);
        assert_eq!(stage.instance(case)["state"], "quarantined");
    }
    let status = stage.daemon.snooze_json(&["status", "--json"]).expect("a status");
    assert_eq!(status["dispatch"]["calls_abandoned"], 2, "{status:#}");
    let problems = status["problems"].to_string();
    assert!(problems.contains("custom.deaf/misbehaves is quarantined"), "{problems}");

    // The answer that comes too late changes nothing any more.
    for case in &cases {
        std::fs::write(case.file(&stage.zoo).with_extension("lines.release"), "").expect("released");
    }
    stage.is_logged("answered Handled after it had been given up");
    failed(QUARANTINED).holds(&stage.play(&cases[0]));
    // As the problem says: a reload makes a new instance. It finds the way free.
    assert_eq!(stage.daemon.reload().expect("a reload").code, Some(0));
    handled().holds(&stage.play(&cases[0]));
    assert!(!cases[0].file(&stage.zoo).with_extension("lines.destroyed").exists(), "its code might still have run");
    stage.ends_well();
}

/// A handler that promised not to block, is the first of its event, and hangs all the same: it hangs on the thread that has
/// the event, before anything else of it has begun.
#[test]
fn a_broken_promise_not_to_block_is_found_and_the_rest_still_run() {
    let cases = [Case { handler: json!({"timeout_seconds": 0.4, "verify": false}), ..mode("deaf", "promises") }];
    let make = |zoo: &Zoo| drop(zoo.c("misbehaves.c", "promises.so", &PROMISES));
    let Some(stage) = Stage::open("a broken promise not to block", &[], make, &cases) else { return };
    // Behind another it hangs on the worker that ended the tier before it.
    stage.for_good(&cases[0], &expected("abandoned", "did not stop within 700 ms of being cancelled"), QUARANTINED);

    let Some(zoo) = Zoo::open("a broken promise of the first handler", &["cc"]) else { return };
    make(&zoo);
    zoo.c("misbehaves.c", "after.so", &["-DNAME=\"after\""]);
    let file = zoo.join("first.lines");
    let handlers = json!([
        {"name": "promises", "priority": 90, "timeout_seconds": 0.4, "verify": false, "config": {"mode": "deaf", "file": file}},
        {"name": "after", "priority": 10, "config": {"mode": "", "file": file}},
    ]);
    let config =
        json!({"event_handlers": {"custom.first": {"plugins": handlers}}, "dispatch": {"cancel_grace_ms": GRACE_MS}});
    let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path());
    let stage = Stage { daemon: builder.start().expect("the daemon started"), zoo };
    let told = stage.daemon.snooze_json(&["simulate", "custom.first", "--in", "120s", "--json"]).expect("an event");
    let id = told["event_id"].as_str().expect("its id").to_owned();
    let report = wait::until("the report", LIMIT, || {
        let report = stage.daemon.snooze_json(&["report", &id, "--json"]).ok()?;
        (report["state"] == "completed").then_some(report)
    });
    let report = report.expect("a completed event");
    let ended = [0, 1].map(|n| (report["handlers"][n]["handler"].clone(), report["handlers"][n]["status"].clone()));
    assert_eq!(ended, [(json!("promises"), json!("abandoned")), (json!("after"), json!("handled"))], "{report:#}");
    assert!(number(&report["handlers"][1], "start_ms") < 400.0 + f64::from(GRACE_MS) + SOON_MS, "{report:#}");
    stage.is_logged("an inline handler does not come home");
    let status = stage.daemon.snooze_json(&["status", "--json"]).expect("a status");
    assert!(status["problems"].to_string().contains("hangs in it"), "{status:#}");
    stage.ends_well();
}

/// A C plugin that promises not to block.
const PROMISES: [&str; 2] = ["-DNAME=\"promises\"", "-DCAPS=SNOOZE_CAP_REALTIME"];

#[test]
fn handlers_that_keep_their_promise_not_to_block_run_like_others() {
    let cases = [Case { handler: json!({"verify": false}), ..mode("declines", "promises") }];
    let make = |zoo: &Zoo| drop(zoo.c("misbehaves.c", "promises.so", &PROMISES));
    let Some(stage) = Stage::open("handlers that keep their promise", &[], make, &cases) else { return };
    stage.once(&cases[0], &expected("declined", ""));
    stage.ends_well();
}

#[test]
fn a_plugin_that_hangs_in_on_cancel_keeps_no_other_from_being_told() {
    let cases = [hasty(mode("hangs-in-on_cancel", "misbehaves")), hasty(mode("obeys", "misbehaves-py"))];
    let make = |zoo: &Zoo| {
        c_plugin(zoo);
        zoo.python("zoo/misbehaves.py", "misbehaves-py", json!({}), &[]);
    };
    let Some(stage) = Stage::open("a plugin that hangs in on_cancel", &["python3"], make, &cases) else { return };
    stage.for_good(&cases[0], &expected("abandoned", "did not stop within 700 ms"), QUARANTINED);
    // It still hangs; the other one is told of its cancellation by a message.
    expected("timed-out", "stopped: deadline").holds(&stage.play(&cases[1]));
    stage.ends_well();
}

#[test]
fn a_handler_that_burns_cpu_loses_its_real_time_priority_and_is_finished() {
    let cases = [mode("burns", "misbehaves")];
    let Some(stage) = Stage::open("a handler that burns CPU", &[], c_plugin, &cases) else { return };
    handled().holds(&stage.play(&cases[0]));
    stage.is_logged("burned more CPU than its real-time budget");
    handled().holds(&stage.play(&cases[0]));
    stage.ends_well();
}

#[test]
fn answers_that_mean_nothing_are_failures_that_quote_them() {
    let names = ["status-12345", "error-text-of-bytes", "error-text-of-a-megabyte", "bad-results"];
    let negative = case("negative", "misbehaves", json!({"mode": "status -9999"}));
    let cases: Vec<Case> = names.map(|name| mode(name, "misbehaves")).into_iter().chain([negative]).collect();
    let Some(stage) = Stage::open("answers that mean nothing", &[], c_plugin, &cases) else { return };
    stage.once(&cases[0], &failed("answered 12345, which means nothing in this version"));
    stage.once(&cases[1], &failed("(an error text that is not UTF-8)"));
    stage.once(&cases[4], &failed("status -9999 (no text was reported)"));

    let long = stage.play(&cases[2]);
    assert_eq!((&long["status"], &long["error"]), (&json!("failed"), &json!("e".repeat(2000))));
    // The work was done all the same, and a result that can be kept is kept.
    let done = stage.play(&cases[3]);
    handled().holds(&done);
    assert_eq!(done["result"], json!({"large": -15, "text": -2, "list": -2, "bytes": -2, "empty": -2}));
    stage.ends_well();
}

#[test]
fn calls_that_go_on_elsewhere_end_once_or_when_their_time_is_over() {
    let cases = [
        hasty(mode("never-completes", "misbehaves")),
        mode("completes-twice", "misbehaves"),
        case("unclaimed", "unclaimed", json!({"mode": "never completes"})),
    ];
    let make = |zoo: &Zoo| {
        c_plugin(zoo);
        zoo.c("misbehaves.c", "unclaimed.so", &["-DNAME=\"unclaimed\"", "-DCAPS=0"]);
    };
    let Some(stage) = Stage::open("calls that go on elsewhere", &[], make, &cases) else { return };
    stage.once(&cases[0], &expected("timed-out", "was not completed in its time"));
    handled().holds(&stage.play(&cases[1]));
    // The second word comes when the call is long over.
    std::fs::write(cases[1].file(&stage.zoo).with_extension("lines.release"), "").expect("released");
    let said = cases[1].file(&stage.zoo).with_extension("lines.completions");
    let said = wait::until("the second completion", LIMIT, || {
        std::fs::read_to_string(&said).ok().filter(|t| t.ends_with('\n'))
    });
    assert_eq!(said.as_deref(), Ok("0 -8\n"), "the first word counts, the second is refused (SNOOZE_E_STATE)");
    handled().holds(&stage.play(&cases[1]));
    stage.once(&cases[2], &failed("answered ASYNC without claiming the capability"));
    stage.ends_well();
}

#[test]
fn handlers_that_fail_decline_retry_or_doubt_are_reported_as_they_say() {
    let again = |name, retries: u32| Case { handler: json!({"retries": retries}), ..mode(name, "misbehaves") };
    let cases = [
        again("fails", 1),
        mode("retries", "misbehaves"),
        Case { handler: json!({"timeout_seconds": 0.5}), ..mode("retries-in-vain", "misbehaves") },
        mode("declines", "misbehaves"),
        mode("verify-says-no", "misbehaves"),
        mode("verify-cannot-tell", "misbehaves"),
    ];
    let Some(stage) = Stage::open("handlers that fail", &[], c_plugin, &cases) else { return };
    stage.once(&cases[0], &Expected { attempts: 2, ..failed("the tape is torn") });
    stage.once(&cases[1], &Expected { attempts: 3, ..handled() });
    stage.once(&cases[2], &Expected { attempts: 2, ..failed("attempt 2 met a locked door") });
    stage.once(&cases[3], &expected("declined", ""));
    let refuted = stage.play(&cases[4]);
    Expected { verified: "no", ..expected("handled", "not verified: no row of it is there") }.holds(&refuted);
    assert_eq!(refuted["evidence"], json!({"rows": 0}));
    handled().holds(&stage.play(&cases[4]));
    stage.once(&cases[5], &Expected { verified: "unknown", ..expected("handled", "") });
    stage.ends_well();
}

/// The text of a panic, up to where it happened.
fn panicked(function: &str) -> String {
    format!("panicked: the bear in {function} woke up at ")
}

#[test]
fn a_panic_in_rust_poisons_the_instance_and_nothing_else() {
    let case_in = |function| case(function, "misbehaves-rs", json!({"panics_in": function}));
    let cases = [case_in("on_event"), case_in("verify"), case_in("warm_up"), hasty(case_in("on_cancel"))];
    let make = |zoo: &Zoo| drop(zoo.rust("misbehaves-rs"));
    let Some(stage) = Stage::open("panics in Rust", &[], make, &cases) else { return };
    let [on_event, verify, warm_up, on_cancel] = &cases;
    stage.for_good(on_event, &expected("panicked", &panicked("on_event")), QUARANTINED);
    let doubt = format!("not verified: {}", panicked("verify"));
    stage.for_good(verify, &Expected { verified: "no", ..expected("handled", &doubt) }, QUARANTINED);
    for case in [on_event, verify] {
        assert_eq!(stage.instance(case)["state"], "quarantined");
    }
    let poisoned = "the instance panicked earlier and is not called again";
    stage.for_good(warm_up, &failed(poisoned), poisoned);
    stage.is_logged(&format!("warm_up failed: {}", panicked("warm_up")));
    expected("handled", "ms after its time was over").holds(&stage.play(on_cancel));
    stage.is_logged(&format!("on_cancel failed: {}", panicked("on_cancel")));
    failed(poisoned).holds(&stage.play(on_cancel));
    stage.ends_well();
}

#[test]
fn an_exception_in_cpp_poisons_the_instance_and_nothing_else() {
    let case_in =
        |name, function: &str, what: &str| case(name, "misbehaves-cpp", json!({"throws_in": function, "what": what}));
    let cases = [
        case_in("on_event", "on_event", "an exception"),
        case_in("number", "on_event", "a number"),
        case_in("error", "on_event", "an error"),
        case_in("verify", "verify", "an exception"),
        case_in("warm_up", "warm_up", "a number"),
        hasty(case_in("on_cancel", "on_cancel", "an exception")),
    ];
    let make = |zoo: &Zoo| drop(zoo.cpp("misbehaves.cpp", "misbehaves-cpp.so", &[]));
    let Some(stage) = Stage::open("exceptions in C++", &["c++"], make, &cases) else { return };
    let nothing = "threw something that is no std::exception";
    stage.for_good(&cases[0], &expected("panicked", "a bear was met in on_event"), QUARANTINED);
    stage.for_good(&cases[1], &expected("panicked", nothing), QUARANTINED);
    // An Error is an answer like any other.
    stage.for_good(&cases[2], &failed("an ordinary failure in on_event"), "an ordinary failure in on_event");
    assert_eq!(stage.instance(&cases[2])["state"], "active");
    let doubt = Expected { verified: "no", ..expected("handled", "not verified: a bear was met in verify") };
    stage.for_good(&cases[3], &doubt, QUARANTINED);
    let poisoned = "the instance threw earlier and takes no more calls";
    stage.for_good(&cases[4], &failed(poisoned), poisoned);
    stage.is_logged(&format!("warm_up failed with code -13: {nothing}"));
    expected("handled", "ms after its time was over").holds(&stage.play(&cases[5]));
    stage.is_logged("on_cancel failed with code -13: a bear was met in on_cancel");
    failed(poisoned).holds(&stage.play(&cases[5]));
    stage.ends_well();
}

#[test]
fn a_plugin_that_fails_while_it_is_put_away_does_not_keep_the_daemon_from_ending() {
    let rust = |function| case(function, "misbehaves-rs", json!({"panics_in": function}));
    let cpp =
        |name, function: &str| case(name, "misbehaves-cpp", json!({"throws_in": function, "what": "an exception"}));
    let cases =
        [rust("deactivate"), rust("drop"), cpp("cpp.deactivate", "deactivate"), cpp("cpp.destructor", "destructor")];
    let make = |zoo: &Zoo| {
        zoo.rust("misbehaves-rs");
        zoo.cpp("misbehaves.cpp", "misbehaves-cpp.so", &[]);
    };
    let Some(mut stage) = Stage::open("plugins that fail at the end", &["c++"], make, &cases) else { return };
    for case in &cases {
        Expected { verified: "unknown", ..handled() }.holds(&stage.play(case));
    }
    assert_eq!(stage.daemon.stop().expect("it stops").code(), Some(0), "{}", stage.daemon.log());
    for text in [
        format!("deactivate failed: {}", panicked("deactivate")),
        format!("destroy failed: {}", panicked("drop")),
        "deactivate failed with code -13: a bear was met in deactivate".to_owned(),
        "the destructor failed with code -13: a bear was met in destructor".to_owned(),
    ] {
        stage.is_logged(&text);
    }
}

#[test]
fn an_external_plugin_that_breaks_the_conversation_is_started_anew() {
    let names = ["exits", "garbage", "endless-line", "no-object", "fails", "closes-its-output"];
    let cases = names.map(|name| mode(name, "misbehaves-py"));
    let make = |zoo: &Zoo| drop(zoo.python("zoo/misbehaves.py", "misbehaves-py", json!({}), &[]));
    let Some(stage) = Stage::open("external plugins that break off", &["python3"], make, &cases) else { return };
    let outcomes = [
        expected("crashed", "its last line on stderr: out of paper"),
        failed("wrote a line that is not a JSON object: Segmentation fault (just kidding)"),
        failed("wrote a line longer than 1048576 bytes"),
        failed("returned an array, expected a JSON object with a boolean 'handled'"),
        failed("the tape is torn"),
        expected("crashed", ""),
    ];
    for (case, outcome) in cases.iter().zip(&outcomes) {
        if case.name == "closes-its-output" {
            assert_eq!(stage.play(case)["status"], outcome.status);
        } else {
            outcome.holds(&stage.play(case));
        }
        Expected { verified: "unknown", ..handled() }.holds(&stage.play(case));
        assert_eq!(stage.instance(case)["state"], "active");
    }
    stage.ends_well();
}

#[test]
fn an_external_plugin_that_runs_late_is_waited_for_in_the_grace_and_then_killed_with_its_children() {
    let cases = ["obeys", "finishes-late", "hangs"].map(|name| hasty(mode(name, "misbehaves-py")));
    let make = |zoo: &Zoo| drop(zoo.python("zoo/misbehaves.py", "misbehaves-py", json!({}), &[]));
    let Some(stage) = Stage::open("external plugins that run late", &["python3"], make, &cases) else { return };
    let [obeys, finishes_late, hangs] = &cases;
    let well = Expected { verified: "unknown", ..handled() };
    expected("timed-out", "stopped: deadline").holds(&stage.play(obeys));
    let late = stage.play(finishes_late);
    expected("handled", "ms after its time was over").holds(&late);
    assert_eq!(late["result"], json!({"reason": "deadline"}));
    expected("abandoned", "did not stop within 700 ms of being cancelled").holds(&stage.play(hangs));
    let pids = std::fs::read_to_string(hangs.file(&stage.zoo).with_extension("lines.pids")).expect("it wrote its pids");
    for pid in pids.split_whitespace() {
        let is_gone = || {
            // A process that nobody collected yet is as good as gone.
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            status.map_or(true, |text| text.contains("State:\tZ")).then_some(())
        };
        wait::until(&format!("the end of process {pid}"), LIMIT, is_gone).expect("killed");
    }
    for case in &cases {
        well.holds(&stage.play(case));
        assert_eq!(stage.instance(case)["state"], "active", "a new process makes it whole again");
    }
    stage.ends_well();
}
