//! CloudSnooze plugin that is the last step: from a sync of the file systems to the end of the machine.
//!
//! Inputs: events, what is to become of the machine. Outputs: a report of what systemd-logind was asked and said. Must never
//! end the machine in a drill, before the report of the event can be written, or after the notice was withdrawn.
//!
//! Reading order: [`plugin`] (which way for which event, and the verdict), `choice` (the action or its fallback), `logind` (what
//! the login manager is asked), `waiter` (the hibernation that it cannot schedule), `flush` (sync), `record` (what outlives the
//! daemon), `approve` (Azure may begin), `group` (once for a group of machines).

mod approve;
mod choice;
mod config;
mod flush;
mod group;
mod logind;
pub mod plugin;
mod record;
mod waiter;

pub use config::Config;
pub use plugin::Finish;

cloudsnooze_plugin::export!(
    Finish;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
