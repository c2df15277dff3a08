//! One instance: what it does about which event, and how it proves it.
//!
//! Inputs: events, a [`Config`]. Outputs: a report with the server's state before and after. Must never
//! call a run a success because its statements went through: only the server's own numbers count.

use crate::changes::{Changes, Restored};
use crate::config::Config;
use crate::dsn;
use crate::link::{Alarm, Fault, Link};
use crate::server::{Durable, Flavor, Identity, Snapshot};
use crate::session::{Connected, Server};
use crate::steps::{Skipped, Work};
use crate::stop::{Exit, Process, look};
use cloudsnooze_plugin::keeper::Keeper;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, abi, c_str,
};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long connecting may take when nothing says otherwise.
const PATIENCE: Duration = Duration::from_secs(2);
/// Kept back for the report and the verification, at most.
const RESERVE: Duration = Duration::from_millis(500);
/// An orderly shutdown that has less time than this is not begun: it would end in the middle.
const SHUTDOWN_MIN: Duration = Duration::from_secs(1);
/// How often a server that shuts down is looked at, and a log that is being flushed.
const POLL: Duration = Duration::from_millis(20);
/// The background flush of an idle server runs once a second.
const SETTLE: Duration = Duration::from_secs(2);

/// What an instance keeps between calls.
#[derive(Default)]
struct State {
    changes: Changes,
    /// The server was told to shut down; its process, if that can be seen.
    stopped: Option<Option<Process>>,
    restored: Vec<Restored>,
}

/// The plugin.
pub struct MysqlFlusher {
    host: Host,
    config: Config,
    state_dir: PathBuf,
    keeper: Keeper<Server>,
    alarm: Alarm,
    state: Mutex<State>,
}

/// What a run found and did; becomes the report.
struct Findings {
    action: &'static str,
    server: Identity,
    /// `kept` or `fresh`.
    connection: &'static str,
    before: Snapshot,
    /// Log sequence number that had to be durable.
    goal: Option<u64>,
    after: Snapshot,
    durable: Durable,
    done: Vec<&'static str>,
    skipped: Vec<Skipped>,
    denied: bool,
    restored: Vec<Restored>,
    exit: Option<Exit>,
}

impl Findings {
    fn report(&self) -> Value {
        let mut report = json!({
            "action": self.action,
            "server": self.server,
            "steps": self.done,
            "evidence": {
                "connection": self.connection, "before": self.before, "flush_goal_lsn": self.goal, "after": self.after,
            },
            "durable": self.durable,
            "skipped": self.skipped,
        });
        if !self.restored.is_empty() {
            report["restored"] = json!(self.restored);
        }
        if let Some(exit) = self.exit {
            report["evidence"]["server_exit"] = json!(exit);
        }
        report
    }

    fn has_done(&self, step: &str) -> bool {
        self.done.contains(&step)
    }
}

impl Plugin for MysqlFlusher {
    const ID: &'static std::ffi::CStr = c"io.cloudsnooze.mysql-flusher";
    const NAME: &'static std::ffi::CStr = c"mysql-flusher";
    const VERSION: &'static std::ffi::CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static std::ffi::CStr =
        c"Makes a MySQL or MariaDB server durable before its machine goes away";
    const CAPS: u64 = abi::SNOOZE_CAP_UNDO | abi::SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let target = dsn::parse(&config.connection_string).map_err(|e| Error::from(e).code(Code::Config))?;
        let patience = config.connect_timeout_ms.map(Duration::from_millis).or(target.timeout).unwrap_or(PATIENCE);
        Ok(Self {
            host,
            config,
            state_dir: instance.state_dir,
            keeper: Keeper::new(host, "keep-mysql", Server { target, patience }),
            alarm: Alarm::default(),
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
        state.stopped = None;
        if action == Purpose::Undo && state.changes.mark() == 0 {
            return Ok(Outcome::declined("this instance has changed nothing that could be undone"));
        }
        if action == Purpose::Ahead && !self.config.flush_dirty_pages {
            return Ok(Outcome::declined("flush_dirty_pages is off, and there is nothing else to do ahead"));
        }
        let left = call.left();
        let ends = Instant::now() + left.saturating_sub(RESERVE.min(left / 10));
        let mut lease = self.keeper.lease();
        let connected = self.keeper.connector().connect(&mut lease, ends, &self.alarm);
        let mut connected = connected.map_err(|fault| failure(&fault, call, ends))?;
        // Work ahead puts the settings back when it is cancelled, for which it needs the connection.
        let deaf = Alarm::default();
        let alarm = if action == Purpose::Ahead { &deaf } else { &self.alarm };
        let limit = ends.saturating_duration_since(Instant::now());
        let Connected { session, origin } = &mut connected;
        let server = session.server.clone();
        let worked = session.link.guarded(limit, alarm, |link| self.act(link, server, &mut state, action, ends, call));
        let mut findings = worked.map_err(|fault| failure(&fault, call, ends))??;
        findings.connection = origin;
        if findings.exit.is_none() {
            lease.put(connected.session);
        }
        judge(action, &findings, call)
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        let state = self.state();
        if let Some(process) = &state.stopped {
            return match self.look(process.as_ref(), call.left()) {
                Exit::Broken => Err(Error::new("the server ended without removing its pid file").code(Code::State)),
                Exit::Running => Err(Error::new("the server was shut down and is running again").code(Code::State)),
                exit => Ok(Verification::Verified(json!({ "server_exit": exit }))),
            };
        }
        let action = event.purpose();
        if action == Purpose::Ahead {
            return Ok(Verification::Unknown);
        }
        let ends = Instant::now() + call.left();
        let mut lease = self.keeper.lease();
        let connected = self.keeper.connector().connect(&mut lease, ends, &self.alarm);
        let mut session = connected.map_err(|fault| failure(&fault, call, ends))?.session;
        let product = session.server.product;
        let checked = session.link.guarded(call.left(), &self.alarm, |link| match action {
            Purpose::Undo => still_restored(link, &state.restored),
            _ => still_durable(link, product, &state.changes, ends.min(Instant::now() + SETTLE)),
        });
        let verified = checked.and_then(|inner| inner).map_err(|fault| failure(&fault, call, ends))?;
        lease.put(session);
        verified
    }

    fn on_cancel(&self, _call: &Call<'_>, _reason: Cancel) {
        self.alarm.ring();
    }

    fn deactivate(&self) {
        self.keeper.stop();
    }
}

impl MysqlFlusher {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether the server that was told to end is gone.
    fn look(&self, process: Option<&Process>, left: Duration) -> Exit {
        let Server { target, patience } = self.keeper.connector();
        look(target, process, (*patience).min(left))
    }

    fn act(
        &self,
        link: &mut Link,
        server: Identity,
        state: &mut State,
        action: Purpose,
        ends: Instant,
        call: &Call<'_>,
    ) -> Result<Findings, Error> {
        let State { changes, stopped, restored, .. } = state;
        let mut work = Work {
            link,
            product: server.product,
            changes,
            ends,
            stopped: &|| call.cancelled().is_some(),
            done: Vec::new(),
            skipped: Vec::new(),
            denied: false,
        };
        let found = match action {
            Purpose::Secure => self.secure(&mut work, server, stopped, call),
            Purpose::Ahead => self.flush_ahead(&mut work, server),
            Purpose::Undo => undo(&mut work, server),
        };
        let mut findings = match found {
            Ok(findings) => findings,
            Err(fault) => {
                let report = json!({
                    "action": "interrupted", "steps": work.done, "skipped": work.skipped,
                    "durable": Durable::Unknown,
                });
                return Err(failure(&fault, call, ends).with_result(report));
            }
        };
        if action == Purpose::Undo {
            restored.clone_from(&findings.restored);
        }
        findings.done = work.done;
        findings.skipped = work.skipped;
        findings.denied = work.denied;
        Ok(findings)
    }

    /// The machine goes away. Intake first, so that there is an end to the work; then the logs, which
    /// alone save every committed row; then what only makes the next start quicker.
    fn secure(
        &self,
        work: &mut Work<'_>,
        server: Identity,
        stopped: &mut Option<Option<Process>>,
        call: &Call<'_>,
    ) -> Result<Findings, Fault> {
        let config = &self.config;
        let first = work.snapshot()?;
        if config.read_only && work.may_go_on() {
            work.read_only()?;
        }
        // What came in while intake was being stopped has to be flushed as well, so the log's goal is
        // taken only now.
        let goal = work.snapshot()?;
        if config.flush_logs && work.may_go_on() {
            call.progress(200, "flushing logs");
            work.flush_logs(goal.log_bin == Some(true))?;
        }
        if config.dump_buffer_pool && work.may_go_on() {
            work.dump_buffer_pool()?;
        }
        if config.flush_dirty_pages && work.may_go_on() {
            call.progress(400, "flushing dirty pages");
            let share = if config.shutdown { work.left() / 2 } else { work.left() * 4 / 5 };
            work.flush_dirty_pages(config.flush_io_capacity, Instant::now() + share)?;
        }
        let after = work.snapshot()?;
        let durable = Durable::judge(&goal, &after);
        let mut exit = None;
        if config.shutdown {
            call.progress(800, "shutting the server down");
            exit = self.shut_down(work, stopped)?;
        }
        let action = if exit.is_some() { "shut-down" } else { "secured" };
        Ok(Findings { exit, goal: goal.lsn, ..Findings::new(action, server, first, after, durable) })
    }

    /// Ends the server. None: it was not begun, and why is noted.
    fn shut_down(&self, work: &mut Work<'_>, stopped: &mut Option<Option<Process>>) -> Result<Option<Exit>, Fault> {
        let step = "shutdown";
        if (work.stopped)() || work.left() < SHUTDOWN_MIN {
            work.skip(step, format!("only {} ms were left for it", work.left().as_millis()));
            return Ok(None);
        }
        // 0 would purge and merge everything first, which can take hours; 2 leaves recovery to the next start.
        if !work.set(step, "innodb_fast_shutdown", "1")? {
            return Ok(None);
        }
        let process = Process::find(work.link)?;
        if !work.statement(step, "SHUTDOWN", "SHUTDOWN")? {
            return Ok(None);
        }
        let exit = loop {
            let exit = self.look(process.as_ref(), work.left());
            if exit != Exit::Running || !work.may_go_on() {
                break exit;
            }
            thread::sleep(POLL);
        };
        match exit {
            Exit::Orderly | Exit::Refusing => work.finish(step, true),
            Exit::Broken => work.skip(step, "the server ended without removing its pid file".to_owned()),
            Exit::Running => work.skip(step, "the server was told to end and had not ended in time".to_owned()),
        }
        if let Err(e) = work.changes.clear() {
            self.host.warn(format_args!("cannot write the record of changed settings: {e}"));
        }
        *stopped = Some(process);
        Ok(Some(exit))
    }

    /// The machine may go away: the pages written now need not be written in the notice's short time.
    fn flush_ahead(&self, work: &mut Work<'_>, server: Identity) -> Result<Findings, Fault> {
        let before = work.snapshot()?;
        let mark = work.changes.mark();
        work.flush_dirty_pages(self.config.flush_io_capacity, Instant::now() + work.left() * 4 / 5)?;
        let after = work.snapshot()?;
        let durable = Durable::judge(&before, &after);
        // The server may have to work for days yet, with the settings its owner gave it.
        let restored = work.restore(mark)?;
        Ok(Findings { restored, ..Findings::new("pages-flushed", server, before, after, durable) })
    }
}

impl Findings {
    fn new(action: &'static str, server: Identity, before: Snapshot, after: Snapshot, durable: Durable) -> Self {
        Self {
            action,
            server,
            connection: "fresh",
            goal: before.lsn,
            before,
            after,
            durable,
            done: Vec::new(),
            skipped: Vec::new(),
            denied: false,
            restored: Vec::new(),
            exit: None,
        }
    }
}

fn undo(work: &mut Work<'_>, server: Identity) -> Result<Findings, Fault> {
    let before = work.snapshot()?;
    let restored = work.restore(0)?;
    work.finish("restore", true);
    let after = work.snapshot()?;
    let durable = Durable::judge(&before, &after);
    Ok(Findings { restored, ..Findings::new("undone", server, before, after, durable) })
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
    if call.cancelled().is_some() && findings.exit.is_none() {
        return fail("cancelled before everything was done", Code::Cancelled);
    }
    match action {
        Purpose::Secure if findings.exit == Some(Exit::Broken) => {
            fail("the server crashed while it shut down", Code::Io)
        }
        Purpose::Secure if findings.durable != Durable::Yes => {
            let code = if call.left().is_zero() { Code::Deadline } else { code };
            fail("the redo log is not known to be durable", code)
        }
        Purpose::Ahead if findings.denied => fail("the dirty pages could not be flushed", code),
        Purpose::Ahead
            if !findings.has_done("flush_dirty_pages") && findings.before.dirty_pages <= findings.after.dirty_pages =>
        {
            fail("no dirty page fewer than before", Code::Io)
        }
        Purpose::Undo if findings.denied => fail("not every setting could be restored", Code::Denied),
        _ => Ok(Outcome::handled(report)),
    }
}

/// Asks the server anew: are commits durable, and is everything written so far?
fn still_durable(
    link: &mut Link,
    product: Flavor,
    changes: &Changes,
    until: Instant,
) -> Result<Result<Verification, Error>, Fault> {
    let start = Snapshot::take(link, product)?;
    let mut now = start.clone();
    // InnoDB's own threads write a little log all the time, and flush it once a second.
    while Durable::judge(&start, &now) == Durable::No
        && now.flush_log_at_trx_commit == Some(1)
        && Instant::now() < until
    {
        thread::sleep(POLL);
        now = Snapshot::take(link, product)?;
    }
    let lost_read_only = changes.holds("read_only") && now.read_only == Some(false);
    Ok(match Durable::judge(&start, &now) {
        _ if lost_read_only => Err(Error::new("someone switched read_only off again").code(Code::State)),
        Durable::Yes => Ok(Verification::Verified(json!({ "evidence": now }))),
        Durable::No => Err(Error::new("the redo log is not durable up to its end").code(Code::State)),
        Durable::Unknown => Ok(Verification::Unknown),
    })
}

/// Asks the server anew whether the settings are what they were before this instance changed them.
fn still_restored(link: &mut Link, restored: &[Restored]) -> Result<Result<Verification, Error>, Fault> {
    for setting in restored.iter().filter(|s| s.left_alone.is_none()) {
        let now = crate::changes::read(link, &setting.variable)?;
        if now != setting.after {
            let text = format!("{} is {now}, not {}", setting.variable, setting.after);
            return Ok(Err(Error::new(text).code(Code::State)));
        }
    }
    Ok(Ok(Verification::Verified(json!({ "restored": restored }))))
}

/// Gives a fault the code by which the host decides what to do about it.
fn failure(fault: &Fault, call: &Call<'_>, ends: Instant) -> Error {
    let code = match fault {
        _ if call.cancelled().is_some() => Code::Cancelled,
        // The watch cuts the connection when the time is over, which then looks like a loss.
        Fault::Lost(_) | Fault::Connect { .. } if Instant::now() >= ends => Code::Deadline,
        fault if fault.is_denial() => Code::Denied,
        Fault::Lost(_) => Code::Retry,
        Fault::Connect { .. } | Fault::Refused { .. } => Code::Io,
    };
    let error = Error::new(fault.to_string()).code(code);
    if code == Code::Deadline { error.context("the time was over first") } else { error }
}
