//! A set of pools that are not all taken at once.
//!
//! Responsibilities: choose pools one after the other, and say what the set is worth. Inputs: a ranking. Outputs: a [`Set`]. Must never
//! count machines of one pool as many chances: in 94 of 100 hours all or none of a pool's machines were there.

use super::ranking::Ranked;
use crate::{Level, Scarce};
use serde::Serialize;

/// How much of their fate two pools share: availability in nine zones of AWS over 45 days correlates with .43 within a region and .14
/// between regions.
pub const SAME_REGION: f64 = 0.43;
/// See [`SAME_REGION`].
pub const OTHER_REGION: f64 = 0.14;
/// Two sizes of one family in one zone are taken for the same hardware. An assumption: no public data has two types in one zone.
pub const SAME_FAMILY_AND_ZONE: f64 = 0.8;
/// The strategy to hand to the provider: EC2 Fleet, Spot Fleet and Auto Scaling know it by this name, and recommend it.
pub const STRATEGY: &str = "price-capacity-optimized";

/// A choice of pools.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Set {
    /// The pools, in the order in which they were chosen, with the part of machines that each is to have.
    pub pools: Vec<Part>,
    /// What an hour of work costs in the mean, US dollars.
    pub usd_per_useful_hour: f64,
    /// How many pools without anything in common they are worth.
    pub independent_pools: f64,
    /// The strategy for the provider's own allocation.
    pub strategy: &'static str,
}

/// One pool of a set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The pool, ranked.
    pub ranked: Ranked,
    /// Part of machines.
    pub part: f64,
}

/// How much of their fate two pools share.
#[must_use]
pub fn correlation(one: &Ranked, other: &Ranked) -> f64 {
    let (one, other) = (&one.pool, &other.pool);
    if one == other {
        return 1.0;
    }
    let shares_family = one.at(Level::FamilyInRegion) == other.at(Level::FamilyInRegion);
    if shares_family && one.zone == other.zone {
        SAME_FAMILY_AND_ZONE
    } else if one.provider == other.provider && one.region == other.region {
        SAME_REGION
    } else {
        OTHER_REGION
    }
}

/// Chooses `count` pools: each next one is the cheapest after a surcharge for what it shares with those that were chosen.
///
/// # Errors
/// There is nothing to choose from.
pub fn diversify(ranked: &[Ranked], count: usize) -> Result<Set, Scarce> {
    let mut chosen: Vec<&Ranked> = Vec::new();
    let mut left: Vec<&Ranked> = ranked.iter().collect();
    while chosen.len() < count && !left.is_empty() {
        let cost = |candidate: &Ranked| {
            let shared: f64 = chosen.iter().map(|one| correlation(one, candidate)).sum();
            // What is free is dear too when it shares a fate.
            (candidate.usd_per_useful_hour + f64::MIN_POSITIVE) * (1.0 + shared / chosen.len().max(1) as f64)
        };
        let best = left.iter().enumerate().min_by(|one, other| cost(one.1).total_cmp(&cost(other.1))).map(|(at, _)| at);
        let Some(best) = best else { break };
        chosen.push(left.remove(best));
    }
    if chosen.is_empty() {
        return Err(Scarce("no pool to choose from".to_owned()));
    }
    let pairs = chosen.iter().flat_map(|one| chosen.iter().map(move |other| correlation(one, other)));
    let count = chosen.len() as f64;
    let independent_pools = count * count / pairs.sum::<f64>();
    let parts = parts(&chosen);
    let usd_per_useful_hour = parts.iter().map(|part| part.part * part.ranked.usd_per_useful_hour).sum();
    Ok(Set { pools: parts, usd_per_useful_hour, independent_pools, strategy: STRATEGY })
}

/// The cheaper, the more machines; what is free gets no more than twice an equal part.
fn parts(chosen: &[&Ranked]) -> Vec<Part> {
    let mean = chosen.iter().map(|one| one.usd_per_useful_hour).sum::<f64>() / chosen.len() as f64;
    let weight = |one: &Ranked| if mean > 0.0 { mean / one.usd_per_useful_hour.max(mean / 2.0) } else { 1.0 };
    let sum: f64 = chosen.iter().map(|one| weight(one)).sum();
    chosen.iter().map(|one| Part { ranked: (*one).clone(), part: weight(one) / sum }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;
    use crate::economy::ranking::{Candidate, Needs, Priors, rank};

    fn ranked(rows: &[(&str, &str, &str, f64)]) -> Vec<Ranked> {
        let candidate = |(region, zone, instance_type, usd_per_hour): &(&str, &str, &str, f64)| Candidate {
            pool: Pool {
                provider: "aws".to_owned(),
                region: (*region).to_owned(),
                zone: (*zone).to_owned(),
                instance_type: (*instance_type).to_owned(),
            },
            usd_per_hour: *usd_per_hour,
            on_demand_usd_per_hour: None,
            events: 0,
            exposure_h: 0.0,
        };
        let candidates: Vec<Candidate> = rows.iter().map(candidate).collect();
        rank(&candidates, &Priors::default(), Needs { save_h: 0.01, restart_h: 0.1 }).expect("ranks")
    }

    #[test]
    fn a_set_leaves_the_family_and_the_region_for_a_little_money() {
        let rows = ranked(&[
            ("r", "ra", "m5.large", 1.0),
            ("r", "ra", "m5.xlarge", 1.01),
            ("r", "rb", "m5.large", 1.02),
            ("s", "sa", "m5.large", 1.1),
            ("s", "sb", "c5.large", 9.0),
        ]);
        let set = diversify(&rows, 3).expect("a set");
        let names: Vec<&str> = set.pools.iter().map(|part| part.ranked.pool.zone.as_str()).collect();
        assert_eq!(names, ["ra", "sa", "rb"]);
        let sum: f64 = set.pools.iter().map(|part| part.part).sum();
        assert!((sum - 1.0).abs() < 1e-12 && set.pools[0].part > set.pools[1].part);
        assert!(set.independent_pools > 1.9 && set.independent_pools < 3.0, "{}", set.independent_pools);
    }

    #[test]
    fn one_pool_is_one_chance_and_free_ones_are_no_division_by_zero() {
        let rows = ranked(&[("r", "ra", "m5.large", 0.0), ("r", "rb", "m5.large", 0.0)]);
        let one = diversify(&rows, 1).expect("a set");
        assert!((one.independent_pools - 1.0).abs() < 1e-12);
        let both = diversify(&rows, 9).expect("a set");
        assert!(both.pools.len() == 2 && both.pools.iter().all(|part| (part.part - 0.5).abs() < 1e-12));
        assert!(diversify(&[], 3).is_err() && diversify(&rows, 0).is_err());
    }
}
