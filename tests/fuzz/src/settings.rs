//! What an operator or a plugin's author can write: configurations, schemas, secrets, log lines.
//!
//! Promises: every error says where; no error shows what stands in a handler's `config`; no secret is left in a text.

use crate::MARK;
use cloudsnooze::config::{Config, REDACTED, Scrubber, is_secret_key};
use cloudsnooze::host::{Refusal, schema::check};
use cloudsnooze::log_ring::{LINE_BYTES_MAX, LogRing};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Shortest secret that is looked for, and shortest beginning of one that is hidden at a cut, bytes.
const SECRET_BYTES_MIN: usize = 4;

/// A whole configuration file.
pub fn config(data: &[u8]) {
    let file = Path::new("/etc/cloudsnooze/cloudsnooze.json");
    let document = serde_json::from_slice::<Map<String, Value>>(data).ok();
    match Config::from_text(file, data) {
        Ok(loaded) => {
            let document = Value::Object(document.expect("only an object is a configuration"));
            assert_eq!(loaded.files(), [file]);
            if are_all_marks(data, &document, true) {
                assert!(!format!("{loaded:?}").contains(MARK), "shown: {loaded:?}");
            }
            let text = serde_json::to_vec(&loaded.config).expect("writable");
            let again = Config::from_text(file, &text).expect("what was accepted is accepted again");
            assert_eq!(again.config, loaded.config);
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            for error in &errors {
                assert_eq!(error.file, file);
                assert!(!error.found.is_empty() && !error.expected.is_empty(), "{error:?}");
                assert!(document.is_none() || !error.path.is_empty(), "no place: {error}");
                assert!(error.to_string().lines().count() <= 2, "more lines than two: {error}");
            }
            let all_private = document.is_some_and(|document| are_all_marks(data, &Value::Object(document), false));
            if all_private {
                assert!(!format!("{errors:?}").contains(MARK), "shown: {errors:?}");
            }
        }
    }
}

/// Whether the mark stands nowhere but in texts of handlers' `config`; `are_secret`: under keys that speak of secrets.
fn are_all_marks(data: &[u8], document: &Value, are_secret: bool) -> bool {
    let all = data.windows(MARK.len()).filter(|window| *window == MARK.as_bytes()).count();
    let mut private = 0;
    for handlers in document.get("event_handlers").and_then(Value::as_object).into_iter().flat_map(Map::values) {
        for handler in handlers.get("plugins").and_then(Value::as_array).into_iter().flatten() {
            private += handler.get("config").filter(|config| config.is_object()).map_or(0, |c| marks(c, !are_secret));
        }
    }
    all > 0 && private == all
}

fn marks(value: &Value, counts: bool) -> usize {
    match value {
        Value::String(text) if counts => text.matches(MARK).count(),
        Value::Array(items) => items.iter().map(|item| marks(item, counts)).sum(),
        // A reference names where a secret is, and is shown.
        Value::Object(members) if members.len() == 1 && !cloudsnooze::config::is_reference(value) => {
            members_of(members, counts)
        }
        Value::Object(members) if members.len() != 1 => members_of(members, counts),
        _ => 0,
    }
}

fn members_of(members: &Map<String, Value>, counts: bool) -> usize {
    members.iter().map(|(key, member)| marks(member, counts || is_secret_key(key))).sum()
}

/// A plugin's schema and a configuration for it, parted by a zero byte.
pub fn schema(data: &[u8]) {
    let (schema, config) = crate::two_parts(data);
    let (Ok(schema), Ok(config)) = (str::from_utf8(schema), serde_json::from_slice::<Value>(config)) else { return };
    match check(schema, &config) {
        Ok(()) | Err(Refusal::BadSchema(_)) => {}
        Err(Refusal::Config(faults)) => {
            assert!(!faults.is_empty(), "refused without a reason");
            assert!(faults.iter().all(|fault| fault.starts_with("config")), "without a path: {faults:?}");
            // Keys may be named, values may not.
            let is_value = !schema.contains(MARK) && !has_key(&config);
            assert!(!is_value || !faults.concat().contains(MARK), "shown: {faults:?}");
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn has_key(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_key),
        Value::Object(members) => members.iter().any(|(key, member)| key.contains(MARK) || has_key(member)),
        _ => false,
    }
}

/// A secret, what stands before it, and what stands after it, parted by zero bytes.
pub fn scrub(data: &[u8]) {
    let (secret, rest) = crate::two_parts(data);
    let (before, after) = crate::two_parts(rest);
    let texts = (str::from_utf8(secret), str::from_utf8(before), str::from_utf8(after));
    let (Ok(secret), Ok(before), Ok(after)) = texts else { return };
    let scrubber = Scrubber::new(&[], [&json!({ "password": secret, "dsn": after })]);
    let secret = secret.trim();
    if !is_hidden(secret) {
        return;
    }
    let quoted = Value::from(secret).to_string();
    for written in [secret, &quoted] {
        let clean = scrubber.scrub(&format!("{before}{written}{after}")).into_owned();
        assert!(!clean.contains(secret), "{secret:?} is left in {clean:?}");
    }
    let cuts = (SECRET_BYTES_MIN..secret.len()).filter_map(|length| secret.get(..length));
    for begun in cuts.take(64).filter(|begun| is_hidden(begun)) {
        let clean = scrubber.scrub_cut(&format!("{before}{begun}"));
        assert!(!clean.ends_with(begun), "{begun:?} is left in {clean:?}");
    }
}

/// Whether the text is one that is looked for, and that cannot be made anew by what is put in its place.
fn is_hidden(secret: &str) -> bool {
    secret.len() >= SECRET_BYTES_MIN && !secret.contains(['[', ']']) && !REDACTED.contains(secret)
}

/// A line of a plugin's log that begins a secret where it is cut: level, then the text.
pub fn log_line(data: &[u8]) {
    let Some((level, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let ring = LogRing::new(3);
    ring.push("fuzz", u32::from(*level), text);
    let Some(line) = ring.pop() else {
        assert!(*level > 3, "a line was lost");
        return;
    };
    assert!(text.starts_with(line.text()) && line.text().len() <= LINE_BYTES_MAX);
    assert_eq!(line.is_cut(), line.text().len() < text.len());
    // What was cut off is at most the rest of a character, unless the line is full.
    assert!(!line.is_cut() || line.text().len() + 4 > LINE_BYTES_MAX);
    if let Some(end) = text.get(line.text().len()..).filter(|rest| line.is_cut() && !rest.is_empty()) {
        let begun: String = line.text().chars().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect();
        let scrubber = Scrubber::new(&[], [&json!({ "password": format!("{begun}{end}") })]);
        let secret = format!("{begun}{end}");
        if is_hidden(&begun) && secret.trim() == secret {
            let clean = scrubber.scrub_cut(line.text());
            assert!(!clean.ends_with(&begun), "{begun:?} is left in {clean:?}");
        }
    }
}
