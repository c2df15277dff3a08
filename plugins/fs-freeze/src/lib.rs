//! CloudSnooze plugin that holds file systems still for a snapshot.
//!
//! On a notice it writes file systems out, freezes them, runs a command that copies or snapshots them, and thaws them. Inputs:
//! events, mount points, a command. Outputs: a report of when each was frozen and thawed, by whom, and of the command. Must
//! never leave a file system frozen, whatever becomes of the daemon: who writes to it cannot even be killed. Must never freeze
//! what the daemon itself writes to.
//!
//! Reading order: [`plugin`] (what is done for which event, and the verdict), `safety` (what may be frozen), `hold` (freeze,
//! run, thaw), `watchdog` (the process that thaws whatever happens), `tool` (freezing and thawing one), `mark` (what outlives
//! the daemon), `worker` (the thread that does it).

mod config;
mod hold;
mod mark;
pub mod plugin;
mod safety;
mod tool;
mod watchdog;
mod worker;

pub use config::Config;
pub use plugin::FsFreeze;

cloudsnooze_plugin::export!(
    FsFreeze;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
