//! How long machines ran at which age and in which part of a cycle, and how often they were interrupted there.
//!
//! Inputs: lives. Outputs: for each batch, cells of age and part of the cycle. Must never count an interruption without the hours that it
//! came from, or look at machines of different ages as if they were alike.

use super::{batches, calendar};
use crate::{Life, Scarce};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cycle {
    /// 24 hours from midnight, UTC.
    HourOfDay,
    /// 7 days from Monday, UTC.
    DayOfWeek,
}

impl Cycle {
    /// How many parts it has.
    pub(super) fn parts(self) -> usize {
        match self {
            Self::HourOfDay => 24,
            Self::DayOfWeek => 7,
        }
    }

    /// How long one is, hours.
    fn part_h(self) -> f64 {
        match self {
            Self::HourOfDay => 1.0,
            Self::DayOfWeek => 24.0,
        }
    }

    /// Hours since its last beginning.
    #[allow(clippy::cast_precision_loss, reason = "0 to 6")]
    fn since_start_h(self, moment_s: f64) -> f64 {
        match self {
            Self::HourOfDay => calendar::hour(moment_s),
            Self::DayOfWeek => calendar::weekday(moment_s) as f64 * 24.0 + calendar::hour(moment_s),
        }
    }
}

/// Ages at which the hazard may change, hours. Young machines are at far more risk, and where the provider ends all of them at 24 hours
/// (GCP's preemptible machines) the minutes around that matter: whoever starts at eight is then ended at eight.
const AGES_H: [f64; 24] = [
    0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 23.0, 23.9, 24.1, 24.3, 24.5, 24.7, 25.0, 36.0,
    72.0, 168.0, 336.0, 720.0,
];

/// How many of these there are.
pub(super) const AGES: usize = AGES_H.len();

/// An interruption of a machine that never ran is one in the first second: there is no other exposure that it could come from.
const LEAST_LIFE_H: f64 = 1.0 / 3_600.0;

/// One age and part of a cycle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) hours: f64,
    pub(super) events: u32,
}

/// What is known of machines that were started together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By age and part; only those where something ran.
    pub(super) cells: BTreeMap<(usize, usize), Cell>,
}

/// The exposure of lives, by batch.
///
/// # Errors
/// A life has an impossible length or start.
pub(super) fn by_batch(lives: &[Life], cycle: Cycle) -> Result<Vec<Batch>, Scarce> {
    let mut found: BTreeMap<u64, Batch> = BTreeMap::new();
    for (number, life) in batches::numbers(lives).into_iter().zip(lives) {
        crate::lifetimes::check_hours(life.lived_h)?;
        if !life.launched_s.is_finite() {
            return Err(Scarce("a machine's start is no moment: mend or drop that row".to_owned()));
        }
        found.entry(number).or_default().add(life, cycle);
    }
    Ok(found.into_values().collect())
}

impl Batch {
    fn add(&mut self, life: &Life, cycle: Cycle) {
        let lived_h = life.lived_h.max(LEAST_LIFE_H);
        let mut last = (0, 0);
        for (age, from_h) in AGES_H.iter().enumerate().filter(|(_, from_h)| **from_h < lived_h) {
            let to_h = AGES_H.get(age + 1).copied().unwrap_or(f64::INFINITY).min(lived_h);
            last = (age, self.add_stretch(age, cycle, life.launched_s + from_h * 3_600.0, to_h - from_h));
        }
        if life.is_interrupted() {
            self.cells.entry(last).or_default().events += 1;
        }
    }

    /// Adds a stretch at one age; gives the part in which it ends.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "below 24")]
    fn add_stretch(&mut self, age: usize, cycle: Cycle, start_s: f64, hours: f64) -> usize {
        let (parts, part_h) = (cycle.parts(), cycle.part_h());
        let turns = (hours / (parts as f64 * part_h)).floor();
        if turns > 0.0 {
            for part in 0..parts {
                self.cells.entry((age, part)).or_default().hours += turns * part_h;
            }
        }
        let mut left = hours - turns * parts as f64 * part_h;
        let since_h = cycle.since_start_h(start_s);
        let mut part = ((since_h / part_h) as usize).min(parts - 1);
        let mut until_next = (part as f64 + 1.0) * part_h - since_h;
        while left > until_next {
            self.cells.entry((age, part)).or_default().hours += until_next;
            left -= until_next;
            part = (part + 1) % parts;
            until_next = part_h;
        }
        self.cells.entry((age, part)).or_default().hours += left;
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};

    fn life(launched_s: f64, lived_h: f64) -> Life {
        Life { pool: Pool::default(), launched_s, lived_h, outcome: Outcome::Interrupted, batch: Some(1) }
    }

    fn hours(batch: &Batch, of: impl Fn(usize, usize) -> bool) -> f64 {
        batch.cells.iter().filter(|((age, part), _)| of(*age, *part)).map(|(_, cell)| cell.hours).sum()
    }

    #[test]
    fn every_hour_is_counted_once_at_its_age_and_in_its_part() {
        for (lived_h, cycle) in
            [(0.1, Cycle::HourOfDay), (61.3, Cycle::HourOfDay), (900.0, Cycle::DayOfWeek), (0.0, Cycle::HourOfDay)]
        {
            let one = life(1_795_717_800.0, lived_h);
            let batches = by_batch(&[one], cycle).expect("lives");
            let all = hours(&batches[0], |_, _| true);
            assert!((all - lived_h.max(LEAST_LIFE_H)).abs() < 1e-6, "{all} {lived_h}");
            assert_eq!(batches[0].cells.values().map(|cell| cell.events).sum::<u32>(), 1);
        }
    }

    #[test]
    fn a_machine_from_half_past_six_to_eight_ran_half_an_hour_in_the_first_of_three_parts() {
        let one = life(1_795_717_800.0, 1.75);
        let batch = &by_batch(&[one], Cycle::HourOfDay).expect("lives")[0];
        for (part, expected) in [(18, 0.5), (19, 1.0), (20, 0.25), (21, 0.0)] {
            assert!((hours(batch, |_, p| p == part) - expected).abs() < 1e-9, "{part}");
        }
        assert!((hours(batch, |age, _| age == 0) - 0.25).abs() < 1e-9);
        assert_eq!(batch.cells.get(&(3, 20)).map(|cell| cell.events), Some(1));
    }

    #[test]
    fn lives_that_cannot_be_are_told() {
        assert!(by_batch(&[life(f64::NAN, 1.0)], Cycle::HourOfDay).is_err());
        assert!(by_batch(&[life(0.0, f64::NAN)], Cycle::HourOfDay).is_err());
    }
}
