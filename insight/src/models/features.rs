//! What is known of a machine, as numbers: its size, where it runs, and the hour of the day.
//!
//! Inputs: pools, moments. Outputs: rows for regressions, always of the same width for one set of features. They must
//! never need a pool to have been seen: of one that was not, only what it shares with others counts.

use crate::Pool;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many zones, regions, families and providers get a coefficient of their own; those with the most hours.
const MOST_NAMES: usize = 24;

/// Seconds of a day.
pub(crate) const DAY_S: f64 = 86_400.0;

/// The logarithm (base 2) of how large a type is within its family: processors for `n1-highcpu-8` and
/// `Standard_D4s_v5`, a quarter of the name's unit for `m5.2xlarge` (large is 2, xlarge 4), the count for `v100_8`.
/// None where the name says none.
#[must_use]
pub fn log_size(instance_type: &str) -> Option<f64> {
    let size = if let Some((_, size)) = instance_type.rsplit_once('.') {
        match size {
            "nano" => 0.25,
            "micro" => 0.5,
            "small" => 1.0,
            "medium" => 1.5,
            "large" => 2.0,
            "xlarge" => 4.0,
            _ => 4.0 * size.strip_suffix("xlarge")?.parse::<f64>().ok()?,
        }
    } else if let Some(rest) = instance_type.strip_prefix("Standard_") {
        let digits: String =
            rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse().ok()?
    } else {
        instance_type.rsplit_once(['-', '_'])?.1.parse::<f64>().ok()?
    };
    (size.is_finite() && size > 0.0).then(|| size.log2())
}

/// Sine and cosine of the hour of the day, and whether it is a weekend, in UTC; noughts where the moment is not
/// known.
pub(crate) fn clock(now_s: Option<f64>) -> [f64; 3] {
    let Some(now_s) = now_s.filter(|now| now.is_finite()) else { return [0.0; 3] };
    let turn = now_s.rem_euclid(DAY_S) / DAY_S * std::f64::consts::TAU;
    // The first of January 1970 was a Thursday: counted from Monday, day 3.
    let weekday = ((now_s / DAY_S).floor() + 3.0).rem_euclid(7.0);
    [turn.sin(), turn.cos(), f64::from(u8::from(weekday >= 5.0))]
}

/// Which numbers are made of a pool and a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Features {
    /// One coefficient each: zones, regions, families, providers.
    names: [Vec<String>; 4],
    mean_log_size: f64,
    has_clock: bool,
}

fn parts(pool: &Pool) -> [String; 4] {
    [pool.zone.clone(), pool.region.clone(), pool.family(), pool.provider.clone()]
}

impl Features {
    /// Takes the names and the mean size from pools with their hours.
    pub(crate) fn of<'p>(pools: impl Iterator<Item = (&'p Pool, f64)>, has_clock: bool) -> Self {
        let mut hours: [BTreeMap<String, f64>; 4] = Default::default();
        let (mut sizes, mut all) = (0.0, 0.0);
        for (pool, exposure_h) in pools {
            for (part, hours) in parts(pool).into_iter().zip(&mut hours) {
                *hours.entry(part).or_default() += exposure_h;
            }
            if let Some(size) = log_size(&pool.instance_type) {
                sizes += size * exposure_h;
                all += exposure_h;
            }
        }
        let names = hours.map(|hours| {
            let mut names: Vec<(String, f64)> = hours.into_iter().collect();
            names.sort_by(|a, b| b.1.total_cmp(&a.1));
            // What all have in common is in the intercept.
            let names: Vec<String> = names.into_iter().take(MOST_NAMES).map(|name| name.0).collect();
            if names.len() < 2 { Vec::new() } else { names }
        });
        Self { names, mean_log_size: if all > 0.0 { sizes / all } else { 0.0 }, has_clock }
    }

    /// The row of a pool at a moment: one, the size, a one for each name, the clock.
    pub(crate) fn row(&self, pool: &Pool, clock: [f64; 3]) -> Vec<f64> {
        let size = log_size(&pool.instance_type).map_or(0.0, |size| size - self.mean_log_size);
        let mut row = vec![1.0, size];
        for (part, names) in parts(pool).iter().zip(&self.names) {
            row.extend(names.iter().map(|name| f64::from(u8::from(name == part))));
        }
        if self.has_clock {
            row.extend(clock);
        }
        row
    }

    /// How strongly each coefficient is held to nought: the intercept and the size hardly, the others as is said.
    pub(crate) fn ridges(&self, ridge: f64) -> Vec<f64> {
        let width = 2 + self.names.iter().map(Vec::len).sum::<usize>() + if self.has_clock { 3 } else { 0 };
        (0..width).map(|at| if at == 0 { 1e-3 } else { ridge }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::lives::pool_of;

    #[test]
    fn sizes_are_read_from_names() {
        let size = |name| log_size(name).map(f64::exp2);
        assert_eq!(size("n1-highcpu-32"), Some(32.0));
        assert_eq!(size("m5.large"), Some(2.0));
        assert_eq!(size("m5.2xlarge").map(f64::round), Some(8.0));
        assert_eq!(size("Standard_D4s_v5"), Some(4.0));
        assert_eq!(size("v100_8").map(f64::round), Some(8.0));
        for name in ["", "m5.metal", "n1-highcpu-0", "e2-medium", "x.yxlarge", "Standard_"] {
            assert_eq!(size(name), None, "{name}");
        }
    }

    #[test]
    fn the_clock_knows_the_weekend() {
        // 2019-03-30 was a Saturday.
        assert_eq!(clock(Some(1_553_904_000.0 + 6.0 * 3_600.0))[2], 1.0);
        assert_eq!(clock(Some(1_553_904_000.0 - 3_600.0))[2], 0.0);
        assert!((clock(Some(1_553_904_000.0 + 6.0 * 3_600.0))[0] - 1.0).abs() < 1e-9);
        assert_eq!(clock(Some(f64::NAN)), [0.0; 3]);
    }

    #[test]
    fn rows_have_one_width_whatever_the_pool() {
        let pools = [pool_of("us-east-1a", "m5.large"), pool_of("us-east-1b", "c5.large")];
        for has_clock in [false, true] {
            let features = Features::of(pools.iter().map(|pool| (pool, 1.0)), has_clock);
            let width = features.ridges(1.0).len();
            for pool in [&pools[0], &Pool::default(), &pool_of("us-central1-c", "n1-highcpu-8")] {
                assert_eq!(features.row(pool, [0.0; 3]).len(), width);
            }
        }
    }
}
