//! Saves a machine to a file: QEMU's migration stream, written through a descriptor that this plugin has opened.
//!
//! Inputs: a monitor, the file's name. Outputs: a file that is whole, on the disk and has its name, or a failure with none
//! of that. The descriptor spares QEMU the right to write there, and a shell. Must never give a file its name that was not
//! proved to be whole, nor leave an earlier one of the same name lying beside a machine that has run on since.

use crate::clock::{Clock, Stop};
use crate::estimate::{Forecast, Sample};
use crate::image;
use crate::machine::{Kept, Watch};
use crate::monitor::Monitor;
use crate::queue::Load;
use cloudsnooze_plugin::{Code, Error};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The descriptor's name in QEMU.
const NAME: &str = "cloudsnooze-vm-save";
/// The first QEMU that wants a file's descriptor in a set, under the name of a file.
const WANTS_SET: (u64, u64) = (9, 1);
/// Bytes a second where none are configured and the disk is not known: more than any disk takes. QEMU's own default is
/// 128 MiB.
const UNLIMITED: u64 = 1 << 50;
/// How long a migration may take to stop.
const STOP: Duration = Duration::from_millis(1500);

/// Saves it.
///
/// # Errors
/// It is not saved; the machine is left stopped.
pub(crate) fn save(monitor: &mut Monitor, to: &Path, watch: &Watch<'_>, clock: &Clock) -> Result<Kept, Error> {
    let begun = Instant::now();
    retire(to)?;
    let part = beside(to, "part");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let file = file.map_err(|error| io(error, "open", &part))?;
    let result = written(monitor, &file, watch, clock).and_then(|()| named(&file, &part, to));
    if result.is_err() {
        // Emptied first: what the disk still waits for need not be written any more.
        let _emptied = file.set_len(0);
        let _removed = fs::remove_file(&part);
    }
    let (bytes, end) = result?;
    let took = begun.elapsed();
    watch.disks.learn(watch.load.device, bytes, took);
    // It has served: what was saved now is newer.
    let _removed = fs::remove_file(beside(to, "old"));
    Ok(Kept {
        how: "file".to_owned(),
        path: Some(to.to_owned()),
        bytes,
        seconds: took.as_secs_f64(),
        synced: Some(true),
        end: Some(end.to_owned()),
        ..Kept::default()
    })
}

/// Takes the name from a saved state that no longer fits, or is about not to: its machine runs on.
///
/// # Errors
/// The directory cannot be written to.
pub(crate) fn retire(to: &Path) -> Result<bool, Error> {
    match fs::rename(to, beside(to, "old")) {
        Ok(()) => {
            sync_directory(to)?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io(error, "set aside", to)),
    }
}

/// `vm1.state.part` for `vm1.state`.
pub(crate) fn beside(to: &Path, end: &str) -> PathBuf {
    let mut name = to.file_name().map(OsString::from).unwrap_or_default();
    name.push(".");
    name.push(end);
    to.with_file_name(name)
}

fn io(error: std::io::Error, doing: &str, path: &Path) -> Error {
    let code = if error.kind() == std::io::ErrorKind::PermissionDenied { Code::Denied } else { Code::Io };
    Error::from(error).code(code).context(format_args!("{doing} {}", path.display()))
}

fn sync_directory(of: &Path) -> Result<(), Error> {
    let directory = of.parent().unwrap_or(of);
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io(error, "fsync", directory))
}

/// Proves that the file is whole, and gives it its name.
fn named(file: &File, part: &Path, to: &Path) -> Result<(u64, &'static str), Error> {
    let bytes = file.metadata().map_err(|error| io(error, "look at", part))?.len();
    let end = image::state_file(part)
        .map_err(|text| Error::new(format!("QEMU says it is complete: {text}")).code(Code::Io))?;
    fs::rename(part, to).map_err(|error| io(error, "rename", part))?;
    sync_directory(to)?;
    Ok((bytes, end))
}

/// Has QEMU write into the file, and waits until it is on the disk.
fn written(monitor: &mut Monitor, file: &File, watch: &Watch<'_>, clock: &Clock) -> Result<(), Error> {
    abandon_earlier(monitor, clock)?;
    let (uri, set) = hand_over(monitor, file, clock)?;
    let parameters = monitor.execute("query-migrate-parameters", &Value::Null, clock)?;
    let limit = match watch.speed.from {
        // Some way ahead of the disk, so that it is never idle; far ahead, nobody would know for long how slow it is.
        "probe" | "save" => watch.speed.bytes_a_second.saturating_mul(2),
        _ => UNLIMITED,
    };
    let limit = watch.max_bandwidth.unwrap_or(u64::MAX).min(limit);
    monitor.execute("migrate-set-parameters", &json!({ "max-bandwidth": limit }), clock)?;
    let result = moved(monitor, &uri, file, watch, clock);
    let soon = Clock::apart(Duration::from_millis(100));
    // Later migrations of a machine that runs on want their own.
    if let Some(limit) = parameters["max-bandwidth"].as_u64() {
        let _set = monitor.execute("migrate-set-parameters", &json!({ "max-bandwidth": limit }), &soon);
    }
    // A set outlives its monitor, and would keep the file's room after the file is gone.
    if let Some(set) = set {
        let _removed = monitor.execute("remove-fd", &json!({ "fdset-id": set }), &soon);
    }
    result
}

/// A migration that an earlier attempt has begun, before a crash of the daemon say.
fn abandon_earlier(monitor: &mut Monitor, clock: &Clock) -> Result<(), Error> {
    let status = monitor.execute("query-migrate", &Value::Null, clock)?;
    if status["status"].as_str().is_some_and(is_under_way) {
        stop(monitor, clock)?;
    }
    Ok(())
}

fn is_under_way(status: &str) -> bool {
    !matches!(status, "none" | "completed" | "failed" | "cancelled")
}

/// Gives QEMU the descriptor; what it is called there, and the number of its set where it is in one.
fn hand_over(monitor: &mut Monitor, file: &File, clock: &Clock) -> Result<(String, Option<u64>), Error> {
    if monitor.version < WANTS_SET {
        monitor.execute_with("getfd", &json!({ "fdname": NAME }), file, clock)?;
        return Ok((format!("fd:{NAME}"), None));
    }
    let set = monitor.execute_with("add-fd", &json!({ "opaque": NAME }), file, clock)?;
    let id = set["fdset-id"].as_u64().ok_or_else(|| Error::new("add-fd gave no set"))?;
    Ok((format!("file:/dev/fdset/{id}"), Some(id)))
}

fn moved(monitor: &mut Monitor, uri: &str, file: &File, watch: &Watch<'_>, clock: &Clock) -> Result<(), Error> {
    if watch.is_running {
        monitor.execute("stop", &Value::Null, clock)?;
    }
    monitor.execute("migrate", &json!({ "uri": uri }), clock)?;
    let ours = file.try_clone().and_then(|file| watch.sealer.follow(file));
    let ours = ours.map_err(|error| Error::from(error).context("follow the file"))?;
    let begun = Instant::now();
    let mut forecast = Forecast::new(watch.load.bytes);
    loop {
        let state = match clock
            .go_on("QEMU to write it")
            .and_then(|()| monitor.execute("query-migrate", &Value::Null, clock))
        {
            Ok(state) => state,
            Err(error) => {
                // Also when time is over or nobody wants it any more.
                let _stopped = stop(monitor, &Clock::apart(Duration::from_millis(150)));
                return Err(error);
            }
        };
        match state["status"].as_str().unwrap_or_default() {
            "completed" => return ours.finish(clock),
            "failed" | "cancelled" => {
                let said = state["error-desc"].as_str().unwrap_or("somebody cancelled it");
                return Err(Error::new(format!("migrate: {said}")).code(Code::State));
            }
            _ => {}
        }
        let (synced, synced_at) = ours.synced();
        let now = Sample {
            at: begun.elapsed().as_secs_f64(),
            written: file.metadata().map_or(0, |metadata| metadata.len()),
            synced,
            synced_at: synced_at.as_secs_f64(),
            remaining: state["ram"]["remaining"].as_u64().unwrap_or(0),
            total: state["ram"]["total"].as_u64().unwrap_or(0),
        };
        if let Some(text) = hopeless(&mut forecast, now, watch, clock) {
            let stopped = stop(monitor, clock).err().map_or_else(String::new, |error| format!("; {error}"));
            return Err(Error::new(format!("{text}{stopped}")).code(Code::Deadline));
        }
        clock.pause();
    }
}

/// Why it is given up; None while there is hope.
fn hopeless(forecast: &mut Forecast, now: Sample, watch: &Watch<'_>, clock: &Clock) -> Option<String> {
    let load = Load { bytes: forecast.to_come(now) + now.written.saturating_sub(now.synced), ..watch.load };
    watch.queue.progress(watch.at, load);
    if watch.queue.must_yield(watch.at) {
        return Some("broken off: its disk is needed for a more important one".to_owned());
    }
    let needs = forecast.look(now, clock.left())?;
    if watch.queue.claim(watch.at, load) {
        forecast.forgive();
        return None;
    }
    let left = clock.left().as_secs_f64();
    Some(format!(
        "broken off: after {:.1} s {} bytes were written and {} on the disk; it would take {needs:.1} s more, and {left:.1} s are left",
        now.at, now.written, now.synced
    ))
}

/// Stops a migration. The machine stays as it is: stopped.
fn stop(monitor: &mut Monitor, clock: &Clock) -> Result<(), Error> {
    let clock = match clock.stopped() {
        Some(Stop::Time | Stop::Recalled) => Clock::apart(Duration::from_millis(150)),
        None => clock.within(STOP),
    };
    monitor.execute("migrate_cancel", &Value::Null, &clock)?;
    loop {
        let state = monitor.execute("query-migrate", &Value::Null, &clock)?;
        if !state["status"].as_str().is_some_and(is_under_way) {
            return Ok(());
        }
        clock.go_on("the migration to stop")?;
        clock.pause();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_set_aside_has_another_name_and_one_that_is_not_there_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("vm.state");
        assert_eq!(beside(&to, "part"), dir.path().join("vm.state.part"));
        assert_eq!(retire(&to), Ok(false));
        fs::write(&to, "x").unwrap();
        assert_eq!(retire(&to), Ok(true));
        assert!(!to.exists() && dir.path().join("vm.state.old").exists());
        assert!(retire(Path::new("/nonexistent/a")).is_ok_and(|is_there| !is_there));
    }
}
