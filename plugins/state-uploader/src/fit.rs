//! What there is time for.
//!
//! Inputs: bytes to go, how fast the way is, time left. Outputs: whether to begin a file, and whether to give one up. Pure.
//! Must never keep a newer file from being uploaded for the sake of an older one.

use crate::meter::{Speed, to_f64};
use std::time::Duration;

/// Part of the time left that may be planned with.
const PLANNED: f64 = 0.9;
/// How far a speed that was measured at another time is trusted: a file is not begun only if it would take this often the time.
const REMEMBERED: f64 = 2.0;
/// One of several files is given up when all together take this often the time left.
const TOO_MUCH: f64 = 1.1;
/// The last one, which has all of the way to itself, only when it takes this often the time left.
const HOPELESS: f64 = 1.5;

/// What is known about the speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// As measured during this upload.
    pub(crate) speed: Speed,
    /// As configured, or as of the last upload.
    pub(crate) before: Before,
}

/// A speed from before this upload, bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Before {
    /// The operator says so.
    Configured(f64),
    /// It was measured then.
    Measured(f64),
    /// Nothing is known.
    Unknown,
}

impl Pace {
    /// Seconds that so many bytes would need, if they do not fit; None: begin.
    pub(crate) fn too_long(&self, bytes: f64, left: Duration) -> Option<f64> {
        let (speed, limit) = match (self.speed, self.before) {
            (Speed::Known(speed), _) | (_, Before::Configured(speed)) => (speed, PLANNED),
            (_, Before::Measured(speed)) => (speed, REMEMBERED),
            (Speed::AtMost(speed), Before::Unknown) => (speed, 1.0),
            (Speed::Unknown, Before::Unknown) => return None,
        };
        let needs = bytes / speed.max(1.0);
        (needs > left.as_secs_f64() * limit).then_some(needs)
    }

    /// Seconds that the files under way still need, if one of them has to be given up.
    pub(crate) fn hopeless(&self, bytes: f64, left: Duration, is_last: bool) -> Option<f64> {
        let (Speed::Known(speed) | Speed::AtMost(speed)) = self.speed else { return None };
        let limit = if is_last { HOPELESS } else { TOO_MUCH };
        let needs = bytes / speed.max(1.0);
        (needs > left.as_secs_f64() * limit).then_some(needs)
    }
}

/// Bytes that are not through yet.
pub(crate) fn to_go(whole: u64, through: u64, flying: f64) -> f64 {
    (to_f64(whole.saturating_sub(through)) - flying).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn pace(speed: Speed, before: Before) -> Pace {
        Pace { speed, before }
    }

    #[test]
    fn what_nobody_has_measured_is_tried() {
        let pace = pace(Speed::Unknown, Before::Unknown);
        assert_eq!(pace.too_long(1e15, TEN), None);
        assert_eq!(pace.hopeless(1e15, TEN, true), None);
    }

    #[test]
    fn what_fits_by_measure_is_begun_and_what_does_not_is_not() {
        let pace = pace(Speed::Known(1e6), Before::Measured(1e9));
        assert_eq!(pace.too_long(8.9e6, TEN), None);
        assert_eq!(pace.too_long(9.1e6, TEN), Some(9.1));
    }

    #[test]
    fn a_speed_of_another_day_keeps_only_the_impossible_from_being_tried() {
        let remembered = pace(Speed::Unknown, Before::Measured(1e6));
        assert_eq!(remembered.too_long(19e6, TEN), None);
        assert_eq!(remembered.too_long(21e6, TEN), Some(21.0));
        let configured = pace(Speed::Unknown, Before::Configured(1e6));
        assert_eq!(configured.too_long(9.1e6, TEN), Some(9.1));
    }

    #[test]
    fn one_of_several_is_given_up_sooner_than_the_last() {
        let pace = pace(Speed::Known(1e6), Before::Unknown);
        assert_eq!(pace.hopeless(12e6, TEN, false), Some(12.0));
        assert_eq!(pace.hopeless(12e6, TEN, true), None);
        assert_eq!(pace.hopeless(16e6, TEN, true), Some(16.0));
    }

    #[test]
    fn what_flies_is_not_to_go() {
        assert!((to_go(10, 4, 2.0) - 4.0).abs() < 1e-9);
        assert!(to_go(10, 10, 2.0).abs() < 1e-9);
    }
}
