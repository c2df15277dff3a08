//! What was heard of before, and when.
//!
//! Responsibilities: remember the last events, and be asked about one in the same time however many they are. Inputs: events by identity,
//! kind and deadline, the time. Outputs: whether one is new, when it was heard of. It must never hold more than [`MOST_HEARD`].

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::clock::Boot;
use crate::wire::Kind;

/// How many events are known to have been heard.
const MOST_HEARD: usize = 1024;

/// What was told of which event, with its deadline (nanoseconds since 1970, 0 for none).
type Key = (Uuid, Kind, i64);

/// The last events that were heard of.
#[derive(Debug, Default)]
pub(super) struct Heard {
    at: HashMap<Key, Boot>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Heard {
    /// Remembers that something was heard now; false when it was heard before.
    pub(super) fn hear(&mut self, now: Boot, event: Uuid, kind: Kind, deadline: i64) -> bool {
        let key = (event, kind, deadline);
        let Entry::Vacant(place) = self.at.entry(key) else { return false };
        place.insert(now);
        let oldest = if self.order.len() >= MOST_HEARD { self.order.pop_front() } else { None };
        self.order.push_back(key);
        if let Some(oldest) = oldest {
            self.at.remove(&oldest);
        }
        true
    }

    /// When a letter about an event was heard first: whatever it told, that it happened was heard with it. Who goes by a plan is in it.
    pub(super) fn since(&self, event: Uuid) -> Option<Boot> {
        self.at.get(&(event, Kind::Event, 0)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered_each_once() {
        let mut heard = Heard::default();
        let event = |number: usize| Uuid::from_u128(number as u128);
        for number in 0..=MOST_HEARD {
            assert!(heard.hear(Boot(number as u64), event(number), Kind::Event, 0));
            assert!(!heard.hear(Boot(9), event(number), Kind::Event, 0));
        }
        assert!(heard.hear(Boot(1), event(5), Kind::Leaving, 7) && heard.hear(Boot(1), event(5), Kind::Leaving, 8));
        assert_eq!((heard.at.len(), heard.order.len()), (MOST_HEARD, MOST_HEARD));
        assert_eq!((heard.since(event(0)), heard.since(event(2)), heard.since(event(9))), (None, None, Some(Boot(9))));
    }
}
