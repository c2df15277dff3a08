//! CloudSnooze plugin that has the last word before the machine ends: does everything hold that was to be reached?
//!
//! Inputs: events, a list of checks. Outputs: a report of what was expected and found, check by check. Must never change
//! anything, nor call an event handled while one check does not hold.
//!
//! Reading order: [`plugin`] (when it is looked, and the verdict), `plan` (the checked configuration), `look` (files, processes,
//! ports and units), `command` (those that are commands).

mod command;
mod config;
mod look;
mod plan;
pub mod plugin;

pub use config::Config;
pub use plugin::VerifyState;

cloudsnooze_plugin::export!(
    VerifyState;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
