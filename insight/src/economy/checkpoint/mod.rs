//! How often to save, and whether a notice is enough.
//!
//! Responsibilities: intervals for a constant hazard and for one that goes by age ([`interval`]), the exact programme for a job of
//! known length ([`programme`]), the decision between saving at a notice and saving on the clock ([`notice`]), and the replay that
//! says what each costs ([`replay`]). Inputs: measured times, a hazard, a survival curve as plain values. Outputs: hours. Must never
//! take the mean life of those that were interrupted for the time between interruptions: that forgets all who were not.

pub mod interval;
pub mod notice;
pub mod programme;
pub mod replay;
