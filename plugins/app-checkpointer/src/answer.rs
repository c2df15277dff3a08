//! What an application's words mean.
//!
//! Inputs: the body of a reply. Outputs: an [`Answer`]. Must never take silence for success: what is not
//! said is unknown.

use serde_json::{Value, json};

/// How the checkpoint is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Finished, says the application.
    Done,
    /// Not finished yet.
    Running,
    /// It will not be finished.
    Failed,
    /// The application does not say.
    #[default]
    Unknown,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// The words applications use, lower case, `-` and spaces as `_`.
    fn of_word(word: &str) -> Self {
        match word.to_ascii_lowercase().replace(['-', ' '], "_").as_str() {
            "done" | "completed" | "complete" | "success" | "succeeded" | "ok" | "saved" => Self::Done,
            "in_progress" | "pending" | "running" | "queued" | "accepted" | "started" => Self::Running,
            "failed" | "failure" | "error" | "aborted" | "cancelled" | "canceled" => Self::Failed,
            _ => Self::Unknown,
        }
    }
}

/// One reply of the application, understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) state: State,
    /// Whether it is on storage that survives the machine, when the application says.
    pub(crate) durable: Option<bool>,
    pub(crate) checkpoint_id: Option<String>,
    /// Bytes.
    pub(crate) size: Option<Value>,
    /// When it was saved, in the application's own form.
    pub(crate) time: Option<Value>,
    pub(crate) status_url: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    /// What the application has to say about a failure.
    pub(crate) message: Option<String>,
}

impl Answer {
    /// Reads a body. `accepted`: the status was 202, which promises a result for later.
    pub(crate) fn read(body: &[u8], accepted: bool) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |names: &[&str]| names.iter().find_map(|n| json.get(n)).filter(|v| !v.is_null()).cloned();
        let text = |names: &[&str]| match member(names)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let durable = member(&["durable"]).and_then(|v| v.as_bool());
        let said = text(&["status", "state"]).map_or(State::Unknown, |word| State::of_word(&word));
        let state = match (said, durable) {
            (State::Unknown, Some(true)) => State::Done,
            (State::Unknown, _) if accepted => State::Running,
            (said, _) => said,
        };
        Self {
            state,
            durable,
            checkpoint_id: text(&["checkpoint_id", "checkpointId"]),
            size: member(&["size_bytes", "size"]),
            time: member(&["saved_at", "completed_at", "time"]),
            status_url: text(&["status_url", "statusUrl"]),
            idempotency_key: text(&["idempotency_key"]),
            message: text(&["error", "message", "detail"]),
        }
    }

    /// Finished, and not said to be lost with the machine.
    pub(crate) fn is_saved(&self) -> bool {
        self.state == State::Done && self.durable != Some(false)
    }

    /// Whether this is about the same checkpoint as `other`, as far as the two say. A status address may
    /// still be telling of an earlier one.
    pub(crate) fn is_about(&self, other: &Self, key: &str) -> bool {
        let differ = |a: Option<&str>, b: Option<&str>| matches!((a, b), (Some(a), Some(b)) if a != b);
        !differ(self.checkpoint_id.as_deref(), other.checkpoint_id.as_deref())
            && !differ(self.idempotency_key.as_deref(), Some(key))
    }

    /// What else `earlier` knew about the same checkpoint.
    pub(crate) fn or(self, earlier: &Self) -> Self {
        Self {
            checkpoint_id: self.checkpoint_id.or_else(|| earlier.checkpoint_id.clone()),
            size: self.size.or_else(|| earlier.size.clone()),
            time: self.time.or_else(|| earlier.time.clone()),
            ..self
        }
    }

    /// For the report.
    pub(crate) fn durable_text(&self) -> &'static str {
        match (self.state, self.durable) {
            (State::Done, Some(true)) => "yes",
            (State::Done, Some(false)) | (State::Failed, _) => "no",
            _ => "unknown",
        }
    }

    /// Evidence of a verification: who confirmed what.
    pub(crate) fn confirmed_by(&self, who: &str) -> Value {
        json!({
            "confirmed_by": who, "state": self.state.name(), "checkpoint_id": self.checkpoint_id,
            "size": self.size, "time": self.time, "durable": self.durable_text(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Answer {
        Answer::read(body.as_bytes(), false)
    }

    #[test]
    fn states_are_read_from_the_words_applications_use() {
        for (body, state, saved) in [
            (r#"{"status":"Completed"}"#, State::Done, true),
            (r#"{"state":"saved","durable":true}"#, State::Done, true),
            (r#"{"durable":true}"#, State::Done, true),
            (r#"{"status":"done","durable":false}"#, State::Done, false),
            (r#"{"status":"in-progress"}"#, State::Running, false),
            (r#"{"status":"in progress","durable":true}"#, State::Running, false),
            (r#"{"status":"error"}"#, State::Failed, false),
            (r#"{"status":"failed","durable":true}"#, State::Failed, false),
        ] {
            let answer = read(body);
            assert_eq!((answer.state, answer.is_saved()), (state, saved), "{body}");
        }
    }

    #[test]
    fn silence_is_not_success() {
        for body in ["", "OK", "done", "[]", "\"done\"", "{}", r#"{"status":true}"#, r#"{"status":"whatever"}"#] {
            assert_eq!(read(body).state, State::Unknown, "{body}");
            assert_eq!(Answer::read(body.as_bytes(), true).state, State::Running, "{body} with 202");
        }
    }

    #[test]
    fn an_answer_about_another_checkpoint_is_known_by_its_id_or_key() {
        let first = read(r#"{"checkpoint_id":"b","status":"pending"}"#);
        for (body, ours) in [
            (r#"{"checkpoint_id":"b"}"#, true),
            (r#"{"checkpoint_id":"a"}"#, false),
            (r#"{"status":"done"}"#, true),
            (r#"{"idempotency_key":"k"}"#, true),
            (r#"{"idempotency_key":"j"}"#, false),
        ] {
            assert_eq!(read(body).is_about(&first, "k"), ours, "{body}");
        }
    }

    #[test]
    fn numbers_serve_as_ids_and_later_answers_keep_what_earlier_ones_knew() {
        let first = read(r#"{"checkpointId":17,"size_bytes":4096}"#);
        let later = read(r#"{"status":"done","saved_at":"2026-01-02T03:04:09Z","durable":true}"#).or(&first);
        assert_eq!(
            later.confirmed_by("x"),
            json!({"confirmed_by": "x", "state": "done", "checkpoint_id": "17", "size": 4096,
                   "time": "2026-01-02T03:04:09Z", "durable": "yes"})
        );
    }
}
