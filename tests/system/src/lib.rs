//! A machine of its own for tests that need systemd as the first process: a Debian in systemd-nspawn.
//!
//! Responsibilities: make the root file system once and keep it, boot it with a throw-away copy on top, run programs in it,
//! and end it. Inputs: the built programs, the packages of this machine's distribution. Outputs: a [`Guest`]. It must never
//! change anything of this machine, reach its network from the inside, or leave a guest running.

mod debs;
mod guest;
mod root;

pub use debs::{Debs, inventory, tree};
pub use guest::{Guest, HOME, KEPT};
