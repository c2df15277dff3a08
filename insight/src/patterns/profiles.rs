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
use std::f64::consts::TAU;

/// Interruptions for each part of a cycle below which six hours are counted together.
const EVENTS_A_PART: usize = 20;
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

    /// All batches together, counted together where they are few.
    pub(super) fn sum(&self) -> Vec<Sum> {
        grouped(&self.turned(|_| 0), self.width)
    }

    /// How far interruptions are from what ages explain, with each batch turned by as many parts as `turn` says: Pearson's chi-square over
    /// the parts; where these are counted together, the first harmonic of the difference, which does not ask where the counting begins
    /// (Rayleigh's, as in Edwards, Annals of Human Genetics 25, 1961).
    pub(super) fn deviation(&self, turn: impl FnMut(usize) -> usize) -> f64 {
        let total = self.turned(turn);
        if self.width == 1 { chi_square(&total) } else { first_harmonic(&total) }
    }

    fn turned(&self, mut turn: impl FnMut(usize) -> usize) -> Vec<Sum> {
        let parts = self.cycle.parts();
        let mut total = vec![Sum::default(); parts];
        for (number, profile) in self.batches.iter().enumerate() {
            let (back, front) = profile.split_at(parts - turn(number) % parts);
            for (sum, one) in total.iter_mut().zip(front.iter().chain(back)) {
                sum.add(one);
            }
        }
        total
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
            Cycle::HourOfDay => format!("{:02}-{:02} h", at * self.width, (at + 1) * self.width),
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

/// The squared length of the sum of differences, each a pointer of a clock with one turn a cycle, for each interruption.
#[allow(clippy::cast_precision_loss, reason = "24 at most")]
fn first_harmonic(sums: &[Sum]) -> f64 {
    let pointer = |(at, sum): (usize, &Sum)| {
        let (sine, cosine) = (TAU * at as f64 / sums.len() as f64).sin_cos();
        ((sum.observed - sum.expected) * sine, (sum.observed - sum.expected) * cosine)
    };
    let (sine, cosine) =
        sums.iter().enumerate().map(pointer).fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
    2.0 * (sine * sine + cosine * cosine) / whole(sums.iter()).expected.max(f64::MIN_POSITIVE)
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
    /// Of a day those twelve hours in a row with the highest plain rate, of a week the weekend. Half an interruption is added to
    /// each half, so that there is a ratio where one had none.
    pub(super) fn of(batches: &[Batch], cycle: Cycle) -> Self {
        let parts = cycle.parts();
        let is_in = |from: usize, part: usize| match cycle {
            Cycle::HourOfDay => (part + parts - from) % parts < parts / 2,
            Cycle::DayOfWeek => part >= 5,
        };
        let halved = |from: usize| Table::of(batches.iter(), 2, |part| usize::from(is_in(from, part)));
        let naive = |table: &Table| {
            let half = |number: usize| {
                let cells = table.cells.iter().filter_map(|row| row.get(number));
                cells.fold((0.5, 0.0), |sum: (f64, f64), cell| (sum.0 + f64::from(cell.events), sum.1 + cell.hours))
            };
            let (outside, inside) = (half(0), half(1));
            if outside.1 > 0.0 && inside.1 > 0.0 { inside.0 / inside.1 / (outside.0 / outside.1) } else { 1.0 }
        };
        let starts = if cycle == Cycle::HourOfDay { parts } else { 1 };
        let tables = (0..starts).map(halved);
        let Some(table) = tables.max_by(|a, b| naive(a).total_cmp(&naive(b))) else {
            return Self { naive: 1.0, adjusted: 1.0 };
        };
        let fit =
            Fit::of(&table, |sum| if sum.expected > 0.0 { (sum.observed + 0.5) / (sum.expected + 0.5) } else { 1.0 });
        let adjusted = match fit.parts.as_slice() {
            [outside, inside] if *outside > 0.0 => inside / outside,
            _ => 1.0,
        };
        Self { naive: naive(&table), adjusted }
    }
}

/// Exposure of many batches by age and part.
struct Table {
    parts: usize,
    cells: Vec<Vec<Cell>>,
}

impl Table {
    fn of<'b>(batches: impl Iterator<Item = &'b Batch>, parts: usize, place: impl Fn(usize) -> usize) -> Self {
        let mut cells = vec![vec![Cell::default(); parts]; AGES];
        for ((age, part), cell) in batches.flat_map(|batch| &batch.cells) {
            if let Some(sum) = cells.get_mut(*age).and_then(|row| row.get_mut(place(*part))) {
                sum.hours += cell.hours;
                sum.events += cell.events;
            }
        }
        Self { parts, cells }
    }

    /// Interruptions by the hour at each age, with half of one at the mean rate for ages that nothing was seen at; `ratios` are
    /// those of parts.
    fn hazards(&self, ratios: &[f64]) -> Hazards {
        let weighted = |row: &[Cell]| {
            let hours: f64 = row.iter().zip(ratios).map(|(cell, ratio)| cell.hours * ratio).sum();
            (row.iter().map(|cell| f64::from(cell.events)).sum::<f64>(), hours)
        };
        let rows: Vec<(f64, f64)> = self.cells.iter().map(|row| weighted(row)).collect();
        let (events, hours) = rows.iter().fold((0.5, f64::MIN_POSITIVE), |sum, row| (sum.0 + row.0, sum.1 + row.1));
        let mut hazards = [0.0; AGES];
        for (hazard, (seen, ran)) in hazards.iter_mut().zip(rows) {
            *hazard = (seen + 0.5) / (ran + 0.5 * hours / events);
        }
        Hazards(hazards)
    }

    fn sums(&self, hazards: &Hazards) -> Vec<Sum> {
        let mut sums = vec![Sum::default(); self.parts];
        for (age, row) in self.cells.iter().enumerate() {
            for (sum, cell) in sums.iter_mut().zip(row) {
                let expected = hazards.at(age) * cell.hours;
                sum.add(&Sum { observed: f64::from(cell.events), expected, hours: cell.hours });
            }
        }
        sums
    }
}

/// Hazards of ages and ratios of parts, fitted together by turns (the Poisson regression of both, by iterative proportional fitting).
struct Fit {
    hazards: Hazards,
    parts: Vec<f64>,
}

/// Turns after which the fit is taken as it is; where young machines are nearly all of one part it takes hundreds.
const TURNS: usize = 1_000;

impl Fit {
    fn of(table: &Table, ratio: impl Fn(&Sum) -> f64) -> Self {
        let mut parts = vec![1.0; table.parts];
        for _ in 0..TURNS {
            let next: Vec<f64> = table.sums(&table.hazards(&parts)).iter().map(&ratio).collect();
            let moved = next.iter().zip(&parts).map(|(next, part)| (next / part).ln().abs()).fold(0.0, f64::max);
            parts = next;
            if moved < 1e-9 {
                break;
            }
        }
        Self { hazards: table.hazards(&parts), parts }
    }

    /// Where ratios are drawn towards 1 by as much as they do not spread beyond chance (the moments of DerSimonian and Laird, Controlled
    /// Clinical Trials 7, 1986).
    fn shrunk(table: &Table) -> Self {
        let free =
            Self::of(table, |sum| if sum.expected > 0.0 { (sum.observed + 0.5) / (sum.expected + 0.5) } else { 1.0 });
        let strength = strength(&table.sums(&free.hazards));
        Self::of(table, |sum| strength.map_or(1.0, |strength| (sum.observed + strength) / (sum.expected + strength)))
    }
}

/// How much better the log-loss of held-out batches is with the cycle than without, per 1,000 machine-hours, and its 95 % interval over
/// batches.
#[allow(clippy::cast_precision_loss, reason = "batches are few")]
pub(super) fn held_out_gain(batches: &[Batch], cycle: Cycle, random: &mut Xoshiro256PlusPlus) -> (f64, (f64, f64)) {
    let mut order: Vec<usize> = (0..batches.len()).collect();
    order.shuffle(random);
    let mut gains = Vec::with_capacity(batches.len());
    let mut hours = 0.0;
    for fold in 0..FOLDS {
        let is_held_out = |place: &usize| place % FOLDS == fold;
        let train = order.iter().enumerate().filter(|(place, _)| !is_held_out(place)).map(|(_, at)| &batches[*at]);
        let interrupted: usize =
            train.clone().flat_map(|batch| batch.cells.values()).map(|cell| cell.events as usize).sum();
        let width = width(cycle, interrupted);
        let table = Table::of(train, cycle.parts().div_ceil(width), |part| part / width);
        let (without, with) = (table.hazards(&vec![1.0; table.parts]), Fit::shrunk(&table));
        for (_, at) in order.iter().enumerate().filter(|(place, _)| is_held_out(place)) {
            let gain = |((age, part), cell): (&(usize, usize), &Cell)| {
                let (before, now) = (without.at(*age), with.hazards.at(*age) * with.parts[part / width]);
                f64::from(cell.events) * (now / before).ln() - (now - before) * cell.hours
            };
            gains.push(batches[*at].cells.iter().map(gain).sum::<f64>());
            hours += batches[*at].cells.values().map(|cell| cell.hours).sum::<f64>();
        }
    }
    let (count, gain) = (gains.len() as f64, gains.iter().sum::<f64>());
    let squares: f64 = gains.iter().map(|one| (one - gain / count).powi(2)).sum();
    let half = Z95 * (count / (count - 1.0).max(1.0) * squares).sqrt();
    let per = 1_000.0 / hours.max(f64::MIN_POSITIVE);
    (gain * per, ((gain - half) * per, (gain + half) * per))
}

/// How many interruptions a ratio of 1 weighs; None: there is no spread beyond chance, and it is 1.
#[allow(clippy::cast_precision_loss, reason = "24 at most")]
fn strength(sums: &[Sum]) -> Option<f64> {
    let all = whole(sums.iter());
    let level = all.observed.max(0.5) / all.expected.max(f64::MIN_POSITIVE);
    let scaled: Vec<Sum> = sums.iter().map(|sum| Sum { expected: sum.expected * level, ..*sum }).collect();
    let spread = (chi_square(&scaled) - (sums.len() as f64 - 1.0)) / all.observed.max(1.0);
    (spread > 0.0).then(|| 1.0 / spread)
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
        let turned = profiles.turned(|_| 3);
        let hours: Vec<f64> = turned.iter().map(|sum| sum.hours).collect();
        assert_eq!((hours[1], hours[2], hours.iter().sum::<f64>()), (1.0, 2.0, 3.0));
        assert_eq!((turned[1].observed, profiles.turned(|_| 0)[22].observed), (1.0, 1.0));
    }

    #[test]
    fn the_deviation_of_few_does_not_ask_where_the_day_begins() {
        let cells: Vec<((usize, usize), f64, u32)> =
            (0..24).map(|part| ((0, part), 1.0, u32::from((3..15).contains(&part)))).collect();
        let profiles = Profiles::of(&[batch(&cells)], Cycle::HourOfDay, 12);
        let deviation = profiles.deviation(|_| 0);
        assert!(deviation > 5.0, "{deviation}");
        assert!((0..24).all(|turn| (profiles.deviation(|_| turn) - deviation).abs() < 1e-9));
    }

    #[test]
    fn what_is_expected_adds_up_to_what_was_seen() {
        let batches = [batch(&[((0, 1), 1.0, 2), ((5, 2), 9.0, 1)]), batch(&[((0, 2), 3.0, 0), ((7, 9), 1.0, 4)])];
        let total = Profiles::of(&batches, Cycle::HourOfDay, 1_000).sum();
        let all = whole(total.iter());
        assert!((all.observed - 7.0).abs() < 1e-9 && (all.expected - 7.0).abs() < 1e-9, "{all:?}");
        assert_eq!(Profiles::of(&batches, Cycle::HourOfDay, 7).sum().len(), 4);
    }

    #[test]
    fn ratios_within_chance_become_1_and_others_are_drawn_towards_it() {
        let even =
            [Sum { observed: 10.0, expected: 11.0, hours: 1.0 }, Sum { observed: 12.0, expected: 11.0, hours: 1.0 }];
        assert_eq!(strength(&even), None);
        let uneven =
            [Sum { observed: 90.0, expected: 50.0, hours: 1.0 }, Sum { observed: 10.0, expected: 50.0, hours: 1.0 }];
        assert!(strength(&uneven).is_some_and(|strength| (1.0..3.0).contains(&strength)));
    }

    #[test]
    fn ages_and_parts_are_fitted_together_where_they_go_together() {
        // Part 1 is three times as dangerous, and has nearly all of the young machines, which are ten times as much at risk.
        let cells = [((0, 0), 10.0, 10), ((0, 1), 100.0, 300), ((5, 0), 500.0, 50), ((5, 1), 100.0, 30)];
        let table = Table::of([batch(&cells)].iter(), 2, |part| part);
        let fit = Fit::of(&table, |sum| sum.observed / sum.expected);
        assert!((fit.parts[1] / fit.parts[0] / 3.0 - 1.0).abs() < 0.02, "{:?}", fit.parts);
        assert!((fit.hazards.at(0) / fit.hazards.at(5) / 10.0 - 1.0).abs() < 0.02);
    }
}
