//! What past interruptions say about the next one, and what that is worth.
//!
//! Everything here is a pure function over values: no clock, no file, no network, no thread; randomness comes from a seed that the
//! caller gives. Whoever has data (the history, a file somebody imports, a benchmark) makes [`Life`]s, prices or ticks of it and asks.
//! Too little data is an answer ([`Scarce`]), never a NaN.
//!
//! Time is in hours where it is an age or a length, in seconds since 1970 (UTC) where it is a moment.

pub mod data;
pub mod economy;
pub mod exposed;
pub mod life;
pub mod lifetimes;
pub mod models;
mod optimise;
pub mod patterns;
#[cfg(feature = "pictures")]
pub mod pictures;
pub mod pool;
pub mod scores;

pub use life::{Life, Outcome};
pub use pool::{Level, Pool};

/// Why no answer can be given, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Scarce(pub String);
