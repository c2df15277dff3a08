//! The program itself, run as people run it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::client::Connection;

/// A running program, stopped when dropped.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fake-metadata"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn address_in(url: &str) -> SocketAddr {
    url.rsplit("http://").next().and_then(|address| address.parse().ok()).expect(url)
}

#[test]
fn it_prints_where_it_serves_and_each_request() {
    let mut program = Running::start(&["--instance-id", "i-42", "--tokens", "optional", "--notice-in", "0s"]);
    let address = address_in(&program.line());
    assert_eq!(program.line(), "instance i-42 m5.large us-east-1a spot");
    assert_eq!(program.line(), "script steps 1, control requests on");
    assert_eq!(program.line(), "* notice terminate");
    let mut connection = Connection::open(address);
    connection.send("GET", "/latest/meta-data/instance-id", &[], "");
    assert_eq!(connection.receive(false).expect("a reply").text(), "i-42");
    let line = program.line();
    assert!(line.ends_with("Z GET /latest/meta-data/instance-id 200 token=none"), "{line}");
}

#[test]
fn it_speaks_json_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("drill.json");
    let text = r#"{"instance": {"id": "i-7"}, "steps": [{"at_seconds": 0, "fault": {"kind": "close"}}]}"#;
    std::fs::write(&script, text).expect("a script");
    let mut program = Running::start(&["--json", "--no-control", "--script", script.to_str().expect("UTF-8")]);
    let started: serde_json::Value = serde_json::from_str(&program.line()).expect("valid JSON");
    assert_eq!((&started["instance"], &started["control"]), (&"i-7".into(), &false.into()));
    assert_eq!(program.line(), r#"{"changed":"fault close"}"#);
    let mut connection = Connection::open(address_in(started["started"].as_str().expect("an address")));
    connection.send("GET", "/latest/meta-data/instance-id", &[], "");
    assert_eq!(connection.receive(false).expect("a reply").status, 401);
    let request: serde_json::Value = serde_json::from_str(&program.line()).expect("valid JSON");
    assert_eq!(request["request"]["status"], 401);
    assert_eq!(request["request"]["faults"][0], "close");
}

#[test]
fn a_wrong_script_ends_it_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("drill.json");
    std::fs::write(&script, r#"{"steps": [{"at_seconds": 0, "explode": {}}]}"#).expect("a script");
    let output = Command::new(env!("CARGO_BIN_EXE_fake-metadata"))
        .args(["--script", script.to_str().expect("UTF-8")])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.starts_with("fake-metadata: ") && said.contains("drill.json: steps[0]"), "{said}");
}

#[test]
fn a_port_in_use_ends_it_with_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_fake-metadata"))
        .args(["--listen", &address])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
}

#[test]
fn its_help_teaches() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fake-metadata"))
        .arg("--help")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut help = String::new();
    child.stdout.take().expect("its output").read_to_string(&mut help).expect("UTF-8");
    assert!(child.wait().expect("it ends").success());
    for wanted in [
        "Examples:",
        "--provider azure --scenario live-migration",
        "--list",
        "--notice-in",
        "/_control/notice",
        "\"steps\"",
    ] {
        assert!(help.contains(wanted), "{wanted} is not in:\n{help}");
    }
}

fn output_of(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fake-metadata")).args(arguments).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn it_lists_its_stories_a_line_each() {
    let (good, all, _) = output_of(&["--list"]);
    assert!(good);
    assert_eq!(all.lines().count(), fake_metadata::scenario::SCENARIOS.len());
    assert!(all.lines().any(|line| line.starts_with("azure    live-migration ")), "{all}");
    let (_, gcp, _) = output_of(&["--list", "--provider", "gcp", "--json"]);
    for line in gcp.lines() {
        let story: serde_json::Value = serde_json::from_str(line).expect("valid JSON");
        assert_eq!(story["provider"], "gcp");
        assert!(story["scenario"].is_string() && story["about"].is_string());
    }
}

#[test]
fn it_tells_a_story_of_another_cloud_as_fast_as_asked() {
    let mut program = Running::start(&["--provider", "azure", "--scenario", "live-migration", "--speed", "15000"]);
    let serving = program.line();
    assert!(serving.starts_with("serving azure at http://127.0.0.1:"), "{serving}");
    assert!(program.line().ends_with("Standard_D4s_v5 1 spot"));
    assert_eq!(program.line(), "script steps 3, control requests on");
    assert_eq!(program.line(), "* maintenance Freeze");
    assert!(program.line().starts_with("* start_maintenance "));
    assert!(program.line().starts_with("* complete_maintenance "));
}

#[test]
fn a_story_or_a_speed_that_does_not_exist_ends_it_with_those_that_do() {
    let (good, _, said) = output_of(&["--provider", "gcp", "--scenario", "earthquake"]);
    assert!(!good && said.contains("gcp has no scenario \"earthquake\"") && said.contains("gpu-termination"), "{said}");
    let (good, _, said) = output_of(&["--speed", "0"]);
    assert!(!good && said.contains("--speed: must be a number above 0"), "{said}");
    let (good, _, said) = output_of(&["--provider", "gcp", "--rebalance-in", "1s"]);
    assert!(!good && said.contains("--rebalance-in: rebalance means nothing to gcp"), "{said}");
}
