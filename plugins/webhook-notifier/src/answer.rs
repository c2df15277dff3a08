//! What an endpoint's reply means.
//!
//! Inputs: status, headers and body. Outputs: a [`Verdict`], how long the endpoint asks to wait, the id it gave. Must never
//! take a redirect or a log-in page for a delivery: only statuses that the operator expects, by default 2xx.

use cloudsnooze_plugin::Code;
use cloudsnooze_plugin_http::{Reply, header};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// Characters of an id that are kept.
const MAX_ID_CHARS: usize = 200;

/// What became of the message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Taken.
    Taken,
    /// The endpoint is in trouble, or has too much to do.
    Again,
    /// It will not work like this, and what to do about it.
    Refused(Code, &'static str),
}

/// Judges a status; `expected` is empty for any 2xx.
pub(crate) fn verdict(status: u16, expected: &[u16]) -> Verdict {
    let is_expected = if expected.is_empty() { status / 100 == 2 } else { expected.contains(&status) };
    match status {
        _ if is_expected => Verdict::Taken,
        408 | 425 | 429 | 500..=599 => Verdict::Again,
        200..=299 => Verdict::Refused(Code::Io, "this is not one of expect_status"),
        300..=399 => Verdict::Refused(Code::Config, "redirects are not followed; put the final address into url"),
        401 | 403 => Verdict::Refused(Code::Denied, "check headers and signing_keys"),
        404 | 410 => Verdict::Refused(Code::Config, "nobody listens there; check url"),
        405 => Verdict::Refused(Code::Config, "check method"),
        _ => Verdict::Refused(
            Code::Config,
            "the endpoint does not take such a message; check mode, template and headers",
        ),
    }
}

/// How long the endpoint asks to wait (RFC 9110 10.2.3), in seconds or until a date.
pub(crate) fn patience(reply: &Reply, now: Timestamp) -> Option<Duration> {
    reply.retry_after().or_else(|| until(reply.header(&header::RETRY_AFTER)?, now))
}

fn until(date: &str, now: Timestamp) -> Option<Duration> {
    let date = jiff::fmt::rfc2822::parse(date.trim()).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The id that the body has at this JSON pointer: a text or a number.
pub(crate) fn id(body: &[u8], pointer: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = match body.pointer(pointer)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then(|| text.chars().take(MAX_ID_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_expected_is_taken() {
        for (status, expected, wanted) in [
            (200, &[][..], None),
            (204, &[], None),
            (202, &[202], None),
            (200, &[202], Some(Code::Io)),
            (302, &[], Some(Code::Config)),
            (401, &[], Some(Code::Denied)),
            (404, &[], Some(Code::Config)),
            (422, &[], Some(Code::Config)),
        ] {
            let got = match verdict(status, expected) {
                Verdict::Taken => None,
                Verdict::Again => panic!("{status}"),
                Verdict::Refused(code, _) => Some(code),
            };
            assert_eq!(got, wanted, "{status} {expected:?}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(verdict(status, &[]), Verdict::Again);
        }
    }

    #[test]
    fn patience_may_be_asked_for_until_a_date() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(until("Fri, 02 Jan 2026 03:04:12 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(until("Fri, 02 Jan 2026 03:04:00 GMT", now), Some(Duration::ZERO), "it is over");
        assert_eq!(until("soon", now), None);
    }

    #[test]
    fn ids_are_texts_or_numbers_at_the_place_named() {
        let body = br#"{"data": {"id": "m-7", "n": 7, "none": null, "empty": ""}}"#;
        assert_eq!(id(body, "/data/id").as_deref(), Some("m-7"));
        assert_eq!(id(body, "/data/n").as_deref(), Some("7"));
        for pointer in ["/data", "/data/none", "/data/empty", "/id"] {
            assert_eq!(id(body, pointer), None, "{pointer}");
        }
        assert_eq!(id(b"<html>", "/id"), None);
    }
}
