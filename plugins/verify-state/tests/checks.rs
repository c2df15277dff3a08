//! Checks of real files, processes, ports and commands: they are made again until they hold, and what does not is told.

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, TestInstance, spot_interrupt};
use harness::wait;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use verify_state::VerifyState;

const PLENTY: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(700);

fn plugin(checks: &Value) -> TestInstance<VerifyState> {
    TestInstance::new(&json!({ "checks": checks })).unwrap()
}

/// An interruption that is seen now.
fn event() -> Value {
    let mut event = spot_interrupt();
    event["time"] = json!(jiff::Timestamp::now().to_string());
    event
}

#[test]
fn it_looks_again_until_everything_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (dump, pid_file) = (dir.path().join("dump"), dir.path().join("pid"));
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(&pid_file, child.id().to_string()).unwrap();
    fs::write(&dump, "of yesterday").unwrap();
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().write(true).open(&dump).unwrap().set_modified(yesterday).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let plugin = plugin(&json!([
        { "file": dump, "newer_than_event": true, "min_bytes": 4 }, { "process_gone": pid_file },
        { "port_closed": address }, { "command": ["grep", "-q", "today", dump] },
    ]));
    let (event, fresh) = (event(), dump.clone());
    let delivered = thread::scope(|scope| {
        scope.spawn(move || {
            // The port is asked in every round, so a second connection is a second round.
            for _ in 0..2 {
                listener.accept().unwrap();
            }
            fs::write(fresh, "of today").unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            drop(listener);
        });
        plugin.deliver(&event, PLENTY)
    });
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None), "{delivered:?}");
    let result = delivered.result.unwrap();
    let checks = result["evidence"]["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["holds"] == true), "{result:#}");
    assert!(result["rounds"].as_u64().unwrap() >= 2, "{result:#}");
    assert!(checks[0]["before"].as_str().unwrap().ends_with("older than the event"), "{result:#}");
    assert!(checks[0]["after"].as_str().unwrap().ends_with("newer than the event"), "{result:#}");
    assert_eq!((&checks[2]["before"], &checks[2]["after"]), (&json!("a connection was accepted"), &json!("refused")));
    assert_eq!(checks[3]["after"], "exit code 0");
    assert_eq!(plugin.verify(&event, PLENTY).status, abi::SNOOZE_OK);
    fs::remove_file(&dump).unwrap();
    let verified = plugin.verify(&event, PLENTY);
    assert!(verified.status < 0 && verified.error.as_ref().unwrap().contains("dump: not there"), "{verified:?}");
}

#[test]
fn what_does_not_hold_in_time_is_told_and_what_holds_is_not() {
    let plugin = plugin(&json!([
        { "file": "/nonexistent/dump" }, { "file": "/proc/self/status", "min_bytes": 0 }, { "command": ["false"] },
        { "command": ["sh", "-c", "echo why >&2; exit 3"], "expect_exit": 4 }, { "command": ["/nonexistent/program"] },
    ]));
    let begun = Instant::now();
    let delivered = plugin.deliver(&event(), SHORT);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_E_STATE, "{delivered:?}");
    let error = delivered.error.unwrap();
    for words in [
        "file /nonexistent/dump: not there, expected at least 1 bytes",
        "command false: exit code 1, expected exit code 0",
        "command sh: exit code 3: why, expected exit code 4",
        "command /nonexistent/program: exit code 127",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(!error.contains("/proc/self/status"), "{error}");
    let result = delivered.result.unwrap();
    assert_eq!((&result["holds"], &result["evidence"]["checks"][1]["holds"]), (&json!(false), &json!(true)));
}

#[test]
fn a_cancelled_call_ends_at_once_and_its_command_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid_file.display());
    let plugin = plugin(&json!([{ "command": ["sh", "-c", script] }]));
    let (event, canceller) = (event(), Canceller::default());
    let begun = Instant::now();
    let delivered = thread::scope(|scope| {
        scope.spawn(|| {
            let read = || fs::read_to_string(&pid_file).ok().filter(|text| text.ends_with('\n'));
            wait::until("the command", PLENTY, read).unwrap();
            canceller.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
        });
        plugin.deliver_cancellable(&event, 10 * PLENTY, &canceller)
    });
    assert!(begun.elapsed() < 5 * PLENTY, "{:?}", begun.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(cloudsnooze_plugin::process::has_ended(pid));
}
