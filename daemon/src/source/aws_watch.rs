//! AWS: what the answers of the metadata service mean together.
//!
//! Responsibilities: from answers, or their absence, to what is told. Inputs: what was found at each path.
//! Outputs: events to the sink. Must never do I/O of its own, nor log between an answer and the sink.

use super::aws::PollError;
use super::reply::Found;
use super::{Sink, deliver};
use crate::event::{EventType, Machine, Moment};
use crate::normalise::aws as parse;
use crate::normalise::deadline::cloud_now;
use crate::normalise::revise::{Absence, Reviser, Verdict};
use crate::normalise::{Notice, NoticeKey, ParseError, Reading};
use crate::sys::clock;
use std::sync::Arc;

/// A notice as the service writes it, for the self-test. Its time lies ahead for as long as this program lives: one
/// that is past would be passed over.
const SPECIMEN: &[u8] = br#"{"action": "terminate", "time": "2199-12-31T23:59:59Z"}"#;

/// Makes the key of the notice that has ended when its path is absent.
pub(super) type Ends = fn(&Machine) -> NoticeKey;

/// What was seen so far: the part that needs no service.
#[derive(Debug)]
pub(super) struct Watch {
    reviser: Reviser,
    /// The machine, as far as it is known.
    pub(super) machine: Arc<Machine>,
    /// What was told in this poll and nobody else will log, in words, to be logged after it.
    pub(super) told: Vec<String>,
}

impl Watch {
    /// Has seen nothing; `reviser` knows what was told before a restart.
    pub(super) fn new(reviser: Reviser) -> Self {
        Self { reviser, machine: Arc::default(), told: Vec::new() }
    }

    /// Sends a notice the whole way that means nothing, from the bytes on.
    pub(super) fn self_test(&self, sink: &mut impl Sink) {
        let local = clock::now();
        let read = parse::instance_action(SPECIMEN, Reading { machine: &self.machine, now: local });
        if let Ok(Some(notice)) = read
            && let Verdict::New(event) = Reviser::new("self-test").observe(notice, &self.machine, local)
        {
            sink.self_test(event.as_self_test());
        }
    }

    /// A path that holds one notice or is absent. Gives whether something was told.
    pub(super) fn spot(
        &mut self,
        event_type: &EventType,
        found: Option<&Found>,
        read: impl FnOnce(&[u8], Reading<'_>) -> Result<Option<Notice>, ParseError>,
        ends: Option<Ends>,
        sink: &mut impl Sink,
    ) -> Result<bool, PollError> {
        let is_news = match (found, ends) {
            (Some(found), _) => {
                sink.approach(event_type);
                let (local, machine) = (clock::now(), Arc::clone(&self.machine));
                if let Some(notice) = read(&found.body, reading(&machine, found, local))? {
                    self.observe(notice, local, sink)
                } else {
                    false
                }
            }
            (None, Some(key)) => self.absent(&key(&self.machine), Absence::Ended, sink),
            (None, None) => false,
        };
        Ok(is_news)
    }

    pub(super) fn lifecycle_state(&mut self, found: Option<&Found>, sink: &mut impl Sink) -> Result<(), PollError> {
        let key = parse::autoscaling_key(&self.machine);
        let Some(found) = found else {
            self.absent(&key, Absence::Ended, sink);
            return Ok(());
        };
        sink.approach(&EventType::AUTOSCALING_TERMINATE);
        let (local, machine) = (clock::now(), Arc::clone(&self.machine));
        match parse::lifecycle_state(&found.body, reading(&machine, found, local))? {
            parse::Lifecycle::Leaving(notice) => self.observe(*notice, local, sink),
            // The group says in so many words that it aims at something else now.
            parse::Lifecycle::Other => self.absent(&key, Absence::Withdrawn, sink),
        };
        Ok(())
    }

    /// The lists of scheduled and of past events; a missing one is empty. What history cannot tell, by
    /// error or by garbage, hides nothing that is scheduled.
    pub(super) fn maintenance(
        &mut self,
        scheduled: Option<&Found>,
        history: Option<&Found>,
        sink: &mut impl Sink,
    ) -> Result<(), PollError> {
        let (local, machine) = (clock::now(), Arc::clone(&self.machine));
        let date_ns = scheduled.or(history).and_then(Found::date_ns);
        let reading = Reading { machine: &machine, now: cloud_now(local, date_ns) };
        let scheduled = scheduled.map_or(&b"[]"[..], |found| &found.body);
        let history = history.map_or(&b"[]"[..], |found| &found.body);
        let (found, trouble) = match parse::maintenance(scheduled, history, reading) {
            Ok(found) => (found, None),
            Err(error) => (parse::maintenance(scheduled, b"[]", reading)?, Some(error)),
        };
        for notice in found.notices {
            self.observe(notice, local, sink);
        }
        match trouble {
            Some(error) => Err(error.into()),
            None if found.malformed > 0 => Err(PollError::Entries(found.malformed)),
            None => Ok(()),
        }
    }

    fn observe(&mut self, notice: Notice, local: Moment, sink: &mut impl Sink) -> bool {
        let verdict = self.reviser.observe(notice, &self.machine, local);
        self.deliver(verdict, sink)
    }

    fn absent(&mut self, key: &NoticeKey, absence: Absence, sink: &mut impl Sink) -> bool {
        let verdict = self.reviser.absent(key, absence, &self.machine, clock::now());
        self.deliver(verdict, sink)
    }

    fn deliver(&mut self, verdict: Verdict, sink: &mut impl Sink) -> bool {
        let is_news = !matches!(verdict, Verdict::Same);
        self.told.extend(deliver(verdict, sink));
        is_news
    }
}

fn reading<'a>(machine: &'a Machine, found: &Found, local: Moment) -> Reading<'a> {
    Reading { machine, now: cloud_now(local, found.date_ns()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventId};

    #[derive(Default)]
    struct Caught(Vec<Arc<Event>>);

    impl Sink for Caught {
        fn publish(&mut self, event: Arc<Event>) {
            panic!("the self-test published {}", event.event_type);
        }

        fn moved(&mut self, id: EventId, _: Moment) {
            panic!("the self-test moved {id}");
        }

        fn self_test(&mut self, event: Arc<Event>) {
            self.0.push(event);
        }
    }

    #[test]
    fn every_self_test_makes_an_event_of_its_own_kind_and_nothing_else() {
        let (watch, mut caught) = (Watch::new(Reviser::new("test")), Caught::default());
        (0..3).for_each(|_| watch.self_test(&mut caught));
        assert_eq!(caught.0.len(), 3);
        assert!(caught.0.iter().all(|event| event.is_self_test()));
    }
}
