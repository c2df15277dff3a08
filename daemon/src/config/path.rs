//! Where a value stands inside a JSON document.
//!
//! Responsibilities: the path as a value, and its one written form. Inputs: keys and indexes. Outputs: text such as
//! `event_handlers["cloud.spot.interrupt"].plugins[0].name`. Must never hold a value of the document.

use serde_json::Value;
use std::fmt;

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into the member of an object.
    Key(String),
    /// Into the element of an array, counted from 0.
    Index(usize),
}

/// The steps from the top of a document to a value. The empty path is the document itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JsonPath(pub Vec<Step>);

impl JsonPath {
    /// The path of the handler at `index` (from 0) of the plugins that `event_handlers` names under `key`.
    pub fn handler(key: &str, index: usize) -> Self {
        Self::default().key("event_handlers").key(key).key("plugins").index(index)
    }

    /// The path of the source at `index` (from 0) of `sources.plugins`.
    pub fn source(index: usize) -> Self {
        Self::default().key("sources").key("plugins").index(index)
    }

    /// This path and the member `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// This path and the element `index`, counted from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// This path, then `below`.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        Self(self.0.iter().chain(&below.0).cloned().collect())
    }

    /// The value at this path, if the document has one.
    pub fn find<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(document, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl From<&serde_path_to_error::Path> for JsonPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        let steps = path.iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        Self(steps.collect())
    }
}

impl fmt::Display for JsonPath {
    /// Keys that are not plain words are quoted in brackets: a dot inside a key must not look like a step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if !is_word(key) => write!(f, "[{}]", Value::from(key.as_str()))?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn is_word(key: &str) -> bool {
    !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_with_a_dot_is_quoted_in_brackets() {
        let path = JsonPath::handler("cloud.spot.interrupt", 0).key("timeout_seconds");
        assert_eq!(path.to_string(), r#"event_handlers["cloud.spot.interrupt"].plugins[0].timeout_seconds"#);
        assert_eq!(JsonPath::default().key("a\"b").key("").key("7").to_string(), r#"["a\"b"][""]["7"]"#);
        assert_eq!(JsonPath::default().to_string(), "");
    }

    #[test]
    fn a_path_finds_its_value_and_nothing_beside_it() {
        let document = json!({"a.b": [1, {"c": 2}]});
        assert_eq!(JsonPath::default().key("a.b").index(1).key("c").find(&document), Some(&json!(2)));
        assert_eq!(JsonPath::default().key("a").find(&document), None);
        assert_eq!(JsonPath::default().find(&document), Some(&document));
    }
}
