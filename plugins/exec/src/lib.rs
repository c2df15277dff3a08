//! CloudSnooze plugin that runs a command for an event, and ends it in time.
//!
//! Inputs: events, a command. Outputs: a report with how the command ended and the last lines it wrote; another command
//! may prove the effect, a third undo it. Must never leave a process of the command behind, let it inherit what is the
//! daemon's (real-time priority, blocked signals, descriptors, environment), or call it done when it did not end with 0.
//!
//! Reading order: [`plugin`] (which command for which event, and the verdict), `plan` (the checked configuration), `due` (whether
//! there is something to undo). How a command is started and ended is in `plugins/commands`.

mod config;
mod due;
mod plan;
pub mod plugin;

pub use config::Config;
pub use plugin::Exec;

cloudsnooze_plugin::export!(
    Exec;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
