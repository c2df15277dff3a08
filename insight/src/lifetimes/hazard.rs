//! How often machines of an age are interrupted: events by exposure, age by age.
//!
//! Inputs: observed times and the ages at which to cut. Outputs: rates with exact intervals. Must never give an age without exposure
//! a rate.

use super::{Observed, check_hours};
use crate::Scarce;
use crate::patterns::Rate;
use serde::{Deserialize, Serialize};

/// One range of ages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgeRate {
    /// From this age, hours.
    pub from_h: f64,
    /// To this one.
    pub to_h: f64,
    /// Interruptions per machine-hour between.
    pub rate: Rate,
}

/// Rates between each two of the ages, which are in their order; ranges that no machine reached are left out.
///
/// # Errors
/// A time is none, or no machine ran for any time.
pub fn by_age(observed: &[Observed], ages_h: &[f64]) -> Result<Vec<AgeRate>, Scarce> {
    for one in observed {
        check_hours(one.hours)?;
    }
    let ranges = ages_h.windows(2).filter_map(|range| match range {
        [from_h, to_h] => {
            let hours = observed.iter().map(|one| (one.hours.min(*to_h) - from_h).max(0.0)).sum();
            let is_here = |one: &&Observed| one.interrupted && one.hours >= *from_h && one.hours < *to_h;
            let rate = Rate::of(observed.iter().filter(is_here).count() as u64, hours).ok()?;
            Some(AgeRate { from_h: *from_h, to_h: *to_h, rate })
        }
        _ => None,
    });
    let found: Vec<AgeRate> = ranges.collect();
    if found.is_empty() {
        return Err(Scarce("no machine ran for any time: there is no rate at any age".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_age_has_its_events_and_its_hours() {
        let observed =
            [(0.5, true), (2.0, false), (3.0, true)].map(|(hours, interrupted)| Observed { hours, interrupted });
        let rates = by_age(&observed, &[0.0, 1.0, 3.0, 9.0, 10.0]).expect("rates");
        let found: Vec<(u64, f64)> = rates.iter().map(|age| (age.rate.events, age.rate.hours)).collect();
        assert_eq!(found, [(1, 2.5), (0, 3.0)]);
        assert!(by_age(&[], &[0.0, 1.0]).is_err() && by_age(&observed, &[]).is_err());
    }
}
