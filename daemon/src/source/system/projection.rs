//! When what is free will be used up: pure.
//!
//! Inputs: what was free and when. Outputs: seconds until nothing is. Must never foretell from a moment's burst (it must get
//! less in most steps), nor be led astray by single values that stand out: the slope is the median of the slopes between all
//! pairs (Theil-Sen; Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", 1968), which holds while less
//! than 29 % of the values are off.

use std::collections::VecDeque;

/// Most values kept; with more, the pairs would be too many for a thread that must cost nothing.
const SAMPLES_MAX: usize = 40;
/// Fewest values that say anything.
const SAMPLES_MIN: usize = 5;

/// What was free, the last while.
#[derive(Clone, Debug)]
pub struct Projection {
    window_ns: i64,
    samples: VecDeque<(i64, f64)>,
}

impl Projection {
    /// One that looks back for so many nanoseconds.
    pub fn over_ns(window_ns: i64) -> Self {
        Self { window_ns, samples: VecDeque::new() }
    }

    /// So much is free now.
    pub fn see(&mut self, free: f64, now_boot_ns: i64) {
        let is_old = |at: &i64| now_boot_ns.saturating_sub(*at) > self.window_ns;
        while self.samples.front().is_some_and(|(at, _)| is_old(at)) {
            self.samples.pop_front();
        }
        // The newest is replaced while it is too near the one before it to be one more.
        let apart_ns = self.window_ns / SAMPLES_MAX as i64;
        let before = self.samples.len().checked_sub(2).and_then(|index| self.samples.get(index));
        let newest = self.samples.back().map(|(at, _)| *at);
        if let (Some((before, _)), Some(newest)) = (before, newest)
            && newest.saturating_sub(*before) < apart_ns
        {
            self.samples.pop_back();
        }
        self.samples.push_back((now_boot_ns, free));
    }

    /// Seconds until nothing is free if it goes on like that. None: it does not get less, or it is too early to say.
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds of minutes")]
    pub fn seconds_left(&self) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let is_enough = self.samples.len() >= SAMPLES_MIN && last.0 - first.0 >= self.window_ns / 5;
        // One large file is a step: most pairs lie across it, but only one step goes down.
        let steps = self.samples.iter().zip(self.samples.iter().skip(1));
        let falling = steps.filter(|(one, two)| two.1 < one.1).count();
        if !is_enough || falling * 2 < self.samples.len() {
            return None;
        }
        let pairs = self.samples.iter().enumerate().flat_map(|(index, one)| {
            let later = self.samples.iter().skip(index + 1).filter(|two| two.0 > one.0);
            later.map(move |two| (two.1 - one.1) / ((two.0 - one.0) as f64 / 1e9))
        });
        let mut slopes: Vec<f64> = pairs.collect();
        let middle = slopes.len() / 2;
        if slopes.is_empty() {
            return None;
        }
        let (_, slope, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
        (*slope < 0.0).then(|| last.1 / -*slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn seen(values: impl IntoIterator<Item = f64>) -> Projection {
        let mut projection = Projection::over_ns(100 * SECOND_NS);
        values.into_iter().zip(0..).for_each(|(free, n)| projection.see(free, n * 10 * SECOND_NS));
        projection
    }

    #[test]
    fn a_steady_loss_ends_when_it_does() {
        let left = seen((0..8).map(|n| 1_000.0 - 10.0 * f64::from(n))).seconds_left().expect("foretold");
        assert!((left - 930.0).abs() < 1e-6, "{left}");
    }

    #[test]
    fn a_single_burst_foretells_nothing_and_does_not_hide_a_loss() {
        assert_eq!(seen([900.0, 900.0, 900.0, 500.0, 500.0, 500.0, 500.0]).seconds_left(), None);
        let mut values: Vec<f64> = (0..9).map(|n| 1_000.0 - 10.0 * f64::from(n)).collect();
        values[4] = 5_000.0;
        let left = seen(values).seconds_left().expect("foretold");
        assert!((left - 920.0).abs() < 1.0, "{left}");
    }

    #[test]
    fn too_little_is_known_at_first_and_what_grows_never_ends() {
        assert_eq!(seen([100.0, 90.0, 80.0]).seconds_left(), None);
        assert_eq!(seen((0..9).map(f64::from)).seconds_left(), None);
        assert_eq!(seen([]).seconds_left(), None);
    }

    proptest! {
        #[test]
        fn whatever_is_seen_the_memory_is_bounded_and_what_is_foretold_is_a_time(
            steps in prop::collection::vec((0.0..1e15_f64, 0..40_i64), 0..300),
        ) {
            let mut projection = Projection::over_ns(100 * SECOND_NS);
            let mut now = 0;
            for (free, pause) in steps {
                now += pause * SECOND_NS / 10;
                projection.see(free, now);
                prop_assert!(projection.samples.len() <= SAMPLES_MAX + 3);
                prop_assert!(projection.seconds_left().is_none_or(|left| left >= 0.0 && left.is_finite()));
            }
        }
    }
}
