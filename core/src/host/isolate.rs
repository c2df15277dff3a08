//! A `.so` plugin in a process of its own, `snooze-plugin-host`: the same library, called through shared memory.
//!
//! Inputs: a trusted file, a configuration, deliveries. Outputs: answers, log lines. Threads: start, tend and stop on
//! normal threads; handle and verify on the pool; cancel, kill and curb from the timer; one thread of its own beside each
//! process, which starts, hears and reaps it. The process is there before the first event and starts nothing when one
//! comes; it ends with the daemon, whatever ends that. Must never map the library into the daemon, nor let the process hold
//! up a thread of the daemon beyond a call's time.

pub mod child;
mod exchange;
mod greeting;
mod lines;
mod process;
#[cfg(test)]
mod tests;

use super::backoff::Backoff;
use super::delivery::{Answer, CallCell, Delivery, Status};
use super::instance::{Abilities, InstanceSpec, Subscription};
use super::refusal::Refusal;
use super::trust::Trusted;
use crate::log_ring::LogRing;
use crate::sys::clock;
use crate::sys::confine::Account;
use crate::sys::sched::{self, Placement};
use arc_swap::ArcSwapOption;
use cloudsnooze_abi as abi;
use exchange::Kind;
pub use exchange::Sent;
use greeting::{Depth, Order, Started};
use process::{End, Process, Program};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long loading, create, activate and warm_up may take together.
const START_MAX: Duration = Duration::from_secs(30);
/// How long deactivate and destroy may take before the process is killed.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Longest wait before the clock is looked at again: it goes on during suspend, waits do not.
const LOOK: Duration = Duration::from_millis(500);
/// The watcher's stack, bytes: it may be locked in memory.
const STACK_BYTES: usize = 512 * 1024;
/// The program, beside this one, or where packages put it.
const HOST: &str = "snooze-plugin-host";

/// How a plugin is isolated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// User that its process becomes; None: the daemon's own.
    pub user: Option<String>,
    /// The only directories to write to, besides its own; None: wherever its user may.
    pub writable: Option<Vec<PathBuf>>,
    /// Whether to keep its memory from being swapped out.
    pub lock_memory: bool,
}

enum Phase {
    /// Being started.
    Starting,
    /// Takes calls.
    Running { since_ns: i64 },
    /// No process; a new one from then on.
    Down { until_ns: i64 },
    /// No process, never again.
    Stopped,
}

struct State {
    phase: Phase,
    backoff: Backoff,
    /// An event waits for a process.
    hurry: bool,
    restarts: u32,
    /// Why there is no process.
    why: Option<Refusal>,
}

/// What the threads around one plugin share.
struct Inner {
    host: File,
    library: Trusted,
    order: Order,
    log: Arc<LogRing>,
    name: &'static str,
    current: ArcSwapOption<Process>,
    started: OnceLock<Started>,
    /// Of the workers that call it, once one has.
    place: OnceLock<Placement>,
    state: Mutex<State>,
    changed: Condvar,
}

/// One isolated instance.
pub struct Isolated {
    inner: Arc<Inner>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

/// Loads a library in a process of its own and checks the configuration there; with `Depth::Rehearse` also asks what an
/// instance subscribes to.
///
/// # Errors
/// The first refusal.
fn try_out(depth: Depth, library: Trusted, plugin: &str, spec: &InstanceSpec) -> Result<Started, Refusal> {
    let (host, order) = (open_host()?, order(depth, &library, plugin, spec, 0)?);
    // On a thread of its own: the process ends with the thread that starts it.
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| {
            let program = Program { host: &host, library: &library.file, order: &order };
            let process = Process::start(&program).map_err(not_started)?;
            let reply = process.reply(clock::boot_ns().saturating_add(nanos(START_MAX)));
            let silent = LogRing::new(0);
            match reply {
                Ok(reply) => {
                    process.reap(&silent, "");
                    reply
                }
                Err(error) => Err(Refusal::Process(process.reap_broken(&error, &silent, ""))),
            }
        });
        tried.join().unwrap_or_else(|_| Err(Refusal::Process("the thread that starts it panicked".into())))
    })
}

/// Checks a library and a configuration for it without making an instance, and without mapping it here.
///
/// # Errors
/// The first refusal.
pub fn check(library: Trusted, plugin: &str, spec: &InstanceSpec) -> Result<(), Refusal> {
    try_out(Depth::Check, library, plugin, spec).map(drop)
}

/// Makes an instance in a process, asks what it subscribes to, and frees it.
///
/// # Errors
/// The first refusal.
pub fn rehearse(
    library: Trusted,
    plugin: &str,
    spec: &InstanceSpec,
) -> Result<(Vec<Subscription>, Abilities), Refusal> {
    let started = try_out(Depth::Rehearse, library, plugin, spec)?;
    Ok((started.subscriptions(), started.abilities))
}

impl Isolated {
    /// Starts the process and has it make the instance.
    ///
    /// # Errors
    /// The first refusal; no process is left behind.
    pub fn start(library: Trusted, plugin: &str, spec: &InstanceSpec, log: &Arc<LogRing>) -> Result<Self, Refusal> {
        let order = order(Depth::Run, &library, plugin, spec, log.level())?;
        prepare_state_dir(&order)?;
        let state = State { phase: Phase::Starting, backoff: Backoff::default(), hurry: false, restarts: 0, why: None };
        let inner = Arc::new(Inner {
            host: open_host()?,
            library,
            order,
            log: Arc::clone(log),
            // Log lines refer to it for as long as the daemon runs.
            name: Box::leak(spec.name.clone().into_boxed_str()),
            current: ArcSwapOption::empty(),
            started: OnceLock::new(),
            place: OnceLock::new(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let isolated = Self { inner, watcher: Mutex::default() };
        isolated.launch();
        let mut state = isolated.inner.state();
        while matches!(state.phase, Phase::Starting) {
            state = isolated.inner.wait(state, i64::MAX);
        }
        if matches!(state.phase, Phase::Running { .. }) {
            drop(state);
            return Ok(isolated);
        }
        Err(state.why.take().unwrap_or_else(|| Refusal::Process("it ended at once".into())))
    }

    /// Starts a process with its watcher.
    fn launch(&self) {
        let inner = Arc::clone(&self.inner);
        let thread = std::thread::Builder::new().name("plugin-watch".into()).stack_size(STACK_BYTES);
        match thread.spawn(move || inner.watch()) {
            Ok(thread) => *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread),
            Err(error) => self.inner.is_down(Refusal::Process(format!("no thread could be started for it: {error}"))),
        }
    }

    /// Hands an event over and waits for the answer. A process that is down is waited for while the call's time lasts.
    pub fn handle(&self, event: &Delivery, call: &Arc<CallCell>, grace: Duration) -> Answer {
        let answer = match call.posted() {
            Some(process) => process.finish(call, self.inner.place.get()),
            None => self.ask(Kind::Handle, event, (call, Some(call)), grace),
        };
        self.look_at(&answer);
        match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer::new(Status::Failed, "its process gave no verdict"),
            Err(answer) => answer,
        }
    }

    /// Puts a call down before the worker has begun that will wait for its answer in [`Self::handle`]: from the publisher
    /// to the plugin it is one wake-up instead of two. [`CallCell::posted`] then has it begun. False: it is for `handle` to
    /// find out why not. For publishers; does not wait.
    pub fn post(&self, sent: &Sent<'_>, call: &Arc<CallCell>, grace: Duration) -> bool {
        let current = self.inner.current.load();
        // Before the first warm-up nobody knows where it is to run.
        let Some(process) = current.as_ref().filter(|_| self.inner.place.get().is_some()) else { return false };
        !process.is_over() && process.put(Kind::Handle, sent, call, grace).is_ok()
    }

    /// Asks whether the effect of the handled event holds; None when the plugin offers no answer.
    pub fn verify(&self, event: &Delivery, call: &CallCell) -> Option<Answer> {
        if !self.started().is_some_and(|started| started.verify) {
            return None;
        }
        let answer = self.ask(Kind::Verify, event, (call, None), Duration::ZERO);
        self.look_at(&answer);
        answer.unwrap_or_else(Some)
    }

    fn ask(
        &self,
        kind: Kind,
        event: &Delivery,
        call: (&CallCell, Option<&Arc<CallCell>>),
        grace: Duration,
    ) -> Result<Option<Answer>, Answer> {
        let process = match &*self.inner.current.load() {
            Some(process) if !process.is_over() => Arc::clone(process),
            _ => self.inner.wait_for_process(call.0)?,
        };
        if self.inner.place.get().is_none() {
            self.take_place();
        }
        process.ask(kind, &event.into(), call, grace, self.inner.place.get())
    }

    /// What a process that panicked was in the middle of is lost; a fresh one is not.
    fn look_at(&self, answer: &Result<Option<Answer>, Answer>) {
        if matches!(answer, Ok(Some(answer)) if answer.status == Status::Panicked)
            && let Some(process) = &*self.inner.current.load()
        {
            process.kill(End::new(Status::Crashed, "panicked or threw; its process group was killed"));
        }
    }

    /// Gives the process the scheduling and the CPU of the calling worker, now and whenever it is started again.
    pub fn take_place(&self) {
        let Some(place) = Placement::of_current_thread() else { return };
        let place = self.inner.place.get_or_init(|| place);
        if let Some(process) = &*self.inner.current.load() {
            place.give(process.pid.as_raw());
        }
    }

    /// Has the process bring into the caches what a call needs. Does not wait; the process takes this CPU for a moment.
    pub fn touch(&self) {
        if let Some(process) = &*self.inner.current.load() {
            process.nudge();
        }
    }

    /// Wakes a cancelled call that waits for a process; one in a process was told by its cell. Does not wait.
    pub fn cancel(&self) {
        self.inner.changed.notify_all();
    }

    /// Kills the whole process group. Never blocks; a call in progress returns.
    pub fn kill(&self) {
        if let Some(process) = &*self.inner.current.load() {
            process.kill(End::late());
        }
    }

    /// Keeps a call from starving the machine (`Process::curb`).
    pub fn curb(&self, budget_ns: i64, everywhere: &[u32]) -> bool {
        self.inner.current.load().as_ref().is_some_and(|process| process.curb(budget_ns, everywhere))
    }

    /// Starts a process that ended again, after a pause, and at once when an event waits for it.
    pub fn tend(&self) {
        let mut state = self.inner.state();
        let is_due = matches!(state.phase, Phase::Down { until_ns } if state.hurry || until_ns <= clock::boot_ns());
        if is_due {
            (state.phase, state.hurry) = (Phase::Starting, false);
            state.restarts += 1;
            drop(state);
            self.inner.log.push(self.inner.name, abi::SNOOZE_LOG_INFO, "its process is started again");
            self.launch();
        }
    }

    /// Ends the process: asks it to deactivate and destroy, then kills its group.
    pub fn stop(&self) {
        self.inner.state().phase = Phase::Stopped;
        self.inner.changed.notify_all();
        let current = self.inner.current.load_full();
        if let Some(process) = current.filter(|process| !process.is_over()) {
            let until_ns = clock::boot_ns().saturating_add(nanos(STOP_MAX));
            let asked = process.ask_to_stop();
            let mut state = self.inner.state();
            while asked && self.inner.current.load().is_some() && clock::boot_ns() < until_ns {
                state = self.inner.wait(state, until_ns - clock::boot_ns());
            }
            drop(state);
            process.kill(End::new(Status::Cancelled, "was stopped"));
        }
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One that panicked has said so already.
        let _ = watcher.map(JoinHandle::join);
    }

    /// What it subscribed to.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.started().map(Started::subscriptions).unwrap_or_default()
    }

    /// What it can do beyond handling an event.
    pub fn abilities(&self) -> Abilities {
        self.started().map(|started| started.abilities).unwrap_or_default()
    }

    /// Version of the plugin.
    pub fn version(&self) -> String {
        self.started().map(|started| started.version.clone()).unwrap_or_default()
    }

    fn started(&self) -> Option<&Started> {
        self.inner.started.get()
    }

    /// What a status line says of it.
    pub fn detail(&self) -> String {
        let process = match &*self.inner.current.load() {
            Some(process) => format!("isolated, process {}", process.pid),
            None => "isolated, process not running".to_owned(),
        };
        let confined = self.started().map(|started| started.confinement.join("; ")).unwrap_or_default();
        format!("{process}, {} restarts; {confined}", self.inner.state().restarts)
    }
}

impl Drop for Isolated {
    /// Leaves no process behind; its watcher reaps it.
    fn drop(&mut self) {
        self.inner.state().phase = Phase::Stopped;
        self.kill();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, left_ns: i64) -> MutexGuard<'a, State> {
        let left = Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0)).min(LOOK);
        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// The life of one process, from its start to its end.
    fn watch(&self) {
        sched::block_all_signals();
        let until_ns = clock::boot_ns().saturating_add(nanos(START_MAX));
        let program = Program { host: &self.host, library: &self.library.file, order: &self.order };
        let process = match Process::start(&program) {
            Ok(process) => Arc::new(process),
            Err(error) => return self.is_down(not_started(error)),
        };
        match process.reply(until_ns) {
            Ok(Ok(started)) => {
                self.started.get_or_init(|| started);
                if let Some(place) = self.place.get() {
                    place.give(process.pid.as_raw());
                }
                self.is_up(&process);
                process.listen(&self.log, self.name);
                let end = process.reap(&self.log, self.name);
                self.is_down(Refusal::Process(end.text));
            }
            Ok(Err(refusal)) => {
                process.reap(&self.log, self.name);
                self.is_down(refusal);
            }
            Err(error) => self.is_down(Refusal::Process(process.reap_broken(&error, &self.log, self.name))),
        }
    }

    fn is_up(&self, process: &Arc<Process>) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Stopped) {
            drop(state);
            return process.kill(End::new(Status::Cancelled, "was stopped"));
        }
        self.current.store(Some(Arc::clone(process)));
        (state.phase, state.why) = (Phase::Running { since_ns: clock::boot_ns() }, None);
        self.changed.notify_all();
    }

    fn is_down(&self, why: Refusal) {
        self.current.store(None);
        let mut state = self.state();
        if !matches!(state.phase, Phase::Stopped) {
            let now_ns = clock::boot_ns();
            let lived = match state.phase {
                Phase::Running { since_ns } => u64::try_from(now_ns - since_ns).ok().map(Duration::from_nanos),
                _ => None,
            };
            let pause = state.backoff.pause_after(lived);
            state.phase = Phase::Down { until_ns: now_ns.saturating_add(nanos(pause)) };
            // Before the first success, the refusal says it.
            if self.started.get().is_some() {
                let text = format!("{}; started again in at most {pause:?}", sentence(&why));
                self.log.push(self.name, abi::SNOOZE_LOG_WARNING, &text);
            }
            state.why = Some(why);
        }
        self.changed.notify_all();
    }

    /// Waits for a process that takes calls, while the call's time lasts.
    fn wait_for_process(&self, call: &CallCell) -> Result<Arc<Process>, Answer> {
        let mut state = self.state();
        let mut hurried = false;
        loop {
            if call.cancel_reason() != abi::SNOOZE_CANCEL_NONE {
                return Err(Answer::new(Status::Cancelled, "cancelled before it started"));
            }
            match state.phase {
                Phase::Running { .. } => {
                    if let Some(process) = self.current.load_full().filter(|process| !process.is_over()) {
                        return Ok(process);
                    }
                }
                Phase::Stopped => return Err(Answer::new(Status::Cancelled, "is stopped")),
                // An event is worth one try before the pause is over.
                Phase::Down { .. } if !hurried => (state.hurry, hurried) = (true, true),
                Phase::Starting | Phase::Down { .. } => {}
            }
            let left_ns = call.left_ns();
            if left_ns == 0 {
                let why = state.why.as_ref().map_or_else(|| "it is being started".to_owned(), sentence);
                return Err(Answer::new(Status::Crashed, format!("no process takes the call: {why}")));
            }
            state = self.wait(state, left_ns);
        }
    }
}

/// What a refusal says of a process that was up once.
fn sentence(why: &Refusal) -> String {
    match why {
        Refusal::Process(text) => text.clone(),
        other => other.to_string(),
    }
}

fn not_started(error: std::io::Error) -> Refusal {
    Refusal::Process(format!("{HOST}: {error}"))
}

fn order(depth: Depth, library: &Trusted, plugin: &str, spec: &InstanceSpec, log_level: u32) -> Result<Order, Refusal> {
    let isolation = spec.isolation.clone().unwrap_or_default();
    let account = isolation.user.map(|name| Account::find(&name).map_err(|problem| Refusal::User { name, problem }));
    Ok(Order {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        depth,
        plugin: plugin.to_owned(),
        instance: spec.name.clone(),
        config: spec.config.clone(),
        state_dir: spec.state_dir.clone(),
        path: library.path.clone(),
        sha256: library.sha256.clone(),
        identity: library.identity,
        log_level,
        account: account.transpose()?,
        writable: isolation.writable,
        lock_memory: isolation.lock_memory && depth == Depth::Run,
    })
}

/// A process that becomes another user, or may write to few places, cannot make its own directory any more.
fn prepare_state_dir(order: &Order) -> Result<(), Refusal> {
    if order.account.is_none() && order.writable.is_none() {
        return Ok(());
    }
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Refusal::Process(format!("cannot {what} {}: {error}", order.state_dir.display()))
    };
    std::fs::create_dir_all(&order.state_dir).map_err(|error| failed("make", &error))?;
    if let Some(account) = &order.account {
        std::os::unix::fs::chown(&order.state_dir, Some(account.uid), Some(account.gid))
            .map_err(|error| failed("give away", &error))?;
    }
    Ok(())
}

/// Opens the program that runs plugins.
fn open_host() -> Result<File, Refusal> {
    let own = std::env::current_exe().map_err(|error| Refusal::Process(format!("{HOST}: {error}")))?;
    let mut places = Vec::new();
    if let Some(directory) = own.parent() {
        places.push(directory.join(HOST));
        // Cargo puts tests into a directory below that of the programs.
        if directory.ends_with("deps") {
            places.extend(directory.parent().map(|above| above.join(HOST)));
        }
        places.extend(directory.parent().map(|prefix| prefix.join("libexec/cloudsnooze").join(HOST)));
    }
    places.extend(["/usr/libexec/cloudsnooze", "/usr/lib/cloudsnooze"].map(|place| Path::new(place).join(HOST)));
    places.iter().find_map(|place| File::open(place).ok()).ok_or_else(|| {
        let searched: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        Refusal::Process(format!("{HOST} is not installed; searched {}", searched.join(", ")))
    })
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
