//! Revision: the same notice read again is one event.
//!
//! Responsibilities: which reading is news, which repeats, which moves or withdraws an event already
//! told. Inputs: `Notice`s in the order they were read, the machine, a `Moment`. Outputs: `Verdict`s.
//! Must never do I/O, read a clock, or grow without bound.
//!
//! A notice is read every few seconds for as long as it stands, and its time may wander: some services
//! and Amazon's own mock compute it afresh for each reader. So a stated time is compared with the one
//! read last, not with the first one, and the earliest deadline told so far is kept.

use super::deadline::SECOND_NS;
use super::{Notice, NoticeKey};
use crate::event::{Event, EventId, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// A stated time this near to the one read last is the same time.
pub const DRIFT_MAX_NS: i64 = 60 * SECOND_NS;

/// The same for a notice whose stated time means nothing: after a restart all that is known of it is when
/// it was first read, up to two minutes away from what the document states.
pub const DRIFT_IMMEDIATE_MAX_NS: i64 = 180 * SECOND_NS;

/// A deadline that comes nearer by more than this is worth telling; less is noise.
pub const EARLIER_MIN_NS: i64 = 5 * SECOND_NS;

/// Most notices remembered. A machine has a handful; a provider's list of months is still far below.
pub const KEYS_MAX: usize = 256;

/// What a reading means.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A notice not told before: publish this event.
    New(Arc<Event>),
    /// Nothing to tell.
    Same,
    /// An event told before has another deadline.
    Moved {
        /// The event.
        id: EventId,
        /// Its deadline now.
        effective: Moment,
    },
    /// An event told before is withdrawn: publish this event, which names it.
    Cancelled(Arc<Event>),
}

/// What it means that a notice is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The provider withdrew it.
    Withdrawn,
    /// The provider just stopped saying it (an AWS spot notice is never withdrawn). The same notice may
    /// come back; one with another time is news.
    Ended,
    /// The provider says that there is no such notice, and takes none back: whatever it says next is news.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Standing,
    Ended,
    Over,
    Withdrawn,
}

#[derive(Debug)]
struct Entry {
    key: NoticeKey,
    id: EventId,
    /// The time in the document, as read last.
    stated_wall_ns: Option<i64>,
    /// The deadline that this time gave, as read last.
    read: Option<Moment>,
    /// The deadline as told.
    told: Option<Moment>,
    state: State,
    /// How often the same notice was told before, and withdrawn.
    before: u32,
}

/// Remembers the notices of one source. Lives on the source's thread.
#[derive(Debug)]
pub struct Reviser {
    source: Cow<'static, str>,
    entries: Vec<Entry>,
    keys_max: usize,
}

impl Reviser {
    /// Knows no notice yet. `source` is written into the events, such as `aws.ec2.metadata-service`.
    pub fn new(source: impl Into<Cow<'static, str>>) -> Self {
        Self { source: source.into(), entries: Vec::new(), keys_max: KEYS_MAX }
    }

    /// The same with room for so many notices, where they may be about a whole fleet. Each reading looks through them.
    #[must_use]
    pub fn with_room_for(mut self, keys_max: usize) -> Self {
        self.keys_max = keys_max;
        self
    }

    /// The same with what this source told before a restart, and whether it was withdrawn, so that a completed event does not
    /// run again while its notice still stands. `seen` may hold events of other sources, in the order in which they were told;
    /// `key` gives the key of an event.
    #[must_use]
    pub fn knowing(mut self, seen: &[(Event, bool)], key: impl Fn(&Event) -> NoticeKey) -> Self {
        let ours: Vec<&(Event, bool)> = seen.iter().filter(|(event, _)| event.source == self.source).collect();
        // One that was over when its withdrawal came is withdrawn all the same: that was told, too.
        let withdrawn: HashSet<EventId> = ours.iter().filter_map(|(event, _)| event.cancels).collect();
        for (event, is_withdrawn) in ours.into_iter().filter(|(event, _)| !event.event_type.is_cancelled()) {
            self.seed(key(event), event.id, event.effective, *is_withdrawn || withdrawn.contains(&event.id));
        }
        self
    }

    /// Remembers a notice that was told before a restart, and perhaps withdrawn, so that reading it again repeats
    /// nothing. In the order in which they were told. For the key of a stored event see [`NoticeKey::of`].
    pub fn seed(&mut self, key: NoticeKey, id: EventId, effective: Option<Moment>, is_withdrawn: bool) {
        let stated_wall_ns = effective.map(|m| m.wall_ns);
        let known = self.entries.iter().position(|e| e.key.matches(&key));
        let before = known.map_or(0, |index| self.entries.remove(index).told_again());
        let state = if is_withdrawn { State::Withdrawn } else { State::Standing };
        self.remember(Entry { key, id, stated_wall_ns, read: effective, told: effective, state, before });
    }

    /// Judges one reading of a notice. `now` is the local reading of both clocks.
    pub fn observe(&mut self, notice: Notice, machine: &Arc<Machine>, now: Moment) -> Verdict {
        let found = self.entries.iter().position(|e| e.key.matches(&notice.key));
        let Some(index) = found else {
            return if notice.cancelled { Verdict::Same } else { self.new_event(notice, 0, machine, now) };
        };
        if notice.cancelled {
            return self.withdraw(index, notice.kind, Some(notice.raw), machine, now);
        }
        let entry = &mut self.entries[index];
        if entry.is_another(&notice, now) {
            let before = self.entries.remove(index).told_again();
            return self.new_event(notice, before, machine, now);
        }
        let is_near = entry.is_near(&notice);
        entry.state = State::Standing;
        entry.stated_wall_ns = notice.stated_wall_ns.or(entry.stated_wall_ns);
        if entry.key.instance.is_empty() {
            entry.key.instance = notice.key.instance;
        }
        entry.read = notice.effective.or(entry.read);
        let Some(effective) = notice.effective else { return Verdict::Same };
        let is_earlier = entry.told.is_none_or(|told| effective.boot_ns < told.boot_ns.saturating_sub(EARLIER_MIN_NS));
        // What is immediate comes no later for being read again, but may come earlier than was told before it was.
        if !is_earlier && (is_near || notice.immediate) {
            return Verdict::Same;
        }
        entry.told = Some(effective);
        Verdict::Moved { id: entry.id, effective }
    }

    /// Judges that a notice was looked for and is not there. Unknown ones mean nothing.
    pub fn absent(&mut self, key: &NoticeKey, absence: Absence, machine: &Arc<Machine>, now: Moment) -> Verdict {
        let found = self.entries.iter().position(|e| e.key.matches(key));
        match (found, absence) {
            (Some(index), Absence::Withdrawn) => self.withdraw(index, key.kind.clone(), None, machine, now),
            (Some(index), Absence::Ended) => {
                let entry = &mut self.entries[index];
                if entry.state == State::Standing {
                    entry.state = State::Ended;
                }
                Verdict::Same
            }
            (Some(index), Absence::Over) => {
                let entry = &mut self.entries[index];
                if entry.state != State::Withdrawn {
                    entry.state = State::Over;
                }
                Verdict::Same
            }
            (None, _) => Verdict::Same,
        }
    }

    /// The notices that were told and stand, with the deadlines that were told: for a provider that lists all it has.
    pub fn standing(&self) -> impl Iterator<Item = (&NoticeKey, Option<Moment>)> {
        self.entries.iter().filter(|entry| entry.state == State::Standing).map(|entry| (&entry.key, entry.told))
    }

    /// The event that a notice became.
    pub fn known(&self, key: &NoticeKey) -> Option<EventId> {
        self.entries.iter().find(|e| e.key.matches(key)).map(|entry| entry.id)
    }

    fn withdraw(
        &mut self,
        index: usize,
        kind: EventType,
        raw: Option<Value>,
        machine: &Arc<Machine>,
        now: Moment,
    ) -> Verdict {
        let entry = &mut self.entries[index];
        if entry.state == State::Withdrawn {
            return Verdict::Same;
        }
        entry.state = State::Withdrawn;
        Verdict::Cancelled(Arc::new(Event {
            id: EventId::at(now.wall_ns),
            event_type: kind.cancelled(),
            source: self.source.clone(),
            severity: Severity::Info,
            detected: now,
            effective: None,
            simulated: false,
            drill: false,
            provider: entry.key.provider.clone(),
            action: crate::event::Action::None,
            notice_kind: NoticeKind::Advisory,
            machine: Arc::clone(machine),
            resources: Vec::new(),
            cancels: Some(entry.id),
            raw,
            extra: Map::new(),
        }))
    }

    /// `before`: how often the same notice was told, and withdrawn.
    fn new_event(&mut self, notice: Notice, before: u32, machine: &Arc<Machine>, now: Moment) -> Verdict {
        let id = notice.event_id(before).unwrap_or_else(|| EventId::at(now.wall_ns));
        let Notice { kind, key, action, notice_kind, stated_wall_ns, effective, resources, raw, severity, .. } = notice;
        let provider = key.provider.clone();
        let state = State::Standing;
        self.remember(Entry { key, id, stated_wall_ns, read: effective, told: effective, state, before });
        Verdict::New(Arc::new(Event {
            id,
            event_type: kind,
            source: self.source.clone(),
            severity,
            detected: now,
            effective,
            simulated: false,
            drill: false,
            provider,
            action,
            notice_kind,
            machine: Arc::clone(machine),
            resources,
            cancels: None,
            raw: Some(raw),
            extra: Map::new(),
        }))
    }

    /// Makes room by forgetting the oldest notice that no longer stands, else the oldest.
    fn remember(&mut self, entry: Entry) {
        if self.entries.len() >= self.keys_max {
            let finished = self.entries.iter().position(|e| e.state != State::Standing);
            self.entries.remove(finished.unwrap_or(0));
        }
        self.entries.push(entry);
    }
}

impl Notice {
    /// One notice is one event, with one identity: a daemon that was killed before it could write the event down reads
    /// the notice again, makes the same event of it, and its handlers find the same idempotency keys. None for a notice
    /// that states no time: nothing tells it from the next of its kind.
    fn event_id(&self, before: u32) -> Option<EventId> {
        let NoticeKey { provider, kind, instance, provider_id } = &self.key;
        let stated = self.stated_wall_ns?;
        let name =
            format!("{provider}\n{kind}\n{instance}\n{}\n{stated}\n{before}", provider_id.as_deref().unwrap_or(""));
        Some(EventId::named(&name, stated))
    }
}

impl Entry {
    /// What `before` is for the next telling of the same notice.
    fn told_again(&self) -> u32 {
        self.before + u32::from(self.state == State::Withdrawn)
    }

    /// Whether the reading states about the time that was read last. One without a time cannot contradict.
    fn is_near(&self, notice: &Notice) -> bool {
        let drift_max_ns = if notice.immediate { DRIFT_IMMEDIATE_MAX_NS } else { DRIFT_MAX_NS };
        match (self.stated_wall_ns, notice.stated_wall_ns) {
            (Some(last), Some(read)) => last.saturating_sub(read).saturating_abs() < drift_max_ns,
            _ => true,
        }
    }

    /// Whether the reading is another notice under the same key, and so a new event.
    fn is_another(&self, notice: &Notice, now: Moment) -> bool {
        if matches!(self.state, State::Withdrawn | State::Over) {
            return true;
        }
        if self.is_near(notice) {
            return false;
        }
        let is_past = self.read.is_some_and(|m| now.boot_ns.saturating_sub(m.boot_ns) > DRIFT_MAX_NS);
        // An advice whose time is that of its making, not of what it is about: another time is another advice.
        let is_advice = notice.notice_kind == NoticeKind::Advisory && notice.effective.is_none();
        is_advice || self.state == State::Ended || is_past
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::{Reading, aws};
    use proptest::prelude::*;
    use serde_json::json;

    const START: Moment = Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: 1_700_000_000 * SECOND_NS };

    struct Bench {
        reviser: Reviser,
        machine: Arc<Machine>,
    }

    impl Bench {
        fn new() -> Self {
            let machine = Machine { instance_id: "i-0123456789abcdef0".into(), ..Machine::default() };
            Self { reviser: Reviser::new("aws.ec2.metadata-service"), machine: Arc::new(machine) }
        }

        /// Reads an instance-action document `at` seconds after the start that states `time` seconds after it.
        fn spot(&mut self, action: &str, at: i64, time: i64) -> Verdict {
            let body = json!({"action": action, "time": START.plus_ns(time * SECOND_NS).rfc3339()}).to_string();
            let now = START.plus_ns(at * SECOND_NS);
            let notice = aws::instance_action(body.as_bytes(), Reading { machine: &self.machine, now }).unwrap();
            notice.map_or(Verdict::Same, |n| self.reviser.observe(n, &self.machine, now))
        }

        fn gone(&mut self, absence: Absence, at: i64) -> Verdict {
            let key = aws::spot_interrupt_key(&self.machine);
            self.reviser.absent(&key, absence, &self.machine, START.plus_ns(at * SECOND_NS))
        }

        fn maintenance(&mut self, scheduled: &Value, history: &Value, at: i64) -> Vec<Verdict> {
            let now = START.plus_ns(at * SECOND_NS);
            let reading = Reading { machine: &self.machine, now };
            let found =
                aws::maintenance(scheduled.to_string().as_bytes(), history.to_string().as_bytes(), reading).unwrap();
            found.notices.into_iter().map(|n| self.reviser.observe(n, &self.machine, now)).collect()
        }
    }

    fn new(verdict: Verdict) -> Arc<Event> {
        match verdict {
            Verdict::New(event) => event,
            other => panic!("expected New, found {other:?}"),
        }
    }

    fn seconds_after_start(moment: Moment) -> i64 {
        (moment.boot_ns - START.boot_ns) / SECOND_NS
    }

    #[test]
    fn the_same_notice_is_told_once() {
        let mut bench = Bench::new();
        let event = new(bench.spot("terminate", 0, 120));
        assert_eq!(event.effective.map(seconds_after_start), Some(120));
        assert!((1..24).all(|poll| matches!(bench.spot("terminate", poll * 5, 120), Verdict::Same)));
    }

    #[test]
    fn a_deadline_that_comes_nearer_is_told_as_a_move() {
        let mut bench = Bench::new();
        let event = new(bench.spot("terminate", 0, 120));
        assert!(matches!(bench.spot("terminate", 5, 116), Verdict::Same));
        let Verdict::Moved { id, effective } = bench.spot("terminate", 10, 90) else { panic!("not moved") };
        assert_eq!((id, seconds_after_start(effective)), (event.id, 90));
    }

    #[test]
    fn a_deadline_put_off_by_minutes_is_told_as_a_move() {
        let mut bench = Bench::new();
        new(bench.spot("terminate", 0, 120));
        assert!(matches!(bench.spot("terminate", 5, 179), Verdict::Same));
        let Verdict::Moved { effective, .. } = bench.spot("terminate", 10, 600) else { panic!("not moved") };
        assert_eq!(seconds_after_start(effective), 600);
    }

    #[test]
    fn a_notice_after_the_machine_outlived_the_last_one_is_new() {
        let mut bench = Bench::new();
        let first = new(bench.spot("terminate", 0, 120));
        assert!(matches!(bench.spot("terminate", 150, 120), Verdict::Same));
        assert_ne!(new(bench.spot("terminate", 3_600, 3_720)).id, first.id);
    }

    #[test]
    fn a_flapping_404_repeats_nothing_but_lets_another_notice_be_new() {
        let mut bench = Bench::new();
        new(bench.spot("terminate", 0, 120));
        assert!(matches!(bench.gone(Absence::Ended, 5), Verdict::Same));
        assert!(matches!(bench.spot("terminate", 10, 120), Verdict::Same));
        assert!(matches!(bench.gone(Absence::Ended, 15), Verdict::Same));
        new(bench.spot("terminate", 20, 400));
    }

    #[test]
    fn a_second_hibernation_is_new_though_the_first_was_told_for_as_long_as_it_stood() {
        let mut bench = Bench::new();
        let event = new(bench.spot("hibernate", 0, 120));
        assert_eq!((event.effective.map(seconds_after_start), event.severity), (Some(0), Severity::Critical));
        assert!((1..40).all(|poll| matches!(bench.spot("hibernate", poll * 5, 120), Verdict::Same)));
        new(bench.spot("hibernate", 90_000, 90_120));
    }

    #[test]
    fn a_withdrawn_notice_is_cancelled_once_and_may_come_again() {
        let mut bench = Bench::new();
        assert!(matches!(bench.gone(Absence::Withdrawn, 0), Verdict::Same));
        let event = new(bench.spot("stop", 0, 120));
        let Verdict::Cancelled(cancelled) = bench.gone(Absence::Withdrawn, 5) else { panic!("not cancelled") };
        assert_eq!(cancelled.cancels, Some(event.id));
        assert_eq!(cancelled.event_type.as_str(), "cloud.spot.interrupt.cancelled");
        assert!(matches!(bench.gone(Absence::Withdrawn, 10), Verdict::Same));
        let again = new(bench.spot("stop", 15, 120));
        assert_ne!(again.id, event.id, "its work is to be done again");
        // A restarted daemon that knows of the first one agrees.
        let mut after = Bench::new();
        after.reviser.seed(NoticeKey::of(&event), event.id, event.effective, true);
        assert_eq!(new(after.spot("stop", 20, 120)).id, again.id);
    }

    #[test]
    fn the_same_notice_is_the_same_event_whoever_reads_it_and_when() {
        let (one, other) = (new(Bench::new().spot("terminate", 0, 120)), new(Bench::new().spot("terminate", 7, 120)));
        assert_eq!(one.id, other.id);
        assert_ne!(one.id, new(Bench::new().spot("terminate", 0, 121)).id);
        assert_ne!(one.id, new(Bench::new().spot("stop", 0, 121)).id);
    }

    #[test]
    fn a_notice_read_before_the_machine_is_known_is_not_told_again_after() {
        let mut bench = Bench::new();
        let known = std::mem::take(&mut bench.machine);
        new(bench.spot("terminate", 0, 120));
        bench.machine = known;
        assert!(matches!(bench.spot("terminate", 5, 120), Verdict::Same));
        bench.machine = Arc::new(Machine { instance_id: "i-another".into(), ..Machine::default() });
        new(bench.spot("terminate", 10, 120));
    }

    #[test]
    fn a_restart_remembers_what_was_told() {
        let mut before = Bench::new();
        let spot = new(before.spot("terminate", 0, 120));
        let frozen = new(Bench::new().spot("hibernate", 0, 120));
        for (told, action) in [(spot, "terminate"), (frozen, "hibernate")] {
            let mut after = Bench::new();
            after.reviser.seed(NoticeKey::of(&told), told.id, told.effective, false);
            assert!(matches!(after.spot(action, 30, 120), Verdict::Same), "{action}");
        }
    }

    #[test]
    fn a_rescheduled_maintenance_moves_and_its_cancelled_past_withdraws_nothing() {
        let mut bench = Bench::new();
        let entry = |day: &str, state: &str| {
            json!({"NotBefore": format!("{day} Jan 2024 09:00:43 GMT"), "Code": "system-reboot",
                "EventId": "instance-event-1", "State": state})
        };
        let told = bench.maintenance(&json!([entry("2", "active"), entry("2", "active")]), &json!([]), 0);
        assert_eq!(told.len(), 1, "one EventId twice in a list is one notice");
        let event = new(told.into_iter().next().unwrap());
        let moved = bench.maintenance(&json!([entry("9", "active")]), &json!([entry("2", "canceled")]), 60);
        assert!(matches!(moved[..], [Verdict::Moved { id, .. }] if id == event.id), "{moved:?}");
        let history = json!([entry("2", "canceled"), entry("9", "completed")]);
        let over = bench.maintenance(&json!([]), &history, 120);
        assert!(matches!(&over[..], [Verdict::Cancelled(e)] if e.cancels == Some(event.id)), "{over:?}");
        assert!(bench.maintenance(&json!([]), &history, 180).iter().all(|v| matches!(v, Verdict::Same)));
        let key = NoticeKey::of(&event);
        assert_eq!(key.provider_id.as_deref(), Some("instance-event-1"));
    }

    #[test]
    fn history_from_before_the_start_withdraws_nothing() {
        let history = json!([{"Code": "system-reboot", "EventId": "instance-event-1", "State": "completed"}]);
        let verdicts = Bench::new().maintenance(&json!([]), &history, 0);
        assert!(matches!(verdicts[..], [Verdict::Same]));
    }

    #[test]
    fn a_provider_that_never_stops_inventing_notices_fills_no_memory() {
        let mut bench = Bench::new();
        for n in 0..KEYS_MAX * 3 {
            let entry = json!([{"Code": "instance-stop", "EventId": format!("instance-event-{n}"), "State": "active"}]);
            assert!(matches!(bench.maintenance(&entry, &json!([]), 0)[..], [Verdict::New(_)]));
            let over = json!([{"Code": "instance-stop", "EventId": "instance-event-1", "State": "canceled"}]);
            bench.maintenance(&json!([]), &over, 0);
        }
        assert_eq!(bench.reviser.entries.len(), KEYS_MAX);
    }

    proptest! {
        #[test]
        fn any_drift_below_the_tolerance_gives_exactly_one_event(
            drifts in prop::collection::vec(-59_i64..60, 1..200),
            polls in prop::collection::vec(1_i64..30, 200),
        ) {
            let mut bench = Bench::new();
            let event = new(bench.spot("terminate", 0, 1_000_000));
            let (mut at, mut time, mut told) = (0, 1_000_000, 1_000_000);
            for (drift, poll) in drifts.iter().zip(polls) {
                at += poll;
                time += drift;
                match bench.spot("terminate", at, time) {
                    Verdict::Same => prop_assert!(time >= told - 5),
                    Verdict::Moved { id, effective } => {
                        prop_assert_eq!(id, event.id);
                        prop_assert!(time < told - 5, "only an earlier deadline is told");
                        prop_assert_eq!(seconds_after_start(effective), time);
                        told = time;
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }

        #[test]
        fn no_sequence_panics_or_tells_one_event_twice(
            steps in prop::collection::vec((0_u8..4, 0_i64..400, -200_i64..600), 0..100),
        ) {
            let mut bench = Bench::new();
            let (mut at, mut ids) = (0, Vec::new());
            for (kind, wait, time) in steps {
                at += wait;
                let verdict = match kind {
                    0 => bench.gone(Absence::Ended, at),
                    1 => bench.gone(Absence::Withdrawn, at),
                    2 => bench.spot("hibernate", at, at + time),
                    _ => bench.spot("stop", at, at + time),
                };
                match verdict {
                    Verdict::New(event) => ids.push(event.id),
                    Verdict::Moved { id, .. } => prop_assert_eq!(ids.last(), Some(&id)),
                    Verdict::Cancelled(event) => prop_assert_eq!(ids.last().copied(), event.cancels),
                    Verdict::Same => {}
                }
                prop_assert!(bench.reviser.entries.len() <= 1, "one key, one entry");
            }
        }
    }
}
