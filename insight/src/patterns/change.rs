//! Whether a rate has changed: an alarm that adds up what is too much ([`Cusum`]), and how long the present rate has lasted
//! ([`RunLengths`], [`Changes`]).
//!
//! Inputs: counts with the hours in which they were counted. Outputs: alarms, probabilities, moments of change with the rates before and
//! after. Must never take few machines for a quiet time: all rates are by hours that machines ran.
//!
//! Sources: Page's cumulative sum for Poisson counts (Lucas, Technometrics 27, 1985); Adams and MacKay, "Bayesian Online Changepoint
//! Detection" (2007), with Gamma-Poisson counts. How seldom the sum alarms without a change, and how soon with one, is simulated in the
//! tests below.

use super::{Rate, Verdict};
use crate::Scarce;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Discrete, NegativeBinomial};

/// How long a rate lasts on average before it changes, hours: a month.
const LASTS_H: f64 = 720.0;
/// A rate that has lasted shorter than this is new, hours.
const NEW_H: f64 = 24.0;
/// How many interruptions what is known before the first one weighs.
const PRIOR_EVENTS: f64 = 1.0;
/// Shares of probability below which a start of the present rate is no longer followed.
const NEGLIGIBLE: f64 = 1e-6;
/// How many starts of the present rate are followed at most: a year of hours takes a second then.
const MOST_RUNS: usize = 300;
/// The least data in which a change is looked for.
const LEAST_EVENTS: u64 = 10;
const LEAST_EXPOSURE_H: f64 = 200.0;
const LEAST_SPAN_H: f64 = 72.0;

/// An alarm for a rate that has gone up: sums up by how much counts exceed what lies between the quiet and the busy rate.
///
/// With hourly counts of one machine, from .05 to .15 an hour with a threshold of 3, it alarms once in 939 hours where nothing
/// changed and 43 hours after a change; from .1 to .3 with 4 once in 1,490 and after 30; from .5 to 1 with 6 once in 809 and after
/// 19.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cusum {
    /// What has been summed up, interruptions.
    pub sum: f64,
    /// What is taken off for each hour of exposure.
    pub allowance: f64,
    /// The alarm is where the sum reaches this.
    pub threshold: f64,
}

impl Cusum {
    /// Watches for a rate that goes from `quiet` to `busy` per hour.
    ///
    /// # Errors
    /// The rates are not above 0 and in this order, or the threshold is not above 0.
    pub fn new(quiet: f64, busy: f64, threshold: f64) -> Result<Self, Scarce> {
        if !(quiet > 0.0 && busy > quiet && busy.is_finite() && threshold > 0.0) {
            return Err(Scarce(format!(
                "an alarm needs a quiet rate above 0, a higher one and a threshold, not {quiet}, {busy}, {threshold}"
            )));
        }
        Ok(Self { sum: 0.0, allowance: (busy - quiet) / (busy / quiet).ln(), threshold })
    }

    /// Counts `events` in `exposure_h` machine-hours; true is the alarm. The sum stays as it is until it is reset by a new one.
    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub fn count(&mut self, events: u64, exposure_h: f64) -> bool {
        self.sum = (self.sum + events as f64 - self.allowance * exposure_h.max(0.0)).max(0.0);
        self.sum >= self.threshold
    }
}

/// How long the present rate has lasted: a probability for each moment at which it may have begun.
#[derive(Clone, Debug)]
pub struct RunLengths {
    prior: (f64, f64),
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    share: f64,
    lasted_h: f64,
    /// The Gamma distribution of its rate.
    events: f64,
    exposure_h: f64,
}

impl RunLengths {
    /// Knows nothing but that rates are about `rate` per hour.
    ///
    /// # Errors
    /// The rate is not above 0.
    pub fn new(rate: f64) -> Result<Self, Scarce> {
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(Scarce(format!("a change cannot be seen from a rate of {rate} interruptions an hour")));
        }
        let prior = (PRIOR_EVENTS, PRIOR_EVENTS / rate);
        Ok(Self { prior, runs: vec![Run { share: 1.0, lasted_h: 0.0, events: prior.0, exposure_h: prior.1 }] })
    }

    /// Counts `events` in `exposure_h` machine-hours during the next `hours`.
    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    pub fn count(&mut self, events: u64, exposure_h: f64, hours: f64) {
        if !(hours > 0.0 && exposure_h >= 0.0 && hours.is_finite() && exposure_h.is_finite()) {
            return;
        }
        let changes = 1.0 - (-hours / LASTS_H).exp();
        let mut fresh = 0.0;
        for run in &mut self.runs {
            let seen = run.share * likelihood(run, events, exposure_h);
            fresh += seen * changes;
            run.share = seen * (1.0 - changes);
            run.lasted_h += hours;
            run.events += events as f64;
            run.exposure_h += exposure_h;
        }
        self.runs.push(Run { share: fresh, lasted_h: 0.0, events: self.prior.0, exposure_h: self.prior.1 });
        let total: f64 = self.runs.iter().map(|run| run.share).sum();
        if total.is_nan() || total <= 0.0 {
            // Nothing explains such a count: what there was before is over.
            self.runs = vec![Run { share: 1.0, lasted_h: 0.0, events: self.prior.0, exposure_h: self.prior.1 }];
            return;
        }
        self.runs.iter_mut().for_each(|run| run.share /= total);
        self.runs.retain(|run| run.share > NEGLIGIBLE);
        if self.runs.len() > MOST_RUNS {
            let least = self.runs.iter().enumerate().min_by(|a, b| a.1.share.total_cmp(&b.1.share)).map(|(at, _)| at);
            least.map(|at| self.runs.remove(at));
        }
    }

    /// The probability that the present rate has lasted less than `hours`.
    #[must_use]
    pub fn newer_than(&self, hours: f64) -> f64 {
        self.runs.iter().filter(|run| run.lasted_h < hours).map(|run| run.share).sum::<f64>().min(1.0)
    }

    /// How long the present rate has most likely lasted if it has lasted less than `below_h`, hours.
    #[must_use]
    pub fn likely_h(&self, below_h: f64) -> f64 {
        let new = self.runs.iter().filter(|run| run.lasted_h < below_h);
        new.max_by(|a, b| a.share.total_cmp(&b.share)).map_or(0.0, |run| run.lasted_h)
    }
}

/// How likely such a count is in a run: a negative binomial distribution, the rate being known by its Gamma distribution only.
fn likelihood(run: &Run, events: u64, exposure_h: f64) -> f64 {
    if exposure_h <= 0.0 {
        return 1.0;
    }
    NegativeBinomial::new(run.events, run.exposure_h / (run.exposure_h + exposure_h))
        .map_or(1.0, |counts| counts.pmf(events))
}

/// Interruptions in one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// Its start, seconds since 1970, UTC.
    pub start_s: f64,
    /// Its length, hours.
    pub hours: f64,
    /// Hours that machines ran in it, all together.
    pub exposure_h: f64,
    /// Interruptions in it.
    pub events: u64,
}

/// A moment at which the rate became another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// When it most likely was, seconds since 1970, UTC.
    pub at_s: f64,
    /// When that could be known, seconds since 1970, UTC.
    pub known_s: f64,
    /// The probability, when it could be known, that there was a change within the day before.
    pub probability: f64,
    /// Since the change before it, or the beginning.
    pub before: Rate,
    /// Until the next one, or the end.
    pub after: Rate,
}

/// All changes of a rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// In their order.
    pub changes: Vec<ChangePoint>,
    /// Over all of the time.
    pub overall: Rate,
    /// Whether there are any.
    pub verdict: Verdict,
    /// What that means, for people.
    pub sentence: String,
}

impl Changes {
    /// Goes through the counts, which are in the order of time, and notes where it becomes more likely than not that the rate is
    /// less than a day old.
    ///
    /// # Errors
    /// Too few interruptions, hours or days.
    pub fn of(counts: &[Count]) -> Result<Self, Scarce> {
        let sane = |count: &&Count| {
            count.hours > 0.0 && count.exposure_h >= 0.0 && count.exposure_h.is_finite() && count.start_s.is_finite()
        };
        let counts: Vec<Count> = counts.iter().filter(sane).copied().collect();
        let total = rate(&counts);
        let span_h: f64 = counts.iter().map(|count| count.hours).sum();
        let overall = match total {
            Ok(rate) if rate.events >= LEAST_EVENTS && rate.hours >= LEAST_EXPOSURE_H && span_h >= LEAST_SPAN_H => rate,
            _ => {
                let events = sum(&counts);
                return Err(Scarce(format!(
                    "{events} interruptions in {span_h:.0} hours are too few to see a rate change: {LEAST_EVENTS} in {LEAST_EXPOSURE_H} \
                     machine-hours over {LEAST_SPAN_H} hours are the least"
                )));
            }
        };
        let found = moments(&counts, overall.per_hour)?;
        let mut changes = Vec::new();
        for (at, (from, known, probability)) in found.iter().enumerate() {
            let begin = if at == 0 { 0 } else { found[at - 1].0 };
            let end = found.get(at + 1).map_or(counts.len(), |next| next.0);
            if let (Ok(before), Ok(after)) = (rate(&counts[begin..*from]), rate(&counts[*from..end])) {
                let (at_s, known_s) = (counts[*from].start_s, counts[*known].start_s + counts[*known].hours * 3_600.0);
                changes.push(ChangePoint { at_s, known_s, probability: *probability, before, after });
            }
        }
        let verdict = if changes.is_empty() { Verdict::NotShown } else { Verdict::Found };
        let sentence = match changes.last() {
            None => format!(
                "The rate has not changed: {} an hour all along ({} interruptions).",
                figure(overall.per_hour),
                overall.events
            ),
            Some(last) => format!(
                "The rate changed {}: at last from {} to {} an hour ({} to {}).",
                if changes.len() == 1 { "once".to_owned() } else { format!("{} times", changes.len()) },
                figure(last.before.per_hour),
                figure(last.after.per_hour),
                figure(last.after.per_hour_95.0),
                figure(last.after.per_hour_95.1)
            ),
        };
        Ok(Self { changes, overall, verdict, sentence })
    }
}

fn figure(rate: f64) -> String {
    format!("{rate:.3}")
}

fn sum(counts: &[Count]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(count.events))
}

fn rate(counts: &[Count]) -> Result<Rate, Scarce> {
    Rate::of(sum(counts), counts.iter().map(|count| count.exposure_h).sum())
}

/// Where the rate changed, where that could be known, and how likely it was then.
fn moments(counts: &[Count], rate: f64) -> Result<Vec<(usize, usize, f64)>, Scarce> {
    let mut lengths = RunLengths::new(rate)?;
    let (mut found, mut elapsed_h, mut is_new) = (Vec::<(usize, usize, f64)>::new(), 0.0, false);
    for (at, count) in counts.iter().enumerate() {
        lengths.count(count.events, count.exposure_h, count.hours);
        elapsed_h += count.hours;
        let probability = lengths.newer_than(NEW_H);
        // In the first day every rate is new.
        let is_newer = elapsed_h > 2.0 * NEW_H && probability > 0.5;
        if is_newer && !is_new {
            let (mut from, mut left_h) = (at + 1, lengths.likely_h(NEW_H));
            while from > 1 && left_h > 1e-9 {
                from -= 1;
                left_h -= counts[from].hours;
            }
            let from = from.min(at).max(found.last().map_or(1, |last| last.0 + 1));
            if from <= at {
                found.push((from, at, probability));
            }
        }
        is_new = is_newer;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    /// One draw, by the times between events.
    fn poisson(mean: f64, random: &mut Xoshiro256PlusPlus) -> u64 {
        let (mut events, mut left) = (0, mean);
        loop {
            left += random.random::<f64>().max(f64::MIN_POSITIVE).ln();
            if left < 0.0 {
                return events;
            }
            events += 1;
        }
    }

    /// Mean hours until the alarm at this rate.
    fn hours_until_alarm(watch: (f64, f64, f64), rate: f64, runs: u32) -> f64 {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(17);
        let mut hours = 0_u32;
        for _ in 0..runs {
            let mut cusum = Cusum::new(watch.0, watch.1, watch.2).expect("rates");
            loop {
                hours += 1;
                if cusum.count(poisson(rate, &mut random), 1.0) {
                    break;
                }
            }
        }
        f64::from(hours) / f64::from(runs)
    }

    #[test]
    fn the_sum_alarms_as_seldom_without_a_change_and_as_soon_with_one_as_is_said() {
        for (watch, quiet_h, delay_h) in
            [((0.05, 0.15, 3.0), 939.0, 43.0), ((0.1, 0.3, 4.0), 1_490.0, 30.0), ((0.5, 1.0, 6.0), 809.0, 19.0)]
        {
            let (quiet, delay) = (hours_until_alarm(watch, watch.0, 1_500), hours_until_alarm(watch, watch.1, 1_500));
            // Three standard errors of 1,500 runs are 8 %.
            assert!((quiet / quiet_h - 1.0).abs() < 0.1, "{watch:?}: {quiet} h without a change");
            assert!((delay / delay_h - 1.0).abs() < 0.1, "{watch:?}: {delay} h after one");
        }
    }

    fn counts(rates: impl Iterator<Item = f64>, seed: u64) -> Vec<Count> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut start_s = 1e9;
        let one = |rate: f64| {
            start_s += 3_600.0;
            Count { start_s, hours: 1.0, exposure_h: 10.0, events: poisson(rate, &mut random) }
        };
        rates.map(one).collect()
    }

    #[test]
    fn a_rate_that_stays_is_left_alone_and_one_that_changes_is_told_within_a_day() {
        let hours = |count: usize, rate: f64| std::iter::repeat_n(rate, count);
        let mut alarms = 0;
        for seed in 0..12 {
            let still = Changes::of(&counts(hours(720, 0.3), seed)).expect("enough");
            alarms += usize::from(still.verdict == Verdict::Found);
            let changed = Changes::of(&counts(hours(400, 0.3).chain(hours(200, 1.5)), seed)).expect("enough");
            assert_eq!(changed.verdict, Verdict::Found, "{seed}");
            let near =
                changed.changes.iter().find(|change| (change.at_s - 1e9 - 400.0 * 3_600.0).abs() < 24.0 * 3_600.0);
            let change = near.unwrap_or_else(|| panic!("{seed}: {:?}", changed.changes));
            assert!(
                change.known_s - change.at_s < 30.0 * 3_600.0 && change.before.per_hour < change.after.per_hour,
                "{change:?}"
            );
        }
        assert!(alarms <= 2, "{alarms} of 12 months without a change");
    }

    #[test]
    fn hours_without_machines_are_no_quiet_hours() {
        let mut counts = counts(std::iter::repeat_n(0.5, 400), 2);
        counts.extend((0..100).map(|hour| Count {
            start_s: 1e9 + 3_600.0 * f64::from(401 + hour),
            hours: 1.0,
            exposure_h: 0.0,
            events: 0,
        }));
        let found = Changes::of(&counts).expect("enough");
        assert_eq!(found.verdict, Verdict::NotShown, "{}", found.sentence);
    }

    #[test]
    fn too_little_and_impossible_numbers_are_told() {
        assert!(Changes::of(&[]).expect_err("scarce").0.contains("too few"));
        assert!(Changes::of(&counts(std::iter::repeat_n(0.0, 400), 1)).is_err());
        let broken = Count { start_s: f64::NAN, hours: f64::NAN, exposure_h: f64::NAN, events: 9 };
        assert!(Changes::of(&[broken; 50]).is_err());
        for (quiet, busy, threshold) in [(0.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, f64::NAN, 1.0), (1.0, 2.0, 0.0)] {
            assert!(Cusum::new(quiet, busy, threshold).is_err());
        }
        let mut lengths = RunLengths::new(0.1).expect("a rate");
        lengths.count(u64::MAX, 1.0, 1.0);
        lengths.count(1, f64::INFINITY, 1.0);
        assert!(lengths.newer_than(24.0).is_finite() && lengths.likely_h(f64::INFINITY).is_finite());
    }
}
