//! Durations as people write and read them.
//!
//! Inputs: text such as `1m30s`, or seconds. Outputs: seconds, or text such as `1 min 30 s`. Must never
//! print more digits than anyone needs at three in the morning.

pub use crate::reports::words::{exact, human, human_ms};

/// Units that may be written, with their seconds; longest first, as they must follow each other.
const UNITS: [(&str, f64); 5] = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];

/// Longest duration that is read, seconds: ten years.
const SECONDS_MAX: f64 = 315_360_000.0;

/// Reads a duration, in seconds: `120` (seconds), `120s`, `2m`, `1m30s`, `1.5h`, `500ms`.
///
/// # Errors
/// A sentence with what was found and what is expected.
pub fn parse(text: &str) -> Result<f64, String> {
    let bad = |why: &str| {
        Err(format!(
            "'{text}' is not a duration ({why}): expected seconds (120) or numbers with units ms, s, m, h, d (90s, 1m30s, 500ms)"
        ))
    };
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    if !text.is_empty() && text.chars().all(is_number) {
        return match text.parse::<f64>() {
            Ok(seconds) if seconds <= SECONDS_MAX => Ok(seconds),
            Ok(_) => bad("it is too long"),
            Err(_) => bad("that is no number"),
        };
    }
    let (mut rest, mut seconds, mut units) = (text, 0.0, UNITS.as_slice());
    while !rest.is_empty() {
        let number_end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let Ok(number) = number.parse::<f64>() else { return bad("a number is missing") };
        let unit_end = after.find(is_number).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let Some(at) = units.iter().position(|(name, _)| *name == unit) else {
            let known = UNITS.iter().any(|(name, _)| *name == unit);
            return bad(match (known, unit.is_empty()) {
                (true, _) => "units go from long to short, each once",
                (_, true) => "the last number has no unit",
                _ => "unknown unit",
            });
        };
        seconds += number * units[at].1;
        units = &units[at + 1..];
        rest = after;
    }
    match text {
        "" => bad("it is empty"),
        _ if seconds > SECONDS_MAX => bad("it is too long"),
        _ => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_in_every_form_that_is_promised() {
        let cases = [
            ("120", 120.0),
            ("120s", 120.0),
            ("2m", 120.0),
            ("1m30s", 90.0),
            ("500ms", 0.5),
            ("1.5h", 5_400.0),
            ("1d2h", 93_600.0),
            ("0", 0.0),
            (".5", 0.5),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_met_with_the_reason() {
        let cases = [
            ("", "it is empty"),
            ("soon", "a number is missing"),
            ("5x", "unknown unit"),
            ("1m30", "the last number has no unit"),
            ("30s1m", "units go from long to short"),
            ("1s1s", "units go from long to short"),
            ("1.2.3", "that is no number"),
            ("-5s", "a number is missing"),
            ("1e3", "unknown unit"),
            ("inf", "a number is missing"),
            ("99999999999999", "it is too long"),
            ("99999999d", "it is too long"),
        ];
        for (text, why) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why) && error.contains("1m30s"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_is_finite(text in "[0-9.smhd e-]{0,12}") {
            if let Ok(seconds) = parse(&text) {
                prop_assert!(seconds.is_finite() && seconds >= 0.0, "{text}: {seconds}");
            }
        }

        #[test]
        fn whole_seconds_survive_being_shown_and_read(seconds in 0u32..3_600) {
            let shown = human(f64::from(seconds)).replace(" min", "m").replace(' ', "");
            prop_assume!(seconds > 0);
            prop_assert_eq!(parse(&shown), Ok(f64::from(seconds)), "{}", shown);
        }
    }
}
