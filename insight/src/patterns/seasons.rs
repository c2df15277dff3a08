//! Hours of the day and days of the week at which machines are interrupted more often: what is left of them when the age of machines,
//! their batches and the number of looks are taken into account.
//!
//! Inputs: lives and a seed. Outputs: one [`Season`] for each look, and a sentence on all. Must never report a pattern by its plain
//! rates: on the public lives of GCP the plain rate is 2.4 times as high by day, nearly all of it because machines are started by
//! day and young machines are interrupted more often.
//!
//! A pattern is reported where both hold: (1) with the hazard of each age taken out, so large a deviation is seldom (adjusted p
//! below .01 over all looks) when the clock of every batch is turned by a random amount, which leaves batches and ages as they are;
//! (2) the hours make the log-loss of held-out batches better, by more than chance does (its 95 % interval over batches is above 0).
//! Interruptions are taken as a Poisson process here: its log-loss is what that of "interrupted within the next hour" becomes for
//! short hours.

use super::exposure::by_batch;
use super::profiles::{Halves, Profiles, held_out_gain};
use super::{Cycle, Verdict, benjamini_hochberg};
use crate::{Level, Life, Pool, Scarce};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Interruptions below which a pool's hours are not looked at.
pub const LEAST_EVENTS: u64 = 30;
/// Batches below which turning their clocks does not say much.
pub const LEAST_BATCHES: usize = 20;
/// The p-value below which a pattern may be told, over all looks.
pub const LEVEL: f64 = 0.01;

/// How to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How often the clocks of batches are turned: p-values are no smaller than one by it.
    pub rounds: usize,
    /// For what is drawn.
    pub seed: u64,
    /// Machines are looked at until this age, hours: see [`until`].
    pub until_h: f64,
    /// What is added to UTC, hours.
    pub utc_offset_h: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 2_000, seed: 0, until_h: f64::INFINITY, utc_offset_h: 0.0 }
    }
}

impl Options {
    /// A life as it is looked at.
    fn seen(&self, life: &Life) -> Life {
        Life { launched_s: life.launched_s + self.utc_offset_h * 3_600.0, ..life.until(self.until_h) }
    }
}

/// What is known of one part of the cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// `06-12 h`, `Mon`.
    pub name: String,
    /// Hours that machines ran there.
    pub exposure_h: f64,
    /// How many were interrupted.
    pub interrupted: u64,
    /// How many would have been by the ages of the machines alone.
    pub expected: f64,
    /// One by the other.
    pub ratio: f64,
    /// 95 % interval of that, as if machines were on their own: batches make the true one wider.
    pub ratio_95: (f64, f64),
}

/// One look at one cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Season {
    /// What was looked for.
    pub cycle: Cycle,
    /// Whose hours these are: `UTC`, `UTC-8 h`.
    pub clock: String,
    /// Among which machines: a pool at `level`.
    pub among: Pool,
    /// How wide that is.
    pub level: Level,
    /// Interruptions.
    pub interrupted: u64,
    /// Machines.
    pub machines: u64,
    /// Batches.
    pub batches: u64,
    /// The parts of the cycle.
    pub parts: Vec<Part>,
    /// The plain rate in the busier half of the cycle (12 hours in a row; the weekend) by that in the other half. Not to be believed.
    pub naive_ratio: f64,
    /// The p-value of equal plain rates, as if machines were on their own. Not to be believed.
    pub naive_p: f64,
    /// The ratio of the same halves where ages and halves are fitted together: a Poisson regression.
    pub adjusted_ratio: f64,
    /// Pearson's chi-square of interrupted against expected, over `parts`.
    pub chi_square: f64,
    /// How seldom interruptions are so far from what ages explain when the clocks of batches are turned: by `chi_square`, or,
    /// where hours are counted six together, by the first harmonic of the difference, which does not ask where the day begins.
    pub p: f64,
    /// `p` in the light of all looks (Benjamini and Hochberg).
    pub p_all_looks: f64,
    /// How much better the hours make the log-loss of held-out batches, per 1,000 machine-hours.
    pub gain: f64,
    /// 95 % interval of `gain`, over batches.
    pub gain_95: (f64, f64),
    /// Whether it is reported.
    pub verdict: Verdict,
    /// What that means, for people.
    pub sentence: String,
}

/// All looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seasons {
    /// Each of them.
    pub looks: Vec<Season>,
    /// Whether any is reported.
    pub verdict: Verdict,
    /// What that means, for people.
    pub sentence: String,
}

impl Seasons {
    /// Looks at the hours of the day and the days of the week, among all machines and in each provider's families and regions that have
    /// enough.
    ///
    /// # Errors
    /// No group of machines has enough interruptions in enough batches.
    pub fn of(lives: &[Life], options: &Options) -> Result<Self, Scarce> {
        let mut looks = Vec::new();
        let mut scarce = None;
        for (level, among, members) in groups(lives) {
            for cycle in [Cycle::HourOfDay, Cycle::DayOfWeek] {
                match Season::of(&members, cycle, options) {
                    Ok(season) => looks.push(Season { level, among: among.clone(), ..season }),
                    // The first is the widest: what it lacks is said.
                    Err(error) => scarce = scarce.or(Some(error)),
                }
            }
        }
        if looks.is_empty() {
            return Err(scarce.unwrap_or_else(|| {
                Scarce("no machine has been seen yet: hours are looked at when there are lives".to_owned())
            }));
        }
        let adjusted = benjamini_hochberg(&looks.iter().map(|look| look.p).collect::<Vec<f64>>());
        for (look, p) in looks.iter_mut().zip(adjusted) {
            look.judge(p);
        }
        let found: Vec<&str> =
            looks.iter().filter(|look| look.verdict == Verdict::Found).map(|look| look.sentence.as_str()).collect();
        let (verdict, sentence) = match found.as_slice() {
            [] => (
                Verdict::NotShown,
                format!("No hour of the day and no day of the week stands out ({} looks).", looks.len()),
            ),
            _ => (Verdict::Found, found.join(" ")),
        };
        Ok(Self { looks, verdict, sentence })
    }
}

/// Groups of machines from the widest to the closest; one with the same machines as a wider one is left out.
fn groups(lives: &[Life]) -> Vec<(Level, Pool, Vec<&Life>)> {
    let mut all: Vec<(Level, Pool, Vec<&Life>)> = Vec::new();
    for level in [Level::Everything, Level::Provider, Level::FamilyInRegion] {
        let mut members: BTreeMap<Pool, Vec<&Life>> = BTreeMap::new();
        for life in lives {
            members.entry(life.pool.at(level)).or_default().push(life);
        }
        for (pool, members) in members {
            let is_new = !all.iter().any(|(_, _, wider)| {
                wider.len() == members.len() && wider.iter().zip(&members).all(|(a, b)| std::ptr::eq(*a, *b))
            });
            if is_new {
                all.push((level, pool, members));
            }
        }
    }
    all
}

impl Season {
    /// Looks at one cycle among these machines, as if it were the only look.
    ///
    /// # Errors
    /// Too few interruptions or batches.
    pub fn of(lives: &[&Life], cycle: Cycle, options: &Options) -> Result<Self, Scarce> {
        let Options { rounds, seed, .. } = *options;
        let seen: Vec<Life> = lives.iter().map(|life| options.seen(life)).collect();
        let interrupted = seen.iter().filter(|life| life.is_interrupted()).count() as u64;
        let batches = by_batch(&seen, cycle)?;
        if interrupted < LEAST_EVENTS || batches.len() < LEAST_BATCHES {
            return Err(Scarce(format!(
                "{interrupted} interruptions in {} batches are too few to look for hours and weekdays: {LEAST_EVENTS} in {LEAST_BATCHES} \
                 batches are the least",
                batches.len()
            )));
        }
        let profiles = Profiles::of(&batches, cycle, interrupted);
        let total = profiles.sum();
        let chi_square = profiles.chi_square(&total);
        let halves = Halves::of(&batches, cycle);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let parts = cycle.parts();
        let deviation = profiles.deviation(|_| 0);
        let reached = (0..rounds).filter(|_| profiles.deviation(|_| random.random_range(0..parts)) >= deviation);
        #[allow(clippy::cast_precision_loss, reason = "rounds are few")]
        let p = (1 + reached.count()) as f64 / (1 + rounds) as f64;
        let (gain, gain_95) = held_out_gain(&batches, cycle, &mut random);
        let mut season = Self {
            cycle,
            clock: match options.utc_offset_h {
                0.0 => "UTC".to_owned(),
                offset => format!("UTC{offset:+} h"),
            },
            among: Pool::default(),
            level: Level::Everything,
            interrupted,
            machines: lives.len() as u64,
            batches: batches.len() as u64,
            parts: profiles.parts(&total),
            naive_ratio: halves.naive,
            naive_p: profiles.naive_p(&total),
            adjusted_ratio: halves.adjusted,
            chi_square,
            p,
            p_all_looks: p,
            gain,
            gain_95,
            verdict: Verdict::NotShown,
            sentence: String::new(),
        };
        season.judge(p);
        Ok(season)
    }

    /// Decides, where this is the p-value in the light of all looks.
    fn judge(&mut self, p_all_looks: f64) {
        self.p_all_looks = p_all_looks;
        let is_seldom = p_all_looks < LEVEL;
        let is_better = self.gain_95.0 > 0.0;
        self.verdict = if is_seldom && is_better { Verdict::Found } else { Verdict::NotShown };
        let (what, half) = match self.cycle {
            Cycle::HourOfDay => (format!("hour of the day ({})", self.clock), "in the busier half of the day"),
            Cycle::DayOfWeek => (format!("day of the week ({})", self.clock), "at weekends"),
        };
        let place = self.place();
        let (naive, adjusted, p) = (self.naive_ratio, self.adjusted_ratio, self.p_all_looks);
        let age = format!(
            "the plain rate {half} is {naive:.1} times the other; with the age of machines taken out {adjusted:.2} times"
        );
        self.sentence = match (is_seldom, is_better) {
            (true, true) => format!(
                "Interruptions {place} go by the {what}: {} ({age}; p {p:.4} with whole batches turned, and held-out lives are predicted \
                 better by {:.2} per 1,000 h).",
                self.extremes(),
                self.gain
            ),
            (true, false) => format!(
                "The {what} {place} leaves a trace (p {p:.4}) that does not help to predict held-out lives, so do not plan by it: {age}."
            ),
            (false, _) => format!("The {what} {place} shows nothing beyond chance (p {p:.3}): {age}."),
        };
    }

    fn place(&self) -> String {
        let Pool { provider, region, instance_type, .. } = &self.among;
        let words: Vec<&str> =
            [provider, region, instance_type].into_iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        if words.is_empty() { "among all machines".to_owned() } else { format!("among {}", words.join(" ")) }
    }

    /// The parts with the highest and the lowest ratio.
    fn extremes(&self) -> String {
        let by_ratio = |a: &&Part, b: &&Part| a.ratio.total_cmp(&b.ratio);
        let told = |part: &Part| {
            format!(
                "{} {:.2} times what ages explain ({:.2} to {:.2})",
                part.name, part.ratio, part.ratio_95.0, part.ratio_95.1
            )
        };
        let seen = || self.parts.iter().filter(|part| part.expected > 0.0);
        match (seen().max_by(by_ratio), seen().min_by(by_ratio)) {
            (Some(most), Some(least)) => format!("most at {}, least at {}", told(most), told(least)),
            _ => String::new(),
        }
    }
}
