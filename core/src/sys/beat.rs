//! A thread's sign of life, as the one who waits for it sees it.
//!
//! Inputs: CLOCK_BOOTTIME times: when a sign is owed, and that one was given. Outputs: for how long one has
//! been owed. Must never cost the thread that gives it more than one store.

use super::clock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Nothing is owed.
const NEVER: i64 = i64::MAX;

/// What one thread owes. On a cache line of its own: the thread that reads it must not disturb the others.
#[derive(Debug)]
#[repr(align(128))]
pub struct Beat {
    /// Since when a sign is owed, CLOCK_BOOTTIME nanoseconds; [`NEVER`]: none is.
    owed_since_boot_ns: AtomicI64,
}

impl Default for Beat {
    /// Nothing is owed yet.
    fn default() -> Self {
        Self { owed_since_boot_ns: AtomicI64::new(NEVER) }
    }
}

impl Beat {
    /// Asks for a sign. False when an earlier one is still owed: then there is nothing new to ask for.
    pub fn ask(&self) -> bool {
        self.owed_since_boot_ns.compare_exchange(NEVER, clock::boot_ns(), Relaxed, Relaxed).is_ok()
    }

    /// The thread gives its sign, and owes none until it is asked.
    pub fn give(&self) {
        self.owed_since_boot_ns.store(NEVER, Relaxed);
    }

    /// The thread gives its sign, and promises the next for `boot_ns` at the latest.
    pub fn give_and_promise(&self, boot_ns: i64) {
        self.owed_since_boot_ns.store(boot_ns, Relaxed);
    }

    /// For how long a sign has been owed at `now_boot_ns`, nanoseconds; 0: none is.
    pub fn owed_ns(&self, now_boot_ns: i64) -> i64 {
        now_boot_ns.saturating_sub(self.owed_since_boot_ns.load(Relaxed)).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_owed_from_the_question_or_the_promise_until_it_is_given() {
        let beat = Beat::default();
        assert_eq!(beat.owed_ns(i64::MAX), 0);
        assert!(beat.ask());
        assert!(!beat.ask(), "it is owed already");
        assert!(beat.owed_ns(clock::boot_ns() + 1_000) >= 1_000);
        beat.give();
        assert_eq!(beat.owed_ns(i64::MAX), 0);
        beat.give_and_promise(500);
        assert_eq!((beat.owed_ns(500), beat.owed_ns(700)), (0, 200));
    }
}
