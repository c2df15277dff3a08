//! What is wrong with a configuration, in words an operator can act on.
//!
//! Responsibilities: the error every part of the configuration reports with, and how a value is shown in it. Inputs: places and
//! values. Outputs: one or two lines of text. Must never show a value from a handler's `config`, nor a password inside an address.

use serde_json::Value;
use std::fmt;
use std::path::PathBuf;

use super::path::JsonPath;
use super::scrub::{REDACTED, carries_password};

/// Most characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// One thing that is wrong, or doubtful, in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file the value came from.
    pub file: PathBuf,
    /// Where in the file: a [`super::JsonPath`] as text, or line and column; empty for the whole file.
    pub path: String,
    /// What is there, as a phrase.
    pub found: String,
    /// What should be there, as a phrase.
    pub expected: String,
    /// What to do about it: a sentence, or empty.
    pub hint: String,
    /// The offending line with its values masked, for text that is not JSON; else empty.
    pub excerpt: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "found {}, expected {}.", self.found, self.expected)?;
        if !self.hint.is_empty() {
            write!(f, " {}", self.hint)?;
        }
        if !self.excerpt.is_empty() {
            write!(f, "\n    {}", self.excerpt)?;
        }
        Ok(())
    }
}

/// The same before it is known which file the value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) path: JsonPath,
    pub(super) found: String,
    pub(super) expected: String,
    pub(super) hint: String,
}

impl Finding {
    pub(super) fn new(
        path: JsonPath,
        found: impl Into<String>,
        expected: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { path, found: found.into(), expected: expected.into(), hint: hint.into() }
    }

    /// The error for the operator: `file` is where the value came from.
    pub(super) fn in_file(self, file: PathBuf) -> ConfigError {
        let Self { path, found, expected, hint } = self;
        ConfigError { file, path: path.to_string(), found, expected, hint, excerpt: String::new() }
    }
}

/// A value as a phrase: its type, and the value itself where it is short and no container.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "an empty string".to_owned(),
        Value::String(text) if carries_password(text) => format!("the string \"{REDACTED}\""),
        Value::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
            let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("the string {}... of {} bytes", Value::String(start), text.len())
        }
        Value::String(_) => format!("the string {value}"),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The type of a value as a phrase, for places whose values are not to be shown.
pub fn describe_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_described_value_is_short_and_carries_no_password() {
        assert_eq!(describe(&json!(-3)), "the number -3");
        assert_eq!(describe(&json!("a\n")), r#"the string "a\n""#);
        assert_eq!(describe(&json!("http://u:hunter2@h/")), "the string \"[redacted]\"");
        let long = describe(&json!("é".repeat(5000)));
        assert!(long.len() < 200 && long.ends_with("... of 10000 bytes"), "{long}");
    }
}
