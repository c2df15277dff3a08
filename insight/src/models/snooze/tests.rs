//! Tests of the mixture on lives with a known truth, and on lives of all sorts.

use super::*;
use crate::data::lives::pool_of;
use crate::models::FEW_EVENTS;
use crate::models::tests::{any_hours, any_life};
use crate::{Level, Outcome, Pool};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Machines of two families in four zones: `rate` times the family's and the zone's part, halved after the first
/// hour.
fn drawn(size: u64, seed: u64) -> Vec<Life> {
    let mut random = StdRng::seed_from_u64(seed);
    let kinds = ["m5.large", "m5.4xlarge", "g4.xlarge", "g4.8xlarge"];
    let zones = ["us-east-1a", "us-east-1b", "us-west-2a", "eu-west-1a"];
    let life = |i: u64| {
        let pool = pool_of(zones[random.random_range(0..4)], kinds[random.random_range(0..4)]);
        let hazard = truth(&pool);
        let units = -random.random::<f64>().ln() / hazard;
        let ends = if units < 2.0 { units / 2.0 } else { units - 1.0 };
        let stops = 12.0 * -random.random::<f64>().ln();
        let outcome = if ends < stops { Outcome::Interrupted } else { Outcome::Stopped };
        let launched_s = f64::from(u32::try_from(i).unwrap_or(0)) * 1_800.0;
        Life { pool, launched_s, lived_h: ends.min(stops), outcome, batch: Some(i / 5) }
    };
    (0..size).map(life).collect()
}

/// The hazard after the first hour, per hour.
fn truth(pool: &Pool) -> f64 {
    let family = if pool.instance_type.starts_with("g4") { 3.0 } else { 1.0 };
    let zone = if pool.zone == "us-west-2a" { 2.0 } else { 1.0 };
    0.02 * family * zone
}

fn ask(pool: &Pool, age_h: f64, within_h: f64) -> Ask<'_> {
    Ask { pool, age_h, within_h, now_s: None }
}

#[test]
fn the_truth_lies_in_the_interval_for_nearly_all_pools() {
    let model = Snooze::fit(&drawn(2_000, 5)).unwrap();
    let (mut inside, mut all) = (0, 0);
    for kind in ["m5.large", "m5.4xlarge", "g4.xlarge", "g4.8xlarge"] {
        for zone in ["us-east-1a", "us-east-1b", "us-west-2a", "eu-west-1a"] {
            for (age, times) in [(0.0, 2.0), (5.0, 1.0)] {
                let pool = pool_of(zone, kind);
                let risk = model.risk(&ask(&pool, age, 1.0));
                let expected = crate::models::chance(truth(&pool) * times);
                inside += i32::from((risk.low..=risk.high).contains(&expected));
                all += 1;
                assert!((risk.probability / expected).ln().abs() < 0.5, "{zone} {kind} {age}: {risk:?} {expected}");
            }
        }
    }
    assert!(inside * 10 >= all * 8, "{inside} of {all}");
}

#[test]
fn it_beats_the_constant_on_lives_it_was_not_shown_and_survives_a_round_through_json() {
    let model = Snooze::fit(&drawn(1_500, 6)).unwrap();
    let constant = Constant::fit(&drawn(1_500, 6)).unwrap();
    let test = drawn(1_500, 7);
    let cost = |forecast: &dyn Fn(&Ask<'_>) -> f64| {
        let hours = crate::models::hours::machine_hours(&test, 23);
        let of = |hour: &crate::models::hours::Hour| {
            let ask = ask(&test[hour.life].pool, hour.age_h, 1.0);
            crate::scores::log_cost(forecast(&ask), hour.interrupted)
        };
        hours.iter().map(of).sum::<f64>()
    };
    assert!(cost(&|ask| model.forecast(ask).probability()) < 0.97 * cost(&|ask| constant.forecast(ask).probability()));
    let back: Snooze = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
    let pool = pool_of("us-east-1a", "g4.xlarge");
    let (one, two) = (model.risk(&ask(&pool, 1.0, 3.0)), back.risk(&ask(&pool, 1.0, 3.0)));
    assert!((one.probability - two.probability).abs() < 1e-12 && one.reasons == two.reasons);
    assert!((model.weights().map(|part| part.1).sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn a_pool_that_was_never_seen_takes_after_its_family_and_the_reasons_say_so() {
    let model = Snooze::fit(&drawn(2_000, 8)).unwrap();
    let stranger = pool_of("ap-south-1a", "g4.2xlarge");
    let risk = model.risk(&ask(&stranger, 5.0, 1.0));
    let calm = model.risk(&ask(&pool_of("ap-south-1a", "m5.2xlarge"), 5.0, 1.0));
    assert!(risk.probability > 1.7 * calm.probability, "{risk:?} {calm:?}");
    assert_eq!(risk.reasons.basis.level, Some(Level::Family));
    let said = risk.reasons.to_string();
    assert!(said.contains("too little of g4.2xlarge in ap-south-1a alone (0 interruptions in 0 h)"), "{said}");
    assert!(said.contains("held-out batches"), "{said}");
}

#[test]
fn without_history_it_gives_the_published_figure_and_says_so() {
    let model = Snooze::fit(&[]).unwrap();
    assert!(!model.is_grown());
    let pool = pool_of("us-east-1a", "m5.large");
    let risk = model.risk(&ask(&pool, 0.0, 1.0));
    assert!((risk.probability - 2.47e-4).abs() < 1e-6, "{risk:?}");
    let said = risk.reasons.to_string();
    assert!(said.contains("too little history") && said.contains("Spot Instance Advisor"), "{said}");
    let advised = Prior { rate_per_hour: 0.01, weight_events: 2.0, source: "an entry".to_owned() };
    assert!(model.risk_given(&ask(&pool, 0.0, 1.0), &advised).probability > 0.009);
}

#[test]
fn what_is_one_sided_still_has_an_answer() {
    let all = |outcome, lived_h, size: u64| -> Vec<Life> {
        let mut lives = drawn(size, 9);
        lives.iter_mut().for_each(|life| (life.outcome, life.lived_h) = (outcome, lived_h));
        lives
    };
    let pool = pool_of("us-east-1a", "m5.large");
    let hourly = |lives: &[Life]| Snooze::fit(lives).unwrap().risk(&ask(&pool, 1.0, 1.0)).probability;
    let calm = hourly(&all(Outcome::Stopped, 100.0, 500));
    assert!(calm > 0.0 && calm < 1e-4, "none in 50,000 hours: {calm}");
    assert!(hourly(&all(Outcome::Interrupted, 0.1, 500)) > 0.5, "all of 500 in minutes");
    assert!(hourly(&all(Outcome::Interrupted, 0.0, 500)).is_finite(), "no hours at all");
    let same = hourly(&all(Outcome::Interrupted, 50.0, 500));
    assert!((0.0..=1.0).contains(&same));
}

#[test]
fn few_interruptions_are_too_few_to_hold_any_out() {
    let mut lives = drawn(400, 10);
    let mut kept = 0;
    for life in &mut lives {
        kept += u64::from(life.is_interrupted());
        if kept > FEW_EVENTS {
            life.outcome = Outcome::Stopped;
        }
    }
    let model = Snooze::fit(&lives).unwrap();
    assert!(model.is_grown() && model.choice.is_none());
    let pool = pool_of("us-east-1a", "m5.large");
    assert!(model.risk(&ask(&pool, 1.0, 1.0)).reasons.to_string().contains("too few batches or days to weigh by"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_lives_and_questions_are_the_answer_is_a_probability(
        lives in proptest::collection::vec(any_life(), 0..80),
        asks in proptest::collection::vec((any_hours(), any_hours(), proptest::option::of(any_hours())), 4),
    ) {
        let model = Snooze::fit(&lives).unwrap();
        for (age_h, within_h, now_s) in asks {
            for pool in [Pool::default(), pool_of("us-east-1a", "m5.large"), pool_of("eu-west-1a", "x.y")] {
                let risk = model.risk(&Ask { pool: &pool, age_h, within_h, now_s });
                prop_assert!((0.0..=1.0).contains(&risk.probability), "{risk:?}");
                prop_assert!(0.0 <= risk.low && risk.low <= risk.probability, "{risk:?}");
                prop_assert!(risk.probability <= risk.high && risk.high <= 1.0, "{risk:?}");
                prop_assert!(!risk.reasons.to_string().is_empty());
            }
        }
    }
}
