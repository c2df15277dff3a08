//! How long something may still take.
//!
//! Inputs: the host's call, or a duration where there is none. Outputs: time left, pauses that a cancel ends. Must never give
//! out the last moments of a call: the report is written in them.

use crate::Fault;
use cloudsnooze_plugin::Call;
use std::thread;
use std::time::{Duration, Instant};

/// Kept back for the report, at most.
const RESERVE: Duration = Duration::from_millis(100);
/// How soon a cancellation is noticed.
pub(crate) const SLICE: Duration = Duration::from_millis(10);

/// The end of the time, and the call that may be cancelled before.
#[derive(Clone, Copy)]
pub struct Limit<'c> {
    ends: Instant,
    call: Option<&'c Call<'c>>,
}

impl<'c> Limit<'c> {
    /// What is left of a call, less what its report takes.
    pub fn of(call: &'c Call<'c>) -> Self {
        let left = call.left();
        Self { ends: Instant::now() + left.saturating_sub(RESERVE.min(left / 10)), call: Some(call) }
    }

    /// This long from now, where there is no call.
    pub fn within(time: Duration) -> Self {
        Self { ends: Instant::now() + time, call: None }
    }

    /// The same call with less time, if it is less.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        Self { ends: self.ends.min(Instant::now() + time), ..self }
    }

    /// Time that may still be spent.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Why nothing more may be done, if so.
    pub fn over(&self) -> Option<Fault> {
        if self.call.is_some_and(|call| call.cancelled().is_some()) {
            Some(Fault::Cancelled)
        } else if self.left().is_zero() {
            Some(Fault::Late)
        } else {
            None
        }
    }

    /// Waits.
    ///
    /// # Errors
    /// The time was over first, or the call was cancelled.
    pub fn pause(&self, time: Duration) -> Result<(), Fault> {
        let until = Instant::now() + time;
        loop {
            if let Some(fault) = self.over() {
                return Err(fault);
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            thread::sleep(rest.min(SLICE).min(self.left()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_with_the_time_and_says_so() {
        let limit = Limit::within(Duration::from_millis(30));
        assert_eq!(limit.pause(Duration::from_millis(1)), Ok(()));
        let begun = Instant::now();
        assert_eq!(limit.pause(Duration::from_secs(60)), Err(Fault::Late));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(limit.at_most(Duration::from_secs(60)).left().is_zero(), "less time never becomes more");
    }
}
