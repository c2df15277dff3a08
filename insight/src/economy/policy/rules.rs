//! The policies that are a few rules: on demand only, spot only, greedy, and Uniform Progress.
//!
//! Responsibilities: the published rules as they stand in the paper named in [`super`]. Inputs: an observation. Outputs: a machine.
//! Must never learn anything but the order of zones: what learns is [`super::advised`].

use super::zones::Zones;
use super::{Machine, Observation, Policy, Setting};

/// Never spot.
pub struct OnDemand;

impl Policy for OnDemand {
    fn begin(&mut self, _: &Setting<'_>, _: usize) {}

    fn decide(&mut self, _: &Setting<'_>, _: &Observation<'_>) -> Machine {
        Machine::OnDemand
    }
}

/// Spot or nothing, whatever the deadline.
#[derive(Default)]
pub struct NaiveSpot {
    zones: Zones,
}

impl Policy for NaiveSpot {
    fn begin(&mut self, setting: &Setting<'_>, start_tick: usize) {
        self.zones.begin(setting, start_tick);
    }

    fn decide(&mut self, setting: &Setting<'_>, seen: &Observation<'_>) -> Machine {
        self.zones.pick(setting, seen).map_or(Machine::None, Machine::Spot)
    }
}

/// Greedy and Uniform Progress: alike but for what they do while there is no spot capacity and time is left.
pub struct Rules {
    /// Whether the job has to keep up with a uniform rate.
    is_uniform: bool,
    /// Whether it stays on demand, once there, until there is spot capacity.
    stays: bool,
    /// Whether nothing but on demand can keep the deadline any more.
    is_committed: bool,
    zones: Zones,
}

impl Rules {
    /// Spot whenever there is some, else nothing, until only on demand keeps the deadline.
    #[must_use]
    pub fn greedy() -> Self {
        Self { is_uniform: false, stays: false, is_committed: false, zones: Zones::default() }
    }

    /// Uniform Progress. `stays`: on demand until there is spot capacity; else until it has caught up.
    #[must_use]
    pub fn uniform_progress(stays: bool) -> Self {
        Self { is_uniform: true, stays, is_committed: false, zones: Zones::default() }
    }
}

impl Policy for Rules {
    fn begin(&mut self, setting: &Setting<'_>, start_tick: usize) {
        self.is_committed = false;
        self.zones.begin(setting, start_tick);
    }

    fn decide(&mut self, setting: &Setting<'_>, seen: &Observation<'_>) -> Machine {
        let spot = self.zones.pick(setting, seen).map(Machine::Spot);
        if let (Machine::Spot(_), Some(same)) = (seen.machine, spot)
            && same == seen.machine
        {
            return same;
        }
        self.is_committed |= seen.slack_h() < setting.reserve_h();
        if self.is_committed {
            return Machine::OnDemand;
        }
        let job = setting.job;
        let done_h = job.work_h - seen.work_left_h;
        let expected_h = |elapsed_h: f64| elapsed_h * job.work_h / job.deadline_h;
        match seen.machine {
            // Greedy is on demand only when committed.
            Machine::OnDemand if done_h < expected_h(seen.elapsed_h + 2.0 * job.setback_h()) => Machine::OnDemand,
            Machine::OnDemand => spot.unwrap_or(if self.stays { Machine::OnDemand } else { Machine::None }),
            _ => {
                let is_behind = self.is_uniform && done_h < expected_h(seen.elapsed_h);
                spot.unwrap_or(if is_behind { Machine::OnDemand } else { Machine::None })
            }
        }
    }
}
