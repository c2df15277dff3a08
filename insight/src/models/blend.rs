//! How much each of several forecasts is to be believed.
//!
//! Inputs: for held-out rows, the probability that each forecaster gave and what happened. Outputs: weights that sum
//! to one. A mixture of probabilities can't be much worse than any of its parts: its logarithmic score is at most
//! that of a part plus −ln of the part's weight. It must never give a forecaster no weight at all.
//!
//! The weights are the most likely ones of a mixture, with a few rows' worth of equal ones. The likelihood has one
//! summit.

use super::features::DAY_S;
use crate::Life;
use crate::optimise::{Smooth, least_by_slope};
use crate::scores::{Interval, cluster_bootstrap};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::{BTreeMap, BTreeSet};

/// One held-out row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) probabilities: Vec<f64>,
    pub(crate) happened: bool,
    pub(crate) weight: f64,
    /// Rows of one cluster are not independent.
    pub(crate) cluster: u64,
}

/// Draws of the cluster bootstrap, and what they are made with.
const DRAWS: usize = 400;
const SEED: u64 = 1;

/// How many rows' worth of equal weights is put in.
const EQUAL_ROWS: f64 = 2.0;

/// No probability is taken for smaller.
const LEAST: f64 = 1e-9;

fn likelihood(probability: f64, happened: bool) -> f64 {
    let of = if happened { probability } else { 1.0 - probability };
    if of.is_nan() { LEAST } else { of.clamp(LEAST, 1.0) }
}

/// What the weights cost: as a function of numbers without bounds, of which they are the softmax.
struct Mixture {
    likelihoods: Vec<Vec<f64>>,
    row_weights: Vec<f64>,
    size: f64,
}

fn softmax(free: &[f64]) -> Vec<f64> {
    let most = free.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = free.iter().map(|free| (free - most).exp()).collect();
    let all: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / all).collect()
}

impl Smooth for Mixture {
    fn value(&self, at: &[f64]) -> f64 {
        let weights = softmax(at);
        let rows = self.likelihoods.iter().zip(&self.row_weights);
        let cost: f64 = rows.map(|(of, row)| -row * dot(of, &weights).max(LEAST).ln()).sum();
        let equal: f64 = weights.iter().map(|weight| -EQUAL_ROWS * weight.max(f64::MIN_POSITIVE).ln()).sum();
        (cost + equal) / self.size
    }

    fn slope(&self, at: &[f64]) -> Vec<f64> {
        let weights = softmax(at);
        // Of each part: what it is believed to have had of the rows, as in expectation maximisation, and of the equal
        // ones.
        let mut had = vec![EQUAL_ROWS; weights.len()];
        for (of, row) in self.likelihoods.iter().zip(&self.row_weights) {
            let all = dot(of, &weights).max(LEAST);
            for ((had, of), weight) in had.iter_mut().zip(of).zip(&weights) {
                *had += row * weight * of / all;
            }
        }
        let all: f64 = had.iter().sum();
        weights.iter().zip(had).map(|(weight, had)| (all * weight - had) / self.size).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Weights for `parts` forecasters.
pub(crate) fn weights(rows: &[Row], parts: usize) -> Vec<f64> {
    let of = |row: &Row| row.probabilities.iter().map(|p| likelihood(*p, row.happened)).collect();
    let mixture = Mixture {
        likelihoods: rows.iter().map(of).collect(),
        row_weights: rows.iter().map(|row| row.weight).collect(),
        size: rows.iter().map(|row| row.weight).sum::<f64>().max(1.0),
    };
    least_by_slope(vec![0.0; parts], &mixture).map_or_else(|| vec![1.0 / count(parts.max(1)); parts], |at| softmax(&at))
}

/// How many rows' worth the wish is that logits are simply averaged.
const AVERAGE_ROWS: f64 = 10.0;

/// What powers cost, as a function of their logarithms: they have no bound above and are not negative.
struct Pool {
    logits: Vec<Vec<f64>>,
    happened: Vec<f64>,
}

impl Pool {
    fn size(&self) -> f64 {
        count(self.happened.len().max(1))
    }
}

impl Smooth for Pool {
    fn value(&self, at: &[f64]) -> f64 {
        let powers: Vec<f64> = at.iter().map(|at| at.exp()).collect();
        let cost = |(of, happened): (&Vec<f64>, &f64)| {
            let eta = dot(of, &powers);
            // ln (1 + e^η) without overflow.
            eta.max(0.0) + (-eta.abs()).exp().ln_1p() - happened * eta
        };
        let rows: f64 = self.logits.iter().zip(&self.happened).map(cost).sum();
        let equal = 1.0 / count(powers.len().max(1));
        let apart: f64 = powers.iter().map(|power| AVERAGE_ROWS * (power - equal).powi(2)).sum();
        (rows + apart) / self.size()
    }

    fn slope(&self, at: &[f64]) -> Vec<f64> {
        let powers: Vec<f64> = at.iter().map(|at| at.exp()).collect();
        let equal = 1.0 / count(powers.len().max(1));
        let mut slope: Vec<f64> = powers.iter().map(|power| 2.0 * AVERAGE_ROWS * (power - equal)).collect();
        for (of, happened) in self.logits.iter().zip(&self.happened) {
            let excess = 1.0 / (1.0 + (-dot(of, &powers)).exp()) - happened;
            slope.iter_mut().zip(of).for_each(|(slope, logit)| *slope += excess * logit);
        }
        slope.iter().zip(&powers).map(|(slope, power)| slope * power / self.size()).collect()
    }
}

fn logit(probability: f64) -> f64 {
    let sure = likelihood(probability, true).min(1.0 - LEAST);
    (sure / (1.0 - sure)).ln()
}

/// Powers for `parts` forecasters whose logits are added up. Unlike weights of a mixture they need not sum to one: a
/// mixture of forecasters of which each is right about its own probabilities is too hesitant (R. Ranjan and T.
/// Gneiting, 2010), and a sum of powers above one mends that (V. A. Satopää and others, 2014). For forecasts of one
/// horizon only.
pub(crate) fn powers(rows: &[Row], parts: usize) -> Vec<f64> {
    let pool = Pool {
        logits: rows.iter().map(|row| row.probabilities.iter().map(|p| logit(*p)).collect()).collect(),
        happened: rows.iter().map(|row| f64::from(u8::from(row.happened))).collect(),
    };
    let equal = 1.0 / count(parts.max(1));
    let found = least_by_slope(vec![equal.ln(); parts], &pool);
    found.map_or_else(|| vec![equal; parts], |at| at.into_iter().map(f64::exp).collect())
}

/// What forecasters foresee together, each with its power.
pub(crate) fn pooled(parts: impl Iterator<Item = (f64, f64)>) -> f64 {
    let eta: f64 = parts.map(|(power, probability)| power * logit(probability)).sum();
    1.0 / (1.0 + (-eta).exp())
}

/// The mean logarithmic score of a mixture. None without rows.
pub(crate) fn score(rows: &[Row], weights: &[f64]) -> Option<f64> {
    let (cost, size) = rows.iter().fold((0.0, 0.0), |sum, row| {
        let of: f64 = weights.iter().zip(&row.probabilities).map(|(w, p)| w * likelihood(*p, row.happened)).sum();
        (sum.0 - row.weight * of.max(LEAST).ln(), sum.1 + row.weight)
    });
    (size > 0.0).then(|| cost / size)
}

/// Where what a mixture costs more than one of its parts lies with 95 %, per row, when other clusters might have been
/// seen.
pub(crate) fn over(rows: &[Row], weights: &[f64], part: usize) -> Option<Interval> {
    let of = |row: &Row| {
        let mixed: f64 = weights.iter().zip(&row.probabilities).map(|(w, p)| w * likelihood(*p, row.happened)).sum();
        let plain = row.probabilities.get(part).map_or(LEAST, |p| likelihood(*p, row.happened));
        (row.weight * (plain.ln() - mixed.max(LEAST).ln()), row.cluster)
    };
    cluster_bootstrap(&rows.iter().map(of).collect::<Vec<_>>(), DRAWS, SEED)
}

/// Deals clusters out to `folds` hands, at random but as the seed says; for each item the hand that its cluster is
/// in. And how many clusters there are.
pub(crate) fn folds(clusters: &[u64], folds: usize, seed: u64) -> (Vec<usize>, usize) {
    let mut hands: BTreeMap<u64, usize> = clusters.iter().map(|cluster| (*cluster, 0)).collect();
    let mut order: Vec<u64> = hands.keys().copied().collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    for (at, cluster) in order.iter().enumerate() {
        hands.insert(*cluster, at % folds.max(1));
    }
    (clusters.iter().map(|cluster| hands.get(cluster).copied().unwrap_or(0)).collect(), order.len())
}

/// The clusters of lives: their batches; of those without one the days on which they began, or if all together that
/// makes few, the hours.
pub(crate) fn clusters(lives: &[Life], few: usize) -> Vec<u64> {
    let by = |unit_s: f64| -> Vec<u64> { lives.iter().map(|life| cluster(life, unit_s)).collect() };
    let days = by(DAY_S);
    let distinct: BTreeSet<u64> = days.iter().copied().collect();
    if distinct.len() < few { by(DAY_S / 24.0) } else { days }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "days; what is beyond is one cluster")]
fn cluster(life: &Life, unit_s: f64) -> u64 {
    // Batches are numbered by whoever has them; days are put where no such number is.
    life.batch.unwrap_or_else(|| (1 << 62) | (life.launched_s / unit_s).max(0.0) as u64)
}

#[allow(clippy::cast_precision_loss, reason = "a handful")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_foresees_better_is_believed_more_and_nobody_not_at_all() {
        let row = |i: u32| {
            let happened = i.is_multiple_of(10);
            Row {
                probabilities: vec![if happened { 0.6 } else { 0.05 }, 0.1, f64::NAN],
                happened,
                weight: 1.0,
                cluster: u64::from(i),
            }
        };
        let rows: Vec<Row> = (0..500).map(row).collect();
        let weights = weights(&rows, 3);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(weights[0] > 0.9 && weights[1] > 0.0 && weights[2] > 0.0, "{weights:?}");
        assert!(score(&rows, &weights) < score(&rows, &[0.0, 1.0, 0.0]));
        assert_eq!(score(&[], &weights), None);
    }

    #[test]
    fn forecasters_who_are_all_too_hesitant_are_made_bolder() {
        // Each of two foresees a quarter or three quarters; it is a tenth or nine tenths.
        let row = |i: u32| {
            let is_likely = i.is_multiple_of(2);
            let foreseen = if is_likely { 0.75 } else { 0.25 };
            Row {
                probabilities: vec![foreseen, foreseen],
                happened: (i % 20 >= 2) == is_likely,
                weight: 1.0,
                cluster: u64::from(i),
            }
        };
        let rows: Vec<Row> = (0..2_000).map(row).collect();
        let powers = powers(&rows, 2);
        let together = pooled(powers.iter().map(|power| (*power, 0.75)));
        assert!((together - 0.9).abs() < 0.01, "{powers:?} {together}");
        assert!((0.0..=1.0).contains(&pooled([(3.0, 0.0), (2.0, f64::NAN), (1.0, 1.0)].into_iter())));
    }

    #[test]
    fn lives_without_batches_are_clustered_by_day_and_if_there_are_few_days_by_hour() {
        let life = |i: u32, gap_s: f64| Life {
            pool: crate::Pool::default(),
            launched_s: f64::from(i) * gap_s,
            lived_h: 1.0,
            outcome: crate::Outcome::Running,
            batch: None,
        };
        let distinct = |gap_s: f64| {
            let lives: Vec<Life> = (0..100).map(|i| life(i, gap_s)).collect();
            clusters(&lives, 10).into_iter().collect::<BTreeSet<u64>>().len()
        };
        assert_eq!((distinct(DAY_S / 5.0), distinct(360.0)), (20, 10));
    }

    #[test]
    fn a_cluster_is_in_one_hand() {
        let clusters: Vec<u64> = (0..100).map(|i| i / 7).collect();
        let (hands, size) = folds(&clusters, 5, 1);
        assert_eq!(size, 15);
        assert_eq!(hands.iter().copied().collect::<BTreeSet<usize>>(), BTreeSet::from([0, 1, 2, 3, 4]));
        for (one, two) in (0..100).zip(1..100) {
            assert!(clusters[one] != clusters[two] || hands[one] == hands[two]);
        }
        assert_eq!(folds(&clusters, 5, 1).0, hands);
    }
}
