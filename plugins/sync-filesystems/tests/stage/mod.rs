//! File systems on loop devices, and what was delivered.
//!
//! Responsibilities: disks whose data stay in memory until somebody syncs them, events, answers. Inputs: configurations.
//! Outputs: results. Must never pass silently where the machine lacks something.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use harness::disk::Disk;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use sync_filesystems::SyncFilesystems;

/// Time granted where it does not matter.
pub const PLENTY: Duration = Duration::from_secs(60);
pub const NOTICE: &str = "cloud.spot.interrupt";

pub fn plugin(config: &Value) -> TestInstance<SyncFilesystems> {
    TestInstance::new(config).unwrap()
}

pub fn event(kind: &str) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(kind);
    event
}

/// A file system that writes nothing out by itself for minutes.
pub fn disk(test: &str) -> Option<Disk> {
    told(test, Disk::new("ext4", 64, "commit=300"))
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

/// What the report says of a file system.
pub fn of<'a>(result: &'a Value, mount_point: &Path) -> &'a Value {
    let all = result["evidence"]["file_systems"].as_array().unwrap();
    all.iter().find(|one| one["mount_point"] == json!(mount_point)).unwrap_or_else(|| panic!("{result:#}"))
}
