//! Events that wait for their turn: one bounded lane a severity, the most severe lane first.
//!
//! Inputs: values with a severity. Outputs: the oldest value of the most severe lane. Must never
//! allocate after it was made, nor let a flood of low severity keep a severe event out.

use crate::event::Severity;
use std::collections::VecDeque;

/// Events a lane holds.
pub const LANE_MAX: usize = 1024;

/// The lanes.
pub struct Queue<T> {
    lanes: [VecDeque<T>; 4],
    dropped: [u64; 4],
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lanes: std::array::from_fn(|_| VecDeque::with_capacity(LANE_MAX)), dropped: [0; 4] }
    }
}

impl<T> Queue<T> {
    /// Puts a value at the end of its lane. A full lane gives the value back: what is already waiting
    /// came first.
    ///
    /// # Errors
    /// The value, when its lane is full.
    pub fn push(&mut self, severity: Severity, value: T) -> Result<(), T> {
        let lane = severity as usize - 1;
        if self.lanes[lane].len() == LANE_MAX {
            self.dropped[lane] += 1;
            return Err(value);
        }
        self.lanes[lane].push_back(value);
        Ok(())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Takes the oldest value of the most severe lane that is not empty, of at least this severity.
    pub fn pop(&mut self, at_least: Severity) -> Option<T> {
        self.lanes[at_least as usize - 1..].iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// What [`Queue::pop`] would take.
    pub fn first(&self, at_least: Severity) -> Option<&T> {
        self.lanes[at_least as usize - 1..].iter().rev().find_map(VecDeque::front)
    }

    /// Values waiting, by severity from info to critical.
    pub fn waiting(&self) -> [usize; 4] {
        std::array::from_fn(|lane| self.lanes[lane].len())
    }

    /// Values given back since the start, by severity from info to critical.
    pub fn dropped(&self) -> [u64; 4] {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn severity(n: u32) -> Severity {
        [Severity::Info, Severity::Warning, Severity::Urgent, Severity::Critical][n as usize % 4]
    }

    #[test]
    fn a_full_low_lane_never_keeps_an_urgent_event_out() {
        let mut queue = Queue::default();
        for n in 0..LANE_MAX + 5 {
            let _ = queue.push(Severity::Info, n);
        }
        assert_eq!(queue.push(Severity::Urgent, 9_999), Ok(()));
        assert_eq!((queue.first(Severity::Info), queue.first(Severity::Critical)), (Some(&9_999), None));
        assert_eq!(queue.pop(Severity::Info), Some(9_999));
        assert_eq!(queue.dropped(), [5, 0, 0, 0]);
        assert_eq!(queue.pop(Severity::Warning), None);
        assert_eq!(queue.pop(Severity::Info), Some(0));
    }

    proptest! {
        #[test]
        fn values_leave_by_severity_then_age(pushed in proptest::collection::vec(0..4u32, 0..200)) {
            let mut queue = Queue::default();
            for (age, lane) in pushed.iter().enumerate() {
                prop_assert!(queue.push(severity(*lane), (severity(*lane), age)).is_ok());
            }
            let out: Vec<_> = std::iter::from_fn(|| queue.pop(Severity::Info)).collect();
            let mut sorted = out.clone();
            sorted.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
            prop_assert_eq!(out, sorted);
        }
    }
}
