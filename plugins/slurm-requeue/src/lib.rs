//! CloudSnooze plugin that takes a Slurm node out of service: drains it, has its jobs save themselves, and requeues them.
//!
//! Inputs: events, a node. Outputs: a report with the node and every job before and after; a withdrawn notice puts the node back into
//! service. Must never call a job requeued that Slurm does not show as waiting or started anew, nor resume a node that someone else
//! drained.
//!
//! Reading order: [`plugin`] (what an event asks for, and the verdict), `jobs` (signal, wait, requeue), `node` (drain and resume),
//! `slurm` (the commands), `table` (what they print; pure), `record` (what is to be undone).

pub mod config;
mod jobs;
mod node;
pub mod plugin;
mod record;
mod slurm;
mod table;

pub use config::Config;
pub use plugin::SlurmRequeue;

cloudsnooze_plugin::export!(
    SlurmRequeue;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
