//! Rota: whose turn it is to be read.
//!
//! Responsibilities: several paths, each with its rhythm, on one connection. Inputs: the time, what came of
//! each poll. Outputs: the next path and when. Pure. Must never let one path keep another from being read,
//! nor wake the thread for each path where one waking will do.

use super::cadence::{Cadence, INTERVAL_SECONDS_MIN};

/// What is due within this part of its interval is read along with what is due now: a waking costs more
/// than a poll. Wider than the jitter, so that paths of one interval stay together.
const TOGETHER: i64 = 8;

/// Shortest time between the beginnings of two reads of one path, nanoseconds.
#[allow(clippy::cast_possible_truncation, reason = "a fraction of a second")]
const AGAIN_MIN_NS: i64 = (INTERVAL_SECONDS_MIN * 1e9) as i64;

/// The paths, by number; number 0 is the most important.
#[derive(Debug)]
pub struct Rota {
    entries: Vec<Entry>,
    last: usize,
    /// Something was due since there was last nothing to do.
    is_awake: bool,
}

#[derive(Debug)]
struct Entry {
    cadence: Cadence,
    /// CLOCK_BOOTTIME nanoseconds; never when retired.
    due_boot_ns: i64,
    /// How much earlier it may be read along with others, nanoseconds.
    early_ns: i64,
}

impl Entry {
    fn is_due(&self, now_boot_ns: i64) -> bool {
        self.due_boot_ns != i64::MAX && self.due_boot_ns.saturating_sub(self.early_ns) <= now_boot_ns
    }
}

impl Rota {
    /// Every path due now. `intervals_seconds` has one interval a path; `seed` spreads machines.
    pub fn new(intervals_seconds: &[f64], seed: u64) -> Self {
        let entry = |(number, seconds): (u64, &f64)| Entry {
            cadence: Cadence::new(*seconds, seed.wrapping_add(number)),
            due_boot_ns: 0,
            early_ns: 0,
        };
        Self { entries: (0..).zip(intervals_seconds).map(entry).collect(), last: usize::MAX, is_awake: false }
    }

    /// What to read next and when. The first path and whatever else is due take turns, so that neither a
    /// slow service nor a short interval keeps anything waiting for more than one other request: the rest
    /// goes by how long it has been due.
    pub fn next(&mut self, now_boot_ns: i64) -> (usize, i64) {
        let dues = || self.entries.iter().map(|e| e.due_boot_ns).enumerate();
        let earliest = dues().min_by_key(|(_, due)| *due).unwrap_or((0, i64::MAX));
        self.is_awake |= earliest.1 <= now_boot_ns;
        let is_due = |number: usize| self.is_awake && self.entries[number].is_due(now_boot_ns);
        let others = dues().filter(|(number, _)| *number != 0 && is_due(*number));
        match others.min_by_key(|(_, due)| *due) {
            _ if is_due(0) && self.last != 0 => (0, now_boot_ns),
            Some((number, _)) => (number, now_boot_ns),
            None if is_due(0) => (0, now_boot_ns),
            None => {
                self.is_awake = false;
                earliest
            }
        }
    }

    /// A path was read, beginning at `began_boot_ns`, with or without success. It is read again after its interval, but not
    /// before `wait_min_ns` have passed.
    pub fn done(&mut self, number: usize, began_boot_ns: i64, wait_min_ns: i64) {
        self.last = number;
        if let Some(Entry { cadence, due_boot_ns, early_ns }) = self.entries.get_mut(number) {
            (*due_boot_ns, *early_ns) = (cadence.next(began_boot_ns), cadence.interval_ns() / TOGETHER);
            let earliest = began_boot_ns.saturating_add(wait_min_ns);
            if *due_boot_ns < earliest {
                (*due_boot_ns, *early_ns) = (earliest, 0);
            }
        }
    }

    /// A path was read, beginning at `began_boot_ns`, and is to be read again as soon as that is decent: a service that
    /// holds its answers back sets the pace itself, one that does not must not be flooded.
    pub fn again(&mut self, number: usize, began_boot_ns: i64) {
        self.last = number;
        if let Some(Entry { due_boot_ns, early_ns, .. }) = self.entries.get_mut(number) {
            *due_boot_ns = began_boot_ns.saturating_add(AGAIN_MIN_NS);
            *early_ns = 0;
        }
    }

    /// A path is not read any more.
    pub fn retire(&mut self, number: usize) {
        self.last = number;
        if let Some(entry) = self.entries.get_mut(number) {
            entry.due_boot_ns = i64::MAX;
        }
    }

    /// Another interval for a path, which is due now.
    pub fn set_interval(&mut self, number: usize, seconds: f64) {
        if let Some(Entry { cadence, due_boot_ns, .. }) = self.entries.get_mut(number)
            && *due_boot_ns != i64::MAX
        {
            cadence.set_interval(seconds);
            *due_boot_ns = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: i64 = 1_000_000_000;

    /// Reads what is due until nothing is; each poll takes a millisecond. Gives the numbers and the next due.
    fn round(rota: &mut Rota, mut now: i64) -> (Vec<usize>, i64) {
        let mut read = Vec::new();
        loop {
            let (number, due) = rota.next(now);
            if due > now {
                return (read, due);
            }
            read.push(number);
            rota.done(number, now, 0);
            now += 1_000_000;
        }
    }

    #[test]
    fn paths_of_one_interval_are_read_in_one_waking() {
        let mut rota = Rota::new(&[1.0, 1.0, 1.0, 30.0], 7);
        let (first, mut due) = round(&mut rota, SECOND_NS);
        assert_eq!(first, [0, 1, 2, 3]);
        for _ in 0..20 {
            let (mut read, next) = round(&mut rota, due);
            read.retain(|number| *number != 3);
            read.sort_unstable();
            assert_eq!(read, [0, 1, 2]);
            assert!(next - due > SECOND_NS * 8 / 10, "{}", next - due);
            due = next;
        }
    }

    #[test]
    fn a_service_slower_than_every_interval_starves_no_path() {
        let mut rota = Rota::new(&[0.05, 0.05, 0.05, 0.05], 7);
        let mut read = Vec::new();
        for n in 0..12 {
            let now = (n + 1) * SECOND_NS;
            let (number, due) = rota.next(now);
            assert!(due <= now);
            rota.done(number, now, 0);
            read.push(number);
        }
        assert_eq!(read, [0, 1, 0, 2, 0, 3, 0, 1, 0, 2, 0, 3]);
    }

    #[test]
    fn a_path_keeps_its_interval_and_the_least_wait_where_that_is_longer() {
        let mut rota = Rota::new(&[1.0], 7);
        for n in 1..20 {
            rota.done(0, n * SECOND_NS, 0);
            let wait = rota.next(n * SECOND_NS).1 - n * SECOND_NS;
            assert!((SECOND_NS * 94 / 100..=SECOND_NS * 106 / 100).contains(&wait), "{wait}");
            rota.done(0, n * SECOND_NS, 5 * SECOND_NS);
            assert_eq!(rota.next(n * SECOND_NS).1, (n + 5) * SECOND_NS);
        }
    }

    #[test]
    fn a_retired_path_is_never_read_again() {
        let mut rota = Rota::new(&[1.0, 1.0], 7);
        rota.retire(1);
        rota.set_interval(1, 0.1);
        assert_eq!(round(&mut rota, SECOND_NS).0, [0]);
    }

    #[test]
    fn a_path_whose_answer_was_held_back_is_read_at_once_and_one_that_was_not_soon() {
        let mut rota = Rota::new(&[60.0], 7);
        let began = SECOND_NS;
        assert_eq!(rota.next(began), (0, began));
        rota.again(0, began);
        assert_eq!(rota.next(began + 1_000_000).1, began + AGAIN_MIN_NS);
        rota.again(0, began);
        let held = began + 30 * SECOND_NS;
        assert!(rota.next(held).1 <= held);
    }

    proptest! {
        #[test]
        fn no_path_waits_longer_than_its_interval_and_its_turn(
            intervals in proptest::collection::vec(0.05_f64..10.0, 1..6), seed: u64,
        ) {
            let mut rota = Rota::new(&intervals, seed);
            let (mut now, mut last) = (SECOND_NS, vec![SECOND_NS; intervals.len()]);
            for _ in 0..300 {
                let (number, due) = rota.next(now);
                now = now.max(due);
                if due <= now {
                    // Each poll takes a millisecond, so a turn is at most twice their number.
                    let longest = (intervals[number] * 1.051 * 1e9) as i64 + 2_000_000 * (intervals.len() as i64 + 1);
                    prop_assert!(now - last[number] <= longest, "{} waited {}", number, now - last[number]);
                    last[number] = now;
                    rota.done(number, now, 0);
                    now += 1_000_000;
                }
            }
        }
    }
}
