//! Rates of groups that have something in common: Gamma-Poisson, by empirical Bayes.
//!
//! Inputs: events and exposure of each group (hours, or the events that another model expects). Outputs: how much the
//! groups differ, and for each a rate that lies between its own and that of all. n ~ Poisson(λ x), λ ~ Gamma(k, β):
//! the posterior mean is (n + k) / (x + β). β is k over the rate of all, and k makes what was seen most likely: Σ ln
//! Γ(n + k) − ln Γ(k) + k ln β − (n + k) ln(β + x). It must never give a group that was not seen anything but the
//! rate of all.

use crate::optimise;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Gamma};
use statrs::function::gamma::{digamma, ln_gamma};

/// Bounds of k: below, groups have nothing in common; above, they don't differ.
const SHAPES: (f64, f64) = (0.05, 1e4);

/// How far from a summit that was found the slope is looked at, in the logarithm of k.
const NEAR: f64 = 0.01;

/// How the rates of groups are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GammaPoisson {
    /// k: the events that what is common to all is worth.
    pub shape: f64,
    /// β: the exposure that it is worth.
    pub rate: f64,
}

/// What is known of one rate: a Gamma distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posterior {
    /// Events, those of the prior with them.
    pub shape: f64,
    /// Exposure, that of the prior with it.
    pub rate: f64,
}

impl GammaPoisson {
    /// Fits to groups of (events, exposure). Events need not be whole numbers. None without exposure or events.
    #[must_use]
    pub fn fit(groups: &[(f64, f64)]) -> Option<Self> {
        let (events, exposure) = groups.iter().fold((0.0, 0.0), |all, group| (all.0 + group.0, all.1 + group.1));
        let mean = events / exposure;
        if !(mean.is_finite() && mean > 0.0) {
            return None;
        }
        Self::around(mean, groups)
    }

    /// The same with a mean that is known. None where it is not a positive number.
    #[must_use]
    pub fn around(mean: f64, groups: &[(f64, f64)]) -> Option<Self> {
        if !(mean.is_finite() && mean > 0.0) {
            return None;
        }
        let unlikely =
            |log_shape: f64| -Self { shape: log_shape.exp(), rate: log_shape.exp() / mean }.log_likelihood(groups);
        let seen = groups.iter().filter(|group| group.1 > 0.0).count();
        let log_shape = if seen < 2 { None } else { optimise::least(SHAPES.0.ln(), SHAPES.1.ln(), unlikely) };
        // A summit is flat: where exactly it is, the slope tells.
        let slope = |log_shape: f64| slope(log_shape.exp(), mean, groups);
        let log_shape = log_shape.map(|near| optimise::root(near - NEAR, near + NEAR, slope).unwrap_or(near));
        let shape = log_shape.map_or(SHAPES.1, f64::exp).clamp(SHAPES.0, SHAPES.1);
        Some(Self { shape, rate: shape / mean })
    }

    /// How likely what was seen is, but for what does not depend on the parameters.
    #[must_use]
    pub fn log_likelihood(&self, groups: &[(f64, f64)]) -> f64 {
        let Self { shape: k, rate } = *self;
        let of = |(events, exposure): &(f64, f64)| {
            ln_gamma(events + k) - ln_gamma(k) + k * rate.ln() - (events + k) * (rate + exposure).ln()
        };
        groups.iter().map(of).sum()
    }

    /// What is known of a group that had so many events in so much exposure.
    #[must_use]
    pub fn posterior(&self, events: f64, exposure: f64) -> Posterior {
        Posterior { shape: events + self.shape, rate: exposure + self.rate }
    }
}

/// How the likelihood changes with k, when the mean stays.
fn slope(k: f64, mean: f64, groups: &[(f64, f64)]) -> f64 {
    let rate = k / mean;
    let of = |(events, exposure): &(f64, f64)| {
        let all = rate + exposure;
        digamma(events + k) - digamma(k) + rate.ln() + 1.0 - all.ln() - (events + k) / (mean * all)
    };
    groups.iter().map(of).sum()
}

impl Posterior {
    /// The expected rate.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.shape / self.rate
    }

    /// Where the rate lies with 95 %.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        // statrs looks for the quantile from 1 on, so ask it for one near there.
        let Ok(unit) = Gamma::new(self.shape, self.shape) else { return (0.0, f64::MAX) };
        let mean = self.mean();
        let at = |share| unit.inverse_cdf(share) * mean;
        let (low, high) = (at(0.025), at(0.975));
        (if low.is_finite() { low } else { 0.0 }, if high.is_finite() { high } else { f64::MAX })
    }

    /// The probability of at least one event in a further exposure, exactly: 1 − (β / (β + Δ))ⁿ with this posterior's
    /// β and n.
    #[must_use]
    pub fn at_least_one(&self, exposure: f64) -> f64 {
        -(-self.shape * (exposure / self.rate).ln_1p()).exp_m1()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_data_is_drawn_to_the_rate_of_all_and_much_is_not() {
        let groups = [(2.0, 100.0), (40.0, 200.0), (5.0, 500.0), (90.0, 1000.0), (0.0, 1.0)];
        let fitted = GammaPoisson::fit(&groups).unwrap();
        let all = 137.0 / 1801.0;
        assert!((fitted.shape / fitted.rate - all).abs() < 1e-9);
        let far = |events: f64, exposure: f64| {
            let own = events / exposure;
            (fitted.posterior(events, exposure).mean() - own).abs() / (own - all).abs()
        };
        assert!(far(2.0, 10.0) > 3.0 * far(200.0, 1000.0), "{} {}", far(2.0, 10.0), far(200.0, 1000.0));
        assert!(
            (fitted.posterior(0.0, 0.0).mean() - all).abs() < 1e-9,
            "a group that was not seen has the rate of all"
        );
    }

    #[test]
    fn groups_that_do_not_differ_are_one() {
        let same: Vec<(f64, f64)> = (0..20).map(|i| (10.0, 100.0 + f64::from(i % 2))).collect();
        assert!(GammaPoisson::fit(&same).unwrap().shape > 1e3);
        assert_eq!(GammaPoisson::fit(&[(3.0, 10.0)]).unwrap().shape, SHAPES.1);
        assert_eq!(GammaPoisson::fit(&[]), None);
        assert_eq!(GammaPoisson::fit(&[(0.0, 10.0)]), None);
        assert_eq!(GammaPoisson::fit(&[(3.0, 0.0)]), None);
    }

    #[test]
    fn the_shape_is_the_most_likely_one() {
        let groups = [(2.0, 100.0), (40.0, 200.0), (5.0, 500.0), (90.0, 1000.0), (11.0, 90.0)];
        let best = GammaPoisson::fit(&groups).unwrap();
        let mean = best.shape / best.rate;
        let (below, above) =
            (slope(best.shape * (1.0 - 1e-8), mean, &groups), slope(best.shape * (1.0 + 1e-8), mean, &groups));
        assert!(below > 0.0 && above < 0.0, "{below} {above}");
        for factor in [0.99, 1.01] {
            let other = GammaPoisson { shape: best.shape * factor, rate: best.rate * factor };
            assert!(other.log_likelihood(&groups) < best.log_likelihood(&groups));
        }
    }

    #[test]
    fn intervals_are_those_of_the_gamma_distribution() {
        // scipy.stats.gamma(3, scale=0.5).ppf([.025, .975])
        let (low, high) = Posterior { shape: 3.0, rate: 2.0 }.interval();
        assert!((low - 0.309_336).abs() < 1e-5 && (high - 3.612_344).abs() < 1e-5, "{low} {high}");
        let (low, high) = Posterior { shape: 1e-3, rate: 1.0 }.interval();
        assert!(low >= 0.0 && high.is_finite());
        assert!((Posterior { shape: 2.0, rate: 3.0 }.at_least_one(1.0) - (1.0 - 0.5625)).abs() < 1e-12);
    }
}
