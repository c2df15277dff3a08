//! One message to one endpoint, within the time there is.
//!
//! Inputs: a checked endpoint, its client, a message. Outputs: a [`Sending`]: what became of it, with evidence. Must never
//! call a message delivered that the endpoint did not take, send it under another id in a later attempt, nor wait longer
//! than it was given or once it is cancelled.

use crate::answer::{self, Verdict, verdict};
use crate::body::Message;
use crate::config::Target;
use crate::sign::signature;
use cloudsnooze_plugin::pause::growing;
use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_http::{Client, Failure, HeaderName, HeaderValue, Reply, Request, Session, excerpt};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Pause after the first attempt that failed; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause that an endpoint did not ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Characters of an endpoint's answer that are shown.
const MAX_SAID_CHARS: usize = 200;

/// What is to be sent, and where to.
pub(crate) struct Job<'j> {
    pub(crate) target: &'j Target,
    pub(crate) client: &'j Client,
    pub(crate) message: Message,
    pub(crate) event_id: &'j str,
}

/// What became of it.
pub(crate) struct Sending {
    /// Taken, or why not.
    pub(crate) outcome: Result<(), Error>,
    /// The id that the endpoint gave.
    pub(crate) id: Option<String>,
    /// For the report.
    pub(crate) evidence: Value,
}

/// What was seen of the attempts so far.
#[derive(Default)]
struct Seen {
    attempts: u32,
    status: Option<u16>,
    said: String,
    id: Option<String>,
}

/// Whether another attempt makes sense, after which pause, and what to say if there is none.
enum Next {
    Done(Result<(), Error>),
    After(Option<Duration>, Error),
}

impl Job<'_> {
    /// Sends the message until it is taken, refused, or `until`.
    pub(crate) fn run(&self, until: Instant, is_cancelled: &dyn Fn() -> bool) -> Sending {
        let started = Instant::now();
        let session = self.client.begin();
        let mut seen = Seen::default();
        let outcome = self.attempts(&session, &mut seen, until, is_cancelled);
        let evidence = json!({
            "endpoint": self.target.endpoint.to_string(), "taken": outcome.is_ok(), "status": seen.status,
            "attempts": seen.attempts, "ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "bytes": self.message.bytes.len(), "signed": !self.target.keys.is_empty(), "id": seen.id,
            "answer": seen.said, "connection": session.connection(),
            "error": outcome.as_ref().err().map(|error| error.message()),
        });
        Sending { outcome, id: seen.id, evidence }
    }

    fn attempts(
        &self,
        session: &Session<'_>,
        seen: &mut Seen,
        until: Instant,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let target = self.target;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if is_cancelled() {
                return Err(Failure::Cancelled.into_error(&target.endpoint));
            }
            if left.is_zero() {
                return Err(Failure::OutOfTime.into_error(&target.endpoint));
            }
            seen.attempts += 1;
            let reply = self.send(session, left.min(target.attempt_time))?;
            let (asked, failure) = match self.judge(reply, seen, until) {
                Next::Done(outcome) => return outcome,
                Next::After(asked, failure) => (asked, failure),
            };
            if seen.attempts >= target.attempts {
                return Err(failure);
            }
            let pause = asked.unwrap_or_else(|| growing(seen.attempts, FIRST_PAUSE, LONGEST_PAUSE));
            let left = until.saturating_duration_since(Instant::now());
            if pause >= left {
                let wish =
                    asked.map(|time| format!("; it asks to wait {} s, longer than the time left", time.as_secs()));
                return Err(
                    Error::new(format!("{}{}", failure.message(), wish.unwrap_or_default())).code(failure.kind())
                );
            }
            session.pause(pause, is_cancelled).map_err(|failure| failure.into_error(&target.endpoint))?;
        }
    }

    /// Sends it once. The outer result is for what makes sending impossible.
    fn send(&self, session: &Session<'_>, left: Duration) -> Result<Result<Reply, Failure>, Error> {
        let target = self.target;
        let id = HeaderValue::try_from(self.event_id)?;
        let mut headers = target.headers.clone();
        headers.extend(self.message.headers.iter().cloned());
        headers.push((HeaderName::from_static("idempotency-key"), id.clone()));
        headers.push((HeaderName::from_static("webhook-id"), id));
        // When this attempt is made: receivers refuse old times, as they may be repetitions by a stranger.
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
        headers.push((HeaderName::from_static("webhook-timestamp"), HeaderValue::from(now)));
        if !target.keys.is_empty() {
            let signature = signature(&target.keys, self.event_id, now, &self.message.bytes);
            headers.push((HeaderName::from_static("webhook-signature"), HeaderValue::try_from(signature)?));
        }
        let request = Request {
            method: target.method.clone(),
            endpoint: &target.endpoint,
            headers: &headers,
            body: &self.message.bytes,
        };
        Ok(session.send(&request, left))
    }

    fn judge(&self, reply: Result<Reply, Failure>, seen: &mut Seen, until: Instant) -> Next {
        let endpoint = &self.target.endpoint;
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => {
                let is_silent = failure == Failure::OutOfTime && Instant::now() < until;
                let may_pass = is_silent || matches!(failure, Failure::Unreachable(_) | Failure::Broken(_));
                let error = failure.into_error(endpoint);
                return if may_pass { Next::After(None, error) } else { Next::Done(Err(error)) };
            }
        };
        seen.status = Some(reply.status);
        seen.said = excerpt(&reply.text(), MAX_SAID_CHARS, &self.target.secrets());
        match verdict(reply.status, &self.target.expect_status) {
            Verdict::Taken => {
                seen.id = self.target.id_pointer.as_deref().and_then(|pointer| answer::id(&reply.body, pointer));
                Next::Done(Ok(()))
            }
            Verdict::Again => {
                Next::After(answer::patience(&reply, Timestamp::now()), self.failed(seen, "").code(Code::Retry))
            }
            Verdict::Refused(code, advice) => Next::Done(Err(self.failed(seen, advice).code(code))),
        }
    }

    fn failed(&self, seen: &Seen, advice: &str) -> Error {
        let mut text = format!("{} answered {}", self.target.endpoint, seen.status.unwrap_or_default());
        for part in [seen.said.as_str(), advice] {
            if !part.is_empty() {
                text = format!("{text}: {part}");
            }
        }
        Error::new(text)
    }
}
