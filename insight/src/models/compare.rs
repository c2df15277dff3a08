//! Which model would have foreseen one's own interruptions best: each is fitted to the first half of the time and scored on the second.
//!
//! Inputs: lives. Outputs: scores with intervals, and a sentence. It must never show a model what became of a machine after the moment
//! at which the halves meet.

use super::age_bins::AgeBins;
use super::bathtub::{Censored, Published};
use super::constant::Constant;
use super::hours::{Hour, machine_hours};
use super::logistic::Logistic;
use super::pooled::{AgeByPool, PoolRate};
use super::snooze::Snooze;
use super::weibull::Weibull;
use super::{Ask, FEW_EVENTS, Model, enough, sound};
use crate::patterns::Verdict;
use crate::scores::{Interval, auc, brier, calibration_error, cluster_bootstrap, log_cost, log_loss};
use crate::{Life, Scarce};
use serde::{Deserialize, Serialize};

/// Lives that are looked at, at most: every n-th where there are more. The regression over their hours takes a minute for 5,000.
const MOST_LIVES: usize = 4_000;
/// Draws of the cluster bootstrap.
const DRAWS: usize = 1_000;

/// One model on what it was not shown. Scores are of the question "interrupted within the next hour?".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The model.
    pub model: String,
    /// Mean logarithmic score: lower is better.
    pub log_loss: f64,
    /// Mean squared distance: lower is better.
    pub brier: f64,
    /// Area under the ROC curve; None where all of one kind happened.
    pub auc: Option<f64>,
    /// Expected calibration error over ten groups of equal number.
    pub calibration_error: f64,
    /// Its log-loss beyond that of the constant rate, with a 95 % interval drawn by batch; None for the constant rate itself.
    pub over_constant: Option<Interval>,
}

/// All models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Where the halves meet, seconds since 1970, UTC.
    pub split_s: f64,
    /// Every so many-th machine was looked at: all of them where it is 1.
    pub every: u64,
    /// Machines that were learned from.
    pub learned_machines: u64,
    /// Machines that were held out.
    pub held_out_machines: u64,
    /// Hours of theirs that were asked about.
    pub held_out_hours: u64,
    /// In how many of them the machine was interrupted.
    pub held_out_events: u64,
    /// The models, the best first.
    pub scores: Vec<Score>,
    /// Models that could not be fitted, and why.
    pub left_out: Vec<String>,
    /// Whether the model that is used is better than a constant rate beyond doubt.
    pub verdict: Verdict,
    /// What that means, for people.
    pub sentence: String,
    /// What the model that is used foresaw, and what happened.
    #[serde(skip)]
    pub foreseen: Vec<(f64, bool)>,
}

struct Held<'l> {
    lives: &'l [Life],
    hours: Vec<Hour>,
    clusters: Vec<u64>,
    constant: Vec<f64>,
    seed: u64,
}

impl Comparison {
    /// Compares the models on machines up to an age of `ages` hours.
    ///
    /// # Errors
    /// Too little before or after the middle of the time.
    pub fn of(lives: &[Life], ages: u32, seed: u64) -> Result<Self, Scarce> {
        let every = lives.len().div_ceil(MOST_LIVES).max(1);
        let looked_at: Vec<Life> = lives.iter().step_by(every).cloned().collect();
        let (split_s, learned, held_out) = halves(&looked_at)?;
        let hours = machine_hours(&held_out, ages);
        let events = hours.iter().filter(|hour| hour.interrupted).count() as u64;
        if events < FEW_EVENTS {
            return Err(Scarce(format!(
                "{events} interruptions in the second half of the time are too few to compare models by: {FEW_EVENTS} are the least"
            )));
        }
        let clusters =
            hours.iter().map(|hour| held_out[hour.life].batch.unwrap_or(u64::MAX - hour.life as u64)).collect();
        let mut held = Held { lives: &held_out, hours, clusters, constant: Vec::new(), seed };
        let cut: Vec<Life> = learned.iter().map(|life| life.until(f64::from(ages))).collect();
        let (mut scores, mut left_out) = (Vec::new(), Vec::new());
        held.constant = held.forecasts::<Constant>(&cut)?.iter().map(|of| of.0).collect();
        let mut add = |score: Result<Score, Scarce>| match score {
            Ok(score) => scores.push(score),
            Err(why) => left_out.push(why.0),
        };
        add(held.score::<Constant>(&cut));
        add(held.score::<Published>(&learned));
        add(held.score::<Censored>(&learned));
        add(held.score::<Weibull>(&cut));
        add(held.score::<AgeBins>(&cut));
        add(held.score::<PoolRate>(&cut));
        add(held.score::<AgeByPool>(&cut));
        add(held.score::<Logistic>(&cut));
        let foreseen = held.forecasts::<Snooze>(&learned)?;
        add(held.scored(Snooze::NAME, &foreseen));
        scores.sort_by(|one, other| one.log_loss.total_cmp(&other.log_loss));
        let (verdict, sentence) = judged(&scores);
        Ok(Self {
            split_s,
            every: every as u64,
            learned_machines: learned.len() as u64,
            held_out_machines: held_out.len() as u64,
            held_out_hours: held.hours.len() as u64,
            held_out_events: events,
            scores,
            left_out,
            verdict,
            sentence,
            foreseen,
        })
    }
}

/// Lives that began before the middle, as they were known then, and those that began later.
fn halves(lives: &[Life]) -> Result<(f64, Vec<Life>, Vec<Life>), Scarce> {
    let lives = sound(lives);
    enough(&lives)?;
    let mut starts: Vec<f64> = lives.iter().map(|life| life.launched_s).collect();
    starts.sort_by(f64::total_cmp);
    let split_s = starts.get(starts.len() / 2).copied().unwrap_or_default();
    let (before, after): (Vec<&Life>, Vec<&Life>) = lives.into_iter().partition(|life| life.launched_s < split_s);
    let learned: Vec<Life> = before.into_iter().map(|life| life.until((split_s - life.launched_s) / 3_600.0)).collect();
    enough(&sound(&learned)).map_err(|why| Scarce(format!("before the middle of the time, {}", why.0)))?;
    Ok((split_s, learned, after.into_iter().cloned().collect()))
}

impl Held<'_> {
    fn forecasts<M: Model>(&self, learned: &[Life]) -> Result<Vec<(f64, bool)>, Scarce> {
        let model = M::fit(learned).map_err(|why| Scarce(format!("{}: {}", M::NAME, why.0)))?;
        let of = |hour: &Hour| {
            let life = &self.lives[hour.life];
            let now_s = Some(life.launched_s + hour.age_h * 3_600.0);
            let ask = Ask { pool: &life.pool, age_h: hour.age_h, within_h: 1.0, now_s };
            (model.forecast(&ask).probability(), hour.interrupted)
        };
        Ok(self.hours.iter().map(of).collect())
    }

    fn score<M: Model>(&self, learned: &[Life]) -> Result<Score, Scarce> {
        self.scored(M::NAME, &self.forecasts::<M>(learned)?)
    }

    fn scored(&self, model: &str, foreseen: &[(f64, bool)]) -> Result<Score, Scarce> {
        let over: Vec<(f64, u64)> = foreseen
            .iter()
            .zip(&self.constant)
            .zip(&self.clusters)
            .map(|(((ours, happened), plain), cluster)| {
                (log_cost(*ours, *happened) - log_cost(*plain, *happened), *cluster)
            })
            .collect();
        let nothing = || Scarce(format!("{model}: nothing was held out"));
        Ok(Score {
            model: model.to_owned(),
            log_loss: log_loss(foreseen).ok_or_else(nothing)?,
            brier: brier(foreseen).ok_or_else(nothing)?,
            auc: auc(foreseen),
            calibration_error: calibration_error(foreseen).ok_or_else(nothing)?,
            over_constant: cluster_bootstrap(&over, DRAWS, self.seed).filter(|_| model != Constant::NAME),
        })
    }
}

fn judged(scores: &[Score]) -> (Verdict, String) {
    let of = |name: &str| scores.iter().find(|score| score.model == name);
    let (Some(shipped), Some(constant), Some(best)) = (of(Snooze::NAME), of(Constant::NAME), scores.first()) else {
        return (Verdict::NotShown, "The models could not be compared.".to_owned());
    };
    let is_sure = shipped.over_constant.as_ref().is_some_and(|over| over.high < 0.0);
    let beside = format!("log-loss {:.4}, a constant rate {:.4}", shipped.log_loss, constant.log_loss);
    let sentence = if is_sure {
        format!("The model that is used foresees these machines better than a constant rate does ({beside}).")
    } else {
        format!("The model that is used is not better than a constant rate here beyond doubt ({beside}).")
    };
    let other = match best.model == shipped.model {
        true => " None of the others is better.".to_owned(),
        false => format!(" The best of all is '{}' ({:.4}).", best.model, best.log_loss),
    };
    (if is_sure { Verdict::Found } else { Verdict::NotShown }, sentence + &other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    /// Machines that are in danger while they are young; one an hour is started.
    fn lives(count: u32, power: f64) -> Vec<Life> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(4);
        let one = |at: u32| {
            let end = (-random.random::<f64>().ln()).powf(power) * 6.0;
            let stop = 40.0 * random.random::<f64>();
            Life {
                pool: Pool { zone: "a".to_owned(), ..Pool::default() },
                launched_s: 1.5e9 + 3_600.0 * f64::from(at),
                lived_h: end.min(stop),
                outcome: if end < stop { Outcome::Interrupted } else { Outcome::Stopped },
                batch: None,
            }
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn danger_of_the_young_is_found_and_a_constant_rate_is_not_beaten_where_it_holds() {
        let found = Comparison::of(&lives(800, 2.5), 23, 1).expect("compared");
        assert_eq!(found.verdict, Verdict::Found, "{}", found.sentence);
        assert!(found.scores.windows(2).all(|two| two[0].log_loss <= two[1].log_loss));
        assert!(found.scores.len() + found.left_out.len() == 9 && found.foreseen.len() as u64 == found.held_out_hours);
        let flat = Comparison::of(&lives(800, 1.0), 23, 1).expect("compared");
        assert_eq!(flat.verdict, Verdict::NotShown, "{}", flat.sentence);
    }

    #[test]
    fn what_happened_after_the_middle_is_not_learned_from() {
        let all = lives(400, 2.5);
        let (split_s, learned, held_out) = halves(&all).expect("halves");
        assert!(learned.iter().all(|life| life.launched_s + life.lived_h * 3_600.0 <= split_s + 1e-3));
        assert!(learned.len() + held_out.len() == all.len() && held_out.iter().all(|life| life.launched_s >= split_s));
    }

    #[test]
    fn too_little_is_said() {
        assert!(Comparison::of(&lives(5, 1.0), 23, 1).expect_err("scarce").0.contains("let the history grow"));
        let quiet: Vec<Life> = lives(400, 1.0)
            .into_iter()
            .enumerate()
            .map(|(at, life)| if at > 190 { Life { outcome: Outcome::Stopped, ..life } } else { life })
            .collect();
        assert!(Comparison::of(&quiet, 23, 1).expect_err("scarce").0.contains("second half"));
    }
}
