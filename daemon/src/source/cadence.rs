//! Cadence: when to poll next.
//!
//! Responsibilities: interval, jitter, back-off. Inputs: what came of a poll and when it began. Outputs:
//! CLOCK_BOOTTIME nanoseconds of the next one. Must never read a clock, sleep, or let an error of the
//! past slow the poll that follows a success.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Shortest interval accepted, seconds. Metadata services cut off who asks more often.
pub const INTERVAL_SECONDS_MIN: f64 = 0.05;

/// Longest interval accepted, seconds.
pub const INTERVAL_SECONDS_MAX: f64 = 3_600.0;

/// Longest that back-off makes a poll wait, unless the interval itself is longer.
pub const BACK_OFF_MAX_NS: i64 = 30_000_000_000;

/// Greatest factor of back-off.
const BACK_OFF_FACTOR_MAX: i64 = 8;

/// Share of the interval by which a poll may come early or late, so that machines started together do
/// not ask together for ever.
const JITTER: f64 = 0.05;

/// The rhythm of one path.
#[derive(Debug)]
pub struct Cadence {
    interval_ns: i64,
    errors: u32,
    random: SmallRng,
}

impl Cadence {
    /// `interval_seconds` is brought within [`INTERVAL_SECONDS_MIN`] and [`INTERVAL_SECONDS_MAX`].
    pub fn new(interval_seconds: f64, seed: u64) -> Self {
        Self { interval_ns: interval_ns(interval_seconds), errors: 0, random: SmallRng::seed_from_u64(seed) }
    }

    /// The interval, nanoseconds.
    pub const fn interval_ns(&self) -> i64 {
        self.interval_ns
    }

    /// Another interval, from the next poll on.
    pub fn set_interval(&mut self, interval_seconds: f64) {
        self.interval_ns = interval_ns(interval_seconds);
    }

    /// The poll that began at `began_boot_ns` got an answer; gives when the next one is due.
    pub fn after_success(&mut self, began_boot_ns: i64) -> i64 {
        self.errors = 0;
        self.next(began_boot_ns, self.interval_ns)
    }

    /// The poll that began at `began_boot_ns` failed; gives when the next one is due. The first failure
    /// changes nothing, for a notice may stand behind it; each further one doubles the wait, up to eight
    /// times the interval and [`BACK_OFF_MAX_NS`].
    pub fn after_error(&mut self, began_boot_ns: i64) -> i64 {
        let factor = 1_i64.checked_shl(self.errors).unwrap_or(i64::MAX).clamp(1, BACK_OFF_FACTOR_MAX);
        self.errors = self.errors.saturating_add(1).min(16);
        let wait_ns = self.interval_ns.saturating_mul(factor).min(BACK_OFF_MAX_NS.max(self.interval_ns));
        self.next(began_boot_ns, wait_ns)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "at most an hour, in ns")]
    fn next(&mut self, began_boot_ns: i64, wait_ns: i64) -> i64 {
        let factor = self.random.random_range(1.0 - JITTER..=1.0 + JITTER);
        began_boot_ns.saturating_add((wait_ns as f64 * factor) as i64)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "at most an hour, in ns")]
fn interval_ns(seconds: f64) -> i64 {
    let seconds = if seconds.is_nan() { INTERVAL_SECONDS_MIN } else { seconds };
    (seconds.clamp(INTERVAL_SECONDS_MIN, INTERVAL_SECONDS_MAX) * 1e9) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn about(wait_ns: i64, expected_seconds: f64) -> bool {
        let ratio = wait_ns as f64 / (expected_seconds * 1e9);
        (0.949..=1.051).contains(&ratio)
    }

    #[test]
    fn errors_double_the_wait_up_to_eight_times() {
        let mut cadence = Cadence::new(1.0, 7);
        for expected in [1.0, 2.0, 4.0, 8.0, 8.0, 8.0] {
            let wait_ns = cadence.after_error(0);
            assert!(about(wait_ns, expected), "{wait_ns} for {expected}");
        }
    }

    #[test]
    fn back_off_ends_at_thirty_seconds_and_never_polls_faster_than_the_interval() {
        let mut five = Cadence::new(5.0, 7);
        assert!(about((0..10).map(|_| five.after_error(0)).last().unwrap(), 30.0));
        let mut hour = Cadence::new(3_600.0, 7);
        assert!((0..10).all(|_| about(hour.after_error(0), 3_600.0)));
    }

    #[test]
    fn another_interval_counts_from_the_next_poll_on() {
        let mut cadence = Cadence::new(5.0, 7);
        cadence.set_interval(0.2);
        assert!(about(cadence.after_success(0), 0.2));
    }

    #[test]
    fn what_is_no_number_is_no_busy_loop() {
        assert!(about(Cadence::new(f64::NAN, 7).after_success(0), INTERVAL_SECONDS_MIN));
        assert!(about(Cadence::new(f64::INFINITY, 7).after_success(0), INTERVAL_SECONDS_MAX));
    }

    #[test]
    fn jitter_spreads_machines_that_started_together() {
        let firsts: std::collections::BTreeSet<i64> = (0..50).map(|s| Cadence::new(5.0, s).after_success(0)).collect();
        assert!(firsts.len() > 40, "{firsts:?}");
    }

    proptest! {
        #[test]
        fn no_error_of_the_past_slows_the_poll_after_a_success(
            errors in 0_u32..100, interval in 0.05_f64..3_600.0, seed: u64,
        ) {
            let mut cadence = Cadence::new(interval, seed);
            for _ in 0..errors {
                cadence.after_error(0);
            }
            prop_assert!(about(cadence.after_success(0), interval));
            prop_assert!(about(cadence.after_error(0), interval));
        }

        #[test]
        fn any_number_is_a_usable_interval(interval: f64, began in any::<i64>()) {
            let mut cadence = Cadence::new(interval, 1);
            let next = cadence.after_success(began);
            prop_assert!(next == i64::MAX || next - began >= SECOND_NS * 47 / 1_000);
        }
    }
}
