//! Models of interruption: how likely a machine is taken back within the next hours.
//!
//! Responsibilities: from lives ([`Life`]) to a fitted model, from a fitted model and a question ([`Ask`]) to a
//! probability with its interval and its reasons ([`Risk`]). Fitted models can be serialised: fit them in the
//! background, ask them cheaply. Inputs: values. Outputs: values; [`Scarce`] where there is too little to learn from.
//! They must never give a NaN, whatever they are asked, and never count what a machine would still have lived as if
//! it had been interrupted: lives that somebody stopped are censored.
//!
//! [`snooze::Snooze`] is what the project uses. The others are there to be compared with, and as its parts.

pub mod age_bins;
pub mod age_curve;
pub mod availability;
pub mod bathtub;
mod blend;
pub mod compare;
pub mod constant;
mod features;
pub mod gamma_poisson;
mod glm;
pub mod hours;
pub mod levels;
pub mod logistic;
pub mod pooled;
pub mod prior;
pub mod proportional;
pub mod rates;
pub mod snooze;
pub mod tally;
pub mod weibull;

use crate::{Life, Pool, Scarce};
use serde::{Deserialize, Serialize};
use tally::{Basis, Tally};

/// Interruptions below which a group of machines says too little by itself.
pub const FEW_EVENTS: u64 = 10;

/// Hours of machines below which a group says too little by itself.
pub const FEW_HOURS: f64 = 200.0;

/// The ages around 24 h. GCP ends every preemptible machine then; that says nothing about its pool, so what compares
/// pools leaves these hours out, and they have an age bin of their own.
pub const DAY_WALL_H: (f64, f64) = (23.0, 25.0);

/// The shortest life that is told from none, hours: one second. A machine that was gone before lived so long.
pub(crate) const SHORTEST_H: f64 = 1.0 / 3600.0;

/// The greatest age and horizon that are reckoned with, hours: a hundred years.
const LONGEST_H: f64 = 876_600.0;

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask<'p> {
    /// Where the machine runs.
    pub pool: &'p Pool,
    /// How long it has lived, hours.
    pub age_h: f64,
    /// How far to look ahead, hours.
    pub within_h: f64,
    /// Now, seconds since 1970, UTC; None: the hour of the day is not used.
    pub now_s: Option<f64>,
}

impl Ask<'_> {
    /// From which age to which, hours: what is not a number or below zero counts as zero.
    #[must_use]
    pub fn span_h(&self) -> (f64, f64) {
        let sound = |hours: f64| if hours.is_nan() { 0.0 } else { hours.clamp(0.0, LONGEST_H) };
        let from = sound(self.age_h);
        (from, from + sound(self.within_h))
    }
}

/// What a model foresees: a Gamma distribution of how many interruptions would be expected if each machine were
/// replaced at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The cumulative hazard: the probability is 1 − exp(−expected).
    pub expected: f64,
    /// How sure that is, as the number of interruptions it is worth (the shape of the distribution).
    pub shape: f64,
}

/// The relative spread of a product of independent parts, as a shape: 1 / Σ (1 / shape).
pub(crate) fn joint_shape(shapes: impl IntoIterator<Item = f64>) -> f64 {
    let spread: f64 = shapes.into_iter().map(|shape| 1.0 / shape.max(1e-3)).sum();
    if spread > 0.0 { (1.0 / spread).min(MOST_SHAPE) } else { MOST_SHAPE }
}

/// Beyond this a distribution is a point.
const MOST_SHAPE: f64 = 1e6;

impl Forecast {
    /// The probability of an interruption.
    #[must_use]
    pub fn probability(&self) -> f64 {
        chance(self.expected)
    }

    /// Where the probability lies with 95 %.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        let spread = gamma_poisson::Posterior { shape: self.shape.clamp(1e-3, MOST_SHAPE), rate: 1.0 };
        let (low, high) = spread.interval();
        let share = |quantile: f64| self.expected * quantile / spread.mean();
        let probability = self.probability();
        (chance(share(low)).min(probability), chance(share(high)).max(probability))
    }
}

/// 1 − exp(−expected); nought for what is not a number.
pub fn chance(expected: f64) -> f64 {
    if expected.is_nan() { 0.0 } else { -(-expected.max(0.0)).exp_m1() }
}

/// A probability, how sure it is, and what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Risk {
    /// That the machine is interrupted within the horizon.
    pub probability: f64,
    /// The lower end of the 95 % interval of the probability.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Why.
    pub reasons: Reasons,
}

/// What a probability rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reasons {
    /// The model, and what it is made of.
    pub model: String,
    /// What of the machine's pool, its family, its provider or all was seen.
    pub basis: Basis,
    /// Where there is little history: the published figure that is used with it.
    pub prior: Option<String>,
}

impl std::fmt::Display for Reasons {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({})", self.basis, self.model)?;
        self.prior
            .as_ref()
            .map_or(Ok(()), |prior| write!(out, "; with little history, the published figure counts: {prior}"))
    }
}

/// A model that was fitted to lives.
pub trait Model: Sized {
    /// What it is called in tables.
    const NAME: &'static str;

    /// Learns from lives. Those whose length is not a finite number of hours are passed over.
    ///
    /// # Errors
    /// [`Scarce`] when there are too few interruptions or hours, in a sentence.
    fn fit(lives: &[Life]) -> Result<Self, Scarce>;

    /// What it foresees.
    fn forecast(&self, ask: &Ask<'_>) -> Forecast;

    /// What it has learned from.
    fn tally(&self) -> &Tally;

    /// The probability, its interval and its reasons.
    fn risk(&self, ask: &Ask<'_>) -> Risk {
        let forecast = self.forecast(ask);
        let (low, high) = forecast.interval();
        let reasons = Reasons { model: Self::NAME.to_owned(), basis: self.tally().basis(ask.pool), prior: None };
        Risk { probability: forecast.probability(), low, high, reasons }
    }
}

/// Lives that can be counted, in their order: of a length that is not negative, and not longer than any machine has
/// lived.
pub(crate) fn sound(lives: &[Life]) -> Vec<&Life> {
    lives.iter().filter(|life| (0.0..=LONGEST_H).contains(&life.lived_h)).collect()
}

/// Counts lives, and refuses when they are too few for anything.
pub(crate) fn enough(lives: &[&Life]) -> Result<Tally, Scarce> {
    let tally = Tally::of(lives);
    let all = tally.all();
    if all.events >= FEW_EVENTS && all.exposure_h >= FEW_HOURS {
        return Ok(tally);
    }
    Err(Scarce(format!(
        "there are {} interruptions in {:.0} hours of machines; from about {FEW_EVENTS} interruptions and \
         {FEW_HOURS:.0} hours on, something can be learned: let the history grow, or import one",
        all.events, all.exposure_h
    )))
}

#[allow(clippy::cast_precision_loss, reason = "numbers of events and rows, far below 2^52")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
