//! The members of a group of machines tell each other what the cloud tells one of them, and act in order when some have to go.
//!
//! Responsibilities: publish events, elect a leader, and let the group's roles act one after the other inside the time there is, over NATS.
//! Inputs: [`Settings`], [`Notice`]s, the end of local work. Outputs: [`Told`] and [`Turn`]. Everything runs on the runtime it is started
//! on, without a thread of its own; all arithmetic about time is done on CLOCK_BOOTTIME.
//! It must never hold up local work beyond its latest start, nor obey a leader that was deposed.
//!
//! How the order is kept: one member holds a lease and with it a number that only grows, the *epoch*. It writes the plan, and every
//! write names the version it replaces. Members keep the highest epoch they have seen on their disks and refuse lower ones.
//! Whoever acts writes down first that it does, so that nothing is done twice; what it answers is kept until the servers have it.
//! Where no leader says anything in time, a member does its work alone.
#![deny(missing_docs)]

mod clock;
mod cluster;
mod collector;
mod coordinator;
mod details;
mod election;
mod epochs;
mod member;
mod nats;
mod plan;
mod settings;
mod state;
mod told;
#[cfg(feature = "traffic")]
pub mod traffic;
mod turn;
mod wire;

pub use cluster::{Cluster, Known, Part};
pub use collector::{Batch, Collector, Kept};
pub use details::Details;
pub use member::{Error, Member};
pub use settings::{Settings, Step, Tls};
pub use told::{Counts, Departed, Heard, Leaver, Local, Notice, OperationStatus, Outcome, Present, Status, Told, Turn};
