//! The thread that does the work, and how long it may take.
//!
//! Inputs: work, an end, the host's cancellation. Outputs: what the work gave, if it came in time. SQLite is interrupted when a
//! step's time is over; a disk can hold a thread longer than that, and then nobody waits for it before the instance is put
//! away. Must never let work begin a step after its end.

use cloudsnooze_plugin::Call;
use rusqlite::{Connection, InterruptHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often clock and flag are looked at.
const SLICE: Duration = Duration::from_millis(10);
/// From the end of the time to giving up on the thread.
const LATE: Duration = Duration::from_millis(300);
/// From a cancellation to giving up on it: the host waits for a quarter of a second.
const CANCELLED: Duration = Duration::from_millis(200);

/// How long the work may take.
pub(crate) struct Clock {
    ends: Instant,
    stop: AtomicBool,
    /// What is to be interrupted, and when.
    current: Mutex<Option<(InterruptHandle, Instant)>>,
}

impl Clock {
    pub(crate) fn new(ends: Instant) -> Self {
        Self { ends, stop: AtomicBool::new(false), current: Mutex::default() }
    }

    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether there is nothing left to spend.
    pub(crate) fn is_over(&self) -> bool {
        self.is_cancelled() || self.left().is_zero()
    }

    /// Has what this connection does interrupted after this time, until the result is dropped.
    pub(crate) fn limit(&self, connection: &Connection, limit: Duration) -> Limited<'_> {
        let until = self.ends.min(Instant::now() + limit);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((connection.get_interrupt_handle(), until));
        Limited(self)
    }

    /// Interrupts what is out of time.
    fn look(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((handle, until)) = current.as_ref()
            && (self.is_cancelled() || Instant::now() >= *until)
        {
            handle.interrupt();
        }
    }
}

/// While it lives, a connection is interrupted at the end of its time.
pub(crate) struct Limited<'a>(&'a Clock);

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The threads that may still be at it.
#[derive(Default)]
pub(crate) struct Attendant {
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Attendant {
    /// Has the work done on a thread of normal priority. None: it did not come back, or no thread can be had.
    pub(crate) fn attend<T: Send + 'static>(
        &self,
        call: &Call<'_>,
        ends: Instant,
        work: impl FnOnce(&Clock) -> T + Send + 'static,
    ) -> Option<T> {
        let clock = Arc::new(Clock::new(ends));
        let (answer, answers) = channel();
        let theirs = Arc::clone(&clock);
        let thread = Builder::new().name("sqlite-flush".to_owned()).spawn(move || {
            // Nobody may be waiting any more.
            let _sent = answer.send(work(&theirs));
        });
        let thread = thread.ok()?;
        let mut gives_up = ends + LATE;
        loop {
            match answers.recv_timeout(SLICE) {
                Ok(given) => {
                    // It has nothing left to do but to end.
                    let _ended = thread.join();
                    return Some(given);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if call.cancelled().is_some() && !clock.is_cancelled() {
                clock.stop.store(true, Ordering::Release);
                gives_up = gives_up.min(Instant::now() + CANCELLED);
            }
            clock.look();
            if Instant::now() >= gives_up {
                clock.stop.store(true, Ordering::Release);
                clock.look();
                break;
            }
        }
        self.keep(thread);
        None
    }

    fn keep(&self, thread: JoinHandle<()>) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }

    /// Whether one is still at it, from a call that did not wait for it.
    pub(crate) fn is_busy(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().any(|thread| !thread.is_finished())
    }

    /// Waits for those that are still at it.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // It can only have panicked in a way that the panic hook has told.
            let _ended = thread.join();
        }
    }
}
