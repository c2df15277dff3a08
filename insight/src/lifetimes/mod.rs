//! How long machines live: survival curves that count machines which somebody stopped for what they say, and what makes a life shorter.
//!
//! Responsibilities: Kaplan-Meier and Nelson-Aalen curves with intervals ([`survival`]); rates by age ([`hazard`]); Cox's proportional
//! hazards with errors that know of batches ([`cox`]); the effects of processors, zone, hour and weekend on real lives ([`effects`]).
//! Inputs: times and whether each ended in an interruption. Outputs: values, or [`Scarce`]. Must never drop a machine because it was
//! stopped: half of all lives end that way, and without them every machine seems doomed.

pub mod cox;
pub mod effects;
pub mod hazard;
mod ranks;
mod residuals;
pub mod survival;

use crate::{Life, Scarce};
use serde::{Deserialize, Serialize};

pub use cox::{Cox, Effect, Subject};
pub use effects::Effects;
pub use hazard::AgeRate;
pub use survival::{Step, Survival};

/// Half-width of a two-sided 95 % interval of the normal distribution, in standard errors.
pub(crate) const Z95: f64 = 1.959_963_984_540_054;

/// One time that was observed, and whether it ended in an interruption (an event) or the machine outlived it (censored).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// How long, hours.
    pub hours: f64,
    /// Whether the provider ended it.
    pub interrupted: bool,
}

impl From<&Life> for Observed {
    fn from(life: &Life) -> Self {
        Self { hours: life.lived_h, interrupted: life.is_interrupted() }
    }
}

/// Refuses times that no life can have.
pub(crate) fn check_hours(hours: f64) -> Result<(), Scarce> {
    if hours.is_finite() && hours >= 0.0 {
        return Ok(());
    }
    Err(Scarce(format!("a machine cannot have lived for {hours} hours: mend or drop that row")))
}
