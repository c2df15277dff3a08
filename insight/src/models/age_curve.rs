//! A hazard over age that is smooth where little was seen, and follows what was seen where that is much.
//!
//! Inputs: lives. Outputs: Weibull's curve, times a multiplier for each age bin that lies between one and what was
//! seen there (Gamma-Poisson: how far lives stray from the curve as a whole decides how much a bin is believed). It
//! must never let the 24 h wall bend the curve: those hours stand for themselves.

use super::age_bins::{EDGES_H, bin_of, life_table, parts};
use super::gamma_poisson::{GammaPoisson, Posterior};
use super::weibull::{Curve, Watched};
use super::{DAY_WALL_H, Forecast, joint_shape};
use crate::Life;
use serde::{Deserialize, Serialize};

/// What the hours around the wall are believed to know before any was seen: half an interruption.
const VAGUE: GammaPoisson = GammaPoisson { shape: 0.5, rate: 0.5 };

/// A curve and its multipliers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgeCurve {
    base: Curve,
    bins: Vec<Posterior>,
}

impl AgeCurve {
    /// Fits to lives. `dispersion` is how many times more events come in clusters than Poisson's distribution has
    /// them (one: not at all). None without interruptions or hours.
    #[must_use]
    pub fn fit(lives: &[&Life], dispersion: f64) -> Option<Self> {
        let (from, to) = DAY_WALL_H;
        let watched = Watched::of(lives).without(from, to);
        let hours: f64 = watched.spans.iter().map(|span| span.1 - span.0).sum();
        let events = watched.events.iter().map(|_| 1.0).sum::<f64>();
        let base = match Curve::fit(&watched) {
            Some(curve) => curve,
            None if hours > 0.0 => Curve::constant(events.max(0.5), hours),
            None => return None,
        };
        let mut expected = [0.0; EDGES_H.len()];
        for life in lives {
            for (bin, low, high) in parts(0.0, life.lived_h) {
                expected[bin] += base.expected(low, high);
            }
        }
        let seen: Vec<(f64, f64)> = life_table(lives)
            .iter()
            .zip(expected)
            .map(|((events, _), expected)| (events / dispersion, expected / dispersion))
            .collect();
        let wall = bin_of(from);
        let others: Vec<(f64, f64)> =
            seen.iter().enumerate().filter(|(bin, _)| *bin != wall).map(|(_, seen)| *seen).collect();
        let common = GammaPoisson::around(1.0, &others)?;
        let of = |(bin, (events, expected)): (usize, &(f64, f64))| {
            if bin == wall { VAGUE.posterior(*events, *expected) } else { common.posterior(*events, *expected) }
        };
        Some(Self { base, bins: seen.iter().enumerate().map(of).collect() })
    }

    /// Interruptions to be expected between two ages, hours.
    #[must_use]
    pub fn forecast(&self, from: f64, to: f64) -> Forecast {
        let (mut expected, mut variance) = (0.0, 0.0);
        for (bin, low, high) in parts(from, to) {
            let Some(multiplier) = self.bins.get(bin) else { continue };
            let part = self.base.expected(low, high) * multiplier.mean();
            expected += part;
            variance += part * part / multiplier.shape;
        }
        let own = if variance > 0.0 { expected * expected / variance } else { f64::MAX };
        Forecast { expected, shape: joint_shape([own, self.base.events]) }
    }

    /// The same, but for the hours around the 24 h wall: what pools can be compared by.
    #[must_use]
    pub fn comparable(&self, from: f64, to: f64) -> f64 {
        let (wall, beyond) = DAY_WALL_H;
        let part = |low: f64, high: f64| if high > low { self.forecast(low, high).expected } else { 0.0 };
        part(from, to.min(wall)) + part(from.max(beyond), to)
    }
}

/// Whether a life ended by an interruption that pools can be compared by: not at the 24 h wall.
pub(crate) fn is_comparable(life: &Life) -> bool {
    life.is_interrupted() && !(DAY_WALL_H.0..DAY_WALL_H.1).contains(&life.lived_h)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};

    #[test]
    fn the_wall_does_not_bend_the_curve() {
        // A calm hazard of .02 an hour, and everybody who is left goes at 24 h.
        let life = |i: u32| {
            let ends = -50.0 * (1.0 - (f64::from(i) + 0.5) / 2_000.0).ln();
            Life {
                pool: Pool::default(),
                launched_s: 0.0,
                lived_h: ends.min(24.0),
                outcome: Outcome::Interrupted,
                batch: None,
            }
        };
        let lives: Vec<Life> = (0..2_000).map(life).collect();
        let curve = AgeCurve::fit(&lives.iter().collect::<Vec<_>>(), 1.0).unwrap();
        for age in [0.0, 1.0, 5.0, 12.0, 21.0] {
            let hourly = curve.forecast(age, age + 1.0).expected;
            assert!((hourly / 0.02 - 1.0).abs() < 0.15, "{age} h: {hourly}");
        }
        assert!(curve.forecast(23.0, 25.0).expected > 0.5);
        assert!(
            (curve.comparable(22.0, 26.0) - curve.forecast(22.0, 23.0).expected - curve.forecast(25.0, 26.0).expected)
                .abs()
                < 1e-12
        );
    }

    #[test]
    fn without_hours_there_is_no_curve_and_without_interruptions_a_low_one() {
        assert_eq!(AgeCurve::fit(&[], 1.0), None);
        let calm =
            Life { pool: Pool::default(), launched_s: 0.0, lived_h: 100.0, outcome: Outcome::Running, batch: None };
        let curve = AgeCurve::fit(&[&calm, &calm], 1.0).unwrap();
        let forecast = curve.forecast(0.0, 10.0);
        assert!(forecast.expected > 0.0 && forecast.expected < 0.1, "{forecast:?}");
    }
}
