//! A fleet of real members on three real servers, and every fault that it has to survive.
//!
//! Responsibilities: a network of namespaces, servers in it, processes of members; faults, played on them; the judgement of what the
//! members say they did. Inputs: the crate `cloudsnooze-fleet` as it ships, a seed. Outputs: findings and figures. It must never leave a
//! process, a namespace or a mounted disk behind, and never touch the machine's own network or clock.

pub mod echo;
pub mod faults;
pub mod fleet;
pub mod handover;
pub mod judge;
pub mod lines;
pub mod log;
pub mod network;
pub mod propagation;
pub mod servers;
pub mod stage;

use std::path::PathBuf;

/// Where cargo builds.
pub fn target() -> PathBuf {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"))
}
