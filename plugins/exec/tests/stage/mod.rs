//! A directory in which commands run, and what is looked at afterwards.
//!
//! Responsibilities: instances with that directory, events, the processes a command named in files. Inputs: configurations.
//! Outputs: what was delivered. Must never touch a process that a test's command did not start.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use exec::Exec;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long something that is bound to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time granted where it does not matter.
pub const PLENTY: Duration = Duration::from_secs(30);
pub const NOTICE: &str = "cloud.spot.interrupt";
pub const WITHDRAWN: &str = "cloud.spot.interrupt.cancelled";

/// An instance whose commands run in this directory.
pub fn plugin(dir: &Path, config: Value) -> TestInstance<Exec> {
    let mut whole = json!({ "working_directory": dir });
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    TestInstance::new(&whole).unwrap()
}

pub fn event(kind: &str) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(kind);
    event
}

pub fn handled(delivered: Delivered) -> Value {
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None), "{delivered:?}");
    delivered.result.unwrap()
}

/// The text of a failure of this code.
pub fn failed(delivered: &Delivered, code: abi::snooze_status) -> String {
    assert_eq!(delivered.status, code, "{delivered:?}");
    delivered.error.clone().unwrap()
}

/// The reason of a call that was declined.
pub fn declined(delivered: &Delivered) -> String {
    assert_eq!(delivered.status, abi::SNOOZE_SKIPPED, "{delivered:?}");
    delivered.result.as_ref().unwrap()["declined"].as_str().unwrap().to_owned()
}

pub fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_default().trim().to_owned()
}

/// Whether the process whose number stands in this file is alive.
pub fn is_alive(dir: &Path, name: &str) -> bool {
    let pid: u32 = read(dir, name).parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Says loudly what did not run; fails where nothing may be missing.
pub fn missing(what: &str) {
    harness::require::missing_means_skip(what);
}
