//! Machines that were started together and end together: one event of their pool, not many of their own.
//!
//! Inputs: lives. Outputs: which share of interrupted machines has a neighbour of its batch that ends within minutes, beside what chance
//! would make of the same lives. Must never take many machines of one batch for many independent ones.
//!
//! Why it matters: of 4 or 16 machines more than 94 % of the time all or none were up (Wu et al., "Can't Be Late", NSDI 2024).

use super::rate::share_95;
use super::{Verdict, calendar};
use crate::{Life, Scarce};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Interruptions in batches with more than one below which nothing is said.
const LEAST_EVENTS: u64 = 10;
/// A share counts as more than chance where so few of the draws reach it.
const LEVEL: f64 = 0.01;

/// How machines of a batch end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Together {
    /// Interrupted machines with others of their batch and zone that were interrupted.
    pub machines: u64,
    /// Batches (in a zone) that they belong to.
    pub batches: u64,
    /// How near two ends have to be, minutes.
    pub within_min: f64,
    /// Of `machines`, how many have a neighbour so near.
    pub near: u64,
    /// One by the other.
    pub share: f64,
    /// 95 % interval as if machines were on their own, which they are not: the true one is wider.
    pub share_95: (f64, f64),
    /// The share where lengths of lives are exchanged among all machines of these batches: what chance makes of it.
    pub by_chance: f64,
    /// How many of the draws by chance reached `share`, of all of them and this one.
    pub p: f64,
    /// Whether they end together.
    pub verdict: Verdict,
    /// What that means, for people.
    pub sentence: String,
}

impl Together {
    /// Looks at the machines of each batch and zone that were interrupted before the age of `until_h`: infinite, or a little below
    /// the one at which the provider ends all machines (GCP's preemptible ones at 24 hours), as those who began together end
    /// together there.
    ///
    /// # Errors
    /// Too few batches with more than one interruption.
    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub fn of(lives: &[Life], within_min: f64, until_h: f64, rounds: usize, seed: u64) -> Result<Self, Scarce> {
        let mut groups: BTreeMap<(u64, &str), Vec<(f64, f64)>> = BTreeMap::new();
        for (number, life) in
            numbers(lives).into_iter().zip(lives).filter(|(_, life)| life.is_interrupted() && life.lived_h <= until_h)
        {
            crate::lifetimes::check_hours(life.lived_h)?;
            groups
                .entry((number, life.pool.zone.as_str()))
                .or_default()
                .push((life.launched_s, life.lived_h * 3_600.0));
        }
        groups.retain(|_, members| members.len() > 1);
        let starts: Vec<Vec<f64>> =
            groups.values().map(|members| members.iter().map(|life| life.0).collect()).collect();
        let mut lengths: Vec<f64> = groups.values().flatten().map(|life| life.1).collect();
        let machines = lengths.len() as u64;
        if machines < LEAST_EVENTS {
            let sentence = format!(
                "{machines} interrupted machines with others of their batch are too few to say whether they end together"
            );
            return Err(Scarce(format!("{sentence}: {LEAST_EVENTS} are the least")));
        }
        let near = count_near(&starts, &lengths, within_min * 60.0);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (mut sum, mut reached) = (0_u64, 0_u64);
        for _ in 0..rounds {
            lengths.shuffle(&mut random);
            let drawn = count_near(&starts, &lengths, within_min * 60.0);
            sum += drawn;
            reached += u64::from(drawn >= near);
        }
        let share = near as f64 / machines as f64;
        let by_chance = sum as f64 / (machines * rounds.max(1) as u64) as f64;
        let p = (1 + reached) as f64 / (1 + rounds) as f64;
        let verdict = if p < LEVEL { Verdict::Found } else { Verdict::NotShown };
        let batches = starts.len();
        let counted = format!("{near} of {machines} interrupted machines of {batches} batches");
        let sentence = match verdict {
            Verdict::Found => format!(
                "Machines of a batch go together: {counted} ended within {within_min} minutes of another, {:.0} %, where chance makes it \
                 {:.0} %. Count on losing a whole batch at once, and count such a loss as one event.",
                share * 100.0,
                by_chance * 100.0
            ),
            Verdict::NotShown => format!(
                "{counted} ended within {within_min} minutes of another, {:.0} %, which is what chance makes of it ({:.0} %).",
                share * 100.0,
                by_chance * 100.0
            ),
        };
        let share_95 = share_95(near, machines);
        Ok(Self {
            machines,
            batches: batches as u64,
            within_min,
            near,
            share,
            share_95,
            by_chance,
            p,
            verdict,
            sentence,
        })
    }
}

/// Ends with another of the same group within `within_s`, where `lengths` runs through the groups' machines in their order.
fn count_near(starts: &[Vec<f64>], lengths: &[f64], within_s: f64) -> u64 {
    let mut lengths = lengths.iter();
    let mut near = 0;
    let mut ends = Vec::new();
    for group in starts {
        ends.clear();
        ends.extend(group.iter().zip(lengths.by_ref().take(group.len())).map(|(start, length)| start + length));
        ends.sort_by(f64::total_cmp);
        for at in 0..ends.len() {
            let before = at > 0 && ends[at] - ends[at - 1] <= within_s;
            let after = at + 1 < ends.len() && ends[at + 1] - ends[at] <= within_s;
            near += u64::from(before || after);
        }
    }
    near
}

/// A number for each life; equal for machines that were started together: the batch it names, or the provider, region and day (UTC).
pub(crate) fn numbers<'l>(lives: impl IntoIterator<Item = &'l Life>) -> Vec<u64> {
    let mut numbers: BTreeMap<(Option<u64>, &str, &str, i64), u64> = BTreeMap::new();
    let number = |life: &'l Life| {
        let key = match life.batch {
            Some(batch) => (Some(batch), "", "", 0),
            None => (None, life.pool.provider.as_str(), life.pool.region.as_str(), calendar::day(life.launched_s)),
        };
        let next = numbers.len() as u64;
        *numbers.entry(key).or_insert(next)
    };
    lives.into_iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};
    use rand::RngExt;

    /// Batches of four; `together`: the first two end at the same minute.
    fn lives(batches: u64, together: bool) -> Vec<Life> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(9);
        let mut all = Vec::new();
        for batch in 0..batches {
            let shared = 20.0 * random.random::<f64>();
            for member in 0..4 {
                let own = 20.0 * random.random::<f64>();
                all.push(Life {
                    pool: Pool::default(),
                    launched_s: 1e9 + 90_000.0 * batch as f64,
                    lived_h: if together && member < 2 { shared } else { own },
                    outcome: Outcome::Interrupted,
                    batch: Some(batch),
                });
            }
        }
        all
    }

    #[test]
    fn batches_that_end_together_are_told_from_those_that_do_so_by_chance() {
        let found = Together::of(&lives(60, true), 10.0, f64::INFINITY, 500, 1).expect("looked at");
        assert_eq!((found.verdict, found.machines, found.batches), (Verdict::Found, 240, 60));
        assert!(found.share >= 0.5 && found.by_chance < 0.15, "{found:?}");
        let none = Together::of(&lives(60, false), 10.0, f64::INFINITY, 500, 1).expect("looked at");
        assert_eq!(none.verdict, Verdict::NotShown, "{}", none.sentence);
    }

    #[test]
    fn too_few_are_told_and_machines_without_a_batch_go_by_place_and_day() {
        assert!(Together::of(&lives(2, true), 10.0, f64::INFINITY, 10, 1).expect_err("scarce").0.contains("too few"));
        assert!(Together::of(&[], 10.0, f64::INFINITY, 10, 1).is_err());
        let mut lives = lives(1, true);
        for (life, launched_s) in lives.iter_mut().zip([0.0, 80_000.0, 90_000.0, 90_000.0]) {
            (life.batch, life.launched_s) = (None, launched_s);
        }
        lives[3].pool.region = "elsewhere".to_owned();
        assert_eq!(numbers(&lives), [0, 0, 1, 2]);
    }
}
