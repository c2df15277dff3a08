//! What makes a life shorter: Cox's proportional hazards.
//!
//! Inputs: subjects with their covariates and clusters. Outputs: a hazard ratio for each covariate, with an interval that knows that
//! machines of one batch end together. Must never hide that: the naive error is given beside the one that counts, not in its place.
//!
//! Sources: Cox, JRSS B 34 (1972); ties by Efron, JASA 72 (1977); the sandwich of Lin and Wei, JASA 84 (1989), summed up by cluster.
//! tests/agreement.rs holds it against lifelines.

use super::residuals::score_residuals;
use super::{Z95, check_hours, ranks};
use crate::Scarce;
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};
use std::collections::BTreeMap;

/// Newton steps after which nothing will come of it; six are usual.
const MAX_STEPS: usize = 60;
/// Newton's decrement below which one more step lands within rounding.
const CLOSE_ENOUGH: f64 = 1e-10;
/// A standard error, for a covariate of standard deviation 1, that only data give which do not bound the effect at all.
const UNBOUNDED_SE: f64 = 10.0;

/// One machine with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// How long it was seen to live, hours.
    pub hours: f64,
    /// Whether the provider ended it then.
    pub interrupted: bool,
    /// As many as there are names.
    pub covariates: Vec<f64>,
    /// Machines with the same number may end together.
    pub cluster: u64,
}

/// What one covariate does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Of the covariate.
    pub name: String,
    /// Logarithm of the hazard ratio for one more of it.
    pub log_ratio: f64,
    /// Its standard error as if every machine were on its own. Too small wherever batches end together.
    pub naive_se: f64,
    /// Its standard error by the sandwich over clusters.
    pub robust_se: f64,
    /// Its standard error by drawing clusters anew, where that was asked for.
    pub bootstrap_se: Option<f64>,
    /// How many times the hazard for one more of it.
    pub hazard_ratio: f64,
    /// 95 % interval of `hazard_ratio`, by the bootstrap's error where there is one, else the sandwich's.
    pub hazard_ratio_95: (f64, f64),
    /// Two-sided p-value of "no effect", by the same error.
    pub p: f64,
}

/// A fitted model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cox {
    /// One for each covariate.
    pub effects: Vec<Effect>,
    /// Machines it was fitted to.
    pub machines: u64,
    /// Of these, how many were interrupted.
    pub interrupted: u64,
    /// Clusters that they belong to.
    pub clusters: u64,
    /// Of the partial likelihood.
    pub log_likelihood: f64,
    /// Harrell's C on the same machines: .5 says nothing, 1 orders all of them.
    pub concordance: Option<f64>,
}

impl Cox {
    /// Fits the effects of the covariates that `names` names.
    ///
    /// # Errors
    /// Too few interruptions for so many covariates, one of them never varies or orders the lives all by itself, or a value is no number.
    pub fn fit(names: &[&str], subjects: &[Subject]) -> Result<Self, Scarce> {
        check(names, subjects)?;
        let scale = Scale::of(names, subjects)?;
        let scaled = scale.apply(subjects);
        let (beta, likelihood) = maximise(names, &scaled)?;
        let inverse = inverse(names, &likelihood.information)?;
        check_bounded(names, &inverse)?;
        let robust = robust(&scaled, &beta, &inverse);
        let effects = names.iter().zip(&scale.deviation).enumerate().map(|(at, (name, deviation))| {
            let se = |variance: f64| variance.sqrt() / deviation;
            Effect::new(name, beta[at] / deviation, se(inverse[(at, at)]), se(robust[(at, at)]))
        });
        let scores: Vec<f64> = scaled.iter().map(|subject| dot(&subject.covariates, beta.as_slice())).collect();
        Ok(Self {
            effects: effects.collect(),
            machines: subjects.len() as u64,
            interrupted: subjects.iter().filter(|subject| subject.interrupted).count() as u64,
            clusters: members(subjects).len() as u64,
            log_likelihood: likelihood.value,
            concordance: ranks::concordance(&scaled, &scores),
        })
    }

    /// Replaces the errors by those of drawing whole clusters anew `rounds` times, each time fitting again.
    ///
    /// # Errors
    /// Fewer than half of the draws could be fitted: the effects hang on a few clusters.
    #[allow(clippy::cast_precision_loss, reason = "rounds are few")]
    pub fn bootstrap(&mut self, subjects: &[Subject], rounds: usize, seed: u64) -> Result<(), Scarce> {
        let names: Vec<String> = self.effects.iter().map(|effect| effect.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let clusters: Vec<Vec<&Subject>> = members(subjects).into_values().collect();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut drawn: Vec<Vec<f64>> = Vec::new();
        for _ in 0..rounds {
            let picks = (0..clusters.len()).map(|_| &clusters[random.random_range(0..clusters.len())]);
            let sample: Vec<Subject> = picks.flatten().map(|subject| (*subject).clone()).collect();
            if let Ok(log_ratios) = log_ratios(&names, &sample) {
                drawn.push(log_ratios);
            }
        }
        if rounds < 2 || drawn.len() * 2 < rounds {
            let (fitted, clusters) = (drawn.len(), clusters.len());
            let sentence = format!(
                "only {fitted} of {rounds} draws of the {clusters} batches could be fitted: more batches are needed"
            );
            return Err(Scarce(sentence));
        }
        for (at, effect) in self.effects.iter_mut().enumerate() {
            let mean = drawn.iter().map(|draw| draw[at]).sum::<f64>() / drawn.len() as f64;
            let squares: f64 = drawn.iter().map(|draw| (draw[at] - mean).powi(2)).sum();
            effect.use_error((squares / (drawn.len() - 1) as f64).sqrt());
        }
        Ok(())
    }

    /// How risky each of these machines is beside the others; only differences mean anything (logarithms of hazard ratios).
    #[must_use]
    pub fn scores(&self, subjects: &[Subject]) -> Vec<f64> {
        let beta: Vec<f64> = self.effects.iter().map(|effect| effect.log_ratio).collect();
        subjects.iter().map(|subject| dot(&subject.covariates, &beta)).collect()
    }

    /// Harrell's C on other machines than those it was fitted to; None where no two can be compared.
    #[must_use]
    pub fn concordance_on(&self, subjects: &[Subject]) -> Option<f64> {
        ranks::concordance(subjects, &self.scores(subjects))
    }
}

impl Effect {
    fn new(name: &str, log_ratio: f64, naive_se: f64, robust_se: f64) -> Self {
        let mut effect = Self {
            name: name.to_owned(),
            log_ratio,
            naive_se,
            robust_se,
            bootstrap_se: None,
            hazard_ratio: log_ratio.exp(),
            hazard_ratio_95: (0.0, 0.0),
            p: 1.0,
        };
        effect.judge_by(robust_se);
        effect
    }

    fn use_error(&mut self, bootstrap_se: f64) {
        self.bootstrap_se = Some(bootstrap_se);
        self.judge_by(bootstrap_se);
    }

    fn judge_by(&mut self, se: f64) {
        let bound = |sign: f64| (self.log_ratio + sign * Z95 * se).exp();
        self.hazard_ratio_95 = (bound(-1.0), bound(1.0));
        self.p = if se > 0.0 { 2.0 * Normal::standard().sf((self.log_ratio / se).abs()) } else { 1.0 };
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The machines of each cluster.
fn members(subjects: &[Subject]) -> BTreeMap<u64, Vec<&Subject>> {
    let mut members: BTreeMap<u64, Vec<&Subject>> = BTreeMap::new();
    for subject in subjects {
        members.entry(subject.cluster).or_default().push(subject);
    }
    members
}

fn check(names: &[&str], subjects: &[Subject]) -> Result<(), Scarce> {
    for subject in subjects {
        check_hours(subject.hours)?;
        if subject.covariates.len() != names.len() || subject.covariates.iter().any(|value| !value.is_finite()) {
            return Err(Scarce(format!("a machine lacks one of {}, or has no number there", names.join(", "))));
        }
    }
    let interrupted = subjects.iter().filter(|subject| subject.interrupted).count();
    if names.is_empty() || interrupted < 2 * names.len() + 1 {
        let wanted = 2 * names.len() + 1;
        let (what, machines) = (names.join(", "), subjects.len());
        return Err(Scarce(format!(
            "{interrupted} interruptions of {machines} machines do not tell apart the effects of {} ({what}): {wanted} are the least",
            names.len()
        )));
    }
    Ok(())
}

fn check_bounded(names: &[&str], inverse: &DMatrix<f64>) -> Result<(), Scarce> {
    let is_unbounded = |variance: f64| variance.is_nan() || variance.sqrt() >= UNBOUNDED_SE;
    inverse
        .diagonal()
        .iter()
        .position(|variance| is_unbounded(*variance))
        .map_or(Ok(()), |at| Err(unbounded(names, at)))
}

fn unbounded(names: &[&str], at: usize) -> Scarce {
    let name = names.get(at).copied().unwrap_or_default();
    Scarce(format!(
        "these lives do not bound the effect of {name}: all interruptions are on one side of it, or others say the same"
    ))
}

/// Covariates with mean 0 and deviation 1: the same answer, and numbers that do not overflow on the way.
struct Scale {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scale {
    #[allow(clippy::cast_precision_loss, reason = "numbers of machines are below 2^53")]
    fn of(names: &[&str], subjects: &[Subject]) -> Result<Self, Scarce> {
        let n = subjects.len() as f64;
        let column = |at: usize| subjects.iter().map(move |subject| subject.covariates[at]);
        let mean: Vec<f64> = (0..names.len()).map(|at| column(at).sum::<f64>() / n).collect();
        let spread = |(at, mean): (usize, &f64)| (column(at).map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let deviation: Vec<f64> = mean.iter().enumerate().map(spread).collect();
        let mut all = names.iter().zip(&mean).zip(&deviation);
        // Sums of equal numbers differ from them by rounding.
        if let Some(((name, _), _)) = all.find(|((_, mean), deviation)| **deviation <= 1e-12 * (1.0 + mean.abs())) {
            return Err(Scarce(format!("{name} is the same for every machine: its effect cannot be seen")));
        }
        Ok(Self { mean, deviation })
    }

    fn apply(&self, subjects: &[Subject]) -> Vec<Subject> {
        let mut scaled: Vec<Subject> = subjects.to_vec();
        for subject in &mut scaled {
            for (value, (mean, deviation)) in subject.covariates.iter_mut().zip(self.mean.iter().zip(&self.deviation)) {
                *value = (*value - mean) / deviation;
            }
        }
        scaled.sort_by(|a, b| b.hours.total_cmp(&a.hours));
        scaled
    }
}

/// Only the estimates: for the bootstrap.
fn log_ratios(names: &[&str], subjects: &[Subject]) -> Result<Vec<f64>, Scarce> {
    check(names, subjects)?;
    let scale = Scale::of(names, subjects)?;
    let (beta, likelihood) = maximise(names, &scale.apply(subjects))?;
    let inverse = inverse(names, &likelihood.information)?;
    check_bounded(names, &inverse)?;
    Ok(beta.iter().zip(&scale.deviation).map(|(beta, deviation)| beta / deviation).collect())
}

/// The logarithm of the partial likelihood at some effects, with its first derivative and the negative of its second.
struct Likelihood {
    value: f64,
    gradient: DVector<f64>,
    information: DMatrix<f64>,
}

impl Likelihood {
    /// For subjects from the longest life to the shortest.
    #[allow(clippy::cast_precision_loss, reason = "numbers of machines are below 2^53")]
    fn at(beta: &DVector<f64>, subjects: &[Subject]) -> Self {
        let size = beta.len();
        let mut sum = Self { value: 0.0, gradient: DVector::zeros(size), information: DMatrix::zeros(size, size) };
        let mut risk = Moments::zeros(size);
        for group in subjects.chunk_by(|a, b| a.hours == b.hours) {
            let count = group.iter().filter(|subject| subject.interrupted).count();
            // Only of several that ended together.
            let mut ended = (count > 1).then(|| Moments::zeros(size));
            for subject in group {
                let log = dot(&subject.covariates, beta.as_slice());
                let x = DVector::from_column_slice(&subject.covariates);
                risk.add(log.exp(), &x);
                if subject.interrupted {
                    if let Some(ended) = &mut ended {
                        ended.add(log.exp(), &x);
                    }
                    sum.value += log;
                    sum.gradient += &x;
                }
            }
            for tied in 0..count {
                let (mut weight, mut mean) = (risk.weight, risk.first.clone());
                let tie = ended.as_ref().map(|ended| (tied as f64 / count as f64, ended));
                if let Some((share, ended)) = tie {
                    weight -= share * ended.weight;
                    mean.axpy(-share, &ended.first, 1.0);
                    sum.information.zip_apply(&ended.second, |sum, of| *sum -= share / weight * of);
                }
                mean /= weight;
                sum.value -= weight.ln();
                sum.gradient -= &mean;
                sum.information.zip_apply(&risk.second, |sum, of| *sum += of / weight);
                sum.information.ger(-1.0, &mean, &mean, 1.0);
            }
        }
        sum
    }
}

/// Sums over machines, each weighted by its hazard ratio: of 1, of x, of x x'.
struct Moments {
    weight: f64,
    first: DVector<f64>,
    second: DMatrix<f64>,
}

impl Moments {
    fn zeros(size: usize) -> Self {
        Self { weight: 0.0, first: DVector::zeros(size), second: DMatrix::zeros(size, size) }
    }

    fn add(&mut self, weight: f64, x: &DVector<f64>) {
        self.weight += weight;
        self.first.axpy(weight, x, 1.0);
        self.second.ger(weight, x, x, 1.0);
    }
}

/// Newton's method, with steps halved until they lead up.
fn maximise(names: &[&str], subjects: &[Subject]) -> Result<(DVector<f64>, Likelihood), Scarce> {
    let mut beta = DVector::zeros(names.len());
    let mut here = Likelihood::at(&beta, subjects);
    for _ in 0..MAX_STEPS {
        let step = cholesky(names, &here.information)?.solve(&here.gradient);
        let decrement = step.dot(&here.gradient);
        let mut size = 1.0;
        let (next, there) = loop {
            let next = &beta + size * &step;
            let there = Likelihood::at(&next, subjects);
            // So close to the top rounding hides whether it leads up.
            if there.value >= here.value || decrement < CLOSE_ENOUGH || size < 1e-6 {
                break (next, there);
            }
            size /= 2.0;
        };
        if !there.value.is_finite() {
            break;
        }
        (beta, here) = (next, there);
        if decrement < CLOSE_ENOUGH {
            return Ok((beta, here));
        }
    }
    let worst = beta.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).map_or(0, |(at, _)| at);
    Err(unbounded(names, worst))
}

fn cholesky(names: &[&str], information: &DMatrix<f64>) -> Result<Cholesky<f64, Dyn>, Scarce> {
    let found = information.clone().cholesky().filter(|factor| {
        // Covariates that say the same leave rounding in place of a positive number.
        let diagonal = factor.l_dirty().diagonal();
        diagonal.min() > 1e-7 * diagonal.max()
    });
    found
        .ok_or_else(|| Scarce(format!("{} cannot be told apart: some say the same of every machine", names.join(", "))))
}

fn inverse(names: &[&str], information: &DMatrix<f64>) -> Result<DMatrix<f64>, Scarce> {
    Ok(cholesky(names, information)?.inverse())
}

/// The sandwich: how much the estimate moves when a cluster is left out, squared and summed up.
fn robust(subjects: &[Subject], beta: &DVector<f64>, inverse: &DMatrix<f64>) -> DMatrix<f64> {
    let mut by_cluster: BTreeMap<u64, DVector<f64>> = BTreeMap::new();
    for (subject, residual) in subjects.iter().zip(score_residuals(beta, subjects)) {
        *by_cluster.entry(subject.cluster).or_insert_with(|| DVector::zeros(beta.len())) += residual;
    }
    let mut meat = DMatrix::zeros(beta.len(), beta.len());
    for sum in by_cluster.values() {
        meat.ger(1.0, sum, sum, 1.0);
    }
    inverse * meat * inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(hours: f64, interrupted: bool, x: f64) -> Subject {
        Subject { hours, interrupted, covariates: vec![x], cluster: 0 }
    }

    /// Hazard `ratio` where x is 1, from a seed; every `size` machines are copies.
    fn machines(count: usize, ratio: f64, size: u64) -> Vec<Subject> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
        let mut all = Vec::new();
        for cluster in 0..count as u64 {
            let x = (cluster % 2) as f64;
            let hours = -random.random::<f64>().ln() / ratio.powf(x);
            let interrupted = hours < 1.5;
            let one = Subject { hours: hours.min(1.5), interrupted, covariates: vec![x], cluster };
            // Copies end a little apart, as machines of a batch do.
            all.extend((0..size).map(|copy| Subject { hours: one.hours + copy as f64 * 1e-6, ..one.clone() }));
        }
        all
    }

    #[test]
    fn an_effect_that_is_there_is_found_with_an_interval_that_holds_it() {
        let cox = Cox::fit(&["x"], &machines(800, 2.0, 1)).expect("fitted");
        let effect = &cox.effects[0];
        assert!(effect.hazard_ratio_95.0 < 2.0 && 2.0 < effect.hazard_ratio_95.1, "{effect:?}");
        assert!(effect.p < 1e-6 && cox.concordance.is_some_and(|c| c > 0.55), "{cox:?}");
        assert!((effect.naive_se / effect.robust_se - 1.0).abs() < 0.1, "{effect:?}");
    }

    #[test]
    fn machines_that_end_together_count_as_one_in_both_errors_that_matter() {
        let batches = machines(300, 1.5, 4);
        let mut cox = Cox::fit(&["x"], &batches).expect("fitted");
        let single = Cox::fit(&["x"], &machines(300, 1.5, 1)).expect("fitted").effects[0].robust_se;
        let before = cox.effects[0].clone();
        assert!(before.robust_se > 1.8 * before.naive_se, "{before:?}");
        assert!((before.robust_se / single - 1.0).abs() < 0.05, "{before:?} {single}");
        cox.bootstrap(&batches, 200, 5).expect("drawn");
        let drawn = cox.effects[0].bootstrap_se.expect("an error");
        assert!((drawn / before.robust_se - 1.0).abs() < 0.2, "{drawn} {before:?}");
        let mut again = Cox::fit(&["x"], &batches).expect("fitted");
        again.bootstrap(&batches, 200, 5).expect("drawn");
        assert_eq!(again, cox, "the same seed, the same numbers");
    }

    #[test]
    fn data_that_cannot_say_are_told_apart() {
        let told = |names: &[&str], subjects: &[Subject]| Cox::fit(names, subjects).expect_err("refused").0;
        let few = [subject(1.0, true, 0.0), subject(2.0, false, 1.0)];
        assert!(told(&["x"], &few).contains("1 interruptions of 2 machines"));
        let constant: Vec<Subject> = (1..20).map(|hour| subject(f64::from(hour), true, 3.0)).collect();
        assert!(told(&["x"], &constant).contains("the same for every machine"));
        let apart: Vec<Subject> =
            (1..40).map(|hour| subject(f64::from(hour), hour < 20, f64::from(u8::from(hour < 20)))).collect();
        assert!(told(&["x"], &apart).contains("do not bound the effect of x"));
        let twice: Vec<Subject> = machines(50, 2.0, 1)
            .into_iter()
            .map(|one| Subject { covariates: vec![one.covariates[0], one.covariates[0]], ..one })
            .collect();
        assert!(told(&["x", "y"], &twice).contains("cannot be told apart"));
        assert!(told(&["x"], &[subject(f64::NAN, true, 0.0)]).contains("NaN hours"));
        assert!(told(&["x"], &[subject(1.0, true, f64::NAN)]).contains("no number"));
        assert!(told(&[], &[]).contains("do not tell apart"));
    }
}
