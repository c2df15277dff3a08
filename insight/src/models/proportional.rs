//! Proportional hazards: the curve over age, times what size, place and the hour of the day multiply it by.
//!
//! Inputs: lives and a curve that was fitted to them. Outputs: coefficients (logarithms of multipliers), each held to
//! nought by a ridge: of a pool that was never seen, its size, its family, its region still count. It must never be
//! given the hours around the 24 h wall: they say nothing about places.
//!
//! Source: Poisson regression with the expected number as its offset is the proportional hazards model with a known
//! baseline (T. R. Holford, 1980).

use super::age_curve::{AgeCurve, is_comparable};
use super::features::{DAY_S, Features, clock};
use super::glm::{self, Fitted, Link, Rows};
use super::{Forecast, SHORTEST_H, joint_shape};
use crate::{Life, Pool};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// More hours than this are not split by the hour of the day.
pub(crate) const MOST_HOURS: f64 = 3e5;

/// A pool without hours has this exposure: its logarithm has to exist.
const LEAST_EXPECTED: f64 = 1e-9;

/// What multiplies the curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proportional {
    features: Features,
    fitted: Fitted,
}

/// Hour of the week from 0, or 0 where it does not count.
type Slot = u32;

/// What was seen and expected of each pool, in each hour of the week where that counts: what coefficients of any
/// ridge are fitted to.
pub struct Exposure {
    features: Features,
    rows: Rows,
}

impl Exposure {
    /// Counts. `dispersion` as for [`AgeCurve::fit`]; `has_clock` says whether the hour of the day counts. None where
    /// there are too many hours to split by it.
    #[must_use]
    pub fn of(lives: &[&Life], curve: &AgeCurve, dispersion: f64, has_clock: bool) -> Option<Self> {
        let hours: f64 = lives.iter().map(|life| life.lived_h).sum();
        if has_clock && hours > MOST_HOURS {
            return None;
        }
        let mut seen: BTreeMap<(&Pool, Slot), (f64, f64)> = BTreeMap::new();
        for life in lives {
            let lived_h = life.lived_h.max(SHORTEST_H);
            let mut age = 0.0;
            while age < lived_h {
                let end = if has_clock { lived_h.min(age + 1.0) } else { lived_h };
                let of = seen.entry((&life.pool, slot(life, f64::midpoint(age, end), has_clock))).or_default();
                of.1 += curve.comparable(age, end) / dispersion;
                age = end;
            }
            if is_comparable(life) {
                let of = seen.entry((&life.pool, slot(life, lived_h, has_clock))).or_default();
                of.0 += 1.0 / dispersion;
            }
        }
        let features = Features::of(lives.iter().map(|life| (&life.pool, life.lived_h)), has_clock);
        let mut rows = Rows::default();
        for ((pool, slot), (events, expected)) in &seen {
            let row = features.row(pool, clock_of(*slot));
            rows.push(&row, expected.max(LEAST_EXPECTED).ln(), *events);
        }
        Some(Self { features, rows })
    }
}

impl Proportional {
    /// Fits, with a ridge. None where there is nothing to fit to.
    #[must_use]
    pub fn fit(exposure: &Exposure, ridge: f64) -> Option<Self> {
        let fitted = glm::fit(Link::Log, &exposure.rows, &exposure.features.ridges(ridge), true)?;
        Some(Self { features: exposure.features.clone(), fitted })
    }

    /// What the curve foresees, times the multiplier of a pool at a moment.
    #[must_use]
    pub fn forecast(&self, curve: Forecast, pool: &Pool, now_s: Option<f64>) -> Forecast {
        let row = self.features.row(pool, clock(now_s));
        let spread = self.fitted.variance(&row);
        Forecast {
            expected: curve.expected * self.fitted.mean(&row, 0.0),
            shape: joint_shape([curve.shape, 1.0 / spread.max(1e-6)]),
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a remainder of 168")]
fn slot(life: &Life, age_h: f64, has_clock: bool) -> Slot {
    let hour = ((life.launched_s + age_h * 3_600.0) / 3_600.0).floor();
    if has_clock && hour.is_finite() { hour.rem_euclid(168.0) as Slot } else { 0 }
}

/// The clock in the middle of an hour of the week that begins on a Thursday, as 1970 did.
fn clock_of(slot: Slot) -> [f64; 3] {
    clock(Some((f64::from(slot) + 0.5) * DAY_S / 24.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::data::lives::pool_of;

    #[test]
    fn a_size_that_was_never_seen_is_on_the_line_of_those_that_were() {
        let mut lives = Vec::new();
        for (size, events) in [(2, 5), (4, 10), (8, 20), (16, 40)] {
            for i in 0..200 {
                lives.push(Life {
                    pool: pool_of("us-east1-b", &format!("n1-highcpu-{size}")),
                    launched_s: f64::from(i) * 7_000.0,
                    lived_h: 10.0,
                    outcome: if i < events { Outcome::Interrupted } else { Outcome::Stopped },
                    batch: None,
                });
            }
        }
        let lives: Vec<&Life> = lives.iter().collect();
        let curve = AgeCurve::fit(&lives, 1.0).unwrap();
        let fit = |ridge: f64, has_clock: bool| {
            Proportional::fit(&Exposure::of(&lives, &curve, 1.0, has_clock).unwrap(), ridge).unwrap()
        };
        let fitted = fit(0.1, false);
        let at = |size: u32| {
            fitted.forecast(curve.forecast(0.0, 1.0), &pool_of("us-east1-b", &format!("n1-highcpu-{size}")), None)
        };
        let (small, large, huge) = (at(2).expected, at(16).expected, at(64));
        assert!(large / small > 6.0 && large / small < 9.0, "{small} {large}");
        assert!(huge.expected / large > 3.0 && huge.shape < at(8).shape, "{huge:?}");
        let by_hour = fit(1.0, true);
        assert!(by_hour.forecast(curve.forecast(0.0, 1.0), &Pool::default(), Some(0.0)).expected.is_finite());
    }
}
