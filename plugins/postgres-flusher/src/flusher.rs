//! One instance: what it does about which event, and how it proves it.
//!
//! Inputs: events, a [`Config`]. Outputs: a report with the server's state before and after. Must never call a run a success
//! because its statements went through: only the server's own numbers count.

use crate::changes::{Changes, Restored, Value as Setting};
use crate::config::{Config, Target};
use crate::link::{Fault, Link, Watch};
use crate::server::{Durable, Identity, Snapshot};
use crate::session::{Connected, Session};
use crate::steps::{Checkpoint, Skipped, Work, time_to_write};
use crate::stop::{Exit, Process, Syncer};
use crate::wait::Waited;
use cloudsnooze_plugin::keeper::Keeper;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Kept back for the report and the verification, at most.
const RESERVE: Duration = Duration::from_millis(500);
/// An orderly shutdown that has less time than this is not begun: it would end in the middle.
const SHUTDOWN_MIN: Duration = Duration::from_secs(1);
/// How often a server that shuts down is looked at.
const POLL: Duration = Duration::from_millis(20);

/// What an instance keeps between calls.
#[derive(Default)]
struct State {
    changes: Changes,
    syncer: Syncer,
    /// The server was told to end.
    stopped: Option<Process>,
    restored: Vec<Restored>,
    /// The server of the last call, and up to where its log had to be durable, or from where it had to recover.
    proof: Option<(Identity, u64)>,
}

/// The plugin.
pub struct PostgresFlusher {
    host: Host,
    config: Config,
    state_dir: PathBuf,
    keeper: Keeper<Target>,
    state: Mutex<State>,
}

/// What a run found and did; becomes the report.
struct Findings {
    action: &'static str,
    server: Identity,
    /// `kept` or `fresh`.
    connection: &'static str,
    before: Snapshot,
    /// Log position that had to be durable.
    goal: Option<u64>,
    after: Snapshot,
    durable: Durable,
    checkpoint: Option<Checkpoint>,
    replicas: Option<Waited>,
    archive: Option<Waited>,
    done: Vec<&'static str>,
    skipped: Vec<Skipped>,
    denied: bool,
    restored: Vec<Restored>,
    exit: Option<Exit>,
}

impl Findings {
    fn new(action: &'static str, server: Identity, before: Snapshot, after: Snapshot) -> Self {
        Self {
            action,
            server,
            connection: "fresh",
            goal: before.wal_inserted,
            durable: Durable::judge(before.wal_inserted, &after, before.syncs()),
            before,
            after,
            checkpoint: None,
            replicas: None,
            archive: None,
            done: Vec::new(),
            skipped: Vec::new(),
            denied: false,
            restored: Vec::new(),
            exit: None,
        }
    }

    fn report(&self) -> Value {
        let mut evidence = json!({
            "connection": self.connection, "before": self.before, "flush_goal_lsn": self.goal, "after": self.after,
        });
        if let Some(checkpoint) = &self.checkpoint {
            evidence["checkpoint"] = json!(checkpoint);
        }
        for (key, waited) in [("replicas", &self.replicas), ("archive", &self.archive)] {
            if let Some(waited) = waited {
                evidence[key] = waited.evidence.clone();
            }
        }
        if let Some(exit) = self.exit {
            evidence["server_exit"] = json!(exit);
        }
        let mut report = json!({
            "action": self.action, "server": self.server, "steps": self.done, "evidence": evidence,
            "durable": self.durable, "skipped": self.skipped,
        });
        if !self.restored.is_empty() {
            report["restored"] = json!(self.restored);
        }
        report
    }
}

impl Plugin for PostgresFlusher {
    const ID: &'static std::ffi::CStr = c"io.cloudsnooze.postgres-flusher";
    const NAME: &'static std::ffi::CStr = c"postgres-flusher";
    const VERSION: &'static std::ffi::CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static std::ffi::CStr = c"Makes a PostgreSQL server durable before its machine goes away";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let target = config.target().map_err(|e| Error::from(e).code(Code::Config))?;
        Ok(Self {
            host,
            config,
            state_dir: instance.state_dir,
            keeper: Keeper::new(host, "keep-postgres", target),
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
            .map_err(|e| Error::from(e).context("read the record of changed settings").code(Code::State))?;
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
        if action == Purpose::Ahead && !self.config.checkpoint {
            return Ok(Outcome::declined("checkpoint is off, and there is nothing else to do ahead"));
        }
        let left = call.left();
        let reserve = RESERVE.min(left / 10);
        let watch = Watch::of_call(call, Instant::now() + left.saturating_sub(reserve), reserve / 4);
        let mut lease = self.keeper.lease();
        let connected = self.keeper.connector().connect(&mut lease, &watch).map_err(|fault| failure(&fault, call))?;
        let Connected { mut session, first, origin } = connected;
        let acted = self.act(&mut session, first, &mut state, action, watch, call);
        let has_ended = state.stopped.is_some();
        if session.link.is_sound() && !has_ended {
            lease.put(session);
        }
        let mut findings = acted?;
        findings.connection = origin;
        judge(action, &findings, call)
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let state = self.state();
        let fails = |text: String| Err(Error::new(text).code(Code::State));
        if let Some(process) = &state.stopped {
            return match process.look() {
                Exit::Broken => {
                    fails("the server ended, and its control file does not say that it was shut down".to_owned())
                }
                Exit::Running => fails("the server was shut down and is running".to_owned()),
                exit @ Exit::Orderly => Ok(Verification::Verified(json!({ "server_exit": exit }))),
            };
        }
        let Some((server, proof)) = &state.proof else { return Ok(Verification::Unknown) };
        let watch = Watch::of_call(call, Instant::now() + call.left(), Duration::ZERO);
        let mut lease = self.keeper.lease();
        let connected = self.keeper.connector().connect(&mut lease, &watch).map_err(|fault| failure(&fault, call))?;
        let Connected { mut session, first: now, .. } = connected;
        if session.server.started != server.started {
            return fails(format!("the server was started anew, at {}", session.server.started));
        }
        let action = event.purpose();
        let verified = match action {
            Purpose::Undo => {
                still_restored(&mut session.link, &state.restored, &watch).map_err(|f| failure(&f, call))?
            }
            Purpose::Ahead if now.redo_from.is_some_and(|from| from >= *proof) => Ok(json!({ "evidence": now })),
            Purpose::Ahead => Err("a restart would have to read more of the log than after the checkpoint".to_owned()),
            Purpose::Secure => still_durable(&now, *proof, &state.changes),
        };
        lease.put(session);
        verified.map(Verification::Verified).or_else(fails)
    }

    fn deactivate(&self) {
        self.keeper.stop();
        self.state().syncer.join();
    }
}

impl PostgresFlusher {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(
        &self,
        session: &mut Session,
        first: Snapshot,
        state: &mut State,
        action: Purpose,
        watch: Watch<'_>,
        call: &Call<'_>,
    ) -> Result<Findings, Error> {
        let Session { link, server } = session;
        let State { changes, syncer, stopped, restored, proof } = state;
        let mut work =
            Work { link, changes, watch, done: Vec::new(), skipped: Vec::new(), denied: false, flushed: None };
        let found = match action {
            Purpose::Secure => self.secure(&mut work, server, first, (syncer, stopped), call),
            Purpose::Ahead => self.write_ahead(&mut work, server, first),
            Purpose::Undo => undo(&mut work, server, first),
        };
        let mut findings = match found {
            Ok(findings) => findings,
            Err(fault) => {
                work.take_out_of_file(&Watch::lasting(RESERVE.min(call.left() / 4)));
                let report = json!({
                    "action": "interrupted", "steps": work.done, "skipped": work.skipped,
                    "evidence": { "flushed_lsn": work.flushed }, "durable": Durable::Unknown,
                });
                return Err(failure(&fault, call).with_result(report));
            }
        };
        let what = if action == Purpose::Ahead { findings.after.redo_from } else { findings.goal };
        *proof = Some((server.clone(), what.unwrap_or(0)));
        if action == Purpose::Undo {
            restored.clone_from(&findings.restored);
        }
        findings.done = work.done;
        findings.skipped = work.skipped;
        findings.denied = work.denied;
        Ok(findings)
    }

    /// The machine goes away. The log first, which alone saves every committed row and takes milliseconds; then the end of
    /// intake, and those who have to have the log too; then what only makes the next start quicker.
    fn secure(
        &self,
        work: &mut Work<'_>,
        server: &Identity,
        first: Snapshot,
        (syncer, stopped): (&mut Syncer, &mut Option<Process>),
        call: &Call<'_>,
    ) -> Result<Findings, Fault> {
        let config = &self.config;
        stop_intake(work, config, &first)?;
        let mut replicas = None;
        if config.waits_for_replicas() {
            call.progress(200, "waiting for replicas");
            let goal = work.flushed.or(first.wal_flushed).unwrap_or(0);
            let limit = work.watch.left() / 2;
            let (names, count) = (&config.wait_for_replicas, config.wait_for_replica_count);
            replicas = Some(work.wait_for_replicas(names, count, goal, limit)?);
        }
        let mut checkpoint = None;
        if config.checkpoint {
            call.progress(400, "writing everything out");
            let left = work.watch.left();
            let share = if config.archive_wal || config.shutdown { left / 2 } else { left * 9 / 10 };
            checkpoint = Some(work.checkpoint(config.checkpoint_mb_per_second, share)?);
        }
        let mut archive = None;
        if config.archive_wal {
            call.progress(600, "waiting for the archive");
            let left = work.watch.left();
            archive = Some(work.archive_wal(if config.shutdown { left / 2 } else { left * 9 / 10 })?);
        }
        let was_synced = first.syncs() || sync_past(work, server, syncer);
        // What came since the first flush, from clients that were not stopped.
        let goal = work.snapshot()?.wal_inserted;
        flush(work, &first)?;
        let after = work.snapshot()?;
        let watch = work.watch;
        work.take_out_of_file(&watch);
        let durable = Durable::judge(goal, &after, was_synced);
        let mut exit = None;
        if config.shutdown {
            call.progress(800, "shutting the server down");
            exit = self.shut_down(work, server, &after, stopped);
        }
        let action = if exit.is_some() { "shut-down" } else { "secured" };
        Ok(Findings {
            goal,
            durable,
            checkpoint,
            replicas,
            archive,
            exit,
            ..Findings::new(action, server.clone(), first, after)
        })
    }

    /// Ends the server. None: it was not begun, and why is noted.
    fn shut_down(
        &self,
        work: &mut Work<'_>,
        server: &Identity,
        now: &Snapshot,
        stopped: &mut Option<Process>,
    ) -> Option<Exit> {
        let step = "shutdown";
        let needed =
            SHUTDOWN_MIN + time_to_write(now.bytes_to_write().unwrap_or(0), self.config.checkpoint_mb_per_second);
        let left = work.watch.left();
        if work.watch.over().is_some() || left < needed {
            work.skip(
                step,
                format!("only {} ms were left for it, {} ms may be needed", left.as_millis(), needed.as_millis()),
            );
            return None;
        }
        let found = Process::find(server.data_directory.as_deref());
        let process = match found.and_then(|process| process.tell_to_end().map(|()| process)) {
            Ok(process) => process,
            Err(reason) => {
                work.skip(step, reason);
                return None;
            }
        };
        let exit = loop {
            let exit = process.look();
            if exit != Exit::Running || !work.watch.pause(POLL) {
                break exit;
            }
        };
        match exit {
            Exit::Orderly => work.finish(step, true),
            Exit::Broken => {
                work.skip(step, "the server ended, and its control file does not say that it was shut down".to_owned());
            }
            Exit::Running => work.skip(step, "the server was told to end and had not ended in time".to_owned()),
        }
        if let Err(e) = work.changes.clear() {
            self.host.warn(format_args!("cannot write the record of changed settings: {e}"));
        }
        *stopped = Some(process);
        Some(exit)
    }

    /// The machine may go away: what is written now need not be written in the notice's short time.
    fn write_ahead(&self, work: &mut Work<'_>, server: &Identity, first: Snapshot) -> Result<Findings, Fault> {
        let limit = work.watch.left() * 9 / 10;
        let checkpoint = work.checkpoint(self.config.checkpoint_mb_per_second, limit)?;
        let after = work.snapshot()?;
        Ok(Findings { checkpoint: Some(checkpoint), ..Findings::new("checkpointed", server.clone(), first, after) })
    }
}

/// Saves what is there, then sees to it that no more comes that could be lost, then saves what came meanwhile.
fn stop_intake(work: &mut Work<'_>, config: &Config, first: &Snapshot) -> Result<(), Fault> {
    flush(work, first)?;
    if config.make_commits_wait {
        work.make_commits_wait(first)?;
    }
    // On a replica everybody is read-only.
    if config.read_only && !first.in_recovery {
        work.read_only()?;
    }
    if config.terminate_sessions {
        work.terminate_sessions()?;
    }
    flush(work, first)
}

/// Flushes the log, and notes how far it is on the disk then.
fn flush(work: &mut Work<'_>, first: &Snapshot) -> Result<(), Fault> {
    // What a replica has received it has flushed; it cannot write to its log.
    if !first.in_recovery {
        work.flush_wal()?;
        work.flushed = work.snapshot()?.wal_flushed;
    }
    Ok(())
}

/// Brings to the disk what a server with `fsync` off has only given to the kernel; true when it is there.
fn sync_past(work: &mut Work<'_>, server: &Identity, syncer: &mut Syncer) -> bool {
    let step = "sync_files";
    let synced = Process::find(server.data_directory.as_deref())
        .and_then(|process| syncer.sync(&process, &work.watch.at_most(work.watch.left() * 4 / 5)));
    match synced {
        Ok(()) => work.finish(step, true),
        Err(reason) => {
            work.skip(step, format!("fsync was off before the notice, and what was written so may be lost: {reason}"));
            return false;
        }
    }
    true
}

fn undo(work: &mut Work<'_>, server: &Identity, first: Snapshot) -> Result<Findings, Fault> {
    let outcome = work.changes.restore(work.link, &work.watch);
    let right = "ALTER SYSTEM ON PARAMETER ..., and GRANT EXECUTE ON FUNCTION pg_reload_conf(), TO";
    let restored = work.note("restore", right, outcome)?;
    work.finish("restore", restored.is_some());
    let after = work.snapshot()?;
    let restored = restored.unwrap_or_default();
    Ok(Findings { restored, ..Findings::new("undone", server.clone(), first, after) })
}

/// Whether what was done is enough to call the event handled.
fn judge(action: Purpose, findings: &Findings, call: &Call<'_>) -> Result<Outcome, Error> {
    let report = findings.report();
    let why = |what: &str| {
        let reasons: Vec<_> = findings.skipped.iter().map(|s| format!("{}: {}", s.step, s.reason)).collect();
        if reasons.is_empty() { what.to_owned() } else { format!("{what} ({})", reasons.join("; ")) }
    };
    let fail = |what: &str, code: Code| Err(Error::new(why(what)).code(code).with_result(report.clone()));
    let code = if findings.denied { Code::Denied } else { Code::Io };
    let has_done = |step: &str| findings.done.contains(&step);
    let is_missing = |waited: &Option<Waited>| waited.as_ref().is_some_and(|waited| !waited.has_come);
    if call.cancelled().is_some() && findings.exit.is_none() {
        return fail("cancelled before everything was done", Code::Cancelled);
    }
    match action {
        Purpose::Secure if findings.exit == Some(Exit::Broken) => {
            fail("the server crashed while it shut down", Code::Io)
        }
        Purpose::Secure if findings.durable != Durable::Yes => fail("the log is not known to be on the disk", code),
        Purpose::Secure if is_missing(&findings.replicas) => fail("replicas lack a part of the log", Code::Io),
        Purpose::Secure if is_missing(&findings.archive) => fail("the archive lacks a part of the log", code),
        Purpose::Ahead if !has_done("checkpoint") => match findings.checkpoint {
            // The server is as it was.
            Some(Checkpoint { was_begun: false, .. }) => Ok(Outcome::declined(why("the checkpoint was not begun"))),
            Some(Checkpoint { took_ms: Some(_), .. }) if findings.after.in_recovery => {
                Ok(Outcome::declined(why("there was nothing to do")))
            }
            _ => fail("the checkpoint was not made", code),
        },
        Purpose::Undo if !has_done("restore") => fail("not every setting could be restored", code),
        _ => Ok(Outcome::handled(report)),
    }
}

/// Judges by the server's state as of now: is the log still on the disk up to the goal, and nobody let in again?
fn still_durable(now: &Snapshot, goal: u64, changes: &Changes) -> Result<Value, String> {
    let read_only = now.default_transaction_read_only.as_deref();
    if changes.holds("default_transaction_read_only") && read_only == Some("off") {
        return Err("someone switched default_transaction_read_only off again, or had the server reload".to_owned());
    }
    match Durable::judge(Some(goal), now, true) {
        Durable::Yes => Ok(json!({ "evidence": now, "flush_goal_lsn": goal })),
        Durable::No if !now.syncs() => Err("fsync is off".to_owned()),
        Durable::No | Durable::Unknown => Err("the log is not on the disk up to its end at the notice".to_owned()),
    }
}

/// Asks the server anew whether the settings are what they were after restoring.
fn still_restored(link: &mut Link, restored: &[Restored], watch: &Watch<'_>) -> Result<Result<Value, String>, Fault> {
    for setting in restored {
        let now = Setting::read(link, &setting.setting, watch)?.value;
        if now != setting.after {
            return Ok(Err(format!("{} is {now}, not {}", setting.setting, setting.after)));
        }
    }
    Ok(Ok(json!({ "restored": restored })))
}

/// Gives a fault the code by which the host decides what to do about it.
fn failure(fault: &Fault, call: &Call<'_>) -> Error {
    let code = match fault {
        _ if call.cancelled().is_some() => Code::Cancelled,
        fault if fault.is_denial() => Code::Denied,
        Fault::Late => Code::Deadline,
        Fault::Cancelled => Code::Cancelled,
        Fault::Lost(_) => Code::Retry,
        Fault::Connect { .. } | Fault::Refused { .. } => Code::Io,
    };
    Error::new(fault.to_string()).code(code)
}
