//! Commands that plugins run: started with nothing of the daemon's, watched, and ended in time.
//!
//! Responsibilities: one thread of an instance that starts commands, reads what they write and ends them, all of their process
//! group. Inputs: an [`Order`]. Outputs: [`Ran`]. Must never leave a process of a command behind, nor let it inherit real-time
//! priority, blocked signals, descriptors or the environment.
//!
//! Reading order: `runner` (the thread), `spawn` (how a command is started), `group` (its processes), `tail` (its output).

mod group;
mod runner;
mod spawn;
mod tail;

pub use group::Ended;
pub use nix::sys::signal::Signal;
pub use runner::{Answer, Cut, Order, Ran, Runner};
pub use tail::Tail;

/// Where programs are looked for.
pub const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
