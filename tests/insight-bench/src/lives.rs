//! The next hour of machines: every model, fitted to some lives and scored on others.
//!
//! Inputs: lives. Outputs: a line for each model. It must never let a life be in both parts.

use crate::reference::{self, Counts};
use crate::{Foreseen, Split, score};
use anyhow::{Context, Result};
use cloudsnooze_insight::Life;
use cloudsnooze_insight::models::age_bins::AgeBins;
use cloudsnooze_insight::models::bathtub::{Censored, Published};
use cloudsnooze_insight::models::constant::Constant;
use cloudsnooze_insight::models::hours::{Hour, machine_hours};
use cloudsnooze_insight::models::logistic::Logistic;
use cloudsnooze_insight::models::pooled::{AgeByPool, PoolRate};
use cloudsnooze_insight::models::snooze::Snooze;
use cloudsnooze_insight::models::weibull::Weibull;
use cloudsnooze_insight::models::{Ask, Model};
use std::fmt::Write;

/// Ages of which the next hour is asked.
const AGES: u32 = 23;

/// Who is learned from, and who is held out.
pub struct Parts {
    /// In words.
    pub about: String,
    /// Learned from.
    pub train: Vec<Life>,
    /// Held out.
    pub test: Vec<Life>,
}

/// The pools that are big enough to be split: one family in three zones.
#[must_use]
pub fn big_pools(lives: Vec<Life>) -> Vec<Life> {
    let zones = ["us-central1-c", "us-east1-b", "us-west1-a"];
    let is_big =
        |life: &Life| zones.contains(&life.pool.zone.as_str()) && life.pool.instance_type.starts_with("n1-highcpu-");
    lives.into_iter().filter(is_big).collect()
}

/// Machines started before a moment, and those started after it.
#[must_use]
pub fn by_time(lives: &[Life], moment_s: f64, moment: &str) -> Parts {
    let (train, test) = lives.iter().cloned().partition(|life| life.launched_s < moment_s);
    Parts { about: format!("lives, split by time: started before {moment}, or after"), train, test }
}

/// Batches whose number ends in 0 to 6, and the others. Machines without a batch are in the first part.
#[must_use]
pub fn by_batch(lives: &[Life]) -> Parts {
    let (train, test) = lives.iter().cloned().partition(|life| life.batch.unwrap_or(0) % 10 < 7);
    Parts { about: "lives, split by batch: number mod 10 below 7, or not".to_owned(), train, test }
}

/// Whether this is the public set, so that its references count.
#[must_use]
pub fn is_public(by_time: &Parts) -> bool {
    let events = by_time.train.iter().filter(|life| life.is_interrupted()).count();
    (by_time.train.len(), events) == (reference::TIME.train_lives, reference::TIME.train_events)
}

struct Held<'l> {
    test: &'l [Life],
    hours: Vec<Hour>,
    foreseen: Vec<Foreseen>,
}

impl Held<'_> {
    fn add<M: Model>(&mut self, train: &[Life]) -> Result<M> {
        let model = M::fit(train).with_context(|| M::NAME.to_owned())?;
        let of = |hour: &Hour| {
            let life = &self.test[hour.life];
            let now_s = Some(life.launched_s + hour.age_h * 3_600.0);
            model.forecast(&Ask { pool: &life.pool, age_h: hour.age_h, within_h: 1.0, now_s }).probability()
        };
        let probabilities = self.hours.iter().map(of).collect();
        self.foreseen.push(Foreseen { model: M::NAME.to_owned(), probabilities });
        Ok(model)
    }
}

/// Fits and scores every model. Lives that are learned from are looked at until the age of 23 h, but for the shipped
/// model and the published fit, which take them as they are.
pub fn run(parts: &Parts, split_by_time: bool) -> Result<Split> {
    let Parts { train, test, .. } = parts;
    let cut: Vec<Life> = train.iter().map(|life| life.until(f64::from(AGES))).collect();
    let mut held = Held { test, hours: machine_hours(test, AGES), foreseen: Vec::new() };
    held.add::<Constant>(&cut)?;
    held.add::<Published>(train)?;
    held.add::<Censored>(train)?;
    held.add::<Weibull>(&cut)?;
    held.add::<AgeBins>(&cut)?;
    held.add::<PoolRate>(&cut)?;
    held.add::<AgeByPool>(&cut)?;
    held.add::<Logistic>(&cut)?;
    let shipped = held.add::<Snooze>(train)?;
    let outcomes: Vec<(bool, u64)> = held
        .hours
        .iter()
        .map(|hour| (hour.interrupted, test[hour.life].batch.unwrap_or(u64::MAX - hour.life as u64)))
        .collect();
    let events = outcomes.iter().filter(|outcome| outcome.0).count();
    let train_events = train.iter().filter(|life| life.is_interrupted()).count();
    let counts = Counts { train_lives: train.len(), train_events, hours: outcomes.len(), events };
    let known = counts == if split_by_time { reference::TIME } else { reference::BATCH };
    let lines = score(&held.foreseen, &outcomes, |model| reference::lives(model, split_by_time).filter(|_| known))?;
    Ok(Split {
        about: parts.about.clone(),
        train: format!("{} machines, {train_events} interruptions", train.len()),
        test: format!("{} machines, {} hours, {events} interruptions", test.len(), outcomes.len()),
        lines,
        shipped: made_of(&shipped),
    })
}

fn made_of(shipped: &Snooze) -> String {
    let mut text = String::new();
    for (recipe, weight) in shipped.weights() {
        let scores = shipped.choice.iter().flat_map(|choice| &choice.scores);
        let own = scores.filter(|score| score.0 == recipe).map(|score| score.1).next();
        let _infallible = write!(text, "{:.0} % {recipe}", weight * 100.0);
        if let Some(own) = own {
            let _infallible = write!(text, " ({own:.4})");
        }
        text.push_str("; ");
    }
    if let Some(choice) = &shipped.choice {
        let _infallible = write!(
            text,
            "together {:.4} on {} held-out batches inside of the training part",
            choice.mixture, choice.clusters
        );
    }
    text
}
