//! Tests of what all models have in common: they answer with probabilities, whatever they learn from and are asked.

use super::age_bins::AgeBins;
use super::bathtub::{Censored, Published};
use super::constant::Constant;
use super::logistic::Logistic;
use super::pooled::{AgeByPool, PoolRate};
use super::weibull::Weibull;
use super::*;
use crate::Outcome;
use crate::data::lives::pool_of;
use proptest::prelude::*;

/// Lives of all sorts, sound and not.
pub(crate) fn any_life() -> impl Strategy<Value = Life> {
    let pool = ("(us-east-1[ab]|us-central1-c|)", "(m5.large|n1-highcpu-8|v100_1|)");
    let lived = prop_oneof![
        Just(0.0),
        Just(-1.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(1e300),
        Just(24.0),
        0.0..50.0,
        0.0..100.0
    ];
    let launched = prop_oneof![Just(f64::NAN), Just(f64::NEG_INFINITY), 0.0..2e9];
    let outcome = prop_oneof![Just(Outcome::Interrupted), Just(Outcome::Stopped), Just(Outcome::Running)];
    (pool, launched, lived, outcome, proptest::option::of(any::<u64>())).prop_map(
        |((zone, kind), launched_s, lived_h, outcome, batch)| Life {
            pool: pool_of(&zone, &kind),
            launched_s,
            lived_h,
            outcome,
            batch,
        },
    )
}

/// Lives of one pool, all of one length: so many were interrupted, so many stopped.
pub(crate) fn lives(zone: &str, kind: &str, events: usize, stopped: usize, lived_h: f64) -> Vec<Life> {
    let outcomes =
        std::iter::repeat_n(Outcome::Interrupted, events).chain(std::iter::repeat_n(Outcome::Stopped, stopped));
    let life = |outcome| Life { pool: pool_of(zone, kind), launched_s: 0.0, lived_h, outcome, batch: None };
    outcomes.map(life).collect()
}

/// Hours of all sorts.
pub(crate) fn any_hours() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::NAN), Just(-1.0), Just(0.0), Just(f64::INFINITY), Just(1e300), 0.0..100.0]
}

fn answers<M: Model>(lives: &[Life], age_h: f64, within_h: f64, now_s: Option<f64>) -> Result<(), TestCaseError> {
    let model = match M::fit(lives) {
        Ok(model) => model,
        Err(scarce) => {
            prop_assert!(scarce.0.len() > 20, "a sentence: {scarce}");
            return Ok(());
        }
    };
    for pool in [Pool::default(), pool_of("us-east-1a", "m5.large"), pool_of("eu-west-1a", "x.y")] {
        let risk = model.risk(&Ask { pool: &pool, age_h, within_h, now_s });
        let is_ordered = 0.0 <= risk.low && risk.low <= risk.probability && risk.probability <= risk.high;
        prop_assert!(is_ordered && risk.high <= 1.0, "{}: {risk:?}", M::NAME);
        prop_assert!(!risk.reasons.to_string().is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_model_answers_with_a_probability_or_a_sentence(
        lives in proptest::collection::vec(any_life(), 0..80),
        age_h in any_hours(),
        within_h in any_hours(),
        now_s in proptest::option::of(any_hours()),
    ) {
        answers::<Constant>(&lives, age_h, within_h, now_s)?;
        answers::<Weibull>(&lives, age_h, within_h, now_s)?;
        answers::<Published>(&lives, age_h, within_h, now_s)?;
        answers::<Censored>(&lives, age_h, within_h, now_s)?;
        answers::<AgeBins>(&lives, age_h, within_h, now_s)?;
        answers::<PoolRate>(&lives, age_h, within_h, now_s)?;
        answers::<AgeByPool>(&lives, age_h, within_h, now_s)?;
        answers::<Logistic>(&lives, age_h, within_h, now_s)?;
    }
}

#[test]
fn a_life_that_nobody_watched_to_its_end_is_censored_there() {
    let life =
        Life { pool: Pool::default(), launched_s: 0.0, lived_h: 24.0, outcome: Outcome::Interrupted, batch: Some(1) };
    assert_eq!(life.until(30.0), life);
    let cut = life.until(23.0);
    assert_eq!((cut.lived_h, cut.outcome), (23.0, Outcome::Running));
}

#[test]
fn an_end_between_two_looks_is_taken_for_the_middle() {
    let life = Life::ended_between(Pool::default(), 0.0, 1.0, 1.25, Outcome::Interrupted);
    assert!((life.lived_h - 1.125).abs() < 1e-12 && life.is_interrupted());
}

#[test]
fn the_interval_of_a_forecast_narrows_with_what_it_rests_on() {
    let width = |shape: f64| {
        let (low, high) = Forecast { expected: 0.1, shape }.interval();
        assert!(low < 0.0952 && high > 0.0951);
        high - low
    };
    assert!(width(1.0) > 2.0 * width(10.0) && width(10.0) > 2.0 * width(100.0));
    let (low, high) = Forecast { expected: 0.0, shape: 5.0 }.interval();
    assert!(low == 0.0 && high == 0.0);
    assert_eq!(Forecast { expected: f64::INFINITY, shape: 1.0 }.probability(), 1.0);
}
