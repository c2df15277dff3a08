//! How long something may take, and whether it is to stop.
//!
//! Inputs: an end, a flag that the host's cancellation sets. Outputs: pauses that end early, and the failure when time or
//! patience is over. Must never pause longer than a slice: a cancelled call has to be back within a quarter of a second.

use cloudsnooze_plugin::{Cancel, Code, Error};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often what is waited for is looked at.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

/// Why everything is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The machine goes away now.
    Time,
    /// Somebody no longer wants it.
    Recalled,
}

/// The flag that the host's cancellation sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flag(Arc<AtomicU32>);

impl Flag {
    pub(crate) fn set(&self, reason: Cancel) {
        self.0.store(if reason == Cancel::Deadline { 1 } else { 2 }, Ordering::Release);
    }

    pub(crate) fn get(&self) -> Option<Stop> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Stop::Time),
            _ => Some(Stop::Recalled),
        }
    }
}

/// The end of something's time. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    ends: Instant,
    flag: Flag,
}

impl Clock {
    pub(crate) fn new(left: Duration, flag: Flag) -> Self {
        Self { ends: Instant::now() + left, flag }
    }

    /// A little time of its own for what must be put in order also after a cancellation.
    pub(crate) fn apart(left: Duration) -> Self {
        Self::new(left, Flag::default())
    }

    /// The same, with an earlier end.
    pub(crate) fn within(&self, limit: Duration) -> Self {
        Self { ends: self.ends.min(Instant::now() + limit), flag: self.flag.clone() }
    }

    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.flag.get()
    }

    /// Whether there is time, and nobody has cancelled.
    ///
    /// # Errors
    /// Which it was, `waiting_for` in its words.
    pub(crate) fn go_on(&self, waiting_for: &str) -> Result<(), Error> {
        if self.stopped().is_some() {
            return Err(Error::new(format!("cancelled while waiting for {waiting_for}")).code(Code::Cancelled));
        }
        if self.left().is_zero() {
            return Err(Error::new(format!("time is up, still waiting for {waiting_for}")).code(Code::Deadline));
        }
        Ok(())
    }

    /// Waits a slice, or what is left.
    pub(crate) fn pause(&self) {
        thread::sleep(SLICE.min(self.left()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_and_the_reason_to_stop_are_told_apart() {
        let flag = Flag::default();
        let clock = Clock::new(Duration::from_secs(60), flag.clone());
        assert!(clock.go_on("nothing").is_ok());
        assert_eq!(clock.within(Duration::ZERO).go_on("it").unwrap_err().kind(), Code::Deadline);
        flag.set(Cancel::Deadline);
        assert_eq!(clock.stopped(), Some(Stop::Time));
        flag.set(Cancel::Withdrawn);
        assert_eq!(clock.within(Duration::from_secs(1)).stopped(), Some(Stop::Recalled));
        assert_eq!(clock.go_on("it").unwrap_err().kind(), Code::Cancelled);
        assert!(Clock::apart(Duration::from_secs(1)).go_on("it").is_ok());
    }
}
