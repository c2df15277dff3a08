//! One instance: which way for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of what the login manager was asked and said. Must never ask for the end of
//! the machine in a drill.

use crate::approve::Approver;
use crate::choice::{Choice, choose, delay};
use crate::config::{Action, Approve, Config};
use crate::flush::Flush;
use crate::group::{COMPLETED, Over};
use crate::logind::{self, Scheduled};
use crate::record::Record;
use crate::waiter::{Stage, Waiter};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_dbus::{Bus, Fault, Limit};
use std::ffi::CStr;
use std::time::Duration;

/// Time to ask, when it is activated, whether the action will be possible.
const LOOK: Duration = Duration::from_secs(2);
/// Where a machine goes down already.
const GOING_DOWN: &str = "system.shutdown";

/// The plugin.
pub struct Finish {
    host: Host,
    config: Config,
    record: Record,
    waiter: Waiter,
    flush: Flush,
    /// None: nothing is ever approved.
    approver: Option<Approver>,
}

impl Plugin for Finish {
    const ID: &'static CStr = c"io.cloudsnooze.finish";
    const NAME: &'static CStr = c"finish";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr =
        c"The last step: syncs the file systems, and ends the machine before the cloud does";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let record = Record::new(&instance.state_dir);
        let approver = Approver::new(host, &config)?;
        Ok(Self { host, config, record, waiter: Waiter::new(host), flush: Flush::default(), approver })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(20);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*", COMPLETED]).priority(1).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        // What will not be possible shows today.
        match self.choose(&Limit::within(LOOK)) {
            Ok(Choice { skipped: Some(reason), action, .. }) => {
                self.host.warn(format_args!("{reason}; it will be {}", action.name()));
            }
            Ok(_) => {}
            Err(error) => self.host.warn(format_args!("{error}")),
        }
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let limit = Limit::of(call);
        if let Some(fault) = limit.over() {
            return Err(fault.into_error());
        }
        if event.event_type() == COMPLETED {
            return self.approve_for_group(event, &limit);
        }
        match Purpose::of(event.event_type(), event.action(), event.is_cancellation()) {
            Purpose::Undo => self.undo(event, &limit),
            _ if self.config.action == Action::None && self.to_approve(event).is_none() => {
                Ok(Outcome::declined("the configured action is none"))
            }
            _ if event.is_drill() => self.rehearse(event, &limit),
            Purpose::Ahead if self.to_approve(event).is_some() => {
                self.approve(event, json!({ "action": "none" }), &limit)
            }
            Purpose::Ahead => Ok(Outcome::declined("the machine may stay, or comes back as it is")),
            Purpose::Secure => match self.finish(event, &limit)? {
                Ok(report) => self.approve(event, report, &limit),
                Err(_) if self.to_approve(event).is_some() => self.approve(event, json!({ "action": "none" }), &limit),
                Err(declined) => Ok(Outcome::declined(declined)),
            },
        }
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        if event.is_drill() {
            return Ok(Verification::Unknown);
        }
        let limit = Limit::of(call);
        let Some(note) = self.record.get().filter(|note| note.event == event.id()) else {
            let begun = self.approver.as_ref().map_or(Ok(None), |approver| approver.has_begun(event, &limit))?;
            return Ok(begun.map_or(Verification::Unknown, Verification::Verified));
        };
        let now = Bus::open(&limit).and_then(|bus| logind::scheduled(&bus, &limit)).map_err(Fault::into_error)?;
        if now == Some(note.scheduled()) {
            return Ok(Verification::Verified(json!({ "scheduled": shown(now.as_ref()) })));
        }
        // The time may have come meanwhile.
        if now.is_none() && note.scheduled().at_us <= logind::wall_us() {
            return Ok(Verification::Unknown);
        }
        Err(Error::new("what was scheduled is not any more").code(Code::State))
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {
        if let Some(approver) = &self.approver {
            approver.cancel();
        }
    }

    fn deactivate(&self) {
        if self.waiter.call_off() {
            self.host.warn(format_args!("the machine is not hibernated: the daemon ends before its time has come"));
        }
        self.flush.join();
    }
}

impl Finish {
    /// What the login manager lets be done.
    fn choose(&self, limit: &Limit<'_>) -> Result<Choice, Error> {
        let mut bus: Option<Bus> = None;
        let chosen = choose(&self.config, |action| {
            if matches!(action, Action::None | Action::Sync) {
                return Ok(None);
            }
            if bus.is_none() {
                bus = Some(Bus::open(limit)?);
            }
            bus.as_ref().map_or(Ok(None), |bus| logind::can(action, bus, limit))
        });
        chosen.map_err(|(fault, can)| {
            let report =
                json!({ "action": self.config.action.name(), "evidence": { "can": can }, "durable": "unknown" });
            fault.into_error().with_result(report)
        })
    }

    /// A drill: everything but the deed.
    fn rehearse(&self, event: &Event<'_>, limit: &Limit<'_>) -> Result<Outcome, Error> {
        let Choice { action, can, skipped } = self.choose(limit)?;
        let mut report = json!({
            "action": "check", "would": action.name(), "skipped": skipped, "evidence": { "can": can },
            "durable": "unknown",
        });
        if let Some((approver, event_id)) = self.to_approve(event) {
            report["evidence"]["approval"] = approver.approve(event, &event_id, limit)?;
        }
        Ok(Outcome::handled(report))
    }

    /// Who approves this event, and Azure's id of it.
    fn to_approve(&self, event: &Event<'_>) -> Option<(&Approver, String)> {
        let approver = self.approver.as_ref()?;
        Some((approver, approver.id_of(event)?))
    }

    /// The end of a group's operation: whoever led it approves for all.
    fn approve_for_group(&self, event: &Event<'_>, limit: &Limit<'_>) -> Result<Outcome, Error> {
        let Some(approver) = self.approver.as_ref().filter(|_| self.config.approve == Approve::Group) else {
            return Ok(Outcome::declined("approve is not group: the end of an operation asks nothing of this handler"));
        };
        let over = Over::of(event.json());
        if let Some(reason) = over.against_all() {
            return Ok(Outcome::declined(reason));
        }
        let approval = approver.approve_for(event, &over, limit)?;
        Ok(Outcome::handled(json!({ "action": "none", "evidence": { "approval": approval }, "durable": "unknown" })))
    }

    /// The last step of the last handler: Azure may begin. `report` is of what was done before.
    fn approve(&self, event: &Event<'_>, mut report: Value, limit: &Limit<'_>) -> Result<Outcome, Error> {
        if let Some((approver, event_id)) = self.to_approve(event) {
            match approver.approve(event, &event_id, limit) {
                Ok(approval) => report["evidence"]["approval"] = approval,
                Err(error) => return Err(error.with_result(report)),
            }
            report["durable"] = json!("unknown");
        }
        Ok(Outcome::handled(report))
    }

    /// Does what is configured; gives the report, or why there was nothing to do.
    fn finish(&self, event: &Event<'_>, limit: &Limit<'_>) -> Result<Result<Value, String>, Error> {
        let mut choice = self.choose(limit)?;
        if event.event_type() == GOING_DOWN && choice.action != Action::None {
            choice.skipped = Some(format!("{}: the machine goes down already", choice.action.name()));
            choice.action = Action::Sync;
        }
        let Choice { action, can, skipped } = choice;
        if action == Action::None {
            return Ok(Err(skipped.unwrap_or_default()));
        }
        // The end of the machine is worth more than what a slow disk has still to write.
        let half = if action == Action::Sync { limit.left() } else { limit.left() / 2 };
        let synced = self.flush.run(&limit.at_most(half)).map_err(Fault::into_error)?;
        let mut report = json!({
            "action": action.name(), "skipped": skipped, "evidence": { "can": can, "sync": synced }, "durable": "unknown",
        });
        match action {
            Action::Sync | Action::None => {
                if report["evidence"]["sync"]["complete"] != json!(true) {
                    let text = "not everything was written out in its time";
                    return Err(Error::new(text).code(Code::Deadline).with_result(report));
                }
            }
            Action::Hibernate => {
                let delay = self.delay(event);
                self.waiter.begin(delay).map_err(|error| Error::from(error).context("wait for the hibernation"))?;
                report["evidence"]["hibernates_in_seconds"] = json!(delay.as_secs_f64());
            }
            Action::Poweroff | Action::Reboot | Action::Halt => {
                let scheduled = self.schedule(action, event, limit);
                report["evidence"]["scheduled"] =
                    scheduled.map_err(|fault| fault.into_error().with_result(report.clone()))?;
            }
        }
        Ok(Ok(report))
    }

    fn delay(&self, event: &Event<'_>) -> Duration {
        delay(Duration::from_secs(self.config.delay_seconds), event.seconds_left())
    }

    /// Has the machine's end scheduled, and reads back that it is.
    fn schedule(&self, action: Action, event: &Event<'_>, limit: &Limit<'_>) -> Result<Value, Fault> {
        let bus = Bus::open(limit)?;
        let before = logind::scheduled(&bus, limit)?;
        let delay_us = u64::try_from(self.delay(event).as_micros()).unwrap_or(u64::MAX);
        let wanted = Scheduled { kind: action.name().to_owned(), at_us: logind::wall_us().saturating_add(delay_us) };
        if let Err(error) = self.record.put(event.id(), &wanted) {
            self.host.warn(format_args!("a restarted daemon could not take back what is scheduled: {error}"));
        }
        if let Err(fault) = logind::schedule(&wanted, &bus, limit) {
            self.record.clear();
            return Err(fault);
        }
        let after = logind::scheduled(&bus, limit)?;
        let delay_seconds = Duration::from_micros(delay_us).as_secs_f64();
        Ok(json!({ "before": shown(before.as_ref()), "after": shown(after.as_ref()), "delay_seconds": delay_seconds }))
    }

    fn undo(&self, event: &Event<'_>, limit: &Limit<'_>) -> Result<Outcome, Error> {
        if self.waiter.stage() == Stage::Pending && self.waiter.call_off() {
            let evidence = json!({ "hibernation": { "before": "pending", "after": null } });
            return Ok(Outcome::handled(json!({ "action": "cancel", "evidence": evidence, "durable": "unknown" })));
        }
        let withdrawn = event.field(abi::SNOOZE_FIELD_CANCELS).filter(|id| !id.is_empty());
        let Some(note) = self.record.get().filter(|note| withdrawn.is_none_or(|id| id == note.event)) else {
            return Ok(Outcome::declined("this instance has scheduled nothing that could be taken back"));
        };
        let bus = Bus::open(limit).map_err(Fault::into_error)?;
        let before = logind::scheduled(&bus, limit).map_err(Fault::into_error)?;
        if before != Some(note.scheduled()) {
            self.record.clear();
            return match before {
                // It is not ours, or not any more.
                Some(other) => Ok(Outcome::declined(format!("{} was scheduled by somebody else", other.kind))),
                None if note.scheduled().at_us <= logind::wall_us() => {
                    Err(Error::new("the end of the machine has begun").code(Code::State))
                }
                None => Ok(Outcome::declined("somebody else has taken it back already")),
            };
        }
        logind::cancel(&bus, limit).map_err(Fault::into_error)?;
        let after = logind::scheduled(&bus, limit).map_err(Fault::into_error)?;
        let report = json!({
            "action": "cancel",
            "evidence": { "scheduled": { "before": shown(before.as_ref()), "after": shown(after.as_ref()) } },
            "durable": "unknown",
        });
        if after.is_some() {
            return Err(Error::new("it is still scheduled").code(Code::State).with_result(report));
        }
        self.record.clear();
        Ok(Outcome::handled(report))
    }
}

fn shown(scheduled: Option<&Scheduled>) -> Value {
    scheduled.map_or(Value::Null, |scheduled| json!({ "type": scheduled.kind, "at_unix_us": scheduled.at_us }))
}
