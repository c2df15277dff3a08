//! One instance: which way for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of every unit. Must never stop a unit before it is noted down, and in a
//! drill none that could not be started again.

use crate::config::Config;
use crate::facts::Facts;
use crate::plan::Plan;
use crate::record::Record;
use crate::start::{self, Started};
use crate::stop;
use crate::survey::{Survey, Target};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_dbus::{Bus, Fault, Limit};
use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time to look, when it is activated, whether the units are there.
const LOOK: Duration = Duration::from_secs(2);
/// Kept back from the groups to read what their units came to, at most.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// The plugin.
pub struct StopUnits {
    host: Host,
    plan: Plan,
    record: Record,
    last: Mutex<Option<Last>>,
}

/// The event that was handled last, and what holds since.
struct Last {
    event: String,
    names: Vec<String>,
    is_active: bool,
}

impl Plugin for StopUnits {
    const ID: &'static CStr = c"io.cloudsnooze.stop-units";
    const NAME: &'static CStr = c"stop-units";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr =
        c"Stops systemd units in order, and starts them again when the notice is withdrawn";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let record = Record::new(&instance.state_dir);
        Ok(Self { host, plan: Plan::new(config)?, record, last: Mutex::default() })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(60);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(65).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        // A misspelt name shows today.
        let limit = Limit::within(LOOK);
        let looked = Bus::open(&limit).and_then(|bus| bus.units(&self.plan.names(), &limit));
        match looked {
            Ok(units) => {
                for unit in units.iter().filter(|unit| unit.load == "not-found") {
                    self.host.warn(format_args!("systemd knows no unit {} now", unit.name));
                }
            }
            Err(fault) => self.host.warn(format_args!("systemd cannot be asked now: {fault}")),
        }
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        // Not the event's purpose as such: a drill is to stop what the notice itself would stop.
        match Purpose::of(event.event_type(), event.action(), event.is_cancellation()) {
            Purpose::Undo => self.undo(event, call),
            Purpose::Ahead => Ok(Outcome::declined("the machine may stay, or comes back as it is; nothing is stopped")),
            Purpose::Secure => self.secure(event, call),
        }
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let last = self.last();
        // After a restart nobody knows any more what was there.
        let Some(last) = last.as_ref().filter(|last| last.event == event.id() && !last.names.is_empty()) else {
            return Ok(Verification::Unknown);
        };
        let limit = Limit::of(call);
        let looked = Bus::open(&limit).and_then(|bus| bus.units(&last.names, &limit));
        let units = looked.map_err(Fault::into_error)?;
        let holds = |unit: &cloudsnooze_plugin_dbus::Unit| {
            if last.is_active { unit.is_active() } else { unit.is_inactive() && unit.job == 0 }
        };
        let broken: Vec<String> =
            units.iter().filter(|unit| !holds(unit)).map(|unit| format!("{} is {}", unit.name, unit.shown())).collect();
        if !broken.is_empty() {
            return Err(Error::new(broken.join("; ")).code(Code::State));
        }
        let states = units.iter().map(|unit| json!({ "unit": unit.name, "active_state": unit.active }));
        Ok(Verification::Verified(json!({ "units": states.collect::<Vec<_>>() })))
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}
}

impl StopUnits {
    fn last(&self) -> MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn secure(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let limit = Limit::of(call);
        let bus = Bus::open(&limit).map_err(Fault::into_error)?;
        let mut survey = Survey::new(&self.plan, event.is_drill(), &bus, &limit).map_err(Fault::into_error)?;
        if let Err(error) = self.record.note(event.id(), &survey.due(), &survey.resting) {
            if event.is_drill() {
                let text = format!("a drill, and what it stops cannot be noted down: {error}");
                return Err(Error::new(text).code(Code::Io));
            }
            self.host.warn(format_args!("what is stopped will not be started again after a restart: {error}"));
        }
        let ended = stop::stop_all(&mut survey.targets, work(&limit), self.plan.kill_after, &bus, &limit);
        for target in survey.targets.iter_mut().filter(|target| target.after.is_none()) {
            target.after = Facts::of(&bus, &target.unit, &limit).ok();
        }
        let names = survey.targets.iter().map(|target| target.unit.name.clone()).chain(survey.resting.clone());
        *self.last() = Some(Last { event: event.id().to_owned(), names: names.collect(), is_active: false });
        let report = stopped_report(&survey);
        if let Err(fault) = ended {
            let open = survey.targets.iter().filter(|target| target.took.is_none());
            let names: Vec<&str> = open.map(|target| target.unit.name.as_str()).collect();
            return Err(fault.into_error().context(names.join(", ")).with_result(report));
        }
        let failed = survey.targets.iter().filter_map(|t| Some((&t.unit.name, t.failure.as_ref()?)));
        let failures: Vec<String> = survey.refused.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        let late: Vec<String> = failed.map(|(name, why)| format!("{name}: {why}")).collect();
        if !failures.is_empty() || !late.is_empty() {
            let code = if limit.left() < Duration::from_secs(1) { Code::Deadline } else { Code::Internal };
            return Err(Error::new([failures, late].concat().join("; ")).code(code).with_result(report));
        }
        if survey.targets.is_empty() {
            let reasons = survey.skipped.iter().map(|(name, why)| format!("{name}: {why}"));
            return Ok(Outcome::declined(reasons.collect::<Vec<_>>().join("; ")));
        }
        Ok(Outcome::handled(report))
    }

    fn undo(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let limit = Limit::of(call);
        if let Some(fault) = limit.over() {
            return Err(fault.into_error());
        }
        let withdrawn = event.field(abi::SNOOZE_FIELD_CANCELS).filter(|id| !id.is_empty());
        let (due, written) = self.record.withdraw(withdrawn);
        if let Err(error) = written {
            self.host.warn(format_args!("the record of what was stopped cannot be written: {error}"));
        }
        if due.is_empty() {
            return Ok(Outcome::declined("this instance has stopped nothing that has to run now"));
        }
        let mut units = start::list(due);
        let bus = Bus::open(&limit).map_err(Fault::into_error)?;
        let ended = start::start_all(&mut units, work(&limit), &bus, &limit);
        let running: Vec<String> = units.iter().filter(|u| u.took.is_some()).map(|u| u.name.clone()).collect();
        if let Err(error) = self.record.started(&running) {
            self.host.warn(format_args!("the record of what was stopped cannot be written: {error}"));
        }
        *self.last() = Some(Last { event: event.id().to_owned(), names: running, is_active: true });
        let report = json!({
            "action": "start-units",
            "evidence": { "units": units.iter().map(Started::json).collect::<Vec<_>>() }, "durable": "unknown",
        });
        if let Err(fault) = ended {
            return Err(fault.into_error().with_result(report));
        }
        let failures: Vec<String> =
            units.iter().filter_map(|unit| Some(format!("{}: {}", unit.name, unit.failure.as_ref()?))).collect();
        if failures.is_empty() {
            return Ok(Outcome::handled(report));
        }
        Err(Error::new(failures.join("; ")).with_result(report))
    }
}

/// The time for the groups.
fn work(limit: &Limit<'_>) -> Duration {
    let left = limit.left();
    left.saturating_sub(AFTERWARDS.min(left / 5))
}

/// With three places.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

fn stopped_report(survey: &Survey) -> Value {
    let of_step = |step: usize| {
        let names = survey.targets.iter().filter(move |target| target.step == step);
        names.map(|target| target.unit.name.as_str()).collect::<Vec<_>>()
    };
    let reasons = |list: &[(String, String)]| {
        list.iter().map(|(unit, reason)| json!({ "unit": unit, "reason": reason })).collect::<Vec<_>>()
    };
    let was_killed = survey.targets.iter().any(|target| target.was_killed);
    json!({
        "action": "stop-units",
        "order": (0..survey.steps()).map(of_step).collect::<Vec<_>>(),
        "evidence": { "units": survey.targets.iter().map(told).collect::<Vec<_>>() },
        "skipped": reasons(&survey.skipped), "refused": reasons(&survey.refused),
        "durable": if was_killed { "no" } else { "unknown" },
    })
}

fn told(target: &Target) -> Value {
    json!({
        "unit": target.unit.name, "along_with": target.along_with,
        "before": target.before.json(), "after": target.after.as_ref().map(Facts::json),
        "seconds": target.took.map(seconds), "killed": target.was_killed,
    })
}
