//! What happened, kept: events, deliveries, reports.
//!
//! `store` is the SQLite file and its queries; `recorder` is the normal thread that takes the pool's
//! notes, journals them, logs each once and tells whoever watches. Must never hold up the pool: notes
//! come through a bounded box.

pub mod recorder;
pub mod self_tests;
pub mod store;
