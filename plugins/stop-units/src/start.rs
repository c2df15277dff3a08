//! Starts again what was stopped.
//!
//! Inputs: what is due, the last that was stopped first. Outputs: what each unit came to. Must never start a unit that is not
//! due, nor call one started that did not become active.

use crate::facts::Facts;
use crate::plan::share;
use crate::record::Due;
use crate::stop::{PAUSES, passed};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin_dbus::{Bus, Fault, Limit};
use std::time::{Duration, Instant};

/// A unit that is started.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) name: String,
    step: usize,
    before: Option<Facts>,
    after: Option<Facts>,
    /// Set when it is active.
    pub(crate) took: Option<Duration>,
    pub(crate) failure: Option<String>,
}

impl Started {
    /// For the report.
    pub(crate) fn json(&self) -> Value {
        json!({
            "unit": self.name,
            "before": self.before.as_ref().map(Facts::json),
            "after": self.after.as_ref().map(Facts::json),
            "seconds": self.took.map(crate::plugin::seconds),
        })
    }
}

/// Makes the list.
pub(crate) fn list(due: Vec<Due>) -> Vec<Started> {
    let started = due.into_iter().map(|Due { name, step }| Started {
        name,
        step,
        before: None,
        after: None,
        took: None,
        failure: None,
    });
    started.collect()
}

/// Starts all of them, one group after the other, in this time, which ends before the limit.
///
/// # Errors
/// Cancelled, or nobody answers any more; the list knows how far it came.
pub(crate) fn start_all(units: &mut [Started], time: Duration, bus: &Bus, limit: &Limit<'_>) -> Result<(), Fault> {
    let until = Instant::now() + time;
    let mut steps: Vec<usize> = units.iter().map(|unit| unit.step).collect();
    steps.dedup();
    for (done, step) in steps.iter().enumerate() {
        let now = Instant::now();
        let ends = now + share(until.saturating_duration_since(now), steps.len() - done - 1);
        let mut group: Vec<&mut Started> = units.iter_mut().filter(|unit| unit.step == *step).collect();
        start(&mut group, ends, bus, limit)?;
    }
    Ok(())
}

fn start(group: &mut [&mut Started], ends: Instant, bus: &Bus, limit: &Limit<'_>) -> Result<(), Fault> {
    let begun = Instant::now();
    let names: Vec<String> = group.iter().map(|unit| unit.name.clone()).collect();
    let found = bus.units(&names, limit)?;
    for unit in group.iter_mut() {
        let Some(now) = found.iter().find(|found| found.name == unit.name) else { continue };
        unit.before = Some(Facts::of(bus, now, limit)?);
        // One that was still stopping is started too: systemd waits for its end first.
        if (!now.is_active() || now.job != 0)
            && let Some(fault) = passed(bus.start_unit(&unit.name, limit))?
        {
            unit.failure = Some(fault.to_string());
        }
    }
    let mut pause = PAUSES.0;
    loop {
        let now = bus.units(&names, limit)?;
        let is_late = Instant::now() >= ends;
        let mut is_waiting = false;
        for unit in group.iter_mut().filter(|unit| unit.took.is_none() && unit.failure.is_none()) {
            let Some(found) = now.iter().find(|found| found.name == unit.name) else { continue };
            let is_over = found.job == 0 && (found.is_active() || found.is_inactive());
            if is_over || is_late {
                let facts = Facts::of(bus, found, limit)?;
                if is_over && found.is_active() {
                    unit.took = Some(begun.elapsed());
                } else if is_over {
                    unit.failure = Some(format!("it did not become active: {}", facts.shown()));
                } else {
                    let after = begun.elapsed().as_secs_f64();
                    unit.failure = Some(format!("it is still {} after {after:.1} s", found.shown()));
                }
                unit.after = Some(facts);
            } else {
                is_waiting = true;
            }
        }
        if !is_waiting {
            return Ok(());
        }
        limit.pause(pause.min(ends.saturating_duration_since(Instant::now())))?;
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
}
