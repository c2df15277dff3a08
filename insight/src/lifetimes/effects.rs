//! What of a machine's type, place and start makes its life shorter, as Cox's model sees it on real lives.
//!
//! Inputs: lives. Outputs: a hazard ratio for each thing that varies, with an interval that takes whole batches for one, and a sentence.
//! Must never call an effect real by the error of single machines: batches end together, and on the public data that error is a
//! third too small or worse.

use super::{Cox, Subject};
use crate::patterns::{Verdict, batches, calendar};
use crate::{Life, Scarce};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// Interruptions below which nothing is fitted, and below which a zone is counted with the others.
const LEAST_EVENTS: usize = 10;
/// Batches below which neither bootstrap nor sandwich means much (Cameron, Gelbach and Miller, REStat 90, 2008).
const LEAST_BATCHES: u64 = 10;
/// Batches above which the sandwich's error is used as it is: drawing so many anew says the same (both are consistent in the number
/// of clusters: Lin and Wei, JASA 84, 1989), and takes hours for a hundred thousand machines.
const MANY_BATCHES: u64 = 1_000;
/// An effect is told when chance would show it so seldom.
const LEVEL: f64 = 0.01;

/// What was found on lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effects {
    /// The model; one effect for each of `names_of` below that varies.
    pub model: Cox,
    /// The zone that others are compared with.
    pub against_zone: Option<String>,
    /// What could not be looked at, and why.
    pub left_out: Vec<String>,
    /// Whether any effect is told.
    pub verdict: Verdict,
    /// What that means, for people.
    pub sentence: String,
}

impl Effects {
    /// Looks at processors, zone, the hour and the weekend of the start, and at lives until the age of `until_h` (see [`until`]; infinite
    /// where the provider has no limit).
    ///
    /// # Errors
    /// Too little data, or nothing varies.
    pub fn of(lives: &[Life], until_h: f64, rounds: usize, seed: u64) -> Result<Self, Scarce> {
        let lives: Vec<Life> = lives.iter().map(|life| life.until(until_h)).collect();
        let interrupted = lives.iter().filter(|life| life.is_interrupted()).count();
        if interrupted < LEAST_EVENTS {
            return Err(Scarce(format!(
                "{interrupted} interruptions among {} machines are too few to say what makes lives shorter: {LEAST_EVENTS} are the least",
                lives.len()
            )));
        }
        let design = Design::of(&lives);
        let names: Vec<&str> = design.names.iter().map(String::as_str).collect();
        if names.is_empty() {
            return Err(Scarce(
                "all machines are of one kind, in one place, started at one time: nothing can be compared".to_owned(),
            ));
        }
        let mut model = Cox::fit(&names, &design.subjects)?;
        let mut left_out = design.left_out;
        let is_honest = model.clusters >= LEAST_BATCHES;
        if !is_honest {
            left_out.push(format!(
                "{} batches are too few for honest intervals: {LEAST_BATCHES} are the least",
                model.clusters
            ));
        } else if model.clusters <= MANY_BATCHES {
            model.bootstrap(&design.subjects, rounds, seed)?;
        }
        let told: Vec<String> = model.effects.iter().filter(|e| is_honest && e.p < LEVEL).map(told).collect();
        let verdict = if told.is_empty() { Verdict::NotShown } else { Verdict::Found };
        let basis =
            format!("{} interruptions of {} machines in {} batches", model.interrupted, model.machines, model.clusters);
        let sentence = match told.as_slice() {
            [] => format!("Nothing looked at makes lives shorter beyond what chance does ({basis})."),
            _ => format!("{} ({basis}).", told.join("; ")),
        };
        Ok(Self { model, against_zone: design.against_zone, left_out, verdict, sentence })
    }

    /// The lives as the model sees them: for its score on other lives than those it was fitted to. They must come from the same zones.
    #[must_use]
    pub fn subjects(lives: &[Life]) -> Vec<Subject> {
        Design::of(lives).subjects
    }
}

fn told(effect: &super::Effect) -> String {
    let (low, high) = effect.hazard_ratio_95;
    format!("{}: interrupted {:.2} times as often, {low:.2} to {high:.2}", effect.name, effect.hazard_ratio)
}

/// Numbers of processors by the name of the type: the number in a name of GCP's or Azure's, the size in one of AWS's or Alibaba's
/// (`large` is 2, `xlarge` 4, `4xlarge` 16: their documents on instance types). None where the name does not say.
#[must_use]
pub fn processors(instance_type: &str) -> Option<f64> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0).map(f64::from);
    if let Some((_, size)) = instance_type.rsplit_once('.') {
        return match size.strip_suffix("xlarge") {
            Some("") => Some(4.0),
            Some(times) => number(times).map(|times| 4.0 * times),
            None => (size == "large").then_some(2.0),
        };
    }
    if let Some(rest) = instance_type.strip_prefix("Standard_") {
        let digits = rest.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        return number(&digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())]);
    }
    instance_type.rsplit_once('-').and_then(|(_, size)| number(size))
}

/// Lives with their covariates.
struct Design {
    names: Vec<String>,
    subjects: Vec<Subject>,
    against_zone: Option<String>,
    left_out: Vec<String>,
}

impl Design {
    fn of(lives: &[Life]) -> Self {
        let mut columns: Vec<(String, Vec<f64>)> = Vec::new();
        let mut left_out = Vec::new();
        let sizes: Vec<f64> =
            lives.iter().filter_map(|life| processors(&life.pool.instance_type)).map(f64::log2).collect();
        if sizes.len() == lives.len() {
            columns.push(("twice the processors".to_owned(), sizes));
        } else {
            let unknown = lives.len() - sizes.len();
            left_out.push(format!("processors: the names of {unknown} machines' types do not say how many they have"));
        }
        let (against_zone, zones) = zones(lives);
        columns.extend(zones);
        let turn = |life: &Life| TAU * calendar::hour(life.launched_s) / 24.0;
        columns.push((
            "started at 6 h rather than 18 h (half of it)".to_owned(),
            lives.iter().map(|l| turn(l).sin()).collect(),
        ));
        columns.push((
            "started at 0 h rather than 12 h (half of it)".to_owned(),
            lives.iter().map(|l| turn(l).cos()).collect(),
        ));
        let weekend = |life: &Life| f64::from(u8::from(calendar::weekday(life.launched_s) >= 5));
        columns.push(("started at a weekend".to_owned(), lives.iter().map(weekend).collect()));
        columns.retain(|(name, values)| {
            let varies = values.iter().any(|value| (value - values[0]).abs() > 1e-9);
            if !varies {
                left_out.push(format!("{name}: the same for every machine"));
            }
            varies
        });
        let clusters = batches::numbers(lives);
        let subject = |(at, life): (usize, &Life)| Subject {
            hours: life.lived_h,
            interrupted: life.is_interrupted(),
            covariates: columns.iter().map(|(_, values)| values[at]).collect(),
            cluster: clusters[at],
        };
        let subjects = lives.iter().enumerate().map(subject).collect();
        Self { names: columns.into_iter().map(|(name, _)| name).collect(), subjects, against_zone, left_out }
    }
}

/// An indicator for each zone with enough interruptions, and the zone they are compared with: the one with most machines.
fn zones(lives: &[Life]) -> (Option<String>, Vec<(String, Vec<f64>)>) {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for life in lives {
        let count = counts.entry(&life.pool.zone).or_default();
        count.0 += 1;
        count.1 += usize::from(life.is_interrupted());
    }
    let against = counts.iter().max_by_key(|(_, (machines, _))| *machines).map(|(zone, _)| *zone);
    let enough = counts.iter().filter(|(zone, (_, events))| Some(**zone) != against && *events >= LEAST_EVENTS);
    let column = |(zone, _): (&&str, &(usize, usize))| {
        let values = lives.iter().map(|life| f64::from(u8::from(life.pool.zone == *zone))).collect();
        (format!("zone {zone} rather than {}", against.unwrap_or_default()), values)
    };
    (against.map(str::to_owned), enough.map(column).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn types_say_how_many_processors_they_have_or_nothing() {
        for (name, count) in [("m5.large", 2.0), ("m5.xlarge", 4.0), ("p3.16xlarge", 64.0), ("ecs.g7.2xlarge", 8.0)] {
            assert_eq!(processors(name), Some(count), "{name}");
        }
        assert_eq!(processors("n1-highcpu-32"), Some(32.0));
        assert_eq!(processors("Standard_D4s_v5"), Some(4.0));
        assert_eq!(processors("Standard_NC24ads_A100_v4"), Some(24.0));
        for name in ["t3.micro", "m5.metal", "e2-medium", "Standard_", "", "x-0", "Standard_é4"] {
            assert_eq!(processors(name), None, "{name}");
        }
    }

    fn lives(count: u64, ratio: f64) -> Vec<Life> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let one = |at: u64| {
            let busy = at % 2 == 1;
            let rate = if busy { 0.1 * ratio } else { 0.1 };
            let hours = -random.random::<f64>().ln() / rate;
            Life {
                pool: Pool {
                    zone: (if busy { "b" } else { "a" }).to_owned(),
                    instance_type: "m5.large".to_owned(),
                    ..Pool::default()
                },
                launched_s: 1e9 + 5_000.0 * at as f64,
                lived_h: hours.min(20.0),
                outcome: if hours < 20.0 { Outcome::Interrupted } else { Outcome::Stopped },
                batch: Some(at / 4),
            }
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn a_zone_that_takes_machines_back_sooner_is_told_with_its_interval() {
        let effects = Effects::of(&lives(600, 2.0), f64::INFINITY, 60, 1).expect("looked at");
        assert_eq!(effects.verdict, Verdict::Found);
        assert!(
            effects.sentence.contains("zone") && effects.sentence.contains("600 machines in 150 batches"),
            "{}",
            effects.sentence
        );
        assert!(effects.left_out.iter().any(|text| text.starts_with("twice the processors")), "{:?}", effects.left_out);
        let none = Effects::of(&lives(600, 1.0), 15.0, 60, 1).expect("looked at");
        assert_eq!(none.verdict, Verdict::NotShown, "{}", none.sentence);
    }

    #[test]
    fn too_few_interruptions_or_one_kind_of_machine_are_told() {
        assert!(Effects::of(&lives(5, 1.0), 20.0, 10, 1).expect_err("scarce").0.contains("too few"));
        let same: Vec<Life> =
            lives(60, 1.0).into_iter().map(|life| Life { launched_s: 0.0, pool: Pool::default(), ..life }).collect();
        assert!(Effects::of(&same, 20.0, 10, 1).expect_err("scarce").0.contains("nothing can be compared"));
    }
}
