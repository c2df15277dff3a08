//! Cadence: when to poll next.
//!
//! Responsibilities: interval and jitter. Inputs: when a poll began. Outputs: CLOCK_BOOTTIME nanoseconds of the next one.
//! Must never read a clock or sleep.
//!
//! Errors change nothing: a notice may stand behind any of them, it leaves as little as 30 s, and one request to a service
//! on the same host in each interval burdens nobody. What a service refuses for its number is the cloud's to say
//! ([`super::cloud::Cloud::calm_ns`]).

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Shortest interval accepted, seconds. Metadata services cut off who asks more often.
pub const INTERVAL_SECONDS_MIN: f64 = 0.05;

/// Longest interval accepted, seconds.
pub const INTERVAL_SECONDS_MAX: f64 = 3_600.0;

/// Share of the interval by which a poll may come early or late, so that machines started together do
/// not ask together for ever.
const JITTER: f64 = 0.05;

/// The rhythm of one path.
#[derive(Debug)]
pub struct Cadence {
    interval_ns: i64,
    random: SmallRng,
}

impl Cadence {
    /// `interval_seconds` is brought within [`INTERVAL_SECONDS_MIN`] and [`INTERVAL_SECONDS_MAX`].
    pub fn new(interval_seconds: f64, seed: u64) -> Self {
        Self { interval_ns: interval_ns(interval_seconds), random: SmallRng::seed_from_u64(seed) }
    }

    /// The interval, nanoseconds.
    pub const fn interval_ns(&self) -> i64 {
        self.interval_ns
    }

    /// Another interval, from the next poll on.
    pub fn set_interval(&mut self, interval_seconds: f64) {
        self.interval_ns = interval_ns(interval_seconds);
    }

    /// When the poll is due that follows the one that began at `began_boot_ns`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "at most an hour, in ns")]
    pub fn next(&mut self, began_boot_ns: i64) -> i64 {
        let factor = self.random.random_range(1.0 - JITTER..=1.0 + JITTER);
        began_boot_ns.saturating_add((self.interval_ns as f64 * factor) as i64)
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
    fn another_interval_counts_from_the_next_poll_on() {
        let mut cadence = Cadence::new(5.0, 7);
        cadence.set_interval(0.2);
        assert!(about(cadence.next(0), 0.2));
    }

    #[test]
    fn what_is_no_number_is_no_busy_loop() {
        assert!(about(Cadence::new(f64::NAN, 7).next(0), INTERVAL_SECONDS_MIN));
        assert!(about(Cadence::new(f64::INFINITY, 7).next(0), INTERVAL_SECONDS_MAX));
    }

    #[test]
    fn jitter_spreads_machines_that_started_together() {
        let firsts: std::collections::BTreeSet<i64> = (0..50).map(|s| Cadence::new(5.0, s).next(0)).collect();
        assert!(firsts.len() > 40, "{firsts:?}");
    }

    proptest! {
        #[test]
        fn any_number_is_a_usable_interval(interval: f64, began in any::<i64>()) {
            let mut cadence = Cadence::new(interval, 1);
            let next = cadence.next(began);
            prop_assert!(next == i64::MAX || next - began >= SECOND_NS * 47 / 1_000);
        }
    }
}
