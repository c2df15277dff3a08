//! How good probabilities are on what they were not made of.
//!
//! Responsibilities: scores of forecasts against what happened, and how sure a difference of two is. Inputs:
//! probabilities and outcomes of the same length, for each the cluster that it belongs to. Outputs: numbers, or None
//! where the outcomes don't allow one. It must never hide that machines which were started together end together:
//! intervals come from drawing whole clusters.
//!
//! Sources: the logarithmic score (I. J. Good, 1952), the quadratic score (G. W. Brier, 1950), concordance (F. E.
//! Harrell and others, 1982).

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A forecast of exactly nought or one that fails would cost without end: one in a million is as sure as anybody may
/// be.
const SUREST: f64 = 1e-6;

/// What one forecast costs under the logarithmic score: −ln of the probability given to what happened.
#[must_use]
pub fn log_cost(probability: f64, happened: bool) -> f64 {
    let sure = if probability.is_nan() { SUREST } else { probability.clamp(SUREST, 1.0 - SUREST) };
    if happened { -sure.ln() } else { -(1.0 - sure).ln() }
}

/// Mean of [`log_cost`]; lower is better. None without forecasts.
#[must_use]
pub fn log_loss(forecasts: &[(f64, bool)]) -> Option<f64> {
    mean(forecasts.iter().map(|(probability, happened)| log_cost(*probability, *happened)))
}

/// Mean squared distance between forecast and outcome; lower is better. None without forecasts.
#[must_use]
pub fn brier(forecasts: &[(f64, bool)]) -> Option<f64> {
    mean(forecasts.iter().map(|(probability, happened)| (probability - f64::from(u8::from(*happened))).powi(2)))
}

/// How likely an event got a higher forecast than a non-event (area under the ROC curve; ties count half). None
/// unless both occur.
#[must_use]
pub fn auc(forecasts: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = forecasts.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins, mut events) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let happened = count(tied.iter().filter(|forecast| forecast.1).count());
        let not = count(tied.len()) - happened;
        wins += happened * (below + not / 2.0);
        below += not;
        events += happened;
    }
    (events > 0.0 && below > 0.0).then(|| wins / (events * below))
}

/// Forecasts of about the same size, and how often what they foresaw happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// How many forecasts.
    pub forecasts: usize,
    /// Their mean.
    pub foreseen: f64,
    /// The share of them that came true.
    pub happened: f64,
}

/// Sorts forecasts by size into `bins` groups of as equal a number as can be (equal ones in the order in which they
/// were given).
#[must_use]
pub fn reliability(forecasts: &[(f64, bool)], bins: usize) -> Vec<Reliability> {
    let mut sorted = forecasts.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (bins, total) = (bins.max(1), sorted.len());
    let groups = (0..bins).map(|bin| &sorted[total * bin / bins..total * (bin + 1) / bins]);
    let group = groups.filter(|group| !group.is_empty()).map(|group| {
        let size = count(group.len());
        let foreseen = group.iter().map(|forecast| forecast.0).sum::<f64>() / size;
        let happened = count(group.iter().filter(|forecast| forecast.1).count()) / size;
        Reliability { forecasts: group.len(), foreseen, happened }
    });
    group.collect()
}

/// Expected calibration error: mean distance between foreseen and happened over ten groups of equal number. None
/// without forecasts.
#[must_use]
pub fn calibration_error(forecasts: &[(f64, bool)]) -> Option<f64> {
    let weighted = reliability(forecasts, 10).into_iter().map(|group| {
        let weight = count(group.forecasts) / count(forecasts.len());
        weight * (group.foreseen - group.happened).abs()
    });
    (!forecasts.is_empty()).then(|| weighted.sum())
}

/// One life for [`harrell_c`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// How long it was seen to live, hours.
    pub lived_h: f64,
    /// Whether it ended by an interruption then.
    pub interrupted: bool,
    /// Higher is expected to end sooner.
    pub risk: f64,
}

/// Harrell's C: of all pairs of which it is known who was interrupted first, the share in which that one had the
/// higher risk (ties of risk count half). None without such a pair. Takes the square of the number of lives.
#[must_use]
pub fn harrell_c(lives: &[Ranked]) -> Option<f64> {
    let (mut pairs, mut right) = (0.0, 0.0);
    for first in lives.iter().filter(|life| life.interrupted) {
        for other in lives {
            let later = other.lived_h > first.lived_h || (other.lived_h >= first.lived_h && !other.interrupted);
            if later {
                pairs += 1.0;
                right += match first.risk.total_cmp(&other.risk) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
    }
    (pairs > 0.0).then(|| right / pairs)
}

/// A mean, and where it lies with 95 % when other clusters might have been seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean of all.
    pub mean: f64,
    /// 2.5 % of the draws lie below.
    pub low: f64,
    /// 2.5 % of the draws lie above.
    pub high: f64,
}

/// Mean of values that come in clusters: as many whole clusters as there are get drawn again and again, with
/// replacement (cluster bootstrap). Values are usually differences of [`log_cost`] between two models. None without
/// values or draws.
#[must_use]
pub fn cluster_bootstrap(values: &[(f64, u64)], draws: usize, seed: u64) -> Option<Interval> {
    let mean = mean(values.iter().map(|value| value.0))?;
    let mut clusters: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for (value, cluster) in values {
        let of = clusters.entry(*cluster).or_default();
        of.0 += value;
        of.1 += 1.0;
    }
    let clusters: Vec<(f64, f64)> = clusters.into_values().collect();
    let mut random = StdRng::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..draws)
        .map(|_| {
            let drawn = (0..clusters.len()).map(|_| clusters[random.random_range(0..clusters.len())]);
            let (sum, size) = drawn.fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
            sum / size
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let low = *means.get(draws * 25 / 1000)?;
    let high = *means.get((draws * 975).div_ceil(1000).saturating_sub(1))?;
    Some(Interval { mean, low, high })
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, size) = values.fold((0.0, 0.0), |(sum, size), value| (sum + value, size + 1.0));
    (size > 0.0).then(|| sum / size)
}

#[allow(clippy::cast_precision_loss, reason = "numbers of rows, far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-9)
    }

    #[test]
    fn scores_are_what_they_are_by_hand() {
        let two = [(0.5, true), (0.25, false)];
        assert!(close(log_loss(&two), -(0.5_f64.ln() + 0.75_f64.ln()) / 2.0));
        assert!(close(brier(&two), (0.25 + 0.0625) / 2.0));
        assert!(close(auc(&two), 1.0));
        assert!(close(auc(&[(0.5, true), (0.5, false), (0.1, true)]), 0.25));
        assert!(close(calibration_error(&two), (0.5 + 0.25) / 2.0));
    }

    #[test]
    fn what_has_no_answer_has_none() {
        assert_eq!((log_loss(&[]), brier(&[]), auc(&[]), calibration_error(&[])), (None, None, None, None));
        assert_eq!(auc(&[(0.5, true)]), None);
        assert_eq!(harrell_c(&[]), None);
        assert_eq!(cluster_bootstrap(&[], 100, 1), None);
        assert_eq!(cluster_bootstrap(&[(1.0, 1)], 0, 1), None);
        assert!(reliability(&[], 10).is_empty());
        assert!(log_cost(f64::NAN, true).is_finite() && log_cost(0.0, true).is_finite());
    }

    #[test]
    fn groups_hold_every_forecast_once() {
        let forecasts: Vec<(f64, bool)> = (0..23).map(|i| (f64::from(i) / 23.0, i % 2 == 0)).collect();
        let groups = reliability(&forecasts, 10);
        assert_eq!(groups.len(), 10);
        assert_eq!(groups.iter().map(|group| group.forecasts).sum::<usize>(), 23);
    }

    #[test]
    fn concordance_counts_only_pairs_whose_order_is_known() {
        let life = |lived_h, interrupted, risk| Ranked { lived_h, interrupted, risk };
        // The one stopped after an hour cannot be compared with the one that was interrupted after two.
        let lives = [life(1.0, false, 0.0), life(2.0, true, 3.0), life(3.0, true, 1.0), life(3.0, false, 2.0)];
        assert!(close(harrell_c(&lives), 2.0 / 3.0));
    }

    #[test]
    fn clusters_widen_the_interval_and_the_seed_decides() {
        let loose: Vec<(f64, u64)> = (0..200).map(|i| (f64::from(u8::from(i % 2 == 0)), i)).collect();
        let tied: Vec<(f64, u64)> = loose.iter().map(|(value, i)| (*value, (i % 2) + 2 * (i / 50))).collect();
        let (loose, tied) = (cluster_bootstrap(&loose, 500, 7), cluster_bootstrap(&tied, 500, 7));
        let (loose, tied) = (loose.unwrap(), tied.unwrap());
        assert!(tied.high - tied.low > 2.0 * (loose.high - loose.low), "{tied:?} {loose:?}");
        assert!(loose.low < 0.5 && loose.high > 0.5);
        let again: Vec<(f64, u64)> = (0..200).map(|i| (f64::from(u8::from(i % 2 == 0)), i)).collect();
        assert_eq!(cluster_bootstrap(&again, 500, 7), Some(loose));
    }
}
