//! Whether a save fits into the time left: before it is begun, and while it goes on.
//!
//! Inputs: bytes, bytes a second, what was seen so far. Outputs: verdicts. Pure. Must never call hopeless what only
//! hesitates.

use std::collections::VecDeque;
use std::time::Duration;

/// Spent on everything but bytes.
const OVERHEAD: f64 = 0.3;
/// How far back the pace is measured, in seconds.
const WINDOW: f64 = 2.0;
/// Seconds before which nothing is said of a save that has begun.
const BEGINNING: f64 = 1.0;

/// What part of the time left a save may take by its estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Margin {
    /// It can be broken off when it takes longer than that.
    Stoppable,
    /// It cannot.
    Unstoppable,
}

/// Seconds that so many bytes take.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
pub(crate) fn seconds(bytes: u64, bytes_a_second: u64) -> f64 {
    OVERHEAD + bytes as f64 / bytes_a_second.max(1) as f64
}

/// Whether they fit.
pub(crate) fn fits(seconds: f64, left: Duration, margin: Margin) -> bool {
    let share = if margin == Margin::Stoppable { 0.8 } else { 0.5 };
    seconds <= left.as_secs_f64() * share
}

/// How far a save is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Seconds since it was begun.
    pub(crate) at: f64,
    /// Bytes in the file.
    pub(crate) written: u64,
    /// Those of them that were on the disk, and when: seconds since the beginning.
    pub(crate) synced: u64,
    pub(crate) synced_at: f64,
    /// Bytes of the machine's memory that were not looked at yet, of so many.
    pub(crate) remaining: u64,
    pub(crate) total: u64,
}

/// Watches a save.
#[derive(Debug)]
pub(crate) struct Forecast {
    expected: u64,
    seen: VecDeque<Sample>,
    hopeless_since: Option<f64>,
}

impl Forecast {
    /// Of a save that was expected to write so many bytes.
    pub(crate) fn new(expected: u64) -> Self {
        Self { expected, seen: VecDeque::new(), hopeless_since: None }
    }

    /// Looks at it; gives the seconds it would still need when it has been hopeless for a while.
    pub(crate) fn look(&mut self, now: Sample, left: Duration) -> Option<f64> {
        while self.seen.front().is_some_and(|first| now.at - first.at > WINDOW) && self.seen.len() > 1 {
            self.seen.pop_front();
        }
        self.seen.push_back(now);
        let left = left.as_secs_f64();
        let needs = self.needs(now).filter(|needs| now.at >= BEGINNING && *needs > left);
        let Some(needs) = needs else {
            self.hopeless_since = None;
            return None;
        };
        let since = *self.hopeless_since.get_or_insert(now.at);
        // A disk may hesitate; the more time is left, the longer it is waited for.
        (now.at - since >= (left / 10.0).clamp(0.3, 5.0)).then_some(needs)
    }

    /// Begins to judge anew: something that was in its way has gone.
    pub(crate) fn forgive(&mut self) {
        self.seen.clear();
        self.hopeless_since = None;
    }

    /// Bytes still to be written.
    pub(crate) fn to_come(&self, now: Sample) -> u64 {
        if now.written < self.expected {
            return now.remaining.min(self.expected - now.written);
        }
        // More than was expected: memory as full as what was seen of it so far.
        let looked_at = now.total.saturating_sub(now.remaining).max(1);
        let share = u128::from(now.remaining) * u128::from(now.written) / u128::from(looked_at);
        now.remaining.min(u64::try_from(share).unwrap_or(u64::MAX))
    }

    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    fn needs(&self, now: Sample) -> Option<f64> {
        let first = self.seen.front()?;
        let span = now.at - first.at;
        if span < BEGINNING / 2.0 {
            return None;
        }
        let time = |bytes: u64, done: u64| if bytes == 0 { 0.0 } else { bytes as f64 * span / done as f64 };
        // Empty memory passes without a byte, so both paces are told apart, and the better one counts.
        let to_come = self.to_come(now);
        let by_bytes = time(to_come, now.written.saturating_sub(first.written));
        let by_memory = time(now.remaining, first.remaining.saturating_sub(now.remaining));
        // What QEMU has written may still be on its way to the disk.
        let behind = now.written.saturating_sub(now.synced) + to_come;
        let by_disk = if now.synced > 0 { behind as f64 * now.synced_at / now.synced as f64 } else { 0.0 };
        Some(by_bytes.min(by_memory).max(by_disk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_cannot_be_stopped_needs_more_room() {
        let two_gib = seconds(2048 * MIB, 200 * MIB);
        assert!((two_gib - 10.54).abs() < 0.01, "{two_gib}");
        let left = Duration::from_secs;
        assert!(fits(two_gib, left(14), Margin::Stoppable) && !fits(two_gib, left(13), Margin::Stoppable));
        assert!(fits(two_gib, left(22), Margin::Unstoppable) && !fits(two_gib, left(21), Margin::Unstoppable));
        assert!(seconds(1, 0) > 1.0, "a disk that is not known divides nothing");
    }

    /// A save of 1000 MiB at so many MiB a second, looked at ten times a second with this time left at the beginning;
    /// when it was given up.
    fn given_up(pace: impl Fn(f64) -> f64, disk: f64, left: f64) -> Option<f64> {
        let mut forecast = Forecast::new(1000 * MIB);
        let (mut written, mut synced) = (0.0, 0.0);
        for tick in 0..1000 {
            let at = f64::from(tick) / 10.0;
            if at >= left {
                return None;
            }
            written = f64::min(written + pace(at) / 10.0, 1000.0);
            synced = f64::min(synced + disk / 10.0, written);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let bytes = |mib: f64| (mib * MIB as f64) as u64;
            let remaining = bytes(1000.0 - written);
            let now = Sample {
                at,
                written: bytes(written),
                synced: bytes(synced),
                synced_at: at.max(0.1),
                remaining,
                total: 1000 * MIB,
            };
            if forecast.look(now, Duration::from_secs_f64(left - at)).is_some() {
                return Some(at);
            }
        }
        None
    }

    #[test]
    fn a_save_that_will_be_done_in_time_is_let_go_on() {
        assert_eq!(given_up(|_| 100.0, 1e9, 11.0), None);
        let hesitates = |at: f64| if (3.0..4.5).contains(&at) { 0.0 } else { 100.0 };
        assert_eq!(given_up(hesitates, 1e9, 60.0), None);
    }

    #[test]
    fn a_save_that_will_not_is_given_up_long_before_the_end() {
        let at = given_up(|_| 10.0, 1e9, 30.0).unwrap();
        assert!((1.0..6.0).contains(&at), "{at}");
        let at = given_up(|_| 1000.0, 10.0, 30.0).unwrap();
        assert!((1.0..6.0).contains(&at), "QEMU is fast and the disk is not: {at}");
        let at = given_up(|at| if at < 2.0 { 100.0 } else { 0.0 }, 1e9, 30.0).unwrap();
        assert!((3.0..12.0).contains(&at), "it stands still: {at}");
    }

    #[test]
    fn memory_that_is_empty_at_the_end_is_not_waited_for() {
        let mut forecast = Forecast::new(100 * MIB);
        let at = |at: f64, written: u64, remaining: u64| Sample {
            at,
            written: written * MIB,
            synced: written * MIB,
            synced_at: at,
            remaining: remaining * MIB,
            total: 10_000 * MIB,
        };
        for (seconds, written) in [(0.5, 10), (1.0, 20), (1.5, 30), (2.0, 40)] {
            let now = at(seconds, written, 10_000 - written);
            assert_eq!(forecast.look(now, Duration::from_secs(5)), None);
        }
        assert_eq!(forecast.to_come(at(2.0, 40, 9_960)), 60 * MIB);
        assert_eq!(forecast.to_come(at(2.0, 100, 5_000)), 100 * MIB, "more than expected: as full as before");
    }
}
