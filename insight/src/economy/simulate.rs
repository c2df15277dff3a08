//! A job under a policy, replayed on traces.
//!
//! Responsibilities: what happens tick by tick, and what many runs come to. Inputs: a [`Setting`], starts, a [`Policy`]. Outputs: a
//! [`Run`] a start, a [`Summary`]. Must never decide anything: what a policy says is done, unless there is nothing to be had.
//!
//! A tick is as the traces have it: who is on spot capacity that is still there keeps it for the whole tick; who is on capacity that
//! is gone loses the machine at the tick's begin, and with it the work since the last checkpoint, where there are checkpoints. Every
//! start of a machine costs the changeover, which is paid for. A run that has no end within the trace counts as late.

use super::policy::{Job, Kind, Machine, Observation, Offer, Policy, Setting};
use crate::Scarce;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use std::collections::BTreeMap;

/// Work that is no work any more: a billionth of an hour.
const NOTHING_H: f64 = 1e-9;

/// What became of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// Tick that it began at.
    pub start_tick: usize,
    /// What was paid, US dollars.
    pub cost_usd: f64,
    /// From the start to the end of the work, hours; until the trace's end where the work has none.
    pub makespan_h: f64,
    /// Whether it ended after its deadline, or not at all.
    pub is_late: bool,
    /// Work done on spot capacity, hours.
    pub spot_h: f64,
    /// Work done on demand, hours.
    pub on_demand_h: f64,
    /// Hours without a machine.
    pub waited_h: f64,
    /// Hours that were paid and came to nothing: changeovers, and work that was lost.
    pub lost_h: f64,
    /// Machines that were taken away.
    pub interruptions: u32,
    /// Machines that were started.
    pub starts: u32,
}

/// Where a run stands.
struct State {
    run: Run,
    machine: Machine,
    work_left_h: f64,
    changeover_left_h: f64,
    unsaved_h: f64,
}

/// Replays one run from a tick on.
///
/// # Errors
/// There are no zones, the job makes no sense or cannot be done, prices are none, or the trace ends before the deadline.
pub fn run(setting: &Setting<'_>, start_tick: usize, policy: &mut dyn Policy) -> Result<Run, Scarce> {
    check(setting)?;
    let starts = starts_possible(setting);
    if start_tick >= starts {
        return Err(Scarce(format!(
            "a run from tick {start_tick} on does not fit: the traces have {} ticks, so that the last start with its whole deadline is {}",
            setting.ticks(),
            starts.checked_sub(1).map_or_else(|| "none".to_owned(), |last| format!("tick {last}")),
        )));
    }
    let job = setting.job;
    let mut state = State {
        run: Run { start_tick, ..Run::default() },
        machine: Machine::None,
        work_left_h: job.work_h,
        changeover_left_h: 0.0,
        unsaved_h: 0.0,
    };
    policy.begin(setting, start_tick);
    let mut offers: Vec<Offer> = Vec::with_capacity(setting.zones.len());
    for tick in start_tick..setting.ticks() {
        offers.clear();
        offers.extend(setting.zones.iter().map(|zone| setting.offer(zone, tick)));
        state.lose(&offers);
        let elapsed_h = state.run.makespan_h;
        let seen = Observation {
            elapsed_h,
            time_left_h: job.deadline_h - elapsed_h,
            work_left_h: state.work_left_h,
            machine: state.machine,
            offers: &offers,
        };
        let next = policy.decide(setting, &seen);
        state.change(next, &offers, &job);
        state.pass(setting, &offers);
        if state.work_left_h <= NOTHING_H {
            state.run.is_late = state.run.makespan_h > job.deadline_h + NOTHING_H;
            return Ok(state.run);
        }
    }
    state.run.is_late = true;
    Ok(state.run)
}

impl State {
    /// Takes the machine away where its capacity is gone.
    fn lose(&mut self, offers: &[Offer]) {
        let Machine::Spot(zone) = self.machine else { return };
        if offers.get(zone).is_some_and(|offer| offer.is_available) {
            return;
        }
        self.machine = Machine::None;
        self.run.interruptions += 1;
        self.work_left_h += self.unsaved_h;
        self.run.spot_h -= self.unsaved_h;
        self.run.lost_h += self.unsaved_h;
        self.unsaved_h = 0.0;
    }

    fn change(&mut self, next: Machine, offers: &[Offer], job: &Job) {
        let is_to_be_had = match next {
            Machine::Spot(zone) => offers.get(zone).is_some_and(|offer| offer.is_available),
            Machine::None | Machine::OnDemand => true,
        };
        let next = if is_to_be_had { next } else { Machine::None };
        if next == self.machine {
            return;
        }
        // Who leaves by himself saves first.
        self.unsaved_h = 0.0;
        self.changeover_left_h = 0.0;
        if next != Machine::None {
            self.changeover_left_h = job.changeover_h;
            self.run.starts += 1;
        }
        self.machine = next;
    }

    /// Lets a tick pass, or what is left of the work.
    fn pass(&mut self, setting: &Setting<'_>, offers: &[Offer]) {
        let tick_h = setting.tick_h();
        let price = match self.machine {
            Machine::None => {
                self.run.makespan_h += tick_h;
                self.run.waited_h += tick_h;
                return;
            }
            Machine::OnDemand => setting.market.on_demand_usd_per_hour,
            Machine::Spot(zone) => offers.get(zone).map_or(0.0, |offer| offer.usd_per_hour),
        };
        let hours = tick_h.min(self.changeover_left_h + self.work_left_h);
        let changeover_h = hours.min(self.changeover_left_h);
        let work_h = hours - changeover_h;
        self.changeover_left_h -= changeover_h;
        self.work_left_h -= work_h;
        self.run.makespan_h += hours;
        self.run.lost_h += changeover_h;
        self.run.cost_usd += price * hours;
        if self.machine == Machine::OnDemand {
            self.run.on_demand_h += work_h;
            return;
        }
        self.run.spot_h += work_h;
        if setting.job.checkpoint_h > 0.0 {
            self.unsaved_h = (self.unsaved_h + work_h) % setting.job.checkpoint_h;
        }
    }
}

fn check(setting: &Setting<'_>) -> Result<(), Scarce> {
    setting.job.check()?;
    setting.market.check()?;
    let tick_h = setting.tick_h();
    let Some(first) = setting.zones.first() else { return Err(Scarce("no trace to replay".to_owned())) };
    if let Some(other) = setting.zones.iter().find(|zone| (zone.tick_h - tick_h).abs() > 1e-9) {
        return Err(Scarce(format!(
            "traces that are zones of one job need ticks of one length: {} has {} s, {} has {} s",
            first.name,
            first.tick_h * 3600.0,
            other.name,
            other.tick_h * 3600.0
        )));
    }
    Ok(())
}

/// How many starts there are, from tick 0 on, after which the traces reach to the deadline.
#[must_use]
pub fn starts_possible(setting: &Setting<'_>) -> usize {
    let needed = (setting.job.deadline_h / setting.tick_h() - 1e-9).ceil().max(0.0);
    if needed > setting.ticks() as f64 { 0 } else { setting.ticks() - needed as usize + 1 }
}

/// `count` starts at and after a tick, drawn from a seed; none where no start fits.
#[must_use]
pub fn draw_starts(setting: &Setting<'_>, from_tick: usize, count: usize, seed: u64) -> Vec<usize> {
    let possible = starts_possible(setting);
    if from_tick >= possible {
        return Vec::new();
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(from_tick..possible)).collect()
}

/// `count` starts at and after a tick, at equal distances; none where no start fits.
#[must_use]
pub fn spread_starts(setting: &Setting<'_>, from_tick: usize, count: usize) -> Vec<usize> {
    let possible = starts_possible(setting);
    let Some(room) = possible.checked_sub(from_tick + 1) else { return Vec::new() };
    let apart = count.saturating_sub(1).max(1);
    (0..count).map(|nth| from_tick + room * nth / apart).collect()
}

/// Many runs of one policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many runs.
    pub runs: usize,
    /// How many ended after the deadline, or not at all.
    pub late: usize,
    /// Mean cost, US dollars, and the standard error of that mean.
    pub cost_usd: f64,
    #[allow(missing_docs, reason = "said above")]
    pub cost_error_usd: f64,
    /// Least and most that nine of ten runs cost: 5 and 95 in 100 are below.
    pub cost_p5_usd: f64,
    #[allow(missing_docs, reason = "said above")]
    pub cost_p95_usd: f64,
    /// What the same job costs on demand only, US dollars.
    pub on_demand_usd: f64,
    /// Part of that which is saved in the mean; below zero when it is dearer.
    pub saved: f64,
    /// Standard error of `saved`.
    pub saved_error: f64,
    /// Mean of each run's hours: from start to end.
    pub makespan_h: f64,
    /// Mean hours of work on demand, and their standard deviation.
    pub on_demand_h: f64,
    #[allow(missing_docs, reason = "said above")]
    pub on_demand_sd_h: f64,
    /// Mean hours of work on spot capacity.
    pub spot_h: f64,
    /// Mean hours without a machine.
    pub waited_h: f64,
    /// Mean hours that were paid and came to nothing.
    pub lost_h: f64,
    /// Mean number of interruptions.
    pub interruptions: f64,
}

/// What the job costs on demand only, US dollars: its start included, as in every other policy.
#[must_use]
pub fn on_demand_usd(setting: &Setting<'_>) -> f64 {
    (setting.job.work_h + setting.job.changeover_h) * setting.market.on_demand_usd_per_hour
}

/// Sums up runs. Runs that begin within the same `block_ticks` (the deadline's length, say) see the same hours, so that errors
/// count such blocks, not runs.
///
/// # Errors
/// There are no runs.
pub fn summary(runs: &[Run], on_demand_usd: f64, block_ticks: usize) -> Result<Summary, Scarce> {
    if runs.is_empty() {
        return Err(Scarce("no run fits into the traces: they are shorter than the deadline".to_owned()));
    }
    let count = runs.len() as f64;
    let mean = |of: fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / count;
    let deviation = |of: fn(&Run) -> f64, mean: f64| {
        let squares: f64 = runs.iter().map(|run| (of(run) - mean).powi(2)).sum();
        (squares / (count - 1.0).max(1.0)).sqrt()
    };
    let (cost, on_demand_h) = (mean(|run| run.cost_usd), mean(|run| run.on_demand_h));
    let cost_error_usd = clustered_error(runs, cost, block_ticks);
    let mut costs: Vec<f64> = runs.iter().map(|run| run.cost_usd).collect();
    costs.sort_by(f64::total_cmp);
    let at = |part: f64| costs.get(((count - 1.0) * part).round() as usize).copied().unwrap_or(cost);
    Ok(Summary {
        runs: runs.len(),
        late: runs.iter().filter(|run| run.is_late).count(),
        cost_usd: cost,
        cost_error_usd,
        cost_p5_usd: at(0.05),
        cost_p95_usd: at(0.95),
        on_demand_usd,
        saved: 1.0 - cost / on_demand_usd,
        saved_error: cost_error_usd / on_demand_usd,
        makespan_h: mean(|run| run.makespan_h),
        on_demand_h,
        on_demand_sd_h: deviation(|run| run.on_demand_h, on_demand_h),
        spot_h: mean(|run| run.spot_h),
        waited_h: mean(|run| run.waited_h),
        lost_h: mean(|run| run.lost_h),
        interruptions: mean(|run| f64::from(run.interruptions)),
    })
}

/// Standard error of the mean cost, clustered by the block of time that a run begins in; of one block there is none, and 0 is given.
fn clustered_error(runs: &[Run], mean: f64, block_ticks: usize) -> f64 {
    let mut blocks: BTreeMap<usize, f64> = BTreeMap::new();
    for run in runs {
        *blocks.entry(run.start_tick / block_ticks.max(1)).or_default() += run.cost_usd - mean;
    }
    let count = blocks.len() as f64;
    let squares: f64 = blocks.values().map(|sum| sum * sum).sum();
    if count < 2.0 { 0.0 } else { (squares * count / (count - 1.0)).sqrt() / runs.len() as f64 }
}

/// Runs one policy from every start.
///
/// # Errors
/// As [`run`].
pub fn runs(setting: &Setting<'_>, starts: &[usize], kind: Kind) -> Result<Vec<Run>, Scarce> {
    let mut policy = kind.policy();
    starts.iter().map(|start| run(setting, *start, policy.as_mut())).collect()
}

#[cfg(test)]
mod tests;
