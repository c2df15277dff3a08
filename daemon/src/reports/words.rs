//! How times, numbers and foreign texts are written for people.
//!
//! Inputs: seconds, JSON values, texts of plugins and clouds. Outputs: short texts. Must never print more digits than anyone
//! needs at three in the morning, nor pass on control characters: they could repaint an operator's terminal.

use serde_json::Value;

/// Seconds as text with two units at most: `85 us`, `412 ms`, `3.2 s`, `1 min 52 s`, `3 d 4 h`.
#[allow(clippy::cast_possible_truncation, reason = "`as` saturates, and 2^63 us are 292000 years")]
pub fn human(seconds: f64) -> String {
    // At most 31700 years: what is longer comes from a broken report.
    let us = (seconds.clamp(0.0, 1e12) * 1e6).round() as i64;
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

/// RFC 3339 in UTC as people read it: `2026-05-01 12:00:00.120 UTC`.
pub fn time(rfc3339: &str) -> String {
    let text = plain(rfc3339);
    let parts = text.strip_suffix('Z').and_then(|text| text.split_once('T'));
    parts.map(|(date, time)| format!("{date} {time} UTC")).unwrap_or(text)
}

/// The text on one line and without control characters.
pub fn plain(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Cuts after `width` characters, with a mark where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{start}…")
}

/// A JSON value as a phrase: strings as they are, lists of plain values with commas, the rest as JSON.
pub fn value(value: &Value) -> String {
    let is_plain = |v: &Value| !v.is_object() && !v.is_array();
    plain(&match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(is_plain) => {
            items.iter().map(self::value).collect::<Vec<_>>().join(", ")
        }
        Value::Null => "-".into(),
        other => other.to_string(),
    })
}

/// `1 handler`, `3 handlers`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
            (f64::NAN, "0 us"),
            (1e300, "11574074 d 1 h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text, "{seconds}");
        }
        assert_eq!(
            (exact(108.34), exact(120.0), human_ms(3_210.0)),
            ("108.3 s".into(), "120 s".into(), "3.2 s".into())
        );
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc\r"), "a [2Jb c");
        assert_eq!(value(&json!(["x\x07", 2, null])), "x , 2, -");
        assert_eq!((time("\x1b[31mT").as_str(), time("\x1b[TxZ").as_str()), (" [31mT", " [ x UTC"));
    }

    #[test]
    fn times_and_values_read_well() {
        assert_eq!(time("2026-05-01T12:00:00.120Z"), "2026-05-01 12:00:00.120 UTC");
        assert_eq!(value(&json!({"a": [1]})), r#"{"a":[1]}"#);
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!((count(1, "handler"), count(0, "handler")), ("1 handler".into(), "0 handlers".into()));
    }
}
