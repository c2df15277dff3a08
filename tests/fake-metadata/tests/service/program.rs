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
    for wanted in ["Examples:", "--notice-in", "/_control/notice", "\"steps\""] {
        assert!(help.contains(wanted), "{wanted} is not in:\n{help}");
    }
}
