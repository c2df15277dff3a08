//! One instance: when it is looked, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of every check. Must never be content with checks that held one after the
//! other: all of them hold in one and the same round.

use crate::command;
use crate::config::Config;
use crate::look::{self, Found};
use crate::plan::{Check, checks};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
    pause,
};
use cloudsnooze_plugin_commands::Runner;
use cloudsnooze_plugin_dbus::{Fault, Limit};
use jiff::Timestamp;
use std::ffi::CStr;
use std::time::{Duration, Instant};

/// Pauses between rounds: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The plugin.
pub struct VerifyState {
    checks: Vec<Check>,
    runner: Runner,
}

/// A check, and what was found.
struct Seen<'p> {
    check: &'p Check,
    first: Found,
    last: Found,
}

impl Plugin for VerifyState {
    const ID: &'static CStr = c"io.cloudsnooze.verify-state";
    const NAME: &'static CStr = c"verify-state";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Checks, before the machine ends, that everything holds that was to be reached";
    const CAPS: u64 = abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(_: Host, config: Config, _: Instance) -> Result<Self, Error> {
        Ok(Self { checks: checks(config)?, runner: Runner::new("verify-run") })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(15);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(5).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        if !self.checks.iter().any(|check| matches!(check, Check::Command { .. })) {
            return Ok(());
        }
        self.runner.start().map_err(|error| Error::from(error).context("start the thread that runs commands"))
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        match Purpose::of(event.event_type(), event.action(), event.is_cancellation()) {
            Purpose::Undo => return Ok(Outcome::declined("the notice was withdrawn; nothing had to be reached")),
            Purpose::Ahead => return Ok(Outcome::declined("the machine may stay, or comes back as it is")),
            Purpose::Secure => {}
        }
        let limit = Limit::of(call);
        if let Some(fault) = limit.over() {
            return Err(fault.into_error());
        }
        let begun = Instant::now();
        let mut seen: Vec<Seen<'_>> = Vec::new();
        let mut rounds: u32 = 0;
        loop {
            let found = self.look(event, call, &limit)?;
            rounds += 1;
            if seen.is_empty() {
                let first = self.checks.iter().zip(found);
                seen = first.map(|(check, found)| Seen { check, first: found.clone(), last: found }).collect();
            } else {
                seen.iter_mut().zip(found).for_each(|(seen, found)| seen.last = found);
            }
            let is_done = seen.iter().all(|seen| seen.last.holds);
            // In a drill the others have only checked what they would do: that it is not done is no failure.
            if is_done || event.is_drill() {
                return Ok(Outcome::handled(report(&seen, rounds, begun)));
            }
            let pause = pause::growing(rounds, PAUSES.0, PAUSES.1);
            match limit.pause(pause.min(limit.left() / 2)) {
                Err(Fault::Cancelled) => {
                    return Err(Fault::Cancelled.into_error().with_result(report(&seen, rounds, begun)));
                }
                Ok(()) if limit.left() > PAUSES.0 => {}
                _ => break,
            }
        }
        let failures: Vec<String> = seen.iter().filter(|seen| !seen.last.holds).map(Seen::failure).collect();
        Err(Error::new(failures.join("; ")).code(Code::State).with_result(report(&seen, rounds, begun)))
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let is_secure = Purpose::of(event.event_type(), event.action(), event.is_cancellation()) == Purpose::Secure;
        if event.is_drill() || !is_secure {
            return Ok(Verification::Unknown);
        }
        let found = self.look(event, call, &Limit::of(call))?;
        let seen: Vec<Seen<'_>> = self
            .checks
            .iter()
            .zip(found)
            .map(|(check, found)| Seen { check, first: found.clone(), last: found })
            .collect();
        let failures: Vec<String> = seen.iter().filter(|seen| !seen.last.holds).map(Seen::failure).collect();
        if failures.is_empty() {
            return Ok(Verification::Verified(json!({ "checks": seen.iter().map(Seen::json).collect::<Vec<_>>() })));
        }
        Err(Error::new(failures.join("; ")).code(Code::State))
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.runner.stop();
    }
}

impl VerifyState {
    /// One round.
    ///
    /// # Errors
    /// The call was cancelled.
    fn look(&self, event: &Event<'_>, call: &Call<'_>, limit: &Limit<'_>) -> Result<Vec<Found>, Error> {
        let since = event.field(abi::SNOOZE_FIELD_TIME).and_then(|text| text.parse::<Timestamp>().ok());
        let look = |check: &Check| {
            if call.cancelled().is_some() {
                return Err(Fault::Cancelled.into_error());
            }
            Ok(match check {
                Check::File { path, is_newer, min_bytes } => look::file(path, *min_bytes, is_newer.then_some(since)),
                Check::ProcessGone(path) => look::process_gone(path),
                Check::PortClosed(address) => look::port_closed(*address, limit),
                Check::UnitInactive(name) => match look::unit_inactive(name, limit) {
                    Ok(found) => found,
                    Err(Fault::Cancelled) => return Err(Fault::Cancelled.into_error()),
                    Err(fault) => Found::new(false, fault.to_string()),
                },
                Check::Command { words, exit, .. } => {
                    return command::run(words, *exit, &self.runner, event, call, limit);
                }
            })
        };
        self.checks.iter().map(look).collect()
    }
}

impl Seen<'_> {
    fn failure(&self) -> String {
        format!("{}: {}, expected {}", self.check.subject(), self.last.text, self.check.expected())
    }

    fn json(&self) -> Value {
        json!({
            "check": self.check.subject(), "expected": self.check.expected(), "before": self.first.text,
            "after": self.last.text, "holds": self.last.holds,
        })
    }
}

fn report(seen: &[Seen<'_>], rounds: u32, begun: Instant) -> Value {
    json!({
        "action": "verify-state", "holds": seen.iter().all(|seen| seen.last.holds), "rounds": rounds,
        "seconds": (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        "evidence": { "checks": seen.iter().map(Seen::json).collect::<Vec<_>>() }, "durable": "unknown",
    })
}
