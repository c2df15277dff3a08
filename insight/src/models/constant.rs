//! One rate for all machines of any age: interruptions over hours, with a Gamma distribution of what it may be.
//!
//! Inputs: lives. Outputs: forecasts that are the same for every pool. It is what every other model has to beat.

use super::tally::Tally;
use super::{Ask, Forecast, Model, enough, number, sound};
use crate::{Life, Scarce};
use serde::{Deserialize, Serialize};

/// The same rate for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// Interruptions per hour of a machine.
    pub rate_per_hour: f64,
    tally: Tally,
}

impl Model for Constant {
    const NAME: &'static str = "constant rate";

    fn fit(lives: &[Life]) -> Result<Self, Scarce> {
        let tally = enough(&sound(lives))?;
        let all = tally.all();
        Ok(Self { rate_per_hour: number(all.events) / all.exposure_h, tally })
    }

    fn forecast(&self, ask: &Ask<'_>) -> Forecast {
        let (from, to) = ask.span_h();
        Forecast { expected: self.rate_per_hour * (to - from), shape: number(self.tally.all().events) }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
