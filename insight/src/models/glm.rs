//! Generalised linear models with a ridge.
//!
//! Inputs: rows of features, an offset, an outcome and a weight each. Outputs: coefficients, and how sure they are.
//! It must never diverge: the ridge keeps coefficients finite even where an outcome never occurs.

use crate::optimise::{Smooth, least_by_slope};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// η above this would overflow.
const MOST: f64 = 30.0;

/// How a row's η = offset + x·β becomes what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Link {
    /// The outcome is yes or no; the probability is 1 / (1 + e^−η).
    Logit,
    /// The outcome is a number of events; e^η are expected.
    Log,
}

impl Link {
    pub(crate) fn mean(self, eta: f64) -> f64 {
        let eta = eta.clamp(-MOST, MOST);
        match self {
            Self::Logit => 1.0 / (1.0 + (-eta).exp()),
            Self::Log => eta.exp(),
        }
    }

    /// −ln of the likelihood of an outcome.
    fn cost(self, eta: f64, outcome: f64) -> f64 {
        let eta = eta.clamp(-MOST, MOST);
        match self {
            Self::Logit => eta.exp().ln_1p() - outcome * eta,
            Self::Log => eta.exp() - outcome * eta,
        }
    }

    /// How much the mean changes with η.
    fn steepness(self, mean: f64) -> f64 {
        match self {
            Self::Logit => mean * (1.0 - mean),
            Self::Log => mean,
        }
    }
}

/// What to learn from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    width: usize,
    features: Vec<f64>,
    offsets: Vec<f64>,
    outcomes: Vec<f64>,
}

impl Rows {
    pub(crate) fn push(&mut self, features: &[f64], offset: f64, outcome: f64) {
        self.width = features.len();
        self.features.extend_from_slice(features);
        self.offsets.push(offset);
        self.outcomes.push(outcome);
    }

    pub(crate) fn len(&self) -> usize {
        self.outcomes.len()
    }

    fn each(&self) -> impl Iterator<Item = (&[f64], f64, f64)> {
        let rows = self.features.chunks_exact(self.width.max(1));
        rows.zip(&self.offsets).zip(&self.outcomes).map(|((row, offset), outcome)| (row, *offset, *outcome))
    }
}

/// Coefficients, and their covariance (row by row; empty where it was not asked for).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fitted {
    link: Link,
    pub(crate) coefficients: Vec<f64>,
    covariance: Vec<f64>,
}

struct Penalised<'r> {
    link: Link,
    rows: &'r Rows,
    ridges: &'r [f64],
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Smooth for Penalised<'_> {
    fn value(&self, at: &[f64]) -> f64 {
        let rows: f64 = self.rows.each().map(|(row, offset, y)| self.link.cost(offset + dot(row, at), y)).sum();
        let ridges: f64 = at.iter().zip(self.ridges).map(|(value, ridge)| 0.5 * ridge * value * value).sum();
        (rows + ridges) / self.size()
    }

    fn slope(&self, at: &[f64]) -> Vec<f64> {
        let mut slope: Vec<f64> = at.iter().zip(self.ridges).map(|(value, ridge)| ridge * value).collect();
        for (row, offset, outcome) in self.rows.each() {
            let excess = self.link.mean(offset + dot(row, at)) - outcome;
            slope.iter_mut().zip(row).for_each(|(slope, feature)| *slope += excess * feature);
        }
        let size = self.size();
        slope.into_iter().map(|slope| slope / size).collect()
    }
}

impl Penalised<'_> {
    /// What is minimised is the mean of the rows: then one tolerance is right for few rows and for many.
    #[allow(clippy::cast_precision_loss, reason = "a number of rows")]
    fn size(&self) -> f64 {
        self.rows.len() as f64
    }
}

/// Fits by penalised likelihood: each coefficient is held to nought by its ridge. None where there are no rows or
/// nothing was found.
pub(crate) fn fit(link: Link, rows: &Rows, ridges: &[f64], with_covariance: bool) -> Option<Fitted> {
    if rows.len() == 0 || rows.width != ridges.len() {
        return None;
    }
    let problem = Penalised { link, rows, ridges };
    let coefficients = least_by_slope(vec![0.0; ridges.len()], &problem)?;
    let covariance = if with_covariance { covariance(&problem, &coefficients).unwrap_or_default() } else { Vec::new() };
    Some(Fitted { link, coefficients, covariance })
}

/// The inverse of the information (Laplace's approximation).
fn covariance(problem: &Penalised<'_>, at: &[f64]) -> Option<Vec<f64>> {
    let mut information = DMatrix::from_diagonal(&DVector::from_column_slice(problem.ridges));
    for (row, offset, _) in problem.rows.each() {
        let steepness = problem.link.steepness(problem.link.mean(offset + dot(row, at)));
        let row = DVector::from_column_slice(row);
        information.ger(steepness, &row, &row, 1.0);
    }
    let inverse = information.cholesky()?.inverse();
    Some(inverse.as_slice().to_vec())
}

impl Fitted {
    /// η of a row.
    pub(crate) fn eta(&self, features: &[f64], offset: f64) -> f64 {
        (offset + dot(features, &self.coefficients)).clamp(-MOST, MOST)
    }

    /// What is expected of a row.
    pub(crate) fn mean(&self, features: &[f64], offset: f64) -> f64 {
        self.link.mean(self.eta(features, offset))
    }

    /// The variance of η.
    pub(crate) fn variance(&self, features: &[f64]) -> f64 {
        let width = features.len();
        if width == 0 || self.covariance.len() != width * width {
            return 0.0;
        }
        let rows = self.covariance.chunks_exact(width).zip(features);
        rows.map(|(row, feature)| feature * dot(row, features)).sum::<f64>().max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_are_those_of_the_closed_form() {
        // Two groups, no ridge to speak of: the log of the rate, and the log of odds.
        let mut rows = Rows::default();
        for i in 0..100 {
            rows.push(&[1.0, f64::from(i % 2)], 0.0, f64::from(u8::from(i % 2 == 0 && i < 20 || i % 2 == 1 && i < 80)));
        }
        let log = fit(Link::Log, &rows, &[1e-9, 1e-9], true).unwrap();
        assert!((log.coefficients[0] - 0.2_f64.ln()).abs() < 1e-5, "{log:?}");
        assert!((log.coefficients[1] - 4.0_f64.ln()).abs() < 1e-5);
        // The variance of the log of a Poisson rate is one over its events.
        assert!((log.variance(&[1.0, 0.0]) - 0.1).abs() < 1e-5 && (log.variance(&[1.0, 1.0]) - 0.025).abs() < 1e-5);
        let logit = fit(Link::Logit, &rows, &[1e-9, 1e-9], false).unwrap();
        assert!((logit.mean(&[1.0, 1.0], 0.0) - 0.8).abs() < 1e-6 && (logit.mean(&[1.0, 0.0], 0.0) - 0.2).abs() < 1e-6);
        assert!((logit.variance(&[1.0, 0.0])).abs() < 1e-12);
    }

    #[test]
    fn the_ridge_holds_what_would_run_away() {
        let mut rows = Rows::default();
        (0..50).for_each(|_| rows.push(&[1.0], 0.0, 0.0));
        for link in [Link::Log, Link::Logit] {
            let held = fit(link, &rows, &[1.0], true).unwrap();
            assert!(held.coefficients[0] < -1.0 && held.coefficients[0] > -10.0, "{held:?}");
        }
        assert_eq!(fit(Link::Log, &Rows::default(), &[], false), None);
    }
}
