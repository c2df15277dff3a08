//! How a running source is steered from other threads.
//!
//! Inputs: orders of normal threads. Outputs: the same, for the source's thread to look at between two
//! polls. Must never make the source's thread wait: values are swapped, and a bell calls it.

use crate::sys::bell::Bell;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// The settings that can change while a source runs, its bell, and how long it is in a hurry.
#[derive(Debug)]
pub struct Control<S> {
    /// Called when anything here changes; `stop` ends the source, also in the middle of a request.
    pub bell: Arc<Bell>,
    settings: ArcSwap<S>,
    hurry_until_boot_ns: AtomicI64,
    /// How often somebody asked it to look at once, and which of these it has done.
    calls: AtomicU64,
    answered: AtomicU64,
    stands: AtomicBool,
}

impl<S> Control<S> {
    /// These settings, no hurry.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn new(settings: S) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            bell: Arc::new(Bell::new()?),
            settings: ArcSwap::from_pointee(settings),
            hurry_until_boot_ns: AtomicI64::new(i64::MIN),
            calls: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            stands: AtomicBool::new(false),
        }))
    }

    /// Other settings from now on.
    pub fn set(&self, settings: S) {
        self.settings.store(Arc::new(settings));
        self.bell.ring();
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<S> {
        self.settings.load_full()
    }

    /// Something says that a notice is more likely than usual (a recommendation to leave, a forecast, the
    /// notice of a sibling): look more often until then, CLOCK_BOOTTIME nanoseconds. Never shortens a hurry.
    pub fn hurry(&self, until_boot_ns: i64) {
        if self.hurry_until_boot_ns.fetch_max(until_boot_ns, Ordering::AcqRel) < until_boot_ns {
            self.bell.ring();
        }
    }

    /// Has the source look for its most important notice at once, also while the service holds an answer back.
    pub fn look_now(&self) {
        self.calls.fetch_add(1, Ordering::AcqRel);
        self.bell.ring();
    }

    /// Whether it has looked as often as it was asked to, and what it then found is told.
    pub fn has_looked(&self) -> bool {
        self.called().is_none()
    }

    /// The number of the last call that was not answered.
    pub(super) fn called(&self) -> Option<u64> {
        let calls = self.calls.load(Ordering::Acquire);
        (calls != self.answered.load(Ordering::Acquire)).then_some(calls)
    }

    /// It has looked, with or without success.
    pub(super) fn answer(&self, call: u64) {
        self.answered.store(call, Ordering::Release);
    }

    /// Whether its most important notice stands, as it last saw it.
    pub fn stands(&self) -> bool {
        self.stands.load(Ordering::Acquire)
    }

    pub(super) fn set_stands(&self, stands: bool) {
        self.stands.store(stands, Ordering::Release);
    }

    /// Whether there is a hurry at this time.
    pub fn is_hurried(&self, now_boot_ns: i64) -> bool {
        now_boot_ns < self.hurry_until_boot_ns.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_open_until_it_is_answered_and_one_after_it_stays_open() {
        let control = Control::new(()).expect("a descriptor");
        assert!(control.has_looked());
        control.look_now();
        let first = control.called().expect("a call");
        control.look_now();
        control.answer(first);
        assert!(!control.has_looked());
        control.answer(control.called().expect("the second"));
        assert!(control.has_looked());
    }

    #[test]
    fn a_hurry_lasts_as_long_as_the_longest_that_was_asked_for() {
        let control = Control::new(()).expect("a descriptor");
        assert!(!control.is_hurried(0));
        control.hurry(10);
        control.hurry(5);
        assert_eq!((control.is_hurried(9), control.is_hurried(10)), (true, false));
    }
}
