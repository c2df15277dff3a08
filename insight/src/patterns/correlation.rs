//! Pools that lose capacity at the same time, and whether losses of one pool come in bunches.
//!
//! Inputs: for each pool whether it had capacity at equally spaced moments. Outputs: correlations of having capacity and of losing
//! it, for each two pools, for those of one region and of different ones, with intervals that draw whole days anew; the dispersion
//! of hourly losses. Must never treat moments of one day as independent: capacity that is gone stays gone for hours.

use super::Verdict;
use crate::{Pool, Scarce};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Whole days below which nothing is said.
const LEAST_DAYS: usize = 7;
/// Losses below which a pool's dispersion is not given.
const LEAST_DROPS: u64 = 10;

/// Whether a pool had capacity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Availability {
    /// Which.
    pub pool: Pool,
    /// At each moment, equally spaced, the same moments for all pools.
    pub up: Vec<bool>,
}

/// A number with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its interval.
    pub interval_95: (f64, f64),
}

/// Two pools.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Which.
    pub pools: (Pool, Pool),
    /// Whether they are of one region.
    pub same_region: bool,
    /// Correlation of having capacity; None where one always or never had it.
    pub up: Option<Estimate>,
    /// Correlation of how often capacity was lost, by hours.
    pub drops: Option<Estimate>,
}

/// Whether losses of one pool come in bunches: variance of hourly losses by their mean, 1 where each comes by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dispersion {
    /// Which.
    pub pool: Pool,
    /// How often capacity was lost.
    pub drops: u64,
    /// The ratio; its interval is where 95 % of ratios lie if each comes by itself, moved to it.
    pub ratio: Estimate,
    /// How seldom it is so far from 1 if each comes by itself, two-sided.
    pub p: f64,
}

/// All pools.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Correlations {
    /// Each two.
    pub pairs: Vec<Pair>,
    /// Mean correlation of having capacity within a region, and between regions.
    pub up_same_region: Option<Estimate>,
    /// See above.
    pub up_other_region: Option<Estimate>,
    /// Mean correlation of hourly losses within a region, and between regions.
    pub drops_same_region: Option<Estimate>,
    /// See above.
    pub drops_other_region: Option<Estimate>,
    /// By pool.
    pub dispersion: Vec<Dispersion>,
    /// Whole days looked at.
    pub days: u64,
    /// Whether pools have capacity at the same time.
    pub verdict: Verdict,
    /// What that means, for people.
    pub sentence: String,
}

impl Correlations {
    /// Looks at pools whose moments are `tick_h` hours apart.
    ///
    /// # Errors
    /// Fewer than two pools, or fewer than a week of them.
    pub fn of(pools: &[Availability], tick_h: f64, rounds: usize, seed: u64) -> Result<Self, Scarce> {
        let length = pools.iter().map(|pool| pool.up.len()).min().unwrap_or_default();
        let days = days(length, tick_h);
        if pools.len() < 2 || days < LEAST_DAYS {
            let sentence = format!("{} pools over {days} days do not show whether they go together", pools.len());
            return Err(Scarce(format!("{sentence}: 2 over {LEAST_DAYS} are the least")));
        }
        let up: Vec<Vec<f64>> =
            pools.iter().map(|pool| pool.up.iter().take(length).map(|up| f64::from(u8::from(*up))).collect()).collect();
        let per_hour = moments_an_hour(tick_h);
        let drops: Vec<Vec<f64>> = pools.iter().map(|pool| hourly_drops(&pool.up[..length], per_hour)).collect();
        let mut places = Vec::new();
        for first in 0..pools.len() {
            places.extend((first + 1..pools.len()).map(|second| (first, second)));
        }
        let draws = draws(days, rounds, seed);
        let blocks = |series: &[Vec<f64>], per_day: f64| -> Vec<Blocks> {
            places.iter().map(|(a, b)| Blocks::of(&series[*a], &series[*b], per_day, days)).collect()
        };
        let (up, hourly) = (blocks(&up, 24.0 / tick_h), blocks(&drops, hours_a_day(per_hour, tick_h)));
        let is_same: Vec<bool> = places.iter().map(|(a, b)| is_same_region(&pools[*a].pool, &pools[*b].pool)).collect();
        let mean = |blocks: &[Blocks], wanted: bool| {
            let chosen: Vec<&Blocks> =
                blocks.iter().zip(&is_same).filter(|(_, same)| **same == wanted).map(|(one, _)| one).collect();
            estimate(&chosen, &draws)
        };
        let pairs = places.iter().enumerate().map(|(at, (a, b))| Pair {
            pools: (pools[*a].pool.clone(), pools[*b].pool.clone()),
            same_region: is_same[at],
            up: estimate(&[&up[at]], &draws),
            drops: estimate(&[&hourly[at]], &draws),
        });
        let mut found = Self {
            pairs: pairs.collect(),
            up_same_region: mean(&up, true),
            up_other_region: mean(&up, false),
            drops_same_region: mean(&hourly, true),
            drops_other_region: mean(&hourly, false),
            dispersion: pools.iter().zip(&drops).filter_map(|(pool, drops)| dispersion(&pool.pool, drops)).collect(),
            days: days as u64,
            verdict: Verdict::NotShown,
            sentence: String::new(),
        };
        found.judge();
        Ok(found)
    }

    fn judge(&mut self) {
        let is_above = |estimate: &Option<Estimate>| estimate.is_some_and(|estimate| estimate.interval_95.0 > 0.0);
        let told = |estimate: Estimate| {
            format!("{:.2} ({:.2} to {:.2})", estimate.value, estimate.interval_95.0, estimate.interval_95.1)
        };
        if is_above(&self.up_same_region) || is_above(&self.up_other_region) {
            self.verdict = Verdict::Found;
        }
        let part =
            |estimate: Option<Estimate>, what: &str| estimate.map(|estimate| format!("{what} {}", told(estimate)));
        let parts = [part(self.up_same_region, "within a region"), part(self.up_other_region, "between regions")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            self.sentence =
                "No two of these pools both lost capacity and had it: nothing can be said of them together.".to_owned();
            return;
        }
        let advice = match (self.verdict, self.up_same_region, self.up_other_region) {
            (Verdict::Found, Some(same), Some(other)) if same.interval_95.0 > other.value => {
                "Spare machines are safer in another region than in another zone"
            }
            (Verdict::Found, ..) => {
                "Pools lose capacity together, so a second one is worth less than its own rate says"
            }
            (Verdict::NotShown, ..) => {
                "Pools come and go by themselves, so a second one is worth what its own rate says"
            }
        };
        self.sentence =
            format!("{advice}: correlation of having capacity {}, over {} days.", parts.join(", "), self.days);
    }
}

fn is_same_region(a: &Pool, b: &Pool) -> bool {
    (&a.provider, &a.region) == (&b.provider, &b.region)
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate"
)]
fn days(length: usize, tick_h: f64) -> usize {
    if tick_h > 0.0 && tick_h.is_finite() { (length as f64 * tick_h / 24.0 + 1e-9).floor() as usize } else { 0 }
}

/// How often capacity was lost in each hour, counted where it was last there; an hour is so many whole moments that it comes nearest
/// to one, so that each has the same number of them.
fn hourly_drops(up: &[bool], per_hour: usize) -> Vec<f64> {
    let lost = |at: usize| up.get(at) == Some(&true) && up.get(at + 1) == Some(&false);
    let hours =
        (0..up.len() / per_hour).map(|hour| (hour * per_hour..(hour + 1) * per_hour).filter(|at| lost(*at)).count());
    hours.map(|count| u32::try_from(count).map_or(0.0, f64::from)).collect()
}

/// How many moments make an hour.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn moments_an_hour(tick_h: f64) -> usize {
    (1.0 / tick_h).round().max(1.0) as usize
}

/// How many of such hours make a day: 24 and a little, where they are a little short.
#[allow(clippy::cast_precision_loss, reason = "a day at most")]
fn hours_a_day(per_hour: usize, tick_h: f64) -> f64 {
    24.0 / (per_hour as f64 * tick_h)
}

/// Which days each draw takes.
fn draws(days: usize, rounds: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..rounds).map(|_| (0..days).map(|_| random.random_range(0..days)).collect()).collect()
}

/// Sums of two series by days: of 1, x, y, x x, y y, x y.
struct Blocks(Vec<[f64; 6]>);

impl Blocks {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts of floats saturate"
    )]
    fn of(x: &[f64], y: &[f64], per_day: f64, days: usize) -> Self {
        let mut sums = vec![[0.0; 6]; days];
        for (at, (x, y)) in x.iter().zip(y).enumerate() {
            if let Some(sum) = sums.get_mut((at as f64 / per_day) as usize) {
                for (total, one) in sum.iter_mut().zip([1.0, *x, *y, x * x, y * y, x * y]) {
                    *total += one;
                }
            }
        }
        Self(sums)
    }

    /// Pearson's, over some of the days.
    fn correlation(&self, days: impl Iterator<Item = usize>) -> Option<f64> {
        let mut all = [0.0; 6];
        for sum in days.filter_map(|day| self.0.get(day)) {
            all.iter_mut().zip(sum).for_each(|(total, one)| *total += one);
        }
        let [n, x, y, xx, yy, xy] = all;
        let spread = (xx - x * x / n) * (yy - y * y / n);
        (spread > 1e-9).then(|| ((xy - x * y / n) / spread.sqrt()).clamp(-1.0, 1.0))
    }
}

/// The mean correlation of some pairs, and its interval over draws of days; None where no pair has one.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a list"
)]
fn estimate(pairs: &[&Blocks], draws: &[Vec<usize>]) -> Option<Estimate> {
    let mean = |days: &[usize]| {
        let all: Vec<f64> = pairs.iter().filter_map(|pair| pair.correlation(days.iter().copied())).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    };
    let count = pairs.first()?.0.len();
    let value = mean(&(0..count).collect::<Vec<usize>>())?;
    let mut drawn: Vec<f64> = draws.iter().filter_map(|days| mean(days)).collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn.get((share * drawn.len().saturating_sub(1) as f64).round() as usize).copied();
    Some(Estimate { value, interval_95: (at(0.025).unwrap_or(-1.0), at(0.975).unwrap_or(1.0)) })
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of counts"
)]
fn dispersion(pool: &Pool, drops: &[f64]) -> Option<Dispersion> {
    let (count, total) = (drops.len() as f64, drops.iter().sum::<f64>());
    if total < LEAST_DROPS as f64 {
        return None;
    }
    let mean = total / count;
    let ratio = drops.iter().map(|drops| (drops - mean).powi(2)).sum::<f64>() / (count - 1.0) / mean;
    let chance = ChiSquared::new(count - 1.0).ok()?;
    let at = |share: f64| chance.inverse_cdf(share) / (count - 1.0);
    let below = chance.cdf(ratio * (count - 1.0));
    let interval_95 = (ratio / at(0.975), ratio / at(0.025));
    Some(Dispersion {
        pool: pool.clone(),
        drops: total as u64,
        ratio: Estimate { value: ratio, interval_95 },
        p: (2.0 * below.min(1.0 - below)).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hourly capacity: in `shared` of the hours that of a cloud common to all pools of a region, else the pool's own. Both stay for
    /// a while.
    fn pools(shared: f64, days: usize) -> Vec<Availability> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(4);
        let mut walk = |hours: usize| {
            let mut up = true;
            let step = |_| {
                if random.random::<f64>() < 0.15 {
                    up = !up;
                }
                up
            };
            (0..hours).map(step).collect::<Vec<bool>>()
        };
        let regions = [walk(days * 24), walk(days * 24)];
        let mut choice = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut all = Vec::new();
        for zone in 0..4 {
            let own = walk(days * 24);
            let region = zone / 2;
            let up = own
                .iter()
                .zip(&regions[region])
                .map(|(own, all)| if choice.random::<f64>() < shared { *all } else { *own });
            let pool = Pool { region: format!("r{region}"), zone: format!("z{zone}"), ..Pool::default() };
            all.push(Availability { pool, up: up.collect() });
        }
        all
    }

    #[test]
    fn zones_of_one_region_that_share_a_cause_are_told_from_those_that_do_not() {
        let found = Correlations::of(&pools(0.7, 40), 1.0, 300, 1).expect("looked at");
        assert_eq!(found.verdict, Verdict::Found);
        let (same, other) = (found.up_same_region.expect("pairs"), found.up_other_region.expect("pairs"));
        assert!(
            same.interval_95.0 > 0.2 && other.interval_95.0 < 0.0 && 0.0 < other.interval_95.1,
            "{same:?} {other:?}"
        );
        assert!(found.sentence.contains("another region"), "{}", found.sentence);
        let none = Correlations::of(&pools(0.0, 40), 1.0, 300, 1).expect("looked at");
        assert_eq!(none.verdict, Verdict::NotShown, "{}", none.sentence);
    }

    #[test]
    fn losses_are_counted_in_their_hours() {
        assert_eq!(hourly_drops(&[true, false, true, false, false, true, true, false], 2), [1.0, 1.0, 0.0, 1.0]);
        let mut bunches = vec![0.0; 200];
        bunches.iter_mut().step_by(20).for_each(|count| *count = 5.0);
        let found = dispersion(&Pool::default(), &bunches).expect("enough");
        assert!(found.ratio.value > 4.0 && found.ratio.interval_95.0 > 1.0 && found.p < 1e-6, "{found:?}");
    }

    #[test]
    fn pools_that_never_change_and_too_few_days_are_told() {
        let always = |zone: &str| Availability {
            pool: Pool { zone: zone.to_owned(), ..Pool::default() },
            up: vec![true; 24 * 8],
        };
        let found = Correlations::of(&[always("a"), always("b")], 1.0, 10, 1).expect("looked at");
        assert!(found.pairs[0].up.is_none() && found.sentence.starts_with("No two"), "{}", found.sentence);
        for tick_h in [0.0, f64::NAN, -1.0, 0.5] {
            assert!(Correlations::of(&[always("a"), always("b")], tick_h, 10, 1).is_err());
        }
        assert!(Correlations::of(&[always("a")], 1.0, 10, 1).is_err());
    }
}
