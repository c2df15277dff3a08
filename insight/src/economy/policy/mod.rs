//! What to do next with a job that has a deadline: wait, run on spot capacity, or run on demand.
//!
//! Responsibilities: what a policy sees and says; which there are. Inputs: an [`Observation`] a tick. Outputs: the [`Machine`] to
//! run on until the next tick. Must never see the future, but for [`omniscient`], which is the bound the others are measured with.
//!
//! Names, rules and proofs: Wu et al., "Can't Be Late: Optimizing Spot Instance Savings under Deadlines", NSDI 2024. With `d` the
//! time that a changeover costs and `g` the time between two looks, a policy that is not on spot capacity begins to run on demand,
//! and stays there, once less than `2d + g` is left beyond the work: `2d` as published misses deadlines where nobody looks in between.

pub mod advised;
pub mod chain;
pub mod omniscient;
pub mod plan;
pub mod rules;
pub mod zones;

use super::trace::Trace;
use crate::Scarce;
use serde::Serialize;

/// A job that is to be over in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// How long it runs on a machine that is never taken away, hours.
    pub work_h: f64,
    /// Until when it has to be over, hours from its start.
    pub deadline_h: f64,
    /// How long a machine runs before it goes on with the work: boot, setup, reading the checkpoint, hours.
    pub changeover_h: f64,
    /// Work that is lost at most when a machine is taken away: the time between checkpoints, hours; 0 where the notice is enough to
    /// save.
    pub checkpoint_h: f64,
}

impl Job {
    /// What one interruption costs at most, hours.
    #[must_use]
    pub fn setback_h(&self) -> f64 {
        self.changeover_h + self.checkpoint_h
    }

    /// Whether the job makes sense and can be done at all.
    ///
    /// # Errors
    /// A sentence with what is wrong.
    pub fn check(&self) -> Result<(), Scarce> {
        for (name, hours, is_zero_fine) in [
            ("the work", self.work_h, false),
            ("the deadline", self.deadline_h, false),
            ("the changeover", self.changeover_h, true),
            ("the time between checkpoints", self.checkpoint_h, true),
        ] {
            if !hours.is_finite() || hours < 0.0 || (hours == 0.0 && !is_zero_fine) {
                return Err(Scarce(format!("{name} is {hours} h: expected a number of hours above zero")));
            }
        }
        let needed_h = self.work_h + self.changeover_h;
        if needed_h > self.deadline_h {
            return Err(Scarce(format!(
                "nothing can meet this deadline: {} h of work and {} h to start are more than the {} h there are",
                self.work_h, self.changeover_h, self.deadline_h
            )));
        }
        Ok(())
    }
}

/// What machines cost, US dollars an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Market {
    /// On demand.
    pub on_demand_usd_per_hour: f64,
    /// Spot, where a trace has no prices of its own.
    pub spot_usd_per_hour: f64,
}

impl Market {
    /// Whether these are prices.
    ///
    /// # Errors
    /// A sentence with what is wrong. A spot price of zero is a price; on demand nothing is free, or there is nothing to save.
    pub fn check(&self) -> Result<(), Scarce> {
        let (on_demand, spot) = (self.on_demand_usd_per_hour, self.spot_usd_per_hour);
        if !(on_demand.is_finite() && on_demand > 0.0) {
            return Err(Scarce(format!("the price on demand is {on_demand}: expected US dollars an hour, above zero")));
        }
        if !(spot.is_finite() && spot >= 0.0) {
            return Err(Scarce(format!("the spot price is {spot}: expected US dollars an hour, zero or above")));
        }
        Ok(())
    }
}

/// What the job runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    /// Nothing: it waits.
    None,
    /// Spot capacity of the zone with this number.
    Spot(usize),
    /// A machine that nobody takes away.
    OnDemand,
}

/// What a zone offers at a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Whether a spot machine is to be had.
    pub is_available: bool,
    /// What it costs, US dollars an hour.
    pub usd_per_hour: f64,
}

/// What a policy sees at a tick.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'o> {
    /// Since the start of the job, hours.
    pub elapsed_h: f64,
    /// Until its deadline, hours; below zero when that is past.
    pub time_left_h: f64,
    /// Work that is not done, hours.
    pub work_left_h: f64,
    /// What the job runs on; a machine that was just taken away is gone.
    pub machine: Machine,
    /// What each zone offers.
    pub offers: &'o [Offer],
}

impl Observation<'_> {
    /// Time beyond what the work needs, hours.
    #[must_use]
    pub fn slack_h(&self) -> f64 {
        self.time_left_h - self.work_left_h
    }
}

/// What holds for all runs that a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'s> {
    /// The job.
    pub job: Job,
    /// Prices.
    pub market: Market,
    /// The zones that it may run in; all with ticks of the same length.
    pub zones: &'s [Trace],
}

impl Setting<'_> {
    /// Length of a tick, hours.
    #[must_use]
    pub fn tick_h(&self) -> f64 {
        self.zones.first().map_or(1.0, |zone| zone.tick_h)
    }

    /// Ticks that all zones have.
    #[must_use]
    pub fn ticks(&self) -> usize {
        self.zones.iter().map(|zone| zone.available.len()).min().unwrap_or(0)
    }

    /// What a zone offers at a tick; nothing behind the end.
    #[must_use]
    pub fn offer(&self, zone: &Trace, tick: usize) -> Offer {
        Offer {
            is_available: zone.available.get(tick).copied().unwrap_or(false),
            usd_per_hour: zone.price_at(tick).unwrap_or(self.market.spot_usd_per_hour),
        }
    }

    /// Least time beyond the work with which a job that is not on spot capacity may do anything but run on demand, hours: a start
    /// that comes to nothing, the start on demand, and the time until the next look.
    #[must_use]
    pub fn reserve_h(&self) -> f64 {
        2.0 * self.job.setback_h() + self.tick_h()
    }
}

/// Decides, tick after tick. One instance serves many runs of one [`Setting`], one after the other.
pub trait Policy {
    /// A run begins at this tick: what came before it may be looked at, what comes after it may not.
    fn begin(&mut self, setting: &Setting<'_>, start_tick: usize);

    /// What to run on until the next tick. A zone without an offer counts as [`Machine::None`].
    fn decide(&mut self, setting: &Setting<'_>, seen: &Observation<'_>) -> Machine;
}

/// The policies there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Never spot.
    OnDemand,
    /// Spot or nothing, whatever the deadline.
    NaiveSpot,
    /// Spot or nothing, until the deadline leaves nothing but on demand.
    Greedy,
    /// Uniform Progress that waits again once it has caught up.
    UniformProgressIdle,
    /// Uniform Progress that stays on demand until there is spot capacity.
    UniformProgress,
    /// The least expected cost, planned with what the zones were like so far.
    Advised,
    /// The least cost, for one who knows the future.
    Omniscient,
}

impl Kind {
    /// All, from the dearest idea to the bound.
    pub const ALL: [Self; 7] = [
        Self::OnDemand,
        Self::NaiveSpot,
        Self::Greedy,
        Self::UniformProgressIdle,
        Self::UniformProgress,
        Self::Advised,
        Self::Omniscient,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::NaiveSpot => "naive-spot",
            Self::Greedy => "greedy",
            Self::UniformProgressIdle => "uniform-progress-idle",
            Self::UniformProgress => "uniform-progress",
            Self::Advised => "advised",
            Self::Omniscient => "omniscient",
        }
    }

    /// Whether it keeps every deadline that can be kept.
    #[must_use]
    pub fn keeps_deadlines(self) -> bool {
        self != Self::NaiveSpot
    }

    /// A policy of this kind.
    #[must_use]
    pub fn policy(self) -> Box<dyn Policy> {
        match self {
            Self::OnDemand => Box::new(rules::OnDemand),
            Self::NaiveSpot => Box::new(rules::NaiveSpot::default()),
            Self::Greedy => Box::new(rules::Rules::greedy()),
            Self::UniformProgressIdle => Box::new(rules::Rules::uniform_progress(false)),
            Self::UniformProgress => Box::new(rules::Rules::uniform_progress(true)),
            Self::Advised => Box::new(advised::Advised::default()),
            Self::Omniscient => Box::new(omniscient::Omniscient::default()),
        }
    }
}
