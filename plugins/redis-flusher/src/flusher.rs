//! One instance: what it does about which event, and how it proves it.
//!
//! Inputs: events, a [`Config`]. Outputs: a report with the server's state before and after. Must never call a run a success
//! because its commands went through: only the server's own numbers count.

use crate::changes::{self, Changes, Restored};
use crate::config::{Config, Target};
use crate::link::{Fault, Link, Watch};
use crate::server::Snapshot;
use crate::session::Connected;
use crate::steps::{Save, Skipped, Work};
use cloudsnooze_plugin::keeper::Keeper;
use cloudsnooze_plugin::process;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kept back for the report and the verification, at most.
const RESERVE: Duration = Duration::from_millis(500);
/// A shutdown that has less time than this is not begun: it would end in the middle.
const SHUTDOWN_MIN: Duration = Duration::from_secs(1);
/// How often a server that shuts down is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Where what was acknowledged before the notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Durable {
    /// On this machine's disk.
    Yes,
    /// Not there, but in the memory of as many replicas as were asked for.
    Replicas,
    /// Only in this machine's memory.
    No,
}

/// How the server left, as far as can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Exit {
    /// Its process ended.
    Ended,
    /// It refuses connections; its process cannot be seen from here.
    Refusing,
    /// It is still there, or again.
    Running,
}

/// What the last call has to stand for.
struct Proof {
    after: Snapshot,
    durable: Durable,
    goal: u64,
}

/// What an instance keeps between calls.
#[derive(Default)]
struct State {
    changes: Changes,
    /// The server was told to end; its process, if that can be seen.
    stopped: Option<Option<u32>>,
    restored: Vec<Restored>,
    proof: Option<Proof>,
}

/// The plugin.
pub struct RedisFlusher {
    host: Host,
    config: Config,
    state_dir: PathBuf,
    keeper: Keeper<Target>,
    state: Mutex<State>,
}

/// What a run found and did; becomes the report.
struct Findings {
    action: &'static str,
    /// `kept` or `fresh`.
    connection: &'static str,
    before: Snapshot,
    after: Snapshot,
    durable: Durable,
    /// Where the stream of changes ended when intake had ended.
    goal: u64,
    save: Option<Save>,
    replicas_have: Option<bool>,
    done: Vec<&'static str>,
    skipped: Vec<Skipped>,
    denied: bool,
    restored: Vec<Restored>,
    exit: Option<Exit>,
}

impl Findings {
    fn new(action: &'static str, before: Snapshot, after: Snapshot, durable: Durable) -> Self {
        Self {
            action,
            connection: "fresh",
            goal: after.replication_offset.unwrap_or(0),
            before,
            after,
            durable,
            save: None,
            replicas_have: None,
            done: Vec::new(),
            skipped: Vec::new(),
            denied: false,
            restored: Vec::new(),
            exit: None,
        }
    }

    fn report(&self) -> Value {
        let mut evidence = json!({
            "connection": self.connection, "before": self.before, "after": self.after, "replication_goal": self.goal,
        });
        if let Some(save) = &self.save {
            evidence["save"] = json!(save);
        }
        if let Some(exit) = self.exit {
            evidence["server_exit"] = json!(exit);
        }
        let mut report = json!({
            "action": self.action, "steps": self.done, "evidence": evidence, "durable": self.durable,
            "skipped": self.skipped,
        });
        if !self.restored.is_empty() {
            report["restored"] = json!(self.restored);
        }
        report
    }
}

impl Plugin for RedisFlusher {
    const ID: &'static std::ffi::CStr = c"io.cloudsnooze.redis-flusher";
    const NAME: &'static std::ffi::CStr = c"redis-flusher";
    const VERSION: &'static std::ffi::CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static std::ffi::CStr = c"Makes a Redis or Valkey server durable before its machine goes away";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let target = config.target().map_err(|e| Error::from(e).code(Code::Config))?;
        Ok(Self {
            host,
            config,
            state_dir: instance.state_dir,
            keeper: Keeper::new(host, "keep-redis", target),
            state: Mutex::default(),
        })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let kinds = [
            "cloud.spot.*",
            "cloud.maintenance.*",
            "cloud.instance.*",
            "cloud.autoscaling.*",
            "system.shutdown",
            "custom.*",
        ];
        vec![Subscription::on(&kinds).priority(80).budget(Duration::from_secs(30))]
    }

    fn activate(&self) -> Result<(), Error> {
        self.state().changes = Changes::load(&self.state_dir)
            .map_err(|e| Error::from(e).context("read the record of changes").code(Code::State))?;
        self.keeper.start();
        Ok(())
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let action = event.purpose();
        let mut state = self.state();
        (state.stopped, state.proof) = (None, None);
        if action == Purpose::Undo && state.changes.is_empty() {
            return Ok(Outcome::declined("this instance has changed nothing that could be undone"));
        }
        if action == Purpose::Ahead && !self.config.save {
            return Ok(Outcome::declined("save is off, and there is nothing else to do ahead"));
        }
        let left = call.left();
        let watch = Watch::of_call(call, Instant::now() + left.saturating_sub(RESERVE.min(left / 10)));
        let mut lease = self.keeper.lease();
        let connected = self.keeper.connector().connect(&mut lease, &watch).map_err(|fault| failure(&fault, call))?;
        let Connected { mut link, first, origin } = connected;
        if action == Purpose::Ahead && first.append_only_file {
            lease.put(link);
            return Ok(Outcome::declined("the next start reads the append-only file, so a save would be for nothing"));
        }
        let until_the_cloud_acts = Duration::try_from_secs_f64(event.seconds_left().unwrap_or(0.0)).unwrap_or_default();
        let acted = self.act(&mut link, first, &mut state, action, watch, until_the_cloud_acts, call);
        if link.is_sound() && state.stopped.is_none() {
            lease.put(link);
        }
        let mut findings = acted?;
        findings.connection = origin;
        judge(action, &findings, call)
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let state = self.state();
        let fails = |text: String| Err(Error::new(text).code(Code::State));
        let watch = Watch::of_call(call, Instant::now() + call.left());
        if let Some(process) = state.stopped {
            return match self.look(process, &watch) {
                Exit::Running => fails("the server was shut down and is running".to_owned()),
                exit => Ok(Verification::Verified(json!({ "server_exit": exit }))),
            };
        }
        let Some(proof) = &state.proof else { return Ok(Verification::Unknown) };
        let mut lease = self.keeper.lease();
        let connected = self.keeper.connector().connect(&mut lease, &watch).map_err(|fault| failure(&fault, call))?;
        let Connected { mut link, first: now, .. } = connected;
        if now.run_id != proof.after.run_id {
            return fails("the server was started anew".to_owned());
        }
        let verified = match event.purpose() {
            Purpose::Undo => still_restored(&mut link, &state.restored, &watch).map_err(|f| failure(&f, call))?,
            Purpose::Ahead => still_saved(&now, proof, false),
            Purpose::Secure if proof.durable == Durable::Replicas => {
                if now.replicas_with(proof.goal)
                    >= usize::try_from(self.config.wait_for_replica_count).unwrap_or(usize::MAX)
                {
                    Ok(json!({ "evidence": now }))
                } else {
                    Err("replicas that had everything are gone".to_owned())
                }
            }
            Purpose::Secure if now.append_only_file => match changes::read(&mut link, "appendfsync", &watch) {
                Ok(value) if value == "always" && now.aof_last_write_ok == Some(true) => Ok(json!({ "evidence": now })),
                Ok(value) => Err(format!("appendfsync is {value}, or the last write to the append-only file failed")),
                Err(fault) => return Err(failure(&fault, call)),
            },
            Purpose::Secure => still_saved(&now, proof, state.changes.has_paused()),
        };
        lease.put(link);
        verified.map(Verification::Verified).or_else(fails)
    }

    fn deactivate(&self) {
        self.keeper.stop();
    }
}

impl RedisFlusher {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::too_many_arguments, reason = "all that a call is")]
    fn act(
        &self,
        link: &mut Link,
        first: Snapshot,
        state: &mut State,
        action: Purpose,
        watch: Watch<'_>,
        until_the_cloud_acts: Duration,
        call: &Call<'_>,
    ) -> Result<Findings, Error> {
        let State { changes, stopped, restored, proof } = state;
        let mut work = Work { link, changes, watch, done: Vec::new(), skipped: Vec::new(), denied: false };
        let found = match action {
            Purpose::Secure => self.secure(&mut work, first, stopped, until_the_cloud_acts, call),
            Purpose::Ahead => self.save_ahead(&mut work, first),
            Purpose::Undo => undo(&mut work, first),
        };
        let mut findings = match found {
            Ok(findings) => findings,
            Err(fault) => {
                let report = json!({
                    "action": "interrupted", "steps": work.done, "skipped": work.skipped, "durable": Durable::No,
                });
                return Err(failure(&fault, call).with_result(report));
            }
        };
        findings.done = work.done;
        findings.skipped = work.skipped;
        findings.denied = work.denied;
        *proof = Some(Proof { after: findings.after.clone(), durable: findings.durable, goal: findings.goal });
        if action == Purpose::Undo {
            restored.clone_from(&findings.restored);
        }
        Ok(findings)
    }

    /// The machine goes away. Intake first, so that there is an end to the work; then the others who may have everything, which
    /// takes milliseconds; then the disk.
    fn secure(
        &self,
        work: &mut Work<'_>,
        first: Snapshot,
        stopped: &mut Option<Option<u32>>,
        until_the_cloud_acts: Duration,
        call: &Call<'_>,
    ) -> Result<Findings, Fault> {
        let config = &self.config;
        let has_file = first.append_only_file;
        // Ahead of the pause, in which this plugin could not write either. What others write in between waits for the disk.
        if has_file && config.sync_append_only_file {
            work.sync_append_only_file(&config.fence_key)?;
        }
        if config.pause_writes {
            work.pause_writes(until_the_cloud_acts)?;
        }
        let is_paused = work.done.contains(&"pause_writes");
        let goal = work.snapshot()?.replication_offset.unwrap_or(0);
        let mut replicas_have = None;
        if config.wait_for_replica_count > 0 {
            call.progress(200, "waiting for replicas");
            let limit = if has_file { work.watch.left() * 9 / 10 } else { work.watch.left() / 3 };
            replicas_have = Some(work.wait_for_replicas(config.wait_for_replica_count, goal, limit)?);
        }
        let mut save = None;
        if config.save && !has_file {
            call.progress(400, "saving the data set");
            let left = work.watch.left();
            let share = if config.shutdown { left * 2 / 3 } else { left * 9 / 10 };
            save = Some(work.save(config.save_mb_per_second, share)?);
        }
        let after = work.snapshot()?;
        let is_on_disk = if has_file {
            work.done.contains(&"sync_append_only_file") && after.aof_last_write_ok == Some(true)
        } else {
            work.done.contains(&"save") && (!is_paused || after.changes_since_last_save == Some(0))
        };
        let mut exit = None;
        if config.shutdown {
            call.progress(800, "shutting the server down");
            let needs_save = !(has_file || is_on_disk && is_paused);
            exit = self.shut_down(work, &after, needs_save, stopped)?;
        }
        // It goes only once everything is on the disk.
        let has_gone = exit.is_some_and(|exit| exit != Exit::Running);
        let durable = match (is_on_disk || has_gone, replicas_have) {
            (true, _) => Durable::Yes,
            (false, Some(true)) => Durable::Replicas,
            (false, _) => Durable::No,
        };
        let action = if exit.is_some() { "shut-down" } else { "secured" };
        Ok(Findings { goal, save, replicas_have, exit, ..Findings::new(action, first, after, durable) })
    }

    /// Ends the server. None: it was not begun, and why is noted.
    fn shut_down(
        &self,
        work: &mut Work<'_>,
        now: &Snapshot,
        needs_save: bool,
        stopped: &mut Option<Option<u32>>,
    ) -> Result<Option<Exit>, Fault> {
        let step = "shutdown";
        let saving = if needs_save { now.time_to_save(self.config.save_mb_per_second) } else { Duration::ZERO };
        let (needed, left) = (SHUTDOWN_MIN + saving, work.watch.left());
        if work.watch.over().is_some() || left < needed {
            let (left, needed) = (left.as_millis(), needed.as_millis());
            work.skip(step, format!("only {left} ms were left for it, {needed} ms may be needed"));
            return Ok(None);
        }
        let process = now.process_id.filter(|_| now.process_name().is_some());
        // Everything is on the disk, and writers wait: a second save would bring nothing.
        let how = if needs_save { "SAVE" } else { "NOSAVE" };
        match work.link.ask::<String>(&["SHUTDOWN", how], &work.watch) {
            // It answers only when it does not go.
            Err(Fault::Lost(_)) => {}
            Err(fault) if fault.is_final() => return Err(fault),
            outcome => {
                if work.note(step, "+shutdown", outcome)?.is_some() {
                    work.skip(step, "the server answered in place of ending".to_owned());
                }
                return Ok(None);
            }
        }
        let exit = loop {
            let exit = self.look(process, &work.watch);
            if exit != Exit::Running || !work.watch.pause(POLL) {
                break exit;
            }
        };
        if exit == Exit::Running {
            work.skip(step, "the server was told to end and had not ended in time".to_owned());
        }
        work.finish(step, exit != Exit::Running);
        if let Err(e) = work.changes.clear() {
            self.host.warn(format_args!("cannot write the record of changes: {e}"));
        }
        *stopped = Some(process);
        Ok(Some(exit))
    }

    /// Looks once whether the server that was told to end is gone.
    fn look(&self, process: Option<u32>, watch: &Watch<'_>) -> Exit {
        let target = self.keeper.connector();
        if Link::open(target, &watch.at_most(target.patience)).is_ok() {
            return Exit::Running;
        }
        // It closes its sockets first, and writes afterwards.
        match process {
            Some(pid) if process::has_ended(pid) => Exit::Ended,
            Some(_) => Exit::Running,
            None => Exit::Refusing,
        }
    }

    /// The machine may go away: what is saved now need not be saved in the notice's short time.
    fn save_ahead(&self, work: &mut Work<'_>, first: Snapshot) -> Result<Findings, Fault> {
        let limit = work.watch.left() * 9 / 10;
        let save = work.save(self.config.save_mb_per_second, limit)?;
        let after = work.snapshot()?;
        let durable = if work.done.contains(&"save") { Durable::Yes } else { Durable::No };
        Ok(Findings { save: Some(save), ..Findings::new("saved", first, after, durable) })
    }
}

fn undo(work: &mut Work<'_>, first: Snapshot) -> Result<Findings, Fault> {
    let outcome = work.changes.restore(work.link, &work.watch);
    let restored = work.note("restore", "+client|unpause +config|get +config|set", outcome)?;
    work.finish("restore", restored.is_some());
    let restored = restored.unwrap_or_default();
    for change in &restored {
        if let Some(reason) = &change.left_alone {
            work.skip("restore", format!("{}: {reason}", change.setting));
        }
    }
    let after = work.snapshot()?;
    Ok(Findings { restored, ..Findings::new("undone", first, after, Durable::No) })
}

/// Whether what was done is enough to call the event handled.
fn judge(action: Purpose, findings: &Findings, call: &Call<'_>) -> Result<Outcome, Error> {
    let mut report = findings.report();
    if action == Purpose::Undo {
        // Nothing was to be made durable.
        report["durable"] = Value::Null;
    }
    let why = |what: &str| {
        let reasons: Vec<_> = findings.skipped.iter().map(|s| format!("{}: {}", s.step, s.reason)).collect();
        if reasons.is_empty() { what.to_owned() } else { format!("{what} ({})", reasons.join("; ")) }
    };
    let fail = |what: &str, code: Code| Err(Error::new(why(what)).code(code).with_result(report.clone()));
    let code = if findings.denied { Code::Denied } else { Code::Io };
    if call.cancelled().is_some() && findings.exit.is_none() {
        return fail("cancelled before everything was done", Code::Cancelled);
    }
    match action {
        Purpose::Secure if findings.durable == Durable::No => {
            fail("what was acknowledged is not known to be on the disk", code)
        }
        Purpose::Secure if findings.replicas_have == Some(false) => fail("replicas lack a part of the data", Code::Io),
        Purpose::Ahead if findings.durable == Durable::No => match findings.save {
            Some(Save { was_begun: false, .. }) if !findings.denied => {
                Ok(Outcome::declined(why("the save was not begun")))
            }
            _ => fail("the data were not saved", code),
        },
        Purpose::Undo if !findings.done.contains(&"restore") => fail("not everything could be restored", code),
        _ => Ok(Outcome::handled(report)),
    }
}

/// Judges by the server's state as of now: is the save still the last and good, and has nobody written since intake ended?
fn still_saved(now: &Snapshot, proof: &Proof, is_paused: bool) -> Result<Value, String> {
    if now.last_save_ok != Some(true) || now.last_save_time < proof.after.last_save_time {
        return Err("the last save is not good".to_owned());
    }
    match now.changes_since_last_save {
        Some(changes) if is_paused && changes > 0 => {
            Err(format!("{changes} changes came after the save: writers were let go"))
        }
        _ => Ok(json!({ "evidence": now })),
    }
}

/// Asks the server anew whether the settings are what they were after restoring.
fn still_restored(link: &mut Link, restored: &[Restored], watch: &Watch<'_>) -> Result<Result<Value, String>, Fault> {
    for change in restored.iter().filter(|change| change.left_alone.is_none() && change.setting != "pause_writes") {
        let now = changes::read(link, &change.setting, watch)?;
        if now != change.after {
            return Ok(Err(format!("{} is {now}, not {}", change.setting, change.after)));
        }
    }
    Ok(Ok(json!({ "restored": restored })))
}

/// Gives a fault the code by which the host decides what to do about it.
fn failure(fault: &Fault, call: &Call<'_>) -> Error {
    let code = match fault {
        _ if call.cancelled().is_some() => Code::Cancelled,
        Fault::Denied(_) => Code::Denied,
        Fault::Late => Code::Deadline,
        Fault::Cancelled => Code::Cancelled,
        Fault::Lost(_) => Code::Retry,
        Fault::Connect { .. } | Fault::Refused(_) => Code::Io,
    };
    Error::new(fault.to_string()).code(code)
}
