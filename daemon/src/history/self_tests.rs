//! What the self-tests of the last hour took, from detection to first instruction.
//!
//! Inputs: times. Outputs: their percentiles. Pure. Must never keep more than an hour, or [`KEPT_MAX`].

use std::collections::VecDeque;

/// How long a time counts, nanoseconds.
const HOUR_NS: i64 = 3_600 * 1_000_000_000;
/// What counts as recent, nanoseconds.
const RECENT_NS: i64 = 300 * 1_000_000_000;
/// Most times kept: one a second for an hour, and some.
const KEPT_MAX: usize = 4096;

/// The times, oldest first.
#[derive(Debug, Default)]
pub struct SelfTests(VecDeque<(i64, u32)>);

/// What they come to, microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfTestSummary {
    /// How many there were.
    pub count: usize,
    /// Half were faster.
    pub p50_us: f64,
    /// 99 of 100 were faster.
    pub p99_us: f64,
    /// 999 of 1000 were faster; with fewer than that, the slowest.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// Half of those of the last five minutes were faster; None when there were none.
    pub recent_p50_us: Option<f64>,
}

impl SelfTests {
    /// Notes a self-test that reached its handler at `at_boot_ns` (CLOCK_BOOTTIME), `took_ns` after detection.
    pub fn took(&mut self, at_boot_ns: i64, took_ns: i64) {
        while self.0.len() >= KEPT_MAX || self.0.front().is_some_and(|(at, _)| at_boot_ns - at > HOUR_NS) {
            self.0.pop_front();
        }
        let took_ns = u32::try_from(took_ns.max(0)).unwrap_or(u32::MAX);
        self.0.push_back((at_boot_ns, took_ns));
    }

    /// The summary as of `now_boot_ns`; None when there is nothing to sum up.
    pub fn summary(&self, now_boot_ns: i64) -> Option<SelfTestSummary> {
        let since = |ns: i64| {
            let mut times: Vec<u32> = self.0.iter().filter(|(at, _)| now_boot_ns - at <= ns).map(|t| t.1).collect();
            times.sort_unstable();
            times
        };
        let (hour, recent) = (since(HOUR_NS), since(RECENT_NS));
        let at = |times: &[u32], permille: usize| {
            // The smallest time that at least so many are not above.
            let rank = (times.len() * permille).div_ceil(1000).max(1);
            times.get(rank - 1).map(|ns| f64::from(*ns) / 1_000.0)
        };
        Some(SelfTestSummary {
            count: hour.len(),
            p50_us: at(&hour, 500)?,
            p99_us: at(&hour, 990)?,
            p999_us: at(&hour, 999)?,
            max_us: at(&hour, 1000)?,
            recent_p50_us: at(&recent, 500),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    #[test]
    fn percentiles_are_those_of_the_last_hour_and_the_recent_ones_of_five_minutes() {
        let mut tests = SelfTests::default();
        assert_eq!(tests.summary(0), None);
        tests.took(0, 9_000_000);
        for n in 1..=1000 {
            tests.took(HOUR_NS + n * SECOND_NS, n * 1_000);
        }
        let summary = tests.summary(HOUR_NS + 1000 * SECOND_NS).expect("some");
        assert_eq!((summary.count, summary.p50_us, summary.p99_us), (1000, 500.0, 990.0));
        assert_eq!((summary.p999_us, summary.max_us), (999.0, 1000.0));
        assert_eq!(summary.recent_p50_us, Some(850.0), "301 of them: 700 to 1000");
        assert_eq!(tests.summary(10 * HOUR_NS), None);
    }

    #[test]
    fn however_many_there_are_few_are_kept() {
        let mut tests = SelfTests::default();
        (0..10_000).for_each(|n| tests.took(n, i64::MAX));
        let summary = tests.summary(10_000).expect("some");
        assert_eq!((tests.0.len(), summary.max_us), (KEPT_MAX, f64::from(u32::MAX) / 1_000.0));
    }
}
