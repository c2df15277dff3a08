//! Whether the kernel's word that tasks wait for memory can be true: pure.
//!
//! Inputs: that a trigger fired, how long tasks have waited in all, the time. Outputs: whether that was enough. Must never take the
//! first word of a new trigger on trust: Linux 6.18 fires each within two seconds, although tasks waited for a tenth of its
//! threshold (tried there; the window begins with a sum that is older than the trigger, kernel/sched/psi.c).

use std::collections::VecDeque;

/// The sums that can be read are that old at most (PSI_FREQ in kernel/sched/psi.c, 2 s), and a little.
const STALE_MAX_NS: i64 = 2_200_000_000;

/// Remembers how long tasks had waited a window ago.
#[derive(Debug)]
pub struct Witness {
    window_ns: i64,
    stall_us: u64,
    /// When, and how long tasks had waited in all then. The first is the newest that is a window old.
    samples: VecDeque<(i64, u64)>,
    fired_boot_ns: Option<i64>,
}

impl Witness {
    /// For a trigger that is set now, when tasks have waited for `total_us` in all.
    pub fn new(window_ns: i64, stall_us: u64, total_us: u64, now_boot_ns: i64) -> Self {
        Self { window_ns, stall_us, samples: VecDeque::from([(now_boot_ns, total_us)]), fired_boot_ns: None }
    }

    /// The trigger fired.
    pub fn fired(&mut self, now_boot_ns: i64) {
        self.fired_boot_ns.get_or_insert(now_boot_ns);
    }

    /// Tasks have waited for `total_us` in all. Gives whether a trigger that fired was right: tasks have waited for long enough
    /// since a window before. The sum may be stale, so that it can take [`Self::due_boot_ns`] to become so.
    pub fn is_right(&mut self, total_us: u64, now_boot_ns: i64) -> bool {
        let before = self.samples.front().map_or(total_us, |(_, total_us)| *total_us);
        let is_right = self.fired_boot_ns.is_some() && total_us.saturating_sub(before) >= self.stall_us;
        let is_over = self.due_boot_ns().is_some_and(|due| now_boot_ns >= due);
        if is_right || is_over {
            self.fired_boot_ns = None;
        }
        if self.fired_boot_ns.is_none() {
            self.remember(total_us, now_boot_ns);
        }
        is_right
    }

    fn remember(&mut self, total_us: u64, now_boot_ns: i64) {
        let age_ns = |at: i64| now_boot_ns.saturating_sub(at);
        if self.samples.back().is_none_or(|(at, _)| age_ns(*at) >= self.window_ns / 2) {
            self.samples.push_back((now_boot_ns, total_us));
        }
        while self.samples.get(1).is_some_and(|(at, _)| age_ns(*at) >= self.window_ns) {
            self.samples.pop_front();
        }
    }

    /// When a trigger that fired was right or not, CLOCK_BOOTTIME nanoseconds; None: none has.
    pub fn due_boot_ns(&self) -> Option<i64> {
        self.fired_boot_ns.map(|fired| fired.saturating_add(STALE_MAX_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: i64 = 1_000_000_000;
    const SECOND_US: u64 = 1_000_000;

    fn witness() -> Witness {
        Witness::new(10 * SECOND_NS, 3 * SECOND_US, 50 * SECOND_US, 0)
    }

    #[test]
    fn the_word_of_a_new_trigger_is_not_believed_without_proof() {
        let mut witness = witness();
        witness.fired(2 * SECOND_NS);
        assert!(!witness.is_right(50 * SECOND_US + 300_000, 2 * SECOND_NS));
        assert_eq!(witness.due_boot_ns(), Some(2 * SECOND_NS + STALE_MAX_NS), "the sum may be stale");
        assert!(!witness.is_right(50 * SECOND_US + 400_000, 5 * SECOND_NS));
        assert_eq!(witness.due_boot_ns(), None, "it was wrong");
        assert!(!witness.is_right(90 * SECOND_US, 6 * SECOND_NS), "nobody says so any more");
    }

    #[test]
    fn what_a_stale_sum_does_not_show_yet_is_shown_soon() {
        let mut witness = witness();
        witness.fired(4 * SECOND_NS);
        assert!(!witness.is_right(51 * SECOND_US, 4 * SECOND_NS));
        assert!(witness.is_right(53 * SECOND_US, 6 * SECOND_NS));
        assert_eq!(witness.due_boot_ns(), None);
    }

    #[test]
    fn what_was_waited_for_long_ago_proves_nothing() {
        let mut witness = witness();
        for n in 1..10_u32 {
            assert!(!witness.is_right((50 + u64::from(n)) * SECOND_US, i64::from(n) * 10 * SECOND_NS));
        }
        witness.fired(91 * SECOND_NS);
        assert!(!witness.is_right(60 * SECOND_US, 91 * SECOND_NS), "two seconds since a window before");
        assert!(witness.is_right(61 * SECOND_US, 92 * SECOND_NS));
    }

    proptest! {
        #[test]
        fn however_often_it_is_asked_it_remembers_little(steps in prop::collection::vec((0..30_i64, any::<bool>()), 1..200)) {
            let (mut witness, mut now) = (witness(), 0);
            for (pause, fired) in steps {
                now += pause * SECOND_NS / 4;
                if fired {
                    witness.fired(now);
                }
                witness.is_right(50 * SECOND_US, now);
                prop_assert!(witness.samples.len() <= 4, "{:?}", witness.samples);
            }
        }
    }
}
