//! CloudSnooze: the daemon `snoozed` and its command line `snooze`.
//!
//! Data flows one way: a `source` reads a notice, `normalise` makes an event of it, the `queue` takes
//! it, `dispatch` plans and runs, `host` calls the plugins, `history` keeps what happened, `reports` tells people, `control`
//! and `cli` show it; `apps` tells the applications of this machine, `fleet` speaks with its
//! group. The clouds' sources, `normalise`, `queue`, `dispatch`, `host` and the leaves `event`, `settings`, `sys` and `log_ring` are the
//! crate `cloudsnooze-core`: the way of a notice, which is compiled for speed. `event`, `config` and `sys` are leaves that every module may
//! use; `supervise` puts everything together and reads as a story. `verify` plays the host for a plugin that is not in the daemon yet.
//! `docs/ARCHITECTURE.md` has the whole map.

pub use cloudsnooze_core::{dispatch, event, host, log_ring, normalise, queue, settings, sys};

pub mod apps;
pub mod assemble;
pub mod cli;
pub mod config;
pub mod control;
pub mod fleet;
pub mod history;
pub mod log;
pub mod reports;
pub mod source;
pub mod supervise;
pub mod verify;
