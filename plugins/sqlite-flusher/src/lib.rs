//! CloudSnooze plugin that makes SQLite databases durable, and copies them.
//!
//! On a notice it brings what an application has committed from the write-ahead log into the database, has both written to the
//! disk, and copies the database if there is time. Inputs: events, paths. Outputs: a report of each database. Must never begin
//! a copy that cannot fit, call a database durable before fsync came back, nor touch one that this very process has open:
//! closing a file takes away the locks that other parts of the process hold on it.
//!
//! Reading order: [`plugin`] (what is done for which event, and the verdict), `find` (which databases), `flush` (one of them),
//! `backup` (its copy), `check` (is it sound), `files` (sizes, and the way to the disk), `attend` (the thread that does it).

mod attend;
mod backup;
mod check;
mod config;
mod files;
mod find;
mod flush;
pub mod plugin;

pub use config::Config;
pub use plugin::SqliteFlusher;

cloudsnooze_plugin::export!(
    SqliteFlusher;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
