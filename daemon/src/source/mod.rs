//! Sources: who looks for notices, and how they tell what they see and whether they can see at all.
//!
//! Responsibilities: what every source hands on (`Sink`) and reports about itself (`health`), the
//! metadata client (`imds`), the rhythm of polling (`cadence`), one module a provider (`aws`). Inputs:
//! a provider's service, settings. Outputs: events to the sink, health for status. Must never run a
//! plugin, wait for one, or take silence for good news: a source that cannot see says so.

pub mod aws;
pub mod aws_token;
pub mod cadence;
pub mod health;
pub mod imds;

pub use health::Health;

use crate::event::{Event, EventId, Moment};
use crate::normalise::revise::Verdict;

/// Where a source's events go. Called on the source's own thread, between reading a notice and anything
/// else, so an implementation must not block, log or touch a disk.
pub trait Sink: Send {
    /// A new event, or one of a `*.cancelled` type that withdraws an earlier one (`Event::cancels`).
    fn publish(&mut self, event: Event);

    /// The deadline of an event published before is another now.
    fn moved(&mut self, id: EventId, effective: Moment);
}

/// Hands a verdict to the sink. Gives what to log afterwards: the event and its type, in words.
fn deliver(verdict: Verdict, sink: &mut impl Sink) -> Option<String> {
    match verdict {
        Verdict::New(event) | Verdict::Cancelled(event) => {
            let (id, event_type) = (event.id, event.event_type.clone());
            sink.publish(event);
            Some(format!("{event_type} {id}"))
        }
        Verdict::Moved { id, effective } => {
            sink.moved(id, effective);
            Some(format!("event {id} moved to {}", effective.rfc3339()))
        }
        Verdict::Same => None,
    }
}
