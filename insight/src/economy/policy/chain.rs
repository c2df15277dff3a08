//! How availability comes and goes: a chain whose states are whether there is capacity, and since when.
//!
//! Responsibilities: learn the chain of a zone from its past. Inputs: ticks. Outputs: rates an hour by age. Must never give a rate of
//! zero or without a number: what was not seen often enough is drawn towards what was published.
//!
//! Capacity that has been there for long goes away less often than young capacity, in every public trace; so rates go by age.

/// Ages at which the next class begins, hours.
const AGES_H: [f64; CLASSES - 1] = [0.5, 2.0, 8.0];
/// Classes of age.
pub const CLASSES: usize = 4;
/// States of the chain: available by age, then not available by age.
pub const STATES: usize = 2 * CLASSES;

/// Events an hour by age, for capacity that is there: measured on AWS V100 capacity in nine zones over 45 days of 2023
/// (skypilot-org/spot-traces).
const ENDS_PRIOR: [f64; CLASSES] = [1.1, 0.27, 0.16, 0.06];
/// The same for capacity that is missing; nothing is published about it, so this is the order of the above.
const RETURNS_PRIOR: [f64; CLASSES] = [1.1, 0.27, 0.16, 0.06];
/// Events that the published rates count for.
const PRIOR_EVENTS: f64 = 2.0;

/// Rates by age.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chain {
    /// How often capacity goes away, events an hour.
    pub ends_per_hour: [f64; CLASSES],
    /// How often it comes back, events an hour.
    pub returns_per_hour: [f64; CLASSES],
}

/// The class of an age.
#[must_use]
pub fn class(age_h: f64) -> usize {
    AGES_H.iter().filter(|bound| age_h >= **bound).count()
}

/// The state of the chain.
#[must_use]
pub fn state(is_available: bool, age_h: f64) -> usize {
    class(age_h) + if is_available { 0 } else { CLASSES }
}

impl Chain {
    /// Learns from ticks, oldest first; each `tick_h` hours long.
    #[must_use]
    pub fn learn(past: &[bool], tick_h: f64) -> Self {
        let (mut events, mut exposure_h) = ([0.0; STATES], [0.0; STATES]);
        let mut age_h = 0.0;
        for pair in past.windows(2) {
            let &[is_up, is_up_next] = pair else { continue };
            let at = state(is_up, age_h);
            if let (Some(events), Some(exposure)) = (events.get_mut(at), exposure_h.get_mut(at)) {
                *exposure += tick_h;
                *events += f64::from(u8::from(is_up != is_up_next));
            }
            age_h = if is_up == is_up_next { age_h + tick_h } else { 0.0 };
        }
        let rates = |prior: [f64; CLASSES], from: usize| {
            let mut rates = prior;
            for (class, rate) in rates.iter_mut().enumerate() {
                let seen = events.get(from + class).copied().unwrap_or(0.0);
                let hours = exposure_h.get(from + class).copied().unwrap_or(0.0);
                *rate = (seen + PRIOR_EVENTS) / (hours + PRIOR_EVENTS / *rate);
            }
            rates
        };
        Self { ends_per_hour: rates(ENDS_PRIOR, 0), returns_per_hour: rates(RETURNS_PRIOR, CLASSES) }
    }

    /// Where the chain is after `hours` from each state: pairs of state and probability, which add up to one.
    #[must_use]
    pub fn steps(&self, hours: f64) -> [[(usize, f64); 3]; STATES] {
        let mut steps = [[(0, 0.0); 3]; STATES];
        for (from, step) in steps.iter_mut().enumerate() {
            let class = from % CLASSES;
            let (rates, other) =
                if from < CLASSES { (&self.ends_per_hour, CLASSES) } else { (&self.returns_per_hour, 0) };
            let turns = 1.0 - (-rates.get(class).copied().unwrap_or(0.0) * hours).exp();
            let begins_h = if class == 0 { 0.0 } else { AGES_H.get(class - 1).copied().unwrap_or(0.0) };
            let ages = AGES_H.get(class).map_or(0.0, |ends_h| (hours / (ends_h - begins_h)).min(1.0));
            let older = if class + 1 < CLASSES { from + 1 } else { from };
            *step = [(other, turns), (older, (1.0 - turns) * ages), (from, (1.0 - turns) * (1.0 - ages))];
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_seen_has_the_published_rates_and_what_was_seen_long_its_own() {
        let unseen = Chain::learn(&[], 0.1);
        assert!((unseen.ends_per_hour[0] - 1.1).abs() < 1e-12 && (unseen.returns_per_hour[3] - 0.06).abs() < 1e-12);
        // A quarter of an hour up, a quarter down, for a thousand hours.
        let flips: Vec<bool> = (0..10_000).map(|tick| (tick / 3) % 2 == 0).collect();
        let chain = Chain::learn(&flips, 0.1);
        let expected = 1.0 / 0.3;
        assert!((chain.ends_per_hour[0] - expected).abs() < 0.05 * expected, "{chain:?}");
        assert!((chain.returns_per_hour[0] - expected).abs() < 0.05 * expected, "{chain:?}");
        let steady = Chain::learn(&[true; 10_000], 0.1);
        assert!(steady.ends_per_hour[3] < 0.003 && steady.ends_per_hour[3] > 0.0, "{steady:?}");
    }

    #[test]
    fn the_steps_from_every_state_add_up_to_one() {
        for hours in [0.01, 0.2, 1.0, 100.0] {
            for step in Chain::learn(&[true, false, true], 0.2).steps(hours) {
                let sum: f64 = step.iter().map(|(_, probability)| probability).sum();
                assert!(
                    (sum - 1.0).abs() < 1e-12 && step.iter().all(|(to, p)| *to < STATES && (0.0..=1.0).contains(p))
                );
            }
        }
    }
}
