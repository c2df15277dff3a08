//! Write out, freeze, run, thaw.
//!
//! Inputs: a [`Task`]. Outputs: [`Held`], its part of the report. Must never freeze before there is a watchdog for the file
//! system and a mark of it, keep one frozen beyond the time that was set for it, nor come back with one frozen unless
//! thawing it does not come back.

use crate::config::Plan;
use crate::mark::Mark;
use crate::safety::Target;
use crate::tool::{Bench, Done};
use crate::watchdog::{Verdict, Watchdog};
use cloudsnooze_plugin::Code;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin_commands::{Cut, Ended, Order, Ran, run};
use jiff::Timestamp;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A watchdog thaws after this at the latest.
const FUSE_MAX: Duration = Duration::from_secs(10);
/// Longest time for freezing one, after it was written out.
const FREEZE: Duration = Duration::from_secs(2);
/// So much before its watchdog, a file system is thawed here.
const MARGIN: Duration = Duration::from_millis(500);
/// Longest time for thawing one.
const THAW: Duration = Duration::from_secs(2);
/// Time for all but the hold itself: watchdogs, freezing, thawing.
pub(crate) const OVERHEAD: Duration = Duration::from_secs(1);
const SLICE: Duration = Duration::from_millis(10);
/// From SIGTERM to SIGKILL for a command that is out of time.
const GRACE: Duration = Duration::from_millis(300);
const OUTPUT_BYTES: usize = 2_048;

/// What is to be done.
pub(crate) struct Task {
    pub(crate) plan: Plan,
    pub(crate) targets: Vec<Target>,
    pub(crate) mark: Mark,
    pub(crate) bench: Arc<Bench>,
    /// When the answer must be there.
    pub(crate) ends: Instant,
    /// Set when the call is cancelled, or nobody waits any more.
    pub(crate) stop: Arc<AtomicBool>,
    /// What the command finds.
    pub(crate) env: Vec<CString>,
    pub(crate) input: Vec<u8>,
}

/// Who thawed a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thawer {
    Plugin,
    Watchdog,
    /// Somebody else.
    Other,
    /// It may be frozen still; the watchdog is at it.
    Nobody,
}

impl Thawer {
    fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Watchdog => "watchdog",
            Self::Other => "other",
            Self::Nobody => "nobody",
        }
    }
}

/// One file system's part.
struct Told {
    target: Target,
    written_out: Option<Duration>,
    frozen: Option<(Timestamp, Instant)>,
    thawed: Option<(Option<Timestamp>, Thawer)>,
    frozen_for: Option<Duration>,
}

/// What became of it all.
pub(crate) struct Held {
    told: Vec<Told>,
    then: Option<Value>,
    skipped: Vec<Value>,
    /// What went wrong first.
    pub(crate) failure: Option<(Code, String)>,
}

impl Held {
    fn fail(&mut self, code: Code, text: String) {
        if self.failure.is_none() {
            self.failure = Some((code, text));
        } else {
            self.skipped.push(json!({ "step": "besides", "reason": text }));
        }
    }

    /// The report.
    pub(crate) fn report(&self, has_command: bool) -> Value {
        let was_frozen = !self.told.is_empty() && self.told.iter().all(|told| told.frozen.is_some());
        let action = match was_frozen {
            false => "sync",
            true if has_command => "snapshot",
            true => "hold",
        };
        let is_written = self.told.iter().all(|told| told.written_out.is_some());
        let durable = match () {
            () if is_written && self.failure.is_none() => "yes",
            () if is_written => "unknown",
            () => "no",
        };
        let file_systems: Vec<Value> = self.told.iter().map(Told::report).collect();
        let mut report = json!({
            "action": action, "evidence": { "file_systems": file_systems }, "durable": durable, "skipped": self.skipped,
        });
        if let Some(then) = &self.then {
            report["evidence"]["then"] = then.clone();
        }
        report
    }
}

impl Told {
    fn report(&self) -> Value {
        let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0);
        let mount = &self.target.mount;
        json!({
            "mount_point": mount.mount_point.to_string_lossy(), "device": mount.device,
            "file_system": mount.file_system, "source": mount.source,
            "written_out_seconds": seconds(self.written_out),
            "frozen_at": self.frozen.map(|(at, _)| at.to_string()),
            "thawed_at": self.thawed.and_then(|(at, _)| at).map(|at| at.to_string()),
            "thawed_by": self.thawed.map(|(_, by)| by.name()),
            "frozen_seconds": seconds(self.frozen_for),
        })
    }

    fn shown(&self) -> String {
        self.target.mount.mount_point.display().to_string()
    }
}

/// Does it. What is not frozen for lack of time is written out all the same.
pub(crate) fn hold(task: &Task) -> Held {
    let told = task.targets.iter().map(|target| Told {
        target: target.clone(),
        written_out: None,
        frozen: None,
        thawed: None,
        frozen_for: None,
    });
    let mut held = Held { told: told.collect(), then: None, skipped: Vec::new(), failure: None };
    let needed = task.plan.hold + OVERHEAD;
    let fits = task.left() >= needed;
    // With the time for a freeze set aside where there is any.
    let writing_ends = if fits { task.ends.checked_sub(needed).unwrap_or(task.ends) } else { task.ends };
    write_out(task, writing_ends, &mut held);
    if !fits || task.left() < needed {
        let (needed, left) = (needed.as_secs_f64(), task.left().as_secs_f64());
        let text = format!("not frozen: it may take {needed:.1} s, and {left:.1} s are left; written out only");
        held.skipped.push(json!({ "step": "freeze", "reason": text }));
        held.fail(Code::Deadline, text);
    }
    if held.failure.is_none() && !task.is_stopped(&mut held) {
        watched(task, &mut held);
    }
    held
}

impl Task {
    fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    fn is_stopped(&self, held: &mut Held) -> bool {
        let is_stopped = self.stop.load(Ordering::Acquire);
        if is_stopped {
            held.fail(Code::Cancelled, "cancelled".to_owned());
        }
        is_stopped
    }
}

/// Ahead of the freeze, while nobody has to wait.
fn write_out(task: &Task, ends: Instant, held: &mut Held) {
    for at in 0..held.told.len() {
        if task.is_stopped(held) {
            return;
        }
        let Some(told) = held.told.get_mut(at) else { return };
        let begun = Instant::now();
        let limit = ends.saturating_duration_since(begun);
        let done = task.bench.sync(&told.target.mount.mount_point, limit, &task.stop);
        match done {
            Done::Yes => told.written_out = Some(begun.elapsed()),
            Done::Refused(said) => {
                let text = format!("{}: not written out: {said}", told.shown());
                held.fail(Code::Io, text);
            }
            Done::Late(_) if task.stop.load(Ordering::Acquire) => held.fail(Code::Cancelled, "cancelled".to_owned()),
            Done::Late(said) => {
                let text =
                    format!("{}: writing it out: {said}; frozen, it would make writers wait as long", told.shown());
                held.fail(Code::Deadline, text);
            }
        }
    }
}

/// With a watchdog for each.
fn watched(task: &Task, held: &mut Held) {
    let allowance = FREEZE + MARGIN + OVERHEAD;
    let fuse = (task.plan.hold + allowance).min(FUSE_MAX);
    // Before the first of them is ready: a little early is on the safe side.
    let thaw_by = Instant::now() + fuse.saturating_sub(MARGIN);
    let mut watchdogs = Vec::new();
    for told in &held.told {
        match Watchdog::start(&told.target.mount.mount_point, fuse) {
            Ok(watchdog) => watchdogs.push(Some(watchdog)),
            Err(text) => {
                let text = format!("{}: not frozen: {text}", told.shown());
                held.fail(Code::Internal, text);
                break;
            }
        }
    }
    let marked = task.mark.set(task.targets.iter().map(|target| target.mount.mount_point.as_path()));
    if let Err(error) = marked {
        held.fail(Code::Io, format!("not frozen: nothing would be known of it after a restart: {error}"));
    }
    // May be frozen although that was not said.
    let mut is_doubtful = vec![false; held.told.len()];
    if held.failure.is_none() && freeze(task, thaw_by, held, &mut is_doubtful) {
        let until =
            (Instant::now() + task.plan.hold).min(thaw_by).min(task.ends.checked_sub(MARGIN).unwrap_or(thaw_by));
        match &task.plan.then {
            Some(_) => then(task, until, held),
            None => wait(task, until, held),
        }
    }
    let is_thawed = thaw(task, held, &is_doubtful, watchdogs);
    if is_thawed && let Err(error) = task.mark.clear() {
        held.skipped.push(json!({ "step": "clear the mark", "reason": error.to_string() }));
    }
}

/// Freezes them in order; false when one could not be.
fn freeze(task: &Task, thaw_by: Instant, held: &mut Held, is_doubtful: &mut [bool]) -> bool {
    for at in 0..held.told.len() {
        if task.is_stopped(held) {
            return false;
        }
        let (Some(told), Some(doubt)) = (held.told.get_mut(at), is_doubtful.get_mut(at)) else { return false };
        // From before: whatever was written until then is certainly in.
        let since = (Timestamp::now(), Instant::now());
        let limit = FREEZE.min(thaw_by.saturating_duration_since(since.1));
        let failed = match task.bench.freeze(&told.target.mount.mount_point, limit, &task.stop) {
            Done::Yes => {
                told.frozen = Some(since);
                continue;
            }
            Done::Refused(said) => (Code::Io, format!("{}: cannot be frozen: {said}", told.shown())),
            Done::Late(said) => {
                *doubt = true;
                let is_stopped = task.stop.load(Ordering::Acquire);
                let code = if is_stopped { Code::Cancelled } else { Code::Deadline };
                (code, format!("{}: freezing it: {said}", told.shown()))
            }
        };
        held.fail(failed.0, failed.1);
        return false;
    }
    true
}

fn wait(task: &Task, until: Instant, held: &mut Held) {
    while Instant::now() < until && !task.is_stopped(held) {
        thread::sleep(SLICE.min(until.saturating_duration_since(Instant::now())));
    }
}

/// Runs the command.
fn then(task: &Task, until: Instant, held: &mut Held) {
    let Some(words) = &task.plan.then else { return };
    let grace = GRACE.min(until.saturating_duration_since(Instant::now()) / 4);
    let order = Order {
        words: words.words.clone(),
        env: task.env.clone(),
        directory: PathBuf::from("/"),
        input: task.input.clone(),
        term_at: until.checked_sub(grace).unwrap_or(until),
        grace,
        output_bytes: OUTPUT_BYTES,
        stop: Arc::clone(&task.stop),
    };
    let ran = match run(&order) {
        Ok(ran) => ran,
        Err(text) => return held.fail(Code::Io, format!("{}: {text}", words.program)),
    };
    task.bench.stragglers.note(&ran);
    if let Some((code, text)) = judge(&ran) {
        held.fail(code, format!("{}: {text}", words.program));
    }
    let (code, signal) = match ran.ended {
        Ended::Exited(code) => (json!(code), Value::Null),
        Ended::Killed(signal) => (Value::Null, json!(signal.as_str())),
        Ended::Stuck => (Value::Null, Value::Null),
    };
    // The arguments may hold what is nobody's business; the program does not.
    held.then = Some(json!({
        "program": words.program, "exit_code": code, "signal": signal,
        "seconds": (ran.took.as_secs_f64() * 1000.0).round() / 1000.0,
        "left_behind": ran.left_behind.iter().take(10).collect::<Vec<_>>(),
        "stdout": { "bytes": ran.stdout.total, "last": ran.stdout.text() },
        "stderr": { "bytes": ran.stderr.total, "last": ran.stderr.text() },
    }));
}

/// What its ending means; None when all is well.
fn judge(ran: &Ran) -> Option<(Code, String)> {
    let said = [ran.stderr.last_line(), ran.stdout.last_line()].into_iter().find(|line| !line.is_empty());
    let said = said.map_or_else(String::new, |line| format!(": {line}"));
    let seconds = ran.took.as_secs_f64();
    match (ran.ended, ran.cut) {
        (Ended::Stuck, _) => {
            let text = format!("it could not be ended after {seconds:.1} s: does it write to what is frozen?");
            Some((Code::Deadline, text))
        }
        (_, Some(Cut::Cancelled)) => Some((Code::Cancelled, "cancelled".to_owned())),
        (_, Some(Cut::Time)) => Some((Code::Deadline, format!("ended after {seconds:.1} s: it was out of time"))),
        (Ended::Exited(0), None) => None,
        (Ended::Exited(code), None) => Some((Code::Internal, format!("exit code {code}{said}"))),
        (Ended::Killed(signal), None) => Some((Code::Internal, format!("killed by {signal}{said}"))),
    }
}

/// Thaws them in the reverse order, and lets their watchdogs go; false when one may be frozen still.
fn thaw(task: &Task, held: &mut Held, is_doubtful: &[bool], mut watchdogs: Vec<Option<Watchdog>>) -> bool {
    let mut is_all = true;
    let mut troubles = Vec::new();
    for (at, told) in held.told.iter_mut().enumerate().rev() {
        let watchdog = watchdogs.get_mut(at).and_then(Option::take);
        let doubt = is_doubtful.get(at).copied().unwrap_or_default();
        if told.frozen.is_none() && !doubt {
            // Never frozen here: thawing it could be somebody else's freeze undone.
            watchdog.map(Watchdog::dismiss);
            continue;
        }
        let done = task.bench.thaw(&told.target.mount.mount_point, THAW);
        told.frozen_for = told.frozen.map(|(_, since)| since.elapsed());
        let thawed = match (done, watchdog) {
            (Done::Yes, watchdog) => {
                let now = Timestamp::now();
                watchdog.map(Watchdog::dismiss);
                (Some(now), Thawer::Plugin)
            }
            // It was not frozen any more.
            (Done::Refused(_), watchdog) if !doubt => match watchdog.map(Watchdog::dismiss) {
                Some(Verdict::Thawed(at)) => {
                    let at = at.and_then(|at| Timestamp::from_nanosecond(i128::from(at)).ok());
                    (at, Thawer::Watchdog)
                }
                _ => (None, Thawer::Other),
            },
            // Thawing hangs, or a freeze that hung may succeed in a while.
            (Done::Late(_) | Done::Refused(_), watchdog) => {
                if let Some(watchdog) = watchdog {
                    watchdog.leave_to_it(&task.bench.stragglers);
                }
                (None, Thawer::Nobody)
            }
        };
        told.thawed = Some(thawed);
        let what = match thawed.1 {
            Thawer::Plugin => continue,
            Thawer::Watchdog => "the watchdog had to thaw it: the copy may not be of one moment".to_owned(),
            Thawer::Other => "somebody else thawed it: the copy may not be of one moment".to_owned(),
            Thawer::Nobody => {
                is_all = false;
                "thawing it does not come back; its watchdog goes on trying".to_owned()
            }
        };
        troubles.push(format!("{}: {what}", told.shown()));
    }
    for text in troubles {
        held.fail(Code::State, text);
    }
    is_all
}
