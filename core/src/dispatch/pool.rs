//! The threads of dispatch: workers that call handlers (`crew`), a timer that keeps their deadlines
//! (`timer`), calls that need no worker (`inline`), what is fetched ahead of an event (`approach`), a clerk
//! that takes the orders of normal threads, an attendant at normal priority for what may wait.
//!
//! Inputs: published events. Outputs: notes in the outbox. Threads: `publish`, `moved` and `withdrawn`
//! are called by real-time source threads only, because they take the lock that workers take; normal
//! threads give an [`Order`] to the pool's clerk. Must never log, touch a disk, or share that lock with
//! a thread of normal priority.
//!
//! Placement: the wake-up of a thread on another CPU costs ten times that of one on the same CPU, idle or
//! loaded. So sources, clerk and workers live on one CPU, the home: whoever publishes wakes a worker there
//! and gives way. A worker that cannot begin because a busy handler holds the home CPU is let go to the
//! others by the timer, which lives on those and stands above them all.

mod approach;
mod crew;
mod inline;
mod signs;
mod timer;

pub use signs::Sign;

use super::engine::{Act, Earlier, Engine, Job, Settings};
use super::outbox::{Note, Outbox};
use super::plan::Plan;
use super::run::{self, Desk};
use crate::event::{Event, EventId, Moment, Severity};
use crate::host::{CallCell, Instance, stock_up};
use crate::queue::Queue;
use crate::sys::clock;
use crate::sys::sched::{self, Class, Grant};
use crew::Worker;
use crossbeam_queue::ArrayQueue;
use inline::Begun;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::Duration;

/// Events that run at the same time; urgent ones are never kept waiting.
const RUNS_MAX: usize = 64;
/// Stack of a pool thread, bytes.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// Notes that fit before more memory is needed: those of a flood between two rounds of the timer.
const NOTES_ROOM: usize = 4096;

/// Calls of isolated plugins that the publisher itself begins; beyond them the workers do.
const POSTED_MAX: usize = 64;

/// Looks at a taken lock before the CPU is given away, and for how long it is: longer than it is ever held.
const LOOKS: u32 = 256;
const LOOK_AGAIN: Duration = Duration::from_micros(20);

type Shared = Arc<Instance>;

/// How the pool is made.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Workers.
    pub threads: usize,
    /// Real-time priority asked for; the timer stands one above it.
    pub rt_priority: u8,
    /// The home CPU; None: threads run wherever the kernel puts them.
    pub home_cpu: Option<u32>,
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
    /// Take an event up again of which an earlier process did a part.
    Resume(Arc<Event>, Arc<Plan<Shared>>, Earlier),
    /// Withdraw an event.
    Withdraw(EventId),
    /// Keep these margins with what starts from now on.
    Settings(Settings),
    /// Run `warm_up` of these instances once on every worker.
    WarmUp(Vec<Shared>),
    /// Give a sign of life, and have the idle workers give theirs.
    Sign,
    /// Stop everything that runs.
    ShutDown,
}

/// A call that was handed over.
struct Ongoing {
    call: u64,
    /// None: the thread that published the event makes it.
    worker: Option<usize>,
    instance: Shared,
    /// What the plugin holds a pointer to.
    cell: Arc<CallCell>,
    /// Told to stop: what another attempt opens from now on is born cancelled.
    cancelled: Option<u32>,
    is_self_test: bool,
}

/// An event on its way into the engine.
struct Waiting {
    event: Arc<Event>,
    plan: Arc<Plan<Shared>>,
    /// What an earlier process did of it; None: nobody saw it before.
    earlier: Option<Earlier>,
}

struct State {
    queue: Queue<Waiting>,
    engine: Engine<Shared>,
    workers: Vec<Arc<Worker>>,
    idle: Vec<usize>,
    calls: Vec<Ongoing>,
    acts: Vec<Act<Shared>>,
    /// A call that runs ahead of what is noted of its event.
    begun: Option<Begun>,
    /// Jobs handed to workers since the lock was taken.
    handed: usize,
    /// What happened since the timer last took it to the outbox, in order.
    notes: Vec<Note>,
    /// When the timer looks next by itself, CLOCK_BOOTTIME nanoseconds.
    timer_looks_at: i64,
}

/// Who holds the state: what it may do after letting go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Has an event, and may step aside for a worker.
    Publisher,
    /// Goes on with its own next job.
    Worker,
}

struct Inner {
    config: PoolConfig,
    /// The CPUs that the process may use.
    everywhere: Vec<u32>,
    state: Mutex<State>,
    outbox: Arc<Outbox>,
    errands: ArrayQueue<Errand>,
    /// Calls put down in processes of isolated plugins, which are told, as are the workers that wait for their answers,
    /// when the state is free again.
    posted: ArrayQueue<(Arc<CallCell>, Arc<Worker>)>,
    attendant: OnceLock<Thread>,
    timer: OnceLock<Thread>,
    orders: Mutex<Option<Sender<Order>>>,
    grace_ns: AtomicI64,
    workers: AtomicUsize,
    grants: Mutex<Vec<Grant>>,
    abandoned: AtomicUsize,
    /// An inline call was given up: its thread, which somebody needs, may never come home.
    lost_publisher: AtomicBool,
    busy_events: AtomicUsize,
    stopping: AtomicBool,
    signs: signs::Signs,
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
        let room = config.threads * 2 + 16;
        let state = State {
            queue: Queue::default(),
            engine: Engine::new(config.settings),
            workers: Vec::with_capacity(room),
            idle: Vec::with_capacity(room),
            calls: Vec::with_capacity(room),
            acts: Vec::with_capacity(64),
            begun: None,
            handed: 0,
            notes: Vec::with_capacity(NOTES_ROOM),
            timer_looks_at: i64::MAX,
        };
        let (orders, inbox) = channel();
        let pool = Self(Arc::new(Inner {
            grace_ns: AtomicI64::new(config.settings.grace_ns),
            config,
            everywhere: sched::allowed_cpus(),
            state: Mutex::new(state),
            outbox,
            errands: ArrayQueue::new(256),
            posted: ArrayQueue::new(POSTED_MAX),
            attendant: OnceLock::new(),
            timer: OnceLock::new(),
            orders: Mutex::new(Some(orders)),
            workers: AtomicUsize::new(0),
            grants: Mutex::default(),
            abandoned: AtomicUsize::new(0),
            lost_publisher: AtomicBool::new(false),
            busy_events: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            signs: signs::Signs::default(),
        }));
        for _ in 0..pool.0.config.threads {
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

    /// Starts workers until at least this many are alive: a wider plan came. For a normal thread.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn grow_to(&self, threads: usize) -> std::io::Result<()> {
        // Each worker that was given up is replaced by another, which counts as started too.
        let alive = self.0.workers.load(Ordering::Relaxed).saturating_sub(self.abandoned());
        (alive..threads).try_for_each(|_| self.add_worker())
    }

    /// Publishes an event with its plan. Real-time source threads only: handlers that promised not to block
    /// run on the calling thread before this returns.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub fn publish(&self, event: Arc<Event>, plan: Arc<Plan<Shared>>) {
        let mut state = self.lock();
        if let Some((job, cell)) = self.begin(&mut state, &event, &plan) {
            drop(state);
            let state = self.run_inline(&job, cell);
            return self.let_go(state, Role::Publisher);
        }
        self.enqueue(state, Waiting { event, plan, earlier: None });
    }

    /// Takes an event in, at once or when the crowd before it has gone.
    fn enqueue(&self, mut state: MutexGuard<'_, State>, waiting: Waiting) {
        // Told of first, written down last: nothing that can wait stands before the handler.
        let (first_note, event) = (state.notes.len(), Arc::clone(&waiting.event));
        let note = if waiting.earlier.is_some() { Note::Resumed } else { Note::Published };
        // The queue is for when there is a crowd.
        if state.queue.is_empty() && state.engine.events_running() < RUNS_MAX {
            self.take_in(&mut state, waiting);
        } else if state.queue.push(event.severity, waiting).is_ok() {
            self.admit(&mut state);
        } else {
            drop(state);
            self.0.outbox.push(Note::Refused(event));
            return;
        }
        state.notes.insert(first_note, note(event));
        self.let_go(state, Role::Publisher);
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

    /// Makes the calling thread one that may publish: real-time, on the home CPU.
    pub fn join_publishers(&self) -> Grant {
        self.raise(Class::Fifo)
    }

    /// Events in progress or waiting.
    pub fn events_busy(&self) -> usize {
        self.0.busy_events.load(Ordering::Acquire)
    }

    /// What each worker was granted.
    pub fn grants(&self) -> Vec<Grant> {
        self.0.grants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The CPU that publishers and workers share; None when they run anywhere.
    pub fn home_cpu(&self) -> Option<u32> {
        self.0.config.home_cpu.filter(|_| self.grants().iter().all(|grant| grant.is_real_time()))
    }

    /// Calls given up since the start.
    pub fn abandoned(&self) -> usize {
        self.0.abandoned.load(Ordering::Relaxed)
    }

    /// For a normal thread, about once a second: wakes the timer while events are in progress, should the thread
    /// that was to do it hang in an inline call.
    pub fn look_after(&self) {
        if self.events_busy() > 0 {
            self.wake_timer();
        }
    }

    /// For a normal thread: has the timer take what happened to the outbox now.
    pub fn hand_notes_over(&self) {
        self.wake_timer();
    }

    /// Whether an inline call was given up since this was last asked: the thread that published its event
    /// may hang in it for ever.
    pub fn take_lost_publisher(&self) -> bool {
        self.0.lost_publisher.swap(false, Ordering::AcqRel)
    }

    fn grace(&self) -> Duration {
        duration(self.0.grace_ns.load(Ordering::Relaxed))
    }

    fn with_engine(&self, decide: impl FnOnce(&mut Engine<Shared>, Moment, &mut Vec<Act<Shared>>)) {
        let mut state = self.lock();
        let State { engine, acts, .. } = &mut *state;
        decide(engine, clock::now(), acts);
        self.carry_out(&mut state);
        self.let_go(state, Role::Publisher);
    }

    /// Takes the state. Nobody sleeps in the lock, so that letting go of it never has to wake anybody: that
    /// would be a system call, and an interrupt of another CPU, between a notice and its handler. It is held
    /// for microseconds; who finds it taken looks again, and gives way in case the holder needs this CPU.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock_as_it_is();
        if state.begun.is_some() {
            self.catch_up(&mut state);
        }
        state
    }

    fn lock_as_it_is(&self) -> MutexGuard<'_, State> {
        loop {
            for _ in 0..LOOKS {
                match self.0.state.try_lock() {
                    Ok(state) => return state,
                    Err(TryLockError::Poisoned(state)) => return state.into_inner(),
                    Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
                }
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Takes waiting events into the engine, the most severe first.
    fn admit(&self, state: &mut State) {
        loop {
            let full = state.engine.events_running() >= RUNS_MAX;
            let at_least = if full { Severity::Urgent } else { Severity::Info };
            let Some(waiting) = state.queue.pop(at_least) else { break };
            self.take_in(state, waiting);
        }
    }

    fn take_in(&self, state: &mut State, waiting: Waiting) {
        let State { engine, acts, .. } = state;
        let Waiting { event, plan, earlier } = waiting;
        engine.publish(event, plan, earlier.unwrap_or_default(), clock::now(), acts);
        self.carry_out(state);
    }

    /// Does what the engine decided.
    fn carry_out(&self, state: &mut State) {
        let mut acts = std::mem::take(&mut state.acts);
        for act in acts.drain(..) {
            match act {
                Act::Start(job) => self.hand_over(state, job),
                Act::Cancel { call, reason } => {
                    let Some(ongoing) = state.calls.iter_mut().find(|c| c.call == call) else { continue };
                    ongoing.cancelled = Some(reason);
                    ongoing.cell.cancel(reason);
                    self.send(Errand::Cancel(Arc::clone(&ongoing.instance), Arc::clone(&ongoing.cell), reason));
                }
                Act::GiveUp { call } => self.give_up(state, call),
                Act::Ended(event, outcome) => state.notes.push(Note::Ended(event, outcome)),
                Act::Done(closed) => state.notes.push(Note::Done(closed)),
            }
        }
        // Keeps its capacity: nothing is allocated on the next event.
        state.acts = acts;
        let waiting: usize = state.queue.waiting().iter().sum();
        self.0.busy_events.store(state.engine.events_running() + waiting, Ordering::Release);
    }

    /// The worker that became free last has the warmest cache.
    fn hand_over(&self, state: &mut State, job: Job<Shared>) {
        let Some(number) = state.idle.pop() else { return };
        let (instance, cell) = (Arc::clone(&job.handler.instance), run::open(&job, 1));
        let (told, now_ns) = (job.clone(), clock::boot_ns());
        let ongoing = Ongoing {
            call: job.call,
            worker: Some(number),
            instance,
            cell: Arc::clone(&cell),
            cancelled: None,
            is_self_test: job.event.is_self_test(),
        };
        state.calls.push(ongoing);
        let worker = &state.workers[number];
        let is_posted = self.post(&job, &cell, worker);
        worker.give_call(job, cell, now_ns);
        if !is_posted {
            worker.wake();
        }
        state.handed += 1;
        state.notes.push(Note::Started(told, now_ns));
    }

    /// Puts the call of an isolated plugin down ahead of its worker. False: the worker does it.
    fn post(&self, job: &Job<Shared>, cell: &Arc<CallCell>, worker: &Arc<Worker>) -> bool {
        // Nobody else pushes while this thread has the state: there is still room afterwards.
        !self.0.posted.is_full()
            && job.handler.instance.post(&job.event, job.seq, job.granted, cell, self.grace())
            && self.0.posted.push((Arc::clone(cell), Arc::clone(worker))).is_ok()
    }

    /// Tells the processes of calls that were put down, gives way to each, then wakes the worker that waits for the answer.
    /// Not under the lock. A process that burns has the CPU for a slice at most (sched(7), SCHED_RR) before this goes on.
    fn begin_posted(&self) {
        while let Some((cell, worker)) = self.0.posted.pop() {
            if let Some(process) = cell.posted() {
                process.begin(&cell);
                sched::give_way();
            }
            worker.wake();
        }
    }

    fn give_up(&self, state: &mut State, call: u64) {
        // Taken out: by this the thread learns, should it ever come home, that it was given up.
        let Some(at) = state.calls.iter().position(|c| c.call == call) else { return };
        let Ongoing { worker, instance, .. } = state.calls.swap_remove(at);
        instance.give_up();
        self.0.abandoned.fetch_add(1, Ordering::Relaxed);
        match worker {
            Some(number) => {
                // Nobody watches any more what it burns.
                state.workers[number].demote(&self.0.everywhere);
                self.send(Errand::Replace);
            }
            None => self.0.lost_publisher.store(true, Ordering::Release),
        }
    }

    /// Lets go of the state and does what was left for afterwards: the timer's attention, and way for the workers
    /// that were woken.
    fn let_go(&self, mut state: MutexGuard<'_, State>, role: Role) {
        let handed = std::mem::take(&mut state.handed);
        // Somebody may have to wait for the home CPU behind somebody else: the timer is to see to it.
        let crowded = handed > 0 && state.calls.len() > 1;
        let timer_is_late = Self::timer_is_late(&mut state, crowded);
        drop(state);
        if timer_is_late && crowded {
            self.wake_timer();
        }
        self.begin_posted();
        if handed > 0 && role == Role::Publisher {
            sched::give_way();
        }
        if timer_is_late && !crowded {
            self.wake_timer();
        }
        stock_up();
    }

    fn take_home(&self, state: &mut State, call: u64, finished: super::report::Finished) {
        let State { engine, acts, .. } = state;
        engine.finished(call, finished, clock::now(), acts);
        self.carry_out(state);
        self.admit(state);
    }

    fn send(&self, errand: Errand) {
        // Full only when the attendant hangs in a plugin; the flag in the call still tells it to stop.
        let _ = self.0.errands.push(errand);
        if let Some(attendant) = self.0.attendant.get() {
            attendant.unpark();
        }
    }

    fn take_orders(&self, inbox: &Receiver<Order>) {
        self.join_publishers();
        while let Ok(order) = inbox.recv() {
            match order {
                Order::Publish(event, plan) => self.publish(event, plan),
                Order::Resume(event, plan, earlier) => {
                    self.enqueue(self.lock(), Waiting { event, plan, earlier: Some(earlier) });
                }
                Order::Withdraw(id) => self.withdrawn(id),
                Order::Settings(settings) => {
                    self.0.grace_ns.store(settings.grace_ns, Ordering::Relaxed);
                    self.with_engine(|engine, _, _| engine.set_settings(settings));
                }
                Order::WarmUp(instances) => {
                    let instances: Arc<[Shared]> = instances.into();
                    for worker in &self.lock().workers {
                        worker.warm_up(Arc::clone(&instances));
                    }
                }
                Order::Sign => self.pass_the_question_on(),
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
    fn call_is(&self, job: &Job<Shared>, cell: &Arc<CallCell>) {
        let mut state = self.lock();
        if let Some(ongoing) = state.calls.iter_mut().find(|c| c.call == job.call) {
            if let Some(reason) = ongoing.cancelled {
                cell.cancel(reason);
            }
            ongoing.cell = Arc::clone(cell);
        }
        state.notes.push(Note::Again(job.clone(), cell.attempt()));
        self.let_go(state, Role::Worker);
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    // Linux keeps 15 bytes of a thread's name.
    let name: String = name.chars().take(15).collect();
    thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(body).map(|_| ())
}

/// Nanoseconds as a duration; negative ones are none.
fn duration(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}
