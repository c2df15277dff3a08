//! The arithmetic behind every figure: percentiles, medians, bootstrap intervals, and the numbers that shuffle the rounds.
//!
//! Inputs: samples, a seed. Outputs: figures. Pure; must never drop a sample, and gives the same answer for the same seed
//! on every machine.

use hdrhistogram::Histogram;

/// Resamples behind an interval.
const RESAMPLES: usize = 2_000;

/// A small generator (SplitMix64, Steele and others 2014): repeatable across versions of libraries.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`. The remainder's bias is far below what a shuffle or a resample could show.
    #[allow(clippy::cast_possible_truncation, reason = "below a usize")]
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Puts the items in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Samples as a histogram: 1 ns to 1,000 s, three digits.
///
/// # Panics
/// Never: the bounds are constants that the library takes.
pub fn histogram<'a>(samples: impl IntoIterator<Item = &'a i64>) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000_000, 3).expect("valid bounds");
    for sample in samples {
        // A clock that reads alike twice gives 0, which a histogram of logarithms cannot hold.
        histogram.saturating_record(u64::try_from(*sample).unwrap_or(0).max(1));
    }
    histogram
}

/// A percentile of the samples, microseconds.
pub fn percentile_us<'a>(samples: impl IntoIterator<Item = &'a i64>, percentile: f64) -> f64 {
    microseconds(histogram(samples).value_at_percentile(percentile))
}

/// Nanoseconds as microseconds.
#[allow(clippy::cast_precision_loss, reason = "below 2^53")]
pub fn microseconds(ns: u64) -> f64 {
    ns as f64 / 1_000.0
}

/// The middle value; the mean of the two middle ones for an even number. None of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n.is_multiple_of(2) => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// A figure with the interval that holds it in 95 of 100 repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Median over the rounds.
    pub middle: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Median of one figure a round, with its 95 % percentile-bootstrap interval: rounds are drawn again with replacement.
/// None of nothing.
pub fn estimate(rounds: &[f64], seed: u64) -> Option<Estimate> {
    let middle = median(rounds)?;
    let mut numbers = Numbers::new(seed);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let drawn: Vec<f64> = rounds.iter().map(|_| rounds[numbers.below(rounds.len())]).collect();
            median(&drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    Some(Estimate { middle, low: medians[RESAMPLES / 40], high: medians[RESAMPLES - 1 - RESAMPLES / 40] })
}

/// The same of `above / below`, round by round: noise of a round hits both and cancels. Rounds that lack one of them are
/// left out by the caller.
pub fn ratio(above: &[f64], below: &[f64], seed: u64) -> Option<Estimate> {
    let ratios: Vec<f64> = above.iter().zip(below).filter(|(_, b)| **b > 0.0).map(|(a, b)| a / b).collect();
    estimate(&ratios, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let samples: Vec<i64> = (1..=1_000).map(|n| n * 1_000).collect();
        for (percentile, expected) in [(50.0, 500.0), (99.0, 990.0), (99.9, 999.0), (100.0, 1_000.0)] {
            let found = percentile_us(&samples, percentile);
            assert!((found - expected).abs() / expected < 0.002, "{percentile}: {found}");
        }
        // Neither zero nor a clock that ran backwards is lost.
        assert_eq!(histogram(&[0, -5, 7]).len(), 3);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_round_by_round_before_the_median() {
        // A noisy round slows both down: the ratio does not move, a ratio of medians would.
        let estimate = ratio(&[2.0, 200.0, 4.0], &[1.0, 100.0, 2.0], 1).expect("rounds");
        assert_eq!((estimate.middle, estimate.low, estimate.high), (2.0, 2.0, 2.0));
        assert_eq!(ratio(&[1.0], &[0.0], 1), None);
    }

    #[test]
    fn the_interval_holds_the_median_narrows_with_agreement_and_repeats_with_its_seed() {
        let spread: Vec<f64> = (1..=21).map(f64::from).collect();
        let wide = estimate(&spread, 7).expect("rounds");
        assert_eq!(wide.middle, 11.0);
        assert!(wide.low < 11.0 && wide.high > 11.0 && wide.low >= 5.0 && wide.high <= 17.0, "{wide:?}");
        assert_eq!(estimate(&spread, 7), Some(wide));
        let agreed = estimate(&[5.0; 9], 7).expect("rounds");
        assert_eq!((agreed.low, agreed.high), (5.0, 5.0));
    }

    #[test]
    fn a_shuffle_keeps_every_item_and_follows_its_seed() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..20).collect();
            Numbers::new(seed).shuffle(&mut items);
            items
        };
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<u32>>());
        assert_eq!(shuffled(3), shuffled(3));
        assert_ne!(shuffled(3), shuffled(4));
    }
}
