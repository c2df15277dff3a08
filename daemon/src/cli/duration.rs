//! Durations as people write and read them.
//!
//! Inputs: text such as `1m30s`, or seconds. Outputs: seconds, or text such as `1 min 30 s`. Must never
//! print more digits than anyone needs at three in the morning.

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

/// Seconds as text with two units at most: `85 us`, `412 ms`, `3.2 s`, `1 min 52 s`, `3 d 4 h`.
#[allow(clippy::cast_possible_truncation, reason = "`as` saturates, and 2^63 us are 292000 years")]
pub fn human(seconds: f64) -> String {
    let us = (seconds.max(0.0) * 1e6).round() as i64;
    let tenths = (us + 50_000) / 100_000;
    let whole = (us + 500_000) / 1_000_000;
    let two = |count: i64, of: &str, rest: i64, of_rest: &str| match rest {
        0 => format!("{count} {of}"),
        _ => format!("{count} {of} {rest} {of_rest}"),
    };
    match us {
        0..1_000 => format!("{us} us"),
        1_000..9_950 => format!("{} ms", decimal((us + 50) / 100)),
        9_950..999_500 => format!("{} ms", (us + 500) / 1_000),
        _ if tenths < 600 => format!("{} s", decimal(tenths)),
        _ if whole < 3_600 => two(whole / 60, "min", whole % 60, "s"),
        _ if whole < 86_400 => two(whole / 3_600, "h", whole % 3_600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3_600, "h"),
    }
}

/// Milliseconds, as [`human`].
pub fn human_ms(milliseconds: f64) -> String {
    human(milliseconds / 1e3)
}

/// Seconds as plain seconds with at most one decimal, for numbers that are compared: `108.3 s`, `120 s`.
#[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
pub fn exact(seconds: f64) -> String {
    format!("{} s", decimal((seconds * 10.0).round() as i64))
}

/// Tenths with their decimal, which is left out when it is zero.
fn decimal(tenths: i64) -> String {
    if tenths % 10 == 0 { (tenths / 10).to_string() } else { format!("{}.{}", tenths / 10, (tenths % 10).abs()) }
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

    #[test]
    fn durations_are_shown_with_two_units_at_most() {
        let cases = [
            (0.0, "0 us"),
            (0.000_085, "85 us"),
            (0.004_23, "4.2 ms"),
            (0.412, "412 ms"),
            (0.999_6, "1 s"),
            (3.21, "3.2 s"),
            (30.0, "30 s"),
            (59.96, "1 min"),
            (112.0, "1 min 52 s"),
            (7_500.0, "2 h 5 min"),
            (273_600.0, "3 d 4 h"),
            (-1.0, "0 us"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text, "{seconds}");
        }
        assert_eq!(
            (exact(108.34), exact(120.0), human_ms(3_210.0)),
            ("108.3 s".into(), "120 s".into(), "3.2 s".into())
        );
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
