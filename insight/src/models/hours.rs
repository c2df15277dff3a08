//! Hours of machines: the question "is it taken back within the next hour?", asked again and again over lives whose
//! end is known.
//!
//! Inputs: lives. Outputs: for every whole age at which a machine was there, whether it was interrupted in the hour
//! after. Hours that were cut short by somebody who stopped the machine are left out: nobody knows. It must never
//! look at anything but the life itself.

use crate::Life;

/// One machine at one age.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hour {
    /// Which of the lives.
    pub life: usize,
    /// Its age, hours.
    pub age_h: f64,
    /// Whether it was interrupted before it was an hour older.
    pub interrupted: bool,
    /// How many such hours this one stands for.
    pub weight: f64,
}

/// Beyond the first day one hour of each day is looked at, and stands for the others.
const LATER_STEP_H: f64 = 24.0;

/// How many of the later days are looked at.
const LATER_DAYS: u32 = 60;

/// The hours of lives at ages from nought to `ages` − 1, in the order of the lives.
#[must_use]
pub fn machine_hours(lives: &[Life], ages: u32) -> Vec<Hour> {
    let each = lives.iter().enumerate();
    each.flat_map(|(index, life)| (0..ages).map_while(move |age| hour(life, index, f64::from(age), 1.0)).flatten())
        .collect()
}

/// The hours of the first day before the 24 h wall, and one of each later day.
pub(crate) fn representative_hours(lives: &[Life]) -> Vec<Hour> {
    let ages = |age: u32| {
        if age < 23 { (f64::from(age), 1.0) } else { (25.0 + f64::from(age - 23) * LATER_STEP_H, LATER_STEP_H) }
    };
    let all = 0..23 + LATER_DAYS;
    let each = lives.iter().enumerate();
    each.flat_map(|(index, life)| {
        all.clone().map(ages).map_while(move |(age, weight)| hour(life, index, age, weight)).flatten()
    })
    .collect()
}

/// None: the machine was no longer there; Some(None): nobody knows what would have become of it.
#[allow(clippy::option_option, reason = "ended, unknown and known are three things")]
fn hour(life: &Life, index: usize, age_h: f64, weight: f64) -> Option<Option<Hour>> {
    let lived_h = life.lived_h;
    if !lived_h.is_finite() || (lived_h <= age_h && age_h > 0.0) {
        return None;
    }
    let ended = lived_h < age_h + 1.0;
    let known = !ended || life.is_interrupted();
    Some(known.then_some(Hour { life: index, age_h, interrupted: ended, weight }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};

    fn life(lived_h: f64, outcome: Outcome) -> Life {
        Life { pool: Pool::default(), launched_s: 0.0, lived_h, outcome, batch: None }
    }

    #[test]
    fn an_hour_that_a_stop_cut_short_is_left_out() {
        let lives = [life(2.5, Outcome::Interrupted), life(2.5, Outcome::Stopped), life(0.0, Outcome::Interrupted)];
        let hours: Vec<(usize, f64, bool)> =
            machine_hours(&lives, 23).into_iter().map(|hour| (hour.life, hour.age_h, hour.interrupted)).collect();
        let expected =
            [(0, 0.0, false), (0, 1.0, false), (0, 2.0, true), (1, 0.0, false), (1, 1.0, false), (2, 0.0, true)];
        assert_eq!(hours, expected);
        assert_eq!(machine_hours(&[life(f64::NAN, Outcome::Interrupted)], 23), []);
        assert_eq!(machine_hours(&lives, 2).len(), 5);
    }

    #[test]
    fn later_days_are_looked_at_once_and_the_wall_never() {
        let hours = representative_hours(&[life(24.0 * 10.0, Outcome::Running)]);
        assert_eq!(hours.len(), 23 + 9);
        assert!(hours.iter().all(|hour| !(23.0..25.0).contains(&hour.age_h)));
    }
}
