//! The trap of the public data, made from a seed: machines are started by day and are interrupted while young, and nothing else is
//! going on; and its counterpart, where the day itself is dangerous. The first must not be reported, the second must.

use cloudsnooze_insight::patterns::seasons::{LEVEL, Options, Season, Seasons};
use cloudsnooze_insight::patterns::{Cycle, Verdict};
use cloudsnooze_insight::{Life, Outcome, Pool};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Interruptions per hour at an age, as on the public lives.
fn hazard(age_h: f64) -> f64 {
    match age_h {
        _ if age_h < 0.25 => 0.32,
        _ if age_h < 1.0 => 0.12,
        _ if age_h < 4.0 => 0.045,
        _ => 0.009,
    }
}

/// Batches of machines, this share of them started from 8 to 18 h and the others at any hour; `by_hour` multiplies the hazard; a
/// third of each batch shares one bad moment.
fn lives(batches: u64, seed: u64, by_day: f64, by_hour: impl Fn(f64) -> f64) -> Vec<Life> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut all = Vec::new();
    for batch in 0..batches {
        let hour = if random.random::<f64>() < by_day {
            8.0 + 10.0 * random.random::<f64>()
        } else {
            24.0 * random.random::<f64>()
        };
        // From a midnight, 2019-02-12.
        let launched_s = 1_549_929_600.0 + 86_400.0 * batch as f64 + hour * 3_600.0;
        let shared: f64 = random.random();
        for machine in 0..6 {
            let luck: f64 = if machine < 2 { shared } else { random.random() };
            let stop_h = 1.0 + 22.0 * random.random::<f64>();
            let (lived_h, is_interrupted) = life(launched_s, luck, stop_h, &by_hour);
            all.push(Life {
                pool: Pool { provider: "gcp".to_owned(), zone: "us-east1-b".to_owned(), ..Pool::default() },
                launched_s,
                lived_h,
                outcome: if is_interrupted { Outcome::Interrupted } else { Outcome::Stopped },
                batch: Some(batch),
            });
        }
    }
    all
}

/// How long it lives, by small steps: until the summed hazard passes what luck gives it, or it is stopped.
fn life(launched_s: f64, luck: f64, stop_h: f64, by_hour: &impl Fn(f64) -> f64) -> (f64, bool) {
    const STEP_H: f64 = 0.02;
    let mut left = -(1.0 - luck).ln();
    let mut age_h = 0.0;
    while age_h < stop_h {
        let hour = (launched_s / 3_600.0 + age_h).rem_euclid(24.0);
        left -= hazard(age_h) * by_hour(hour) * STEP_H;
        if left < 0.0 {
            return (age_h + STEP_H / 2.0, true);
        }
        age_h += STEP_H;
    }
    (stop_h, false)
}

fn looking(rounds: usize) -> Options {
    Options { rounds, seed: 1, ..Options::default() }
}

fn season(lives: &[Life]) -> Season {
    Season::of(&lives.iter().collect::<Vec<&Life>>(), Cycle::HourOfDay, &looking(500)).expect("enough")
}

#[test]
fn machines_that_are_young_by_day_are_no_season() {
    let trap = season(&lives(250, 1, 0.9, |_| 1.0));
    assert!(trap.naive_ratio > 2.0 && trap.naive_p < 1e-6, "the trap is there: {} {}", trap.naive_ratio, trap.naive_p);
    assert_eq!(trap.verdict, Verdict::NotShown, "{}", trap.sentence);
    assert!(trap.adjusted_ratio < 1.4, "{}", trap.sentence);
    assert!(trap.sentence.contains("with the age of machines taken out"), "{}", trap.sentence);
}

#[test]
fn a_dangerous_day_is_found_with_the_size_it_has() {
    let found = season(&lives(250, 2, 0.3, |hour| if (8.0..20.0).contains(&hour) { 3.0 } else { 1.0 }));
    assert_eq!(found.verdict, Verdict::Found, "{}", found.sentence);
    assert!((2.0..4.5).contains(&found.adjusted_ratio), "{}", found.sentence);
    assert!(found.gain_95.0 > 0.0 && found.p < LEVEL);
}

#[test]
fn without_a_season_chance_is_reported_seldom() {
    let looks: Vec<Season> = (10..40).map(|seed| season(&lives(80, seed, 0.9, |_| 1.0))).collect();
    let found = looks.iter().filter(|look| look.verdict == Verdict::Found).count();
    let seldom = looks.iter().filter(|look| look.p < 0.1).count();
    assert_eq!(found, 0, "of 30");
    assert!(seldom <= 8, "{seldom} of 30 below .1");
}

#[test]
fn all_looks_are_counted_and_too_little_is_told() {
    let seasons = Seasons::of(&lives(120, 3, 0.9, |_| 1.0), &looking(200)).expect("enough");
    assert_eq!(seasons.looks.len(), 2, "one group, two cycles");
    assert!(seasons.looks.iter().all(|look| look.p_all_looks >= look.p));
    assert!(seasons.sentence.contains("2 looks"), "{}", seasons.sentence);
    let error = Seasons::of(&lives(5, 3, 0.9, |_| 1.0), &looking(10)).expect_err("scarce");
    assert!(error.0.contains("too few"), "{error}");
    assert!(Seasons::of(&[], &looking(10)).is_err());
    let one_sided: Vec<Life> =
        lives(120, 3, 0.9, |_| 1.0).into_iter().map(|life| Life { outcome: Outcome::Stopped, ..life }).collect();
    assert!(Seasons::of(&one_sided, &looking(10)).expect_err("scarce").0.contains("0 interruptions"));
}
