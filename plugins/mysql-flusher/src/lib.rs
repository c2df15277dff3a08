//! CloudSnooze plugin that makes a MySQL or MariaDB server durable before its machine goes away.
//!
//! On a notice it stops intake, makes the logs durable, writes out dirty pages, and if asked to shuts the
//! server down; on a withdrawn notice it undoes what it changed. Inputs: events, a connection string.
//! Outputs: a report with the server's own numbers before and after. Must never report success on the
//! strength of statements that went through, nor show the connection string.
//!
//! Reading order: [`flusher`] (which steps for which event, and the verdict), `steps`, `changes`
//! (undo), `server` (evidence), `stop` (shutdown), `session`, `link` and `dsn` (the way there).

mod changes;
mod config;
mod dsn;
pub mod flusher;
mod link;
mod server;
mod session;
mod steps;
mod stop;

pub use config::Config;
pub use flusher::MysqlFlusher;

cloudsnooze_plugin::export!(
    MysqlFlusher;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
