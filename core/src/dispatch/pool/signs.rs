//! Signs of life of the pool: that the clerk takes orders, that the timer looks, that idle workers wake, that
//! no event waits which could be taken in.
//!
//! The question goes the way of an order: clerk, the pool's lock, the inbox of every idle worker. It is asked
//! now and then by a normal thread, and costs an event nothing that does not meet it.
//!
//! Inputs: questions of a normal thread. Outputs: for how long each answer has been owed. Must never ask a
//! worker that makes a call: how long that may take is the engine's to judge.

use super::crew::Worker;
use super::{Order, Pool, RUNS_MAX, State};
use crate::event::Severity;
use crate::sys::beat::Beat;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// What the pool's threads owe.
#[derive(Default)]
pub(super) struct Signs {
    pub(super) clerk: Beat,
    pub(super) timer: Beat,
    /// Owed since the detection of the oldest event that waits although it could be taken in.
    queue: Beat,
    /// Every worker and its number. Locked at the birth and end of one, and by normal threads.
    workers: Mutex<Vec<(usize, Arc<Worker>)>>,
}

/// A part of the pool, and for how long it has owed a sign of life, nanoseconds; 0: it owes none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The thread that takes the orders of normal threads.
    Clerk(i64),
    /// The thread that keeps deadlines.
    Timer(i64),
    /// The events that wait.
    Queue(i64),
    /// A worker without a call, and its number.
    Worker(usize, i64),
}

impl Signs {
    pub(super) fn born(&self, number: usize, worker: &Arc<Worker>) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push((number, Arc::clone(worker)));
    }

    pub(super) fn ended(&self, worker: &Arc<Worker>) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|(_, known)| !Arc::ptr_eq(known, worker));
    }

    /// The timer has looked at everything.
    pub(super) fn looked(&self, state: &State) {
        self.timer.give();
        let at_least = if state.engine.events_running() >= RUNS_MAX { Severity::Urgent } else { Severity::Info };
        match state.queue.first(at_least) {
            Some(waiting) => self.queue.give_and_promise(waiting.event.detected.boot_ns),
            None => self.queue.give(),
        }
    }
}

impl Pool {
    /// Asks every part for a sign of life, but one that still owes one. For a normal thread.
    pub fn ask_for_signs(&self) {
        if self.0.signs.clerk.ask() {
            self.order(Order::Sign);
        }
        if self.0.signs.timer.ask() {
            self.wake_timer();
        }
    }

    /// What each part owes at `now_boot_ns`, CLOCK_BOOTTIME. For a normal thread.
    pub fn signs(&self, now_boot_ns: i64) -> Vec<Sign> {
        let signs = &self.0.signs;
        let mut all = vec![
            Sign::Clerk(signs.clerk.owed_ns(now_boot_ns)),
            Sign::Timer(signs.timer.owed_ns(now_boot_ns)),
            Sign::Queue(signs.queue.owed_ns(now_boot_ns)),
        ];
        let workers = signs.workers.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(workers.iter().map(|(number, worker)| Sign::Worker(*number, worker.beat.owed_ns(now_boot_ns))));
        all
    }

    /// The clerk's own sign, and the question to the idle workers.
    pub(super) fn pass_the_question_on(&self) {
        self.0.signs.clerk.give();
        // Had before the lock is taken.
        let mut asked = Vec::with_capacity(self.0.workers.load(Ordering::Relaxed));
        let state = self.lock();
        // In the lock, so that a call can only come behind the question; who is woken, outside of it.
        asked.extend(state.idle.iter().map(|number| &state.workers[*number]).filter(|w| w.ask()).cloned());
        drop(state);
        asked.iter().for_each(|worker: &Arc<Worker>| worker.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::engine::Settings;
    use crate::dispatch::outbox::Outbox;
    use crate::dispatch::pool::PoolConfig;
    use crate::sys::clock;
    use std::time::{Duration, Instant};

    fn pool(threads: usize) -> Pool {
        let settings = Settings { margin_ns: 0, grace_ns: 0, immediate_ns: 0 };
        let config = PoolConfig { threads, rt_priority: 1, home_cpu: None, cpu_budget_ns: 50_000_000, settings };
        Pool::start(config, Arc::new(Outbox::default())).expect("threads")
    }

    fn who_owes(pool: &Pool) -> Vec<Sign> {
        let owes = |sign: &Sign| match *sign {
            Sign::Clerk(ns) | Sign::Timer(ns) | Sign::Queue(ns) | Sign::Worker(_, ns) => ns > 0,
        };
        pool.signs(clock::boot_ns()).into_iter().filter(owes).collect()
    }

    fn comes_true(what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn every_part_answers_when_asked_and_who_cannot_get_on_owes() {
        let pool = pool(2);
        assert_eq!(pool.signs(0).len(), 5);
        for _ in 0..100 {
            pool.ask_for_signs();
            comes_true("all answer", || who_owes(&pool).is_empty());
        }
        // Whoever holds the state holds up the timer and the question to the workers; the clerk has answered by then.
        let state = pool.lock();
        pool.ask_for_signs();
        comes_true("the timer owes", || matches!(who_owes(&pool)[..], [Sign::Timer(_)]));
        drop(state);
        comes_true("all answer again", || who_owes(&pool).is_empty());
    }

    #[test]
    fn a_worker_that_does_not_come_back_owes_and_the_others_do_not() {
        let pool = pool(2);
        let state = pool.lock();
        let workers: Vec<Arc<Worker>> = state.workers.to_vec();
        drop(state);
        let before = workers[0].beat.owed_ns(i64::MAX);
        assert!(before == 0 && workers[0].beat.ask(), "it is asked, but never told");
        for _ in 0..10 {
            pool.ask_for_signs();
            comes_true("one owes", || matches!(who_owes(&pool)[..], [Sign::Worker(0, _)]));
        }
    }
}
