//! The bound: the cheapest schedule for one who knows when capacity will be there.
//!
//! Responsibilities: a dynamic programme over ticks, slack and machine, and the schedule that it finds. Inputs: the future of the
//! zones. Outputs: a machine a tick. Must never be advised: nobody knows the future.
//!
//! Slack is counted in units of a fraction of a tick, and a changeover is rounded up to whole units: what is found can be done, and
//! is dearer than the true optimum by less than that rounding. Where work between checkpoints can be lost, every start counts as if
//! all of it were, and the bound is none.

use super::{Machine, Observation, Policy, Setting};

/// Finest division of a tick.
const DIVISIONS: usize = 8;
/// What costs this much less costs the same, US dollars: sums of floating-point numbers differ by their order.
const TIE_USD: f64 = 1e-9;
/// Most states that are worked through: beyond, nothing is known and the policy runs on demand.
const STATES_MAX: usize = 60_000_000;

/// The policy.
#[derive(Default)]
pub struct Omniscient {
    schedule: Vec<Machine>,
    at: usize,
}

impl Policy for Omniscient {
    fn begin(&mut self, setting: &Setting<'_>, start_tick: usize) {
        self.schedule =
            Programme::new(setting, start_tick).map_or_else(Vec::new, |programme| programme.schedule(setting));
        self.at = 0;
    }

    fn decide(&mut self, setting: &Setting<'_>, seen: &Observation<'_>) -> Machine {
        let next = self.schedule.get(self.at).copied().unwrap_or(Machine::OnDemand);
        self.at += 1;
        // Rounding must cost money, never the deadline.
        let is_late = seen.slack_h() < setting.job.setback_h() + setting.tick_h() && next == Machine::None;
        if is_late { Machine::OnDemand } else { next }
    }
}

struct Programme {
    start_tick: usize,
    ticks: usize,
    /// Units of slack in a tick.
    unit_h: f64,
    division: usize,
    /// Units that a changeover costs.
    change: usize,
    /// Units of slack at the start.
    slack: usize,
    machines: usize,
    /// What to run on next: `[tick][slack][machine]`.
    next: Vec<u8>,
}

impl Programme {
    /// None where the programme would be too large, or there is nothing to decide.
    fn new(setting: &Setting<'_>, start_tick: usize) -> Option<Self> {
        let (job, tick_h) = (setting.job, setting.tick_h());
        let loss = |division: usize| {
            let units = job.setback_h() / tick_h * division as f64;
            (units - 1e-9).ceil().max(0.0) / division as f64 * tick_h - job.setback_h()
        };
        // The coarsest of equals: it is the fastest.
        let loss = |division: &usize| loss(*division) + 1e-9 * *division as f64;
        let division = (1..=DIVISIONS).min_by(|one, other| loss(one).total_cmp(&loss(other)))?;
        let unit_h = tick_h / division as f64;
        let ticks = (job.deadline_h / tick_h + 1e-9).floor() as usize;
        // Of whole ticks: what is left of the deadline behind the last one is not counted on.
        let slack = ((ticks as f64 * tick_h - job.work_h) / unit_h + 1e-9).floor().max(0.0) as usize;
        let change = (job.setback_h() / unit_h - 1e-9).ceil().max(0.0) as usize;
        let machines = setting.zones.len() + 2;
        if machines > usize::from(u8::MAX) || ticks.checked_mul(slack + 1)?.checked_mul(machines)? > STATES_MAX {
            return None;
        }
        let next = vec![0; ticks * (slack + 1) * machines];
        let mut programme = Self { start_tick, ticks, unit_h, division, change, slack, machines, next };
        programme.work_through(setting);
        Some(programme)
    }

    /// What a machine costs at a tick, US dollars an hour; None where there is none. Machine 0 is none, then on demand, then zones.
    fn price(&self, setting: &Setting<'_>, tick: usize, machine: usize) -> Option<f64> {
        match machine {
            0 => Some(0.0),
            1 => Some(setting.market.on_demand_usd_per_hour),
            zone => {
                let offer = setting.offer(setting.zones.get(zone - 2)?, self.start_tick + tick);
                offer.is_available.then_some(offer.usd_per_hour)
            }
        }
    }

    fn work_through(&mut self, setting: &Setting<'_>) {
        let (levels, machines) = (self.slack + 1, self.machines);
        let tick_h = self.unit_h * self.division as f64;
        // Behind the last tick the work is done, whatever slack is left.
        let mut after = vec![0.0_f64; levels * machines];
        let mut now = vec![0.0_f64; levels * machines];
        for tick in (0..self.ticks).rev() {
            let prices: Vec<Option<f64>> = (0..machines).map(|machine| self.price(setting, tick, machine)).collect();
            for at in 0..levels * machines {
                let (slack, on) = (at / machines, at % machines);
                let work_h = (self.ticks - tick) as f64 * tick_h - slack as f64 * self.unit_h;
                let best = if work_h <= 0.0 { (0.0, 0) } else { self.cheapest(&prices, slack, on, work_h, &after) };
                if let (Some(value), Some(next)) = (now.get_mut(at), self.next.get_mut(tick * levels * machines + at)) {
                    (*value, *next) = best;
                }
            }
            std::mem::swap(&mut now, &mut after);
        }
    }

    /// Units of slack that a tick costs.
    fn spent(&self, on: usize, to: usize) -> usize {
        match to {
            0 => self.division,
            _ if to == on => 0,
            _ => self.change,
        }
    }

    /// The least cost from here to the end, and what to run on for it.
    fn cheapest(&self, prices: &[Option<f64>], slack: usize, on: usize, work_h: f64, after: &[f64]) -> (f64, u8) {
        let tick_h = self.unit_h * self.division as f64;
        let mut best = (f64::INFINITY, 1);
        // Waiting last: of equals, the one that is over sooner.
        for (to, price) in prices.iter().enumerate().skip(1).chain(prices.iter().enumerate().take(1)) {
            let spent = self.spent(on, to);
            let (Some(price), Some(left)) = (price, slack.checked_sub(spent)) else { continue };
            let hours = if to == 0 { 0.0 } else { tick_h.min(work_h + spent as f64 * self.unit_h) };
            let cost = price * hours + after.get(left * self.machines + to).copied().unwrap_or(0.0);
            if cost < best.0 - TIE_USD {
                best = (cost, u8::try_from(to).unwrap_or(1));
            }
        }
        best
    }

    fn schedule(&self, setting: &Setting<'_>) -> Vec<Machine> {
        let (levels, machines) = (self.slack + 1, self.machines);
        let (mut slack, mut on) = (self.slack, 0_usize);
        let mut schedule = Vec::with_capacity(self.ticks);
        for tick in 0..self.ticks {
            let is_gone = on > 1 && self.price(setting, tick, on).is_none();
            on = if is_gone { 0 } else { on };
            let to = self.next.get((tick * levels + slack) * machines + on).copied().map_or(1, usize::from);
            slack = slack.saturating_sub(self.spent(on, to));
            on = to;
            schedule.push(match to {
                0 => Machine::None,
                1 => Machine::OnDemand,
                zone => Machine::Spot(zone - 2),
            });
        }
        schedule
    }
}
