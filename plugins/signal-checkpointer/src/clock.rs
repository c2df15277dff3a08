//! How long a target may take, and whether it is to stop.
//!
//! Inputs: an end, a flag that the host's cancellation sets. Outputs: pauses that end early, and the failure when time or
//! patience is over. Must never pause longer than a slice: a cancelled call has to be back within a quarter of a second.

use cloudsnooze_plugin::{Code, Error};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often what is waited for is looked at.
pub(crate) const SLICE: Duration = Duration::from_millis(20);

/// The end of one target's time. Cheap to copy.
#[derive(Clone)]
pub(crate) struct Clock {
    ends: Instant,
    stop: Arc<AtomicBool>,
}

impl Clock {
    pub(crate) fn new(left: Duration, stop: Arc<AtomicBool>) -> Self {
        Self { ends: Instant::now() + left, stop }
    }

    /// The same, with an earlier end.
    pub(crate) fn within(&self, limit: Option<Duration>) -> Self {
        let ends = limit.map_or(self.ends, |limit| self.ends.min(Instant::now() + limit));
        Self { ends, stop: Arc::clone(&self.stop) }
    }

    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether there is time, and nobody has cancelled.
    ///
    /// # Errors
    /// Which it was, `waiting_for` in its words.
    pub(crate) fn go_on(&self, waiting_for: &str) -> Result<(), Error> {
        if self.is_cancelled() {
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
