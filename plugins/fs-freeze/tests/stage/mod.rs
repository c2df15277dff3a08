//! File systems on loop devices, programs that write to them, and what was delivered.
//!
//! Responsibilities: disks, a writer in a process of its own, events, answers. Inputs: configurations. Outputs: results. Must
//! never write to a disk from the test's own process while it may be frozen: nobody could end that.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use fs_freeze::FsFreeze;
use harness::disk::{Disk, Writer};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Time granted where it does not matter.
pub const PLENTY: Duration = Duration::from_secs(60);
/// How long something that is bound to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const NOTICE: &str = "cloud.spot.interrupt";
pub const WITHDRAWN: &str = "cloud.spot.interrupt.cancelled";

pub fn plugin(config: &Value) -> TestInstance<FsFreeze> {
    TestInstance::new(config).unwrap()
}

pub fn event(kind: &str) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(kind);
    event
}

pub fn disk(test: &str, file_system: &str) -> Option<Disk> {
    let mib = if file_system == "xfs" { 320 } else { 64 };
    told(test, Disk::new(file_system, mib, ""))
}

pub fn told<T>(test: &str, disk: Result<T, String>) -> Option<T> {
    let told = disk.map_err(|error| harness::require::missing_means_skip(&format!("{test}: {error}")));
    told.ok()
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

/// A program that writes to the disk.
pub fn writer(disk: &Disk) -> Writer {
    Writer::start(disk).unwrap()
}

/// What one of the tools says of a disk's copy, and its exit code.
pub fn said(tool: &str, args: &[&str], copy: &Path) -> (i32, String) {
    let found = harness::program::find(tool).unwrap_or_else(|| panic!("there is no {tool}"));
    let output = harness::program::run(Command::new(found).args(args).arg(copy), PATIENCE).unwrap();
    (output.code.unwrap(), format!("{}{}", output.stdout, output.stderr))
}
