//! Data as they come: nothing, one machine, lives of no length and of a century, the same row again and again, everybody stopped or
//! everybody interrupted, clocks before 1970. Each question gives numbers or a sentence that helps, never a NaN, never a panic.

use cloudsnooze_insight::lifetimes::{Effects, Observed, Survival, hazard};
use cloudsnooze_insight::patterns::batches::Together;
use cloudsnooze_insight::patterns::change::{Changes, Count};
use cloudsnooze_insight::patterns::correlation::{Availability, Correlations};
use cloudsnooze_insight::patterns::lead::{LeadTime, Warned};
use cloudsnooze_insight::patterns::seasons::{Options, Seasons};
use cloudsnooze_insight::{Life, Outcome, Pool, Scarce};
use serde::Serialize;

fn life(at: u32, lived_h: f64, outcome: Outcome) -> Life {
    let pool = Pool { zone: format!("z{}", at % 3), instance_type: "m5.large".to_owned(), ..Pool::default() };
    Life {
        pool,
        launched_s: 7_919.0 * f64::from(at),
        lived_h,
        outcome,
        batch: at.is_multiple_of(2).then_some(u64::from(at / 7)),
    }
}

/// Names and lives.
fn odd_lives() -> Vec<(&'static str, Vec<Life>)> {
    let many = |lived_h: fn(u32) -> f64, outcome: fn(u32) -> Outcome| {
        (0..200).map(|at| life(at, lived_h(at), outcome(at))).collect()
    };
    let mixed = |at: u32| if at.is_multiple_of(2) { Outcome::Interrupted } else { Outcome::Running };
    let spread = |at: u32| f64::from(at * 37 % 101) / 4.0;
    vec![
        ("nothing", Vec::new()),
        ("one machine", vec![life(1, 2.0, Outcome::Interrupted)]),
        ("no length", many(|_| 0.0, mixed)),
        ("a century", many(|_| 876_000.0, mixed)),
        ("the same row", vec![life(3, 5.0, Outcome::Interrupted); 200]),
        ("all stopped", many(spread, |_| Outcome::Stopped)),
        ("all interrupted", many(spread, |_| Outcome::Interrupted)),
        (
            "before 1970",
            many(spread, mixed).into_iter().map(|life: Life| Life { launched_s: -life.launched_s, ..life }).collect(),
        ),
        ("no number", many(|at| if at == 77 { f64::NAN } else { 1.0 }, mixed)),
        (
            "no moment",
            many(spread, mixed).into_iter().map(|life: Life| Life { launched_s: f64::INFINITY, ..life }).collect(),
        ),
        ("usual", many(spread, mixed)),
    ]
}

/// JSON writes null for what is no number; here only what is left open is.
fn helps(what: &str, answer: Result<impl Serialize, Scarce>) {
    match answer {
        Ok(value) => {
            let text = serde_json::to_string(&value).expect("JSON");
            let text =
                text.replace("\"bootstrap_se\":null", "").replace("\"up\":null", "").replace("\"drops\":null", "");
            let text = text.replace("_region\":null", "").replace("\"concordance\":null", "");
            assert!(!text.contains("null"), "{what}: {text}");
        }
        Err(Scarce(sentence)) => assert!(sentence.len() > 20 && !sentence.contains("NaN is"), "{what}: {sentence}"),
    }
}

#[test]
fn odd_lives_give_numbers_or_a_sentence() {
    for (name, lives) in odd_lives() {
        let observed: Vec<Observed> = lives.iter().map(Observed::from).collect();
        helps(name, Survival::of(observed.iter().copied()));
        helps(name, hazard::by_age(&observed, &[0.0, 1.0, 24.0, 1e6]));
        helps(name, Effects::of(&lives, f64::INFINITY, 10, 1));
        helps(name, Effects::of(&lives, 0.0, 10, 1));
        helps(name, Together::of(&lives, 10.0, f64::INFINITY, 20, 1));
        for until_h in [f64::INFINITY, 3.0, 0.0] {
            helps(name, Seasons::of(&lives, &Options { rounds: 20, until_h, ..Options::default() }));
        }
    }
}

#[test]
fn odd_counts_and_moments_give_numbers_or_a_sentence() {
    let count = |hours: f64, exposure_h: f64, events: u64| Count { start_s: 0.0, hours, exposure_h, events };
    let gaps = (0..300).map(|at| Count {
        start_s: 1e9 + 3.6e6 * f64::from(at),
        ..count(1.0, f64::from(at % 3), u64::from(at % 3 == 1))
    });
    for counts in [
        vec![count(1.0, 1.0, u64::MAX / 300); 200],
        vec![count(1e9, 1e12, 20); 100],
        gaps.collect(),
        vec![count(0.0, 0.0, 1); 99],
    ] {
        helps("counts", Changes::of(&counts));
    }
    let moments = [None, Some(f64::NAN), Some(f64::NEG_INFINITY), Some(1.0)];
    let pairs = (0..40).map(|at| Warned { recommended_s: moments[at % 4], interrupted_s: 2.0 });
    helps("moments", LeadTime::of(&pairs.collect::<Vec<Warned>>()));
    let pool = |zone: &str, length: u32| Availability {
        pool: Pool { zone: zone.to_owned(), ..Pool::default() },
        up: (0..length).map(|at| at % 5 > 0).collect(),
    };
    for (a, b) in [(pool("a", 200), pool("b", 200)), (pool("a", 0), pool("b", 200)), (pool("a", 500), pool("a", 300))] {
        helps("pools", Correlations::of(&[a, b], 1.0, 20, 1));
    }
}
