//! Weibull's distribution of lifetimes, fitted to censored lives by maximum likelihood.
//!
//! Inputs: at which ages machines were watched, and at which they were interrupted. Outputs: the cumulative hazard (t
//! / λ)^k: below k = 1 young machines are in more danger than old ones. It must never take a stopped machine for an
//! interrupted one.
//!
//! The likelihood is d ln k + (k − 1) Σ ln t − Σ (bᵏ − aᵏ) d / Σ (…) once λ is put at its best for a k, λᵏ = Σ (bᵏ −
//! aᵏ) / d; what is left is the root of one decreasing function of k, found to the last digits (Brent). Source: J. F.
//! Lawless, "Statistical Models and Methods for Lifetime Data", 2003, section 5.2; with delayed entry, a machine is
//! watched from a to b.

use super::tally::Tally;
use super::{Ask, Forecast, Model, SHORTEST_H, enough, joint_shape, number, sound};
use crate::optimise::root;
use crate::{Life, Scarce};
use serde::{Deserialize, Serialize};

/// Bounds of k. Beyond them lies no lifetime of a machine, only too little data.
const SHAPES: (f64, f64) = (0.05, 20.0);

/// A curve of hazard over age.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// λ: the age at which the cumulative hazard is one, hours.
    pub scale_h: f64,
    /// k: below one, the danger falls with age.
    pub shape: f64,
    /// How many interruptions it was fitted to.
    pub events: f64,
    /// The variance of k.
    shape_variance: f64,
    /// Σ (bᵏ ln b − aᵏ ln a) / Σ (bᵏ − aᵏ): where on the (logarithmic) axis of ages the machines were watched.
    centre: f64,
}

/// When machines were watched, and when interrupted; ages in hours.
pub(crate) struct Watched {
    /// From and to.
    pub(crate) spans: Vec<(f64, f64)>,
    /// Ages of interruptions.
    pub(crate) events: Vec<f64>,
}

impl Watched {
    /// Whole lives.
    pub(crate) fn of(lives: &[&Life]) -> Self {
        let length = |life: &&Life| life.lived_h.max(SHORTEST_H);
        let spans = lives.iter().map(|life| (0.0, length(life))).collect();
        Self { spans, events: lives.iter().filter(|life| life.is_interrupted()).map(length).collect() }
    }

    /// The same, but as if nobody had looked between two ages.
    pub(crate) fn without(self, from: f64, to: f64) -> Self {
        let parts = self.spans.into_iter().flat_map(|(a, b)| [(a, b.min(from)), (a.max(to), b)]);
        let spans = parts.filter(|(a, b)| b > a).collect();
        Self { spans, events: self.events.into_iter().filter(|age| *age < from || *age >= to).collect() }
    }
}

impl Curve {
    /// The same hazard at every age.
    pub(crate) fn constant(events: f64, exposure_h: f64) -> Self {
        Self { scale_h: exposure_h / events, shape: 1.0, events, shape_variance: 0.0, centre: 0.0 }
    }

    /// Fits; None where there are not two interruptions at different ages.
    pub(crate) fn fit(watched: &Watched) -> Option<Self> {
        let longest = watched.spans.iter().map(|span| span.1).fold(0.0, f64::max);
        let events = number(watched.events.len() as u64);
        if longest <= 0.0 || watched.events.len() < 2 {
            return None;
        }
        // In units of the longest life nothing overflows.
        let logs: f64 = watched.events.iter().map(|age| (age / longest).ln()).sum();
        let excess = |k: f64| {
            let (area, moment) = watched.area(longest, k);
            events / k + logs - events * moment / area
        };
        let shape = if excess(SHAPES.0) <= 0.0 {
            SHAPES.0
        } else if excess(SHAPES.1) >= 0.0 {
            SHAPES.1
        } else {
            root(SHAPES.0, SHAPES.1, excess)?
        };
        let (area, moment) = watched.area(longest, shape);
        let step = 1e-4 * shape;
        let curvature = (excess(shape - step) - excess(shape + step)) / (2.0 * step);
        let fitted = Self {
            scale_h: longest * (area / events).powf(1.0 / shape),
            shape,
            events,
            shape_variance: if curvature > 0.0 { 1.0 / curvature } else { shape * shape },
            centre: moment / area + longest.ln(),
        };
        (fitted.scale_h.is_finite() && fitted.scale_h > 0.0 && fitted.centre.is_finite()).then_some(fitted)
    }

    /// Interruptions to be expected between two ages, hours, of a machine that is replaced at once.
    #[must_use]
    pub fn expected(&self, from: f64, to: f64) -> f64 {
        let until = |age: f64| (age / self.scale_h).powf(self.shape);
        (until(to) - until(from)).max(0.0)
    }

    /// How sure that is, as a number of interruptions: those it was fitted to for the level of the curve, and the
    /// variance of k for its slope, which counts the more the farther from where machines were watched the question
    /// is.
    #[must_use]
    pub fn sureness(&self, from: f64, to: f64) -> f64 {
        let (from, to) = (from.max(SHORTEST_H), to.max(2.0 * SHORTEST_H));
        let (a, b) = (from.powf(self.shape), to.powf(self.shape));
        let slope = if b > a { (b * to.ln() - a * from.ln()) / (b - a) } else { to.ln() };
        let spread = (slope - self.centre).powi(2) * self.shape_variance;
        joint_shape([self.events, 1.0 / spread.max(1e-9)])
    }
}

impl Watched {
    /// Σ (bᵏ − aᵏ) and Σ (bᵏ ln b − aᵏ ln a), with ages in a unit.
    fn area(&self, unit: f64, k: f64) -> (f64, f64) {
        let at = |age: f64| {
            let age = age / unit;
            if age > 0.0 { (age.powf(k), age.powf(k) * age.ln()) } else { (0.0, 0.0) }
        };
        self.spans.iter().fold((0.0, 0.0), |sum, (a, b)| {
            let (a, b) = (at(*a), at(*b));
            (sum.0 + b.0 - a.0, sum.1 + b.1 - a.1)
        })
    }
}

/// One curve for all machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weibull {
    /// The curve.
    pub curve: Curve,
    tally: Tally,
}

impl Model for Weibull {
    const NAME: &'static str = "Weibull, censored likelihood";

    fn fit(lives: &[Life]) -> Result<Self, Scarce> {
        let lives = sound(lives);
        let tally = enough(&lives)?;
        let curve = Curve::fit(&Watched::of(&lives)).ok_or_else(|| {
            Scarce("all interruptions came at the same age: no curve goes through one point".to_owned())
        })?;
        Ok(Self { curve, tally })
    }

    fn forecast(&self, ask: &Ask<'_>) -> Forecast {
        let (from, to) = ask.span_h();
        Forecast { expected: self.curve.expected(from, to), shape: self.curve.sureness(from, to) }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Lives of a known curve, some of which are stopped before they end.
    pub(crate) fn drawn(scale_h: f64, shape: f64, stop_h: f64, size: usize, seed: u64) -> Vec<Life> {
        let mut random = StdRng::seed_from_u64(seed);
        let life = |_| {
            let ends = scale_h * (-random.random::<f64>().ln()).powf(1.0 / shape);
            let stops = stop_h * -random.random::<f64>().ln();
            let outcome = if ends < stops { Outcome::Interrupted } else { Outcome::Stopped };
            Life { pool: Pool::default(), launched_s: 0.0, lived_h: ends.min(stops), outcome, batch: None }
        };
        (0..size).map(life).collect()
    }

    #[test]
    fn the_parameters_that_lives_were_drawn_from_are_found_although_half_are_censored() {
        for (scale, shape) in [(20.0, 0.5), (10.0, 1.0), (5.0, 2.5)] {
            let lives = drawn(scale, shape, 12.0, 20_000, 1);
            let fitted = Weibull::fit(&lives).unwrap().curve;
            let close = (fitted.scale_h / scale - 1.0).abs() < 0.05 && (fitted.shape / shape - 1.0).abs() < 0.03;
            assert!(close, "{fitted:?} of {scale}, {shape}");
        }
    }

    #[test]
    fn the_slope_of_the_likelihood_is_zero_where_the_fit_is() {
        let lives = drawn(20.0, 0.6, 30.0, 500, 2);
        let fitted = Weibull::fit(&lives).unwrap().curve;
        let likelihood = |scale: f64, k: f64| -> f64 {
            let of = |life: &Life| {
                let t = life.lived_h.max(SHORTEST_H);
                let density = if life.is_interrupted() { (k / scale).ln() + (k - 1.0) * (t / scale).ln() } else { 0.0 };
                density - (t / scale).powf(k)
            };
            lives.iter().map(of).sum()
        };
        let (s, k) = (fitted.scale_h, fitted.shape);
        let slope = |a: f64, b: f64, step: f64| (a - b) / step;
        assert!(slope(likelihood(s * (1.0 + 1e-6), k), likelihood(s * (1.0 - 1e-6), k), 2e-6).abs() < 1e-2);
        assert!(slope(likelihood(s, k * (1.0 + 1e-6)), likelihood(s, k * (1.0 - 1e-6)), 2e-6).abs() < 1e-2);
    }

    #[test]
    fn hours_that_nobody_watched_do_not_matter() {
        let lives = drawn(20.0, 0.6, 1e6, 20_000, 3);
        let all = Watched::of(&lives.iter().collect::<Vec<_>>());
        let part = Curve::fit(&all.without(5.0, 15.0)).unwrap();
        assert!((part.shape / 0.6 - 1.0).abs() < 0.03 && (part.scale_h / 20.0 - 1.0).abs() < 0.05, "{part:?}");
    }

    #[test]
    fn the_spread_of_fits_is_what_the_fit_says_of_itself() {
        let mut logs = Vec::new();
        let mut said = 0.0;
        for seed in 0..200 {
            let curve = Weibull::fit(&drawn(20.0, 0.6, 30.0, 200, seed)).unwrap().curve;
            logs.push(curve.expected(20.0, 40.0).ln());
            said += 1.0 / curve.sureness(20.0, 40.0) / 200.0;
        }
        let mean = logs.iter().sum::<f64>() / 200.0;
        let spread = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 199.0;
        assert!(said / spread > 0.7 && said / spread < 1.4, "{said} {spread}");
    }

    #[test]
    fn one_sided_lives_have_no_curve() {
        let mut lives = drawn(20.0, 0.6, 30.0, 400, 4);
        lives.iter_mut().for_each(|life| life.outcome = Outcome::Stopped);
        assert!(Weibull::fit(&lives).unwrap_err().to_string().contains("0 interruptions"));
        let same = Life { lived_h: 30.0, outcome: Outcome::Interrupted, ..lives[0].clone() };
        let fitted = Weibull::fit(&vec![same; 20]).unwrap();
        assert_eq!(fitted.curve.shape, SHAPES.1);
    }
}
