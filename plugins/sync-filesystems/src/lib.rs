//! CloudSnooze plugin that writes file systems out to their disks.
//!
//! On a notice it has the kernel write everything that is only in memory, each file system beside the others. Inputs: events,
//! mount points. Outputs: a report of each file system, and of what was unwritten before and after. Must never wait for a
//! disk or a server that hangs beyond the time granted, nor call a file system synced before the kernel said so.
//!
//! Reading order: [`plugin`] (what is done for which event, and the verdict), `choice` (which file systems), `sync` (one of
//! them), `kernel` (what the kernel says of memory and of errors).

mod choice;
mod config;
mod kernel;
pub mod plugin;
mod sync;

pub use config::Config;
pub use plugin::SyncFilesystems;

cloudsnooze_plugin::export!(
    SyncFilesystems;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
