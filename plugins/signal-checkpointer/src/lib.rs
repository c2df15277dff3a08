//! CloudSnooze plugin that has a process save itself by a signal, and waits for the proof.
//!
//! On a notice it finds the process, pins it, signals it, and waits until it has ended, a new file is complete, or a line
//! stands in a log. Inputs: events, how to find the processes. Outputs: a report with what was seen of each. Must never
//! signal a process that it has not pinned and recognised, nor take a signal that was delivered for a checkpoint.
//!
//! Reading order: [`checkpointer`] (which targets for which event, and the verdict), `target` (the steps of one), `find`
//! and `pinned` (the process), `proof`, `file`, `line` and `seal` (what ends a wait), `clock` (how long it may take).

pub mod checkpointer;
mod clock;
mod config;
mod file;
mod find;
mod line;
mod pinned;
mod plan;
mod proof;
mod seal;
mod target;

pub use checkpointer::SignalCheckpointer;
pub use config::Config;

cloudsnooze_plugin::export!(
    SignalCheckpointer;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
