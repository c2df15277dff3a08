//! An asynchronous runtime for one instance of a plugin, on a thread of its own.
//!
//! Responsibilities: drive the futures of calls and what keeps clients warm between them. Inputs: futures, the host's call.
//! Outputs: their results, in time. Must never let a thread outlive [`Engine::stop`], run work at the priority of the pool
//! thread that waits for it, or make a call wait for upkeep.

mod clock;
mod engine;

pub use clock::Clock;
pub use engine::{Engine, Trouble};
