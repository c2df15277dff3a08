//! The policy that we advise: the plan of least expected cost, made anew every day with what was seen until then.
//!
//! Responsibilities: learn the chain of what the zones offer, keep the plan, keep the deadline. Inputs: the past of the zones and an
//! observation a tick. Outputs: a machine. Must never let a plan break the rule that keeps the deadline.
//!
//! A deadline policy is worth what it knows about the pool: in a zone that nearly always has capacity it waits as the greedy policy
//! does, in one that seldom has it runs on demand early, as Uniform Progress does, and in between it does what is expected to be cheapest.

use super::chain::{self, Chain};
use super::plan::{Move, Plan, Situation};
use super::zones::Zones;
use super::{Machine, Market, Observation, Policy, Setting};
use std::collections::BTreeMap;

/// How often the plan is made anew, hours.
const PLAN_EVERY_H: f64 = 24.0;
/// Plans that are kept, for other runs over the same time; each has some 2 MB.
const PLANS_KEPT: usize = 48;

/// The policy.
#[derive(Default)]
pub struct Advised {
    zones: Zones,
    /// Whether any zone offered capacity below the price on demand, tick after tick, until now.
    past: Vec<bool>,
    /// How long it has been so, hours.
    age_h: f64,
    is_committed: bool,
    /// By the number of ticks that were seen.
    plans: BTreeMap<usize, Plan>,
}

impl Policy for Advised {
    fn begin(&mut self, setting: &Setting<'_>, start_tick: usize) {
        self.is_committed = false;
        self.zones.begin(setting, start_tick);
        let is_worth_it = |tick: usize| {
            setting.zones.iter().any(|zone| {
                let offer = setting.offer(zone, tick);
                offer.is_available && offer.usd_per_hour < setting.market.on_demand_usd_per_hour
            })
        };
        self.past = (0..start_tick.min(setting.ticks())).map(is_worth_it).collect();
        let last = self.past.last().copied();
        let same = self.past.iter().rev().take_while(|is_up| Some(**is_up) == last).count();
        self.age_h = same.saturating_sub(1) as f64 * setting.tick_h();
    }

    fn decide(&mut self, setting: &Setting<'_>, seen: &Observation<'_>) -> Machine {
        let spot = self.zones.pick(setting, seen);
        self.see(spot.is_some(), setting.tick_h());
        if let (Machine::Spot(zone), Some(same)) = (seen.machine, spot)
            && zone == same
        {
            return seen.machine;
        }
        self.is_committed |= seen.slack_h() < setting.reserve_h();
        if self.is_committed {
            return Machine::OnDemand;
        }
        let situation = Situation {
            time_left_h: seen.time_left_h,
            slack_h: seen.slack_h(),
            state: chain::state(spot.is_some(), self.age_h),
            on: match seen.machine {
                Machine::None => Move::Wait,
                Machine::Spot(_) => Move::Spot,
                Machine::OnDemand => Move::OnDemand,
            },
        };
        // Capacity that is there is taken, also where the plan would let it grow older first: that gains nothing, and costs time.
        match (self.plan(setting).decide(&situation), spot) {
            (Move::Spot | Move::Wait, Some(zone)) => Machine::Spot(zone),
            (Move::OnDemand, _) => Machine::OnDemand,
            _ => Machine::None,
        }
    }
}

impl Advised {
    fn see(&mut self, is_up: bool, tick_h: f64) {
        self.age_h = if self.past.last() == Some(&is_up) { self.age_h + tick_h } else { 0.0 };
        self.past.push(is_up);
    }

    /// The plan made with what was known when the day began.
    fn plan(&mut self, setting: &Setting<'_>) -> &Plan {
        let tick_h = setting.tick_h();
        let every = ((PLAN_EVERY_H / tick_h).round() as usize).max(1);
        let known = self.past.len() / every * every;
        if self.plans.len() >= PLANS_KEPT && !self.plans.contains_key(&known) {
            self.plans.pop_first();
        }
        self.plans.entry(known).or_insert_with(|| {
            let chain = Chain::learn(self.past.get(..known).unwrap_or_default(), tick_h);
            Plan::new(&chain, &setting.job, usual_market(setting, known), tick_h, setting.reserve_h())
        })
    }
}

/// Prices as they were so far where the traces have some: the mean of the cheapest offer.
fn usual_market(setting: &Setting<'_>, known: usize) -> Market {
    let cheapest = |tick: usize| {
        let offers = setting.zones.iter().map(|zone| setting.offer(zone, tick)).filter(|offer| offer.is_available);
        offers.map(|offer| offer.usd_per_hour).min_by(f64::total_cmp)
    };
    let has_prices = setting.zones.iter().any(|zone| !zone.usd_per_hour.is_empty());
    let seen: Vec<f64> = if has_prices { (0..known).filter_map(cheapest).collect() } else { Vec::new() };
    if seen.is_empty() {
        return setting.market;
    }
    let mean = seen.iter().sum::<f64>() / seen.len() as f64;
    Market { spot_usd_per_hour: mean.min(setting.market.on_demand_usd_per_hour), ..setting.market }
}
