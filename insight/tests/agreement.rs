//! That what is written by hand here says the same as independent implementations, lifelines and scipy, on random data: to 1e-6, on
//! 50 data sets of each kind, made anew in each run from a seed; among them ties, heavy censoring, and a handful of machines.
//!
//! The reference runs in the virtual environment that tests/setup.sh makes. Another estimate joins with a function in reference.py and a
//! test like the last ones here.

use cloudsnooze_insight::lifetimes::{Cox, Observed, Subject, Survival};
use cloudsnooze_insight::models::Model;
use cloudsnooze_insight::models::gamma_poisson::GammaPoisson;
use cloudsnooze_insight::models::weibull::Weibull;
use cloudsnooze_insight::patterns::Rate;
use cloudsnooze_insight::{Life, Outcome, Pool};
use harness::{moto, require};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// How far numbers may be apart, relative to the larger of 1 and the number.
const TOLERANCE: f64 = 1e-6;
/// Data sets of each kind.
const SETS: usize = 50;

/// What we say of one data set, and the question for the others.
struct Case {
    question: Value,
    ours: BTreeMap<&'static str, Vec<f64>>,
}

/// Compares each number that the reference has with ours. Said loudly where there is no reference.
fn agree(what: &str, cases: &[Case]) {
    let questions: Vec<&Value> = cases.iter().map(|case| &case.question).collect();
    let Some(answers) = ask(what, &questions) else { return };
    assert_eq!(answers.len(), cases.len());
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, (case, answer)) in cases.iter().zip(&answers).enumerate() {
        for (name, theirs) in answer {
            let ours = case.ours.get(name.as_str()).unwrap_or_else(|| panic!("{what}: no {name} of ours"));
            assert_eq!(ours.len(), theirs.len(), "{what} {number}: {name}");
            for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                let Some(theirs) = theirs else { continue };
                let apart = (ours - theirs).abs() / theirs.abs().max(1.0);
                assert!(
                    apart <= TOLERANCE,
                    "{what}, set {number}: {name}[{at}] is {ours}, theirs {theirs}; {}",
                    case.question
                );
                *compared.entry(name).or_default() += 1;
            }
        }
    }
    for name in cases[0].ours.keys() {
        let count = compared.get(name).copied().unwrap_or_default();
        assert!(count >= SETS / 2, "{what}: {name} was compared {count} times only");
    }
}

/// A table of names and lists for each question.
type Answers = Vec<BTreeMap<String, Vec<Option<f64>>>>;

fn ask(what: &str, questions: &[&Value]) -> Option<Answers> {
    let has_reference = |python: &std::path::PathBuf| {
        let asked = [
            "-c",
            "import importlib.util as i, sys; sys.exit(not (i.find_spec('lifelines') and i.find_spec('scipy')))",
        ];
        let status = Command::new(python).args(asked).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let Some(python) = moto::python().filter(has_reference) else {
        require::missing_means_skip(&format!(
            "agreement of {what}: lifelines and scipy are not installed; run tests/setup.sh test"
        ));
        return None;
    };
    let mut child = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let text = serde_json::to_vec(questions).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&text).expect("asked");
    let output = child.wait_with_output().expect("answered");
    assert!(output.status.success(), "{what}: the reference failed");
    Some(serde_json::from_slice(&output.stdout).expect("answers"))
}

/// How many machines the data set of this number has: some a handful, most some hundreds.
fn size(number: usize, random: &mut Xoshiro256PlusPlus) -> usize {
    if number.is_multiple_of(5) { random.random_range(5..12) } else { random.random_range(30..400) }
}

/// Ages at which machines with this hazard end or are stopped; every third set has ties, every fourth is censored heavily.
fn observed(number: usize, hazards: &[f64], random: &mut Xoshiro256PlusPlus) -> Vec<Observed> {
    let stops_per_h = if number.is_multiple_of(4) { 0.5 } else { 0.03 };
    let mut draw = |rate: f64| -(1.0 - random.random::<f64>()).ln() / rate;
    let one = |hazard: &f64| {
        let (end, stop) = (draw(*hazard), draw(stops_per_h));
        let hours = end.min(stop) + 1e-3;
        let hours = if number.is_multiple_of(3) { (hours * 2.0).ceil() / 2.0 } else { hours };
        Observed { hours, interrupted: end <= stop }
    };
    hazards.iter().map(one).collect()
}

fn columns(observed: &[Observed]) -> (Vec<f64>, Vec<bool>) {
    observed.iter().map(|one| (one.hours, one.interrupted)).unzip()
}

#[test]
fn kaplan_meier_and_nelson_aalen_say_what_lifelines_and_scipy_say() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let case = |number: usize| {
        let hazards = vec![0.1; size(number, &mut random)];
        let observed = observed(number, &hazards, &mut random);
        let (hours, interrupted) = columns(&observed);
        let steps = Survival::of(observed).expect("a curve").steps;
        let column = |of: fn(&cloudsnooze_insight::lifetimes::Step) -> f64| steps.iter().map(of).collect::<Vec<f64>>();
        let ours = BTreeMap::from([
            ("alive", column(|step| step.alive)),
            ("alive_low", column(|step| step.alive_95.0)),
            ("alive_high", column(|step| step.alive_95.1)),
            ("alive_by_scipy", column(|step| step.alive)),
            ("alive_se", column(|step| step.alive_se)),
            ("hazard_sum", column(|step| step.hazard_sum)),
            ("hazard_sum_low", column(|step| step.hazard_sum_95.0)),
            ("hazard_sum_high", column(|step| step.hazard_sum_95.1)),
        ]);
        Case { question: json!({ "kind": "survival", "hours": hours, "interrupted": interrupted }), ours }
    };
    let cases: Vec<Case> = (0..SETS).map(case).collect();
    agree("Kaplan-Meier", &cases);
}

#[test]
fn cox_says_what_lifelines_says_with_ties_and_batches() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(2);
    let mut cases = Vec::new();
    for number in 0.. {
        let count = size(number, &mut random);
        let names = &["x0", "x1", "x2"][..if count < 30 { 1 } else { 1 + number % 3 }];
        let covariate = |at: usize, random: &mut Xoshiro256PlusPlus| match at {
            0 => f64::from(random.random_range(0..6_u8)),
            1 => f64::from(u8::from(random.random::<f64>() < 0.3)),
            _ => 100.0 + random.random::<f64>(),
        };
        let covariates: Vec<Vec<f64>> =
            (0..count).map(|_| (0..names.len()).map(|at| covariate(at, &mut random)).collect()).collect();
        let hazard = |x: &Vec<f64>| 0.05 * (0.25 * x[0] + x.get(1).map_or(0.0, |flag| 0.7 * flag)).exp();
        let hazards: Vec<f64> = covariates.iter().map(hazard).collect();
        let (hours, interrupted) = columns(&observed(number, &hazards, &mut random));
        let cluster: Vec<u64> = (0..count as u64).map(|at| at / 4).collect();
        let subject = |at: usize| Subject {
            hours: hours[at],
            interrupted: interrupted[at],
            covariates: covariates[at].clone(),
            cluster: cluster[at],
        };
        let subjects: Vec<Subject> = (0..count).map(subject).collect();
        // A handful of machines often bounds no effect: that is said, and such a set is no case.
        let Ok(cox) = Cox::fit(names, &subjects) else { continue };
        let column =
            |of: fn(&cloudsnooze_insight::lifetimes::Effect) -> f64| cox.effects.iter().map(of).collect::<Vec<f64>>();
        let ours = BTreeMap::from([
            ("log_ratio", column(|effect| effect.log_ratio)),
            ("naive_se", column(|effect| effect.naive_se)),
            ("robust_se", column(|effect| effect.robust_se)),
            ("log_likelihood", vec![cox.log_likelihood]),
            ("concordance", vec![cox.concordance.expect("pairs")]),
        ]);
        let question = json!({
            "kind": "cox", "hours": hours, "interrupted": interrupted, "covariates": covariates, "cluster": cluster,
        });
        cases.push(Case { question, ours });
        if cases.len() == SETS {
            break;
        }
    }
    agree("Cox", &cases);
}

#[test]
fn intervals_of_rates_say_what_scipy_says() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    let case = |number: usize| {
        let top = [5, 100, 20_000][number % 3];
        let counts: Vec<u64> = (0..20).map(|_| random.random_range(0..top)).collect();
        let rates: Vec<Rate> = counts.iter().map(|count| Rate::of(*count, 1.0).expect("a rate")).collect();
        let ours = BTreeMap::from([
            ("low", rates.iter().map(|rate| rate.per_hour_95.0).collect()),
            ("high", rates.iter().map(|rate| rate.per_hour_95.1).collect()),
        ]);
        Case { question: json!({ "kind": "poisson_interval", "counts": counts }), ours }
    };
    let cases: Vec<Case> = (0..SETS).map(case).collect();
    agree("rates", &cases);
}

#[test]
fn weibull_says_what_scipy_and_lifelines_say() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(4);
    let mut cases = Vec::new();
    for number in 0.. {
        let hazards = vec![0.2; size(number, &mut random)];
        let shape = 0.4 + 1.6 * random.random::<f64>();
        // Ours takes no life for shorter than a second or so: three minutes are long enough for both.
        let (hours, interrupted): (Vec<f64>, Vec<bool>) = observed(number, &hazards, &mut random)
            .iter()
            .map(|one| (one.hours.powf(1.0 / shape).max(0.05), one.interrupted))
            .unzip();
        let life = |(hours, interrupted): (&f64, &bool)| Life {
            pool: Pool::default(),
            launched_s: 0.0,
            lived_h: *hours,
            outcome: if *interrupted { Outcome::Interrupted } else { Outcome::Stopped },
            batch: None,
        };
        let lives: Vec<Life> = hours.iter().zip(&interrupted).map(life).collect();
        // Too few interruptions have no curve, and such a set is no case.
        let Ok(fitted) = Weibull::fit(&lives) else { continue };
        let ours = BTreeMap::from([("scale", vec![fitted.curve.scale_h]), ("shape", vec![fitted.curve.shape])]);
        cases.push(Case { question: json!({ "kind": "weibull", "hours": hours, "interrupted": interrupted }), ours });
        if cases.len() == SETS {
            break;
        }
    }
    agree("Weibull", &cases);
}

#[test]
fn gamma_poisson_says_what_scipy_says() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
    let case = |number: usize| {
        let groups: Vec<(f64, f64)> = (0..random.random_range(3..40))
            .map(|_| {
                let exposure = 1.0 + 200.0 * random.random::<f64>();
                let events = exposure * 0.1 * -random.random::<f64>().ln();
                (events.floor() + f64::from(u8::from(number == 0)), exposure)
            })
            .collect();
        let prior =
            GammaPoisson { shape: 0.3 + 5.0 * random.random::<f64>(), rate: 1.0 + 90.0 * random.random::<f64>() };
        let hours = 0.1 + 5.0 * random.random::<f64>();
        let known: Vec<_> = groups.iter().map(|(events, exposure)| prior.posterior(*events, *exposure)).collect();
        let ours = BTreeMap::from([
            ("mean", known.iter().map(|one| one.mean()).collect()),
            ("low", known.iter().map(|one| one.interval().0).collect()),
            ("high", known.iter().map(|one| one.interval().1).collect()),
            ("within", known.iter().map(|one| one.at_least_one(hours)).collect()),
            ("log_marginal", vec![prior.log_likelihood(&groups)]),
            ("fitted_shape", vec![GammaPoisson::fit(&groups).map_or(f64::NAN, |fitted| fitted.shape)]),
        ]);
        let (events, exposure): (Vec<f64>, Vec<f64>) = groups.into_iter().unzip();
        let question = json!({
            "kind": "gamma_poisson", "events": events, "exposure_h": exposure,
            "prior_shape": prior.shape, "prior_rate_h": prior.rate, "hours": hours,
        });
        Case { question, ours }
    };
    let cases: Vec<Case> = (0..SETS).map(case).collect();
    agree("Gamma-Poisson", &cases);
}
