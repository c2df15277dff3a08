//! File systems on loop devices, programs that write to them, and what was delivered.
//!
//! Responsibilities: disks, a writer in a process of its own, events, answers. Inputs: configurations. Outputs: results. Must
//! never write to a disk from the test's own process while it may be frozen: nobody could end that.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use fs_freeze::FsFreeze;
use harness::disk::Disk;
use harness::wait;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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

pub fn told(test: &str, disk: Result<Disk, String>) -> Option<Disk> {
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

/// A process that writes number after number to a disk, and notes each elsewhere when it is written.
pub struct Writer {
    child: Child,
    acknowledged: PathBuf,
}

const WRITES: &str = "n=0; while :; do n=$((n + 1)); echo $n >> \"$0/numbers\"; echo $n > \"$1\"; sleep 0.002; done";

impl Writer {
    pub fn start(disk: &Disk) -> Self {
        let acknowledged = disk.beside().join("acknowledged");
        let mut command = Command::new("sh");
        command.args(["-c", WRITES]).arg(disk.path()).arg(&acknowledged);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let writer = Self { child, acknowledged };
        writer.goes_on();
        writer
    }

    /// The last number that was written.
    pub fn last(&self) -> u64 {
        fs::read_to_string(&self.acknowledged).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Waits until it has written more.
    pub fn goes_on(&self) {
        let before = self.last();
        wait::until("the writer", PATIENCE, || (self.last() > before).then_some(())).unwrap();
    }

    /// Waits until it is held up because its disk is frozen, rather than for a moment by the disk itself.
    pub fn stalls(&self) {
        let place = format!("/proc/{}/wchan", self.child.id());
        let is_held = || fs::read_to_string(&place).is_ok_and(|place| place.contains("percpu_rwsem_wait"));
        wait::until("the writer to be held up", PATIENCE, || is_held().then_some(())).unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        // It cannot end before its disk is thawed; the disk's guard sees to that.
        let _ended = self.child.wait();
    }
}

/// What one of the tools says of a disk's copy, and its exit code.
pub fn said(tool: &str, args: &[&str], copy: &Path) -> (i32, String) {
    let found = harness::program::find(tool).unwrap_or_else(|| panic!("there is no {tool}"));
    let output = harness::program::run(Command::new(found).args(args).arg(copy), PATIENCE).unwrap();
    (output.code.unwrap(), format!("{}{}", output.stdout, output.stderr))
}
