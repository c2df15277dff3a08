//! The measuring itself: rounds in which every design has its turn.
//!
//! Inputs: started participants, a scenario. Outputs: every sample, by design and round. Must never let a design run
//! without the others in the same round: ratios are taken within a round.

use crate::load::Load;
use crate::options::Options;
use crate::participant::Participant;
use crate::scenario::Scenario;
use latency::protocol::Request;
use latency::stats::{self, Numbers};
use std::collections::BTreeMap;

/// Events a round from which p99.9 is taken a round.
pub(crate) const P999_EVENTS: usize = 1_000;

/// What one scenario gave.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The scenario.
    pub(crate) scenario: &'static Scenario,
    /// Nanoseconds, by design, then by round.
    pub(crate) samples: BTreeMap<&'static str, Vec<Vec<i64>>>,
    /// Designs that failed on the way, with the reason; their samples are left out altogether.
    pub(crate) failed: Vec<(&'static str, String)>,
}

impl Measured {
    /// A percentile of each round of a design, microseconds. None when it did not run, and for p99.9 of small rounds.
    pub(crate) fn rounds(&self, design: &str, percentile: f64) -> Option<Vec<f64>> {
        let rounds = self.samples.get(design)?;
        let too_small = percentile > 99.0 && percentile < 100.0 && rounds.iter().any(|r| r.len() < P999_EVENTS);
        (!too_small).then(|| rounds.iter().map(|round| stats::percentile_us(round, percentile)).collect())
    }

    /// A percentile of all samples of a design, microseconds.
    pub(crate) fn pooled(&self, design: &str, percentile: f64) -> Option<f64> {
        let rounds = self.samples.get(design)?;
        Some(stats::percentile_us(rounds.iter().flatten(), percentile))
    }

    /// `above / below` at a percentile: median over the rounds with its interval; from all samples together, and without
    /// an interval, where rounds are too small for it.
    pub(crate) fn ratio(&self, above: &str, below: &str, percentile: f64, seed: u64) -> Option<stats::Estimate> {
        match (self.rounds(above, percentile), self.rounds(below, percentile)) {
            (Some(above), Some(below)) => stats::ratio(&above, &below, seed),
            _ => {
                let middle = self.pooled(above, percentile)? / self.pooled(below, percentile)?;
                Some(stats::Estimate { middle, low: f64::NAN, high: f64::NAN })
            }
        }
    }

    /// Median over the rounds of how much `above` takes longer than `below`, microseconds.
    pub(crate) fn difference(&self, above: &str, below: &str, percentile: f64) -> Option<f64> {
        let (above, below) = (self.rounds(above, percentile)?, self.rounds(below, percentile)?);
        stats::median(&above.iter().zip(below).map(|(a, b)| a - b).collect::<Vec<_>>())
    }
}

/// Runs every round of a scenario.
///
/// # Errors
/// The load ended while designs were measured.
pub(crate) fn run(
    options: &Options,
    scenario: &'static Scenario,
    participants: &mut Vec<Participant>,
    load: &mut Load,
    numbers: &mut Numbers,
) -> Result<Measured, String> {
    let mut measured = Measured { scenario, samples: BTreeMap::new(), failed: Vec::new() };
    for round in 1..=options.rounds() {
        numbers.shuffle(participants);
        for participant in &mut *participants {
            let design = participant.design;
            if options.events(design, scenario) == 0 {
                continue;
            }
            eprintln!("{}: round {round} of {}: {}", scenario.name, options.rounds(), design.name);
            let request = request(options, scenario, participant, numbers);
            match participant.run(request) {
                Ok(samples) => measured.samples.entry(design.name).or_default().push(samples),
                Err(error) => measured.failed.push((design.name, error)),
            }
            load.check()?;
        }
        participants.retain(|participant| !measured.failed.iter().any(|(name, _)| *name == participant.design.name));
    }
    for (name, _) in &measured.failed {
        measured.samples.remove(name);
    }
    Ok(measured)
}

fn request(options: &Options, scenario: &Scenario, participant: &Participant, numbers: &mut Numbers) -> Request {
    let spread = usize::try_from(scenario.gap_max_us - scenario.gap_min_us).unwrap_or(0);
    Request {
        count: options.events(participant.design, scenario),
        gap_us: scenario.gap_min_us + numbers.below(spread + 1) as u64,
        thrash_kib: scenario.thrash_kib,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;

    fn measured(rounds: usize, events: usize) -> Measured {
        // "ours" takes twice the floor in every round; round n is n times as slow as the first.
        let of = |factor: i64| -> Vec<Vec<i64>> {
            (1..=rounds as i64).map(|n| (1..=events as i64).map(|e| e * n * factor * 10).collect()).collect()
        };
        let samples = BTreeMap::from([("floor", of(1)), ("ours", of(2))]);
        Measured { scenario: &SCENARIOS[0], samples, failed: Vec::new() }
    }

    #[test]
    fn ratios_hold_through_noise_that_hits_a_whole_round() {
        let ratio = measured(5, 200).ratio("ours", "floor", 99.0, 1).expect("both ran");
        assert!((ratio.middle - 2.0).abs() < 0.01 && (ratio.high - ratio.low).abs() < 0.02, "{ratio:?}");
    }

    #[test]
    fn p999_is_taken_a_round_only_when_rounds_are_large_enough() {
        assert!(measured(2, 999).rounds("ours", 99.9).is_none());
        assert!(measured(2, 1_000).rounds("ours", 99.9).is_some());
        let pooled = measured(2, 100).ratio("ours", "floor", 99.9, 1).expect("both ran");
        assert!(pooled.low.is_nan() && (pooled.middle - 2.0).abs() < 0.01);
    }

    #[test]
    fn a_design_that_did_not_run_gives_nothing() {
        let measured = measured(2, 100);
        assert!(measured.ratio("rival-go", "floor", 50.0, 1).is_none());
        assert!(measured.pooled("rival-go", 50.0).is_none());
        assert!(measured.difference("ours", "rival-go", 99.0).is_none());
    }
}
