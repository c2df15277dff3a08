//! What happens, to whoever listens: lines of JSON, or Server-Sent Events for browsers and what speaks as they do.
//!
//! Inputs: the daemon's lines, already free of secrets. Outputs: an answer that goes on until the client leaves. Must never
//! wait for a client: one that falls behind is told how much it lost.

use super::limits::Limits;
use super::rights::Caller;
use super::server::{Daemon, too_many};
use crate::history::watchers::Happening;
use crate::sys::clock;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// A comment is sent after so long without an event, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The form that is asked for by name (WHATWG HTML, "Server-sent events").
const EVENT_STREAM: &str = "text/event-stream";

/// What a listener hears.
enum Heard {
    Line(Arc<Happening>),
    /// So many lines were lost.
    Lost(u64),
}

impl Heard {
    fn json(&self) -> String {
        match self {
            Self::Line(line) => line.json.clone(),
            Self::Lost(lost) => {
                let message = format!("{lost} lines were lost");
                json!({"kind": "log", "instance": "snoozed", "level": "warning", "message": message}).to_string()
            }
        }
    }

    fn event(&self) -> Event {
        let event = Event::default().data(self.json());
        match self {
            Self::Line(line) => event.id(line.number.to_string()).event(&line.kind),
            Self::Lost(_) => event.event("log"),
        }
    }
}

/// `GET /v1/watch`.
pub async fn watch<D: Daemon>(
    State(daemon): State<Arc<D>>,
    Extension(limits): Extension<Arc<Limits>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    let place = match limits.watch(&caller, clock::boot_ns()) {
        Ok(place) => place,
        Err(over) => return too_many(over),
    };
    let heard = stream::unfold((daemon.watch(), place), |(mut lines, place)| async move {
        let heard = match lines.recv().await {
            Ok(line) => Heard::Line(line),
            Err(RecvError::Lagged(lost)) => Heard::Lost(lost),
            Err(RecvError::Closed) => return None,
        };
        Some((heard, (lines, place)))
    });
    if wants_events(&headers) {
        let events = heard.map(|heard| Ok::<_, Infallible>(heard.event()));
        return Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    }
    let lines = heard.map(|heard| Ok::<_, Infallible>(heard.json() + "\n"));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

/// Whether the client names the form of events among those that it takes.
fn wants_events(headers: &HeaderMap) -> bool {
    let taken = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = taken.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or_default());
    types.any(|range| range.trim().eq_ignore_ascii_case(EVENT_STREAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_the_form_of_events_gets_it() {
        let wants =
            |accept: &str| wants_events(&HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a value"))]));
        assert!(wants("text/event-stream") && wants("application/json;q=0.5, Text/Event-Stream;q=0.9"));
        assert!(
            !wants("*/*") && !wants("application/x-ndjson") && !wants("text/*") && !wants_events(&HeaderMap::new())
        );
    }
}
