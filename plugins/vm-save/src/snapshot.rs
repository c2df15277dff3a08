//! Saves a machine inside of its own disks: a snapshot of qcow2, with its memory.
//!
//! Inputs: a monitor, a tag. Outputs: a snapshot that the image itself lists, or a failure. Once begun it cannot be broken
//! off: QEMU does nothing else until it is done. Must never take the tag from an earlier snapshot for another than to make
//! the new one.

use crate::clock::{Clock, SLICE};
use crate::image;
use crate::machine::{Kept, Watch};
use crate::monitor::Monitor;
use cloudsnooze_plugin::{Code, Error};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A disk of the machine that a snapshot can go into.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Disk {
    node: String,
    file: Option<PathBuf>,
    has_tag: bool,
    is_qcow2: bool,
}

/// The directory of the disk that takes the memory.
///
/// # Errors
/// QEMU does not answer.
pub(crate) fn place(monitor: &mut Monitor, clock: &Clock) -> Result<Option<PathBuf>, Error> {
    let disks = disks(monitor, "", clock)?;
    let first = disks.into_iter().find(|disk| disk.is_qcow2).and_then(|disk| disk.file);
    Ok(first.and_then(|file| file.parent().map(Path::to_owned)))
}

/// Saves it.
///
/// # Errors
/// It is not saved; the machine is left stopped.
pub(crate) fn save(monitor: &mut Monitor, tag: &str, watch: &Watch<'_>, clock: &Clock) -> Result<Kept, Error> {
    let begun = Instant::now();
    let before = disks(monitor, tag, clock)?;
    let Some(memory) = before.iter().find(|disk| disk.is_qcow2) else {
        return Err(Error::new("none of its disks is qcow2, so none can hold a snapshot").code(Code::State));
    };
    if watch.is_running {
        monitor.execute("stop", &Value::Null, clock)?;
    }
    let nodes: Vec<&str> = before.iter().map(|disk| disk.node.as_str()).collect();
    let tagged: Vec<&str> = before.iter().filter(|disk| disk.has_tag).map(|disk| disk.node.as_str()).collect();
    if !tagged.is_empty() {
        job(monitor, "snapshot-delete", &json!({ "tag": tag, "devices": tagged }), clock)?;
    }
    let wanted = json!({ "tag": tag, "vmstate": memory.node, "devices": nodes });
    job(monitor, "snapshot-save", &wanted, clock)?;
    let bytes = listed(monitor, &memory.node, tag, clock)?;
    let synced = memory.file.as_ref().and_then(|file| File::open(file).and_then(|file| file.sync_all()).ok());
    let took = begun.elapsed();
    watch.disks.learn(watch.load.device, bytes, took);
    Ok(Kept {
        how: "snapshot".to_owned(),
        path: memory.file.clone(),
        tag: Some(tag.to_owned()),
        bytes,
        seconds: took.as_secs_f64(),
        // QEMU flushes the image itself; whether that reached the disk is seen only where the image can be opened here.
        synced: synced.map(|()| true),
        end: Some("listed by QEMU".to_owned()),
        ..Kept::default()
    })
}

/// The disks that can be written to: all of them must be in a snapshot, or none of it can be gone back to.
fn disks(monitor: &mut Monitor, tag: &str, clock: &Clock) -> Result<Vec<Disk>, Error> {
    let all = monitor.execute("query-block", &Value::Null, clock)?;
    Ok(all.as_array().into_iter().flatten().filter_map(|device| disk(&device["inserted"], tag)).collect())
}

fn disk(inserted: &Value, tag: &str) -> Option<Disk> {
    let node = inserted["node-name"].as_str()?;
    if inserted["ro"] == true {
        return None;
    }
    let file = inserted["image"]["filename"].as_str().map(PathBuf::from).filter(|path| path.is_absolute());
    let has_tag = snapshots(inserted).any(|snapshot| snapshot["name"] == tag);
    Some(Disk { node: node.to_owned(), file, has_tag, is_qcow2: inserted["drv"] == "qcow2" })
}

fn snapshots(inserted: &Value) -> impl Iterator<Item = &Value> {
    inserted["image"]["snapshots"].as_array().into_iter().flatten()
}

/// Bytes of the machine's state in the snapshot, by QEMU's own list.
fn listed(monitor: &mut Monitor, node: &str, tag: &str, clock: &Clock) -> Result<u64, Error> {
    let all = monitor.execute("query-block", &Value::Null, clock)?;
    let mut devices = all.as_array().into_iter().flatten().map(|device| &device["inserted"]);
    let device = devices.find(|inserted| inserted["node-name"] == node);
    let found = device.and_then(|inserted| snapshots(inserted).find(|snapshot| snapshot["name"] == tag));
    let bytes = found.and_then(|snapshot| snapshot["vm-state-size"].as_u64()).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| {
        Error::new(format!("QEMU says it is done, and lists no snapshot '{tag}' with memory")).code(Code::State)
    })
}

/// Runs a job to its end. QEMU answers nothing while it works, so the next answer may take all the time there is.
fn job(monitor: &mut Monitor, command: &str, arguments: &Value, clock: &Clock) -> Result<(), Error> {
    let id = format!("cloudsnooze-{command}");
    let mut arguments = arguments.clone();
    arguments["job-id"] = json!(id);
    monitor.execute(command, &arguments, clock)?;
    loop {
        let jobs = monitor.execute_long("query-jobs", &Value::Null, clock).map_err(|error| error.context(command))?;
        let ours = jobs.as_array().into_iter().flatten().find(|job| job["id"] == json!(id));
        let Some(ours) = ours else {
            return Err(Error::new(format!("{command}: its job is gone")).code(Code::State));
        };
        if ours["status"] == "concluded" {
            let said = ours["error"].as_str().map(str::to_owned);
            monitor.execute("job-dismiss", &json!({ "id": id }), clock)?;
            return match said {
                Some(said) => Err(Error::new(format!("{command}: {said}")).code(Code::State)),
                None => Ok(()),
            };
        }
        clock.go_on(command)?;
        std::thread::sleep(SLICE.min(clock.left()));
    }
}

/// Whether the image holds the snapshot, by its own table.
///
/// # Errors
/// It does not, or cannot be read.
pub(crate) fn is_in_image(path: &Path, tag: &str) -> Result<u64, String> {
    let snapshots = image::snapshots(path)?;
    let found = snapshots.iter().find(|snapshot| snapshot.name == tag && snapshot.state_bytes > 0);
    found.map(|found| found.state_bytes).ok_or_else(|| format!("{} holds no snapshot '{tag}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_that_can_be_written_to_are_all_in_it_and_others_are_not() {
        let inserted = json!({
            "node-name": "#block1", "ro": false, "drv": "qcow2",
            "image": {"filename": "/vm/a.qcow2", "snapshots": [{"name": "snooze", "vm-state-size": 5}]},
        });
        let found = disk(&inserted, "snooze").unwrap();
        let expected = Disk {
            node: "#block1".to_owned(),
            file: Some(PathBuf::from("/vm/a.qcow2")),
            has_tag: true,
            is_qcow2: true,
        };
        assert_eq!(found, expected);
        assert!(!disk(&inserted, "other").unwrap().has_tag);
        assert_eq!(disk(&json!({"node-name": "cd", "ro": true, "drv": "raw"}), "x"), None);
        assert_eq!(disk(&Value::Null, "x"), None, "an empty drive");
        let network =
            disk(&json!({"node-name": "n", "ro": false, "drv": "raw", "image": {"filename": "rbd:a/b"}}), "x");
        assert_eq!(network.map(|disk| (disk.file, disk.is_qcow2)), Some((None, false)));
    }
}
