//! CloudSnooze plugin that makes a PostgreSQL server durable before its machine goes away.
//!
//! On a notice it flushes the write-ahead log, writes everything out with CHECKPOINT, and if asked to stops intake, waits for
//! replicas and the archive, and shuts the server down; on a withdrawn notice it undoes what it changed. Inputs: events, a
//! connection string. Outputs: a report with the server's own numbers before and after. Must never report success on the
//! strength of statements that went through, nor show the connection string.
//!
//! Reading order: [`flusher`] (which steps for which event, and the verdict), `steps` and `wait` (what is done), `changes`
//! (settings and their undoing), `server` (evidence), `stop` (shutdown), `session` and `link` (the way there).

mod changes;
mod config;
pub mod flusher;
mod link;
mod server;
mod session;
mod steps;
mod stop;
mod wait;

pub use config::Config;
pub use flusher::PostgresFlusher;

cloudsnooze_plugin::export!(
    PostgresFlusher;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
