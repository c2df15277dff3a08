//! The workers: what each is given, and how it makes a call.
//!
//! Inputs: tasks in a worker's inbox. Outputs: outcomes brought home to the engine. Must never wait, from
//! its waking to the plugin's own code, for a lock or for memory that a normal thread may hold.

use super::super::engine::Job;
use super::super::outbox::Note;
use super::super::report::Finished;
use super::super::run;
use super::{Pool, Role, Shared, spawn};
use crate::host::CallCell;
use crate::sys::beat::Beat;
use crate::sys::sched::{self, Class, Grant};
use crate::sys::{clock, memory};
use crossbeam_queue::ArrayQueue;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// Longest that a handler which promised not to block may take, nanoseconds: what keeps the thread that
/// reads notices from its next poll.
pub(super) const INLINE_MAX_NS: i64 = 1_000_000;

/// Tasks an inbox holds: one call, and what else comes with it.
const INBOX_MAX: usize = 16;

/// What a worker is given.
pub(super) enum Task {
    /// A call of its own.
    Call(Job<Shared>, Arc<CallCell>),
    /// Touch what these instances will need.
    WarmUp(Arc<[Shared]>),
    /// Give a sign of life.
    Sign,
}

/// One worker, as others see it.
pub(super) struct Worker {
    thread: Thread,
    tid: i32,
    inbox: ArrayQueue<Task>,
    /// Since when it has a call that it has not begun, CLOCK_BOOTTIME nanoseconds; 0 = it has none.
    waits_since_ns: AtomicI64,
    /// CPU time of the thread before its present call, nanoseconds.
    cpu_before_ns: AtomicI64,
    /// Lost its real-time priority in the present call.
    demoted: AtomicBool,
    /// May run on any CPU in the present call.
    is_away: AtomicBool,
    /// The sign of life that it owes.
    pub(super) beat: Beat,
}

impl Worker {
    fn new() -> Self {
        let tid = sched::thread_id();
        Self {
            thread: thread::current(),
            tid,
            inbox: ArrayQueue::new(INBOX_MAX),
            waits_since_ns: AtomicI64::new(0),
            cpu_before_ns: AtomicI64::new(sched::thread_cpu_ns(tid).unwrap_or(0)),
            demoted: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            beat: Beat::default(),
        }
    }

    /// Has it touch what these instances will need.
    pub(super) fn warm_up(&self, instances: Arc<[Shared]>) {
        // It may be lost; a worker has one call of its own at a time, and that must find room.
        if self.inbox.len() < INBOX_MAX / 2 {
            let _ = self.inbox.push(Task::WarmUp(instances));
            self.wake();
        }
    }

    /// Puts the question for a sign of life into the inbox, unless the last one is still there. Who asks wakes it afterwards.
    pub(super) fn ask(&self) -> bool {
        self.inbox.len() < INBOX_MAX / 2 && self.beat.ask() && self.inbox.push(Task::Sign).is_ok()
    }

    /// Has it look into its inbox.
    pub(super) fn wake(&self) {
        self.thread.unpark();
    }

    /// Gives it a call of its own at `now_ns`, CLOCK_BOOTTIME. Who gives it wakes it afterwards.
    pub(super) fn give_call(&self, job: Job<Shared>, cell: Arc<CallCell>, now_ns: i64) {
        self.waits_since_ns.store(now_ns, Ordering::Release);
        let _ = self.inbox.push(Task::Call(job, cell));
    }

    /// Since when it has a call that it has not begun; None when it has none.
    pub(super) fn waits_since_ns(&self) -> Option<i64> {
        Some(self.waits_since_ns.load(Ordering::Acquire)).filter(|ns| *ns != 0)
    }

    /// Lets it run on these CPUs until its next call is over.
    pub(super) fn send_away(&self, cpus: &[u32]) {
        if !self.is_away.swap(true, Ordering::AcqRel) {
            sched::place(self.tid, cpus);
        }
    }

    /// Whether the present call has used more CPU time than this, at real-time priority.
    pub(super) fn burnt(&self, budget_ns: i64) -> bool {
        let used = || sched::thread_cpu_ns(self.tid).map(|ns| ns - self.cpu_before_ns.load(Ordering::Relaxed));
        !self.demoted.load(Ordering::Relaxed) && used().is_some_and(|ns| ns > budget_ns)
    }

    /// Takes its real-time priority away until its call is over.
    pub(super) fn demote(&self, everywhere: &[u32]) {
        if !self.demoted.swap(true, Ordering::AcqRel) {
            sched::demote(self.tid);
            // A normal thread is nobody's neighbour on the home CPU.
            self.send_away(everywhere);
        }
    }
}

impl Pool {
    /// Starts a worker and waits until it is ready. For a normal thread.
    pub(super) fn add_worker(&self) -> std::io::Result<()> {
        let (pool, (told, ready)) = (self.clone(), sync_channel(1));
        let number = self.0.workers.fetch_add(1, Ordering::Relaxed);
        spawn(&format!("snooze-work-{number}"), move || pool.work(number, &told))?;
        // A worker that is not up yet would make the first event wait for it.
        let _ = ready.recv_timeout(Duration::from_secs(10));
        Ok(())
    }

    /// Real-time scheduling for the calling thread, and its place on the home CPU. Without real-time
    /// priority there is no home: a normal thread must be free to leave a busy CPU.
    pub(super) fn raise(&self, class: Class) -> Grant {
        sched::block_all_signals();
        memory::touch_stack();
        let grant = sched::raise_current_thread(class, self.0.config.rt_priority);
        if grant.is_real_time() {
            self.go_home();
        }
        grant
    }

    fn go_home(&self) {
        if let Some(cpu) = self.0.config.home_cpu {
            sched::place(0, &[cpu]);
        }
    }

    fn work(&self, number: usize, ready: &SyncSender<()>) {
        let grant = self.raise(Class::RoundRobin);
        self.0.grants.lock().unwrap_or_else(PoisonError::into_inner).push(grant);
        let worker = Arc::new(Worker::new());
        self.0.signs.born(number, &worker);
        let mut state = self.lock();
        let me = state.workers.len();
        state.workers.push(Arc::clone(&worker));
        state.idle.push(me);
        let super::State { engine, acts, .. } = &mut *state;
        engine.worker_free(clock::now(), acts);
        self.carry_out(&mut state);
        self.let_go(state, Role::Worker);
        let _ = ready.send(());
        loop {
            match worker.inbox.pop() {
                Some(Task::Call(job, cell)) => {
                    worker.waits_since_ns.store(0, Ordering::Release);
                    if self.call(me, &worker, &job, cell) {
                        // Another worker took this one's place.
                        return self.0.signs.ended(&worker);
                    }
                }
                Some(Task::WarmUp(instances)) => instances.iter().for_each(|instance| instance.warm_up()),
                Some(Task::Sign) => worker.beat.give(),
                None => thread::park(),
            }
        }
    }

    /// One call with its attempts; a panic of our own code around it is an outcome like any other.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub(super) fn attempt(&self, job: &Job<Shared>, cell: Arc<CallCell>) -> Finished {
        let grace = self.grace();
        catch_unwind(AssertUnwindSafe(|| run::run(job, cell, self, grace)))
            .unwrap_or_else(|_| run::broken(job, clock::boot_ns()))
    }

    /// Makes one call and brings its outcome home. Returns whether it had been given up.
    fn call(&self, me: usize, worker: &Worker, job: &Job<Shared>, cell: Arc<CallCell>) -> bool {
        let finished = self.attempt(job, cell);
        worker.cpu_before_ns.store(sched::thread_cpu_ns(worker.tid).unwrap_or(0), Ordering::Relaxed);
        // Before the lock: a thread of normal priority must not hold up the others while it has it. And in it again:
        // until now the timer could take the priority away.
        self.restore(worker);
        let mut state = self.lock();
        let Some(at) = state.calls.iter().position(|c| c.call == job.call) else {
            drop(state);
            self.0.outbox.push(late(job, &finished));
            return true;
        };
        state.calls.swap_remove(at);
        self.restore(worker);
        state.idle.push(me);
        self.take_home(&mut state, job.call, finished);
        self.let_go(state, Role::Worker);
        false
    }

    /// Gives a worker back what it lost in its call.
    fn restore(&self, worker: &Worker) {
        if worker.demoted.load(Ordering::Acquire) {
            sched::raise_current_thread(Class::RoundRobin, self.0.config.rt_priority);
            worker.demoted.store(false, Ordering::Release);
        }
        if worker.is_away.swap(false, Ordering::AcqRel) {
            self.go_home();
        }
    }
}

/// What is told of a call that came home after it had been given up.
pub(super) fn late(job: &Job<Shared>, finished: &Finished) -> Note {
    let text = format!("answered {:?} after it had been given up", finished.ended);
    Note::Late { instance: job.handler.instance_name.clone(), text }
}
