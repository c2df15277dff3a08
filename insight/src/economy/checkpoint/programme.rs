//! The best moments to save for a job of known length on machines whose hazard goes by age: an exact dynamic programme.
//!
//! Responsibilities: the expected time to the end, and the intervals that reach it. Inputs: a survival curve, the job, the times of a
//! save and of a restart, the age of the machine at the start. Outputs: a [`Programme`]. Must never assume that machines live for
//! ever: where the curve ends, they do.
//!
//! Kadupitiya, Jadhao and Sharma, "Modeling the temporally constrained preemptions of transient cloud VMs", HPDC 2020, section 4.3. A
//! restart begins on a new machine with the work of the last save; the last interval of a job needs no save.

use crate::Scarce;
use serde::Serialize;

/// Steps that the work is cut into, at most; the time to work it out grows with the cube.
pub const STEPS_MAX: usize = 300;

/// A job on machines that are taken away.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Work, hours.
    pub work_h: f64,
    /// A save, hours.
    pub save_h: f64,
    /// Until the work goes on after an interruption, hours.
    pub restart_h: f64,
    /// Age of the machine at the start, hours.
    pub age_h: f64,
}

/// The best schedule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Programme {
    /// Expected time from start to end, hours.
    pub expected_h: f64,
    /// Hours of work before each save, and after the last one, if nothing happens.
    pub intervals_h: Vec<f64>,
}

/// Works the best schedule out, in `steps` steps. `survival` gives the part of machines that reach an age (hours): 1 at 0, never rising.
///
/// # Errors
/// Numbers that are none, no steps, or machines that never live long enough for a step of work.
pub fn programme(task: &Task, steps: usize, survival: impl Fn(f64) -> f64) -> Result<Programme, Scarce> {
    let Task { work_h, save_h, restart_h, age_h } = *task;
    let is_sound = |hours: f64| hours.is_finite() && hours >= 0.0;
    if ![work_h, save_h, restart_h, age_h].into_iter().all(is_sound) || work_h == 0.0 || steps == 0 || steps > STEPS_MAX
    {
        return Err(Scarce(format!("expected hours above zero and 1 to {STEPS_MAX} steps to plan saves with")));
    }
    let step_h = work_h / steps as f64;
    let saves = Saves { hours: save_h, steps: (save_h / step_h).round() as usize };
    // Ages that can come up: all of the work, each step followed by a save.
    let ages = steps * (1 + saves.steps) + 1;
    let fresh = Curve::new(0.0, step_h, ages, &survival);
    let mut table = Table::new(steps, ages, saves);
    for left in 1..=steps {
        // The start anew has itself among its successors: x = a + b (restart + x), for each choice.
        let anew_h = (1..=left)
            .map(|work| {
                let (sure_h, again) = table.choice(left, work, 0, &fresh);
                if again < 1.0 { (sure_h + again * restart_h) / (1.0 - again) } else { f64::INFINITY }
            })
            .fold(f64::INFINITY, f64::min);
        if !anew_h.is_finite() {
            return Err(Scarce("no machine lives long enough for a step of this work and a save".to_owned()));
        }
        table.choose(left, anew_h + restart_h, &fresh);
    }
    if age_h > 0.0 {
        // On the first machine, after whose end everything is as on a new one.
        let first = Curve::new(age_h, step_h, ages, &survival);
        let anew_h: Vec<f64> = (0..=steps).map(|left| table.value(left, 0)).collect();
        for left in 1..=steps {
            table.choose(left, anew_h.get(left).copied().unwrap_or(0.0) + restart_h, &first);
        }
    }
    let (mut left, mut age, mut intervals_h) = (steps, 0, Vec::new());
    let expected_h = table.value(steps, 0);
    while left > 0 {
        let work = table.best(left, age).clamp(1, left);
        intervals_h.push(work as f64 * step_h);
        left -= work;
        age += work + saves.steps;
    }
    Ok(Programme { expected_h, intervals_h })
}

/// What a save takes: exactly, and in steps of a machine's age.
#[derive(Clone, Copy, Debug)]
struct Saves {
    hours: f64,
    steps: usize,
}

/// Survival from an age on, step by step.
struct Curve {
    /// Part that reaches each age.
    reached: Vec<f64>,
    /// Up to each age: ages at death in hours, each weighted with its part.
    spent_h: Vec<f64>,
    step_h: f64,
}

impl Curve {
    fn new(from_h: f64, step_h: f64, ages: usize, survival: impl Fn(f64) -> f64) -> Self {
        let mut least = 1.0_f64;
        let reached: Vec<f64> = (0..=ages)
            .map(|age| {
                least = least.min(survival(from_h + age as f64 * step_h).clamp(0.0, 1.0));
                least
            })
            .collect();
        let mut spent_h = vec![0.0];
        let mut sum_h = 0.0;
        for (age, pair) in reached.windows(2).enumerate() {
            if let &[here, next] = pair {
                sum_h += (here - next) * (age as f64 + 0.5) * step_h;
            }
            spent_h.push(sum_h);
        }
        Self { reached, spent_h, step_h }
    }

    /// Probability to live `steps` more at an age, and the mean time until the end of those who do not, weighted with their part.
    fn ahead(&self, age: usize, steps: usize) -> (f64, f64) {
        let last = self.reached.len() - 1;
        let (from, to) = (age.min(last), (age + steps).min(last));
        let at = |values: &[f64], age: usize| values.get(age).copied().unwrap_or(0.0);
        let (here, there) = (at(&self.reached, from), at(&self.reached, to));
        if here <= 0.0 {
            return (0.0, 0.0);
        }
        let spent_h = at(&self.spent_h, to) - at(&self.spent_h, from) - from as f64 * self.step_h * (here - there);
        (there / here, spent_h.max(0.0) / here)
    }
}

/// Expected hours and best intervals by work left and age, in steps.
struct Table {
    ages: usize,
    saves: Saves,
    values: Vec<f64>,
    bests: Vec<usize>,
}

impl Table {
    fn new(steps: usize, ages: usize, saves: Saves) -> Self {
        let size = (steps + 1) * (ages + 1);
        Self { ages, saves, values: vec![0.0; size], bests: vec![0; size] }
    }

    fn at(&self, left: usize, age: usize) -> usize {
        left * (self.ages + 1) + age.min(self.ages)
    }

    fn value(&self, left: usize, age: usize) -> f64 {
        self.values.get(self.at(left, age)).copied().unwrap_or(0.0)
    }

    fn best(&self, left: usize, age: usize) -> usize {
        self.bests.get(self.at(left, age)).copied().unwrap_or(1)
    }

    /// Of a choice: the expected hours without what a failure needs afterwards, and the probability of failure.
    fn choice(&self, left: usize, work: usize, age: usize, curve: &Curve) -> (f64, f64) {
        let saves = if work == left { Saves { hours: 0.0, steps: 0 } } else { self.saves };
        let (lives, lost_h) = curve.ahead(age, work + saves.steps);
        let then_h = if work == left { 0.0 } else { self.value(left - work, age + work + saves.steps) };
        (lost_h + lives * (work as f64 * curve.step_h + saves.hours + then_h), 1.0 - lives)
    }

    /// The best choices at all ages for so much work; `anew_h`: what is expected after a failure.
    fn choose(&mut self, left: usize, anew_h: f64, curve: &Curve) {
        // No age beyond what the work that is done can have taken, with a save after each step.
        let each = 1 + self.saves.steps;
        let oldest = ((self.ages - 1) / each).saturating_sub(left) * each;
        for age in 0..=oldest.min(self.ages) {
            let mut best = (f64::INFINITY, 1);
            for work in 1..=left {
                let (sure_h, again) = self.choice(left, work, age, curve);
                let hours = sure_h + again * anew_h;
                if hours < best.0 {
                    best = (hours, work);
                }
            }
            let at = self.at(left, age);
            if let (Some(value), Some(choice)) = (self.values.get_mut(at), self.bests.get_mut(at)) {
                (*value, *choice) = best;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fit that is published for these machines, as a survival curve that ends at 24 h.
    fn bathtub(age_h: f64) -> f64 {
        let dead = 0.4141 * (1.0 - (-age_h / 0.9407).exp() + ((age_h - 24.4543) / 0.7682).exp());
        if age_h >= 24.0 { 0.0 } else { (1.0 - dead).clamp(0.0, 1.0) }
    }

    /// Expected hours of one fixed list of intervals, each begun anew on a new machine after a failure, by brute force.
    fn brute(intervals: &[usize], save: usize, restart_h: f64, step_h: f64, survival: &impl Fn(f64) -> f64) -> f64 {
        /// (sure hours, probability of failing before the next save) of what is left, and what a fresh start of it costs.
        fn rest(
            intervals: &[usize],
            age: usize,
            save: usize,
            restart_h: f64,
            step_h: f64,
            survival: &impl Fn(f64) -> f64,
        ) -> f64 {
            let Some((first, others)) = intervals.split_first() else { return 0.0 };
            let one = |age: usize| {
                let steps = first + if others.is_empty() { 0 } else { save };
                let at = |age: usize| survival(age as f64 * step_h);
                let lives = at(age + steps) / at(age);
                let lost: f64 =
                    (0..steps).map(|s| (at(age + s) - at(age + s + 1)) * (s as f64 + 0.5) * step_h).sum::<f64>()
                        / at(age);
                let then = rest(others, age + steps, save, restart_h, step_h, survival);
                (lost + lives * (steps as f64 * step_h + then), 1.0 - lives)
            };
            let (sure, again) = one(0);
            let anew = (sure + again * restart_h) / (1.0 - again);
            let (sure, again) = one(age);
            sure + again * (restart_h + anew)
        }
        rest(intervals, 0, save, restart_h, step_h, survival)
    }

    fn compositions(left: usize) -> Vec<Vec<usize>> {
        if left == 0 {
            return vec![Vec::new()];
        }
        (1..=left)
            .flat_map(|first| {
                compositions(left - first).into_iter().map(move |mut rest| {
                    rest.insert(0, first);
                    rest
                })
            })
            .collect()
    }

    #[test]
    fn the_programme_beats_every_fixed_list_of_intervals_and_is_one_where_lists_are_all_there_is() {
        let task = Task { work_h: 2.0, save_h: 0.25, restart_h: 0.1, age_h: 0.0 };
        let found = programme(&task, 8, bathtub).expect("a programme");
        let best = compositions(8).iter().map(|list| brute(list, 1, 0.1, 0.25, &bathtub)).fold(f64::INFINITY, f64::min);
        // After a failure the programme may choose anew, a list may not.
        assert!(found.expected_h <= best + 1e-9 && found.expected_h > best * 0.98, "{found:?} against {best}");
        let constant = |age_h: f64| (-age_h / 4.0).exp();
        let found = programme(&task, 8, constant).expect("a programme");
        let best =
            compositions(8).iter().map(|list| brute(list, 1, 0.1, 0.25, &constant)).fold(f64::INFINITY, f64::min);
        assert!((found.expected_h - best).abs() < 1e-9, "{found:?} against {best}");
    }

    #[test]
    fn young_machines_are_saved_often_and_the_intervals_grow() {
        let task = Task { work_h: 5.0, save_h: 1.0 / 60.0, restart_h: 0.0, age_h: 0.0 };
        let found = programme(&task, 100, bathtub).expect("a programme");
        let sum: f64 = found.intervals_h.iter().sum();
        assert!((sum - 5.0).abs() < 1e-9 && found.intervals_h.len() >= 3, "{found:?}");
        let mut rising = found.intervals_h.clone();
        // The last one is what is left.
        rising.pop();
        assert!(rising.is_sorted(), "{found:?}");
        let old = programme(&Task { age_h: 8.0, ..task }, 100, bathtub).expect("a programme");
        assert!(old.expected_h < found.expected_h, "an old machine is a good machine");
    }

    #[test]
    fn what_cannot_be_planned_is_met_with_a_sentence() {
        let task = Task { work_h: 5.0, save_h: 0.1, restart_h: 0.1, age_h: 0.0 };
        assert!(programme(&Task { work_h: 0.0, ..task }, 10, bathtub).is_err());
        assert!(programme(&Task { save_h: f64::NAN, ..task }, 10, bathtub).is_err());
        assert!(programme(&task, 0, bathtub).is_err() && programme(&task, STEPS_MAX + 1, bathtub).is_err());
        assert!(programme(&task, 10, |age_h| f64::from(u8::from(age_h <= 0.0))).is_err());
        assert!(programme(&Task { age_h: 30.0, ..task }, 10, bathtub).is_ok(), "a dead machine is replaced");
    }
}
