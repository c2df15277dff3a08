//! What is there to stop.
//!
//! Inputs: the plan, the manager's answers. Outputs: every unit that will stop, those that systemd stops along with another
//! one included, and what is left alone with its reason. Must never change anything.

use crate::config::Order;
use crate::facts::Facts;
use crate::order::{Relations, groups};
use crate::plan::{Plan, is_pattern};
use crate::record::Due;
use cloudsnooze_plugin_dbus::{Bus, Fault, Limit, Properties, Unit, switch, texts};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Relations over which systemd stops a unit along with another one (systemd.unit(5): Requires=, Requisite=, BindsTo=, PartOf=,
/// PropagatesStopTo=), as the stopped unit has them.
const DRAGS: [&str; 5] = ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"];

/// A unit that runs and is to be stopped.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) unit: Unit,
    /// Its group.
    pub(crate) step: usize,
    /// The unit with which systemd stops it, when it is not configured itself.
    pub(crate) along_with: Option<String>,
    pub(crate) before: Facts,
    pub(crate) after: Option<Facts>,
    pub(crate) took: Option<Duration>,
    pub(crate) was_killed: bool,
    pub(crate) failure: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) targets: Vec<Target>,
    /// Units that do not run already.
    pub(crate) resting: Vec<String>,
    /// What is left alone, and why.
    pub(crate) skipped: Vec<(String, String)>,
    /// What should be stopped and is not touched, and why.
    pub(crate) refused: Vec<(String, String)>,
}

/// A unit with what decides about it.
struct Seen {
    unit: Unit,
    properties: Properties,
    /// Those that stop along with it, with theirs.
    along: Vec<(Unit, Properties)>,
}

impl Survey {
    /// How many groups there are.
    pub(crate) fn steps(&self) -> usize {
        self.targets.iter().map(|target| target.step + 1).max().unwrap_or(0)
    }

    /// What will be stopped, for the record.
    pub(crate) fn due(&self) -> Vec<Due> {
        self.targets.iter().map(|target| Due { name: target.unit.name.clone(), step: target.step }).collect()
    }

    /// Looks at everything.
    ///
    /// # Errors
    /// The manager does not answer.
    pub(crate) fn new(plan: &Plan, is_drill: bool, bus: &Bus, limit: &Limit<'_>) -> Result<Self, Fault> {
        let mut survey = Self::default();
        let mut known = BTreeSet::new();
        let mut seen: Vec<(usize, Seen)> = Vec::new();
        let own = match bus.unit_of(std::process::id(), limit) {
            Err(fault @ (Fault::Late | Fault::Cancelled)) => return Err(fault),
            own => own.ok(),
        };
        for (step, names) in plan.groups.iter().enumerate() {
            for name in names {
                for unit in survey.running(name, bus, limit)? {
                    if known.insert(unit.name.clone()) {
                        seen.push((step, look(unit, bus, limit)?));
                    }
                }
            }
        }
        seen.retain(|(_, seen)| survey.may_be_stopped(seen, own.as_deref(), is_drill));
        if plan.order == Order::Dependencies {
            seen = by_dependencies(seen);
        }
        survey.take(seen);
        Ok(survey)
    }

    /// The running units that a name of the configuration means.
    fn running(&mut self, name: &str, bus: &Bus, limit: &Limit<'_>) -> Result<Vec<Unit>, Fault> {
        let is_pattern = is_pattern(name);
        let units = if is_pattern { bus.units_like(name, limit)? } else { bus.units(&[name], limit)? };
        let (resting, running): (Vec<Unit>, Vec<Unit>) = units.into_iter().partition(Unit::is_inactive);
        if running.is_empty() && is_pattern {
            self.skipped.push((name.to_owned(), "no unit that matches it runs".to_owned()));
        }
        for unit in resting {
            // The row of a pattern is no mistake of the operator's.
            if !is_pattern {
                let why = if unit.load == "loaded" { unit.shown() } else { unit.load.clone() };
                self.skipped.push((unit.name.clone(), format!("it does not run: {why}")));
            }
            self.resting.push(unit.name);
        }
        Ok(running)
    }

    fn may_be_stopped(&mut self, seen: &Seen, own: Option<&str>, is_drill: bool) -> bool {
        let name = &seen.unit.name;
        let all = || [(&seen.unit, &seen.properties)].into_iter().chain(seen.along.iter().map(|(u, p)| (u, p)));
        if let Some((found, _)) = all().find(|(unit, _)| own == Some(unit.name.as_str())) {
            let text = if found.name == *name {
                "this daemon runs in it".to_owned()
            } else {
                format!("systemd would stop {} with it, in which this daemon runs", found.name)
            };
            self.refused.push((name.clone(), text));
            return false;
        }
        let lost = all().find_map(|(unit, properties)| Some((unit, why_lost(unit, properties)?)));
        if let Some((unit, why)) = lost.filter(|_| is_drill) {
            self.skipped.push((name.clone(), format!("a drill, and {} could not be started again: {why}", unit.name)));
            return false;
        }
        true
    }

    /// Numbers the groups that are left, and puts those that stop along beside their causes.
    fn take(&mut self, seen: Vec<(usize, Seen)>) {
        let mut known: BTreeSet<String> = seen.iter().map(|(_, seen)| seen.unit.name.clone()).collect();
        let steps: BTreeSet<usize> = seen.iter().map(|(step, _)| *step).collect();
        let numbers: BTreeMap<usize, usize> = steps.into_iter().enumerate().map(|(new, old)| (old, new)).collect();
        for (step, Seen { unit, properties, along }) in seen {
            let step = numbers.get(&step).copied().unwrap_or(step);
            let name = unit.name.clone();
            self.targets.push(Target::new(unit, step, None, &properties));
            for (unit, properties) in along {
                if known.insert(unit.name.clone()) {
                    self.targets.push(Target::new(unit, step, Some(name.clone()), &properties));
                }
            }
        }
    }
}

impl Target {
    fn new(unit: Unit, step: usize, along_with: Option<String>, properties: &Properties) -> Self {
        let before = Facts::new(&unit, properties);
        Self { unit, step, along_with, before, after: None, took: None, was_killed: false, failure: None }
    }
}

/// Reads a unit and, again and again, those that are dragged along.
fn look(unit: Unit, bus: &Bus, limit: &Limit<'_>) -> Result<Seen, Fault> {
    let properties = bus.properties(&unit, limit)?;
    let mut known = BTreeSet::from([unit.name.clone()]);
    let mut along: Vec<(Unit, Properties)> = Vec::new();
    let mut names = dragged(&properties);
    loop {
        names.retain(|name| known.insert(name.clone()));
        if names.is_empty() {
            return Ok(Seen { unit, properties, along });
        }
        let mut next = Vec::new();
        for unit in bus.units(&names, limit)?.into_iter().filter(|unit| !unit.is_inactive()) {
            let properties = bus.properties(&unit, limit)?;
            next.extend(dragged(&properties));
            along.push((unit, properties));
        }
        names = next;
    }
}

fn dragged(properties: &Properties) -> Vec<String> {
    DRAGS.iter().flat_map(|relation| texts(properties, relation)).collect()
}

/// Why a unit that is stopped could not be started again, if so.
fn why_lost(unit: &Unit, properties: &Properties) -> Option<&'static str> {
    if switch(properties, "Transient") == Some(true) {
        Some("it is transient, made by a program and gone when it stops")
    } else if unit.load == "masked" {
        Some("it is masked")
    } else if switch(properties, "CanStart") == Some(false) || switch(properties, "RefuseManualStart") == Some(true) {
        Some("its kind cannot be started by hand")
    } else {
        None
    }
}

fn by_dependencies(seen: Vec<(usize, Seen)>) -> Vec<(usize, Seen)> {
    let relations: Vec<Relations> = seen
        .iter()
        .map(|(_, seen)| Relations {
            name: seen.unit.name.clone(),
            after: texts(&seen.properties, "After"),
            before: texts(&seen.properties, "Before"),
        })
        .collect();
    let groups = groups(&relations);
    let step_of = |place: usize| groups.iter().position(|group| group.contains(&place)).unwrap_or(0);
    let mut seen: Vec<_> = seen.into_iter().enumerate().map(|(place, (_, seen))| (step_of(place), seen)).collect();
    seen.sort_by_key(|(step, _)| *step);
    seen
}
