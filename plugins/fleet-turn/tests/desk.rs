//! What an instance says when the daemon is not there, answers, or is silent. A whole group: tests/fleet.
#![allow(missing_docs)]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::testing::TestInstance;
use fleet_turn::FleetTurn;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

fn event(event_type: &str) -> Value {
    json!({"id": "019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8", "type": event_type, "severity": "urgent",
        "data": {"action": "terminate", "timeRemaining": 120.0}})
}

/// Takes one request and answers it; None: is silent. Gives what was asked.
fn desk(socket: &Path, answer: Option<(&'static str, &'static str)>) -> Receiver<String> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let (told, asked) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it connects");
        let mut text = String::new();
        let mut part = [0; 4096];
        while !text.ends_with('}') {
            let count = stream.read(&mut part).expect("a request");
            text.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        let _ = told.send(text);
        match answer {
            Some((status, body)) => {
                let length = body.len();
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(reply.as_bytes()).expect("written");
            }
            None => drop(stream.read(&mut part)),
        }
    });
    asked
}

#[test]
fn without_a_daemon_the_work_begins_alone_and_the_evidence_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control.sock");
    let instance = TestInstance::<FleetTurn>::new(&json!({ "socket": socket })).expect("it is made all the same");
    let delivered = instance.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(10));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.expect("evidence").to_string();
    assert!(result.contains("alone") && result.contains("control.sock"), "{result}");
}

#[test]
fn a_turn_is_what_the_daemon_says_and_the_event_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control.sock");
    let asked = desk(&socket, Some(("200 OK", r#"{"turn":"go","operation":"o","step":1,"epoch":3}"#)));
    let instance = TestInstance::<FleetTurn>::new(&json!({ "socket": socket })).expect("made");
    let delivered = instance.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(10));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let request = asked.recv().expect("a request");
    assert!(request.starts_with("POST /v1/fleet/turn ") && request.contains("019a1b2c-3d4e"), "{request}");
    assert!(delivered.result.expect("evidence").to_string().contains(r#""epoch":3"#));
}

#[test]
fn a_daemon_that_is_silent_costs_no_more_than_the_time_of_the_call() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control.sock");
    let _asked = desk(&socket, None);
    let instance = TestInstance::<FleetTurn>::new(&json!({ "socket": socket })).expect("made");
    let begun = Instant::now();
    let delivered = instance.deliver(&event("cloud.spot.interrupt"), Duration::from_millis(600));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert!(delivered.result.expect("evidence").to_string().contains("alone"));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_end_of_the_work_that_cannot_be_told_is_a_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("control.sock");
    let asked = desk(&socket, Some(("404 Not Found", r#"{"error":"this machine belongs to no group"}"#)));
    let config = json!({ "socket": socket, "act": "answer" });
    let instance = TestInstance::<FleetTurn>::new(&config).expect("made");
    let delivered = instance.deliver(&event("cloud.spot.interrupt"), Duration::from_secs(10));
    assert_eq!(delivered.status, abi::SNOOZE_E_STATE, "{delivered:?}");
    assert!(asked.recv().expect("a request").starts_with("POST /v1/fleet/done "));
    assert!(delivered.error.expect("a text").contains("belongs to no group"));
    let undo = instance.deliver(&event("cloud.spot.interrupt.cancelled"), Duration::from_secs(10));
    assert_eq!(undo.status, abi::SNOOZE_SKIPPED, "{undo:?}");
}
