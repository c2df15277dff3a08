//! A rate for each age: the life table.
//!
//! Inputs: lives. Outputs: interruptions and hours of each age bin, and the rate λ = (N + ½) / (E + ½ / λ̂) of each,
//! where λ̂ is the rate of all. It must never give a bin that nobody lived through a rate of its own.

use super::tally::Tally;
use super::{Ask, Forecast, Model, enough, number, sound};
use crate::{Life, Scarce};
use serde::{Deserialize, Serialize};

/// Where bins begin, hours; the last has no end. Up to a day as they were fixed before any score was looked at;
/// beyond, a bin around the 24 h at which GCP ends preemptible machines, and then ever wider ones.
pub const EDGES_H: [f64; 22] = [
    0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 23.0, 25.0, 36.0, 48.0, 72.0, 120.0, 168.0, 336.0,
    672.0, 2_160.0,
];

/// One value for each bin.
pub type PerBin<V> = [V; EDGES_H.len()];

/// The bins that a span of ages touches, with the part of the span that lies in each.
pub fn parts(from: f64, to: f64) -> impl Iterator<Item = (usize, f64, f64)> {
    let touched = EDGES_H.iter().enumerate().take_while(move |(_, begin)| **begin < to);
    let bins = touched.map(|(bin, begin)| (bin, *begin, EDGES_H.get(bin + 1).copied()));
    bins.filter_map(move |(bin, begin, end)| {
        let (low, high) = (from.max(begin), end.map_or(to, |end| to.min(end)));
        (high > low).then_some((bin, low, high))
    })
}

/// The bin of an age.
#[must_use]
pub fn bin_of(age_h: f64) -> usize {
    EDGES_H.iter().rposition(|begin| age_h >= *begin).unwrap_or(0)
}

/// Interruptions and hours in each bin.
#[must_use]
pub fn life_table(lives: &[&Life]) -> PerBin<(f64, f64)> {
    let mut table = [(0.0, 0.0); EDGES_H.len()];
    for life in lives {
        for (bin, low, high) in parts(0.0, life.lived_h) {
            table[bin].1 += high - low;
        }
        if life.is_interrupted() {
            table[bin_of(life.lived_h)].0 += 1.0;
        }
    }
    table
}

/// A rate for each age bin, the same in all pools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgeBins {
    bins: Vec<(f64, f64)>,
    tally: Tally,
}

impl AgeBins {
    /// Interruptions to be expected between two ages, hours.
    #[must_use]
    pub fn expected(&self, from: f64, to: f64) -> f64 {
        parts(from, to).map(|(bin, low, high)| self.rate(bin) * (high - low)).sum()
    }

    fn rate(&self, bin: usize) -> f64 {
        let all = self.tally.all();
        let mean = number(all.events) / all.exposure_h;
        let (events, exposure_h) = self.bins.get(bin).copied().unwrap_or_default();
        (events + 0.5) / (exposure_h + 0.5 / mean)
    }
}

impl Model for AgeBins {
    const NAME: &'static str = "age bins";

    fn fit(lives: &[Life]) -> Result<Self, Scarce> {
        let lives = sound(lives);
        let tally = enough(&lives)?;
        Ok(Self { bins: life_table(&lives).to_vec(), tally })
    }

    fn forecast(&self, ask: &Ask<'_>) -> Forecast {
        let (from, to) = ask.span_h();
        let events: f64 = parts(from, to).map(|(bin, _, _)| self.bins.get(bin).map_or(0.0, |seen| seen.0) + 0.5).sum();
        Forecast { expected: self.expected(from, to), shape: events.max(0.5) }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Pool};

    fn life(lived_h: f64, outcome: Outcome) -> Life {
        Life { pool: Pool::default(), launched_s: 0.0, lived_h, outcome, batch: None }
    }

    #[test]
    fn hours_and_interruptions_fall_into_their_bins() {
        let lives =
            [life(0.1, Outcome::Interrupted), life(0.75, Outcome::Stopped), life(3_000.0, Outcome::Interrupted)];
        let table = life_table(&lives.iter().collect::<Vec<_>>());
        assert!((table[0].1 - 0.6).abs() < 1e-12 && (table[1].1 - 0.5).abs() < 1e-12);
        assert!((table[2].1 - 0.75).abs() < 1e-12);
        let last = EDGES_H.len() - 1;
        assert_eq!((table[0].0, table[last].0), (1.0, 1.0));
        assert!((table[last].1 - 840.0).abs() < 1e-9);
        assert_eq!(bin_of(0.25), 1, "a bin begins at its edge");
    }

    #[test]
    fn a_bin_that_nobody_lived_through_has_the_rate_of_all() {
        let lives: Vec<Life> = (0..40).map(|_| life(10.0, Outcome::Interrupted)).collect();
        let fitted = AgeBins::fit(&lives).unwrap();
        assert!((fitted.expected(100.0, 101.0) - 0.1).abs() < 1e-12);
        assert!(fitted.expected(9.0, 12.0) > fitted.expected(0.0, 3.0) * 10.0);
    }
}
