//! What every watcher of the machine has in common, and the loop that runs them all.
//!
//! Inputs: descriptors and times. Outputs: events to the sink, health. Runs on one thread of normal priority. Must never wake
//! without a reason: everything waits in one poll.

use super::alarms::{Alarm, Alarms, Finding, Subject};
use crate::event::{Event, Moment};
use crate::source::health::{Change, Health};
use crate::source::{Sink, control::Control};
use crate::sys::bell::Woken;
use crate::sys::clock;
use nix::poll::PollFlags;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Pause before a watcher that could not see looks again.
const AGAIN_NS: i64 = 10 * 1_000_000_000;

/// Seconds as nanoseconds; `as` saturates.
#[allow(clippy::cast_possible_truncation, reason = "`as` saturates, and settings are at most a day")]
pub fn nanoseconds(seconds: f64) -> i64 {
    (seconds * 1e9) as i64
}

/// Where findings become events.
pub struct Desk<'s> {
    alarms: &'s mut Alarms,
    events: Vec<Event>,
}

impl<'s> Desk<'s> {
    /// One over these alarms.
    pub fn over(alarms: &'s mut Alarms) -> Self {
        Self { alarms, events: Vec::new() }
    }

    /// As [`Alarms::is_open`].
    pub fn is_open(&self, subject: &Subject) -> bool {
        self.alarms.is_open(subject)
    }

    /// As [`Alarms::of`].
    pub fn of(&self, source: &str) -> Vec<Subject> {
        self.alarms.of(source)
    }

    /// As [`Alarms::set`].
    pub fn set(&mut self, subject: &Subject, finding: Finding, now: Moment) {
        self.events.extend(self.alarms.set(subject, finding, now));
    }

    /// As [`Alarms::tell`].
    pub fn tell(&mut self, subject: &Subject, alarm: Alarm, now: Moment) {
        self.events.extend(self.alarms.tell(subject, alarm, now));
    }

    /// What is to be published.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }
}

/// Looks at one concern of the machine.
pub trait Watcher: Send {
    /// Its name in status: one of [`super::CONCERNS`].
    fn name(&self) -> &'static str;

    /// What it waits for.
    fn descriptors(&self) -> Vec<(BorrowedFd<'_>, PollFlags)>;

    /// When it wants to look in any case, CLOCK_BOOTTIME nanoseconds.
    fn next_boot_ns(&self) -> i64;

    /// Looks. `ready` says which of its descriptors are; all that are must be made not ready again.
    ///
    /// # Errors
    /// What it cannot see, in words.
    fn look(&mut self, ready: &[bool], now: Moment, desk: &mut Desk) -> Result<(), String>;

    /// What it watches, in words.
    fn watched(&self) -> String;
}

/// What is watched, in words, by concern. Written by the thread, read by whoever shows the status.
#[derive(Debug, Default)]
pub struct Watched(Mutex<BTreeMap<&'static str, String>>);

impl Watched {
    /// This is watched of that concern.
    pub fn note(&self, concern: &'static str, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(concern, what);
    }

    /// One sentence.
    pub fn sentence(&self) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(concern, what)| format!("{concern}: {what}")).collect::<Vec<_>>().join("; ")
    }
}

/// Runs watchers until it is told to stop.
pub struct Round {
    /// Who looks.
    pub watchers: Vec<Box<dyn Watcher>>,
    /// What is open.
    pub alarms: Alarms,
    /// Called away by its bell.
    pub control: Arc<Control<()>>,
    /// One path a watcher, in their order.
    pub health: Arc<Health>,
    /// What is watched.
    pub watched: Arc<Watched>,
}

impl Round {
    /// Looks when there is something to see. Blocks until the bell says stop.
    pub fn run(mut self, sink: &mut impl Sink) {
        // A watcher that failed looks again then, whatever it says itself.
        let mut not_before = vec![i64::MIN; self.watchers.len()];
        let mut ready: Vec<Vec<bool>> = self.watchers.iter().map(|_| Vec::new()).collect();
        loop {
            let now = clock::now();
            self.look(&ready, &mut not_before, now, sink);
            for event in self.alarms.due(now) {
                sink.publish(Arc::new(event));
            }
            let next = self.watchers.iter().zip(&not_before).map(|(w, not_before)| w.next_boot_ns().max(*not_before));
            let until = next.min().unwrap_or(i64::MAX).min(now.boot_ns.saturating_add(6 * AGAIN_NS));
            match self.wait(until, &not_before, now) {
                Some(woken) => ready = woken,
                None => return,
            }
        }
    }

    fn look(&mut self, ready: &[Vec<bool>], not_before: &mut [i64], now: Moment, sink: &mut impl Sink) {
        for (index, watcher) in self.watchers.iter_mut().enumerate() {
            let ready = ready.get(index).map(Vec::as_slice).unwrap_or_default();
            let is_due = watcher.next_boot_ns() <= now.boot_ns || ready.contains(&true);
            if !is_due || not_before.get(index).is_some_and(|until| *until > now.boot_ns) {
                continue;
            }
            let mut desk = Desk::over(&mut self.alarms);
            let seen = watcher.look(ready, now, &mut desk);
            let events = desk.into_events();
            let name = watcher.name();
            match seen {
                Ok(()) => {
                    if self.health.success(index, now.boot_ns) == Change::SeesAgain {
                        tracing::info!("the machine's {name} is seen again");
                    }
                }
                Err(error) => {
                    if self.health.error(index, now.boot_ns, error.clone()) == Change::BecameBlind {
                        tracing::warn!(error, "the machine's {name} is not seen");
                    }
                    if let Some(not_before) = not_before.get_mut(index) {
                        *not_before = now.boot_ns.saturating_add(AGAIN_NS);
                    }
                }
            }
            self.watched.note(name, watcher.watched());
            for event in events {
                sink.publish(Arc::new(event));
            }
        }
    }

    /// Which descriptors of each watcher are ready. None: stop.
    fn wait(&self, until_boot_ns: i64, not_before: &[i64], now: Moment) -> Option<Vec<Vec<bool>>> {
        let waits = |index: usize| not_before.get(index).is_none_or(|until| *until <= now.boot_ns);
        let of_each: Vec<Vec<(BorrowedFd<'_>, PollFlags)>> = self
            .watchers
            .iter()
            .enumerate()
            .map(|(index, watcher)| if waits(index) { watcher.descriptors() } else { Vec::new() })
            .collect();
        let all: Vec<(BorrowedFd<'_>, PollFlags)> = of_each.iter().flatten().copied().collect();
        let (woken, ready) = self.control.bell.wait_any(&all, until_boot_ns);
        if woken == Woken::Stopped {
            return None;
        }
        let mut ready = ready.into_iter();
        Some(of_each.iter().map(|own| ready.by_ref().take(own.len()).collect()).collect())
    }
}
