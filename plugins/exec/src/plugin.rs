//! One instance: which command for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of how the command ended. Must never show the environment, nor call a
//! command that had to be ended done.

use crate::config::Config;
use crate::due::Due;
use crate::plan::{Phase, Plan};
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use cloudsnooze_plugin_commands::{Cut, Ended, Order, Ran, Runner, Words};
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Kept back for the report, at most.
const RESERVE: Duration = Duration::from_millis(100);
/// How often the host's flag is passed on to the thread that runs the command.
const FLAG_PASS: Duration = Duration::from_millis(10);
/// From the time when a command must have been killed to giving up on the thread.
const LATE: Duration = Duration::from_millis(500);

/// The plugin.
pub struct Exec {
    host: Host,
    plan: Plan,
    state_dir: PathBuf,
    due: Due,
    runner: Runner,
}

/// How long a command has.
struct Time {
    /// Until SIGTERM.
    run: Duration,
    /// From there to SIGKILL.
    grace: Duration,
}

impl Plugin for Exec {
    const ID: &'static CStr = c"io.cloudsnooze.exec";
    const NAME: &'static CStr = c"exec";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Runs a command for an event";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let due = Due::new(&instance.state_dir);
        Ok(Self { host, plan: Plan::new(config)?, state_dir: instance.state_dir, due, runner: Runner::new("exec-run") })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(30);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*", "fleet.*"]).priority(50).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        for command in self.plan.commands() {
            if let Err(error) = self.plan.must_be_startable(command) {
                self.host.warn(format_args!("{error}"));
            }
        }
        self.runner.start().map_err(|error| Error::from(error).context("start the thread that runs commands"))
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if event.purpose() == Purpose::Undo {
            return self.undo(event, call);
        }
        let time = self.time(call);
        let (phase, command, skipped) = match (self.plan.needs, &self.plan.fallback) {
            (Some(needs), fallback) if needs > time.run => {
                let text =
                    format!("it needs {:.1} s, and {:.1} s are left", needs.as_secs_f64(), time.run.as_secs_f64());
                let Some(fallback) = fallback else {
                    return Err(Error::new(format!("not started: {text}")).code(Code::Deadline));
                };
                (Phase::Fallback, fallback, json!([{ "step": "command", "reason": text }]))
            }
            _ => (Phase::Run, &self.plan.command, json!([])),
        };
        self.plan.must_be_startable(command)?;
        if self.plan.undo.is_some() && call.cancelled().is_none() {
            self.due.mark(self.host, event.id());
        }
        let ran = self.run(phase, command, event, call, time)?;
        let mut report = report(phase, command, &ran);
        report["skipped"] = skipped;
        self.judge(&ran, report)
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let is_withdrawn = event.purpose() == Purpose::Undo;
        let Some(command) = self.plan.verify.as_ref().filter(|_| !is_withdrawn) else {
            return Ok(Verification::Unknown);
        };
        let ran = self.run(Phase::Verify, command, event, call, self.time(call))?;
        match self.judge(&ran, report(Phase::Verify, command, &ran))? {
            Outcome::Handled(evidence) => Ok(Verification::Verified(evidence)),
            Outcome::Declined(_) => Ok(Verification::Unknown),
        }
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.runner.stop();
    }
}

impl Exec {
    fn undo(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let Some(command) = &self.plan.undo else {
            return Ok(Outcome::declined("the notice was withdrawn, and there is no undo command"));
        };
        if !self.due.is_due() {
            return Ok(Outcome::declined("this instance has run nothing that could be undone"));
        }
        let ran = self.run(Phase::Undo, command, event, call, self.time(call))?;
        let outcome = self.judge(&ran, report(Phase::Undo, command, &ran))?;
        if matches!(outcome, Outcome::Handled(_)) {
            self.due.clear(self.host);
        }
        Ok(outcome)
    }

    /// Divides what is left: SIGTERM must come early enough for SIGKILL to come in time.
    fn time(&self, call: &Call<'_>) -> Time {
        let left = call.left();
        let usable = left.saturating_sub(RESERVE.min(left / 10));
        let grace = self.plan.term_grace.min(usable / 4);
        let run = usable.saturating_sub(grace);
        Time { run: self.plan.timeout.map_or(run, |timeout| timeout.min(run)), grace }
    }

    fn run(&self, phase: Phase, command: &Words, event: &Event<'_>, call: &Call<'_>, time: Time) -> Result<Ran, Error> {
        if call.cancelled().is_some() {
            return Err(Error::new("cancelled").code(Code::Cancelled));
        }
        if time.run.is_zero() {
            return Err(Error::new("no time is left to start it").code(Code::Deadline));
        }
        self.plan.must_be_startable(command)?;
        let term_at = Instant::now() + time.run;
        let order = Arc::new(Order {
            words: command.words.clone(),
            env: self.plan.environment(phase, event, call, time.run.as_secs_f64(), &self.state_dir),
            directory: self.plan.working_directory.clone(),
            input: event.json().as_bytes().to_vec(),
            term_at,
            grace: time.grace,
            output_bytes: self.plan.output_bytes,
            stop: Arc::default(),
        });
        if !self.runner.order(&order) {
            return Err(Error::new("the thread that runs commands is not there or not free").code(Code::State));
        }
        let late = term_at + time.grace + LATE;
        loop {
            if let Some(ran) = self.runner.answer(FLAG_PASS) {
                return ran.map_err(|text| Error::new(format!("{}: {text}", command.program)).code(Code::Io));
            }
            if Instant::now() >= late {
                let text = format!("{}: the thread that runs it does not answer", command.program);
                return Err(Error::new(text).code(Code::Deadline));
            }
            if call.cancelled().is_some() {
                order.stop.store(true, Ordering::Release);
            }
        }
    }

    /// What an ending means.
    fn judge(&self, ran: &Ran, report: Value) -> Result<Outcome, Error> {
        let how = if ran.was_killed { "SIGTERM and SIGKILL" } else { "SIGTERM" };
        let seconds = ran.took.as_secs_f64();
        let failed = |text: String, code: Code| Err(Error::new(text).code(code).with_result(report.clone()));
        match (ran.cut, ran.ended) {
            (_, Ended::Stuck) => failed("it does not end, not even on SIGKILL".to_owned(), Code::Deadline),
            (Some(Cut::Cancelled), _) => failed(format!("cancelled; ended with {how}"), Code::Cancelled),
            (Some(Cut::Time), _) => {
                failed(format!("had not ended in its time; ended with {how} after {seconds:.1} s"), Code::Deadline)
            }
            (None, Ended::Exited(0)) => Ok(Outcome::handled(report)),
            (None, Ended::Exited(code)) if Some(code) == self.plan.declined_code => {
                let said = [ran.stdout.last_line(), ran.stderr.last_line()].into_iter().find(|line| !line.is_empty());
                Ok(Outcome::declined(said.unwrap_or_else(|| format!("the command declined (exit code {code})"))))
            }
            (None, Ended::Exited(code)) => failed(format!("exit code {code}{}", said(ran)), Code::Internal),
            (None, Ended::Killed(signal)) => failed(format!("killed by {signal}{}", said(ran)), Code::Internal),
        }
    }
}

/// The last words of a command that failed.
fn said(ran: &Ran) -> String {
    let lines = [ran.stderr.last_line(), ran.stdout.last_line()];
    lines.into_iter().find(|line| !line.is_empty()).map_or_else(String::new, |line| format!(": {line}"))
}

fn report(phase: Phase, command: &Words, ran: &Ran) -> Value {
    let (code, signal) = match ran.ended {
        Ended::Exited(code) => (json!(code), Value::Null),
        Ended::Killed(signal) => (Value::Null, json!(signal.as_str())),
        Ended::Stuck => (Value::Null, Value::Null),
    };
    // The arguments may hold what is nobody's business; the program does not.
    json!({
        "action": phase.name(),
        "evidence": {
            "program": command.program, "pid": ran.leader.as_raw(), "exit_code": code, "signal": signal,
            "seconds": (ran.took.as_secs_f64() * 1000.0).round() / 1000.0, "killed": ran.was_killed,
            "left_behind": ran.left_behind.iter().take(10).collect::<Vec<_>>(),
            "stdout": { "bytes": ran.stdout.total, "last": ran.stdout.text() },
            "stderr": { "bytes": ran.stderr.total, "last": ran.stderr.text() },
        },
        "durable": "unknown",
    })
}
