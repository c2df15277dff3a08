//! A round: what one look at a cloud may tell, and what is remembered from look to look.
//!
//! Responsibilities: from answers, or their absence, to what is told: once, moved, withdrawn. Inputs: what a cloud
//! found. Outputs: events to the sink, health for status. Must never do I/O of its own, nor log between an answer
//! and the sink.

use super::cloud::{Cloud, Pace, PollError};
use super::health::Health;
use super::imds::Found;
use super::{Control, Sink};
use crate::event::{EventType, Machine, Moment};
use crate::log_ring::LogRing;
use crate::normalise::deadline::cloud_now;
use crate::normalise::revise::{Absence, Reviser, Verdict};
use crate::normalise::{Notice, NoticeKey, ParseError, Reading};
use crate::sys::clock;
use std::sync::Arc;

/// Makes the key of the notice that has ended when its path is absent.
pub type Ends = fn(&Machine) -> NoticeKey;

/// Reads the notice that the self-test makes an event of.
type Specimen = fn(Reading<'_>) -> Option<Notice>;

/// What a source writes to: nothing of it makes it wait.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// Whether it can see.
    pub health: &'a Health,
    /// Its log.
    pub log: &'a LogRing,
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Watch {
    reviser: Reviser,
    /// The machine, as far as it is known.
    machine: Arc<Machine>,
    /// What was told in this poll and nobody else will log, in words, to be logged after it.
    pub(super) told: Vec<String>,
    /// None: no self-test.
    specimen: Option<Specimen>,
}

impl Watch {
    /// Has seen nothing; `reviser` knows what was told before a restart.
    pub(super) fn new<C: Cloud>(reviser: Reviser, self_test: bool) -> Self {
        let specimen = self_test.then_some(C::specimen as Specimen);
        Self { reviser, machine: Arc::default(), told: Vec::new(), specimen }
    }

    /// Before the first request after a sleep: what a notice needs has been pushed out of the caches meanwhile; it is
    /// cheaper to fetch it now, some microseconds before the question, than after the answer. So a notice that means
    /// nothing is sent the whole way, from the bytes on.
    pub(super) fn wake_the_way(&self, sink: &mut dyn Sink) {
        sink.round_begins();
        let Some(specimen) = self.specimen else { return };
        let local = clock::now();
        if let Some(notice) = specimen(Reading { machine: &self.machine, now: local })
            && let Verdict::New(event) = Reviser::new("self-test").observe(notice, &self.machine, local)
        {
            sink.self_test(event.as_self_test());
        }
    }

    fn deliver(&mut self, verdict: Verdict, sink: &mut dyn Sink) -> bool {
        match verdict {
            Verdict::New(event) | Verdict::Cancelled(event) => sink.publish(event),
            Verdict::Moved { id, effective } => {
                sink.moved(id, effective);
                self.told.push(format!("event {id} moved to {}", effective.rfc3339()));
            }
            Verdict::Same => return false,
        }
        true
    }
}

/// One look at one item.
pub struct Round<'a> {
    pub(super) watch: &'a mut Watch,
    pub(super) sink: &'a mut dyn Sink,
    pub(super) told: Told<'a>,
    pub(super) control: &'a Control<Pace>,
}

impl Round<'_> {
    /// The machine, as far as it is known; empty before.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.watch.machine
    }

    /// Says which machine this is.
    pub fn found_machine(&mut self, machine: Machine) {
        self.watch.machine = Arc::new(machine);
        self.told.health.found_machine(&self.watch.machine);
    }

    /// A lasting fact for the status, such as that the machine is no spot instance.
    pub fn remark(&self, text: String) {
        self.told.health.remark(text);
    }

    /// Says that the machine was bought at the full price, and gets no spot notices. Before [`Self::found_machine`].
    pub fn found_on_demand(&self, remark: &str) {
        self.told.health.found_on_demand();
        self.remark(remark.to_owned());
    }

    /// A notice is more likely than usual for so many nanoseconds.
    pub fn hurry(&self, for_ns: i64) {
        self.control.hurry(clock::boot_ns().saturating_add(for_ns));
    }

    /// A notice was received and is about to be read; it will probably make an event of this type.
    pub fn approach(&mut self, event_type: &EventType) {
        self.sink.approach(event_type);
    }

    /// While the service holds a question: the thread lives, until CLOCK_BOOTTIME `lives_until_boot_ns`, and the way is
    /// kept warm. Once a second is enough.
    pub fn holds_on(&mut self, lives_until_boot_ns: i64) {
        self.told.health.lives_until(lives_until_boot_ns);
        self.told.health.still_asks(clock::boot_ns());
        self.watch.wake_the_way(self.sink);
    }

    /// Whether somebody wants the most important item to be read at once: a question that the service holds is to be
    /// given up, and asked so that it is not held.
    pub fn is_called(&self) -> bool {
        self.control.called().is_some()
    }

    /// Says whether the most important notice stands, for who asked for a look.
    pub fn stands(&self, stands: bool) {
        self.control.set_stands(stands);
    }

    /// An item that holds one notice or is absent. `ends`: the notice that has ended when it is absent. Gives whether
    /// something was told.
    ///
    /// # Errors
    /// `read` does not understand the answer.
    pub fn notice(
        &mut self,
        event_type: &EventType,
        found: Option<&Found>,
        read: impl FnOnce(&[u8], Reading<'_>) -> Result<Option<Notice>, ParseError>,
        ends: Option<Ends>,
    ) -> Result<bool, PollError> {
        match (found, ends) {
            (Some(found), _) => {
                self.approach(event_type);
                let (local, machine) = (clock::now(), Arc::clone(&self.watch.machine));
                let notice = read(&found.body, reading(&machine, found, local))?;
                Ok(notice.is_some_and(|notice| self.observe(notice, local)))
            }
            (None, Some(key)) => Ok(self.absent(&key(&self.watch.machine), Absence::Ended)),
            (None, None) => Ok(false),
        }
    }

    /// A notice as read at `local`, the local reading of both clocks. Gives whether something was told.
    pub fn observe(&mut self, notice: Notice, local: Moment) -> bool {
        let verdict = self.watch.reviser.observe(notice, &self.watch.machine, local);
        self.watch.deliver(verdict, self.sink)
    }

    /// The notices that were told and stand, with the deadlines that were told, also those from before a restart: for a
    /// service that lists all it has, and whose list lacks one.
    pub fn standing(&self) -> impl Iterator<Item = (&NoticeKey, Option<Moment>)> {
        self.watch.reviser.standing()
    }

    /// A notice was looked for and is not there. Gives whether something was told.
    pub fn absent(&mut self, key: &NoticeKey, absence: Absence) -> bool {
        let verdict = self.watch.reviser.absent(key, absence, &self.watch.machine, clock::now());
        self.watch.deliver(verdict, self.sink)
    }
}

/// What a parser needs to know of an answer: the time as the cloud has it.
pub(super) fn reading<'a>(machine: &'a Machine, found: &Found, local: Moment) -> Reading<'a> {
    Reading { machine, now: cloud_now(local, found.date_ns()) }
}
