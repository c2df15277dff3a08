//! External plugins as real processes: small shell and Python programs written for each test.
//! Inputs: scripts. Outputs: what the host made of them. Each wait is for a condition, with a bound.

use super::conversation::{Cause, Conversation};
use super::lines::{Line, Lines};
use super::*;
use crate::event::{Action, Event, EventId, EventType, Machine, NoticeKind, Severity};
use proptest::prelude::*;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Reads requests and answers `initialize` and `shutdown`; the text goes where `handle_event` is handled.
const SHELL: &str = r##"#!/bin/sh
reply() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
handle() {
:
BODY
}
while read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
    *'"method":"initialize"'*) reply '{"protocol":1,"subscriptions":["cloud.spot.*"],"verify":true}' ;;
    *'"method":"handle_event"'*) handle ;;
    *'"method":"verify"'*) reply '{"verified":false,"error":"gone","evidence":{"rows":0}}' ;;
    *'"method":"shutdown"'*) reply null; exit 0 ;;
  esac
done
"##;

/// A plugin in a directory of its own, with the log it writes to.
struct Place {
    dir: tempfile::TempDir,
    log: Arc<LogRing>,
}

impl Place {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("plugin");
        fs::write(&file, script).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("mode");
        Self { dir, log: Arc::new(LogRing::new(abi::SNOOZE_LOG_DEBUG)) }
    }

    fn shell(body: &str) -> Self {
        Self::new(&SHELL.replace("BODY", body))
    }

    fn manifest(&self, more: &Value) -> Manifest {
        let mut manifest = json!({ "name": "app", "version": "1", "command": ["/bin/sh", "plugin"] });
        manifest.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        let path = self.dir.path().join("app.plugin.json");
        Manifest::parse(&path, manifest.to_string().as_bytes()).expect("manifest")
    }

    fn try_start(&self, more: &Value) -> Result<External, Refusal> {
        let config = json!({ "key": "value" });
        External::start(self.manifest(more), "spot/app", &config, self.dir.path(), Arc::clone(&self.log))
    }

    fn start(&self) -> External {
        self.try_start(&json!({})).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(name)).ok()
    }

    fn logged(&self) -> Vec<(u32, String)> {
        std::iter::from_fn(|| self.log.pop()).map(|line| (line.level, line.text().to_owned())).collect()
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until_ns = clock::boot_ns() + 20_000_000_000;
    while !holds() {
        assert!(clock::boot_ns() < until_ns, "waited 20 s in vain: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

fn delivery() -> Arc<Delivery> {
    let now = clock::now();
    let event = Event {
        id: EventId::at(now.wall_ns),
        event_type: EventType::SPOT_INTERRUPT,
        source: "test".into(),
        severity: Severity::Urgent,
        detected: now,
        effective: Some(now.plus_ns(120_000_000_000)),
        simulated: true,
        drill: false,
        provider: "aws".into(),
        action: Action::Terminate,
        notice_kind: NoticeKind::Deadline,
        machine: Arc::new(Machine::default()),
        resources: Vec::new(),
        cancels: None,
        raw: None,
        extra: Map::new(),
    };
    Delivery::new(Arc::new(event), 1, now)
}

fn call(ms: i64) -> Arc<CallCell> {
    CallCell::new(7, 1, [0; 16], clock::boot_ns() + ms * 1_000_000, 0)
}

fn handle(external: &External) -> Answer {
    external.handle(&delivery(), &call(20_000))
}

/// Whether a process is there and not a zombie that only its own parent can take away.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Tends an instance as the daemon does, for as long as `work` runs.
fn tended<T>(external: &External, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                external.tend();
                thread::park_timeout(Duration::from_millis(20));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn an_event_goes_in_and_the_result_comes_out() {
    let place = Place::shell(r#"echo "$line" >"$HOME/request"; reply '{"handled":true,"status":"saved","rows":3}'"#);
    let external = place.start();
    let (event, call) = (delivery(), call(20_000));
    let answer = external.handle(&event, &call);
    assert_eq!((answer.status, answer.error), (Status::Handled, None));
    assert_eq!(answer.result, json!({ "status": "saved", "rows": 3 }).as_object().cloned());
    assert_eq!(external.subscriptions(), ["cloud.spot.*"]);
    assert!(external.is_running() && external.pid().is_some() && external.restarts() == 0);
    let request: Value = serde_json::from_str(&place.file("request").expect("written")).expect("JSON");
    let params = &request["params"];
    assert_eq!(params["event"], *event.value());
    assert_eq!((&params["call"]["id"], &params["call"]["attempt"]), (&json!("7"), &json!(1)));
    assert_eq!(params["call"]["idempotency_key"], json!(format!("{}/spot/app", event.id())));
    let left_ms = params["call"]["time_left_ms"].as_i64().expect("number");
    assert!((1..=20_000).contains(&left_ms), "{left_ms}");
}

#[test]
fn declined_failed_and_retry_are_told_apart() {
    for (result, status, error) in [
        (r#"{"handled":false}"#, Status::Declined, None),
        (r#"{"handled":false,"error":"disk full"}"#, Status::Failed, Some("disk full")),
        (r#"{"handled":false,"retry":true,"error":"busy"}"#, Status::Retry, Some("busy")),
        (
            "{}",
            Status::Failed,
            Some("returned an object without 'handled', expected a JSON object with a boolean 'handled'"),
        ),
    ] {
        let place = Place::shell(&format!("reply '{result}'"));
        let answer = handle(&place.start());
        assert_eq!((answer.status, answer.error.as_deref()), (status, error));
    }
}

#[test]
fn an_exception_fails_the_call_and_its_traceback_is_logged() {
    let place = Place::shell(
        r#"printf '{"id":%s,"error":{"code":-32000,"message":"ValueError: no","data":{"traceback":"File x\\nValueError: no"}}}\n' "$id""#,
    );
    let external = place.start();
    let answer = handle(&external);
    assert_eq!((answer.status, answer.error.as_deref()), (Status::Failed, Some("ValueError: no")));
    assert!(place.logged().contains(&(abi::SNOOZE_LOG_INFO, "File x".into())));
    assert!(external.is_running());
}

#[test]
fn lines_may_come_in_pieces_or_together_and_strangers_answers_are_dropped() {
    let place = Place::shell(
        r#"printf '{"id":99,"result":{"handled":false}}\n{"id":%s,' "$id"; /bin/sleep 0.05; printf '"result":{"handled":true}}\n'"#,
    );
    let external = place.start();
    assert_eq!(handle(&external).status, Status::Handled);
    assert_eq!(handle(&external).status, Status::Handled);
    assert!(place.logged().iter().any(|(level, text)| *level == abi::SNOOZE_LOG_DEBUG && text.contains("dropped")));
}

#[test]
fn a_line_that_is_not_json_fails_the_call_and_the_next_process_is_well() {
    let place = Place::shell(
        r#"if [ -e "$HOME/again" ]; then reply '{"handled":true}'; else : >"$HOME/again"; echo hello; fi"#,
    );
    let external = place.start();
    let first = external.pid();
    let answer = handle(&external);
    assert_eq!(answer.status, Status::Failed);
    assert_eq!(answer.error.as_deref(), Some("wrote a line that is not a JSON object: hello"));
    tended(&external, || assert_eq!(handle(&external).status, Status::Handled));
    assert_eq!(external.restarts(), 1);
    assert!(external.pid().is_some() && external.pid() != first);
}

#[test]
fn a_line_beyond_the_limit_kills_the_process() {
    let place = Place::shell("head -c 1100000 /dev/zero | tr '\\0' 'a'; /bin/sleep 60");
    let external = place.start();
    let answer = handle(&external);
    assert_eq!(answer.status, Status::Failed);
    assert_eq!(answer.error.as_deref(), Some("wrote a line longer than 1048576 bytes"));
    wait_until("reaped", || external.pid().is_none());
}

#[test]
fn a_call_beyond_its_time_ends_with_its_process_and_that_ones_children() {
    let place = Place::shell(r#"/bin/sleep 600 & echo $! >"$HOME/child"; wait"#);
    let external = place.start();
    let leader = external.pid().expect("running");
    external.conversation.wait_late_for(Duration::from_millis(100));
    let began_ns = clock::boot_ns();
    let answer = external.handle(&delivery(), &call(300));
    let took_ms = (clock::boot_ns() - began_ns) / 1_000_000;
    assert_eq!(answer.status, Status::Cancelled);
    assert!(answer.error.expect("text").contains("gave no answer in its time"));
    assert!((400..5_000).contains(&took_ms), "{took_ms} ms");
    let child: i32 = place.file("child").expect("written").trim().parse().expect("number");
    wait_until("both are gone", || !is_alive(leader) && !is_alive(child));
    wait_until("reaped", || !fs::exists(format!("/proc/{leader}")).expect("looked"));
}

#[test]
fn killing_returns_the_call_at_once() {
    let place = Place::shell("/bin/sleep 600");
    let external = place.start();
    let call = call(600_000);
    thread::scope(|scope| {
        let answer = scope.spawn(|| external.handle(&delivery(), &call));
        wait_until("a call is in progress", || external.conversation.awaited() == 1);
        external.kill();
        assert_eq!(answer.join().expect("returned").status, Status::Cancelled);
    });
    assert!(!external.is_running());
}

#[test]
fn a_crash_says_how_and_the_last_words() {
    let place = Place::shell("echo first >&2; echo 'out of luck' >&2; exit 3");
    let external = place.start();
    let answer = handle(&external);
    assert_eq!(answer.status, Status::Crashed);
    assert_eq!(answer.error.as_deref(), Some("exited with status 3; its last line on stderr: out of luck"));
    let logged = place.logged();
    assert!(logged.contains(&(abi::SNOOZE_LOG_INFO, "first".into())), "{logged:?}");
    let killed = Place::shell("kill -9 $$");
    assert_eq!(handle(&killed.start()).error.as_deref(), Some("killed by signal 9"));
}

#[test]
fn an_answer_written_just_before_the_end_counts() {
    let place = Place::shell(r#"printf '{"id":%s,"result":{"handled":true}}' "$id"; exit 1"#);
    assert_eq!(handle(&place.start()).status, Status::Handled);
}

#[test]
fn a_leader_that_dies_is_noticed_though_its_child_holds_the_pipes() {
    let place = Place::shell(r#"setsid /bin/sleep 600 & echo $! >"$HOME/child"; exit 4"#);
    let external = place.start();
    let answer = tended(&external, || handle(&external));
    let stranger = place.file("child").expect("written").trim().parse().expect("number");
    // It left the group on purpose, so only the test can end it.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(stranger), Signal::SIGKILL);
    assert_eq!((answer.status, answer.error.as_deref()), (Status::Crashed, Some("exited with status 4")));
}

#[test]
fn a_dead_process_answers_with_its_reason_when_the_calls_time_ends() {
    let place = Place::shell("exit 5");
    let external = place.start();
    assert_eq!(handle(&external).status, Status::Crashed);
    let answer = external.handle(&delivery(), &call(50));
    assert_eq!(answer.status, Status::Crashed);
    assert_eq!(answer.error.as_deref(), Some("no process takes the call: exited with status 5"));
}

#[test]
fn pauses_between_restarts_double() {
    let place = Place::new(
        r#"#!/bin/sh
[ -e "$HOME/broken" ] && exit 1
read -r line; printf '{"id":%s,"result":{"protocol":1}}\n' 1; read -r line; : >"$HOME/broken"; exit 1
"#,
    );
    let external = place.start();
    assert_eq!(handle(&external).status, Status::Crashed);
    tended(&external, || wait_until("four restarts", || external.restarts() >= 4));
    let logged = place.logged();
    let pauses: Vec<&str> = logged
        .iter()
        .filter_map(|(_, text)| text.strip_prefix("exited with status 1; started again in at most "))
        .collect();
    assert_eq!(pauses[..4], ["100ms", "200ms", "400ms", "800ms"], "{logged:?}");
}

#[test]
fn a_waiting_event_cuts_the_pause_short() {
    let place =
        Place::shell(r#"if [ -e "$HOME/again" ]; then reply '{"handled":true}'; else : >"$HOME/again"; exit 1; fi"#);
    let external = place.start();
    assert_eq!(handle(&external).status, Status::Crashed);
    external.conversation.pause_for(Duration::from_secs(600));
    external.tend();
    assert_eq!(external.restarts(), 0, "the pause holds while nothing waits");
    tended(&external, || assert_eq!(handle(&external).status, Status::Handled));
}

/// Signals this very program ignores, but for SIGPIPE, which Rust ignores itself and resets in its children.
fn ignored_before() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("there");
    u64::from_str_radix(line, 16).expect("a number") & !(1 << (nix::libc::SIGPIPE - 1))
}

#[test]
fn the_environment_signals_and_descriptors_of_the_process_are_its_own() {
    let place = Place::new(
        r#"#!/bin/sh
env >"$HOME/env"; pwd >"$HOME/pwd"
grep -E '^(SigBlk|SigIgn)' /proc/self/status >"$HOME/signals"
ls -l /proc/$$/fd >"$HOME/descriptors"
read -r line; printf '{"id":%s,"result":{"protocol":1}}\n' 1; read -r line
"#,
    );
    let _open = fs::File::create(place.dir.path().join("opened-by-the-host")).expect("created");
    let external = thread::scope(|scope| {
        let start = || {
            // As every thread of the daemon does.
            crate::sys::sched::block_all_signals();
            place.try_start(&json!({ "env": { "TOKEN": "t" }, "working_directory": "/tmp" })).expect("started")
        };
        scope.spawn(start).join().expect("thread")
    });
    external.stop();
    let env = place.file("env").expect("written");
    let names: std::collections::BTreeSet<&str> = env.lines().filter_map(|l| l.split('=').next()).collect();
    // The shell itself adds the last three.
    let allowed = ["HOME", "LANG", "PATH", "TOKEN", "PWD", "OLDPWD", "SHLVL", "_"];
    assert!(names.iter().all(|name| allowed.contains(name)) && names.contains("TOKEN"), "{env}");
    assert_eq!(place.file("pwd").expect("written"), "/tmp\n");
    for line in place.file("signals").expect("written").lines() {
        let mask = u64::from_str_radix(line.rsplit('\t').next().expect("a mask"), 16).expect("a number");
        // The C library's spawn leaves its two internal signals, 32 and 33, ignored; what was ignored before this
        // program began (a shell does that to its background jobs) stays so in every program it starts.
        assert_eq!(mask & !(0x1_8000_0000 | ignored_before()), 0, "{line}");
    }
    let descriptors = place.file("descriptors").expect("written");
    let ours = ["opened-by-the-host", "eventfd"];
    assert!(descriptors.contains("pipe:") && !ours.iter().any(|name| descriptors.contains(name)), "{descriptors}");
}

#[test]
fn verification_is_asked_with_the_earlier_result() {
    let place = Place::new(
        &SHELL
            .replace("BODY", "")
            .replace("reply '{\"verified\"", "echo \"$line\" >\"$HOME/asked\"; reply '{\"verified\""),
    );
    let external = place.start();
    let earlier = json!({ "rows": 3 }).as_object().cloned();
    let answer = external.verify(&delivery(), &call(20_000), earlier.as_ref()).expect("offered");
    assert_eq!((answer.status, answer.error.as_deref()), (Status::Failed, Some("gone")));
    assert_eq!(answer.result, json!({ "evidence": { "rows": 0 } }).as_object().cloned());
    let asked: Value = serde_json::from_str(&place.file("asked").expect("written")).expect("JSON");
    assert_eq!(asked["params"]["result"], json!({ "rows": 3 }));
    let without = Place::new(&SHELL.replace("BODY", "").replace(",\"verify\":true", ""));
    assert!(without.start().verify(&delivery(), &call(20_000), None).is_none());
}

#[test]
fn a_cancel_arrives_while_the_call_runs_and_progress_is_kept() {
    let place = Place::shell(
        r#"printf '{"method":"progress","params":{"call_id":"7","permille":500,"text":"half"}}\n'
        read -r line; echo "$line" >"$HOME/cancel"; printf '{"id":%s,"result":{"handled":false,"error":"stopped"}}\n' "$id""#,
    );
    let external = place.start();
    let call = call(20_000);
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(|| external.handle(&delivery(), &call));
        wait_until("progress", || call.progress().is_some());
        external.cancel(&call, abi::SNOOZE_CANCEL_SUPERSEDED);
        answer.join().expect("returned")
    });
    assert_eq!(call.progress(), Some((500, "half".into())));
    assert_eq!((answer.status, answer.error.as_deref()), (Status::Failed, Some("stopped")));
    let cancel: Value = serde_json::from_str(&place.file("cancel").expect("written")).expect("JSON");
    assert_eq!(cancel, json!({"jsonrpc":"2.0","method":"cancel","params":{"call_id":"7","reason":"superseded"}}));
}

#[test]
fn a_plugin_that_reads_nothing_blocks_neither_the_call_nor_the_cancel() {
    let place =
        Place::new("#!/bin/sh\nread -r line; echo '{\"id\":1,\"result\":{\"protocol\":1}}'; exec /bin/sleep 600\n");
    let external = place.start();
    let call = call(400);
    let full = "x".repeat(3000);
    let writer = external.conversation.writer().expect("running");
    for _ in 0..100 {
        writer.send_at_once(&full);
    }
    // To the last byte.
    for _ in 0..5000 {
        writer.send_at_once("x");
    }
    external.cancel(&call, abi::SNOOZE_CANCEL_DEADLINE);
    let answer = external.handle(&delivery(), &call);
    assert_eq!(answer.status, Status::Cancelled);
    assert!(clock::boot_ns() < call.deadline_boot_ns() + 5_000_000_000);
}

#[test]
fn a_closed_standard_input_does_not_cost_the_calls_whole_time() {
    let place = Place::new(
        "#!/bin/sh\nread -r line; exec </dev/null; echo '{\"id\":1,\"result\":{\"protocol\":1}}'; exec /bin/sleep 600\n",
    );
    let answer = handle(&place.start());
    assert_eq!(answer.status, Status::Crashed);
    assert_eq!(answer.error.as_deref(), Some("killed by signal 9 after it closed its standard input"));
}

#[test]
fn log_lines_keep_their_level() {
    let place = Place::shell(
        r#"for level in debug info warning error; do printf '{"method":"log","params":{"level":"%s","message":"m"}}\n' $level; done
        printf '{"method":"dance"}\n'; reply '{"handled":true}'"#,
    );
    assert_eq!(handle(&place.start()).status, Status::Handled);
    let levels: Vec<u32> = place.logged().into_iter().filter(|(_, text)| text == "m").map(|(level, _)| level).collect();
    assert_eq!(levels, [abi::SNOOZE_LOG_DEBUG, abi::SNOOZE_LOG_INFO, abi::SNOOZE_LOG_WARNING, abi::SNOOZE_LOG_ERROR]);
}

#[test]
fn a_start_is_refused_with_the_reason() {
    let refused =
        |script: &str| Place::new(script).try_start(&json!({ "startup_timeout_seconds": 0.3 })).err().expect("refused");
    let config =
        refused("read -r line; echo '{\"id\":1,\"error\":{\"code\":-32602,\"message\":\"url is missing\"}}'; sleep 60");
    assert_eq!(config, Refusal::Config(vec!["url is missing".into()]));
    let silent = refused("exec /bin/sleep 600");
    assert!(silent.to_string().contains("gave no answer to initialize in its time"), "{silent}");
    let dead = refused("echo 'no module named x' >&2; exit 1");
    assert_eq!(dead, Refusal::Process("exited with status 1; its last line on stderr: no module named x".into()));
    let chatty = refused("echo welcome; exec /bin/sleep 600");
    assert_eq!(chatty, Refusal::Process("wrote a line that is not a JSON object: welcome".into()));
    let place = Place::new("no interpreter");
    let not_run = place.try_start(&json!({ "command": ["./plugin"] })).err().expect("refused");
    assert!(not_run.to_string().contains("plugin: Exec format error"), "{not_run}");
}

#[test]
fn stopping_asks_first_then_insists() {
    let place = Place::new(&SHELL.replace("BODY", "").replace("reply null", "echo asked >\"$HOME/end\"; reply null"));
    let external = place.start();
    external.stop();
    assert_eq!((place.file("end").as_deref(), external.pid()), (Some("asked\n"), None));
    assert_eq!(handle(&external).status, Status::Cancelled);
    let deaf = Place::new(
        "#!/bin/sh\ntrap '' TERM\nread -r line; echo '{\"id\":1,\"result\":{\"protocol\":1}}'\nwhile :; do /bin/sleep 600; done\n",
    );
    let external = deaf.start();
    let pid = external.pid().expect("running");
    external.stop();
    assert!(!is_alive(pid) && external.pid().is_none());
    external.tend();
    assert_eq!((external.restarts(), external.is_running()), (0, false), "stopped is stopped");
}

#[test]
fn dropping_an_instance_leaves_no_process() {
    let external = Place::shell("").start();
    let pid = external.pid().expect("running");
    drop(external);
    wait_until("reaped", || !fs::exists(format!("/proc/{pid}")).expect("looked"));
}

#[test]
fn a_python_plugin_works_through_its_interpreter_on_the_path() {
    if !PathBuf::from("/usr/bin/python3").exists() {
        println!("NOT RUN: a plugin in Python, since /usr/bin/python3 is missing");
        return;
    }
    let place = Place::new(
        r#"
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    result = {"protocol": 1, "verify": False}
    if request["method"] == "handle_event":
        result = {"handled": True, "type": request["params"]["event"]["type"]}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"#,
    );
    let external = place.try_start(&json!({ "command": ["python3", "plugin"] })).expect("started");
    let answer = handle(&external);
    assert_eq!(answer.result, json!({ "type": "cloud.spot.interrupt" }).as_object().cloned());
    external.stop();
}

/// Counts are of the whole process, so this runs in one where no other test does.
#[test]
fn two_hundred_starts_and_stops_leave_nothing_behind() {
    const ALONE: &str = "CLOUDSNOOZE_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "host::external::tests::two_hundred_starts_and_stops_leave_nothing_behind";
        let program = std::env::current_exe().expect("path");
        let run = std::process::Command::new(program).args(["--exact", name]).env(ALONE, "1").output().expect("run");
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).expect("listed").count();
    let place = Place::shell("reply '{\"handled\":true}'");
    place.start().stop();
    let before = (count("fd"), count("task"));
    for round in 0..200 {
        let external = place.start();
        if round % 2 == 0 {
            assert_eq!(handle(&external).status, Status::Handled);
        }
        external.stop();
    }
    assert_eq!((count("fd"), count("task")), before);
    let none = nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
    assert_eq!(none, Err(nix::errno::Errno::ECHILD), "a zombie is left");
}

proptest! {
    #[test]
    fn no_output_of_a_plugin_makes_the_reader_panic(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'{'), Just(b'"')], 0..2000),
    ) {
        let conversation = Conversation::new(Arc::new(LogRing::new(abi::SNOOZE_LOG_DEBUG)), "fuzz");
        let mut lines = Lines::new(64);
        let _ = lines.push::<Cause>(&bytes, |line| match line {
            Line::Whole(line) => conversation.accept(line),
            Line::Cut(line) => {
                conversation.hear(line);
                Ok(())
            }
        });
    }
}
