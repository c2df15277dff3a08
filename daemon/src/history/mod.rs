//! What happened, kept: events, deliveries, reports.
//!
//! `store` is the SQLite file and its queries; `journal` what is still to be written down; `recorder` is the normal
//! thread that takes the pool's notes, has them journalled, logs each once and tells the `watchers`. Must never hold up the pool: notes
//! come through a bounded box.

pub mod archive;
mod journal;
mod keeper;
pub mod life;
mod live;
pub mod recorder;
pub mod schema;
pub mod self_tests;
pub mod store;
pub mod tallies;
pub mod watchers;
