//! What repeats, changes, or happens together in interruptions, and what only seems to.
//!
//! Responsibilities: hours and weekdays ([`seasons`]), changes of rate ([`change`]), pools that fall together ([`correlation`]) and
//! machines that do ([`batches`]), and how much warning there is ([`lead`]). Inputs: lives, counts, availability, moments; a seed
//! for what is drawn. Outputs: values with a verdict, their numbers and a sentence for people, or [`crate::Scarce`]. Must never
//! report a pattern that one look too many, machines that are young at a certain hour, or one bad batch has made.

pub mod batches;
pub(crate) mod calendar;
pub mod change;
pub mod correlation;
mod exposure;
pub mod lead;
mod multiple;
mod profiles;
pub mod rate;
pub mod seasons;

use serde::{Deserialize, Serialize};

pub use exposure::Cycle;
pub use multiple::benjamini_hochberg;
pub use rate::Rate;

/// What came of looking for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is there, by every test that it has to pass.
    Found,
    /// The data are enough to look, and do not show it.
    NotShown,
}
