//! Moments and lengths on CLOCK_BOOTTIME.
//!
//! Responsibilities: the one type that times are computed with. Inputs: the kernel's clock. Outputs: [`Boot`].
//! It must never be mixed with the wall clock, which leaps: that one is read for people only.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A moment: nanoseconds of CLOCK_BOOTTIME, which goes on while the machine is suspended and never leaps (clock_gettime(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boot(pub(crate) u64);

impl Boot {
    /// The end of time: later than whatever comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// This moment.
    pub(crate) fn now() -> Self {
        Self(u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0))
    }

    /// So much later.
    pub(crate) fn after(self, length: Duration) -> Self {
        Self(self.0.saturating_add(saturated(length)))
    }

    /// So much earlier.
    pub(crate) fn before(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(saturated(length)))
    }

    /// The time from here to `later`; zero when that is past.
    pub(crate) fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn saturated(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds, as they go over the wire.
pub(crate) fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds of settings and outcomes as a length: not finite and below zero is nothing, and a day is the most.
pub(crate) fn seconds(value: f64) -> Duration {
    const DAY: f64 = 86_400.0;
    if value.is_nan() { Duration::ZERO } else { Duration::try_from_secs_f64(value.min(DAY)).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_saturate_and_the_clock_goes_on() {
        let moment = Boot(5);
        assert_eq!(moment.before(Duration::from_secs(1)), Boot(0));
        assert_eq!(moment.after(Duration::MAX), Boot::NEVER);
        assert_eq!(moment.until(Boot(2)), Duration::ZERO);
        assert_eq!(moment.until(Boot(7)), Duration::from_nanos(2));
        let first = Boot::now();
        assert!(first > Boot(0) && Boot::now() >= first);
    }

    #[test]
    fn seconds_of_any_value_are_a_length() {
        for (value, expected) in [(f64::NAN, 0), (-1.0, 0), (f64::INFINITY, 86_400), (1e300, 86_400), (2.0, 2)] {
            assert_eq!(seconds(value), Duration::from_secs(expected), "{value}");
        }
    }
}
