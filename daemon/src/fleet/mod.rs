//! This machine as a member of a group: what it tells the others, what it hears of them, whose turn it is.
//!
//! `delegate` speaks for this machine: its events go out, its handlers ask for their turn and say when their work is over. `events`
//! makes local events of what the group says, `departures` remembers what the cloud announced to whom, `mirror` has this machine's
//! history kept for the group. The group itself (servers, leader, plan) is the crate `cloudsnooze-fleet`. Inputs: events and rows as
//! the recorder tells them, questions of the handler `fleet-turn`. Outputs: events `fleet.*`, turns. Threads: the daemon's main one and
//! the recorder's. Must never hold up local work beyond its latest start, nor be needed by it: without servers all goes on as without a
//! group.

pub mod delegate;
pub mod departures;
pub mod events;
pub mod mirror;

/// Name of the handler that waits for this machine's turn.
pub const HANDLER: &str = "fleet-turn";
/// Source of the events that the group makes.
pub const SOURCE: &str = "fleet";
