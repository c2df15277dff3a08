//! Which machines to ask for: by what an hour of work costs on them, interruptions included.
//!
//! Responsibilities: the rate of interruptions of a pool from what was seen and what is published, the cost that follows, and how sure
//! that is. Inputs: candidates with prices, events, exposure and the Spot Advisor's bucket. Outputs: them, cheapest first. Must never
//! rank what has no price, nor hide where a rate comes from.
//!
//! An hour of work costs p (1 + save/interval + rate (interval/2 + restart)), with Young's interval for that rate: saving, work that is
//! lost half an interval at a time, and restarts. The rate is a Gamma posterior: (b prior + events)/(b + hours). The prior weighs
//! as much as [`PRIOR_EVENTS`] interruptions: b hours are those in which so many come at the prior's rate, or at the rate that was
//! seen where
//! that is higher, for published rates go stale and a calm one must not drown what was seen.

use super::advisor::{Advice, bucket_name, rate_per_hour};
use super::checkpoint::interval::young;
use crate::{Level, Pool, Scarce};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Gamma};
use std::collections::BTreeMap;

/// Interruptions that a prior counts for.
pub const PRIOR_EVENTS: f64 = 2.0;
/// The prior where nothing is published either: the middle bucket.
const BUCKET_UNKNOWN: u8 = 2;
/// Highest rate that is taken for one, interruptions an hour: one a minute.
const RATE_MAX: f64 = 60.0;
/// What the interval of a rate covers: nine of ten.
const TAIL: f64 = 0.05;

/// What is asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Where it runs.
    pub pool: Pool,
    /// Its price, US dollars an hour.
    pub usd_per_hour: f64,
    /// The price on demand, where it is known.
    pub on_demand_usd_per_hour: Option<f64>,
    /// Interruptions that were seen there.
    pub events: u32,
    /// Hours that machines were seen to run there.
    pub exposure_h: f64,
}

/// What a job needs of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Needs {
    /// A save, hours.
    pub save_h: f64,
    /// From an interruption until the work goes on, hours.
    pub restart_h: f64,
}

/// A candidate in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// Where it runs.
    pub pool: Pool,
    /// Its price, US dollars an hour.
    pub usd_per_hour: f64,
    /// What an hour of work costs, US dollars, and the bounds that nine of ten such rates give.
    pub usd_per_useful_hour: f64,
    #[allow(missing_docs, reason = "said above")]
    pub usd_low: f64,
    #[allow(missing_docs, reason = "said above")]
    pub usd_high: f64,
    /// The price on demand, where it is known.
    pub on_demand_usd_per_hour: Option<f64>,
    /// Interruptions an hour, and the bounds.
    pub rate_per_hour: f64,
    #[allow(missing_docs, reason = "said above")]
    pub rate_low: f64,
    #[allow(missing_docs, reason = "said above")]
    pub rate_high: f64,
    /// Hours of work between two saves that fit that rate.
    pub interval_h: f64,
    /// What was seen there.
    pub events: u32,
    #[allow(missing_docs, reason = "said above")]
    pub exposure_h: f64,
    /// Where the prior comes from, in words.
    pub prior: String,
}

/// What the Spot Advisor says of pools and of what they have in common.
#[derive(Clone, Debug, Default)]
pub struct Priors {
    /// By region and type: the rate an hour, and in words.
    exact: BTreeMap<(String, String), (f64, String)>,
    /// Means by what pools have in common.
    wider: BTreeMap<(Level, Pool), (f64, usize)>,
}

/// Levels that are looked at, closest first; those of one pool stand in the advisor itself.
const LEVELS: [(Level, &str); 4] = [
    (Level::FamilyInRegion, "its family in its region"),
    (Level::Family, "its family"),
    (Level::Provider, "its provider"),
    (Level::Everything, "all there is"),
];

impl Priors {
    /// From a snapshot; of Linux rows where there are any.
    #[must_use]
    pub fn new(advice: &[Advice]) -> Self {
        let mut priors = Self::default();
        let is_linux = advice.iter().any(|row| row.os == "Linux");
        for row in advice.iter().filter(|row| !is_linux || row.os == "Linux") {
            let rate = rate_per_hour(row.bucket);
            let words = format!("Spot Advisor: {} a month", bucket_name(row.bucket));
            priors.exact.insert((row.pool.region.clone(), row.pool.instance_type.clone()), (rate, words));
            for (level, _) in LEVELS {
                let (sum, count) = priors.wider.entry((level, row.pool.at(level))).or_insert((0.0, 0));
                *sum += rate;
                *count += 1;
            }
        }
        priors
    }

    /// Interruptions an hour to expect of a pool before anything was seen there, and where that comes from.
    #[must_use]
    pub fn of(&self, pool: &Pool) -> (f64, String) {
        if let Some((rate, words)) = self.exact.get(&(pool.region.clone(), pool.instance_type.clone())) {
            return (*rate, words.clone());
        }
        for (level, name) in LEVELS {
            if let Some((sum, count)) = self.wider.get(&(level, pool.at(level))) {
                return (sum / *count as f64, format!("Spot Advisor: mean of {count} types of {name}"));
            }
        }
        (rate_per_hour(BUCKET_UNKNOWN), format!("nothing is known: {} a month is assumed", bucket_name(BUCKET_UNKNOWN)))
    }
}

/// What an hour of work costs at a rate of interruptions.
#[must_use]
pub fn cost_per_useful_hour(usd_per_hour: f64, rate_per_hour: f64, needs: Needs) -> f64 {
    if rate_per_hour <= 0.0 {
        return usd_per_hour;
    }
    let interval_h = young(needs.save_h, 1.0 / rate_per_hour);
    let saving = if needs.save_h > 0.0 { needs.save_h / interval_h } else { 0.0 };
    usd_per_hour * (1.0 + saving + rate_per_hour * (interval_h / 2.0 + needs.restart_h))
}

/// Ranks candidates, cheapest hour of work first.
///
/// # Errors
/// There are none, or a number is none.
pub fn rank(candidates: &[Candidate], priors: &Priors, needs: Needs) -> Result<Vec<Ranked>, Scarce> {
    if candidates.is_empty() {
        return Err(Scarce("no candidate with a price: name prices, or a snapshot with prices on demand".to_owned()));
    }
    let is_sound = |number: f64| number.is_finite() && number >= 0.0;
    if !is_sound(needs.save_h) || !is_sound(needs.restart_h) {
        return Err(Scarce("the times of a save and of a restart are hours, zero or above".to_owned()));
    }
    let mut ranked = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        if !is_sound(candidate.usd_per_hour) || !is_sound(candidate.exposure_h) {
            return Err(Scarce(format!(
                "{}: price and exposure are numbers, zero or above",
                candidate.pool.instance_type
            )));
        }
        ranked.push(one(candidate, priors, needs));
    }
    ranked.sort_by(|one, other| {
        one.usd_per_useful_hour.total_cmp(&other.usd_per_useful_hour).then_with(|| one.pool.cmp(&other.pool))
    });
    Ok(ranked)
}

fn one(candidate: &Candidate, priors: &Priors, needs: Needs) -> Ranked {
    let (prior_rate, prior) = priors.of(&candidate.pool);
    let seen_rate = f64::from(candidate.events) / candidate.exposure_h.max(f64::MIN_POSITIVE);
    let prior_h = PRIOR_EVENTS / prior_rate.max(seen_rate.min(RATE_MAX));
    let shape = prior_h * prior_rate + f64::from(candidate.events);
    let hours = prior_h + candidate.exposure_h;
    let rate = shape / hours;
    let bound = |part: f64| Gamma::new(shape, hours).map_or(rate, |gamma| gamma.inverse_cdf(part));
    let (rate_low, rate_high) = (bound(TAIL), bound(1.0 - TAIL));
    let cost = |rate: f64| cost_per_useful_hour(candidate.usd_per_hour, rate, needs);
    Ranked {
        pool: candidate.pool.clone(),
        usd_per_hour: candidate.usd_per_hour,
        usd_per_useful_hour: cost(rate),
        usd_low: cost(rate_low),
        usd_high: cost(rate_high),
        on_demand_usd_per_hour: candidate.on_demand_usd_per_hour,
        rate_per_hour: rate,
        rate_low,
        rate_high,
        interval_h: young(needs.save_h, 1.0 / rate),
        events: candidate.events,
        exposure_h: candidate.exposure_h,
        prior,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(region: &str, instance_type: &str) -> Pool {
        Pool {
            provider: "aws".to_owned(),
            region: region.to_owned(),
            zone: String::new(),
            instance_type: instance_type.to_owned(),
        }
    }

    fn advice(region: &str, instance_type: &str, bucket: u8) -> Advice {
        Advice { pool: pool(region, instance_type), os: "Linux".to_owned(), savings_percent: 70.0, bucket }
    }

    const NEEDS: Needs = Needs { save_h: 1.0 / 60.0, restart_h: 0.1 };

    #[test]
    fn a_prior_comes_from_the_closest_that_is_known() {
        let priors =
            Priors::new(&[advice("r", "m5.large", 0), advice("r", "m5.xlarge", 4), advice("s", "c5.large", 1)]);
        let words = |region: &str, kind: &str| priors.of(&pool(region, kind)).1;
        assert!(words("r", "m5.large").contains("<5 %"));
        assert!(words("r", "m5.4xlarge").contains("2 types of its family in its region"));
        assert!(words("s", "m5.large").contains("2 types of its family"));
        assert!(words("s", "r5.large").contains("3 types of its provider"));
        assert!(Priors::default().of(&pool("r", "m5.large")).1.contains("nothing is known"));
    }

    #[test]
    fn what_was_seen_outweighs_the_prior_and_narrows_the_bounds() {
        let priors = Priors::new(&[advice("r", "m5.large", 0)]);
        let candidate = |events, exposure_h| Candidate {
            pool: pool("r", "m5.large"),
            usd_per_hour: 1.0,
            on_demand_usd_per_hour: None,
            events,
            exposure_h,
        };
        let of = |events, exposure_h| rank(&[candidate(events, exposure_h)], &priors, NEEDS).expect("a rank").remove(0);
        let (unseen, seen) = (of(0, 0.0), of(500, 10_000.0));
        assert!((unseen.rate_per_hour - rate_per_hour(0)).abs() < 1e-12);
        assert!((seen.rate_per_hour - 0.05).abs() < 0.005);
        assert!(unseen.rate_high / unseen.rate_low > 5.0 && seen.rate_high / seen.rate_low < 1.4);
        // Quantiles of Gamma(2, 1) at 5 and 95 %: Pearson's tables.
        let scale = unseen.rate_per_hour / 2.0;
        let bounds = (unseen.rate_low / scale, unseen.rate_high / scale);
        assert!((bounds.0 - 0.3554).abs() < 1e-3 && (bounds.1 - 4.7439).abs() < 1e-3, "{bounds:?}");
        assert!(seen.usd_low < seen.usd_per_useful_hour && seen.usd_per_useful_hour < seen.usd_high);
    }

    #[test]
    fn a_cheap_machine_that_is_taken_often_can_cost_more_than_a_dearer_one() {
        let calm = cost_per_useful_hour(0.35, 0.001, NEEDS);
        let wild = cost_per_useful_hour(0.30, 0.6, Needs { save_h: 0.1, restart_h: 0.3 });
        assert!(calm < wild);
        // By hand: interval sqrt(2/60/0.06), then the three parts.
        let interval = (2.0_f64 / 60.0 / 0.06).sqrt();
        let expected = 2.0 * (1.0 + 1.0 / 60.0 / interval + 0.06 * (interval / 2.0 + 0.1));
        assert!((cost_per_useful_hour(2.0, 0.06, NEEDS) - expected).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn ranks_are_numbers_in_order_whatever_comes(
            rows in proptest::collection::vec((0.0_f64..50.0, 0_u32..50, 0.0_f64..1e6), 1..20),
            save_h in 0.0_f64..2.0,
        ) {
            let candidates: Vec<Candidate> = rows.iter().map(|(usd_per_hour, events, exposure_h)| Candidate {
                pool: pool("r", "x"),
                usd_per_hour: *usd_per_hour,
                on_demand_usd_per_hour: Some(1.0),
                events: *events,
                exposure_h: *exposure_h,
            }).collect();
            let ranked = rank(&candidates, &Priors::default(), Needs { save_h, restart_h: 0.1 }).expect("ranks");
            prop_assert!(ranked.is_sorted_by(|one, other| one.usd_per_useful_hour <= other.usd_per_useful_hour));
            for one in &ranked {
                prop_assert!(one.usd_low.is_finite() && one.usd_low <= one.usd_high && one.usd_low >= one.usd_per_hour - 1e-9);
                prop_assert!(one.rate_low > 0.0 && one.rate_high.is_finite());
            }
        }
    }

    #[test]
    fn nothing_to_rank_gives_a_sentence() {
        assert!(rank(&[], &Priors::default(), NEEDS).is_err());
        let bad = Candidate {
            pool: pool("r", "x"),
            usd_per_hour: f64::NAN,
            on_demand_usd_per_hour: None,
            events: 0,
            exposure_h: 0.0,
        };
        assert!(rank(&[bad], &Priors::default(), NEEDS).is_err());
    }
}
