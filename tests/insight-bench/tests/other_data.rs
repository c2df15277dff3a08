//! That the bench judges data which nobody has seen before, and says so where it cannot.

use cloudsnooze_insight::data::lives::pool_of;
use cloudsnooze_insight::{Life, Outcome};
use insight_bench::Data;
use insight_bench::report::other;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;

/// Lives of which, in half of the pools, `share` is interrupted within the first hour, and of the others a twentieth.
fn lives(share: f64) -> Vec<Life> {
    let mut random = StdRng::seed_from_u64(1);
    let life = |i: u32| {
        let zone = if i.is_multiple_of(2) { "us-east-1a" } else { "us-east-1b" };
        let is_early = random.random::<f64>() < if i.is_multiple_of(2) { share } else { 0.05 };
        let (lived_h, outcome) =
            if is_early { (random.random(), Outcome::Interrupted) } else { (8.0, Outcome::Stopped) };
        let launched_s = f64::from(i) * 1_800.0;
        Life { pool: pool_of(zone, "m5.large"), launched_s, lived_h, outcome, batch: Some(u64::from(i / 3)) }
    };
    (0..1_200).map(life).collect()
}

#[test]
fn lives_with_a_pattern_are_foreseen_better_than_by_a_constant() {
    let report = other(Some(lives(0.5)), None, 1).unwrap();
    assert_eq!((report.lives.len(), report.bars.len()), (2, 2), "{}", report.text());
    assert!(report.is_good(), "{}", report.text());
    assert!(report.lives.iter().flat_map(|split| &split.lines).all(|line| line.reference.is_none()));
}

#[test]
fn where_there_is_nothing_to_foresee_the_bar_is_broken() {
    // The same share at every age and in every pool.
    let mut lives = lives(0.05);
    let mut random = StdRng::seed_from_u64(2);
    for life in &mut lives {
        let ends = -60.0 * random.random::<f64>().ln();
        (life.lived_h, life.outcome) = if ends < 8.0 { (ends, Outcome::Interrupted) } else { (8.0, Outcome::Stopped) };
    }
    let report = other(Some(lives), None, 1).unwrap();
    assert!(!report.is_good(), "{}", report.text());
    let losses = report.lives.iter().map(|split| {
        let of = |model: &str| split.lines.iter().find(|line| line.model == model).unwrap().log_loss;
        of("snooze") - of("constant rate")
    });
    assert!(losses.into_iter().all(|loss| loss < 0.003), "no worse than the constant by much: {}", report.text());
}

#[test]
fn what_cannot_be_measured_is_said_and_is_not_good() {
    let report = other(Some(lives(0.5).into_iter().take(30).collect()), None, 1).unwrap();
    assert!(!report.is_good());
    assert!(report.text().contains("not measured: lives, split by time"), "{}", report.text());
    assert!(other(Some(Vec::new()), None, 1).unwrap_err().to_string().contains("no life"));
    let missing = Data::open(Path::new("no-such-directory")).map(|_| ()).unwrap_err().to_string();
    assert!(missing.contains("no-such-directory is no directory"), "{missing}");
}
