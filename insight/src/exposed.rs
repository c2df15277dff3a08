//! From lives to what is counted along the clock: hours and interruptions of each hour, and of each hour of the week.
//!
//! Inputs: lives. Outputs: plain counts for [`crate::patterns`] and for pictures. Must never take an hour in which no machine
//! was there for a quiet one: it is left out.

use crate::lifetimes::{AgeRate, Observed, hazard};
use crate::patterns::calendar;
use crate::patterns::change::Count;
use crate::{Life, Scarce};
use std::collections::{BTreeMap, BTreeSet};

/// Most stretches of time: where there are more hours, a stretch is some hours long.
const MOST_COUNTS: usize = 4_000;
/// Ages at which the hazard may change, hours: young machines are at far more risk.
const AGES_H: [f64; 16] = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 23.0, 25.0, 72.0, 1e6];

const HOUR_S: f64 = 3_600.0;

fn sound(lives: &[Life]) -> impl Iterator<Item = &Life> {
    lives.iter().filter(|life| is_sound(life))
}

fn is_sound(life: &Life) -> bool {
    life.launched_s.is_finite() && (0.0..=876_600.0).contains(&life.lived_h)
}

fn end_s(life: &Life) -> f64 {
    life.launched_s + life.lived_h * HOUR_S
}

#[allow(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
fn hour_of(moment_s: f64) -> i64 {
    (moment_s / HOUR_S).floor() as i64
}

#[allow(clippy::cast_precision_loss, reason = "hours since 1970")]
fn start_of(hour: i64) -> f64 {
    hour as f64 * HOUR_S
}

/// Rates by age, and the mean of all.
struct Ages {
    rates: Vec<AgeRate>,
    mean: f64,
}

impl Ages {
    fn of(lives: &[Life]) -> Result<Self, Scarce> {
        let observed: Vec<Observed> = sound(lives).map(Observed::from).collect();
        let rates = hazard::by_age(&observed, &AGES_H)?;
        let sum = |of: fn(&AgeRate) -> f64| rates.iter().map(of).sum::<f64>();
        #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
        let mean = sum(|age| age.rate.events as f64) / sum(|age| age.rate.hours).max(f64::MIN_POSITIVE);
        Ok(Self { rates, mean })
    }

    /// Gives the parts of a life between two hours of the clock or two ranges of ages: their moment, their length in hours and the
    /// interruptions that their age explains.
    fn each(&self, life: &Life, mut take: impl FnMut(f64, f64, f64)) {
        let mut age_h = 0.0;
        while age_h < life.lived_h {
            let now_s = life.launched_s + age_h * HOUR_S;
            let to_hour = start_of(hour_of(now_s) + 1) / HOUR_S - now_s / HOUR_S;
            let to_age = AGES_H.iter().find(|age| **age > age_h + 1e-9).map_or(f64::MAX, |age| age - age_h);
            // Rounding must not make it stand still.
            let step_h = to_hour.min(to_age).min(life.lived_h - age_h).max(1e-6);
            let rate = self.rates.iter().find(|age| age_h < age.to_h).map_or(0.0, |age| age.rate.per_hour);
            take(now_s, step_h, step_h * rate);
            age_h += step_h;
        }
    }
}

/// Interruptions and machine-hours, stretch by stretch, in the order of time; hours without any machine are left out. Two things that are
/// no change of the rate are taken out: hours count by what the ages of machines explain (young machines are at far more risk; together
/// they are as many as there were), and the loss of several machines of a batch and zone within an hour is one event.
///
/// # Errors
/// No machine ran for any time.
pub fn by_time(lives: &[Life]) -> Result<Vec<Count>, Scarce> {
    let ages = Ages::of(lives)?;
    let mut hours: BTreeMap<i64, f64> = BTreeMap::new();
    let mut lost: BTreeMap<i64, BTreeSet<(bool, u64, &str)>> = BTreeMap::new();
    for (alone, life) in (0..).zip(lives).filter(|(_, life)| is_sound(life)) {
        ages.each(life, |now_s, step_h, expected| {
            let counted_h = if ages.mean > 0.0 { expected / ages.mean } else { step_h };
            *hours.entry(hour_of(now_s)).or_default() += counted_h;
        });
        if life.is_interrupted() {
            let (is_batch, number) = life.batch.map_or((false, alone), |batch| (true, batch));
            lost.entry(hour_of(end_s(life))).or_default().insert((is_batch, number, &life.pool.zone));
            hours.entry(hour_of(end_s(life))).or_default();
        }
    }
    let count = |(hour, exposure_h): (i64, f64)| Count {
        start_s: start_of(hour),
        hours: 1.0,
        exposure_h,
        events: lost.get(&hour).map_or(0, |lost| lost.len() as u64),
    };
    let counts: Vec<Count> = hours.into_iter().map(count).collect();
    let stretch = counts.len().div_ceil(MOST_COUNTS).max(1);
    Ok(counts.chunks(stretch).filter_map(together).collect())
}

fn together(counts: &[Count]) -> Option<Count> {
    let first = counts.first()?;
    Some(Count {
        start_s: first.start_s,
        hours: counts.iter().map(|count| count.hours).sum(),
        exposure_h: counts.iter().map(|count| count.exposure_h).sum(),
        events: counts.iter().map(|count| count.events).sum(),
    })
}

/// One hour of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WeekHour {
    /// Machine-hours.
    pub exposure_h: f64,
    /// Interruptions.
    pub seen: f64,
    /// Interruptions that the ages of machines explain.
    pub expected: f64,
}

/// For each day of the week from Monday and each hour of it, UTC: what was seen, and what ages explain.
///
/// # Errors
/// No machine ran for any time.
pub fn by_week(lives: &[Life]) -> Result<Vec<[WeekHour; 24]>, Scarce> {
    let ages = Ages::of(lives)?;
    let mut week = vec![[WeekHour::default(); 24]; 7];
    for life in sound(lives) {
        ages.each(life, |now_s, step_h, expected| {
            let cell = cell(&mut week, now_s);
            cell.exposure_h += step_h;
            cell.expected += expected;
        });
        if life.is_interrupted() {
            cell(&mut week, end_s(life)).seen += 1.0;
        }
    }
    Ok(week)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 23")]
fn cell(week: &mut [[WeekHour; 24]], moment_s: f64) -> &mut WeekHour {
    let day = usize::try_from(calendar::weekday(moment_s)).unwrap_or_default().min(6);
    &mut week[day][(calendar::hour(moment_s) as usize).min(23)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};

    fn life(zone: &str, start_h: f64, lived_h: f64, outcome: Outcome) -> Life {
        let pool = Pool { zone: zone.to_owned(), ..Pool::default() };
        Life { pool, launched_s: start_h * HOUR_S, lived_h, outcome, batch: None }
    }

    #[test]
    fn every_hour_and_every_interruption_is_counted_once_and_empty_hours_not_at_all() {
        let lives = [
            life("a", 0.5, 3.0, Outcome::Interrupted),
            life("a", 1.0, 0.25, Outcome::Stopped),
            life("b", 100.0, 0.0, Outcome::Interrupted),
            life("b", 1_000.0, 2.5, Outcome::Running),
            life("b", f64::NAN, 2.5, Outcome::Running),
            life("b", 5.0, f64::INFINITY, Outcome::Interrupted),
        ];
        let counts = by_time(&lives).expect("counts");
        let total: f64 = counts.iter().map(|count| count.exposure_h).sum();
        assert!((total - 5.75).abs() < 1e-6, "as many hours as there were: {counts:?}");
        assert_eq!(counts.iter().map(|count| count.events).sum::<u64>(), 2);
        assert_eq!(counts.len(), 4 + 1 + 3, "{counts:?}");
        assert!(by_time(&[]).is_err());
    }

    #[test]
    fn a_batch_that_is_lost_is_one_event_and_young_machines_are_no_change() {
        let batch =
            |start_h: f64, zone: &str| Life { batch: Some(7), ..life(zone, start_h, 1.0, Outcome::Interrupted) };
        let lost = by_time(&[batch(0.1, "a"), batch(0.2, "a"), batch(0.1, "b")]).expect("counts");
        assert_eq!(lost.iter().map(|count| count.events).sum::<u64>(), 2, "{lost:?}");
        // Many are started in the first hour, and ten times as many of the young are lost as of the old.
        let young = (0..100).map(|at| {
            life(
                "a",
                0.0,
                if at < 50 { 0.9 } else { 20.0 },
                if at < 50 { Outcome::Interrupted } else { Outcome::Stopped },
            )
        });
        let counts = by_time(&young.collect::<Vec<Life>>()).expect("counts");
        assert!(counts[0].exposure_h > 20.0 * counts[5].exposure_h, "{counts:?}");
    }

    #[test]
    fn a_long_history_is_counted_in_longer_stretches() {
        let counts = by_time(&[life("a", 0.0, 20_000.0, Outcome::Running)]).expect("counts");
        assert!(counts.len() <= MOST_COUNTS && counts[0].hours > 1.0);
        assert!((counts.iter().map(|count| count.exposure_h).sum::<f64>() - 20_000.0).abs() < 1e-3);
    }

    #[test]
    fn the_week_has_all_hours_and_ages_explain_all_interruptions() {
        let lives: Vec<Life> = (0..200)
            .map(|at| {
                life(
                    "a",
                    f64::from(at) * 1.7,
                    f64::from(at % 37) * 0.7,
                    if at % 3 == 0 { Outcome::Interrupted } else { Outcome::Stopped },
                )
            })
            .collect();
        let week = by_week(&lives).expect("a week");
        let sum = |of: fn(&WeekHour) -> f64| week.iter().flatten().map(of).sum::<f64>();
        let hours: f64 = lives.iter().map(|life| life.lived_h).sum();
        assert!((sum(|cell| cell.exposure_h) - hours).abs() < 1e-3);
        assert_eq!(sum(|cell| cell.seen), 67.0);
        // Interruptions of an age are its hours times its rate; those at the age of nought are of the first hours.
        assert!((sum(|cell| cell.expected) - 67.0).abs() < 1e-3, "{}", sum(|cell| cell.expected));
        assert!(by_week(&[]).is_err());
    }
}
