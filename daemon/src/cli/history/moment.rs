//! Points in time as people write them.
//!
//! Inputs: text. Outputs: nanoseconds since 1970. Must never take a date for another: years come first, times are UTC.

use crate::cli::duration;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point {
    /// Nanoseconds since 1970.
    At(i64),
    /// So many seconds ago.
    Ago(f64),
}

impl Point {
    /// Nanoseconds since 1970.
    #[allow(clippy::cast_possible_truncation, reason = "seconds of at most ten years")]
    pub fn wall_ns(self, now_wall_ns: i64) -> i64 {
        match self {
            Self::At(wall_ns) => wall_ns,
            Self::Ago(seconds) => now_wall_ns.saturating_sub((seconds * 1e9) as i64),
        }
    }
}

/// Reads a point in time.
///
/// # Errors
/// A sentence with what was found and what is expected.
pub fn parse(text: &str) -> Result<Point, String> {
    let of_date = |date: Date| date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let stamp = text.parse::<Timestamp>().ok();
    let stamp = stamp.or_else(|| text.parse::<Date>().ok().filter(|_| text.len() == 10).and_then(of_date));
    if let Some(wall_ns) = stamp.and_then(|stamp| i64::try_from(stamp.as_nanosecond()).ok()) {
        return Ok(Point::At(wall_ns));
    }
    duration::parse(text).map(Point::Ago).map_err(|_| {
        format!("'{text}' is no time: expected a date (2026-01-31), a time (2026-01-31T08:00:00Z), or how long ago (36h, 30d)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_ages_are_read_and_nothing_else() {
        assert_eq!(parse("1970-01-02"), Ok(Point::At(86_400_000_000_000)));
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Ok(Point::At(0)));
        assert_eq!(parse("36h"), Ok(Point::Ago(129_600.0)));
        assert_eq!(Point::Ago(1.5).wall_ns(2_000_000_000), 500_000_000);
        for wrong in ["", "yesterday", "31.1.2026", "2026-13-01", "2026-01-31T08:00:00"] {
            let told = parse(wrong).expect_err(wrong);
            assert!(told.contains("how long ago"), "{told}");
        }
    }
}
