//! One configuration file: from its bytes to a JSON value.
//!
//! Responsibilities: reading a file within limits; saying in plain words why its text is not good JSON. Inputs: a path, or bytes.
//! Outputs: the value, or errors with line and column. Must never show a value of the text: what stands in a broken line may be
//! a password, so only keys and punctuation are shown.

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::path::JsonPath;
use super::problem::ConfigError;
use super::scrub::speaks_of_secret;

/// Largest configuration file that is read, bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Most characters of a broken line that are shown.
const EXCERPT_CHARS_MAX: usize = 100;

/// Reads the object that one file holds. Blocks on the file system.
///
/// # Errors
/// Everything that is wrong with the file as JSON: one error, or one for each key given twice.
pub(super) fn read_file(path: &Path) -> Result<Value, Vec<ConfigError>> {
    let bytes = read_bytes(path).map_err(|(found, expected, hint)| vec![whole(path, &found, expected, hint)])?;
    parse(path, &bytes)
}

/// Parses the bytes of the file at `path`, which is only named in errors.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Value, Vec<ConfigError>> {
    if bytes.starts_with(b"\xEF\xBB\xBF") || bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(vec![whole(path, "a byte order mark", "plain UTF-8", "Save the file as UTF-8 without BOM.")]);
    }
    let text = str::from_utf8(bytes).map_err(|error| vec![not_utf8(path, bytes, error.valid_up_to())])?;
    if text.trim().is_empty() {
        return Err(vec![whole(path, "an empty file", "an object", "Write {} for a file that sets nothing.")]);
    }
    let value: Value = serde_json::from_str(text).map_err(|error| vec![syntax(path, text, &error)])?;
    let twice: Vec<ConfigError> = keys_given_twice(text).iter().map(|key| given_twice(path, key)).collect();
    if !twice.is_empty() {
        return Err(twice);
    }
    if !value.is_object() {
        let found = super::problem::describe_type(&value);
        return Err(vec![whole(path, found, "an object", "The whole file has to be one { ... }.")]);
    }
    Ok(value)
}

/// The bytes of a regular file within the limit, or found, expected and hint.
fn read_bytes(path: &Path) -> Result<Vec<u8>, (String, &'static str, &'static str)> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            ("no such file".to_owned(), "a configuration file", "Create it, or name another.")
        }
        std::io::ErrorKind::PermissionDenied => {
            let hint = "Let the daemon's user read it (root:cloudsnooze, mode 0640).";
            ("a file that may not be read".to_owned(), "a readable file", hint)
        }
        _ => (format!("a file that cannot be read ({error})"), "a readable file", ""),
    };
    // Looked at before opening: opening a named pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "something that is no regular file" };
        return Err((found.to_owned(), "a configuration file", ""));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(("a file of more than 1 MiB".to_owned(), "at most 1 MiB", "Is this the right file?"));
    }
    Ok(bytes)
}

fn whole(path: &Path, found: &str, expected: &str, hint: &str) -> ConfigError {
    ConfigError {
        file: path.to_owned(),
        path: String::new(),
        found: found.to_owned(),
        expected: expected.to_owned(),
        hint: hint.to_owned(),
        excerpt: String::new(),
    }
}

fn not_utf8(path: &Path, bytes: &[u8], valid: usize) -> ConfigError {
    let line = bytes[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
    let place = format!("line {line}");
    ConfigError { path: place, ..whole(path, "bytes that are not UTF-8", "UTF-8 text", "Save the file as UTF-8.") }
}

fn given_twice(path: &Path, key: &JsonPath) -> ConfigError {
    let hint = "Keep one of them: which one counts would be chance.";
    ConfigError { path: key.to_string(), ..whole(path, "this key twice in one object", "every key once", hint) }
}

fn syntax(path: &Path, text: &str, error: &serde_json::Error) -> ConfigError {
    let lines: Vec<&str> = text.lines().collect();
    let (mut number, mut column) = (error.line(), error.column());
    // Column 0 is the parser's way of saying that the line before ended too early.
    while column == 0 && number > 1 {
        number -= 1;
        column = lines.get(number - 1).map_or(0, |line| line.len());
    }
    let line = lines.get(number.saturating_sub(1)).copied().unwrap_or_default();
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let (found, expected, hint) = explain(message, line, column);
    let excerpt = format!("{number} | {}", mask(line));
    let place = format!("line {number}, column {column}");
    ConfigError { path: place, excerpt, ..whole(path, &found, expected, hint) }
}

/// The parser's message as found, expected and hint.
fn explain(message: &str, line: &str, column: usize) -> (String, &'static str, &'static str) {
    let from_column = line.get(column.saturating_sub(1)..).unwrap_or_default();
    if from_column.starts_with('/') || from_column.starts_with('#') {
        return ("a comment".to_owned(), "JSON", "JSON has no comments: remove it.");
    }
    let number = from_column.strip_prefix('-').unwrap_or(from_column);
    if number.starts_with("NaN") || number.starts_with("Infinity") {
        return (
            "a number that is not finite".to_owned(),
            "a number",
            "JSON has no NaN and no Infinity: write a number.",
        );
    }
    let (found, expected, hint) = match message {
        "trailing comma" => ("a comma with nothing after it", "a value or the end", "Remove the last comma."),
        "trailing characters" => ("more text after the end", "one object", "Remove what follows the last }."),
        "key must be a string" => ("a key without quotes", "a key in double quotes", "Write \"key\": value."),
        "expected `:`" => ("a key with no colon after it", "a colon", "Write \"key\": value."),
        "expected `,` or `}`" | "expected `,` or `]`" => (
            "two values with nothing between them",
            "a comma or a closing bracket",
            "A comma is missing before this place.",
        ),
        "invalid escape" => ("an unknown escape in a string", "one that JSON has", "Write \\\\ for a backslash."),
        "number out of range" => ("a number too large", "a number", ""),
        "recursion limit exceeded" => ("brackets nested too deep", "at most 127 levels", ""),
        "expected value" | "expected ident" => {
            ("something that is no value", "a string in double quotes, a number, true, false, null, { or [", "")
        }
        _ if message.starts_with("EOF") => {
            ("the end of the file", "more", "A quote or bracket is not closed, or the file was cut off.")
        }
        _ if message.starts_with("control character") => (
            "a line break or control character inside a string",
            "the end of the string",
            "Close the quote; write \\n.",
        ),
        other => return (format!("text that is not JSON ({other})"), "JSON", ""),
    };
    (found.to_owned(), expected, hint)
}

/// The line without its values: strings that are not keys and bare words become `...`, and so do numbers where the line
/// speaks of a secret.
fn mask(line: &str) -> String {
    let hide_numbers = speaks_of_secret(line);
    let mut masked = String::new();
    let mut rest = line.trim();
    let mut after_key_start = true;
    while let Some(first) = rest.chars().next() {
        let (end, shown) = match first {
            '"' | '\'' => {
                let end = string_end(rest, first);
                let is_key = after_key_start && first == '"' && rest[end..].trim_start().starts_with(':');
                (end, if is_key { &rest[..end] } else { "\"...\"" })
            }
            _ if is_mark(first) => (first.len_utf8(), &rest[..first.len_utf8()]),
            _ => {
                let end = rest.find(|c| is_mark(c) || c == '"' || c == '\'').unwrap_or(rest.len());
                (end, if is_shown_word(&rest[..end], hide_numbers) { &rest[..end] } else { "..." })
            }
        };
        masked.push_str(shown);
        if !first.is_whitespace() {
            after_key_start = first == '{' || first == ',';
        }
        rest = &rest[end..];
    }
    if masked.chars().count() > EXCERPT_CHARS_MAX {
        masked = masked.chars().take(EXCERPT_CHARS_MAX).chain("...".chars()).collect();
    }
    masked
}

fn is_mark(c: char) -> bool {
    c.is_whitespace() || matches!(c, '{' | '}' | '[' | ']' | ',' | ':')
}

fn is_shown_word(word: &str, hide_numbers: bool) -> bool {
    let is_number = word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    (is_number && !hide_numbers) || matches!(word, "true" | "false" | "null" | "NaN" | "Infinity" | "-Infinity")
}

/// Index after the closing quote of the string that `text` starts with, or the end of the text.
fn string_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The keys that one object of the text has more than once; serde_json keeps the last one and says nothing.
fn keys_given_twice(text: &str) -> Vec<JsonPath> {
    let mut scan = KeyScan { path: JsonPath::default(), twice: Vec::new() };
    // The text has been parsed before, so this cannot fail.
    let _ = serde_json::Deserializer::from_str(text).deserialize_any(&mut scan);
    scan.twice
}

struct KeyScan {
    path: JsonPath,
    twice: Vec<JsonPath>,
}

impl KeyScan {
    /// Goes down to `below` for the time that `read` takes.
    fn within<T>(&mut self, below: JsonPath, read: impl FnOnce(&mut Self) -> T) -> T {
        let above = std::mem::replace(&mut self.path, below);
        let result = read(self);
        self.path = above;
        result
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for &mut KeyScan {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut KeyScan {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = self.path.key(&key);
            if !seen.insert(key) && !self.twice.contains(&path) {
                self.twice.push(path.clone());
            }
            self.within(path, |scan| map.next_value_seed(scan))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            if self.within(self.path.index(index), |scan| seq.next_element_seed(scan))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_ignored_any(IgnoredAny).map(|_| ())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let errors = parse(Path::new("f"), text.as_bytes()).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_broken_line_is_shown_without_its_values() {
        for (line, shown) in [
            (r#"  "password": "hunter2" "x": 1"#, r#""password": "..." "...": ..."#),
            (r#"{"a": "hunter2", "b": 5 "c": 6}"#, r#"{"a": "...", "b": 5 "...": 6}"#),
            (r#""a": hunter2, 'b': 'hunter2'"#, r#""a": ..., "...": "...""#),
            (r#""a": "hunter2"#, r#""a": "...""#),
            (r#""a": "say \"hunter2\" ", NaN"#, r#""a": "...", NaN"#),
            (r#""token": 123456, # hunter2"#, r#""token": ..., ... ..."#),
        ] {
            assert_eq!(mask(line), shown);
        }
    }

    #[test]
    fn a_broken_file_never_shows_its_password() {
        // No two neighbours of this password stand together anywhere else: even a piece of it would be seen.
        let password = "qzjxkvwq";
        let pieces: Vec<&str> = (0..password.len() - 1).map(|at| &password[at..at + 2]).collect();
        let text = r#"{"a": {"plugins": [{"name": "p", "config": {"password": "SECRET", "b": ["SECRET"], "c": 1}}]}}"#;
        let text = text.replace("SECRET", password);
        let mut refused = 0;
        for position in 0..text.len() {
            for junk in ["\"", ",", "}", "x", "/", "\\", "'", ":", "\n", "\",\"", "\":"] {
                let broken = format!("{}{junk}{}", &text[..position], &text[position..]);
                if let Err(errors) = parse(Path::new("f"), broken.as_bytes()) {
                    refused += 1;
                    let shown: String = errors.iter().map(|error| format!("{error} {error:?}")).collect();
                    assert!(!pieces.iter().any(|piece| shown.contains(piece)), "{broken}: {shown}");
                }
            }
        }
        assert!(refused > 500, "only {refused} of the texts were broken");
    }

    #[test]
    fn a_key_given_twice_is_found_at_every_depth_and_named_once() {
        let errors = message(r#"{"a": [{"b": 1, "c": 2, "b": 3, "b": 4}], "x.y": 1, "x.y": {}}"#);
        assert!(errors.contains("a[0].b: found this key twice"), "{errors}");
        assert!(errors.contains(r#"["x.y"]: found this key twice"#), "{errors}");
        assert_eq!(errors.lines().count(), 2, "{errors}");
    }

    #[test]
    fn text_nested_beyond_reason_is_refused() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(message(&deep).contains("nested too deep"));
    }

    #[test]
    fn a_file_that_is_not_a_plain_utf8_object_is_refused_with_the_reason() {
        assert!(message("\u{feff}{}").contains("byte order mark"));
        assert!(message(" \n").contains("an empty file"));
        assert!(message("[1]").contains("found a list, expected an object"));
        let errors = parse(Path::new("f"), b"{\n\"a\": \"\xff\"}").unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "f: line 2: found bytes that are not UTF-8, expected UTF-8 text. Save the file as UTF-8."
        );
    }
}
