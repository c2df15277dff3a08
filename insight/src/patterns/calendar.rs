//! Hours of the day and days of the week of a moment, in UTC.
//!
//! Inputs: seconds since 1970. Outputs: numbers. Must never ask for a time zone: clouds work by UTC, and whoever wants another shifts the
//! moments that go in.

/// Which day since 1970.
#[allow(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
pub(crate) fn day(moment_s: f64) -> i64 {
    (moment_s / 86_400.0).floor() as i64
}

/// Hours since midnight, at least 0 and below 24.
pub(crate) fn hour(moment_s: f64) -> f64 {
    moment_s.rem_euclid(86_400.0) / 3_600.0
}

/// 0 on a Monday, 6 on a Sunday. The first day of 1970 was a Thursday.
pub(crate) fn weekday(moment_s: f64) -> i64 {
    (day(moment_s).rem_euclid(7) + 3) % 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_the_hour_and_day_that_calendars_give_them() {
        // Thursday, 2026-11-26 18:30:00 UTC.
        assert_eq!((weekday(1_795_717_800.0), hour(1_795_717_800.0)), (3, 18.5));
        // The day before 1970 was a Wednesday.
        assert_eq!((weekday(-1.0), day(-1.0)), (2, -1));
        assert!(hour(-1.0) > 23.9);
        assert!((0..7).contains(&weekday(f64::INFINITY)) && (0..7).contains(&weekday(f64::NAN)));
    }
}
