//! How often machines of each pool are interrupted, beside what their family, region and provider have in common.
//!
//! Inputs: lives. Outputs: for each pool its own rate, and the one to count with: its own, drawn to that of its family in the region,
//! which is drawn to that of the family, of the provider, of all (Gamma-Poisson, level by level). It must never refuse a pool: where all
//! that was seen says too little, what is published is weighed with it, and that is said.

use super::gamma_poisson::{GammaPoisson, Posterior};
use super::prior::Prior;
use super::tally::{Basis, Count, LEVELS, Tally};
use super::{enough, number, sound};
use crate::{Life, Pool, Scarce};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateOfPool {
    /// Which.
    pub pool: Pool,
    /// Machines of it.
    pub machines: u64,
    /// Interruptions and hours of its own.
    pub seen: Count,
    /// Interruptions an hour, as one should count with.
    pub per_hour: f64,
    /// 95 % interval of that.
    pub per_hour_95: (f64, f64),
    /// What that rests on: the closest level that says enough by itself.
    pub basis: Basis,
    /// What is published and was weighed with it; None: there was history enough.
    pub prior: Option<String>,
}

/// The rates of all pools that were seen, those with most hours first.
///
/// # Errors
/// No machine was seen.
pub fn of_pools(lives: &[Life]) -> Result<Vec<RateOfPool>, Scarce> {
    let lives = sound(lives);
    if lives.is_empty() {
        return Err(Scarce(
            "no machine has been seen yet: rates need the hours of machines; let the daemon run, or import a history"
                .to_owned(),
        ));
    }
    let mut machines: BTreeMap<&Pool, u64> = BTreeMap::new();
    lives.iter().for_each(|life| *machines.entry(&life.pool).or_default() += 1);
    let tally = Tally::of(&lives);
    let grown = enough(&lives).is_ok().then(|| posteriors(&tally, machines.keys().copied()));
    let mut rates: Vec<RateOfPool> =
        machines.iter().map(|(pool, machines)| rate(pool, *machines, &tally, grown.as_ref())).collect();
    rates.sort_by(|one, other| {
        other.seen.exposure_h.total_cmp(&one.seen.exposure_h).then_with(|| one.pool.cmp(&other.pool))
    });
    Ok(rates)
}

fn rate(pool: &Pool, machines: u64, tally: &Tally, grown: Option<&BTreeMap<Pool, Posterior>>) -> RateOfPool {
    let basis = tally.basis(pool);
    let (posterior, prior) = match grown.and_then(|grown| grown.get(pool)) {
        Some(posterior) => (*posterior, None),
        None => {
            let published = Prior::published(&pool.provider);
            (published.given(basis.own), Some(published.to_string()))
        }
    };
    RateOfPool {
        pool: pool.clone(),
        machines,
        seen: basis.own,
        per_hour: posterior.mean(),
        per_hour_95: posterior.interval(),
        basis,
        prior,
    }
}

/// From all to each pool, each level drawn to the one above.
fn posteriors<'p>(tally: &Tally, pools: impl Iterator<Item = &'p Pool>) -> BTreeMap<Pool, Posterior> {
    let all = tally.all();
    // Half an interruption, as in Jeffreys' prior: none at all would leave nothing to draw to.
    let whole = Posterior { shape: number(all.events) + 0.5, rate: all.exposure_h };
    let mut known: BTreeMap<Pool, Posterior> = pools.map(|pool| (pool.clone(), whole)).collect();
    for level in LEVELS.into_iter().rev().skip(1) {
        let mut groups: BTreeMap<Pool, (f64, f64, Posterior)> = BTreeMap::new();
        for (pool, parent) in &known {
            groups.entry(pool.at(level)).or_insert_with(|| {
                let seen = tally.at(level, pool);
                (number(seen.events), seen.exposure_h * parent.mean(), *parent)
            });
        }
        let seen: Vec<(f64, f64)> = groups.values().map(|group| (group.0, group.1)).collect();
        // Of one group nothing can be learned about how groups differ.
        let Some(common) = GammaPoisson::around(1.0, &seen).filter(|_| groups.len() > 1) else { continue };
        for (pool, own) in &mut known {
            if let Some((events, expected, parent)) = groups.get(&pool.at(level)) {
                let ratio = common.posterior(*events, *expected);
                // The less is seen of a group, the more what is unsure of the one above is unsure of it too.
                let leaning = common.shape / (common.shape + expected);
                let shape = 1.0 / (1.0 / ratio.shape + leaning * leaning / parent.shape);
                *own = Posterior { shape, rate: shape / (ratio.mean() * parent.mean()) };
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::data::lives::pool_of;
    use crate::models::tests::lives;

    #[test]
    fn a_pool_with_little_is_drawn_to_its_family_and_one_with_much_keeps_its_own() {
        let mut seen = lives("us-east-1a", "m5.large", 200, 0, 10.0);
        seen.extend(lives("us-east-1b", "m5.large", 100, 0, 10.0));
        seen.extend(lives("us-east-1c", "m5.xlarge", 0, 1, 1.0));
        seen.extend(lives("us-east-1a", "c5.large", 10, 990, 10.0));
        let rates = of_pools(&seen).expect("rates");
        let of = |zone: &str, kind: &str| rates.iter().find(|rate| rate.pool == pool_of(zone, kind)).expect("seen");
        assert!((of("us-east-1a", "m5.large").per_hour / 0.1 - 1.0).abs() < 0.1);
        let quiet = of("us-east-1a", "c5.large");
        assert!((quiet.per_hour / 0.001 - 1.0).abs() < 0.5 && quiet.per_hour_95.0 < quiet.per_hour);
        let young = of("us-east-1c", "m5.xlarge");
        assert!(young.per_hour > 0.05, "the family is taken back, so count with that: {young:?}");
        assert_eq!(young.basis.level, Some(Level::FamilyInRegion));
        // The family has 300 interruptions: nobody is surer of one pool of it than of the family.
        assert!(young.per_hour_95.1 > 1.11 * young.per_hour, "{young:?}");
    }

    #[test]
    fn with_little_history_what_is_published_counts_and_that_is_said() {
        let rates = of_pools(&lives("us-east-1a", "m5.large", 1, 2, 5.0)).expect("rates");
        assert!(rates[0].prior.as_ref().is_some_and(|said| said.contains("Spot Instance Advisor")));
        assert!(rates[0].per_hour.is_finite() && rates[0].per_hour_95.1.is_finite());
        assert!(of_pools(&[]).expect_err("nothing").0.contains("no machine has been seen"));
        let odd = Life { lived_h: f64::NAN, ..lives("us-east-1a", "m5.large", 1, 0, 5.0).remove(0) };
        assert!(of_pools(&[odd]).is_err());
    }
}
