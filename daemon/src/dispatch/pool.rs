//! The threads of dispatch: workers that call handlers, a timer that keeps their deadlines, an
//! attendant at normal priority for what may wait.
//!
//! Inputs: published events. Outputs: notes in the outbox. Threads: `publish`, `moved` and `withdrawn`
//! are called by real-time source threads only, because they take the lock that workers take; normal
//! threads give an [`Order`] to the pool's clerk. Must never log, touch a disk, or share that lock with
//! a thread of normal priority.

use super::engine::{Act, Engine, Job, Settings};
use super::outbox::{Note, Outbox};
use super::plan::Plan;
use super::run::{self, Desk};
use crate::event::{Event, EventId, Moment, Severity};
use crate::host::{CallCell, Instance};
use crate::queue::Queue;
use crate::sys::sched::{self, Grant};
use crate::sys::{clock, memory};
use crossbeam_queue::ArrayQueue;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// Events that run at the same time; urgent ones are never kept waiting.
const RUNS_MAX: usize = 64;
/// Stack of a pool thread, bytes.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// The timer looks at least this often while calls run: it also watches their use of CPU.
const TICK: Duration = Duration::from_millis(50);

type Shared = Arc<Instance>;

/// How the pool is made.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Workers.
    pub threads: usize,
    /// SCHED_FIFO priority asked for.
    pub rt_priority: u8,
    /// CPU time after which a call loses its real-time priority, nanoseconds.
    pub cpu_budget_ns: i64,
    /// Margins of the engine.
    pub settings: Settings,
}

/// What the attendant is asked to do.
enum Errand {
    /// Tell the plugin that its call was cancelled.
    Cancel(Shared, Arc<CallCell>, u32),
    /// A worker was given up: start another.
    Replace,
}

/// What a normal thread asks of the pool; carried out by a real-time thread.
pub enum Order {
    /// Publish an event with its plan.
    Publish(Arc<Event>, Arc<Plan<Shared>>),
    /// Withdraw an event.
    Withdraw(EventId),
    /// Keep these margins with what starts from now on.
    Settings(Settings),
    /// Run `warm_up` of these instances once on every worker.
    WarmUp(Vec<Shared>),
    /// Stop everything that runs.
    ShutDown,
}

struct Slot {
    job: Option<Job<Shared>>,
    wake: Arc<Condvar>,
    tid: i32,
    /// CPU time of the thread when its job began, nanoseconds; None once demoted.
    cpu_at_start_ns: Option<i64>,
    warm: Vec<Shared>,
}

/// A call that was handed over.
struct Ongoing {
    worker: usize,
    instance: Shared,
    /// What the plugin holds a pointer to; None until the worker has begun.
    cell: Option<Arc<CallCell>>,
    /// Told to stop: what the worker opens from now on is born cancelled.
    cancelled: Option<u32>,
}

struct State {
    queue: Queue<(Arc<Event>, Arc<Plan<Shared>>)>,
    engine: Engine<Shared>,
    slots: Vec<Slot>,
    idle: Vec<usize>,
    calls: HashMap<u64, Ongoing>,
    acts: Vec<Act<Shared>>,
    /// What happened since the timer last took it to the outbox, in order.
    notes: Vec<Note>,
}

struct Inner {
    config: PoolConfig,
    state: Mutex<State>,
    timer: Condvar,
    outbox: Arc<Outbox>,
    errands: ArrayQueue<Errand>,
    attendant: OnceLock<Thread>,
    orders: Mutex<Option<Sender<Order>>>,
    workers: AtomicUsize,
    grants: Mutex<Vec<Grant>>,
    abandoned: AtomicUsize,
    busy_events: AtomicUsize,
    stopping: AtomicBool,
}

/// The pool. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

impl Pool {
    /// Starts the workers, the timer and the attendant, and waits until every worker is ready.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(config: PoolConfig, outbox: Arc<Outbox>) -> std::io::Result<Self> {
        let state = State {
            queue: Queue::default(),
            engine: Engine::new(config.settings),
            slots: Vec::with_capacity(config.threads * 2),
            idle: Vec::with_capacity(config.threads * 2),
            calls: HashMap::with_capacity(config.threads * 2),
            acts: Vec::with_capacity(64),
            notes: Vec::with_capacity(256),
        };
        let (orders, inbox) = channel();
        let pool = Self(Arc::new(Inner {
            config,
            state: Mutex::new(state),
            timer: Condvar::new(),
            outbox,
            errands: ArrayQueue::new(256),
            attendant: OnceLock::new(),
            orders: Mutex::new(Some(orders)),
            workers: AtomicUsize::new(0),
            grants: Mutex::default(),
            abandoned: AtomicUsize::new(0),
            busy_events: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        }));
        for _ in 0..config.threads {
            pool.add_worker()?;
        }
        let timer = pool.clone();
        spawn("snooze-timer", move || timer.keep_time())?;
        let attendant = pool.clone();
        spawn("snooze-attend", move || attendant.attend())?;
        let clerk = pool.clone();
        spawn("snooze-clerk", move || clerk.take_orders(&inbox))?;
        Ok(pool)
    }

    fn add_worker(&self) -> std::io::Result<()> {
        let (pool, ready) = (self.clone(), std::sync::mpsc::sync_channel(1));
        let number = self.0.workers.fetch_add(1, Ordering::Relaxed);
        let told = ready.0;
        spawn(&format!("snooze-work-{number}"), move || pool.work(&told))?;
        // A worker that is not up yet would make the first event wait for it.
        let _ = ready.1.recv_timeout(Duration::from_secs(10));
        Ok(())
    }

    /// Starts workers until at least this many are alive: a wider plan came. For a normal thread.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn grow_to(&self, threads: usize) -> std::io::Result<()> {
        // Each worker that was given up is replaced by another, which counts as started too.
        let alive = self.0.workers.load(Ordering::Relaxed).saturating_sub(self.abandoned());
        (alive..threads).try_for_each(|_| self.add_worker())
    }

    /// Publishes an event with its plan. Real-time source threads only.
    pub fn publish(&self, event: Arc<Event>, plan: Arc<Plan<Shared>>) {
        let mut state = self.lock();
        if state.queue.push(event.severity, (Arc::clone(&event), plan)).is_err() {
            drop(state);
            self.0.outbox.push(Note::Refused(event));
            return;
        }
        state.notes.push(Note::Published(event));
        self.admit(&mut state);
        drop(state);
        // The timer has a new deadline to keep, and takes the notes out.
        self.0.timer.notify_one();
    }

    /// The cloud moved an event's deadline. Real-time source threads only.
    pub fn moved(&self, id: EventId, effective: Moment) {
        self.with_engine(|engine, now, acts| engine.moved(id, effective, now, acts));
    }

    /// The cloud withdrew an event. Real-time source threads only.
    pub fn withdrawn(&self, id: EventId) {
        self.with_engine(|engine, now, acts| engine.withdrawn(id, now, acts));
    }

    /// Gives an order from a normal thread.
    pub fn order(&self, order: Order) {
        let orders = self.0.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(orders) = &*orders {
            // The clerk lives as long as the pool.
            let _ = orders.send(order);
        }
    }

    /// Events in progress or waiting.
    pub fn events_busy(&self) -> usize {
        self.0.busy_events.load(Ordering::Acquire)
    }

    /// What each worker was granted.
    pub fn grants(&self) -> Vec<Grant> {
        self.0.grants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls given up since the start.
    pub fn abandoned(&self) -> usize {
        self.0.abandoned.load(Ordering::Relaxed)
    }

    fn with_engine(&self, decide: impl FnOnce(&mut Engine<Shared>, Moment, &mut Vec<Act<Shared>>)) {
        let mut state = self.lock();
        let State { engine, acts, .. } = &mut *state;
        decide(engine, clock::now(), acts);
        self.carry_out(&mut state);
        drop(state);
        self.0.timer.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes waiting events into the engine, the most severe first.
    fn admit(&self, state: &mut State) {
        loop {
            let full = state.engine.events_running() >= RUNS_MAX;
            let at_least = if full { Severity::Urgent } else { Severity::Info };
            let Some((event, plan)) = state.queue.pop(at_least) else { break };
            let State { engine, acts, .. } = state;
            engine.publish(event, plan, clock::now(), acts);
            self.carry_out(state);
        }
        self.count(state);
    }

    fn count(&self, state: &State) {
        let waiting: usize = state.queue.waiting().iter().sum();
        self.0.busy_events.store(state.engine.events_running() + waiting, Ordering::Release);
    }

    /// Does what the engine decided.
    fn carry_out(&self, state: &mut State) {
        let mut acts = std::mem::take(&mut state.acts);
        for act in acts.drain(..) {
            match act {
                Act::Start(job) => Self::hand_over(state, job),
                Act::Cancel { call, reason } => {
                    let Some(ongoing) = state.calls.get_mut(&call) else { continue };
                    ongoing.cancelled = Some(reason);
                    if let Some(cell) = &ongoing.cell {
                        cell.cancel(reason);
                        self.send(Errand::Cancel(Arc::clone(&ongoing.instance), Arc::clone(cell), reason));
                    }
                }
                Act::GiveUp { call } => {
                    // Taken out: by this the worker learns, should it ever come home, that it was replaced.
                    if let Some(Ongoing { worker, instance, .. }) = state.calls.remove(&call) {
                        let slot = &mut state.slots[worker];
                        if slot.cpu_at_start_ns.take().is_some() {
                            // Nobody watches any more what it burns.
                            sched::demote(slot.tid);
                        }
                        instance.give_up();
                        self.0.abandoned.fetch_add(1, Ordering::Relaxed);
                        self.send(Errand::Replace);
                    }
                }
                Act::Ended(id, report) => state.notes.push(Note::Ended(id, report)),
                Act::Done(report) => state.notes.push(Note::Done(report)),
            }
        }
        // Keeps its capacity: nothing is allocated on the next event.
        state.acts = acts;
        self.count(state);
    }

    /// The worker that became free last has the warmest cache.
    fn hand_over(state: &mut State, job: Job<Shared>) {
        let Some(worker) = state.idle.pop() else { return };
        let instance = Arc::clone(&job.handler.instance);
        state.calls.insert(job.call, Ongoing { worker, instance, cell: None, cancelled: None });
        state.notes.push(Note::Started(job.clone(), clock::boot_ns()));
        let slot = &mut state.slots[worker];
        slot.job = Some(job);
        slot.wake.notify_one();
    }

    fn send(&self, errand: Errand) {
        // Full only when the attendant hangs in a plugin; the flag in the call still tells it to stop.
        let _ = self.0.errands.push(errand);
        if let Some(attendant) = self.0.attendant.get() {
            attendant.unpark();
        }
    }

    fn work(&self, ready: &std::sync::mpsc::SyncSender<()>) {
        sched::block_all_signals();
        memory::touch_stack();
        let grant = sched::raise_current_thread(self.0.config.rt_priority);
        self.0.grants.lock().unwrap_or_else(PoisonError::into_inner).push(grant);
        let wake = Arc::new(Condvar::new());
        let mut state = self.lock();
        let me = state.slots.len();
        let tid = sched::thread_id();
        state.slots.push(Slot { job: None, wake: Arc::clone(&wake), tid, cpu_at_start_ns: None, warm: Vec::new() });
        state.idle.push(me);
        let State { engine, acts, .. } = &mut *state;
        engine.worker_free(clock::now(), acts);
        self.carry_out(&mut state);
        let _ = ready.send(());
        loop {
            if let Some(job) = state.slots[me].job.take() {
                state.slots[me].cpu_at_start_ns = sched::thread_cpu_ns(tid);
                let grace_ns = state.engine.settings().grace_ns;
                drop(state);
                let abandoned = self.call(me, &job, grace_ns);
                state = self.lock();
                if abandoned {
                    // Another worker took this one's place.
                    return;
                }
            } else if let Some(instance) = state.slots[me].warm.pop() {
                drop(state);
                instance.warm_up();
                state = self.lock();
            } else {
                state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Makes one call and brings its outcome home. Returns whether it had been given up.
    fn call(&self, me: usize, job: &Job<Shared>, grace_ns: i64) -> bool {
        let started = clock::boot_ns();
        let grace = Duration::from_nanos(u64::try_from(grace_ns).unwrap_or(0));
        let finished =
            catch_unwind(AssertUnwindSafe(|| run::run(job, self, grace))).unwrap_or_else(|_| run::broken(started));
        let mut state = self.lock();
        let demoted = state.slots[me].cpu_at_start_ns.take().is_none();
        let given_up = state.calls.remove(&job.call).is_none();
        if given_up {
            drop(state);
            let text = format!("answered {:?} after it had been given up", finished.ended);
            self.0.outbox.push(Note::Late { instance: job.handler.instance_name.clone(), text });
            return true;
        }
        if demoted {
            sched::raise_current_thread(self.0.config.rt_priority);
        }
        state.idle.push(me);
        let State { engine, acts, .. } = &mut *state;
        engine.finished(job.call, finished, clock::now(), acts);
        self.carry_out(&mut state);
        self.admit(&mut state);
        drop(state);
        // Another deadline may be the next one now.
        self.0.timer.notify_one();
        false
    }

    fn take_orders(&self, inbox: &Receiver<Order>) {
        sched::block_all_signals();
        sched::raise_current_thread(self.0.config.rt_priority);
        while let Ok(order) = inbox.recv() {
            match order {
                Order::Publish(event, plan) => self.publish(event, plan),
                Order::Withdraw(id) => self.withdrawn(id),
                Order::Settings(settings) => self.with_engine(|engine, _, _| engine.set_settings(settings)),
                Order::WarmUp(instances) => {
                    for slot in &mut self.lock().slots {
                        slot.warm.extend(instances.iter().cloned());
                        slot.wake.notify_one();
                    }
                }
                Order::ShutDown => {
                    self.with_engine(|engine, now, acts| engine.shut_down(now, acts));
                    self.0.stopping.store(true, Ordering::Release);
                    if let Some(attendant) = self.0.attendant.get() {
                        attendant.unpark();
                    }
                }
            }
        }
    }

    fn keep_time(&self) {
        sched::block_all_signals();
        sched::raise_current_thread(self.0.config.rt_priority);
        let mut notes = Vec::with_capacity(256);
        let mut state = self.lock();
        loop {
            let now = clock::now();
            let State { engine, acts, .. } = &mut *state;
            engine.tick(now, acts);
            let wake = engine.next_wake();
            self.carry_out(&mut state);
            self.watch_cpu(&mut state);
            if !state.notes.is_empty() {
                // Waking the reader is a system call each: not under the workers' lock.
                std::mem::swap(&mut state.notes, &mut notes);
                drop(state);
                for note in notes.drain(..) {
                    self.0.outbox.push(note);
                }
                state = self.lock();
                continue;
            }
            state = match wake {
                None => self.0.timer.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = u64::try_from(at - clock::boot_ns()).unwrap_or(0);
                    let wait = Duration::from_nanos(left).min(TICK);
                    self.0.timer.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// A handler may block, but not burn: beyond its CPU budget it runs on at normal priority.
    fn watch_cpu(&self, state: &mut State) {
        let budget = self.0.config.cpu_budget_ns;
        let State { slots, calls, .. } = state;
        for Ongoing { worker, instance, .. } in calls.values() {
            let slot = &mut slots[*worker];
            let used = slot.cpu_at_start_ns.and_then(|start| Some(sched::thread_cpu_ns(slot.tid)? - start));
            if used.is_some_and(|ns| ns > budget) {
                slot.cpu_at_start_ns = None;
                sched::demote(slot.tid);
                self.0.outbox.push(Note::Demoted { instance: instance.name.clone() });
            }
        }
    }

    /// Normal priority: what a plugin might hold up must not hold up the timer.
    fn attend(&self) {
        let _ = self.0.attendant.set(thread::current());
        while !self.0.stopping.load(Ordering::Acquire) || !self.0.errands.is_empty() {
            match self.0.errands.pop() {
                Some(Errand::Cancel(instance, cell, reason)) => {
                    // On a thread of its own: who hangs in on_cancel must not keep others from being told. Without
                    // one, the flag in the call still tells it to stop.
                    let _ = spawn("snooze-cancel", move || instance.cancel(&cell, reason));
                }
                Some(Errand::Replace) => {
                    let _ = self.add_worker();
                }
                None => thread::park(),
            }
        }
    }
}

impl Desk for Pool {
    fn call_is(&self, call: u64, cell: &Arc<CallCell>) {
        if let Some(ongoing) = self.lock().calls.get_mut(&call) {
            if let Some(reason) = ongoing.cancelled {
                cell.cancel(reason);
            }
            ongoing.cell = Some(Arc::clone(cell));
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    // Linux keeps 15 bytes of a thread's name.
    let name: String = name.chars().take(15).collect();
    thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(body).map(|_| ())
}
