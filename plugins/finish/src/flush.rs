//! Writes all file systems out.
//!
//! Inputs: the time there is. Outputs: how much was waiting to be written before and after. On a thread of its own, because
//! sync(2) cannot be interrupted and waits for ever for a disk that does not answer. Must never make the call wait longer than
//! its time; the thread is joined when the instance is deactivated.

use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin_dbus::{Fault, Limit};
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is looked whether it is done.
const LOOK: Duration = Duration::from_millis(5);

/// The thread, if there is one.
#[derive(Default)]
pub(crate) struct Flush {
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Flush {
    /// Writes everything out; gives the evidence, in which `complete` says whether it was done in time.
    ///
    /// # Errors
    /// The call was cancelled.
    pub(crate) fn run(&self, limit: &Limit<'_>) -> Result<Value, Fault> {
        let begun = Instant::now();
        let before = waiting_kib();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is still at it, of an event before, does what is wanted only in part: it began too early.
        let is_busy = thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if !is_busy {
            *thread = Builder::new().name("finish-sync".to_owned()).spawn(rustix::fs::sync).ok();
        }
        let is_complete = match &*thread {
            Some(thread) if !is_busy => is_over(thread, limit)?,
            _ => false,
        };
        Ok(json!({
            "before": { "dirty_kib": before }, "after": { "dirty_kib": waiting_kib() },
            "complete": is_complete, "seconds": (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        }))
    }

    /// Waits for the thread.
    pub(crate) fn join(&self) {
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It cannot panic.
            let _ended = thread.join();
        }
    }
}

/// Waits for the thread; false when the time is over first.
///
/// # Errors
/// The call was cancelled.
fn is_over(thread: &JoinHandle<()>, limit: &Limit<'_>) -> Result<bool, Fault> {
    while !thread.is_finished() {
        match limit.pause(LOOK) {
            Ok(()) => {}
            Err(Fault::Cancelled) => return Err(Fault::Cancelled),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// KiB that wait to be written, or are being written.
fn waiting_kib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    Some(of("Dirty:")? + of("Writeback:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_written_is_known_and_no_time_is_no_completion() {
        assert!(waiting_kib().is_some());
        let flush = Flush::default();
        let told = flush.run(&Limit::within(Duration::ZERO)).unwrap();
        assert!(told["before"]["dirty_kib"].is_u64() && told["complete"].is_boolean(), "{told}");
        flush.join();
        assert!(flush.thread.lock().unwrap().is_none());
    }
}
