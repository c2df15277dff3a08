//! How long before an interruption a recommendation to leave comes, and how often none does.
//!
//! Inputs: for each interruption the moment of it and that of the recommendation before it. Outputs: the distribution of the time between
//! and the share without any. Must never count a recommendation that came after the interruption's notice as a warning.
//!
//! AWS: "It is possible for the rebalance recommendation signal to arrive along with the two-minute interruption notice" (EC2 User Guide,
//! "EC2 instance rebalance recommendations").

use super::rate::share_95;
use crate::Scarce;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

/// Interruptions below which nothing is said.
const LEAST: usize = 10;

/// An interruption and what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warned {
    /// When leaving was first recommended, seconds since 1970, UTC; None: never.
    pub recommended_s: Option<f64>,
    /// When the notice of the interruption came, seconds since 1970, UTC.
    pub interrupted_s: f64,
}

/// A quantile with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// Which share lies below.
    pub share: f64,
    /// The estimate, seconds.
    pub seconds: f64,
    /// 95 % interval by order statistics, which needs no form of the distribution; its ends are the extremes where data are few.
    pub seconds_95: (f64, f64),
}

/// How much warning there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeadTime {
    /// Interruptions.
    pub interruptions: u64,
    /// Of these, how many came without a recommendation before.
    pub without: u64,
    /// One by the other.
    pub share_without: f64,
    /// 95 % interval of that.
    pub share_without_95: (f64, f64),
    /// The time that there was where there was one: 10 %, a quarter, half, three quarters, 90 %.
    pub quantiles: Vec<Quantile>,
    /// What that means, for people.
    pub sentence: String,
}

impl LeadTime {
    /// Looks at all interruptions.
    ///
    /// # Errors
    /// Too few of them.
    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub fn of(interruptions: &[Warned]) -> Result<Self, Scarce> {
        let count = interruptions.len();
        if count < LEAST {
            return Err(Scarce(format!(
                "{count} interruptions are too few to say how long before them one is warned: {LEAST} are the least"
            )));
        }
        let lead = |one: &Warned| {
            one.recommended_s.map(|at| one.interrupted_s - at).filter(|lead| lead.is_finite() && *lead > 0.0)
        };
        let mut leads: Vec<f64> = interruptions.iter().filter_map(lead).collect();
        leads.sort_by(f64::total_cmp);
        let without = (count - leads.len()) as u64;
        let share_without = without as f64 / count as f64;
        let share_without_95 = share_95(without, count as u64);
        let quantiles: Vec<Quantile> =
            [0.1, 0.25, 0.5, 0.75, 0.9].into_iter().filter_map(|share| quantile(&leads, share)).collect();
        let (low, high) = share_without_95;
        let none = format!(
            "{without} of {count} interruptions came without a recommendation before ({:.0} %, {:.0} to {:.0} %)",
            share_without * 100.0,
            low * 100.0,
            high * 100.0
        );
        let at = |share: f64| quantiles.iter().find(|quantile| (quantile.share - share).abs() < 1e-9);
        let sentence = match (at(0.5), at(0.1)) {
            (Some(half), Some(tenth)) => {
                format!(
                    "{none}; of the others half had {} and nine of ten had {} or more.",
                    length(half.seconds),
                    length(tenth.seconds)
                )
            }
            _ => format!("{none}: do not wait for one."),
        };
        Ok(Self { interruptions: count as u64, without, share_without, share_without_95, quantiles, sentence })
    }
}

/// `40 s`, `12 min`, `3.5 h`.
fn length(seconds: f64) -> String {
    match seconds {
        _ if seconds < 120.0 => format!("{seconds:.0} s"),
        _ if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

/// By linear interpolation between order statistics (R's type 7); its interval from the binomial distribution of how many lie below.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a list"
)]
fn quantile(sorted: &[f64], share: f64) -> Option<Quantile> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let (below, above) = (*sorted.get(place.floor() as usize)?, *sorted.get(place.ceil() as usize)?);
    let seconds = below + (above - below) * place.fract();
    let count = sorted.len() as u64;
    let ends = Binomial::new(share, count).ok().map(|lie_below| {
        // The k-th smallest is below the quantile exactly if at least k lie below it.
        let low = (1..=count).take_while(|k| lie_below.cdf(k - 1) <= 0.025).last();
        let high = (1..=count).find(|k| lie_below.cdf(k - 1) >= 0.975);
        (low.map_or(0, |k| k as usize - 1), high.map_or(last, |k| k as usize - 1))
    });
    let (low, high) = ends.unwrap_or((0, last));
    Some(Quantile { share, seconds, seconds_95: (*sorted.get(low)?, *sorted.get(high)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(lead_s: Option<f64>) -> Warned {
        Warned { recommended_s: lead_s.map(|lead| 1_000.0 - lead), interrupted_s: 1_000.0 }
    }

    #[test]
    fn the_share_without_a_warning_counts_those_that_came_too_late() {
        let mut all: Vec<Warned> = (1..=60).map(|minutes| warned(Some(60.0 * f64::from(minutes)))).collect();
        all.extend([warned(None), warned(Some(0.0)), warned(Some(-5.0)), warned(Some(f64::NAN))]);
        let lead = LeadTime::of(&all).expect("enough");
        assert_eq!((lead.interruptions, lead.without), (64, 4));
        assert!(lead.share_without_95.0 < lead.share_without && lead.share_without < lead.share_without_95.1);
        let half = lead.quantiles[2];
        assert!((half.seconds - 1_830.0).abs() < 1e-9, "{half:?}");
        // Order statistics 22 and 39 of 60 (Conover's table for the median).
        assert_eq!(half.seconds_95, (22.0 * 60.0, 39.0 * 60.0));
        assert!(lead.sentence.contains("4 of 64") && lead.sentence.contains("half had 30 min"), "{}", lead.sentence);
    }

    #[test]
    fn no_warning_at_all_and_too_few_are_told() {
        let lead = LeadTime::of(&[warned(None); 12]).expect("enough");
        assert!(lead.quantiles.is_empty() && lead.sentence.contains("12 of 12"), "{}", lead.sentence);
        assert!(LeadTime::of(&[warned(None); 9]).is_err());
        let one = LeadTime::of(&[[warned(None); 11].as_slice(), &[warned(Some(9.0))]].concat()).expect("enough");
        assert_eq!(one.quantiles[0].seconds_95, (9.0, 9.0));
    }
}
