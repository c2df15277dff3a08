//! Which share of machines is still there at an age: Kaplan and Meier's estimate, and Nelson and Aalen's of the hazard summed up.
//!
//! Inputs: observed times. Outputs: one step for each age at which something ended. Must never claim more than was observed: past the
//! oldest machine there is no answer.
//!
//! Sources: Kaplan and Meier, JASA 53 (1958); Greenwood's variance; the log-log interval of Kalbfleisch and Prentice, which stays within
//! 0 and 1; Nelson-Aalen with the variance of Klein, Scand. J. Stat. 18 (1991). tests/agreement.rs holds them against lifelines.

use super::{Observed, Z95, check_hours};
use crate::Scarce;
use serde::Serialize;

/// What is known at one age.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The age, hours.
    pub hours: f64,
    /// Machines that were there just before.
    pub at_risk: u64,
    /// Machines that were interrupted at this age.
    pub interrupted: u64,
    /// Share of machines that outlive this age.
    pub alive: f64,
    /// 95 % interval of `alive`, by the log-log transformation. From 0 where nobody is left.
    pub alive_95: (f64, f64),
    /// Greenwood's standard error of `alive`; 0 where nobody is left, which is then no measure of what is not known.
    pub alive_se: f64,
    /// The hazard summed up to this age (Nelson-Aalen), interruptions per machine.
    pub hazard_sum: f64,
    /// 95 % interval of `hazard_sum`, by the log transformation.
    pub hazard_sum_95: (f64, f64),
}

/// A survival curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survival {
    /// By age, each age once.
    pub steps: Vec<Step>,
    /// Machines.
    pub machines: u64,
    /// Of these, how many were interrupted.
    pub interrupted: u64,
    /// Hours of all of them together.
    pub exposure_h: f64,
}

impl Survival {
    /// The curve of these times.
    ///
    /// # Errors
    /// None were given, or one is no time.
    #[allow(clippy::cast_precision_loss, reason = "numbers of machines are below 2^53")]
    pub fn of(observed: impl IntoIterator<Item = Observed>) -> Result<Self, Scarce> {
        let mut all: Vec<Observed> = observed.into_iter().collect();
        for one in &all {
            check_hours(one.hours)?;
        }
        if all.is_empty() {
            return Err(Scarce("no machine has been seen yet: a survival curve needs lives".to_owned()));
        }
        all.sort_by(|a, b| a.hours.total_cmp(&b.hours));
        let mut steps = Vec::new();
        let mut sums = Sums::default();
        let mut left = all.len();
        for group in all.chunk_by(|a, b| a.hours == b.hours) {
            let interrupted = group.iter().filter(|one| one.interrupted).count();
            sums.add(left as f64, interrupted as f64);
            steps.push(sums.step(group.first().map_or(0.0, |one| one.hours), left, interrupted));
            left -= group.len();
        }
        let interrupted = all.iter().filter(|one| one.interrupted).count() as u64;
        let exposure_h = all.iter().map(|one| one.hours).sum();
        Ok(Self { steps, machines: all.len() as u64, interrupted, exposure_h })
    }

    /// Share of machines that outlive `hours`, with its 95 % interval; None past the oldest machine that was seen.
    #[must_use]
    pub fn alive_at(&self, hours: f64) -> Option<(f64, (f64, f64))> {
        let last = self.steps.last()?;
        if hours.is_nan() || hours > last.hours {
            return None;
        }
        let after = self.steps.partition_point(|step| step.hours <= hours);
        Some(
            after.checked_sub(1).and_then(|at| self.steps.get(at)).map_or((1.0, (1.0, 1.0)), |s| (s.alive, s.alive_95)),
        )
    }

    /// The age that this share of machines does not outlive, hours; None where the curve does not come down so far.
    #[must_use]
    pub fn age_at_share(&self, dead: f64) -> Option<f64> {
        self.steps.iter().find(|step| step.alive <= 1.0 - dead).map(|step| step.hours)
    }
}

/// What has been summed up to an age.
struct Sums {
    alive: f64,
    /// Of d / (n (n - d)): Greenwood's.
    relative_variance: f64,
    hazard: f64,
    hazard_variance: f64,
    band: (f64, f64),
}

impl Default for Sums {
    fn default() -> Self {
        Self { alive: 1.0, relative_variance: 0.0, hazard: 0.0, hazard_variance: 0.0, band: (1.0, 1.0) }
    }
}

impl Sums {
    fn add(&mut self, left: f64, interrupted: f64) {
        self.alive *= 1.0 - interrupted / left;
        self.hazard += interrupted / left;
        self.hazard_variance += interrupted * (left - interrupted) / left.powi(3);
        if interrupted < left {
            self.relative_variance += interrupted / (left * (left - interrupted));
        }
        if interrupted > 0.0 {
            self.band = if interrupted < left { self.log_log() } else { (0.0, self.band.1) };
        }
    }

    /// exp(-exp(ln(-ln S) +- z s / ln S)).
    fn log_log(&self) -> (f64, f64) {
        let log = self.alive.ln();
        if log == 0.0 {
            return (1.0, 1.0);
        }
        let width = Z95 * self.relative_variance.sqrt() / log;
        let bound = |shift: f64| (-((-log).ln() + shift).exp()).exp();
        (bound(-width), bound(width))
    }

    fn step(&self, hours: f64, at_risk: usize, interrupted: usize) -> Step {
        let spread = if self.hazard > 0.0 { (Z95 * self.hazard_variance.sqrt() / self.hazard).exp() } else { 1.0 };
        Step {
            hours,
            at_risk: at_risk as u64,
            interrupted: interrupted as u64,
            alive: self.alive,
            alive_95: self.band,
            alive_se: self.alive * self.relative_variance.sqrt(),
            hazard_sum: self.hazard,
            hazard_sum_95: (self.hazard / spread, self.hazard * spread),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(times: &[(f64, bool)]) -> Vec<Observed> {
        times.iter().map(|&(hours, interrupted)| Observed { hours, interrupted }).collect()
    }

    #[test]
    fn machines_that_were_stopped_count_until_they_were() {
        let curve = Survival::of(observed(&[(1.0, true), (2.0, false), (3.0, true), (3.0, false)])).expect("a curve");
        let alive: Vec<f64> = curve.steps.iter().map(|step| step.alive).collect();
        assert_eq!(alive, [0.75, 0.75, 0.375]);
        assert_eq!(curve.alive_at(0.5).map(|at| at.0), Some(1.0));
        assert_eq!(curve.alive_at(2.5).map(|at| at.0), Some(0.75));
        assert_eq!(curve.alive_at(3.1), None);
        assert_eq!((curve.age_at_share(0.25), curve.age_at_share(0.9)), (Some(1.0), None));
        assert!((curve.exposure_h - 9.0).abs() < 1e-12);
    }

    #[test]
    fn the_interval_holds_the_estimate_and_stays_within_0_and_1_to_the_last_machine() {
        let times: Vec<(f64, bool)> =
            (1..=9).map(|hour| (f64::from(hour), hour % 3 != 0)).chain([(9.5, true)]).collect();
        let curve = Survival::of(observed(&times)).expect("a curve");
        for step in &curve.steps {
            let (low, high) = step.alive_95;
            assert!(0.0 <= low && low <= step.alive && step.alive <= high && high <= 1.0, "{step:?}");
            assert!(step.alive_se.is_finite() && step.hazard_sum_95.0 <= step.hazard_sum_95.1);
        }
        assert_eq!(curve.steps.last().map(|step| step.alive), Some(0.0));
    }

    #[test]
    fn no_lives_and_impossible_ones_are_told() {
        assert!(Survival::of([]).is_err());
        for hours in [f64::NAN, f64::INFINITY, -1.0] {
            let error = Survival::of(observed(&[(hours, true)])).expect_err("refused");
            assert!(error.0.contains("hours"), "{error}");
        }
        assert!(Survival::of(observed(&[(0.0, true)])).is_ok());
    }
}
