//! Tests of availability on ticks with a known truth.

use super::*;
use crate::data::lives::pool_of;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn ticks(zone: &str, available: Vec<u32>) -> Ticks {
    Ticks { pool: pool_of(zone, "v100_1"), gap_seconds: 600.0, available }
}

/// Zones in which a young run is in danger and an old one is not.
fn drawn(size: usize) -> Vec<Ticks> {
    let mut random = StdRng::seed_from_u64(3);
    let mut zone = |name: &str| {
        let (mut age, mut up) = (0.0, Vec::new());
        for _ in 0..size {
            let (is_up, goes) = (age > 0.0, if age < 6.0 { 0.25 } else { 0.01 });
            age = if is_up && random.random::<f64>() > goes || !is_up && random.random::<f64>() < 0.2 {
                age + 1.0
            } else {
                0.0
            };
            up.push(u32::from(age > 0.0));
        }
        ticks(name, up)
    };
    ["us-east-1a", "us-east-1b", "us-west-2a"].map(&mut zone).to_vec()
}

#[test]
fn a_look_knows_the_past_and_nothing_of_the_future() {
    let mut up = vec![1; 6];
    up.extend([0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]);
    let zones = [ticks("us-east-1a", up.clone()), ticks("us-east-1b", vec![1; 21]), ticks("us-west-2a", vec![0; 21])];
    let found = looks(&zones, 1);
    let first: Vec<&Look> = found.iter().filter(|look| look.known.zone.starts_with("us-east-1a")).collect();
    // At ticks 6, 12 and 18 of six an hour: down at 6, up at 12, and 18 has no whole hour after it.
    assert_eq!(first.iter().map(|look| (look.tick, look.gone)).collect::<Vec<_>>(), [(12, true)]);
    let known = &first[0].known;
    assert!((known.run_age_h - 4.0 / 6.0).abs() < 1e-9, "{known:?}");
    assert_eq!(known.siblings, [0.5, 1.0, 0.5, 1.0]);
    assert!((known.available[1] - 11.0 / 13.0).abs() < 1e-9);
    up[13..].fill(0);
    let other = looks(&[ticks("us-east-1a", up), zones[1].clone(), zones[2].clone()], 1);
    assert_eq!(
        other.iter().find(|look| look.tick == 12 && look.known.zone.starts_with("us-east-1a")).unwrap().known,
        *known
    );
}

#[test]
fn runs_are_lives_and_the_last_goes_on() {
    let runs = runs(&[ticks("us-east-1a", vec![1, 1, 0, 1, 1, 1, 1])], 1, 6);
    let short: Vec<(f64, bool)> = runs.iter().map(|run| (run.lived_h * 6.0, run.is_interrupted())).collect();
    assert_eq!(short.iter().map(|run| run.1).collect::<Vec<_>>(), [true, false]);
    assert!((short[0].0 - 2.0).abs() < 1e-9 && (short[1].0 - 3.0).abs() < 1e-9);
}

#[test]
fn the_mixture_foresees_better_than_a_constant_and_survives_a_round_through_json() {
    let zones = drawn(6_000);
    let all = looks(&zones, 1);
    let (train, test): (Vec<&Look>, Vec<&Look>) = all.iter().partition(|look| look.tick < 3_600);
    let seen = Seen { ticks: &zones, wanted: 1, until: 3_600 };
    let cost = |probability: &dyn Fn(&Known) -> f64| {
        let costs = test.iter().map(|look| crate::scores::log_cost(probability(&look.known), look.gone));
        costs.sum::<f64>() / count(test.len())
    };
    let constant = Fit::new(Kind::Constant, &train, &seen).unwrap();
    for with_siblings in [false, true] {
        let outlook = Outlook::fit(&train, &seen, with_siblings).unwrap();
        let (ours, plain) = (cost(&|known| outlook.probability(known)), cost(&|known| constant.probability(known)));
        assert!(ours < 0.9 * plain, "{ours} {plain}");
        let (low, high) = outlook.range(&test[0].known);
        assert!(low <= outlook.probability(&test[0].known) && outlook.probability(&test[0].known) <= high);
        assert!(outlook.said(&test[0].known).contains(&format!("learned from {} looks", train.len())));
        let text = serde_json::to_string(&outlook).unwrap();
        let back: Outlook = serde_json::from_str(&text).unwrap();
        assert!((back.probability(&test[0].known) - outlook.probability(&test[0].known)).abs() < 1e-12);
    }
}

#[test]
fn capacity_that_never_went_teaches_nothing_and_that_is_said() {
    let zones = [ticks("us-east-1a", vec![1; 2_000])];
    let all = looks(&zones, 1);
    let seen = Seen { ticks: &zones, wanted: 1, until: 2_000 };
    let said = Outlook::fit(&all.iter().collect::<Vec<_>>(), &seen, false).unwrap_err().to_string();
    assert!(said.starts_with("capacity was seen to go in 0 of "), "{said}");
    assert!(looks(&[], 1).is_empty());
}
