//! What a document of scheduled events means after those before it.
//!
//! Responsibilities: what is told now and what later, and why an event is no longer listed. Inputs: documents, the notices
//! that stand, the time. Outputs: a [`Step`]. Pure. Must never take an event for withdrawn because the service has begun
//! anew or an entry cannot be read, nor miss a notice because the name of this machine is not known.
//!
//! # While the name is not known
//!
//! An event may be this machine's or a neighbour's. To act on a neighbour's may end a healthy machine; to miss one's own
//! loses data. So it is held back, however many machines it names, and the name is asked for with every look. It is told as
//! this machine's when waiting longer would cost time that is needed: [`HELD_NS`] after it was seen, but not before
//! [`NEEDED_NS`] are left. If the name then says that it is a neighbour's, it is withdrawn.

use crate::event::{EventType, Moment};
use crate::normalise::azure::{Document, Listed};
use crate::normalise::deadline::SECOND_NS;
use crate::normalise::revise::Absence;
use crate::normalise::{Notice, NoticeKey};

/// How long a notice is held back: two more looks at the usual pace, a tenth of what an eviction leaves.
pub(super) const HELD_NS: i64 = 3 * SECOND_NS;

/// What has to be left when a notice that was held back is told.
pub(super) const NEEDED_NS: i64 = 60 * SECOND_NS;

/// How long events may be missing from the document of a service that has begun anew ("events … within five minutes").
pub(super) const SETTLES_NS: i64 = 300 * SECOND_NS;

/// An event that was listed.
#[derive(Debug)]
struct Seen {
    key: NoticeKey,
    is_started: bool,
    /// CLOCK_BOOTTIME nanoseconds.
    first_boot_ns: i64,
}

/// What to do after a document.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    /// To be told, in this order.
    pub(super) tell: Vec<Notice>,
    /// No longer there.
    pub(super) gone: Vec<(NoticeKey, Absence)>,
    /// The same document may mean more later.
    pub(super) is_open: bool,
}

/// What was listed so far.
#[derive(Debug)]
pub(super) struct Listing {
    incarnation: Option<i64>,
    seen: Vec<Seen>,
    /// Until then what is missing may still come; None before the first document.
    settled_boot_ns: Option<i64>,
}

impl Listing {
    pub(super) const fn new() -> Self {
        Self { incarnation: None, seen: Vec::new(), settled_boot_ns: None }
    }

    /// Sorts what a document lists.
    pub(super) fn read(&mut self, document: Document, now_boot_ns: i64) -> Step {
        let began_anew = matches!((self.incarnation, document.incarnation), (Some(old), Some(new)) if new < old);
        if began_anew {
            self.seen.clear();
        }
        if began_anew || self.settled_boot_ns.is_none() {
            self.settled_boot_ns = Some(now_boot_ns.saturating_add(SETTLES_NS));
        }
        self.incarnation = document.incarnation.or(self.incarnation);
        let mut step = Step { is_open: document.malformed > 0, ..Step::default() };
        let mut listed = Vec::new();
        for (entry, is_undecided) in
            document.ours.into_iter().map(|e| (e, false)).chain(document.undecided.into_iter().map(|e| (e, true)))
        {
            let seen = self.see(&entry, now_boot_ns);
            let is_held = is_undecided && now_boot_ns < tell_at(seen.first_boot_ns, entry.notice.effective);
            listed.push(seen);
            step.is_open |= is_undecided;
            if !is_held {
                step.tell.push(entry.notice);
            }
        }
        if document.malformed > 0 {
            // What cannot be read may be what is missing.
            listed.append(&mut self.seen);
        }
        step.gone = self.seen.drain(..).map(Seen::gone).collect();
        self.seen = listed;
        step
    }

    /// Of the notices that stand, with the deadlines that were told, those that no document of this process and this
    /// numbering has listed: they were told before a restart, or before the service began anew. Gives what became of them,
    /// and whether some may still come.
    pub(super) fn unlisted<'a>(
        &self,
        standing: impl Iterator<Item = (&'a NoticeKey, Option<Moment>)>,
        now_boot_ns: i64,
    ) -> (Vec<(NoticeKey, Absence)>, bool) {
        let missing = standing.filter(|(key, _)| !self.seen.iter().any(|seen| seen.key.matches(key)));
        // Azure does not begin before the time that it states.
        let has_begun = |told: Option<Moment>| told.is_none_or(|at| at.boot_ns <= now_boot_ns);
        let gone: Vec<_> = missing.map(|(key, told)| (key.clone(), why_gone(key, has_begun(told)))).collect();
        let is_settled = self.settled_boot_ns.is_some_and(|at| at <= now_boot_ns);
        if is_settled { (gone, false) } else { (Vec::new(), !gone.is_empty()) }
    }

    fn see(&mut self, entry: &Listed, now_boot_ns: i64) -> Seen {
        let known = self.seen.iter().position(|seen| seen.key.matches(&entry.notice.key));
        let before = known.map(|index| self.seen.swap_remove(index));
        Seen {
            key: entry.notice.key.clone(),
            is_started: entry.is_started || before.as_ref().is_some_and(|seen| seen.is_started),
            first_boot_ns: before.map_or(now_boot_ns, |seen| seen.first_boot_ns),
        }
    }
}

impl Seen {
    fn gone(self) -> (NoticeKey, Absence) {
        let why = why_gone(&self.key, self.is_started);
        (self.key, why)
    }
}

/// Why an event is no longer listed. Maintenance is over or was called off: either way the machine is there, and what was
/// stopped for it is to be put back. An eviction or a deletion that has begun ends the machine, and what was saved from it
/// stays saved. A recommendation says nothing about its end.
fn why_gone(key: &NoticeKey, is_started: bool) -> Absence {
    let is_end = [EventType::SPOT_INTERRUPT, EventType::INSTANCE_TERMINATE].contains(&key.kind);
    let has_ended = (is_started && is_end) || key.kind == EventType::SPOT_REBALANCE;
    if has_ended { Absence::Ended } else { Absence::Withdrawn }
}

/// When a notice that is held back is told, CLOCK_BOOTTIME nanoseconds.
fn tell_at(first_boot_ns: i64, effective: Option<Moment>) -> i64 {
    let held = first_boot_ns.saturating_add(HELD_NS);
    effective.map_or(held, |at| held.max(at.boot_ns.saturating_sub(NEEDED_NS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Action, Machine};
    use crate::normalise::{Reading, azure};
    use serde_json::{Value, json};

    const NOW: Moment = Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: 1_700_000_000 * SECOND_NS };

    /// A document read so many seconds after the start, by the machine of that name.
    fn read(listing: &mut Listing, name: &str, at: i64, incarnation: i64, events: &Value) -> Step {
        let now = NOW.plus_ns(at * SECOND_NS);
        let machine = Machine { instance_id: name.into(), ..Machine::default() };
        let body = json!({"DocumentIncarnation": incarnation, "Events": events}).to_string();
        let document = azure::document(body.as_bytes(), Reading { machine: &machine, now }, Action::Stop);
        listing.read(document.expect("a document"), now.boot_ns)
    }

    fn event(id: &str, status: &str, in_seconds: i64) -> Value {
        let time = NOW.plus_ns(in_seconds * SECOND_NS).rfc3339();
        let time = if status == "Started" { "" } else { &time };
        json!({"EventId": id, "EventType": "Preempt", "EventStatus": status, "Resources": ["vm", "other"], "NotBefore": time})
    }

    #[test]
    fn an_eviction_that_leaves_before_it_started_is_withdrawn_and_after_it_is_over() {
        let mut listing = Listing::new();
        let both = json!([event("A", "Scheduled", 900), event("B", "Scheduled", 900)]);
        assert_eq!(read(&mut listing, "vm", 0, 2, &both).tell.len(), 2);
        let begun = json!([event("A", "Scheduled", 900), event("b", "Started", 900)]);
        assert!(read(&mut listing, "vm", 1, 3, &begun).gone.is_empty(), "the case of an id means nothing");
        let mut gone = read(&mut listing, "vm", 2, 4, &json!([])).gone;
        gone.sort_by_key(|(key, _)| key.provider_id.clone());
        let why: Vec<_> = gone.iter().map(|(key, why)| (key.provider_id.as_deref().unwrap_or(""), *why)).collect();
        assert_eq!(why, [("a", Absence::Withdrawn), ("b", Absence::Ended)]);
        assert!(read(&mut listing, "vm", 3, 4, &json!([])).gone.is_empty(), "told once");
    }

    #[test]
    fn maintenance_that_leaves_is_withdrawn_also_when_it_had_begun_so_that_what_was_stopped_is_put_back() {
        let mut listing = Listing::new();
        let mut freeze = event("a", "Started", 0);
        freeze["EventType"] = json!("Freeze");
        read(&mut listing, "vm", 0, 2, &json!([freeze]));
        let step = read(&mut listing, "vm", 1, 3, &json!([]));
        assert!(matches!(step.gone[..], [(_, Absence::Withdrawn)]), "{step:?}");
    }

    #[test]
    fn an_entry_that_cannot_be_read_withdraws_nothing() {
        let mut listing = Listing::new();
        read(&mut listing, "vm", 0, 2, &json!([event("a", "Scheduled", 900)]));
        let step = read(&mut listing, "vm", 1, 3, &json!([7]));
        assert!(step.gone.is_empty() && step.is_open);
        assert_eq!(read(&mut listing, "vm", 2, 4, &json!([])).gone.len(), 1);
    }

    #[test]
    fn a_service_that_begins_anew_withdraws_nothing_until_it_has_settled() {
        let mut listing = Listing::new();
        let step = read(&mut listing, "vm", 0, 7, &json!([event("a", "Scheduled", 900)]));
        let key = step.tell[0].key.clone();
        let at = |seconds: i64| NOW.plus_ns(seconds * SECOND_NS);
        assert!(read(&mut listing, "vm", 10, 1, &json!([])).gone.is_empty());
        let left = |listing: &Listing, told: i64, now: i64| {
            listing.unlisted([(&key, Some(at(told)))].into_iter(), at(now).boot_ns)
        };
        assert_eq!(left(&listing, 900, 20), (Vec::new(), true));
        assert_eq!(left(&listing, 900, 310), (vec![(key.clone(), Absence::Withdrawn)], false));
        assert_eq!(left(&listing, 300, 310), (vec![(key.clone(), Absence::Ended)], false));
        read(&mut listing, "vm", 30, 2, &json!([event("a", "Scheduled", 900)]));
        assert_eq!(left(&listing, 900, 310), (Vec::new(), false), "it came back");
    }

    #[test]
    fn while_the_name_is_not_known_a_notice_waits_only_as_long_as_there_is_time() {
        for (left, told_at) in [(30, 3), (62, 3), (900, 840)] {
            let mut listing = Listing::new();
            let events = json!([event("a", "Scheduled", left)]);
            for at in 0..told_at {
                let step = read(&mut listing, "", at, 2, &events);
                assert!(step.tell.is_empty() && step.is_open, "{left} s left, told after {at} s");
            }
            assert_eq!(read(&mut listing, "", told_at, 2, &events).tell.len(), 1, "{left} s left");
        }
        let mut begun = Listing::new();
        assert!(read(&mut begun, "", 0, 2, &json!([event("a", "Started", 0)])).tell.is_empty());
        assert_eq!(read(&mut begun, "", 3, 2, &json!([event("a", "Started", 0)])).tell.len(), 1);
    }

    #[test]
    fn the_name_decides_what_was_held_back_or_told_too_early() {
        let events = json!([event("a", "Scheduled", 30)]);
        let mut own = Listing::new();
        assert!(read(&mut own, "", 0, 2, &events).tell.is_empty());
        let step = read(&mut own, "VM", 1, 2, &events);
        assert_eq!((step.tell.len(), step.gone.len(), step.is_open), (1, 0, false));
        let mut neighbour = Listing::new();
        read(&mut neighbour, "", 0, 2, &events);
        assert_eq!(read(&mut neighbour, "", 3, 2, &events).tell.len(), 1);
        let step = read(&mut neighbour, "third", 4, 2, &events);
        assert!(step.tell.is_empty() && matches!(step.gone[..], [(_, Absence::Withdrawn)]), "{step:?}");
    }
}
