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
/// Sessions end within milliseconds unless they hang; more waiting brings nothing.
const FAREWELL: Duration = Duration::from_secs(2);

/// A step, or a part of one, that was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which step.
    pub step: &'static str,
    /// Why, with the right that is missing.
    pub reason: String,
}

/// What a CHECKPOINT did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// The most it could have to write, bytes.
    pub bytes: u64,
    /// How long that was expected to take, milliseconds.
    pub expected_ms: u64,
    /// How long it took, milliseconds; None when it was not begun or not finished.
    pub took_ms: Option<u64>,
    /// How much log the next start had to read before, bytes.
    pub redo_distance_before: Option<u64>,
    /// And after.
    pub redo_distance_after: Option<u64>,
    /// Whether the server was asked for it.
    pub was_begun: bool,
}

/// The work of one call.
pub struct Work<'a> {
    /// The connection.
    pub link: &'a mut Link,
    /// Where changed settings are recorded.
    pub changes: &'a mut Changes,
    /// When everything must be over.
    pub watch: Watch<'a>,
    /// Steps done so far.
    pub done: Vec<&'static str>,
    /// Steps not done so far.
    pub skipped: Vec<Skipped>,
    /// Whether a right was missing anywhere.
    pub denied: bool,
    /// Up to where the log is known to be on the disk.
    pub flushed: Option<u64>,
}

impl Work<'_> {
    /// The state that counts, as of now.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        Snapshot::take(self.link, &self.watch)
    }

    /// Asks clients that keep to it to write no more.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn read_only(&mut self) -> Result<(), Fault> {
        let done = self.set("read_only", "default_transaction_read_only", "on")?;
        self.finish("read_only", done);
        Ok(())
    }

    /// Makes commits wait for the disk from now on, where the server's own setting lets them not. A replica's consent is not
    /// asked for: it may be gone already.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn make_commits_wait(&mut self, now: &Snapshot) -> Result<(), Fault> {
        let step = "make_commits_wait";
        let mut done = None;
        if now.fsync.as_deref() == Some("off") {
            done = Some(self.set(step, "fsync", "on")?);
        }
        if now.synchronous_commit.as_deref() == Some("off") {
            done = Some(self.set(step, "synchronous_commit", "local")? && done != Some(false));
        }
        self.finish(step, done == Some(true));
        Ok(())
    }

    /// Ends the sessions of all other clients. Those of superusers stay when the account is none.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn terminate_sessions(&mut self) -> Result<(), Fault> {
        const OTHERS: &str = "SELECT pid::text AS pid, backend_start::text AS start FROM pg_stat_activity \
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let step = "terminate_sessions";
        let before = self.link.rows(OTHERS, &self.watch)?;
        let mut all = true;
        for pid in before.iter().filter_map(|row| row.get("pid")).filter(|pid| pid.parse::<i32>().is_ok()) {
            let outcome = self.link.rows(&format!("SELECT pg_terminate_backend({pid})"), &self.watch);
            all &= self.note(step, "pg_signal_backend TO", outcome.map(drop))?.is_some();
        }
        let watch = self.watch.at_most(FAREWELL.min(self.watch.left() / 4));
        let left = loop {
            let now = self.link.rows(OTHERS, &self.watch)?;
            let left = before.iter().filter(|old| now.contains(old)).count();
            if left == 0 || !watch.pause(POLL) {
                break left;
            }
        };
        if all && left > 0 {
            self.skip(step, format!("{left} of {} sessions had not ended in time", before.len()));
        }
        self.finish(step, left == 0);
        Ok(())
    }

    /// Brings the log to the disk: commits a message in it, which is no change to anything, and whose commit waits for the disk.
    /// All that was acknowledged before stands before it in the log.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn flush_wal(&mut self) -> Result<(), Fault> {
        let step = "flush_wal";
        let outcome =
            self.link.rows("SELECT pg_logical_emit_message(true, 'cloudsnooze', 'a notice came')", &self.watch);
        let done = self.note(step, "EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) TO", outcome)?;
        if done.is_some() && !self.done.contains(&step) {
            self.finish(step, true);
        }
        Ok(())
    }

    /// Writes everything out, if that can be done within `limit`.
    ///
    /// # Errors
    /// The lost connection, or the end of the time.
    pub fn checkpoint(&mut self, mb_per_second: u32, limit: Duration) -> Result<Checkpoint, Fault> {
        let step = "checkpoint";
        let before = self.snapshot()?;
        let bytes = before.bytes_to_write().unwrap_or(0);
        let expected = time_to_write(bytes, mb_per_second);
        let mut checkpoint = Checkpoint {
            bytes,
            expected_ms: millis(expected),
            took_ms: None,
            redo_distance_before: before.redo_distance_bytes,
            redo_distance_after: None,
            was_begun: false,
        };
        if expected > limit {
            self.skip(
                step,
                format!(
                    "up to {} MB at {mb_per_second} MB/s may take {:.1} s, and {:.1} s were left for it",
                    bytes / 1_000_000,
                    expected.as_secs_f64(),
                    limit.as_secs_f64()
                ),
            );
            return Ok(checkpoint);
        }
        let began = Instant::now();
        checkpoint.was_begun = true;
        let outcome = self.link.rows("CHECKPOINT", &self.watch.at_most(limit));
        if self.note(step, "pg_checkpoint TO", outcome)?.is_none() {
            return Ok(checkpoint);
        }
        checkpoint.took_ms = Some(millis(began.elapsed()));
        let after = self.snapshot()?;
        checkpoint.redo_distance_after = after.redo_distance_bytes;
        // Its redo pointer stands where the log ended when it began. A replica can only restart where its primary had one.
        let has_moved = match (before.in_recovery, after.redo_from) {
            (false, Some(from)) => before.wal_inserted.is_some_and(|end| from >= end),
            (true, Some(from)) => before.redo_from.is_some_and(|old| from > old),
            (_, None) => false,
        };
        if has_moved {
            self.finish(step, true);
        } else if before.in_recovery {
            self.skip(step, "the primary has made none since the replica's last one".to_owned());
        } else {
            self.skip(step, "the server did not move the place from where it would recover".to_owned());
        }
        Ok(checkpoint)
    }

    /// Takes values out of the server's file that are to end with this server; says what to do when that fails.
    pub fn take_out_of_file(&mut self, watch: &Watch<'_>) {
        if let Err(fault) = self.changes.take_out_of_file(self.link, watch) {
            let reason =
                format!("a setting may be left in postgresql.auto.conf, run ALTER SYSTEM RESET for it: {fault}");
            self.skip("take_out_of_file", reason);
        }
    }

    /// Sets a setting; false when the server refused, which is noted.
    fn set(&mut self, step: &'static str, setting: &str, value: &str) -> Result<bool, Fault> {
        let outcome = self.changes.set(self.link, setting, value, &self.watch);
        let needed = format!("ALTER SYSTEM ON PARAMETER {setting}, and GRANT EXECUTE ON FUNCTION pg_reload_conf(), TO");
        Ok(self.note(step, &needed, outcome)?.is_some())
    }

    /// What a statement brought; None when it was refused, or was not done in its part of the time, which is noted.
    ///
    /// # Errors
    /// The lost connection, or the end of all time.
    pub fn note<T>(&mut self, step: &'static str, right: &str, outcome: Result<T, Fault>) -> Result<Option<T>, Fault> {
        let reason = match outcome {
            Ok(value) => return Ok(Some(value)),
            Err(fault) if fault.is_denial() => {
                self.denied = true;
                format!("{fault}; it needs GRANT {right} this account")
            }
            Err(Fault::Late) if self.watch.over().is_none() && self.link.is_sound() => {
                "its part of the time was over; the server was asked to stop it".to_owned()
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

/// How long writing takes at this rate.
pub fn time_to_write(bytes: u64, mb_per_second: u32) -> Duration {
    Duration::from_secs_f64(bytes as f64 / (f64::from(mb_per_second.max(1)) * 1e6))
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::time_to_write;
    use std::time::Duration;

    #[test]
    fn the_time_of_a_checkpoint_is_its_bytes_by_the_rate() {
        assert_eq!(time_to_write(500_000_000, 50), Duration::from_secs(10));
        assert_eq!(time_to_write(0, 50), Duration::ZERO);
        assert!(time_to_write(u64::MAX, 0) > Duration::from_secs(1_000_000));
    }
}
