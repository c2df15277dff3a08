//! The steps that make a server durable, each bounded by the time of the call.
//!
//! Inputs: a [`Link`], what to do, when to be done. Outputs: the names of the steps done, and for every
//! one not done why. Must never stop at a step the account may not do: the next one may be the one that
//! saves the data.

use crate::changes::{Changes, Restored, read};
use crate::link::{Fault, Link};
use crate::server::{Flavor, Snapshot};
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

/// How often the server is asked how far it is.
const POLL: Duration = Duration::from_millis(50);
/// Writers that were not stopped make new dirty pages as fast as old ones are written: without a new
/// low for this long, more waiting brings nothing.
const STALLED: Duration = Duration::from_secs(3);
/// The page list of the largest pools is saved in about a second; more is not worth the time of others.
const DUMP: Duration = Duration::from_secs(3);
/// `ER_LOCK_WAIT_TIMEOUT`.
const LOCK_WAIT: u16 = 1205;

/// A step, or a part of one, that was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which step.
    pub step: &'static str,
    /// Why, with the GRANT that is missing.
    pub reason: String,
}

/// Asked between steps and polls: may the work go on?
pub type Stopped<'a> = &'a dyn Fn() -> bool;

/// The work of one call.
pub struct Work<'a> {
    /// The connection.
    pub link: &'a mut Link,
    /// Which product it is.
    pub product: Flavor,
    /// Where changed settings are recorded.
    pub changes: &'a mut Changes,
    /// When everything must be over.
    pub ends: Instant,
    /// Whether the call was cancelled.
    pub stopped: Stopped<'a>,
    /// Steps done so far.
    pub done: Vec<&'static str>,
    /// Steps not done so far.
    pub skipped: Vec<Skipped>,
    /// Whether a privilege was missing anywhere.
    pub denied: bool,
}

impl Work<'_> {
    /// Time left for all of it.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Whether to go on with another step.
    pub fn may_go_on(&self) -> bool {
        !(self.stopped)() && !self.left().is_zero()
    }

    /// Stops intake. Waits for sessions that hold table locks, but not for long (the session is set so when a call
    /// begins): new statements queue up behind it meanwhile.
    ///
    /// # Errors
    /// The lost connection.
    pub fn read_only(&mut self) -> Result<(), Fault> {
        let step = "read_only";
        let mut done = self.set(step, "read_only", "1")?;
        if self.product.has_super_read_only() {
            done &= self.set(step, "super_read_only", "1")?;
        }
        self.finish(step, done);
        Ok(())
    }

    /// Makes commits wait for the disk from now on, then brings what was committed before to the disk.
    /// The order matters: MariaDB's FLUSH ENGINE LOGS does nothing while the setting is 0.
    ///
    /// # Errors
    /// The lost connection.
    pub fn flush_logs(&mut self, has_binlog: bool) -> Result<(), Fault> {
        let step = "flush_logs";
        let mut done = self.set(step, "innodb_flush_log_at_trx_commit", "1")?;
        if has_binlog {
            done &= self.set(step, "sync_binlog", "1")?;
        }
        // LOCAL keeps the statement itself out of the binary log.
        done &= self.statement(step, "RELOAD", "FLUSH LOCAL ENGINE LOGS")?;
        if has_binlog {
            done &= self.statement(step, "RELOAD", "FLUSH LOCAL BINARY LOGS")?;
        }
        self.finish(step, done);
        Ok(())
    }

    /// Has the page cleaner write everything it can until `until`.
    ///
    /// # Errors
    /// The lost connection.
    pub fn flush_dirty_pages(&mut self, io_capacity: u32, until: Instant) -> Result<(), Fault> {
        let step = "flush_dirty_pages";
        // The maximum first: the server cuts the capacity down to it.
        for variable in ["innodb_io_capacity_max", "innodb_io_capacity"] {
            let now = read(self.link, variable)?;
            if now.parse::<f64>().is_ok_and(|now| now < f64::from(io_capacity)) {
                self.set(step, variable, &io_capacity.to_string())?;
            }
        }
        // The low-water mark first: it may not be above the other.
        let low = self.set(step, "innodb_max_dirty_pages_pct_lwm", "0")?;
        let all = self.set(step, "innodb_max_dirty_pages_pct", "0")?;
        if !low || !all {
            return Ok(());
        }
        let first = self.dirty_pages()?;
        let (mut lowest, mut lowest_at) = (first, Instant::now());
        while lowest > 0 && Instant::now() < until && lowest_at.elapsed() < STALLED && self.may_go_on() {
            thread::sleep(POLL);
            let now = self.dirty_pages()?;
            if now < lowest {
                (lowest, lowest_at) = (now, Instant::now());
            }
        }
        if lowest == 0 {
            self.finish(step, true);
        } else {
            self.skip(step, format!("the step's time was over: {lowest} of {first} dirty pages are left"));
        }
        Ok(())
    }

    /// Saves the list of the pool's pages.
    ///
    /// # Errors
    /// The lost connection.
    pub fn dump_buffer_pool(&mut self) -> Result<(), Fault> {
        const STATUS: &str = "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_dump_status'";
        let step = "dump_buffer_pool";
        let until = Instant::now() + DUMP.min(self.left() / 4);
        let before = self.link.pairs(STATUS)?;
        let needed = self.product.privilege_to_set("innodb_buffer_pool_dump_now");
        if !self.statement(step, needed, "SET GLOBAL innodb_buffer_pool_dump_now=1")? {
            return Ok(());
        }
        loop {
            let now = self.link.pairs(STATUS)?;
            if now != before && now.values().any(|text| text.contains("completed")) {
                self.finish(step, true);
                return Ok(());
            }
            if Instant::now() >= until || !self.may_go_on() {
                self.skip(step, "the server did not say in time that it is done".to_owned());
                return Ok(());
            }
            thread::sleep(POLL);
        }
    }

    /// Puts back what was changed after `mark`.
    ///
    /// # Errors
    /// The lost connection.
    pub fn restore(&mut self, mark: usize) -> Result<Vec<Restored>, Fault> {
        let restored = self.changes.restore_since(self.link, mark)?;
        for setting in &restored {
            if let Some(reason) = &setting.left_alone {
                self.skip("restore", format!("{}: {reason}", setting.variable));
            }
        }
        Ok(restored)
    }

    /// The state that counts, as of now.
    ///
    /// # Errors
    /// The lost connection.
    pub fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        Snapshot::take(self.link, self.product)
    }

    /// Sets a variable; false when the server refused, which is noted.
    ///
    /// # Errors
    /// The lost connection.
    pub fn set(&mut self, step: &'static str, variable: &str, value: &str) -> Result<bool, Fault> {
        let outcome = self.changes.set(self.link, variable, value);
        let needed = self.product.privilege_to_set(variable);
        self.note(step, needed, &format!("SET GLOBAL {variable}={value}"), outcome)
    }

    /// Runs a statement; false when the server refused, which is noted.
    ///
    /// # Errors
    /// The lost connection.
    pub fn statement(&mut self, step: &'static str, privilege: &str, sql: &str) -> Result<bool, Fault> {
        let outcome = self.link.run(sql);
        self.note(step, privilege, sql, outcome)
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

    fn note(
        &mut self,
        step: &'static str,
        privilege: &str,
        sql: &str,
        outcome: Result<(), Fault>,
    ) -> Result<bool, Fault> {
        let reason = match outcome {
            Ok(()) => return Ok(true),
            Err(fault) if fault.is_denial() => {
                self.denied = true;
                format!("{sql} was denied; it needs GRANT {privilege} ON *.*")
            }
            Err(Fault::Refused { code: LOCK_WAIT, .. }) => {
                format!("{sql}: other sessions held their table locks for too long")
            }
            Err(Fault::Refused { code, message }) => format!("{sql}: {message} (error {code})"),
            Err(lost) => return Err(lost),
        };
        self.skip(step, reason);
        Ok(false)
    }

    fn dirty_pages(&mut self) -> Result<u64, Fault> {
        let status = self.link.pairs("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")?;
        let text = status.values().next().map_or("", String::as_str);
        text.parse().map_err(|_| Fault::Lost("the server does not count its dirty pages".to_owned()))
    }
}
