//! The hibernation: the login manager schedules every end of the machine but this one.
//!
//! Inputs: when. Outputs: a request to the login manager at that time, unless it is called off. One thread, while something is
//! pending. Must never hibernate after it was called off, nor outlive its instance.

use crate::logind;
use cloudsnooze_plugin::Host;
use cloudsnooze_plugin_dbus::{Bus, Limit};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long the request may take.
const REQUEST: Duration = Duration::from_secs(20);

/// Where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is pending.
    #[default]
    Idle,
    /// It will be asked for.
    Pending,
    /// It was asked for.
    Asked,
}

/// The thread.
pub(crate) struct Waiter {
    host: Host,
    shared: Arc<(Mutex<Stage>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Waiter {
    pub(crate) fn new(host: Host) -> Self {
        Self { host, shared: Arc::default(), thread: Mutex::default() }
    }

    /// Hibernates after a while.
    ///
    /// # Errors
    /// No thread can be had, or the one of an earlier event is just asking.
    pub(crate) fn begin(&self, delay: Duration) -> std::io::Result<()> {
        let is_asking = self.thread().as_ref().is_some_and(|thread| !thread.is_finished());
        if is_asking && self.stage() == Stage::Asked {
            return Err(std::io::Error::other("the login manager is being asked already"));
        }
        self.call_off();
        let due = Instant::now() + delay;
        *stage(&self.shared.0) = Stage::Pending;
        let (shared, host) = (Arc::clone(&self.shared), self.host);
        let thread = Builder::new().name("finish-wait".to_owned()).spawn(move || wait(&shared, due, host))?;
        *self.thread() = Some(thread);
        Ok(())
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands.
    pub(crate) fn stage(&self) -> Stage {
        *stage(&self.shared.0)
    }

    /// Calls it off, and waits for the thread; says whether something was pending.
    pub(crate) fn call_off(&self) -> bool {
        let was_pending = {
            let mut stage = stage(&self.shared.0);
            let was_pending = *stage == Stage::Pending;
            if was_pending {
                *stage = Stage::Idle;
            }
            was_pending
        };
        self.shared.1.notify_all();
        if let Some(thread) = self.thread().take() {
            // It can only have panicked in a way that the panic hook has told.
            let _ended = thread.join();
        }
        was_pending
    }
}

fn stage(mutex: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(shared: &(Mutex<Stage>, Condvar), due: Instant, host: Host) {
    let rest = due.saturating_duration_since(Instant::now());
    let waited = shared.1.wait_timeout_while(stage(&shared.0), rest, |stage| *stage == Stage::Pending);
    let mut stage = waited.unwrap_or_else(PoisonError::into_inner).0;
    if *stage != Stage::Pending {
        return;
    }
    *stage = Stage::Asked;
    drop(stage);
    let limit = Limit::within(REQUEST);
    match Bus::open(&limit).and_then(|bus| logind::hibernate(&bus, &limit)) {
        Ok(()) => host.info(format_args!("the login manager hibernates the machine")),
        Err(fault) => host.warn(format_args!("the machine is not hibernated: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_plugin::testing::{host, threads, threads_left};

    #[test]
    fn what_is_called_off_is_not_asked_for_and_leaves_no_thread() {
        let waiter = Waiter::new(host());
        assert!(!waiter.call_off());
        waiter.begin(Duration::from_secs(600)).unwrap();
        assert_eq!(waiter.stage(), Stage::Pending);
        // A thread gives itself its name.
        let until = Instant::now() + Duration::from_secs(10);
        while threads("finish-wait") == 0 && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(threads("finish-wait"), 1);
        assert!(waiter.call_off());
        assert_eq!(waiter.stage(), Stage::Idle);
        assert_eq!(threads_left("finish-wait", Duration::from_secs(10)), 0);
    }
}
