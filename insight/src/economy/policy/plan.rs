//! The cheapest way to a deadline when capacity comes and goes as a [`Chain`] says: a stochastic dynamic programme.
//!
//! Responsibilities: for every time left, slack and state of the chain, the least expected cost from there on. Inputs: a chain, a
//! job, prices. Outputs: a [`Plan`], and what it does in a situation. Must never give up the deadline for money: with less slack than
//! the reserve there is nothing but on demand, and the plan knows it from the beginning.
//!
//! Slack is the time left less the work left: it only shrinks (waiting costs the wait, a start costs the changeover), so time left
//! and slack say all. The job is over when slack equals the time left. A start counts with all that an interruption can cost
//! ([`Job::setback_h`]).

use super::chain::{CLASSES, Chain, STATES};
use super::{Job, Market};

/// Slots that the time until the deadline is cut into, at most.
const SLOTS: f64 = 360.0;
/// Levels of slack, closer to each other where there is little.
const LEVELS: usize = 64;
/// Machines: none, spot, on demand.
const MACHINES: usize = 3;
const NONE: usize = 0;
const SPOT: usize = 1;
const ON_DEMAND: usize = 2;
/// Values of one level.
const WIDTH: usize = STATES * MACHINES;

/// What a plan says to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing.
    Wait,
    /// Run on spot capacity.
    Spot,
    /// Run on demand.
    OnDemand,
}

impl Move {
    fn machine(self) -> usize {
        match self {
            Self::Wait => NONE,
            Self::Spot => SPOT,
            Self::OnDemand => ON_DEMAND,
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Until the deadline, hours.
    pub time_left_h: f64,
    /// Beyond what the work needs, hours.
    pub slack_h: f64,
    /// State of the chain.
    pub state: usize,
    /// What the job runs on.
    pub on: Move,
}

/// The least expected costs.
#[derive(Clone, Debug)]
pub struct Plan {
    slot_h: f64,
    slots: usize,
    slack_max_h: f64,
    setback_h: f64,
    reserve_h: f64,
    market: Market,
    steps: [[(usize, f64); 3]; STATES],
    /// `[slots left][level][state][machine]`.
    values: Vec<f32>,
}

impl Plan {
    /// Works the plan out. `tick_h`: time between two looks; `reserve_h`: least slack with which anything but on demand may be begun.
    #[must_use]
    pub fn new(chain: &Chain, job: &Job, market: Market, tick_h: f64, reserve_h: f64) -> Self {
        let slot_h = tick_h.max(job.deadline_h / SLOTS);
        let slots = (job.deadline_h / slot_h).ceil().max(1.0) as usize;
        let mut plan = Self {
            slot_h,
            slots,
            slack_max_h: (job.deadline_h - job.work_h).max(1e-6),
            setback_h: job.setback_h(),
            reserve_h,
            market,
            steps: chain.steps(slot_h),
            values: vec![0.0; (slots + 1) * (LEVELS + 1) * WIDTH],
        };
        let mut ahead = vec![0.0_f32; (LEVELS + 1) * WIDTH];
        for left in 1..=slots {
            plan.look_ahead(left - 1, &mut ahead);
            for level in 0..=LEVELS {
                for at in 0..WIDTH {
                    let value = plan.best(left, level, at, &ahead);
                    if let Some(place) = plan.values.get_mut((left * (LEVELS + 1) + level) * WIDTH + at) {
                        *place = value as f32;
                    }
                }
            }
        }
        plan
    }

    /// What is expected after one step of the chain, for every level, state before the step and machine.
    fn look_ahead(&self, left: usize, ahead: &mut [f32]) {
        for (at, place) in ahead.iter_mut().enumerate() {
            let (level, rest) = (at / WIDTH, at % WIDTH);
            *place = self.expected(left, level, rest / MACHINES, rest % MACHINES);
        }
    }

    /// The least cost from a level on.
    fn best(&self, left: usize, level: usize, at: usize, ahead: &[f32]) -> f64 {
        let slack_h = self.slack_max_h * (level as f64 / LEVELS as f64).powi(2);
        let (state, machine) = (at / MACHINES, at % MACHINES);
        let time_left_h = left as f64 * self.slot_h;
        if slack_h >= time_left_h {
            return 0.0;
        }
        let after = |slack_h: f64, machine: usize| {
            self.between(slack_h, |level| ahead.get(level * WIDTH + state * MACHINES + machine).copied().unwrap_or(0.0))
        };
        let moves = self.moves(time_left_h, slack_h, state, machine, after);
        moves.into_iter().flatten().map(|(_, cost)| cost).fold(f64::INFINITY, f64::min)
    }

    /// The moves that are allowed, with their expected costs; `after` says what is expected behind a slot that ends with a slack and
    /// on a machine.
    fn moves(
        &self,
        time_left_h: f64,
        slack_h: f64,
        state: usize,
        machine: usize,
        after: impl Fn(f64, usize) -> f64,
    ) -> [Option<(Move, f64)>; 3] {
        let work_h = time_left_h - slack_h;
        let market = self.market;
        let on_demand_start_h = if machine == ON_DEMAND { 0.0 } else { self.setback_h };
        if machine != SPOT && slack_h < self.reserve_h {
            let cost = market.on_demand_usd_per_hour * (work_h + on_demand_start_h);
            return [Some((Move::OnDemand, cost)), None, None];
        }
        let run = |to: Move, start_h: f64, price: f64| {
            let hours = self.slot_h.min(work_h + start_h);
            let rest = if hours < self.slot_h { 0.0 } else { after(slack_h - start_h, to.machine()) };
            (to, price * hours + rest)
        };
        let spot_start_h = if machine == SPOT { 0.0 } else { self.setback_h };
        [
            Some(run(Move::OnDemand, on_demand_start_h, market.on_demand_usd_per_hour)),
            (state < CLASSES).then(|| run(Move::Spot, spot_start_h, market.spot_usd_per_hour)),
            (slack_h >= self.reserve_h).then(|| (Move::Wait, after(slack_h - self.slot_h, NONE))),
        ]
    }

    /// What lies between the levels.
    fn between(&self, slack_h: f64, at: impl Fn(usize) -> f32) -> f64 {
        let place = LEVELS as f64 * (slack_h.max(0.0) / self.slack_max_h).min(1.0).sqrt();
        let below = (place as usize).min(LEVELS);
        let (low, high) = (f64::from(at(below)), f64::from(at((below + 1).min(LEVELS))));
        low + (high - low) * (place - below as f64)
    }

    /// What is expected after one step of the chain.
    fn expected(&self, left: usize, level: usize, state: usize, machine: usize) -> f32 {
        let steps = self.steps.get(state).into_iter().flatten();
        let values = steps.map(|(to, probability)| {
            let kept = if machine == SPOT && *to >= CLASSES { NONE } else { machine };
            let at = (left * (LEVELS + 1) + level) * WIDTH + to * MACHINES + kept;
            *probability as f32 * self.values.get(at).copied().unwrap_or(0.0)
        });
        values.sum()
    }

    /// What to do.
    #[must_use]
    pub fn decide(&self, situation: &Situation) -> Move {
        let Situation { time_left_h, slack_h, state, on } = *situation;
        let left = ((time_left_h / self.slot_h).round().max(1.0) as usize).min(self.slots);
        let after = |slack_h: f64, machine: usize| {
            self.between(slack_h, |level| self.expected(left - 1, level, state, machine))
        };
        let moves = self.moves(time_left_h, slack_h, state, on.machine(), after);
        let best = moves.into_iter().flatten().min_by(|one, other| one.1.total_cmp(&other.1));
        best.map_or(Move::OnDemand, |(to, _)| to)
    }

    /// What is expected to be paid from the beginning, US dollars.
    #[must_use]
    pub fn expected_usd(&self, state: usize) -> f64 {
        let at = (self.slots * (LEVELS + 1) + LEVELS) * WIDTH + state.min(STATES - 1) * MACHINES + NONE;
        f64::from(self.values.get(at).copied().unwrap_or(0.0))
    }
}
