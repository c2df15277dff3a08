//! Stops one group after the other, and waits for each.
//!
//! Inputs: targets, the time there is. Outputs: how long each took, what it ended with, what failed. Must never go on to the
//! next group before this one has stopped, or is out of time.

use crate::facts::Facts;
use crate::plan::{kill_at, share};
use crate::survey::Target;
use cloudsnooze_plugin_dbus::{Bus, Fault, Limit, Unit};
use std::time::{Duration, Instant};

/// Pauses between looks: the first, and the longest.
pub(crate) const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
const SIGKILL: i32 = 9;

/// Stops all of them, in this time, which ends before the limit.
///
/// # Errors
/// Cancelled, or nobody answers any more; the targets know how far it came.
pub(crate) fn stop_all(
    targets: &mut [Target],
    time: Duration,
    kill_after: Option<Duration>,
    bus: &Bus,
    limit: &Limit<'_>,
) -> Result<(), Fault> {
    let until = Instant::now() + time;
    let steps = targets.iter().map(|target| target.step + 1).max().unwrap_or(0);
    for step in 0..steps {
        let time = share(until.saturating_duration_since(Instant::now()), steps - step - 1);
        let kill = kill_after.map(|after| kill_at(after, time));
        let mut group: Vec<&mut Target> = targets.iter_mut().filter(|target| target.step == step).collect();
        stop(&mut group, Instant::now() + time, kill.map(|kill| Instant::now() + kill), bus, limit)?;
    }
    Ok(())
}

fn stop(
    group: &mut [&mut Target],
    ends: Instant,
    kill_at: Option<Instant>,
    bus: &Bus,
    limit: &Limit<'_>,
) -> Result<(), Fault> {
    let begun = Instant::now();
    let mut refused: Vec<String> = Vec::new();
    for target in group.iter_mut() {
        // So that how it ended can be read; where that is refused it usually can be all the same.
        passed(bus.hold(&target.unit.name, limit))?;
        if target.along_with.is_none()
            && let Some(fault) = passed(bus.stop_unit(&target.unit.name, limit))?
        {
            target.failure = Some(fault.to_string());
            refused.push(target.unit.name.clone());
        }
    }
    let mut pause = PAUSES.0;
    let mut is_killed = false;
    loop {
        // One whose stop was refused is waited for nevertheless: systemd may be stopping it along with another.
        let open: Vec<String> = group.iter().filter(|t| t.took.is_none()).map(|t| t.unit.name.clone()).collect();
        let now = bus.units(&open, limit)?;
        for target in group.iter_mut().filter(|target| target.took.is_none()) {
            let Some(unit) = now.iter().find(|unit| unit.name == target.unit.name) else { continue };
            if unit.is_inactive() && unit.job == 0 {
                target.took = Some(begun.elapsed());
                target.failure = None;
                target.after = passed_value(Facts::of(bus, unit, limit))?;
            }
        }
        // What stops along with a unit that may not be stopped does not stop.
        let is_vain = |target: &Target| target.along_with.as_ref().is_some_and(|cause| refused.contains(cause));
        let waiting = |target: &&mut &mut Target| target.took.is_none() && target.failure.is_none() && !is_vain(target);
        if !group.iter_mut().any(|target| waiting(&target)) {
            return Ok(());
        }
        let is_due = kill_at.is_some_and(|at| Instant::now() >= at);
        if is_due && !is_killed {
            is_killed = true;
            for target in group.iter_mut().filter(waiting) {
                target.was_killed = passed(bus.kill_unit(&target.unit.name, SIGKILL, limit))?.is_none();
            }
        }
        if Instant::now() >= ends {
            for target in group.iter_mut().filter(waiting) {
                late(target, &now, begun.elapsed());
            }
            return Ok(());
        }
        let next = ends.min(kill_at.filter(|_| !is_killed).unwrap_or(ends));
        limit.pause(pause.min(next.saturating_duration_since(Instant::now())))?;
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}

fn late(target: &mut Target, now: &[Unit], after: Duration) {
    let unit = now.iter().find(|unit| unit.name == target.unit.name);
    let shown = unit.map_or_else(String::new, |unit| format!("it is still {} ", unit.shown()));
    target.failure = Some(format!("{shown}after {:.1} s", after.as_secs_f64()));
}

/// A refusal concerns one unit; that the time is over, or nobody answers, all of them.
///
/// # Errors
/// Those.
pub(crate) fn passed<T>(answer: Result<T, Fault>) -> Result<Option<Fault>, Fault> {
    match answer {
        Ok(_) => Ok(None),
        Err(fault @ Fault::Refused { .. }) => Ok(Some(fault)),
        Err(fault) => Err(fault),
    }
}

/// The same for an answer that is wanted.
fn passed_value<T>(answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Refused { .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}
