//! What a way of saving costs: a job run to its end on machines whose lives are drawn, again and again.
//!
//! Responsibilities: draw lives, run, add up. Inputs: a survival curve as steps, the job, the way of saving, a seed. Outputs: the
//! mean overhead and its error. Must never end with a job that cannot end: lives are bounded below by nothing, so attempts are counted.

use super::interval::{Hazard, at_age};
use crate::Scarce;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

/// Machines that a job may use up before it is given up as endless.
const ATTEMPTS_MAX: u32 = 100_000;

/// A way of saving.
#[derive(Clone, Copy, Debug)]
pub enum Way<'w> {
    /// Never.
    Never,
    /// After so many hours of work.
    Every(f64),
    /// After the interval that the machine's age asks for.
    ByAge {
        /// Events an hour by age.
        hazard: &'w Hazard,
        /// Age at which machines end, hours.
        wall_h: Option<f64>,
    },
    /// At the notice, if the save fits into it: the work of a machine up to its notice is kept.
    AtNotice {
        /// How long before its end a machine is told, hours.
        notice_h: f64,
    },
}

/// The job.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Work, hours.
    pub work_h: f64,
    /// A save, hours.
    pub save_h: f64,
    /// From the start of a machine until the work goes on, hours: of the first one too, and of the machine's life.
    pub restart_h: f64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Overhead {
    /// Time beyond the work, as a part of the work.
    pub mean: f64,
    /// Standard error of that mean.
    pub error: f64,
    /// Interruptions of a job, in the mean.
    pub interruptions: f64,
    /// Jobs that were run.
    pub runs: u32,
}

/// Lives, as a survival curve has them: pairs of age (hours, rising) and part that lives longer (falling).
#[derive(Clone, Debug)]
pub struct Lives {
    steps: Vec<(f64, f64)>,
    /// Events an hour behind the curve's end, where some live on.
    tail_per_hour: f64,
}

impl Lives {
    /// From a survival curve: what Kaplan and Meier's estimate gives. Whoever outlives it goes on to be interrupted at the curve's
    /// mean rate.
    ///
    /// # Errors
    /// The curve has no steps, is no curve, or has no interruption.
    pub fn new(steps: &[(f64, f64)]) -> Result<Self, Scarce> {
        let is_sound = |(age_h, part): &(f64, f64)| age_h.is_finite() && *age_h >= 0.0 && (0.0..=1.0).contains(part);
        let is_curve = steps.is_sorted_by(|one, other| one.0 <= other.0 && one.1 >= other.1);
        let Some((last_h, last)) = steps.last().copied() else {
            return Err(Scarce("no life has ended yet: there is nothing to draw lives from".to_owned()));
        };
        if !steps.iter().all(is_sound) || !is_curve {
            return Err(Scarce("a survival curve has rising ages and falling parts between 1 and 0".to_owned()));
        }
        if last >= 1.0 {
            return Err(Scarce("no life was interrupted: there is nothing to plan saves for".to_owned()));
        }
        let tail_per_hour = if last > 0.0 && last_h > 0.0 { -last.ln() / last_h } else { f64::INFINITY };
        Ok(Self { steps: steps.to_vec(), tail_per_hour })
    }

    /// The life whose part of longer ones is `part`, between 0 and 1.
    fn at(&self, part: f64) -> f64 {
        let step = self.steps.partition_point(|(_, longer)| *longer > part);
        match (self.steps.get(step), self.steps.last()) {
            (Some((age_h, _)), _) => *age_h,
            (None, Some((last_h, last))) => last_h + (last / part.max(f64::MIN_POSITIVE)).ln() / self.tail_per_hour,
            (None, None) => 0.0,
        }
    }

    /// Part that lives longer than an age.
    #[must_use]
    pub fn survival(&self, age_h: f64) -> f64 {
        let step = self.steps.partition_point(|(age, _)| *age <= age_h);
        match self.steps.last() {
            Some((last_h, last)) if step == self.steps.len() && *last > 0.0 => {
                last * (-(age_h - last_h).max(0.0) * self.tail_per_hour).exp()
            }
            _ => step.checked_sub(1).and_then(|step| self.steps.get(step)).map_or(1.0, |(_, part)| *part),
        }
    }
}

/// Runs the job `runs` times.
///
/// # Errors
/// Numbers that are none, or a job that no machine lives long enough for.
pub fn overhead(task: &Task, way: Way<'_>, lives: &Lives, runs: u32, seed: u64) -> Result<Overhead, Scarce> {
    let is_sound = |hours: f64| hours.is_finite() && hours >= 0.0;
    if ![task.work_h, task.save_h, task.restart_h].into_iter().all(is_sound) || task.work_h <= 0.0 || runs == 0 {
        return Err(Scarce("expected hours above zero, and at least one run".to_owned()));
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (mut sum, mut squares, mut interruptions) = (0.0, 0.0, 0_u64);
    for _ in 0..runs {
        let (total_h, taken) = one(task, way, lives, &mut random)?;
        let part = total_h / task.work_h - 1.0;
        sum += part;
        squares += part * part;
        interruptions += u64::from(taken);
    }
    let count = f64::from(runs);
    let mean = sum / count;
    let variance = (squares / count - mean * mean).max(0.0);
    Ok(Overhead { mean, error: (variance / count).sqrt(), interruptions: interruptions as f64 / count, runs })
}

/// Hours until the end, and machines that were taken away.
fn one(task: &Task, way: Way<'_>, lives: &Lives, random: &mut Xoshiro256PlusPlus) -> Result<(f64, u32), Scarce> {
    let (mut total_h, mut done_h, mut taken) = (0.0, 0.0, 0);
    while taken < ATTEMPTS_MAX {
        let life_h = lives.at(random.random::<f64>());
        let starts_h = task.restart_h.min(life_h);
        let (ran_h, kept_h) = machine(task, way, life_h, task.work_h - done_h);
        total_h += starts_h + ran_h;
        done_h += kept_h;
        if done_h >= task.work_h - 1e-9 {
            return Ok((total_h, taken));
        }
        taken += 1;
    }
    Err(Scarce(format!("after {ATTEMPTS_MAX} machines the job was not done: none lives long enough for a save")))
}

/// One machine: hours that it ran after its start, and work of it that is kept.
fn machine(task: &Task, way: Way<'_>, life_h: f64, left_h: f64) -> (f64, f64) {
    let runs_h = (life_h - task.restart_h).max(0.0);
    if let Way::AtNotice { notice_h } = way {
        // Told so long before its end, it works on until the save has to begin.
        let works_h = (runs_h - notice_h).max(0.0);
        if works_h >= left_h {
            return (left_h, left_h);
        }
        return (runs_h, if task.save_h <= notice_h { works_h } else { 0.0 });
    }
    let (mut ran_h, mut kept_h) = (0.0, 0.0);
    loop {
        let rest_h = left_h - kept_h;
        let interval_h = match way {
            Way::Every(hours) => hours.max(1e-6),
            Way::ByAge { hazard, wall_h } => at_age(task.save_h, hazard, task.restart_h + ran_h, wall_h).max(1e-6),
            Way::Never | Way::AtNotice { .. } => f64::INFINITY,
        };
        if interval_h >= rest_h {
            return if ran_h + rest_h <= runs_h { (ran_h + rest_h, left_h) } else { (runs_h, kept_h) };
        }
        if ran_h + interval_h + task.save_h > runs_h {
            return (runs_h, kept_h);
        }
        ran_h += interval_h + task.save_h;
        kept_h += interval_h;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: Task = Task { work_h: 10.0, save_h: 1.0 / 60.0, restart_h: 0.05 };

    /// Machines that die at a constant rate, as steps.
    fn constant(between_h: f64) -> Lives {
        let steps: Vec<(f64, f64)> =
            (1..4000).map(|n| f64::from(n) * 0.02).map(|age| (age, (-age / between_h).exp())).collect();
        Lives::new(&steps).expect("a curve")
    }

    #[test]
    fn the_replay_agrees_with_what_is_known_for_a_constant_hazard() {
        let (between_h, interval_h) = (8.0, 0.6);
        let lives = constant(between_h);
        let found = overhead(&TASK, Way::Every(interval_h), &lives, 20_000, 7).expect("an overhead");
        // Segments of work and save, each begun anew after an interruption and a start, which can be interrupted too; the last segment has
        // no save.
        let start = between_h * (TASK.restart_h / between_h).exp_m1();
        let segment = |hours: f64| (between_h + start) * (hours / between_h).exp_m1();
        let whole = (TASK.work_h / interval_h).ceil() - 1.0;
        let expected = start + whole * segment(interval_h + TASK.save_h) + segment(TASK.work_h - whole * interval_h);
        let expected = expected / TASK.work_h - 1.0;
        assert!((found.mean - expected).abs() < 4.0 * found.error + 0.002, "{found:?} against {expected}");
        let never = overhead(&TASK, Way::Never, &lives, 20_000, 7).expect("an overhead");
        let expected = (start + segment(TASK.work_h)) / TASK.work_h - 1.0;
        assert!((never.mean - expected).abs() < 4.0 * never.error + 0.005, "{never:?} against {expected}");
        assert!(never.mean > 2.0 * found.mean);
    }

    #[test]
    fn a_notice_is_worth_all_of_it_or_nothing() {
        let lives = constant(8.0);
        let of = |save_h: f64, notice_h: f64| {
            let task = Task { save_h, ..TASK };
            overhead(&task, Way::AtNotice { notice_h }, &lives, 4_000, 1).expect("an overhead").mean
        };
        let never = overhead(&TASK, Way::Never, &lives, 4_000, 1).expect("an overhead").mean;
        assert!(of(20.0 / 3600.0, 120.0 / 3600.0) < 0.02);
        assert!((of(100.0 / 3600.0, 30.0 / 3600.0) - never).abs() < 0.1 * never);
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_something_else() {
        let lives = constant(8.0);
        let of = |seed| overhead(&TASK, Way::Every(1.0), &lives, 100, seed).expect("an overhead");
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn curves_that_say_nothing_are_refused() {
        for steps in [&[][..], &[(1.0, 1.0)], &[(1.0, f64::NAN)], &[(2.0, 0.5), (1.0, 0.4)], &[(1.0, 0.4), (2.0, 0.5)]]
        {
            assert!(Lives::new(steps).is_err(), "{steps:?}");
        }
        let dead_at_once = Lives::new(&[(0.0, 0.0)]).expect("a curve");
        assert!(overhead(&TASK, Way::Every(1.0), &dead_at_once, 1, 1).is_err());
        let lives = Lives::new(&[(1.0, 0.6), (3.0, 0.2)]).expect("a curve");
        let survival: Vec<f64> = [0.5, 1.0, 2.9, 3.0].into_iter().map(|age| lives.survival(age)).collect();
        assert_eq!(survival, [1.0, 0.6, 0.6, 0.2]);
        assert!(lives.survival(30.0) < 0.2 && lives.survival(30.0) > 0.0);
    }
}
