//! The thread that has commands run.
//!
//! Inputs: an [`Order`]. Outputs: [`Ran`]. The thread is started when the instance is activated, so commands have the
//! daemon's CPUs and a normal priority, where a pool thread has neither, and a flood of output costs no real-time thread
//! anything. Must never come back while a process of the command's group is alive, unless the kernel cannot end it.

use crate::group::{self, Ended};
use crate::run::{Order, Ran, run};
use nix::unistd::Pid;
use rustix::process::{getpriority_process, setpriority_process};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// What became of an order, or why it could not be begun.
pub type Answer = Result<Ran, String>;

/// The thread. One command at a time, as the host makes one call at a time.
pub struct Runner {
    name: &'static str,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where orders and answers are handed over.
#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    is_open: bool,
    order: Option<Arc<Order>>,
    answer: Option<Answer>,
}

impl Runner {
    /// None yet; the thread will have this name, of 15 bytes at most.
    pub fn new(name: &'static str) -> Self {
        Self { name, shared: Arc::default(), thread: Mutex::default() }
    }

    /// Starts it.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        *self.shared.desk() = Desk { is_open: true, ..Desk::default() };
        let spawned = Builder::new().name(self.name.to_owned()).spawn(move || shared.serve());
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawned?);
        Ok(())
    }

    /// Has a command run; false when there is no thread, or when it is still at the one before.
    pub fn order(&self, order: &Arc<Order>) -> bool {
        let mut desk = self.shared.desk();
        if !desk.is_open || desk.order.is_some() {
            return false;
        }
        // An answer that nobody waited for any more may lie there.
        (desk.order, desk.answer) = (Some(Arc::clone(order)), None);
        self.shared.changed.notify_all();
        true
    }

    /// Waits for the answer; None when there is none in this time.
    pub fn answer(&self, limit: Duration) -> Option<Answer> {
        let desk = self.shared.desk();
        let waited = self.shared.changed.wait_timeout_while(desk, limit, |desk| desk.answer.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.answer.take()
    }

    /// Ends it and joins it.
    pub fn stop(&self) {
        self.shared.desk().is_open = false;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It can only have panicked in a way that the panic hook has told.
            let _ended = thread.join();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        // A daemon that was refused real-time scheduling runs at a negative nice value, which is handed down.
        if getpriority_process(None).is_ok_and(|nice| nice < 0) {
            let _set = setpriority_process(None, 0);
        }
        // Those that did not end; nobody else waits for them.
        let mut stuck: Vec<Pid> = Vec::new();
        while let Some(order) = self.next() {
            stuck.retain(|pid| group::reap(*pid) == Ended::Stuck);
            let ran = run(&order);
            stuck.extend(ran.as_ref().ok().filter(|ran| ran.ended == Ended::Stuck).map(|ran| ran.leader));
            // Before the answer: so it is freed by the thread that made it. Freed here, its pieces would pile up in this
            // thread's store of free memory.
            drop(order);
            let mut desk = self.desk();
            (desk.order, desk.answer) = (None, Some(ran));
            self.changed.notify_all();
        }
        stuck.retain(|pid| group::reap(*pid) == Ended::Stuck);
    }

    /// Waits for an order; None when it is time to end.
    fn next(&self) -> Option<Arc<Order>> {
        let desk = self.desk();
        let waited = self.changed.wait_while(desk, |desk| desk.is_open && desk.order.is_none());
        let desk = waited.unwrap_or_else(PoisonError::into_inner);
        if desk.is_open { desk.order.clone() } else { None }
    }
}
