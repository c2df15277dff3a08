//! From "event published" to the first instruction of the handler: what every design of the benchmark shares.
//!
//! Each design of the benchmark is a small program, a participant, that `latency-bench` starts once and drives over its
//! standard input and output (`protocol`). `slot`, `handler` and `stage` are what participants in Rust are built from,
//! `ours` starts the daemon's dispatch, `metadata` and `e2e` play a cloud for the designs that are measured from the
//! network on, `notices` watches the stand-ins of all clouds; `stats` is pure arithmetic, `workshop` builds what cargo
//! does not. `docs/LATENCY.md` says what is measured and what is fair. Must never do anything between publishing and
//! the handler that the design itself would not do.

pub mod e2e;
pub mod handler;
pub mod metadata;
pub mod notices;
pub mod ours;
pub mod protocol;
pub mod slot;
pub mod stage;
pub mod stats;
pub mod workshop;
