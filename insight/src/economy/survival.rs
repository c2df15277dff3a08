//! From lives to what the economy needs of them: the part that lives longer than an age, the hazard by age, and the mean time between
//! interruptions.
//!
//! Responsibilities: three plain figures with those who were not interrupted counted as what they are, lives that lasted at least so
//! long. Inputs: lives. Outputs: steps. Must never drop who was stopped: that makes every machine look short-lived.

use crate::lifetimes::{Observed, Survival};
use crate::{Life, Scarce};

/// Ages at which hazard classes begin, hours.
pub const AGES_H: [f64; 12] = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0];
/// Fewest interruptions that a curve is drawn from.
pub const EVENTS_MIN: usize = 10;

/// Kaplan and Meier's curve as plain steps: ages at which machines were interrupted, and the part that lives longer.
///
/// # Errors
/// Fewer than [`EVENTS_MIN`] interruptions, or a life of no length that there is.
pub fn curve(lives: &[Life]) -> Result<Vec<(f64, f64)>, Scarce> {
    enough(lives)?;
    let curve = Survival::of(lives.iter().map(Observed::from))?;
    let falls = curve.steps.iter().filter(|step| step.interrupted > 0);
    Ok(falls.map(|step| (step.hours, step.alive)).collect())
}

/// Interruptions an hour by age, for [`super::checkpoint::interval::Hazard`].
///
/// # Errors
/// Fewer than [`EVENTS_MIN`] interruptions.
pub fn hazard(lives: &[Life]) -> Result<Vec<(f64, f64)>, Scarce> {
    enough(lives)?;
    let (exposure_h, events) = (exposure_h(lives), events(lives));
    let mean = events as f64 / exposure_h.max(f64::MIN_POSITIVE);
    let ends = AGES_H.iter().skip(1).copied().chain([f64::INFINITY]);
    let classes = AGES_H.iter().zip(ends).map(|(from_h, to_h)| {
        let hours: f64 = lives.iter().map(|life| (life.lived_h.min(to_h) - from_h).max(0.0)).sum();
        let events =
            lives.iter().filter(|life| life.is_interrupted() && life.lived_h >= *from_h && life.lived_h < to_h).count();
        // Half an event of the mean rate, so that a class nobody was seen in has a rate too.
        (*from_h, (events as f64 + 0.5) / (hours + 0.5 / mean))
    });
    Ok(classes.collect())
}

/// Hours that machines were seen to run.
#[must_use]
pub fn exposure_h(lives: &[Life]) -> f64 {
    lives.iter().map(|life| life.lived_h).sum()
}

/// Interruptions.
#[must_use]
pub fn events(lives: &[Life]) -> usize {
    lives.iter().filter(|life| life.is_interrupted()).count()
}

fn enough(lives: &[Life]) -> Result<(), Scarce> {
    let events = events(lives);
    if events >= EVENTS_MIN && exposure_h(lives) > 0.0 {
        return Ok(());
    }
    Err(Scarce(format!(
        "{events} interruptions in {} lives: at least {EVENTS_MIN} are needed to say how long machines live",
        lives.len()
    )))
}
