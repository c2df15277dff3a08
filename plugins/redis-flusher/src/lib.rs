//! CloudSnooze plugin that makes a Redis or Valkey server durable before its machine goes away.
//!
//! On a notice it makes writers wait, saves the data set or brings the append-only file to the disk, waits for replicas, and if
//! asked to shuts the server down; on a withdrawn notice it undoes what it changed. Inputs: events, a connection string.
//! Outputs: a report with the server's own numbers before and after. Must never report success on the strength of commands
//! that went through, nor show the connection string.
//!
//! Reading order: [`flusher`] (which steps for which event, and the verdict), `steps`, `changes` (undo), `server`
//! (evidence), `session` and `link` (the way there).

mod changes;
mod config;
pub mod flusher;
mod link;
mod server;
mod session;
mod steps;

pub use config::Config;
pub use flusher::RedisFlusher;

cloudsnooze_plugin::export!(
    RedisFlusher;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
