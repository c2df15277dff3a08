//! What a member says of an event beyond what the group needs, on its way to who can use it.
//!
//! Responsibilities: keep a JSON value as text until somebody reads it. Inputs: the owner's values, messages. Outputs: the same.
//! It must never be what the group decides by.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The whole event of another member (a CloudEvent), as the text that came: most members have no use for it, and read nothing of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Details(Box<RawValue>);

impl Details {
    /// What the text says; null where that is nested deeper than is read.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }

    /// How long the text is, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.get().len()
    }
}

impl Default for Details {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl PartialEq for Details {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl From<&Value> for Details {
    fn from(value: &Value) -> Self {
        serde_json::value::to_raw_value(value).map_or_else(|_| Self::default(), Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_as_it_was_given_and_what_is_too_deep_is_null() {
        let value = serde_json::json!({ "b": [1, null], "a": { "x": "\u{e9}" } });
        let text = serde_json::to_string(&Details::from(&value)).expect("text");
        assert_eq!(serde_json::from_str::<Details>(&text).expect("details").value(), value);
        assert_eq!(serde_json::from_str::<Details>(" [ 1 ] ").expect("details").len(), "[ 1 ]".len());
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(serde_json::from_str::<Details>(&deep).map(|deep| deep.value()).unwrap_or_default(), Value::Null);
        assert_eq!((Details::default().value(), serde_json::from_str::<Details>("[1").is_err()), (Value::Null, true));
    }
}
