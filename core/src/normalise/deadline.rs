//! Times: the texts providers write them in, and what they mean on this machine's clocks.
//!
//! Responsibilities: text -> wall clock nanoseconds; which clock to believe. Inputs: text, a `Moment`.
//! Outputs: nanoseconds since 1970 UTC, a `Moment`. Must never read a clock or panic.
//!
//! # The rule about skew
//!
//! A provider states times by its own clock. A machine that has just started or woken may be minutes or
//! hours off, and would then drop a notice as "past" or see time where there is none. The metadata
//! service says what time it has: the `Date` of the reply that carries the notice. When that and the
//! local wall clock differ by at most [`SKEW_MAX_NS`] the local clock is used, being finer; else the
//! service's is, taken at the end of the second it names, so that the time left is never overstated.
//! From there on only CLOCK_BOOTTIME counts: setting the wall clock later moves no deadline.

use crate::event::Moment;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::Offset;

/// Nanoseconds in a second.
pub const SECOND_NS: i64 = 1_000_000_000;

/// Greatest difference between the local wall clock and a reply's `Date` that counts as agreement. A
/// `Date` has whole seconds and is as old as the reply, so less than two seconds would mean nothing.
pub const SKEW_MAX_NS: i64 = 2 * SECOND_NS;

/// Nanoseconds since 1970 UTC of an RFC 3339 text with an offset, such as `2017-09-18T08:22:00Z`.
pub fn rfc3339_ns(text: &str) -> Option<i64> {
    wall_ns(text.trim().parse().ok()?)
}

/// Nanoseconds since 1970 UTC of an HTTP date (RFC 9110 IMF-fixdate, `Mon, 21 Jan 2019 09:00:43 GMT`) or
/// of the form of AWS scheduled events, which is the same without the day of the week and without a
/// leading zero (`2 Jan 2019 09:00:43 GMT`). RFC 2822 covers both.
pub fn rfc1123_ns(text: &str) -> Option<i64> {
    let parser = DateTimeParser::new().relaxed_weekday(true);
    wall_ns(parser.parse_timestamp(text.trim()).ok()?)
}

/// Either of the two forms above.
pub fn any_ns(text: &str) -> Option<i64> {
    rfc3339_ns(text).or_else(|| rfc1123_ns(text))
}

/// Nanoseconds since 1970 UTC of a time that may name no zone, such as `2018-08-18 12:05:33`: it is then `ahead_hours` ahead
/// of UTC. Date and time of day are wanted, parted by a space or a `T`.
pub fn civil_ns(text: &str, ahead_hours: i8) -> Option<i64> {
    let text = text.trim();
    rfc3339_ns(text).or_else(|| {
        let is_plain = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'.' | b' ' | b'T');
        if !text.contains(':') || !text.bytes().all(is_plain) {
            return None;
        }
        let civil: DateTime = text.parse().ok()?;
        wall_ns(Offset::from_hours(ahead_hours).ok()?.to_timestamp(civil).ok()?)
    })
}

/// The present as the cloud has it: `local`, with the wall clock replaced by the reply's `Date`
/// (nanoseconds since 1970 UTC) when the two disagree. See the rule above.
#[must_use]
pub fn cloud_now(local: Moment, date_ns: Option<i64>) -> Moment {
    match date_ns {
        Some(date) if date.saturating_sub(local.wall_ns).saturating_abs() > SKEW_MAX_NS => {
            Moment { boot_ns: local.boot_ns, wall_ns: date.saturating_add(SECOND_NS) }
        }
        _ => local,
    }
}

/// None for years that do not fit (before 1677, after 2262): such a time is a mistake, not a deadline.
fn wall_ns(stamp: Timestamp) -> Option<i64> {
    i64::try_from(stamp.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: i64 = 1_548_061_243 * SECOND_NS;

    #[test]
    fn the_forms_that_providers_write_are_read() {
        assert_eq!(rfc3339_ns("2019-01-21T09:00:43Z"), Some(NOON));
        assert_eq!(rfc3339_ns(" 2019-01-21T10:00:43+01:00\n"), Some(NOON));
        assert_eq!(rfc3339_ns("2019-01-21T09:00:43.250Z"), Some(NOON + 250_000_000));
        assert_eq!(rfc1123_ns("21 Jan 2019 09:00:43 GMT"), Some(NOON));
        assert_eq!(rfc1123_ns("Mon, 21 Jan 2019 09:00:43 GMT"), Some(NOON));
        assert_eq!(rfc1123_ns("2 Jan 2019 09:00:43 GMT"), Some(NOON - 19 * 86_400 * SECOND_NS));
        assert_eq!(any_ns("21 Jan 2019 09:00:43 GMT"), any_ns("2019-01-21T09:00:43Z"));
    }

    #[test]
    fn a_time_without_a_zone_is_read_in_the_one_that_its_cloud_means() {
        assert_eq!(civil_ns("2019-01-21 17:00:43", 8), Some(NOON));
        assert_eq!(civil_ns(" 2019-01-21T09:00:43\n", 0), Some(NOON));
        assert_eq!(civil_ns("2019-01-21 04:00:43.5", -5), Some(NOON + SECOND_NS / 2));
        assert_eq!(civil_ns("2019-01-21T09:00:43Z", 8), Some(NOON), "one that names its zone is believed");
        for text in ["", "2019-01-21", "17:00:43", "2019-13-41 00:00:00", "2019-01-21 17:00:43[Asia/Shanghai]", "soon"]
        {
            assert_eq!(civil_ns(text, 8), None, "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_time_give_none() {
        for text in ["", "none", "2019-01-21", "09:00:43", "2019-13-41T00:00:00Z", "9999-01-01T00:00:00Z", "<html>"] {
            assert_eq!(any_ns(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_an_hour_fast_does_not_make_a_notice_past() {
        let local = Moment { boot_ns: 5 * SECOND_NS, wall_ns: NOON + 3_600 * SECOND_NS };
        let now = cloud_now(local, Some(NOON));
        let deadline = Moment::at_wall(NOON + 120 * SECOND_NS, now);
        assert_eq!(deadline.boot_ns, (5 + 119) * SECOND_NS);
    }

    #[test]
    fn clocks_that_agree_keep_the_finer_one() {
        let local = Moment { boot_ns: 0, wall_ns: NOON + 1_400_000_000 };
        assert_eq!(cloud_now(local, Some(NOON)), local);
        assert_eq!(cloud_now(local, None), local);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = (any_ns(&text), civil_ns(&text, 8));
        }

        #[test]
        fn every_time_survives_writing_and_reading(seconds in 0_i64..4_000_000_000) {
            let ns = seconds * SECOND_NS;
            prop_assert_eq!(rfc3339_ns(&crate::event::rfc3339(ns)), Some(ns));
        }
    }
}
