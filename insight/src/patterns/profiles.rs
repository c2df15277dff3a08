//! The numbers behind a look at a cycle: interrupted and expected by part, for clocks as they are and turned, and the held-out score.
//!
//! Inputs: exposure by batch. Outputs: sums, statistics, gains. Must never turn one machine of a batch without the others.

use super::Cycle;
use super::exposure::{AGES, Batch, Cell};
use super::rate::poisson_95;
use super::seasons::Part;
use crate::lifetimes::Z95;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Interruptions for each part of a cycle below which six hours are counted together.
const EVENTS_A_PART: usize = 5;
/// Parts into which batches are divided for the held-out score.
const FOLDS: usize = 5;

/// Interruptions, what ages explain of them, and hours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    observed: f64,
    expected: f64,
    hours: f64,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.observed += other.observed;
        self.expected += other.expected;
        self.hours += other.hours;
    }
}

/// One profile of the cycle for each batch.
pub(super) struct Profiles {
    cycle: Cycle,
    /// How many parts are counted together.
    width: usize,
    batches: Vec<Vec<Sum>>,
}

/// Interruptions by the hour at each age, as these batches have them.
struct Hazards([f64; AGES]);

impl Hazards {
    fn of<'b>(batches: impl Iterator<Item = &'b Batch>) -> Self {
        let mut sums = [Cell::default(); AGES];
        for ((age, _), cell) in batches.flat_map(|batch| &batch.cells) {
            if let Some(sum) = sums.get_mut(*age) {
                sum.hours += cell.hours;
                sum.events += cell.events;
            }
        }
        Self(sums.map(|sum| if sum.hours > 0.0 { f64::from(sum.events) / sum.hours } else { 0.0 }))
    }

    /// For ages that held-out machines may reach without anything seen there: half an event at the mean rate.
    fn smoothed<'b>(batches: impl Iterator<Item = &'b Batch> + Clone) -> Self {
        let cells = || batches.clone().flat_map(|batch| &batch.cells);
        let events: f64 = cells().map(|(_, cell)| f64::from(cell.events)).sum();
        let hours: f64 = cells().map(|(_, cell)| cell.hours).sum();
        let mean = (events + 0.5) / hours.max(f64::MIN_POSITIVE);
        let mut sums = [(0.5, 0.5 / mean); AGES];
        for ((age, _), cell) in cells() {
            if let Some(sum) = sums.get_mut(*age) {
                sum.0 += f64::from(cell.events);
                sum.1 += cell.hours;
            }
        }
        Self(sums.map(|(events, hours)| events / hours))
    }

    fn at(&self, age: usize) -> f64 {
        self.0.get(age).copied().unwrap_or_default()
    }

    fn profile(&self, batch: &Batch, cycle: Cycle) -> Vec<Sum> {
        let mut profile = vec![Sum::default(); cycle.parts()];
        for ((age, part), cell) in &batch.cells {
            if let Some(sum) = profile.get_mut(*part) {
                let expected = self.at(*age) * cell.hours;
                sum.add(&Sum { observed: f64::from(cell.events), expected, hours: cell.hours });
            }
        }
        profile
    }
}

/// How many parts are counted together, where so many were interrupted.
fn width(cycle: Cycle, interrupted: usize) -> usize {
    if cycle == Cycle::HourOfDay && interrupted < EVENTS_A_PART * cycle.parts() { 6 } else { 1 }
}

impl Profiles {
    pub(super) fn of(batches: &[Batch], cycle: Cycle, interrupted: u64) -> Self {
        let hazards = Hazards::of(batches.iter());
        let width = width(cycle, usize::try_from(interrupted).unwrap_or(usize::MAX));
        Self { cycle, width, batches: batches.iter().map(|batch| hazards.profile(batch, cycle)).collect() }
    }

    /// All batches together, each turned by as many parts as `turn` says.
    pub(super) fn sum(&self, mut turn: impl FnMut(usize) -> usize) -> Vec<Sum> {
        let parts = self.cycle.parts();
        let mut total = vec![Sum::default(); parts];
        for (number, profile) in self.batches.iter().enumerate() {
            let (back, front) = profile.split_at(parts - turn(number) % parts);
            for (sum, one) in total.iter_mut().zip(front.iter().chain(back)) {
                sum.add(one);
            }
        }
        grouped(&total, self.width)
    }

    pub(super) fn chi_square(&self, total: &[Sum]) -> f64 {
        chi_square(total)
    }

    /// As if rates were equal and machines on their own.
    pub(super) fn naive_p(&self, total: &[Sum]) -> f64 {
        let all = whole(total.iter());
        let plain = total.iter().map(|sum| Sum { expected: all.observed * sum.hours / all.hours, ..*sum });
        let plain: Vec<Sum> = plain.filter(|sum| sum.hours > 0.0).collect();
        #[allow(clippy::cast_precision_loss, reason = "24 at most")]
        let freedom = plain.len().saturating_sub(1) as f64;
        ChiSquared::new(freedom).map_or(1.0, |distribution| distribution.sf(chi_square(&plain)))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of counts")]
    pub(super) fn parts(&self, total: &[Sum]) -> Vec<Part> {
        let part = |(at, sum): (usize, &Sum)| {
            let (low, high) = poisson_95(sum.observed as u64);
            let by = |count: f64| if sum.expected > 0.0 { count / sum.expected } else { 1.0 };
            // Where nothing can be expected, nothing is known: any ratio fits.
            let ratio_95 = if sum.expected > 0.0 { (by(low), by(high)) } else { (0.0, f64::MAX) };
            Part {
                name: self.name(at),
                exposure_h: sum.hours,
                interrupted: sum.observed as u64,
                expected: sum.expected,
                ratio: by(sum.observed),
                ratio_95,
            }
        };
        total.iter().enumerate().map(part).collect()
    }

    fn name(&self, at: usize) -> String {
        match self.cycle {
            Cycle::HourOfDay => format!("{:02}-{:02} h UTC", at * self.width, (at + 1) * self.width),
            Cycle::DayOfWeek => ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"]
                .get(at)
                .copied()
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

fn grouped(total: &[Sum], width: usize) -> Vec<Sum> {
    total.chunks(width.max(1)).map(|group| whole(group.iter())).collect()
}

fn whole<'s>(sums: impl Iterator<Item = &'s Sum>) -> Sum {
    sums.fold(Sum::default(), |mut all, one| {
        all.add(one);
        all
    })
}

fn chi_square(sums: &[Sum]) -> f64 {
    sums.iter().filter(|sum| sum.expected > 0.0).map(|sum| (sum.observed - sum.expected).powi(2) / sum.expected).sum()
}

/// The busier half of a cycle beside the other.
pub(super) struct Halves {
    pub(super) naive: f64,
    pub(super) adjusted: f64,
}

impl Halves {
    /// Of a day those twelve hours in a row with the highest plain rate, of a week the weekend. Half an interruption is added to each half,
    /// so that there is a ratio where one had none.
    pub(super) fn of(cycle: Cycle, profiles: &Profiles, total: &[Sum]) -> Self {
        let split = |from: usize| {
            let count = total.len();
            let is_in = |at: usize| match cycle {
                Cycle::HourOfDay => (at + count - from) % count < count / 2,
                Cycle::DayOfWeek => at >= 5,
            };
            let half = |wanted: bool| {
                whole(total.iter().enumerate().filter(|(at, _)| is_in(*at) == wanted).map(|(_, sum)| sum))
            };
            (half(true), half(false))
        };
        let ratio = |of: fn(&Sum) -> f64, halves: &(Sum, Sum)| {
            let (inside, outside) = (of(&halves.0), of(&halves.1));
            let is_known = inside > 0.0 && outside > 0.0;
            if is_known { (halves.0.observed + 0.5) / inside / ((halves.1.observed + 0.5) / outside) } else { 1.0 }
        };
        let starts = if cycle == Cycle::HourOfDay { profiles.cycle.parts() / profiles.width } else { 1 };
        let naive = |halves: &(Sum, Sum)| ratio(|sum| sum.hours, halves);
        let halves = (0..starts).map(split).max_by(|a, b| naive(a).total_cmp(&naive(b))).unwrap_or_default();
        Self { naive: naive(&halves), adjusted: ratio(|sum| sum.expected, &halves) }
    }
}

/// How much better the log-loss of held-out batches is with the cycle than without, per 1,000 machine-hours, and its 95 % interval over
/// batches. Ratios of parts are shrunk towards 1 by as much as their spread beyond chance asks for (DerSimonian and Laird's moments).
#[allow(clippy::cast_precision_loss, reason = "batches are few")]
pub(super) fn held_out_gain(batches: &[Batch], cycle: Cycle, random: &mut Xoshiro256PlusPlus) -> (f64, (f64, f64)) {
    let mut order: Vec<usize> = (0..batches.len()).collect();
    order.shuffle(random);
    let mut gains = Vec::with_capacity(batches.len());
    let mut hours = 0.0;
    for fold in 0..FOLDS {
        let is_held_out = |place: &usize| place % FOLDS == fold;
        let train = order.iter().enumerate().filter(|(place, _)| !is_held_out(place)).map(|(_, at)| &batches[*at]);
        let hazards = Hazards::smoothed(train.clone());
        let interrupted: usize =
            train.clone().flat_map(|batch| batch.cells.values()).map(|cell| cell.events as usize).sum();
        let width = width(cycle, interrupted);
        let mut total = vec![Sum::default(); cycle.parts()];
        for batch in train {
            total.iter_mut().zip(hazards.profile(batch, cycle)).for_each(|(sum, one)| sum.add(&one));
        }
        let ratios = shrunk(&grouped(&total, width));
        for (_, at) in order.iter().enumerate().filter(|(place, _)| is_held_out(place)) {
            let profile = grouped(&hazards.profile(&batches[*at], cycle), width);
            hours += profile.iter().map(|sum| sum.hours).sum::<f64>();
            gains.push(
                profile
                    .iter()
                    .zip(&ratios)
                    .map(|(sum, m)| sum.observed * m.ln() - (m - 1.0) * sum.expected)
                    .sum::<f64>(),
            );
        }
    }
    let (count, gain) = (gains.len() as f64, gains.iter().sum::<f64>());
    let squares: f64 = gains.iter().map(|one| (one - gain / count).powi(2)).sum();
    let half = Z95 * (count / (count - 1.0).max(1.0) * squares).sqrt();
    let per = 1_000.0 / hours.max(f64::MIN_POSITIVE);
    (gain * per, ((gain - half) * per, (gain + half) * per))
}

/// Interrupted by expected, drawn towards the ratio of all.
#[allow(clippy::cast_precision_loss, reason = "24 at most")]
fn shrunk(sums: &[Sum]) -> Vec<f64> {
    let all = whole(sums.iter());
    let level = all.observed.max(0.5) / all.expected.max(f64::MIN_POSITIVE);
    let scaled: Vec<Sum> = sums.iter().map(|sum| Sum { expected: sum.expected * level, ..*sum }).collect();
    let spread = (chi_square(&scaled) - (sums.len() as f64 - 1.0)) / all.observed.max(1.0);
    if spread <= 0.0 {
        return vec![1.0; sums.len()];
    }
    let strength = 1.0 / spread;
    scaled.iter().map(|sum| (sum.observed + strength) / (sum.expected + strength)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(cells: &[((usize, usize), f64, u32)]) -> Batch {
        Batch {
            cells: cells.iter().map(|(key, hours, events)| (*key, Cell { hours: *hours, events: *events })).collect(),
        }
    }

    #[test]
    fn a_turned_batch_keeps_its_shape_and_its_sums() {
        let batches = [batch(&[((0, 22), 1.0, 1), ((0, 23), 2.0, 0)])];
        let profiles = Profiles::of(&batches, Cycle::HourOfDay, 1_000);
        let turned = profiles.sum(|_| 3);
        let hours: Vec<f64> = turned.iter().map(|sum| sum.hours).collect();
        assert_eq!((hours[1], hours[2], hours.iter().sum::<f64>()), (1.0, 2.0, 3.0));
        assert_eq!((turned[1].observed, profiles.sum(|_| 0)[22].observed), (1.0, 1.0));
    }

    #[test]
    fn what_is_expected_adds_up_to_what_was_seen() {
        let batches = [batch(&[((0, 1), 1.0, 2), ((5, 2), 9.0, 1)]), batch(&[((0, 2), 3.0, 0), ((7, 9), 1.0, 4)])];
        let total = Profiles::of(&batches, Cycle::HourOfDay, 1_000).sum(|_| 0);
        let all = whole(total.iter());
        assert!((all.observed - 7.0).abs() < 1e-9 && (all.expected - 7.0).abs() < 1e-9, "{all:?}");
        assert_eq!(Profiles::of(&batches, Cycle::HourOfDay, 7).sum(|_| 0).len(), 4);
    }

    #[test]
    fn ratios_within_chance_become_1_and_others_are_drawn_towards_it() {
        let even =
            [Sum { observed: 10.0, expected: 11.0, hours: 1.0 }, Sum { observed: 12.0, expected: 11.0, hours: 1.0 }];
        assert_eq!(shrunk(&even), [1.0, 1.0]);
        let uneven =
            [Sum { observed: 90.0, expected: 50.0, hours: 1.0 }, Sum { observed: 10.0, expected: 50.0, hours: 1.0 }];
        let ratios = shrunk(&uneven);
        assert!(1.6 < ratios[0] && ratios[0] < 1.8 && 0.2 < ratios[1] && ratios[1] < 0.3, "{ratios:?}");
    }
}
