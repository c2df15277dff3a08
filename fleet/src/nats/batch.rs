//! Many messages of a stream for one question: what everybody asks who comes back at the same moment must not be a thousand questions.
//!
//! Responsibilities: ask a replica, take its answers until it says that these were all. Inputs: a question. Outputs: messages. It must
//! never take silence for the end.
//!
//! Facts: ADR-31 of NATS ("JetStream Direct Get", batched and multi-subject requests): servers from 2.11 on answer with many messages and
//! a mark, status 204; older ones know nothing of it and answer with one message, which lacks `Nats-Num-Pending`. At most 1,024 subjects
//! are answered for; more is status 413. By hand, because the client library does not have it, and the library that adds it
//! (jetstream-extra) is for another version of the client.

use futures_util::StreamExt;
use serde_json::Value;

use super::{CALL, Found, Nats, unknown};
use crate::coordinator::Failed;

/// Answers to one question. A server sends them without being asked for more, and what a member cannot take is lost: fewer than
/// `TO_TAKE` of the connection.
pub(super) const MOST_AT_ONCE: usize = 256;
/// The header of answers that are part of a batch.
const PENDING: &str = "Nats-Num-Pending";

/// What one question brought.
pub(super) struct Batch {
    pub(super) found: Vec<Found>,
    /// There is nothing more of this kind.
    pub(super) is_all: bool,
}

impl Nats {
    /// Asks any replica of the stream. None: the server does not know such questions, or there are more answers than it gives.
    pub(super) async fn batch(&self, stream: &str, question: &Value) -> Result<Option<Batch>, Failed> {
        let client = &self.inner.client;
        let failed = |error: &dyn std::fmt::Display| unknown("the servers' store", error);
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| failed(&error))?;
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let asked = client.publish_with_reply(subject, inbox, question.to_string().into()).await;
        asked.map_err(|error| failed(&error))?;
        let mut found: Vec<Found> = Vec::new();
        loop {
            let Ok(Some(message)) = tokio::time::timeout(CALL, answers.next()).await else {
                return Err(failed(&"it did not answer in time"));
            };
            let pending = message.headers.as_ref().and_then(|headers| headers.get(PENDING)).map(|n| n.as_str() == "0");
            match message.status.map(|status| status.as_u16()) {
                None | Some(200) => {
                    found.push(Found::of(message.try_into().map_err(|error| failed(&error))?));
                    if pending.is_none() {
                        return Ok(Some(Batch { found, is_all: false }));
                    }
                }
                Some(204) => return Ok(Some(Batch { found, is_all: pending.unwrap_or(true) })),
                Some(404) => return Ok(Some(Batch { found, is_all: true })),
                Some(408 | 413) => return Ok(None),
                Some(other) => return Err(failed(&format!("status {other}"))),
            }
        }
    }
}
