//! Asks the application how its checkpoint is doing, until it is saved, failed or out of time.
//!
//! Inputs: the first answer and the status address. Outputs: the last answer, or the failure with its
//! evidence. Must never take another checkpoint's state for this one's.

use crate::answer::{Answer, State};
use crate::evidence::{Evidence, shown};
use crate::{AppCheckpointer, left};
use cloudsnooze_plugin::{Call, Code, Error, Verification};
use cloudsnooze_plugin_http::{Endpoint, Failure, Method, Reply, Request, Session, excerpt, redact};
use serde_json::Value;

/// Characters of an application's message that go into an error.
const MAX_SAID_CHARS: usize = 200;

/// What one question for the status brought.
enum Polled {
    /// What the application says, and how the report shows it.
    Answer(Answer, Value),
    /// Nothing of use; worth another question, no sooner than this if the application says so.
    Again(Option<std::time::Duration>),
}

impl AppCheckpointer {
    /// Sees to it that the checkpoint is saved, as far as the application can tell.
    pub(crate) fn confirm(
        &self,
        session: &Session<'_>,
        call: &Call<'_>,
        first: Answer,
        status_url: Option<&Endpoint>,
        evidence: &mut Evidence,
    ) -> Result<Answer, Error> {
        let unconfirmed = match (first.is_saved(), status_url) {
            (true, _) => return Ok(first),
            (false, Some(url)) => {
                let result = self.follow(session, call, &first, url, evidence);
                return result.map_err(|error| error.with_result(evidence.report()));
            }
            (false, None) if first.state == State::Done => "the application says that it is not durable",
            (false, None) if first.state == State::Running => {
                "the application says that it is running and names no status address"
            }
            (false, None) => "the application neither says how the checkpoint is doing nor names a status address",
        };
        evidence.skipped("confirm", unconfirmed);
        self.host.warn(format_args!("{}: not confirmed: {unconfirmed}", self.target.app_endpoint));
        Ok(first)
    }

    fn follow(
        &self,
        session: &Session<'_>,
        call: &Call<'_>,
        first: &Answer,
        url: &Endpoint,
        evidence: &mut Evidence,
    ) -> Result<Answer, Error> {
        let key = call.idempotency_key();
        let mut pause = self.target.poll_interval;
        let mut latest = first.clone();
        loop {
            let time = pause.min(left(call));
            session.pause(time, || call.cancelled().is_some()).map_err(|f| f.into_error("follow the checkpoint"))?;
            if left(call).is_zero() {
                let state = latest.state.name();
                let text =
                    format!("time is up and the application still says {state}, after {} polls", evidence.polls());
                return Err(Error::new(text).code(Code::Deadline));
            }
            pause = self.target.poll_interval;
            match self.poll(session, call, url, evidence)? {
                Polled::Again(wait) => pause = pause.max(wait.unwrap_or_default()),
                Polled::Answer(answer, _) if !answer.is_about(first, &key) => {}
                Polled::Answer(answer, app_response) => {
                    latest = answer.or(&latest);
                    evidence.learned(&latest, app_response);
                    if latest.state == State::Failed {
                        let said = self.said_by(&latest);
                        return Err(Error::new(format!("the application says that the checkpoint failed{said}")));
                    }
                    if latest.is_saved() {
                        return Ok(latest);
                    }
                }
            }
            call.progress(500, latest.state.name());
        }
    }

    fn poll(
        &self,
        session: &Session<'_>,
        call: &Call<'_>,
        url: &Endpoint,
        evidence: &mut Evidence,
    ) -> Result<Polled, Error> {
        let doing = format!("ask {url} for the checkpoint's status");
        let reply = match self.ask(session, call, url) {
            Ok(reply) => reply,
            Err(Failure::Unreachable(_) | Failure::Broken(_)) => {
                evidence.polled(None);
                return Ok(Polled::Again(None));
            }
            Err(failure) => return Err(failure.into_error(doing)),
        };
        evidence.polled(Some(reply.status));
        match reply.status {
            200..=299 => Ok(Polled::Answer(Answer::read(&reply.body, reply.status == 202), self.shown(&reply))),
            408 | 425 | 429 | 500..=599 => Ok(Polled::Again(reply.retry_after())),
            status => Err(Error::new(format!("answered {status}")).code(Code::Io).context(doing)),
        }
    }

    /// One more question, after the fact.
    pub(crate) fn ask_again(
        &self,
        session: &Session<'_>,
        call: &Call<'_>,
        first: &Answer,
        url: &Endpoint,
    ) -> Result<Verification, Error> {
        let reply = match self.ask(session, call, url) {
            Ok(reply) => reply,
            Err(failure @ Failure::Cancelled) => return Err(failure.into_error("verify")),
            Err(failure) => {
                self.host.warn(format_args!("{url}: cannot verify: {failure}"));
                return Ok(Verification::Unknown);
            }
        };
        let answer = Answer::read(&reply.body, reply.status == 202);
        match reply.status {
            200..=299 if !answer.is_about(first, &call.idempotency_key()) => {
                Err(Error::new(format!("{url} tells of another checkpoint")))
            }
            200..=299 if answer.is_saved() => Ok(Verification::Verified(answer.or(first).confirmed_by("status_url"))),
            200..=299 if answer.state == State::Unknown => Ok(Verification::Unknown),
            200..=299 => Err(Error::new(match answer.state {
                State::Done => "the application says that it is not durable".to_owned(),
                state => format!("the application says {}{}", state.name(), self.said_by(&answer)),
            })),
            404 | 410 => Err(Error::new(format!("{url} does not know the checkpoint (answered {})", reply.status))),
            status => {
                self.host.warn(format_args!("{url}: cannot verify: answered {status}"));
                Ok(Verification::Unknown)
            }
        }
    }

    fn ask(&self, session: &Session<'_>, call: &Call<'_>, url: &Endpoint) -> Result<Reply, Failure> {
        let request = Request { method: Method::GET, endpoint: url, headers: &self.target.headers, body: &[] };
        session.send(&request, left(call))
    }

    /// A reply's body for the report.
    pub(crate) fn shown(&self, reply: &Reply) -> Value {
        shown(&redact(&reply.text(), &self.target.secrets()))
    }

    /// What the application says about a failure, as the end of an error's text.
    pub(crate) fn said(&self, reply: &Reply, answer: &Answer) -> String {
        let text = answer.message.clone().unwrap_or_else(|| reply.text());
        self.colon(&text)
    }

    fn said_by(&self, answer: &Answer) -> String {
        self.colon(answer.message.as_deref().unwrap_or_default())
    }

    fn colon(&self, text: &str) -> String {
        let text = excerpt(text, MAX_SAID_CHARS, &self.target.secrets());
        if text.is_empty() { text } else { format!(": {text}") }
    }
}
