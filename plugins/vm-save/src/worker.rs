//! The thread that does the work of an instance.
//!
//! Inputs: work, and what to do in between. Outputs: what the work gives. It is started when the instance is activated, so
//! that programs it starts have the daemon's CPUs and a normal priority, where a pool thread has neither; the pool thread
//! only waits, and passes the host's cancellation on. Must never keep the pool thread waiting for a disk that is stuck.

use crate::clock::{Clock, Flag};
use cloudsnooze_plugin::{Call, Code, Error};
use rustix::process::{getpriority_process, setpriority_process};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Kept back for the report, at most.
const RESERVE: Duration = Duration::from_millis(100);
/// How often the host's flag is passed on.
const FLAG_PASS: Duration = Duration::from_millis(10);
/// From a cancellation to giving up on the thread: the host waits for a quarter of a second.
const CANCEL_GRACE: Duration = Duration::from_millis(200);
/// How long the thread may take to turn to the next work, at most.
const TURNING: Duration = Duration::from_secs(3);
/// Between two rounds of what is done in between.
const ROUND: Duration = Duration::from_secs(3600);

type Work = Box<dyn FnOnce() + Send>;

/// The thread. One piece of work at a time, as the host makes one call at a time.
#[derive(Default)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where work is handed over.
#[derive(Default)]
pub(crate) struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    is_open: bool,
    is_busy: bool,
    work: Option<Work>,
}

impl Worker {
    /// Starts it. `between` is what it does at once and every hour, while nobody wants anything else of it: it asks the
    /// desk whether somebody does.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(&self, between: impl Fn(&Shared) + Send + 'static) -> Result<(), Error> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return Ok(());
        }
        *self.shared.desk() = Desk { is_open: true, ..Desk::default() };
        let shared = Arc::clone(&self.shared);
        let spawned = Builder::new().name("vm-work".to_owned()).spawn(move || shared.serve(&between));
        *thread = Some(spawned.map_err(|error| Error::from(error).context("start the thread that does the work"))?);
        Ok(())
    }

    /// Has something done within the time of this call.
    ///
    /// # Errors
    /// The thread is not there, still at the work before, or does not come back in time.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        call: &Call<'_>,
        work: impl FnOnce(&Clock) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let left = call.left();
        let (flag, ends) = (Flag::default(), Instant::now() + left);
        let clock = Clock::new(left.saturating_sub(RESERVE.min(left / 10)), flag.clone());
        let (sender, receiver) = channel();
        let work = move || {
            // Nobody may be waiting for it any more.
            let _sent = sender.send(work(&clock));
        };
        self.hand_over(call, Box::new(work))?;
        let mut given_up_at = ends + CANCEL_GRACE;
        loop {
            match receiver.recv_timeout(FLAG_PASS) {
                Ok(done) => return Ok(done),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::new("the work ended in a panic")),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let (Some(reason), None) = (call.cancelled(), flag.get()) {
                flag.set(reason);
                given_up_at = given_up_at.min(Instant::now() + CANCEL_GRACE);
            }
            if Instant::now() >= given_up_at {
                let code = if flag.get().is_some() { Code::Cancelled } else { Code::Deadline };
                return Err(Error::new("the work is still going on: a disk or a QEMU does not answer").code(code));
            }
        }
    }

    /// Hands it over; one that was broken off may still be putting a machine in order.
    fn hand_over(&self, call: &Call<'_>, work: Work) -> Result<(), Error> {
        let given_up_at = Instant::now() + TURNING.min(call.left() / 4);
        let is_taken = |desk: &Desk| desk.is_busy || desk.work.is_some();
        let mut desk = self.shared.desk();
        while desk.is_open && is_taken(&desk) && call.cancelled().is_none() && Instant::now() < given_up_at {
            desk = self.shared.changed.wait_timeout(desk, FLAG_PASS).unwrap_or_else(PoisonError::into_inner).0;
        }
        if !desk.is_open || is_taken(&desk) {
            return Err(Error::new("the thread is not there, or still at the work before").code(Code::State));
        }
        desk.work = Some(work);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Ends it and joins it.
    pub(crate) fn stop(&self) {
        self.shared.desk().is_open = false;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It can only have panicked in a way that the panic hook has told.
            let _ended = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the thread is wanted for something else than what it does in between.
    pub(crate) fn is_wanted(&self) -> bool {
        let desk = self.desk();
        !desk.is_open || desk.work.is_some()
    }

    fn serve(&self, between: &dyn Fn(&Self)) {
        // A daemon that was refused real-time scheduling runs at a negative nice value, which is handed down.
        if getpriority_process(None).is_ok_and(|nice| nice < 0) {
            let _set = setpriority_process(None, 0);
        }
        let mut due = Instant::now();
        loop {
            let desk = self.desk();
            let pause = due.saturating_duration_since(Instant::now());
            let waited = self.changed.wait_timeout_while(desk, pause, |desk| desk.is_open && desk.work.is_none());
            let mut desk = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !desk.is_open {
                return;
            }
            let work = desk.work.take();
            desk.is_busy = work.is_some();
            drop(desk);
            if let Some(work) = work {
                // A panic must cost this work only.
                let _done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                self.desk().is_busy = false;
                self.changed.notify_all();
            } else {
                between(self);
                due = Instant::now() + ROUND;
            }
        }
    }
}
