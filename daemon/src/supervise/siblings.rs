//! One notice through two sources is one event: what each source has published, for the others to look at.
//!
//! A spot interruption reaches a machine through its metadata service and, where an operator has set that up, through a queue.
//! Each source remembers its own notices; here they look at each other's. Inputs: events on their way to the pool. Outputs:
//! the event that another source made of the same notice. Threads: the sources'. Must never make one of them wait: the list is
//! swapped, and read without a lock.

use super::seen::Seen;
use crate::event::{Event, EventId, EventType, Moment};
use crate::normalise::revise::DRIFT_MAX_NS;
use arc_swap::ArcSwap;
use std::borrow::Cow;
use std::sync::Arc;

/// Most events that are remembered.
const TOLD_MAX: usize = 64;
/// Two notices without a time are the same when they were read within this time, nanoseconds: a queue that was read late, or a
/// metadata service that did not answer for a while.
const UNTIMED_NS: i64 = 600_000_000_000;

/// What the sources have published.
#[derive(Default)]
pub(super) struct Siblings(ArcSwap<Vec<Told>>);

#[derive(Clone)]
struct Told {
    id: EventId,
    source: Cow<'static, str>,
    provider: Cow<'static, str>,
    kind: EventType,
    instance: String,
    effective: Option<Moment>,
    detected: Moment,
    is_withdrawn: bool,
}

impl Told {
    fn of(event: &Event) -> Self {
        Self {
            id: event.id,
            source: event.source.clone(),
            provider: event.provider.clone(),
            kind: event.event_type.clone(),
            instance: event.machine.instance_id.clone(),
            effective: event.effective,
            detected: event.detected,
            is_withdrawn: false,
        }
    }

    /// Whether another source's event is of the same notice. The providers' identifiers do not count: each way has its own.
    fn is_same(&self, event: &Event) -> bool {
        let is_near =
            |one: Moment, two: Moment, most: i64| one.boot_ns.saturating_sub(two.boot_ns).saturating_abs() < most;
        !self.is_withdrawn
            && self.kind == event.event_type
            && self.source != event.source
            && self.provider == event.provider
            && !self.instance.is_empty()
            && self.instance == event.machine.instance_id
            && match (self.effective, event.effective) {
                (Some(one), Some(two)) => is_near(one, two, DRIFT_MAX_NS),
                _ => is_near(self.detected, event.detected, UNTIMED_NS),
            }
    }
}

impl Siblings {
    /// Knows the events of before a restart, and whether they were withdrawn.
    pub(super) fn new(seen: &[Seen]) -> Self {
        let siblings = Self::default();
        for (event, is_withdrawn) in seen {
            match event.cancels {
                Some(withdrawn) => drop(siblings.withdraw(withdrawn)),
                None => siblings.add(event),
            }
            if *is_withdrawn {
                siblings.withdraw(event.id);
            }
        }
        siblings
    }

    /// The event that another source made of the same notice.
    pub(super) fn same(&self, event: &Event) -> Option<EventId> {
        self.0.load().iter().find(|told| told.is_same(event)).map(|told| told.id)
    }

    /// An event was published; the oldest makes room.
    pub(super) fn add(&self, event: &Event) {
        self.0.rcu(|told| {
            let kept = told.iter().skip((told.len() + 1).saturating_sub(TOLD_MAX));
            kept.cloned().chain([Told::of(event)]).collect::<Vec<_>>()
        });
    }

    /// An event has another deadline.
    pub(super) fn moved(&self, id: EventId, effective: Moment) {
        self.change(id, |told| told.effective = Some(effective));
    }

    /// An event is withdrawn. Whether it was already.
    pub(super) fn withdraw(&self, id: EventId) -> bool {
        let was = self.0.load().iter().any(|told| told.id == id && told.is_withdrawn);
        self.change(id, |told| told.is_withdrawn = true);
        was
    }

    fn change(&self, id: EventId, change: impl Fn(&mut Told)) {
        if self.0.load().iter().any(|told| told.id == id) {
            self.0.rcu(|told| {
                let mut told = Vec::clone(told);
                told.iter_mut().filter(|told| told.id == id).for_each(&change);
                told
            });
        }
    }
}

/// The events of one source that another had made before, under the other's identity.
#[derive(Default)]
pub(super) struct Aliases(Vec<(EventId, EventId)>);

impl Aliases {
    /// What is known under `theirs` is `own` for this source.
    pub(super) fn add(&mut self, own: EventId, theirs: EventId) {
        if self.0.len() == TOLD_MAX {
            self.0.remove(0);
        }
        self.0.push((own, theirs));
    }

    /// What an event of this source is known under.
    pub(super) fn of(&self, own: EventId) -> EventId {
        self.0.iter().rev().find(|(known, _)| *known == own).map_or(own, |(_, theirs)| *theirs)
    }
}

/// Publishing with a look at the other sources: whether the event is to be published, with the right name of what it
/// withdraws. Called before anything else of the event is done.
pub(super) fn admit(siblings: &Siblings, aliases: &mut Aliases, event: &mut Arc<Event>) -> bool {
    if let Some(withdrawn) = event.cancels {
        let withdrawn = aliases.of(withdrawn);
        if event.cancels != Some(withdrawn) {
            Arc::make_mut(event).cancels = Some(withdrawn);
        }
        return !siblings.withdraw(withdrawn);
    }
    match siblings.same(event) {
        Some(theirs) => {
            aliases.add(event.id, theirs);
            false
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::deadline::SECOND_NS;
    use serde_json::json;

    const START: Moment = Moment { boot_ns: 1_000_000 * SECOND_NS, wall_ns: 1_700_000_000 * SECOND_NS };

    fn event(number: u32, source: &str, acts_seconds: Option<i64>) -> Arc<Event> {
        let mut json = json!({
            "id": format!("019a1b2c-3d4e-7f60-8182-{number:012x}"), "type": "cloud.spot.interrupt", "source": source,
            "severity": "urgent", "time": START.rfc3339(),
            "data": {"provider": "aws", "action": "terminate", "noticeKind": "deadline", "instanceID": "i-1"},
        });
        if let Some(seconds) = acts_seconds {
            json["data"]["time"] = json!(START.plus_ns(seconds * SECOND_NS).rfc3339());
        }
        Arc::new(Event::from_json(&json, START).expect("an event"))
    }

    fn publish(siblings: &Siblings, aliases: &mut Aliases, event: &Arc<Event>) -> bool {
        let mut event = Arc::clone(event);
        let is_admitted = admit(siblings, aliases, &mut event);
        if is_admitted && event.cancels.is_none() {
            siblings.add(&event);
        }
        is_admitted
    }

    #[test]
    fn the_same_interruption_through_another_source_is_not_published_again_and_known_by_its_first_name() {
        let (siblings, mut metadata, mut queue) = (Siblings::default(), Aliases::default(), Aliases::default());
        let (first, second) =
            (event(1, "aws.ec2.metadata-service", Some(120)), event(2, "plugin.aws-queue", Some(118)));
        assert!(publish(&siblings, &mut metadata, &first));
        assert!(!publish(&siblings, &mut queue, &second));
        assert_eq!((queue.of(second.id), queue.of(first.id)), (first.id, first.id));
        let later = event(3, "plugin.aws-queue", Some(400));
        assert!(publish(&siblings, &mut queue, &later), "another time is another notice");
        let again = event(4, "aws.ec2.metadata-service", Some(120));
        assert!(publish(&siblings, &mut metadata, &again), "one source's own notices are its reviser's affair");
    }

    #[test]
    fn notices_without_a_time_are_the_same_for_ten_minutes_and_of_the_same_machine_only() {
        let (siblings, mut metadata, mut queue) = (Siblings::default(), Aliases::default(), Aliases::default());
        assert!(publish(&siblings, &mut metadata, &event(1, "aws.ec2.metadata-service", None)));
        assert!(!publish(&siblings, &mut queue, &event(2, "plugin.aws-queue", Some(120))));
        let mut late = event(3, "plugin.aws-queue", None);
        Arc::make_mut(&mut late).detected = START.plus_ns(UNTIMED_NS);
        assert!(publish(&siblings, &mut queue, &late));
        let mut other = event(4, "plugin.other", None);
        Arc::make_mut(&mut Arc::make_mut(&mut other).machine).instance_id = "i-2".into();
        assert!(publish(&siblings, &mut queue, &other));
    }

    #[test]
    fn a_withdrawal_names_the_event_that_was_published_and_comes_once() {
        let (siblings, mut metadata, mut queue) = (Siblings::default(), Aliases::default(), Aliases::default());
        let (first, second) =
            (event(1, "aws.ec2.metadata-service", Some(120)), event(2, "plugin.aws-queue", Some(120)));
        assert!(publish(&siblings, &mut metadata, &first) && !publish(&siblings, &mut queue, &second));
        let withdrawal = |number, source, of: EventId| {
            let mut event = event(number, source, None);
            Arc::make_mut(&mut event).cancels = Some(of);
            event
        };
        let mut by_queue = withdrawal(3, "plugin.aws-queue", second.id);
        assert!(admit(&siblings, &mut queue, &mut by_queue));
        assert_eq!(by_queue.cancels, Some(first.id));
        assert!(!admit(&siblings, &mut metadata, &mut withdrawal(4, "aws.ec2.metadata-service", first.id)));
        // Told again after that, it is news.
        assert!(publish(&siblings, &mut queue, &event(5, "plugin.aws-queue", Some(120))));
    }

    #[test]
    fn what_was_told_before_a_restart_is_known_and_the_list_is_bounded() {
        let before = event(1, "aws.ec2.metadata-service", Some(120));
        let siblings = Siblings::new(&[(Event::clone(&before), false)]);
        let mut queue = Aliases::default();
        assert!(!publish(&siblings, &mut queue, &event(2, "plugin.aws-queue", Some(120))));
        let withdrawn = Siblings::new(&[(Event::clone(&before), true)]);
        assert!(publish(&withdrawn, &mut queue, &event(3, "plugin.aws-queue", Some(120))));
        for number in 0..1_000 {
            siblings.add(&event(number, "plugin.x", Some(i64::from(number) * 1_000)));
        }
        assert_eq!(siblings.0.load().len(), TOLD_MAX);
    }
}
