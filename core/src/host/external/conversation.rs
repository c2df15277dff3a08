//! What the threads around one plugin share: where its process stands, and which answers are awaited.
//!
//! Threads: callers on the pool, the reader of the process, the timer (`end`), the one that tends.
//! Inputs: lines, orders. Outputs: answers, causes, log lines. The lock is held for a few instructions
//! only, never while waiting for the plugin. Must never signal a process that was reaped.

use super::process::{self, Writer};
use super::wire::{self, Incoming, Initialized, Reply};
use crate::host::backoff::Backoff;
use crate::host::delivery::{Answer, CallCell, Status};
use crate::host::refusal::Refusal;
use crate::log_ring::LogRing;
use crate::sys::clock;
use cloudsnooze_abi as abi;
use nix::sys::eventfd::EventFd;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after its deadline a call is waited for: as long as the longest time to clean up that can be
/// configured (`dispatch.cancel_grace_ms`). It is the timer that kills a process when the configured one
/// is over; this is for callers without a timer.
const LATE_MAX: Duration = Duration::from_secs(60);
/// Longest wait before the clock is looked at again: it goes on during suspend, waits do not.
const LOOK: Duration = Duration::from_millis(500);
/// Most lines of a traceback that are logged: the last ones name the fault.
const TRACEBACK_LINES_MAX: usize = 20;

/// Why a process ends, or ended.
#[derive(Clone, Debug)]
pub struct Cause {
    status: Status,
    text: String,
    refusal: Option<Refusal>,
}

impl Cause {
    /// An end with this status for the calls in progress.
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), refusal: None }
    }

    /// A call that got no answer in its time.
    pub fn late() -> Self {
        Self::new(Status::Cancelled, "gave no answer in its time; its process group was killed")
    }

    fn refused(refusal: Refusal) -> Self {
        Self { status: Status::Crashed, text: refusal.to_string(), refusal: Some(refusal) }
    }

    fn answer(&self) -> Answer {
        Answer::new(self.status, self.text.clone())
    }

    /// The refusal it is for a plugin that was never up.
    pub fn into_refusal(self) -> Refusal {
        self.refusal.unwrap_or(Refusal::Process(self.text))
    }
}

enum Phase {
    /// Being started.
    Spawning,
    /// Has until then to answer `initialize`.
    Starting { until_ns: i64 },
    /// Takes calls.
    Running { since_ns: i64 },
    /// Killed, not reaped yet.
    Ending,
    /// No process; a new one from then on.
    Down { until_ns: i64 },
    /// No process, never again.
    Stopped,
}

/// A process that is not reaped yet.
struct Live {
    child: Child,
    pid: Pid,
    writer: Arc<Writer>,
    stop: Arc<EventFd>,
    initialize_id: u64,
}

enum Outcome {
    Reply(Reply),
    Ended(Answer),
}

/// An answer that is awaited.
struct Slot {
    call_id: String,
    progress: Option<(u32, String)>,
    outcome: Option<Outcome>,
}

struct State {
    phase: Phase,
    live: Option<Live>,
    pending: BTreeMap<u64, Slot>,
    last_id: u64,
    cause: Option<Cause>,
    last_words: String,
    hung_up: bool,
    backoff: Backoff,
    hurry: bool,
    restarts: u32,
    late_max: Duration,
    initialized: Option<Initialized>,
}

/// What the threads around one plugin share.
pub struct Conversation {
    state: Mutex<State>,
    changed: Condvar,
    log: Arc<LogRing>,
    name: &'static str,
}

impl Conversation {
    /// Before the first process, which is expected to be started at once.
    pub fn new(log: Arc<LogRing>, name: &'static str) -> Self {
        let state = State {
            phase: Phase::Spawning,
            live: None,
            pending: BTreeMap::new(),
            last_id: 0,
            cause: None,
            last_words: String::new(),
            hung_up: false,
            backoff: Backoff::default(),
            hurry: false,
            restarts: 0,
            late_max: LATE_MAX,
            initialized: None,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), log, name }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left_ns: i64) -> MutexGuard<'a, State> {
        let left = Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0)).min(LOOK);
        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Logs text that may have several lines.
    pub fn say(&self, level: u32, text: &str) {
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            self.log.push(self.name, level, line);
        }
    }

    // Life of the process.

    /// A process was started that has until `until_ns` to answer `initialize`. Returns that request's id.
    pub fn started(&self, child: Child, writer: Arc<Writer>, stop: Arc<EventFd>, until_ns: i64) -> u64 {
        let mut state = self.state();
        let pid = process::number(&child);
        state.last_id += 1;
        let initialize_id = state.last_id;
        (state.cause, state.last_words, state.hung_up) = (None, String::new(), false);
        match state.phase {
            // Stopped while it was being started.
            Phase::Stopped => order_end(&stop),
            _ => state.phase = Phase::Starting { until_ns },
        }
        state.live = Some(Live { child, pid, writer, stop, initialize_id });
        initialize_id
    }

    /// No process could be started.
    pub fn not_started(&self, text: &str) {
        self.state().cause = None;
        self.ended(text);
    }

    /// Waits until the first process is up.
    ///
    /// # Errors
    /// Why it is not, once it is reaped.
    pub fn wait_started(&self, until_ns: i64) -> Result<Initialized, Cause> {
        let mut state = self.state();
        loop {
            match (&state.phase, &state.initialized, &state.cause) {
                (Phase::Running { .. }, Some(initialized), _) => return Ok(initialized.clone()),
                (Phase::Down { .. } | Phase::Stopped, _, cause) => {
                    return Err(cause.clone().unwrap_or_else(|| Cause::new(Status::Cancelled, "was stopped")));
                }
                _ => {}
            }
            let left_ns = until_ns.saturating_sub(clock::boot_ns());
            if left_ns > 0 {
                state = self.wait(state, left_ns);
            } else {
                drop(state);
                self.tend();
                state = self.wait(self.state(), i64::MAX);
            }
        }
    }

    /// Kills a process that does not come up in time, or whose leader is gone while others of its
    /// group hold its pipes.
    pub fn tend(&self) {
        let state = self.state();
        let overdue = matches!(state.phase, Phase::Starting { until_ns } if until_ns <= clock::boot_ns());
        if let Some(live) = state.live.as_ref().filter(|live| process::has_ended(live.pid)) {
            order_end(&live.stop);
        } else if overdue {
            drop(state);
            self.end(Cause::new(Status::Crashed, "gave no answer to initialize in its time (startup_timeout_seconds)"));
        }
    }

    /// Whether a process is to be started now; if so, the caller has to.
    pub fn claim_restart(&self) -> bool {
        let mut state = self.state();
        let due = matches!(state.phase, Phase::Down { until_ns } if state.hurry || until_ns <= clock::boot_ns());
        if due {
            (state.phase, state.hurry) = (Phase::Spawning, false);
            state.restarts += 1;
        }
        due
    }

    /// Kills the process group at once and answers every call in progress with the cause. Never blocks.
    pub fn end(&self, cause: Cause) {
        let mut state = self.state();
        let answer = cause.answer();
        state.cause.get_or_insert(cause);
        if let Some(live) = &state.live {
            // Not reaped, so the number is still its own.
            let _ = killpg(live.pid, Signal::SIGKILL);
            order_end(&live.stop);
            if !matches!(state.phase, Phase::Stopped) {
                state.phase = Phase::Ending;
            }
        }
        self.answer_all(&mut state, &answer);
    }

    /// Sends a signal to the process group.
    pub fn signal(&self, signal: Signal) {
        if let Some(live) = &self.state().live {
            let _ = killpg(live.pid, signal);
        }
    }

    /// Kills the process group.
    pub fn kill_group(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Reaps a process that ended, with what is left of its group. Says how it ended. Reader only.
    pub fn reap(&self) -> String {
        let mut state = self.state();
        let Some(mut live) = state.live.take() else { return String::new() };
        // The last moment at which the number is surely that of this group.
        let _ = killpg(live.pid, Signal::SIGKILL);
        process::ending(live.child.wait())
    }

    /// Nobody can read what the process says: it ends, unheard.
    pub fn abandon(&self, why: &str) {
        self.kill_group();
        self.reap();
        self.not_started(why);
    }

    /// The process is gone and all it wrote is read. Reader only.
    pub fn ended(&self, how: &str) {
        let mut state = self.state();
        let stopped = matches!(state.phase, Phase::Stopped);
        let words = std::mem::take(&mut state.last_words);
        let how = if state.hung_up { format!("{how} after it closed its standard input") } else { how.to_owned() };
        let by_itself = || match (stopped, words.is_empty()) {
            (true, _) => Cause::new(Status::Cancelled, "was stopped"),
            (false, true) => Cause::new(Status::Crashed, how),
            (false, false) => Cause::new(Status::Crashed, format!("{how}; its last line on stderr: {words}")),
        };
        let cause = state.cause.get_or_insert_with(by_itself).clone();
        if !stopped {
            let now_ns = clock::boot_ns();
            let lived = match state.phase {
                Phase::Running { since_ns } => u64::try_from(now_ns - since_ns).ok().map(Duration::from_nanos),
                _ => None,
            };
            let pause = state.backoff.pause_after(lived);
            state.phase = Phase::Down { until_ns: now_ns + nanos(pause) };
            // Before the first success, the refusal says it.
            if state.initialized.is_some() {
                let text = format!("{}; started again in at most {pause:?}", cause.text);
                self.say(abi::SNOOZE_LOG_WARNING, &text);
            }
        }
        self.answer_all(&mut state, &cause.answer());
    }

    fn answer_all(&self, state: &mut State, answer: &Answer) {
        for slot in state.pending.values_mut() {
            slot.outcome.get_or_insert_with(|| Outcome::Ended(answer.clone()));
        }
        self.changed.notify_all();
    }

    /// No process from now on. Returns the way to the one there is.
    pub fn stop(&self) -> Option<Arc<Writer>> {
        let mut state = self.state();
        state.phase = Phase::Stopped;
        self.changed.notify_all();
        state.live.as_ref().map(|live| Arc::clone(&live.writer))
    }

    /// Waits until the process is reaped; false when that takes longer than `limit`.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let until_ns = clock::boot_ns().saturating_add(nanos(limit));
        let mut state = self.state();
        while state.live.is_some() {
            let left_ns = until_ns - clock::boot_ns();
            if left_ns <= 0 {
                return false;
            }
            state = self.wait(state, left_ns);
        }
        true
    }

    // What the plugin says. Reader only.

    /// Takes one line of standard output.
    ///
    /// # Errors
    /// Why the process has to end.
    pub fn accept(&self, line: &[u8]) -> Result<(), Cause> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match wire::parse(line).map_err(|text| Cause::new(Status::Failed, text))? {
            Incoming::Reply(id, reply) => return self.take_reply(id, reply),
            Incoming::Log(level, text) => self.say(level, &text),
            Incoming::Unknown(text) => self.say(abi::SNOOZE_LOG_WARNING, &text),
            Incoming::Progress(call_id, permille, text) => {
                for slot in self.state().pending.values_mut().filter(|slot| slot.call_id == call_id) {
                    slot.progress = Some((permille, text.clone()));
                }
                self.changed.notify_all();
            }
        }
        Ok(())
    }

    fn take_reply(&self, id: u64, reply: Reply) -> Result<(), Cause> {
        let mut state = self.state();
        let starting = matches!(state.phase, Phase::Starting { .. });
        if starting && state.live.as_ref().is_some_and(|live| live.initialize_id == id) {
            let initialized = wire::initialized(reply).map_err(Cause::refused)?;
            state.phase = Phase::Running { since_ns: clock::boot_ns() };
            state.initialized.get_or_insert(initialized);
        } else if let Some(slot) = state.pending.get_mut(&id) {
            slot.outcome.get_or_insert(Outcome::Reply(reply));
        } else if matches!(state.phase, Phase::Stopped) {
            // That to `shutdown`, which nobody awaits.
            return Ok(());
        } else {
            drop(state);
            self.say(abi::SNOOZE_LOG_DEBUG, "an answer to no request, or too late, was dropped");
            return Ok(());
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Takes one line of standard error.
    pub fn hear(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            self.say(abi::SNOOZE_LOG_INFO, &text);
            self.state().last_words = wire::shown(line);
        }
    }

    // Calls.

    /// Makes place for the answer to a request of `call`, once a process takes calls. Returns the
    /// request's id and the way to the process.
    ///
    /// # Errors
    /// Why there is none while the call's time lasts.
    pub fn open(&self, call: &CallCell) -> Result<(u64, Arc<Writer>), Answer> {
        let mut state = self.state();
        let mut hurried = false;
        loop {
            if call.cancel_reason() != abi::SNOOZE_CANCEL_NONE {
                return Err(Answer::new(Status::Cancelled, "cancelled before it started"));
            }
            match (&state.phase, &state.live) {
                (Phase::Running { .. }, Some(live)) => {
                    let writer = Arc::clone(&live.writer);
                    state.last_id += 1;
                    let id = state.last_id;
                    let slot = Slot { call_id: call.id().to_string(), progress: None, outcome: None };
                    state.pending.insert(id, slot);
                    return Ok((id, writer));
                }
                (Phase::Stopped, _) => return Err(Answer::new(Status::Cancelled, "is stopped")),
                // An event is worth one try before the pause is over.
                (Phase::Down { .. }, _) if !hurried => (state.hurry, hurried) = (true, true),
                _ => {}
            }
            let left_ns = call.left_ns();
            if left_ns == 0 {
                let why = state.cause.as_ref().map_or("it is being started", |cause| &cause.text);
                return Err(Answer::new(Status::Crashed, format!("no process takes the call: {why}")));
            }
            state = self.wait(state, left_ns);
        }
    }

    /// Waits for the answer, and kills the process group when it does not come long after the call's time.
    ///
    /// # Errors
    /// Why there is none.
    pub fn wait_reply(&self, id: u64, call: &CallCell) -> Result<Reply, Answer> {
        let mut state = self.state();
        let until_ns = call.deadline_boot_ns().saturating_add(nanos(state.late_max));
        loop {
            let Some(slot) = state.pending.get_mut(&id) else { return Err(Cause::late().answer()) };
            if let Some((permille, text)) = slot.progress.take() {
                call.set_progress(permille, &text);
            }
            if let Some(outcome) = slot.outcome.take() {
                state.pending.remove(&id);
                drop(state);
                return self.settled(outcome);
            }
            let left_ns = until_ns.saturating_sub(clock::boot_ns());
            if left_ns <= 0 {
                state.pending.remove(&id);
                drop(state);
                self.end(Cause::late());
                return Err(Cause::late().answer());
            }
            state = self.wait(state, left_ns);
        }
    }

    fn settled(&self, outcome: Outcome) -> Result<Reply, Answer> {
        match outcome {
            Outcome::Ended(answer) => Err(answer),
            Outcome::Reply(reply) => {
                if let Reply::Error(_, _, Some(traceback)) = &reply {
                    let lines: Vec<&str> = traceback.lines().collect();
                    let last = lines.len().saturating_sub(TRACEBACK_LINES_MAX);
                    self.say(abi::SNOOZE_LOG_INFO, &lines[last..].join("\n"));
                }
                Ok(reply)
            }
        }
    }

    /// Looks at waiting calls again: one was cancelled, or a pipe is broken.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// The pipe to the process is broken: if it lives, it ends.
    pub fn hung_up(&self) {
        let mut state = self.state();
        if let Some(live) = &state.live {
            order_end(&live.stop);
            state.hung_up = !process::has_ended(live.pid);
        }
    }

    /// The request was not sent.
    pub fn forget(&self, id: u64) {
        self.state().pending.remove(&id);
    }

    /// The way to a process that takes calls.
    pub fn writer(&self) -> Option<Arc<Writer>> {
        self.state().live.as_ref().map(|live| Arc::clone(&live.writer))
    }

    /// A number for a request whose answer nobody awaits.
    pub fn next_id(&self) -> u64 {
        let mut state = self.state();
        state.last_id += 1;
        state.last_id
    }

    /// Number of the process, while there is one.
    pub fn pid(&self) -> Option<i32> {
        self.state().live.as_ref().map(|live| live.pid.as_raw())
    }

    /// How often a process was started after the first.
    pub fn restarts(&self) -> u32 {
        self.state().restarts
    }

    /// Whether a process takes calls.
    pub fn is_running(&self) -> bool {
        matches!(self.state().phase, Phase::Running { .. })
    }
}

#[cfg(test)]
impl Conversation {
    /// How many answers are awaited.
    pub fn awaited(&self) -> usize {
        self.state().pending.len()
    }

    /// Calls are waited for so long after their deadline.
    pub fn wait_late_for(&self, time: Duration) {
        self.state().late_max = time;
    }

    /// Has the pause in progress last so long from now.
    pub fn pause_for(&self, time: Duration) {
        self.state().phase = Phase::Down { until_ns: clock::boot_ns() + nanos(time) };
    }
}

/// Has the reader kill and reap its process. Cannot fail: the counter is far from its limit.
fn order_end(stop: &EventFd) {
    let _ = stop.write(1);
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
