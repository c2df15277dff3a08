//! From lives to what is counted along the clock: hours and interruptions of each hour, of each hour of the week, and which pools had
//! capacity.
//!
//! Inputs: lives. Outputs: plain counts and moments for [`crate::patterns`] and for pictures. Must never take an hour in which no machine
//! was there for a quiet one: it is left out.

use crate::lifetimes::{Observed, hazard};
use crate::patterns::calendar;
use crate::patterns::change::Count;
use crate::patterns::correlation::Availability;
use crate::{Life, Pool, Scarce};
use std::collections::BTreeMap;

/// Most stretches of time: where there are more hours, a stretch is some hours long.
const MOST_COUNTS: usize = 4_000;
/// Most pools that are looked at two by two: those with most interruptions.
const MOST_POOLS: usize = 12;
/// Most hours of a history that pools are looked at in: ten years.
const MOST_HOURS: usize = 87_660;
/// Ages at which the hazard may change, hours: young machines are at far more risk.
const AGES_H: [f64; 16] = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 23.0, 25.0, 72.0, 1e6];

const HOUR_S: f64 = 3_600.0;

fn sound(lives: &[Life]) -> impl Iterator<Item = &Life> {
    lives.iter().filter(|life| life.launched_s.is_finite() && (0.0..=876_600.0).contains(&life.lived_h))
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

/// Interruptions and machine-hours, stretch by stretch, in the order of time; hours without any machine are left out.
#[must_use]
pub fn by_time(lives: &[Life]) -> Vec<Count> {
    // Of each hour: what machines ran in it that did not run through it, how many begin to run through from it on, interruptions.
    let mut hours: BTreeMap<i64, (f64, i64, u64)> = BTreeMap::new();
    for life in sound(lives) {
        let (start, end) = (life.launched_s, end_s(life));
        let (first, last) = (hour_of(start), hour_of(end));
        if first == last {
            hours.entry(first).or_default().0 += life.lived_h;
        } else {
            hours.entry(first).or_default().0 += (start_of(first + 1) - start) / HOUR_S;
            hours.entry(first + 1).or_default().1 += 1;
            let ended = hours.entry(last).or_default();
            ended.0 += (end - start_of(last)) / HOUR_S;
            ended.1 -= 1;
        }
        hours.entry(last).or_default().2 += u64::from(life.is_interrupted());
    }
    let mut counts = Vec::new();
    let (mut running, mut before) = (0_i64, None);
    for (hour, (part_h, change, events)) in hours {
        if let Some(before) = before.filter(|_| running > 0) {
            counts.extend((before + 1..hour).map(|hour| count(hour, running, 0.0, 0)));
        }
        running += change;
        let here = count(hour, running, part_h, events);
        if here.exposure_h > 0.0 || events > 0 {
            counts.push(here);
        }
        before = Some(hour);
    }
    let stretch = counts.len().div_ceil(MOST_COUNTS).max(1);
    counts.chunks(stretch).filter_map(together).collect()
}

#[allow(clippy::cast_precision_loss, reason = "a number of machines")]
fn count(hour: i64, running: i64, part_h: f64, events: u64) -> Count {
    Count { start_s: start_of(hour), hours: 1.0, exposure_h: running.max(0) as f64 + part_h, events }
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

/// Which pools had capacity, hour by hour, as far as lives tell it: from an interruption on a pool counts as having none, until another
/// machine is launched there, and for the rest of that hour at least. Pools with most interruptions only.
#[must_use]
pub fn capacity(lives: &[Life]) -> Vec<Availability> {
    let mut pools: BTreeMap<&Pool, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for life in sound(lives) {
        let (start, end) = (hour_of(life.launched_s), hour_of(end_s(life)));
        (first, last) = (first.min(start), last.max(end));
        let pool = pools.entry(&life.pool).or_default();
        pool.0.push(start);
        pool.1.extend(life.is_interrupted().then_some(end));
    }
    let mut pools: Vec<_> = pools.into_iter().filter(|(_, (_, lost))| !lost.is_empty()).collect();
    pools.sort_by_key(|(_, (_, lost))| std::cmp::Reverse(lost.len()));
    pools.truncate(MOST_POOLS);
    let hours = usize::try_from(last.saturating_sub(first)).unwrap_or_default().saturating_add(1).min(MOST_HOURS);
    let of = |(pool, (mut launched, lost)): (&Pool, (Vec<i64>, Vec<i64>))| {
        launched.sort_unstable();
        let mut up = vec![true; hours];
        for hour in lost {
            let back = launched.get(launched.partition_point(|start| *start <= hour)).copied().unwrap_or(hour + 1);
            let (from, to) = (place(hour, first, hours), place(back, first, hours).max(place(hour + 1, first, hours)));
            up[from..to].fill(false);
        }
        Availability { pool: pool.clone(), up }
    };
    pools.into_iter().map(of).collect()
}

fn place(hour: i64, first: i64, hours: usize) -> usize {
    usize::try_from(hour.saturating_sub(first)).unwrap_or_default().min(hours)
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
    let observed: Vec<Observed> = sound(lives).map(Observed::from).collect();
    let ages = hazard::by_age(&observed, &AGES_H)?;
    let rate = |age_h: f64| ages.iter().find(|age| age_h < age.to_h).map_or(0.0, |age| age.rate.per_hour);
    let mut week = vec![[WeekHour::default(); 24]; 7];
    for life in sound(lives) {
        let mut age_h = 0.0;
        // Each step ends with an hour of the clock, with a range of ages or with the life.
        while age_h < life.lived_h {
            let now_s = life.launched_s + age_h * HOUR_S;
            let to_hour = start_of(hour_of(now_s) + 1) / HOUR_S - now_s / HOUR_S;
            let to_age = AGES_H.iter().find(|age| **age > age_h + 1e-9).map_or(f64::MAX, |age| age - age_h);
            let step_h = to_hour.min(to_age).min(life.lived_h - age_h).max(1e-6);
            let cell = cell(&mut week, now_s);
            cell.exposure_h += step_h;
            cell.expected += step_h * rate(age_h);
            age_h += step_h;
        }
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
    use crate::Outcome;

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
        let counts = by_time(&lives);
        let total: f64 = counts.iter().map(|count| count.exposure_h).sum();
        assert!((total - 5.75).abs() < 1e-9, "{counts:?}");
        assert_eq!(counts.iter().map(|count| count.events).sum::<u64>(), 2);
        assert_eq!(counts.len(), 4 + 1 + 3, "{counts:?}");
        assert_eq!((counts[3].start_s, counts[3].exposure_h, counts[3].events), (10_800.0, 0.5, 1));
        assert!((counts[1].exposure_h - 1.25).abs() < 1e-9);
        assert_eq!(by_time(&[]), []);
    }

    #[test]
    fn a_long_history_is_counted_in_longer_stretches() {
        let counts = by_time(&[life("a", 0.0, 20_000.0, Outcome::Running)]);
        assert!(counts.len() <= MOST_COUNTS && counts[0].hours > 1.0);
        assert!((counts.iter().map(|count| count.exposure_h).sum::<f64>() - 20_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_pool_has_no_capacity_from_an_interruption_to_the_next_launch() {
        let lives = [
            life("a", 0.0, 2.5, Outcome::Interrupted),
            life("a", 5.0, 1.0, Outcome::Stopped),
            life("a", 7.0, 0.5, Outcome::Interrupted),
            life("a", 7.7, 3.0, Outcome::Running),
            life("quiet", 0.0, 12.0, Outcome::Running),
        ];
        let found = capacity(&lives);
        assert_eq!(found.len(), 1, "a pool that lost nothing has nothing to compare");
        let down: Vec<usize> = found[0].up.iter().enumerate().filter(|(_, up)| !**up).map(|(hour, _)| hour).collect();
        assert_eq!((found[0].up.len(), down), (13, vec![2, 3, 4, 7]));
        assert_eq!(capacity(&[]), []);
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
