//! CloudSnooze plugin that stops systemd units in order, and starts them again when the notice is withdrawn.
//!
//! Inputs: events, names and patterns of units. Outputs: a report of every unit's state before and after. Must never start
//! what it did not stop, stop the daemon itself, or call an event handled while a unit of it still runs.
//!
//! Reading order: [`plugin`] (which way for which event, and the verdict), `plan` (the checked configuration), `survey` (what
//! is there to stop), `order` (who goes first), `stop` and `start` (the work), `facts` (the evidence), `record` (what outlives
//! the daemon).

mod config;
mod facts;
mod order;
mod plan;
pub mod plugin;
mod record;
mod start;
mod stop;
mod survey;

pub use config::Config;
pub use plugin::StopUnits;

cloudsnooze_plugin::export!(
    StopUnits;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
