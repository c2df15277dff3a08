//! How often something happens per hour, and how sure that is.
//!
//! Inputs: a count and the hours in which it was counted. Outputs: a rate with an exact interval. Must never give a rate without hours.

use crate::Scarce;
use crate::lifetimes::Z95;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF, Gamma};

/// Events per hour of exposure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub events: u64,
    /// In how many machine-hours.
    pub hours: f64,
    /// One by the other.
    pub per_hour: f64,
    /// 95 % interval, exact (Garwood, Biometrika 28, 1936).
    pub per_hour_95: (f64, f64),
}

impl Rate {
    /// The rate of `events` in `hours`.
    ///
    /// # Errors
    /// There are no hours.
    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub fn of(events: u64, hours: f64) -> Result<Self, Scarce> {
        if !(hours.is_finite() && hours > 0.0) {
            return Err(Scarce(format!(
                "{events} interruptions in no time at all have no rate: the hours that machines ran are missing"
            )));
        }
        let (low, high) = poisson_95(events);
        Ok(Self { events, hours, per_hour: events as f64 / hours, per_hour_95: (low / hours, high / hours) })
    }
}

/// Counts above which exact quantiles are searched for ever, and an approximation is as good.
const MANY: u64 = 1_000_000;

/// 95 % interval of the mean of a Poisson distribution of which one draw is known. Of very many by Wilson and Hilferty's cube (PNAS 17,
/// 1931), which is right to 9 digits there.
#[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
pub(crate) fn poisson_95(count: u64) -> (f64, f64) {
    if count > MANY {
        let cube = |mean: f64, z: f64| mean * (1.0 - 1.0 / (9.0 * mean) + z / (3.0 * mean.sqrt())).powi(3);
        return (cube(count as f64, -Z95), cube(count as f64 + 1.0, Z95));
    }
    let quantile = |shape: f64, p: f64| Gamma::new(shape, 1.0).map_or(0.0, |gamma| gamma.inverse_cdf(p));
    let low = if count == 0 { 0.0 } else { quantile(count as f64, 0.025) };
    (low, quantile(count as f64 + 1.0, 0.975))
}

/// 95 % interval of a share, exact (Clopper and Pearson, Biometrika 26, 1934). From 0 to 1 where nothing was counted.
#[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
pub(crate) fn share_95(count: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let is_many = of > MANY;
    let (count, of) = (count.min(of) as f64, of as f64);
    if is_many {
        // Wilson's, JASA 22 (1927): as good for so many.
        let (share, z2) = (count / of, Z95 * Z95);
        let half = Z95 * (share * (1.0 - share) / of + z2 / (4.0 * of * of)).sqrt();
        let bound = |side: f64| ((share + z2 / (2.0 * of) + side * half) / (1.0 + z2 / of)).clamp(0.0, 1.0);
        return (bound(-1.0), bound(1.0));
    }
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(p, |beta| beta.inverse_cdf(p));
    let low = if count == 0.0 { 0.0 } else { quantile(count, of - count + 1.0, 0.025) };
    let high = if count == of { 1.0 } else { quantile(count + 1.0, of - count, 0.975) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Garwood's table: 0 gives 3.69, 10 gives 4.80 to 18.39.
        let rate = Rate::of(10, 100.0).expect("a rate");
        assert!(
            (rate.per_hour_95.0 - 0.047_954).abs() < 1e-5 && (rate.per_hour_95.1 - 0.183_904).abs() < 1e-5,
            "{rate:?}"
        );
        let none = Rate::of(0, 2.0).expect("a rate");
        assert!(none.per_hour_95.0 == 0.0 && (none.per_hour_95.1 - 1.844_44).abs() < 1e-4, "{none:?}");
        // Clopper and Pearson's: 81 of 1,263 and the ends.
        let (low, high) = share_95(81, 1263);
        assert!((low - 0.051_253).abs() < 1e-4 && (high - 0.079_103).abs() < 1e-4, "{low} {high}");
        assert_eq!((share_95(0, 0), share_95(5, 5).1, share_95(0, 5).0), ((0.0, 1.0), 1.0, 0.0));
    }

    #[test]
    fn very_many_have_the_interval_that_a_little_fewer_have() {
        let (exact, near) = (poisson_95(MANY), poisson_95(MANY + 1));
        assert!((near.0 - exact.0 - 1.0).abs() < 1e-2 && (near.1 - exact.1 - 1.0).abs() < 1e-2, "{exact:?} {near:?}");
        let (exact, near) = (share_95(MANY / 4, MANY), share_95(MANY / 4, MANY + 1));
        assert!((near.0 - exact.0).abs() < 2e-6 && (near.1 - exact.1).abs() < 2e-6, "{exact:?} {near:?}");
        assert!(poisson_95(u64::MAX).1.is_finite() && share_95(u64::MAX, u64::MAX).0 > 0.99);
    }

    #[test]
    fn no_hours_no_rate() {
        for hours in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Rate::of(3, hours).is_err());
        }
    }
}
