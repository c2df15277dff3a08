//! What is published about interruptions, for when there is no history.
//!
//! Inputs: a provider, or a rate that somebody read elsewhere (the Spot Instance Advisor,
//! [`crate::economy::advisor`], say); what little was seen.
//! Outputs: a rate between the two. It must never hold against what was seen for long: it is worth one or two
//! interruptions, and when history contradicts it, history is believed.

use super::gamma_poisson::{GammaPoisson, Posterior};
use super::tally::Count;
use super::{Forecast, number};
use serde::{Deserialize, Serialize};

/// How far the published figure is believed to be about the machine at hand at all.
const BELIEF: f64 = 0.9;

/// What is believed where it is not: anything, up to ten thousand times the figure, worth half an interruption.
const OTHERWISE: (f64, f64) = (1e4, 0.5);

/// A published rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// Interruptions per hour of a machine.
    pub rate_per_hour: f64,
    /// How many interruptions of one's own it takes to weigh as much.
    pub weight_events: f64,
    /// Where it is from.
    pub source: String,
}

impl Prior {
    /// What is published about a provider.
    ///
    /// AWS: the mean over 14,962 Linux rows of the Spot Instance Advisor of 28 June 2025, each bucket at its middle,
    /// as −ln(1 − f) / 730 h. GCP: its documentation of preemptible machines names 5 to 15 % a day; the middle, as
    /// −ln(1 − .10) / 24 h. Azure: the lowest bucket of its eviction rates, 0 to 5 % an hour, at its middle. Of
    /// others nothing is known to be published: AWS's figure stands in.
    #[must_use]
    pub fn published(provider: &str) -> Self {
        let of = |rate_per_hour, source: &str| Self { rate_per_hour, weight_events: 1.0, source: source.to_owned() };
        match provider {
            "gcp" => of(-(0.9_f64).ln() / 24.0, "GCP's documentation of preemptible machines: 5 to 15 % a day"),
            "azure" => of(-(0.975_f64).ln(), "the lowest of Azure's eviction rates: 0 to 5 % an hour"),
            "aws" => of(2.47e-4, "the Spot Instance Advisor of 28 June 2025, mean over all Linux types"),
            _ => of(
                2.47e-4,
                "nothing is published for this provider; AWS's Spot Instance Advisor of 28 June 2025 stands in",
            ),
        }
    }

    /// The rate after what was seen.
    #[must_use]
    pub fn given(&self, seen: Count) -> Posterior {
        let sound = |value: f64, or: f64| if value.is_finite() && value > 0.0 { value } else { or };
        let rate = sound(self.rate_per_hour, 1e-4).clamp(1e-9, 1e6);
        let weight = sound(self.weight_events, 1.0).clamp(1e-3, 1e6);
        let seen = (number(seen.events), sound(seen.exposure_h, 0.0));
        let informed = GammaPoisson { shape: weight, rate: weight / rate };
        let vague = GammaPoisson { shape: OTHERWISE.1, rate: OTHERWISE.1 / (OTHERWISE.0 * rate) };
        let odds = (informed.log_likelihood(&[seen]) - vague.log_likelihood(&[seen])).exp() * BELIEF / (1.0 - BELIEF);
        let (informed, vague) = (informed.posterior(seen.0, seen.1), vague.posterior(seen.0, seen.1));
        let share = if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 };
        // With nothing seen the figure is the figure: that it may be wrong widens the interval, and does not move it.
        if seen.1 <= 0.0 && seen.0 <= 0.0 {
            return informed;
        }
        let mean = share * informed.mean() + (1.0 - share) * vague.mean();
        let second = |of: Posterior| of.mean() * of.mean() * (1.0 + 1.0 / of.shape);
        let variance = share * second(informed) + (1.0 - share) * second(vague) - mean * mean;
        let shape = (mean * mean / variance.max(mean * mean * 1e-6)).max(1e-3);
        Posterior { shape, rate: shape / mean }
    }

    /// What that foresees over so many hours.
    #[must_use]
    pub fn forecast(&self, seen: Count, hours: f64) -> Forecast {
        let rate = self.given(seen);
        Forecast { expected: rate.mean() * hours, shape: rate.shape }
    }
}

impl std::fmt::Display for Prior {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = 100.0 * super::chance(self.rate_per_hour * 730.0);
        write!(out, "{percent:.1} % of machines a month ({})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(events: u64, exposure_h: f64) -> Count {
        Count { events, exposure_h }
    }

    #[test]
    fn without_history_the_published_figure_stands() {
        let prior = Prior::published("aws");
        let rate = prior.given(seen(0, 0.0));
        assert!((rate.mean() - prior.rate_per_hour).abs() < 1e-12);
        let (low, high) = rate.interval();
        assert!(low < 0.2 * prior.rate_per_hour && high > 3.0 * prior.rate_per_hour);
    }

    #[test]
    fn a_quiet_history_lowers_it_and_a_stormy_one_overrules_it() {
        let prior = Prior::published("aws");
        assert!(prior.given(seen(0, 20_000.0)).mean() < 0.5 * prior.rate_per_hour);
        let stormy = prior.given(seen(9, 3.0)).mean();
        assert!(stormy > 1.0, "nine in three hours are not one in a thousand: {stormy}");
        assert!(prior.given(seen(300, 30.0)).mean() > 8.0);
    }

    #[test]
    fn nonsense_gives_numbers() {
        for rate_per_hour in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            let prior = Prior { rate_per_hour, weight_events: f64::NAN, source: String::new() };
            for seen in [seen(0, 0.0), seen(5, f64::NAN), seen(5, f64::INFINITY)] {
                let rate = prior.given(seen);
                assert!(rate.mean().is_finite() && rate.shape > 0.0, "{prior:?} {seen:?}");
            }
        }
    }
}
