//! When a value that wavers is an alarm: pure.
//!
//! Inputs: values, what was before, the time. Outputs: whether it is one now. Must never change its mind over a value that
//! wavers between its two thresholds, nor over one that has not lasted.

/// An alarm below one value that is over above another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// An alarm begins below this.
    pub alarm: f64,
    /// It is over at this or above; never less than `alarm`.
    pub recovered: f64,
}

impl Threshold {
    /// An alarm below `alarm`, over at `ratio` times that; a ratio below 1 counts as 1.
    pub fn below(alarm: f64, ratio: f64) -> Self {
        Self { alarm, recovered: alarm * ratio.max(1.0) }
    }

    /// Whether this value is an alarm, given whether there was one.
    pub fn is_alarm(&self, value: f64, was: bool) -> bool {
        if was { value < self.recovered } else { value < self.alarm }
    }
}

/// A value that counts once it has been the same for a while. The first one counts at once.
#[derive(Clone, Debug)]
pub struct Settled<T> {
    settle_ns: i64,
    value: Option<T>,
    next: Option<(T, i64)>,
}

impl<T: PartialEq + Clone> Settled<T> {
    /// One that counts after so many nanoseconds.
    pub fn after_ns(settle_ns: i64) -> Self {
        Self { settle_ns, value: None, next: None }
    }

    /// As [`Self::after_ns`], and what counts already.
    pub fn from(value: T, settle_ns: i64) -> Self {
        Self { settle_ns, value: Some(value), next: None }
    }

    /// The value is this now. Gives what counts.
    pub fn see(&mut self, value: T, now_boot_ns: i64) -> T {
        let known = self.value.get_or_insert_with(|| value.clone());
        if *known == value {
            self.next = None;
        } else {
            let since = match &self.next {
                Some((next, since)) if *next == value => *since,
                _ => now_boot_ns,
            };
            if now_boot_ns.saturating_sub(since) >= self.settle_ns {
                (*known, self.next) = (value, None);
            } else {
                self.next = Some((value, since));
            }
        }
        known.clone()
    }

    /// When it has to be looked at again, CLOCK_BOOTTIME nanoseconds; None: when it is another.
    pub fn due_boot_ns(&self) -> Option<i64> {
        self.next.as_ref().map(|(_, since)| since.saturating_add(self.settle_ns))
    }
}

/// Something that happens now and then, and is over when it has not for a while.
#[derive(Clone, Copy, Debug)]
pub struct Lull {
    lull_ns: i64,
    last_boot_ns: Option<i64>,
}

impl Lull {
    /// One that is over after so many nanoseconds.
    pub fn after_ns(lull_ns: i64) -> Self {
        Self { lull_ns, last_boot_ns: None }
    }

    /// It happened.
    pub fn happened(&mut self, now_boot_ns: i64) {
        self.last_boot_ns = Some(now_boot_ns);
    }

    /// Whether it still goes on.
    pub fn goes_on(&self, now_boot_ns: i64) -> bool {
        self.last_boot_ns.is_some_and(|last| now_boot_ns.saturating_sub(last) < self.lull_ns)
    }

    /// When it will be over, CLOCK_BOOTTIME nanoseconds, if it is not.
    pub fn due_boot_ns(&self, now_boot_ns: i64) -> Option<i64> {
        self.last_boot_ns.filter(|_| self.goes_on(now_boot_ns)).map(|last| last.saturating_add(self.lull_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lull_ends_it_and_not_before() {
        let mut lull = Lull::after_ns(10);
        assert!(!lull.goes_on(5));
        lull.happened(5);
        lull.happened(8);
        assert!(lull.goes_on(17) && !lull.goes_on(18));
        assert_eq!((lull.due_boot_ns(9), lull.due_boot_ns(18)), (Some(18), None));
    }

    #[test]
    fn what_comes_and_goes_within_the_time_never_counts() {
        let mut link = Settled::after_ns(10);
        assert!(link.see(true, 0), "the first counts at once");
        assert!(link.see(false, 1));
        assert_eq!(link.due_boot_ns(), Some(11));
        assert!(link.see(true, 9) && link.see(false, 10) && link.see(false, 19));
        assert!(!link.see(false, 20));
        assert_eq!(link.due_boot_ns(), None);
    }

    proptest! {
        #[test]
        fn between_the_thresholds_nothing_changes(
            alarm in 1.0..100.0_f64, ratio in 0.5..4.0_f64, values in prop::collection::vec(0.0..500.0_f64, 1..100),
        ) {
            let threshold = Threshold::below(alarm, ratio);
            let mut was = false;
            for value in values {
                let is = threshold.is_alarm(value, was);
                if is != was {
                    let is_beyond = if is { value < threshold.alarm } else { value >= threshold.recovered };
                    prop_assert!(is_beyond, "{} changed it to {}", value, is);
                }
                prop_assert_eq!(threshold.is_alarm(value, is), is, "the same value again changes nothing");
                was = is;
            }
        }

        #[test]
        fn what_counts_changes_at_most_once_within_the_time(
            steps in prop::collection::vec((0..3_u8, 0..30_i64), 1..100),
        ) {
            let mut settled = Settled::after_ns(20);
            let (mut now, mut known, mut changed) = (0, None, i64::MIN / 2);
            for (value, pause) in steps {
                now += pause;
                let counts = settled.see(value, now);
                if known.is_some_and(|known| known != counts) {
                    prop_assert!(now - changed >= 20, "again after {} ns", now - changed);
                    changed = now;
                }
                known = Some(counts);
            }
        }
    }
}
