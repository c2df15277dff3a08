//! What the report will say about a checkpoint.
//!
//! Inputs: the steps as they happen. Outputs: one JSON object. Must never hold more than 4 KiB of the
//! application's own words.

use crate::answer::Answer;
use cloudsnooze_plugin_http::Session;
use serde_json::{Value, json};
use std::time::Instant;

/// Bytes of the application's reply that are kept.
const MAX_SHOWN_BYTES: usize = 4 << 10;

/// The evidence as it grows.
pub(crate) struct Evidence {
    started: Instant,
    reason: String,
    connection: Option<&'static str>,
    status: Option<u16>,
    app_response: Value,
    answer: Answer,
    polls: u32,
    poll_status: Option<u16>,
    skipped: Vec<Value>,
}

impl Evidence {
    pub(crate) fn new(reason: String) -> Self {
        Self {
            started: Instant::now(),
            reason,
            connection: None,
            status: None,
            app_response: Value::Null,
            answer: Answer::default(),
            polls: 0,
            poll_status: None,
            skipped: Vec::new(),
        }
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The application replied to the request.
    pub(crate) fn started(&mut self, session: &Session<'_>, status: u16, answer: &Answer, app_response: Value) {
        self.connection = Some(session.connection());
        (self.status, self.answer, self.app_response) = (Some(status), answer.clone(), app_response);
    }

    /// The status was asked for, and this came.
    pub(crate) fn polled(&mut self, status: Option<u16>) {
        self.polls += 1;
        self.poll_status = status;
    }

    /// How often the status was asked for.
    pub(crate) fn polls(&self) -> u32 {
        self.polls
    }

    /// The application told more.
    pub(crate) fn learned(&mut self, answer: &Answer, app_response: Value) {
        (self.answer, self.app_response) = (answer.clone(), app_response);
    }

    pub(crate) fn skipped(&mut self, step: &str, reason: &str) {
        self.skipped.push(json!({ "step": step, "reason": reason }));
    }

    pub(crate) fn report(&self) -> Value {
        let answer = &self.answer;
        json!({
            "action": "checkpoint",
            "evidence": {
                "reason": self.reason, "connection": self.connection, "status": self.status, "state": answer.state.name(),
                "checkpoint_id": answer.checkpoint_id, "size": answer.size, "time": answer.time,
                "app_response": self.app_response, "polls": self.polls, "last_poll_status": self.poll_status,
                "duration_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
            "durable": answer.durable_text(),
            "skipped": self.skipped,
        })
    }
}

/// A reply's text for the report: as JSON when it is some and short enough, else its beginning.
pub(crate) fn shown(text: &str) -> Value {
    if text.len() <= MAX_SHOWN_BYTES {
        return serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    }
    let end = (0..=MAX_SHOWN_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    json!(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_shown_as_json_as_text_or_by_their_beginning() {
        assert_eq!(shown(r#"{"a":1}"#), json!({"a": 1}));
        assert_eq!(shown("saved"), json!("saved"));
        let long = shown(&"ä".repeat(4000));
        assert!(long.as_str().is_some_and(|text| text.len() == MAX_SHOWN_BYTES + "…".len()), "{long}");
    }
}
