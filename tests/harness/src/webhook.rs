//! A receiver of webhooks that answers as Slack's incoming webhooks do.
//!
//! Responsibilities: take messages, refuse what is no message, answer by script where a test wants trouble. Inputs: HTTP
//! requests, a queue of [`Reply`]s. Outputs: replies, the messages taken. It must never take a message that Slack would
//! refuse. Sources: Slack's documentation, "Sending messages using incoming webhooks" (bodies and statuses of errors) and
//! "Rate limits" (429 with `Retry-After`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use crate::http::{Answer, HttpServer, Received, lock};

/// The part of the address that is a secret: it must turn up in no log, no error and no report.
pub const SECRET: &str = "secret-that-nobody-may-see";

/// How to answer one POST that could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// 200 `ok`; the message is taken. So are all when the script is at its end.
    Taken,
    /// 429 with `Retry-After`.
    TooMany {
        /// Its value.
        retry_after_seconds: u32,
    },
    /// 404 `no_service`: the webhook has been removed.
    NoService,
    /// 500.
    Broken,
}

/// A message that was taken.
#[derive(Clone, Debug)]
pub struct Message {
    /// The payload.
    pub payload: Value,
    /// When it had come.
    pub at: Instant,
}

impl Message {
    /// True when `text` stands in any of the payload's texts.
    pub fn says(&self, text: &str) -> bool {
        says(&self.payload, text)
    }
}

fn says(value: &Value, text: &str) -> bool {
    match value {
        Value::String(have) => have.contains(text),
        Value::Array(items) => items.iter().any(|item| says(item, text)),
        Value::Object(fields) => fields.values().any(|field| says(field, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[derive(Default)]
struct State {
    script: VecDeque<Reply>,
    messages: Vec<Message>,
}

/// A running receiver. Its methods may be called from any thread. Dropping it closes its port.
pub struct Webhook {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

impl Webhook {
    /// Starts on a free port of 127.0.0.1 and takes every valid message.
    ///
    /// # Errors
    /// When no port or no thread is to be had.
    pub fn start() -> Result<Self, String> {
        let state = Arc::new(Mutex::new(State::default()));
        let answering = Arc::clone(&state);
        let server = HttpServer::start(move |request| answer(&mut lock(&answering), request))?;
        Ok(Self { server, state })
    }

    /// The address to configure, with its secret part.
    pub fn url(&self) -> String {
        self.server.url(&path())
    }

    /// The next valid messages are answered so, in this order, after what was scripted before.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.state).script.extend(replies);
    }

    /// The messages taken, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.state).messages.clone()
    }

    /// Everything it was asked so far, oldest first, refused or not.
    pub fn requests(&self) -> Vec<Received> {
        self.server.requests()
    }
}

fn path() -> String {
    format!("/services/T00000000/B00000000/{SECRET}")
}

fn answer(state: &mut State, request: &Received) -> Answer {
    if request.path != path() {
        return Answer::text(404, "no_service");
    }
    if request.method != "POST" {
        return Answer::text(405, "method_not_allowed");
    }
    let Some(payload) = request.json().filter(is_message) else { return Answer::text(400, "invalid_payload") };
    match state.script.pop_front().unwrap_or(Reply::Taken) {
        Reply::Taken => {
            state.messages.push(Message { payload, at: request.at });
            Answer::text(200, "ok")
        }
        Reply::TooMany { retry_after_seconds } => {
            Answer::text(429, "rate_limited").with_header("Retry-After", retry_after_seconds.to_string())
        }
        Reply::NoService => Answer::text(404, "no_service"),
        Reply::Broken => Answer::text(500, "server_error"),
    }
}

/// A JSON object with something to show.
fn is_message(payload: &Value) -> bool {
    let has_text = payload["text"].as_str().is_some_and(|text| !text.is_empty());
    let has_list =
        |name: &str| payload[name].as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_object));
    payload.is_object() && (has_text || has_list("blocks") || has_list("attachments"))
}
