//! The steps that make a server durable, each bounded by the time of the call.
//!
//! Inputs: a [`Link`], what to do, when to be done. Outputs: the names of the steps done, and for every one not done why.
//! Must never stop at a step the account may not do: the next one may be the one that saves the data.

use crate::changes::Changes;
use crate::link::{Fault, Link, Watch};
use crate::server::Snapshot;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How often the server is asked how far it is.
const POLL: Duration = Duration::from_millis(20);
/// After the end of the time, writers wait a little longer: the machine may go a little later than announced.
const PAUSE_BEYOND: Duration = Duration::from_secs(10);
/// No notice is longer than that.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// A step, or a part of one, that was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which step.
    pub step: &'static str,
    /// Why, with the right that is missing.
    pub reason: String,
}

/// What a save did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Save {
    /// How long it was expected to take, milliseconds.
    pub expected_ms: u64,
    /// How long it took, milliseconds; None when it was not begun or not finished.
    pub took_ms: Option<u64>,
    /// Whether the server was asked for it.
    pub was_begun: bool,
}

/// The work of one call.
pub struct Work<'a> {
    /// The connection.
    pub link: &'a mut Link,
    /// Where changes are recorded.
    pub changes: &'a mut Changes,
    /// When everything must be over.
    pub watch: Watch<'a>,
    /// Steps done so far.
    pub done: Vec<&'static str>,
    /// Steps not done so far.
    pub skipped: Vec<Skipped>,
    /// Whether a right was missing anywhere.
    pub denied: bool,
}

impl Work<'_> {
    /// The state that counts, as of now.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        Snapshot::take(self.link, &self.watch)
    }

    /// Makes writers wait until the cloud acts, and a little longer.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn pause_writes(&mut self, until_the_cloud_acts: Duration) -> Result<(), Fault> {
        let step = "pause_writes";
        let time = until_the_cloud_acts.max(self.watch.left()).saturating_add(PAUSE_BEYOND).min(PAUSE_MAX);
        let outcome = self.changes.pause_writes(self.link, millis(time), &self.watch);
        let done = self.note(step, "+client|pause", outcome)?;
        self.finish(step, done.is_some());
        Ok(())
    }

    /// Brings the append-only file to the disk: from now on each write waits for that, and one write more takes all before it
    /// along.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn sync_append_only_file(&mut self, fence_key: &str) -> Result<(), Fault> {
        let step = "sync_append_only_file";
        // The second lets the first be ignored while a child process writes.
        for (setting, value) in [("appendfsync", "always"), ("no-appendfsync-on-rewrite", "no")] {
            let outcome = self.changes.set(self.link, setting, value, &self.watch);
            if self.note(step, "+config|get +config|set", outcome)?.is_none() {
                return Ok(());
            }
        }
        let outcome = self.link.ask::<String>(&["SET", fence_key, "a notice came", "PX", "60000"], &self.watch);
        let done = self.note(step, &format!("+set ~{fence_key}"), outcome)?;
        self.finish(step, done.is_some());
        Ok(())
    }

    /// Saves the data set, if that can be done within `limit`.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn save(&mut self, mb_per_second: u32, limit: Duration) -> Result<Save, Fault> {
        let step = "save";
        let watch = self.watch.at_most(limit);
        let mut before = self.snapshot()?;
        let expected = before.time_to_save(mb_per_second);
        let mut save = Save { expected_ms: millis(expected), took_ms: None, was_begun: false };
        if expected > limit {
            let (needed, left) = (expected.as_secs_f64(), limit.as_secs_f64());
            self.skip(step, format!("it may take {needed:.1} s, and {left:.1} s were left for it"));
            return Ok(save);
        }
        // One that began earlier lacks what came since; a second one is refused meanwhile.
        while before.save_in_progress {
            if !watch.pause(POLL) {
                self.skip(step, "an earlier save was not over in time".to_owned());
                return Ok(save);
            }
            before = self.snapshot()?;
        }
        let began = Instant::now();
        let outcome = self.link.ask::<String>(&["BGSAVE", "SCHEDULE"], &self.watch);
        if self.note(step, "+bgsave", outcome)?.is_none() {
            return Ok(save);
        }
        save.was_begun = true;
        loop {
            let now = self.snapshot()?;
            if now.has_saved_since(&before) {
                save.took_ms = Some(millis(began.elapsed()));
                self.finish(step, true);
                return Ok(save);
            }
            if now.last_save_ok == Some(false) && !now.save_in_progress {
                self.skip(step, "the server could not save: its log says why (disk space, memory to fork)".to_owned());
                return Ok(save);
            }
            if !watch.pause(POLL) {
                self.watch.over().map_or(Ok(()), Err)?;
                self.skip(step, "it was not over in its part of the time".to_owned());
                return Ok(save);
            }
        }
    }

    /// Waits until so many replicas have everything up to `goal`; false when they have not.
    ///
    /// WAIT would not do: it speaks of what its own client wrote, and this one may have written nothing.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn wait_for_replicas(&mut self, count: u32, goal: u64, limit: Duration) -> Result<bool, Fault> {
        let step = "wait_for_replicas";
        let watch = self.watch.at_most(limit);
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        loop {
            let now = self.snapshot()?;
            let have = now.replicas_with(goal);
            if have >= wanted {
                self.finish(step, true);
                return Ok(true);
            }
            if !watch.pause(POLL) {
                let known = now.replicas.len();
                self.skip(step, format!("{have} of {wanted} replicas have everything; {known} are connected"));
                return Ok(false);
            }
        }
    }

    /// What a command brought; None when it was refused, which is noted.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn note<T>(&mut self, step: &'static str, right: &str, outcome: Result<T, Fault>) -> Result<Option<T>, Fault> {
        let reason = match outcome {
            Ok(value) => return Ok(Some(value)),
            Err(Fault::Denied(told)) => {
                self.denied = true;
                format!("{told}; the account's ACL needs {right}")
            }
            Err(fault) if fault.is_final() => return Err(fault),
            Err(refused) => refused.to_string(),
        };
        self.skip(step, reason);
        Ok(None)
    }

    /// Notes a step as not done.
    pub fn skip(&mut self, step: &'static str, reason: String) {
        self.skipped.push(Skipped { step, reason });
    }

    /// Notes a step as done, if it is.
    pub fn finish(&mut self, step: &'static str, done: bool) {
        if done {
            self.done.push(step);
        }
    }
}

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
