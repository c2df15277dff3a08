//! Sources that ask a cloud's metadata service, and how every source tells what it sees and whether it can see at all.
//!
//! Responsibilities: what every source hands on (`Sink`) and reports about itself (`health`), what a cloud must say to be
//! one (`cloud`) and what all of them do alike (`poller`, `round`), the metadata client (`imds`; `imdsd` where the machine
//! prohibits it), the rhythm of polling (`cadence`, `rota`), how it is steered (`control`), one module a provider (`aws`,
//! `azure`, `gcp`; `alibaba` and `tencent` share `spot_time`). Inputs: a provider's
//! service, settings. Outputs: events to the sink, health for status. Must never run a plugin, wait for one, or take silence
//! for good news: a source that cannot see says so. The sources that are no cloud's are the daemon's (`source` there).

pub mod alibaba;
pub mod aws;
pub mod azure;
pub mod cadence;
pub mod cloud;
pub mod control;
pub mod gcp;
pub mod health;
pub mod imds;
pub mod imdsd;
pub mod poller;
pub mod reply;
mod rota;
pub mod round;
pub mod spot_time;
pub mod tencent;
pub mod token;

pub use control::Control;
pub use health::Health;
pub use round::Told;

use crate::event::{Event, EventId, EventType, Moment};
use std::sync::Arc;

/// Where a source's events go. Called on the source's own thread, between reading a notice and anything
/// else, so an implementation must not block, log or touch a disk.
pub trait Sink: Send {
    /// A new event, or one of a `*.cancelled` type that withdraws an earlier one (`Event::cancels`).
    fn publish(&mut self, event: Arc<Event>);

    /// The deadline of an event published before is another now.
    fn moved(&mut self, id: EventId, effective: Moment);

    /// A notice was received and is about to be read; it will probably make an event of this type.
    fn approach(&mut self, _event_type: &EventType) {}

    /// A round of polls begins: there is time to look whether what is held ready is still what is wanted.
    fn round_begins(&mut self) {}

    /// A self-test: an event that goes the whole way and that no handler sees. May be let fall.
    fn self_test(&mut self, _event: Arc<Event>) {}
}
