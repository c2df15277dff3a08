//! Commands that CloudSnooze plugins run.
//!
//! Responsibilities: start a program that has nothing of the daemon's (real-time priority, blocked signals, descriptors,
//! environment), wait for it within its time, end its process group, keep the end of what it wrote. Inputs: an [`Order`].
//! Outputs: [`Ran`]. Must never leave a process behind that the kernel can end, nor wait for one that it cannot.
//!
//! Reading order: `words` (a command as it is configured, and what it finds), `run` (from start to end), `runner` (a thread that
//! does), `spawn` (how it is started), [`group`] (its processes), `tail` (its output); [`program`] (programs that a plugin itself
//! steers, whose whole output it reads).

pub mod group;
pub mod program;
mod run;
mod runner;
mod spawn;
mod tail;
mod words;

pub use group::Ended;
pub use run::{Cut, Order, Ran, Stragglers, run};
pub use runner::{Answer, Runner};
pub use spawn::{Started, start};
pub use tail::Tail;
pub use words::{Command, OWN, PROGRAM_PATH, Words, bare_environment, environment};
