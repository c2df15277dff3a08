//! How much more dangerous a pool is than all: multipliers from the widest group to the closest.
//!
//! Inputs: lives, and how many interruptions were to be expected of each. Outputs: for every provider, family, family
//! in a region and pool a multiplier that lies between that of its parent and its own (Gamma-Poisson around the
//! parent, one k for each level). A pool that was not seen has the multiplier of the closest group that was. It must
//! never count machines that end together as if each told something new: events are divided by how much they come in
//! clusters.

use super::age_curve::{AgeCurve, is_comparable};
use super::gamma_poisson::GammaPoisson;
use super::tally::ByPool;
use super::{SHORTEST_H, joint_shape};
use crate::{Level, Life, Pool};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// From the widest to the closest; the curve itself stands for everything.
const LEVELS: [Level; 4] = [Level::Provider, Level::Family, Level::FamilyInRegion, Level::Pool];

/// No dispersion above this is believed.
const MOST_DISPERSION: f64 = 20.0;

/// A multiplier, and how many interruptions it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Multiplier {
    /// Times the hazard of all.
    pub mean: f64,
    /// The shape of its distribution.
    pub shape: f64,
}

/// Multipliers of all groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    multipliers: ByPool<Multiplier>,
    /// k of each level.
    spreads: Vec<(Level, f64)>,
}

impl Levels {
    /// Fits to lives that a curve was fitted to. `dispersion` as for [`AgeCurve::fit`].
    #[must_use]
    pub fn fit(lives: &[&Life], curve: &AgeCurve, dispersion: f64) -> Self {
        let mut pools: BTreeMap<&Pool, (f64, f64)> = BTreeMap::new();
        for life in lives {
            let of = pools.entry(&life.pool).or_default();
            of.0 += f64::from(u8::from(is_comparable(life))) / dispersion;
            of.1 += curve.comparable(0.0, life.lived_h.max(SHORTEST_H)) / dispersion;
        }
        let mut multipliers: BTreeMap<(Level, Pool), Multiplier> = BTreeMap::new();
        // Of each pool: the multiplier of its group at the level before.
        let mut parents: BTreeMap<&Pool, Multiplier> =
            pools.keys().map(|pool| (*pool, Multiplier { mean: 1.0, shape: f64::MAX })).collect();
        let mut spreads = Vec::new();
        for level in LEVELS {
            let mut groups: BTreeMap<Pool, (f64, f64, Multiplier)> = BTreeMap::new();
            for (pool, (events, expected)) in &pools {
                let parent = parents.get(pool).copied().unwrap_or(Multiplier { mean: 1.0, shape: f64::MAX });
                let of = groups.entry(pool.at(level)).or_insert((0.0, 0.0, parent));
                of.0 += events;
                of.1 += expected * parent.mean;
            }
            let seen: Vec<(f64, f64)> = groups.values().map(|group| (group.0, group.1)).collect();
            let common = GammaPoisson::around(1.0, &seen).filter(|_| groups.len() > 1);
            spreads.extend(common.map(|common| (level, common.shape)));
            for (group, (events, expected, parent)) in groups {
                let own = common.map_or(parent, |common| {
                    let posterior = common.posterior(events, expected);
                    Multiplier { mean: parent.mean * posterior.mean(), shape: posterior.shape }
                });
                multipliers.insert((level, group), own);
            }
            for (pool, parent) in &mut parents {
                if let Some(own) = multipliers.get(&(level, pool.at(level))) {
                    *parent = *own;
                }
            }
        }
        Self { multipliers: ByPool::of(multipliers), spreads }
    }

    /// The multiplier of a pool: its own, or that of the closest group that was seen, less surely.
    #[must_use]
    pub fn of(&self, pool: &Pool) -> Multiplier {
        let mut unseen = Vec::new();
        for level in LEVELS.into_iter().rev() {
            if let Some(found) = self.multipliers.get(level, pool) {
                unseen.push(found.shape);
                return Multiplier { mean: found.mean, shape: joint_shape(unseen) };
            }
            unseen.extend(self.spreads.iter().filter(|spread| spread.0 == level).map(|spread| spread.1));
        }
        Multiplier { mean: 1.0, shape: joint_shape(unseen) }
    }
}

/// How many times more the numbers of interruptions in batches vary than Poisson's distribution has them: Σ (n − μ)²
/// / Σ μ over batches, at least one. Machines without a batch are batches of one.
#[must_use]
pub fn dispersion(lives: &[&Life], curve: &AgeCurve, levels: &Levels) -> f64 {
    let mut batches: BTreeMap<(bool, u64), (f64, f64)> = BTreeMap::new();
    for (alone, life) in (0..).zip(lives) {
        let of = batches.entry(life.batch.map_or((false, alone), |batch| (true, batch))).or_default();
        of.0 += f64::from(u8::from(is_comparable(life)));
        of.1 += curve.comparable(0.0, life.lived_h.max(SHORTEST_H)) * levels.of(&life.pool).mean;
    }
    let (squares, expected) = batches
        .values()
        .fold((0.0, 0.0), |sum, (events, expected)| (sum.0 + (events - expected).powi(2), sum.1 + expected));
    let ratio = squares / expected;
    if ratio.is_finite() { ratio.clamp(1.0, MOST_DISPERSION) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::data::lives::pool_of;

    /// `size` lives of ten hours, of which `events` were interrupted.
    fn lives(zone: &str, kind: &str, events: usize, size: usize, batch: Option<u64>) -> Vec<Life> {
        let life = |i: usize| Life {
            pool: pool_of(zone, kind),
            launched_s: 0.0,
            lived_h: 10.0,
            outcome: if i < events { Outcome::Interrupted } else { Outcome::Stopped },
            batch,
        };
        (0..size).map(life).collect()
    }

    fn fit(lives: &[Life]) -> (AgeCurve, Levels) {
        let lives: Vec<&Life> = lives.iter().collect();
        let curve = AgeCurve::fit(&lives, 1.0).unwrap();
        let levels = Levels::fit(&lives, &curve, 1.0);
        (curve, levels)
    }

    #[test]
    fn a_pool_that_was_not_seen_takes_after_its_closest_group() {
        let mut seen = lives("us-east-1a", "m5.large", 60, 100, None);
        seen.extend(lives("us-east-1b", "m5.xlarge", 55, 100, None));
        seen.extend(lives("us-east-1a", "c5.large", 5, 100, None));
        seen.extend(lives("us-west-2a", "c5.large", 4, 100, None));
        let (_, levels) = fit(&seen);
        let of = |zone, kind| levels.of(&pool_of(zone, kind));
        assert!(of("us-east-1a", "m5.large").mean > 4.0 * of("us-east-1a", "c5.large").mean);
        let stranger = of("us-east-1c", "m5.4xlarge");
        assert!(stranger.mean > 1.3, "{stranger:?}");
        assert!(stranger.shape < of("us-east-1a", "m5.large").shape, "what was not seen is less sure");
        assert!((of("us-central1-c", "n1-highcpu-8").mean - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_small_pool_is_drawn_to_its_parent() {
        let mut seen = lives("us-east-1a", "m5.large", 30, 100, None);
        seen.extend(lives("us-east-1b", "m5.large", 10, 100, None));
        seen.extend(lives("us-east-1c", "m5.large", 20, 100, None));
        seen.extend(lives("us-east-1d", "m5.large", 2, 2, None));
        let (_, levels) = fit(&seen);
        let own = 2.0 / (2.0 * 62.0 / 302.0);
        let drawn = levels.of(&pool_of("us-east-1d", "m5.large")).mean;
        assert!(drawn > 1.0 && drawn < 1.0 + 0.5 * (own - 1.0), "{drawn} of {own}");
    }

    #[test]
    fn machines_that_end_together_count_less() {
        let mut together = Vec::new();
        for batch in 0..20 {
            together.extend(lives("us-east-1a", "m5.large", if batch % 2 == 0 { 10 } else { 0 }, 10, Some(batch)));
        }
        let (curve, levels) = fit(&together);
        let lives: Vec<&Life> = together.iter().collect();
        assert!(dispersion(&lives, &curve, &levels) > 3.0);
        let alone: Vec<Life> = together.iter().cloned().map(|life| Life { batch: None, ..life }).collect();
        assert!(dispersion(&alone.iter().collect::<Vec<_>>(), &curve, &levels) < 1.5);
        assert!((dispersion(&[], &curve, &levels) - 1.0).abs() < 1e-12);
    }
}
