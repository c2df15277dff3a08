//! The thread that does the work.
//!
//! Inputs: jobs. Outputs: what they send. It is started when the instance is activated, so what it starts has the daemon's CPUs
//! and a normal priority, where a pool thread has neither. Must never be waited for without a bound but when it is stopped.

use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// The thread, once it is started.
#[derive(Default)]
pub(crate) struct Worker {
    inner: Mutex<Option<(Sender<Job>, JoinHandle<()>)>>,
}

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(&self) -> io::Result<()> {
        let (sender, jobs) = channel::<Job>();
        let thread = Builder::new().name("freeze-work".to_owned()).spawn(move || {
            // A daemon that was refused real-time scheduling runs at a negative nice value, which is handed down.
            if getpriority_process(None).is_ok_and(|nice| nice < 0) {
                let _set = setpriority_process(None, 0);
            }
            jobs.into_iter().for_each(|job| job());
        })?;
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Some((sender, thread));
        Ok(())
    }

    /// Has a job done; its answer will be in the channel. None when there is no thread.
    pub(crate) fn give<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<Receiver<T>> {
        let (answer, answers) = channel();
        let job: Job = Box::new(move || {
            // Nobody may be waiting any more.
            let _sent = answer.send(job());
        });
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.as_ref()?.0.send(job).ok().map(|()| answers)
    }

    /// Ends it after the job it is at, and joins it.
    pub(crate) fn stop(&self) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = inner {
            drop(sender);
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
