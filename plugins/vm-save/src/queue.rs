//! Who is saved when: the most important first, so many at a time, and none whose bytes do not fit beside those before it.
//!
//! Inputs: bytes and disk of each machine, in the order of their importance. Outputs: turns. Must never let a machine take
//! the time of one that is more important.

use crate::clock::Clock;
use cloudsnooze_plugin::Error;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a machine has to write, and where to; None: a disk that is not known is nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) device: Option<u64>,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is known of it yet.
    Before,
    Waiting(Load),
    Saving(Load),
    Over,
}

struct Place {
    stage: Stage,
    must_yield: bool,
}

/// The queue of one event.
pub(crate) struct Queue {
    places: Mutex<Vec<Place>>,
    changed: Condvar,
    parallel: usize,
}

impl Queue {
    pub(crate) fn new(machines: usize, parallel: usize) -> Self {
        let places = (0..machines).map(|_| Place { stage: Stage::Before, must_yield: false }).collect();
        Self { places: Mutex::new(places), changed: Condvar::new(), parallel: parallel.max(1) }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, at: usize, stage: Stage) {
        if let Some(place) = self.places().get_mut(at) {
            place.stage = stage;
        }
        self.changed.notify_all();
    }

    /// Says what a machine has to write, and gives the bytes that its disk is to take before or beside them.
    ///
    /// # Errors
    /// The time is over while those before it are still being looked at.
    pub(crate) fn enter(&self, at: usize, load: Load, clock: &Clock) -> Result<u64, Error> {
        self.set(at, Stage::Waiting(load));
        let places = self.wait(clock, "those before it", |places| {
            places.iter().take(at).all(|place| place.stage != Stage::Before)
        })?;
        Ok(before(&places, at, load))
    }

    /// Waits for its turn, and gives the bytes that its disk is to take beside it.
    ///
    /// # Errors
    /// The time is over.
    pub(crate) fn turn(&self, at: usize, load: Load, clock: &Clock) -> Result<u64, Error> {
        let mut places = self.wait(clock, "its turn", |places| {
            let saving = places.iter().filter(|place| matches!(place.stage, Stage::Saving(_))).count();
            let is_waiting = |place: &Place| matches!(place.stage, Stage::Before | Stage::Waiting(_));
            saving < self.parallel && !places.iter().take(at).any(is_waiting)
        })?;
        if let Some(place) = places.get_mut(at) {
            place.stage = Stage::Saving(load);
        }
        let beside = before(&places, at, load);
        drop(places);
        self.changed.notify_all();
        Ok(beside)
    }

    /// Says how much of it is left.
    pub(crate) fn progress(&self, at: usize, load: Load) {
        if let Some(place) = self.places().get_mut(at).filter(|place| matches!(place.stage, Stage::Saving(_))) {
            place.stage = Stage::Saving(load);
        }
    }

    /// It is over, however it ended.
    pub(crate) fn leave(&self, at: usize) {
        self.set(at, Stage::Over);
    }

    /// Tells the least important one that writes to the same disk to give way; false when there is none.
    pub(crate) fn claim(&self, at: usize, load: Load) -> bool {
        let mut places = self.places();
        let shares = |place: &Place| matches!(place.stage, Stage::Saving(other) if is_same_disk(other, load));
        let last = places.iter().rposition(shares).filter(|last| *last > at);
        if let Some(place) = last.and_then(|last| places.get_mut(last)) {
            place.must_yield = true;
        }
        last.is_some()
    }

    /// Whether it has to give way to a more important one.
    pub(crate) fn must_yield(&self, at: usize) -> bool {
        self.places().get(at).is_some_and(|place| place.must_yield)
    }

    fn wait(
        &self,
        clock: &Clock,
        waiting_for: &str,
        is_so: impl Fn(&[Place]) -> bool,
    ) -> Result<MutexGuard<'_, Vec<Place>>, Error> {
        let mut places = self.places();
        while !is_so(&places) {
            clock.go_on(waiting_for)?;
            let waited = self.changed.wait_timeout(places, crate::clock::SLICE);
            places = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(places)
    }
}

fn is_same_disk(one: Load, other: Load) -> bool {
    one.device.is_some() && one.device == other.device
}

/// Bytes of the more important ones that are still to be written, and of others that are being written.
fn before(places: &[Place], at: usize, load: Load) -> u64 {
    let counts =
        places.iter().enumerate().filter(|(other, _)| *other != at).filter_map(|(other, place)| match place.stage {
            Stage::Waiting(theirs) if other < at => Some(theirs),
            Stage::Saving(theirs) => Some(theirs),
            _ => None,
        });
    counts.filter(|theirs| is_same_disk(*theirs, load)).map(|theirs| theirs.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    fn clock() -> Clock {
        Clock::apart(Duration::from_secs(30))
    }

    fn load(device: u64, bytes: u64) -> Load {
        Load { device: Some(device), bytes }
    }

    #[test]
    fn each_sees_the_bytes_of_those_before_it_on_the_same_disk() {
        let queue = Queue::new(4, 2);
        assert_eq!(queue.enter(0, load(1, 10), &clock()).unwrap(), 0);
        assert_eq!(queue.enter(1, load(2, 20), &clock()).unwrap(), 0, "another disk");
        assert_eq!(queue.enter(2, load(1, 30), &clock()).unwrap(), 10);
        assert_eq!(queue.enter(3, Load { device: None, bytes: 1 }, &clock()).unwrap(), 0);
        queue.leave(0);
        assert_eq!(queue.enter(2, load(1, 30), &clock()).unwrap(), 0);
    }

    #[test]
    fn one_that_has_not_been_looked_at_yet_is_waited_for_and_not_for_ever() {
        let queue = Queue::new(2, 2);
        let soon = clock().within(Duration::from_millis(50));
        assert!(queue.enter(1, load(1, 1), &soon).is_err());
        queue.leave(0);
        assert!(queue.enter(1, load(1, 1), &clock()).is_ok());
    }

    #[test]
    fn turns_are_taken_in_order_and_so_many_at_a_time() {
        let (queue, order) = (Queue::new(6, 2), Mutex::new(Vec::new()));
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for at in (0..6).rev() {
                let (queue, order, now, most) = (&queue, &order, &now, &most);
                scope.spawn(move || {
                    queue.enter(at, load(1, 1), &clock()).unwrap();
                    queue.turn(at, load(1, 1), &clock()).unwrap();
                    order.lock().unwrap().push(at);
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::park_timeout(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                    queue.leave(at);
                });
            }
        });
        let order = order.into_inner().unwrap();
        // Two that begin together may note it down in either order.
        assert!(order.iter().enumerate().all(|(at, who)| at.abs_diff(*who) <= 1), "{order:?}");
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn the_least_important_on_the_same_disk_gives_way() {
        let queue = Queue::new(3, 3);
        for at in 0..3 {
            queue.enter(at, load(1, 1), &clock()).unwrap();
            queue.turn(at, load(1, 1), &clock()).unwrap();
        }
        queue.progress(0, load(1, 7));
        assert!(queue.claim(0, load(1, 1)) && queue.must_yield(2) && !queue.must_yield(1));
        assert!(!queue.claim(2, load(1, 1)), "nobody is less important");
        assert!(!queue.claim(0, load(2, 1)), "nobody is on that disk");
    }
}
