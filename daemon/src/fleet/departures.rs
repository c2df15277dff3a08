//! What the cloud has announced to those who go: an operation of the group ends with it, and who led may have to tell the cloud.
//!
//! Inputs: notices, this machine's own and those of other members. Outputs: names of machines and events as the cloud has them. Threads:
//! the recorder's and the daemon's main one. Must never keep more of a notice than that, nor outlive the process: who has forgotten
//! approves nothing.

use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Notices that are remembered: as many as a member remembers of what it heard. Whoever has forgotten one approves nothing for it.
const DEPARTURES_MAX: usize = 1024;

/// One notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// Whose it is; empty where that is not known.
    pub provider: String,
    /// What the cloud calls the machine.
    pub machine: String,
    /// The cloud's own name of the event (Azure's `EventId`); empty where it has none.
    pub cloud_event: String,
}

/// The last of them, the newest behind, and of which the operation is over.
#[derive(Default)]
pub struct Departures(Mutex<VecDeque<Known>>);

struct Known {
    notice: Uuid,
    departure: Departure,
    is_over: bool,
}

impl Departures {
    /// Keeps what a notice says; `event` is the whole event as JSON, null where only the notice is known. What is kept already stays.
    pub fn note(&self, notice: Uuid, event: &Value) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let departure = Departure {
            provider: text("/data/provider"),
            machine: text("/data/instanceID"),
            cloud_event: text("/data/raw/EventId"),
        };
        let mut all = self.all();
        if event.is_null() || all.iter().any(|known| known.notice == notice) {
            return;
        }
        if all.len() >= DEPARTURES_MAX {
            all.pop_front();
        }
        all.push_back(Known { notice, departure, is_over: false });
    }

    /// What is known of a notice; nothing where it was never noted.
    pub fn of(&self, notice: Uuid) -> Departure {
        let all = self.all();
        all.iter().find(|known| known.notice == notice).map(|known| known.departure.clone()).unwrap_or_default()
    }

    /// The operation that these were for has ended, and all did their part.
    pub fn are_over(&self, notices: &[Uuid]) {
        self.all().iter_mut().filter(|known| notices.contains(&known.notice)).for_each(|known| known.is_over = true);
    }

    /// Those of earlier operations to whom the cloud has announced one of the same events: a machine that was the last to hear of it has
    /// an operation of its own.
    pub fn before(&self, notices: &[Uuid]) -> Vec<(Uuid, Departure)> {
        let all = self.all();
        let (these, others): (Vec<&Known>, Vec<&Known>) = all.iter().partition(|known| notices.contains(&known.notice));
        let is_same = |one: &Departure, other: &Departure| {
            !one.cloud_event.is_empty() && (&one.provider, &one.cloud_event) == (&other.provider, &other.cloud_event)
        };
        let before = others.into_iter().filter(|known| known.is_over);
        let before = before.filter(|known| these.iter().any(|this| is_same(&this.departure, &known.departure)));
        before.map(|known| (known.notice, known.departure.clone())).collect()
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_cloud_announced_is_remembered_and_what_nobody_said_is_nothing() {
        let departures = Departures::default();
        let azure = json!({ "data": { "provider": "azure", "instanceID": "vm-1", "raw": { "EventId": "A-1" } } });
        let notice = Uuid::from_u128(1);
        departures.note(notice, &azure);
        departures.note(notice, &Value::Null);
        let kept = departures.of(notice);
        assert_eq!(
            (kept.provider.as_str(), kept.machine.as_str(), kept.cloud_event.as_str()),
            ("azure", "vm-1", "A-1")
        );
        assert_eq!(departures.of(Uuid::from_u128(2)), Departure::default());
        let later = Uuid::from_u128(3);
        departures.note(later, &azure);
        assert!(departures.before(&[later]).is_empty(), "the first is not over");
        departures.are_over(&[notice]);
        assert_eq!(departures.before(&[later]), [(notice, kept)]);
        (10..).take(DEPARTURES_MAX).for_each(|number| departures.note(Uuid::from_u128(number), &azure));
        assert_eq!(departures.of(notice), Departure::default(), "the oldest goes");
    }
}
