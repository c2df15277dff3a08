//! The time between two saves.
//!
//! Responsibilities: Young's and Daly's interval, and one that goes by a machine's age. Inputs: how long a save takes, how often
//! machines are taken away. Outputs: hours of work between the end of one save and the begin of the next. Must never give zero, or
//! no number.
//!
//! Young, "A first order approximation to the optimum checkpoint interval", CACM 17 (1974); Daly, "A higher order estimate of the
//! optimum checkpoint interval for restart dumps", FGCS 22 (2006), equation 37.

/// A hazard by age: from each age (hours, ascending, the first 0) on, so many events an hour.
pub type Hazard = [(f64, f64)];

/// Young's interval, hours. `save_h`: how long a save takes; `between_h`: mean time between interruptions, exposure over events.
#[must_use]
pub fn young(save_h: f64, between_h: f64) -> f64 {
    (2.0 * save_h * between_h).sqrt().max(f64::MIN_POSITIVE)
}

/// Daly's interval, hours; the same as Young's but for saves that are not short.
#[must_use]
pub fn daly(save_h: f64, between_h: f64) -> f64 {
    if save_h >= 2.0 * between_h {
        return between_h.max(f64::MIN_POSITIVE);
    }
    let ratio = save_h / (2.0 * between_h);
    (young(save_h, between_h) * (1.0 + ratio.sqrt() / 3.0 + ratio / 9.0) - save_h).max(f64::MIN_POSITIVE)
}

/// Mean time between interruptions, hours: exposure over events; `None` without either.
#[must_use]
pub fn between_h(exposure_h: f64, events: u32) -> Option<f64> {
    (events > 0 && exposure_h.is_finite() && exposure_h > 0.0).then(|| exposure_h / f64::from(events))
}

/// Events an hour at an age.
#[must_use]
pub fn rate_at(hazard: &Hazard, age_h: f64) -> f64 {
    hazard.iter().take_while(|(from_h, _)| *from_h <= age_h).last().map_or(0.0, |(_, rate)| *rate)
}

/// The interval at an age, hours: Young's for the hazard of that age. Where machines end at a known age (`wall_h`), the next save
/// is over before it.
#[must_use]
pub fn at_age(save_h: f64, hazard: &Hazard, age_h: f64, wall_h: Option<f64>) -> f64 {
    let rate = rate_at(hazard, age_h);
    let local_h = if rate > 0.0 { young(save_h, 1.0 / rate) } else { f64::INFINITY };
    let to_wall_h = wall_h.map_or(f64::INFINITY, |wall_h| wall_h - age_h - save_h);
    // Too close to the wall for a save: nothing is won by trying.
    if to_wall_h > 0.0 { local_h.min(to_wall_h) } else { local_h }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Part of a long job's time that is not work, for a constant hazard: the exact expectation over a segment of work and save,
    /// begun anew after each interruption.
    fn overhead(interval_h: f64, save_h: f64, between_h: f64) -> f64 {
        between_h * ((interval_h + save_h) / between_h).exp_m1() / interval_h - 1.0
    }

    #[test]
    fn dalys_interval_is_the_best_there_is_for_a_constant_hazard() {
        for (save_h, between_h) in [(1.0 / 60.0, 32.0), (5.0 / 60.0, 32.0), (1.0 / 60.0, 1.0), (0.2, 3.0)] {
            let best = (1..100_000).map(|n| f64::from(n) * 1e-3).map(|interval| overhead(interval, save_h, between_h));
            let best = best.fold(f64::INFINITY, f64::min);
            let daly = overhead(daly(save_h, between_h), save_h, between_h);
            assert!(daly < best * 1.002, "save {save_h} between {between_h}: {daly} against {best}");
        }
    }

    #[test]
    fn the_intervals_are_those_of_the_papers() {
        assert!((young(1.0 / 60.0, 32.0) - (64.0_f64 / 60.0).sqrt()).abs() < 1e-12);
        assert!((daly(1.0 / 60.0, 32.0) * 60.0 - 61.3).abs() < 0.1, "{}", daly(1.0 / 60.0, 32.0) * 60.0);
        assert!((daly(3.0, 1.0) - 1.0).abs() < 1e-12);
        for (save_h, between_h) in [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)] {
            assert!(young(save_h, between_h) > 0.0 && daly(save_h, between_h) > 0.0);
        }
    }

    #[test]
    fn an_interval_by_age_is_short_when_machines_are_young_and_ends_before_the_wall() {
        let hazard = [(0.0, 0.3), (1.0, 0.05), (4.0, 0.0)];
        let at = |age_h| at_age(1.0 / 60.0, &hazard, age_h, Some(24.0));
        assert!(at(0.1) < at(2.0) && at(2.0) < at(5.0));
        assert!((at(20.0) + 20.0 + 1.0 / 60.0 - 24.0).abs() < 1e-9, "the save ends at the wall");
        assert!(at(23.999).is_infinite() && at_age(0.1, &hazard, 5.0, None).is_infinite());
        assert_eq!((between_h(64.0, 2), between_h(64.0, 0), between_h(0.0, 3)), (Some(32.0), None, None));
    }
}
