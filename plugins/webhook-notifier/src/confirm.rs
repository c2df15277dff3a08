//! Whether an endpoint really has an event.
//!
//! Inputs: a checked endpoint, its client, what is known of the event there. Outputs: a [`Finding`]. Must never take silence
//! for a confirmation.

use crate::config::Target;
use cloudsnooze_plugin::{Error, Verification};
use cloudsnooze_plugin_http::{Client, Failure, Method, Reply, Request};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Questions asked of an endpoint that does not know the event yet: it may store it behind its answer.
const MAX_QUESTIONS: u32 = 4;
/// Pause after the first; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What was found, for one endpoint.
pub(crate) type Finding = Result<Verification, Error>;

/// Asks the endpoint, where the operator named an address for that; else its answer to the message has to do.
pub(crate) fn confirm(
    target: &Target,
    client: &Client,
    event_id: &str,
    answer_id: Option<&str>,
    until: Instant,
    is_cancelled: &dyn Fn() -> bool,
) -> Finding {
    let confirmed = |by: &str, more: Value| -> Finding {
        Ok(Verification::Verified(json!({
            "endpoint": target.endpoint.to_string(), "confirmed_by": by, "id": answer_id, "reply": more,
        })))
    };
    let url = match target.verify_url(event_id, answer_id) {
        Some(Ok(url)) => url,
        // The id fits in no address; asking would ask for something else.
        Some(Err(_)) => return Ok(Verification::Unknown),
        None if answer_id.is_some() && !target.needs_asking() => return confirmed("answer", Value::Null),
        None => return Ok(Verification::Unknown),
    };
    let session = client.begin();
    let (mut questions, mut pause) = (0, FIRST_PAUSE);
    loop {
        questions += 1;
        let left = until.saturating_duration_since(Instant::now());
        if is_cancelled() {
            return Err(Failure::Cancelled.into_error(&url));
        }
        let request = Request { method: Method::GET, endpoint: &url, headers: &target.headers, body: &[] };
        let reply = match session.send(&request, left.min(target.attempt_time)) {
            Ok(Reply { status: status @ 200..=299, .. }) => {
                return confirmed("verify_url", json!({ "status": status, "questions": questions }));
            }
            Ok(reply) => reply,
            Err(Failure::Cancelled) => return Err(Failure::Cancelled.into_error(&url)),
            // It says nothing about the event.
            Err(_) => return Ok(Verification::Unknown),
        };
        let is_over = pause >= until.saturating_duration_since(Instant::now());
        if questions >= MAX_QUESTIONS || is_over {
            let text = format!("{} answered {} when asked for the event", target.endpoint, reply.status);
            return Err(Error::new(text).with_result(json!({ "status": reply.status, "questions": questions })));
        }
        session.pause(pause, is_cancelled).map_err(|failure| failure.into_error(&url))?;
        pause *= 2;
    }
}
