//! Pools that have something in common: a rate for each pool, and a multiplier for each pool on the life table.
//!
//! Inputs: lives. Outputs: for each pool a Gamma distribution that lies between its own rate and that of all
//! ([`GammaPoisson`]). They must never need a pool to have been seen: one that was not has the rate of all.

use super::age_bins::AgeBins;
use super::gamma_poisson::{GammaPoisson, Posterior};
use super::tally::{ByPool, Tally};
use super::{Ask, Forecast, Model, enough, joint_shape, sound};
use crate::{Level, Life, Pool, Scarce};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was seen of pools beside what was expected: hours, or interruptions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pools {
    common: GammaPoisson,
    seen: ByPool<(f64, f64)>,
}

impl Pools {
    fn fit(lives: &[&Life], exposure: impl Fn(&Life) -> f64) -> Result<Self, Scarce> {
        let mut seen: BTreeMap<(Level, Pool), (f64, f64)> = BTreeMap::new();
        for life in lives {
            let of = seen.entry((Level::Pool, life.pool.clone())).or_default();
            of.0 += f64::from(u8::from(life.is_interrupted()));
            of.1 += exposure(life);
        }
        let groups: Vec<(f64, f64)> = seen.values().copied().collect();
        let common = GammaPoisson::fit(&groups).ok_or_else(|| Scarce("no pool was watched for any time".to_owned()))?;
        Ok(Self { common, seen: ByPool::of(seen) })
    }

    fn of(&self, pool: &Pool) -> Posterior {
        let (events, exposure) = self.seen.get(Level::Pool, pool).copied().unwrap_or_default();
        self.common.posterior(events, exposure)
    }
}

/// A rate for each pool, the same at all ages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolRate {
    pools: Pools,
    tally: Tally,
}

impl PoolRate {
    /// What pools have in common: events, and hours.
    #[must_use]
    pub fn common(&self) -> GammaPoisson {
        self.pools.common
    }

    /// The rate of a pool, per hour.
    #[must_use]
    pub fn rate(&self, pool: &Pool) -> Posterior {
        self.pools.of(pool)
    }
}

impl Model for PoolRate {
    const NAME: &'static str = "pool rate, Gamma-Poisson";

    fn fit(lives: &[Life]) -> Result<Self, Scarce> {
        let lives = sound(lives);
        let tally = enough(&lives)?;
        Ok(Self { pools: Pools::fit(&lives, |life| life.lived_h)?, tally })
    }

    fn forecast(&self, ask: &Ask<'_>) -> Forecast {
        let (from, to) = ask.span_h();
        let rate = self.pools.of(ask.pool);
        // As a cumulative hazard, so that the probability is exactly that of the negative binomial distribution.
        let expected = -(1.0 - rate.at_least_one(to - from)).max(f64::MIN_POSITIVE).ln();
        Forecast { expected, shape: rate.shape }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// The life table, times a multiplier for each pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgeByPool {
    ages: AgeBins,
    pools: Pools,
    tally: Tally,
}

impl AgeByPool {
    /// What pools have in common: events, and expected events.
    #[must_use]
    pub fn common(&self) -> GammaPoisson {
        self.pools.common
    }
}

impl Model for AgeByPool {
    const NAME: &'static str = "age bins x pool, empirical Bayes";

    fn fit(lives: &[Life]) -> Result<Self, Scarce> {
        let ages = AgeBins::fit(lives)?;
        let lives = sound(lives);
        let pools = Pools::fit(&lives, |life| ages.expected(0.0, life.lived_h))?;
        Ok(Self { tally: ages.tally().clone(), ages, pools })
    }

    fn forecast(&self, ask: &Ask<'_>) -> Forecast {
        let pool = self.pools.of(ask.pool);
        let age = self.ages.forecast(ask);
        Forecast { expected: age.expected * pool.mean(), shape: joint_shape([age.shape, pool.shape]) }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
