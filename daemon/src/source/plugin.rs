//! Sources that are plugins: what they tell, judged as the notices of every other source are.
//!
//! Inputs: checked values of a plugin (`event::told`), both clocks, what was told before a restart. Outputs: events to the
//! sink, health for status, and which event each telling became. Lives on the source's thread. Must never know the plugin,
//! or let one notice be two events.

use super::Sink;
use super::health::Health;
use crate::event::told::{Heard, Sight, Told, When};
use crate::event::{Event, Machine, Moment};
use crate::normalise::revise::{Absence, Reviser, Verdict};
use crate::normalise::{Notice, NoticeKey};
use serde_json::Value;
use std::sync::Arc;

/// The one thing that such a source looks at, in its health.
pub const PATH: &str = "notices";

/// Member of the events' data for the provider's own identifier of the notice: the key that remembers it over a restart.
pub const NOTICE_ID: &str = "noticeID";

/// Most notices that are remembered: a source may bring those of a whole fleet. To look through them all takes some tens of
/// microseconds.
const NOTICES_MAX: usize = 4_096;

/// What a source of this name writes into its events.
pub fn source_of(called: &str) -> String {
    format!("plugin.{called}")
}

/// The key of the notice an event of such a source was made from.
pub fn key_of(event: &Event) -> NoticeKey {
    NoticeKey {
        provider: event.provider.clone(),
        kind: event.event_type.clone(),
        instance: event.machine.instance_id.clone(),
        provider_id: event.extra.get(NOTICE_ID).and_then(Value::as_str).map(str::to_owned),
    }
}

/// Judges what one source tells.
#[derive(Debug)]
pub struct Watch {
    reviser: Reviser,
    machine: Arc<Machine>,
}

/// A telling that was judged, and what to log of it afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it was.
    pub heard: Heard,
    /// Words that nobody else logs.
    pub words: Option<String>,
}

impl From<Heard> for Judged {
    fn from(heard: Heard) -> Self {
        Self { heard, words: None }
    }
}

impl Watch {
    /// `reviser` knows what was told before a restart.
    pub fn new(reviser: Reviser) -> Self {
        Self { reviser, machine: Arc::default() }
    }

    /// This is the machine that it runs on.
    pub fn found_machine(&mut self, machine: &Arc<Machine>) {
        self.machine = Arc::clone(machine);
    }

    /// A notice was told. `now` is the local reading of both clocks.
    pub fn notice(&mut self, told: Told, now: Moment, sink: &mut impl Sink) -> Judged {
        sink.approach(&told.event_type);
        let (key, machine) = (self.key(&told), self.machine_of(&told.instance_id));
        let effective = effective(told.when, now);
        if effective.is_some_and(|moment| moment.boot_ns < now.boot_ns) {
            return Heard::Past.into();
        }
        let Told { event_type, severity, action, notice_kind, when, stated_wall_ns, resources, raw, .. } = told;
        let notice = Notice {
            kind: event_type,
            key: key.clone(),
            action,
            notice_kind,
            stated_wall_ns: stated_wall_ns.or_else(|| effective.map(|moment| moment.wall_ns)),
            effective,
            immediate: when == When::Now,
            raw,
            severity,
            cancelled: false,
            resources,
        };
        match self.reviser.observe(notice, &machine, now) {
            Verdict::New(event) => self.publish(complete(event, &key), sink),
            verdict => self.known(verdict, &key, sink),
        }
    }

    /// A notice is withdrawn. `now` is the local reading of both clocks.
    pub fn withdrawn(&mut self, told: Told, now: Moment, sink: &mut impl Sink) -> Judged {
        let (key, machine) = (self.key(&told), self.machine_of(&told.instance_id));
        match self.reviser.absent(&key, Absence::Withdrawn, &machine, now) {
            Verdict::Cancelled(mut event) => {
                // Nobody else has it yet, so nothing is copied.
                let changed = Arc::make_mut(&mut event);
                changed.raw = Some(told.raw);
                changed.resources = told.resources;
                self.publish(complete(event, &key), sink)
            }
            _ => Heard::Nothing.into(),
        }
    }

    fn publish(&self, event: Arc<Event>, sink: &mut impl Sink) -> Judged {
        let id = event.id;
        sink.publish(event);
        Heard::News(id).into()
    }

    fn known(&self, verdict: Verdict, key: &NoticeKey, sink: &mut impl Sink) -> Judged {
        if let Verdict::Moved { id, effective } = verdict {
            sink.moved(id, effective);
            let words = Some(format!("event {id} moved to {}", effective.rfc3339()));
            return Judged { heard: Heard::News(id), words };
        }
        self.reviser.known(key).map_or(Heard::Nothing, Heard::Known).into()
    }

    fn key(&self, told: &Told) -> NoticeKey {
        let instance = if told.instance_id.is_empty() { &self.machine.instance_id } else { &told.instance_id };
        NoticeKey {
            provider: told.provider.clone().into(),
            kind: told.event_type.clone(),
            instance: instance.clone(),
            provider_id: Some(told.notice_id.clone()).filter(|id| !id.is_empty()),
        }
    }

    fn machine_of(&self, instance_id: &str) -> Arc<Machine> {
        if instance_id.is_empty() || instance_id == self.machine.instance_id {
            return Arc::clone(&self.machine);
        }
        Arc::new(Machine { instance_id: instance_id.to_owned(), ..Machine::default() })
    }
}

/// The event with what the reviser does not know of. It was just made, so nothing is copied.
fn complete(mut event: Arc<Event>, key: &NoticeKey) -> Arc<Event> {
    let changed = Arc::make_mut(&mut event);
    changed.raw = changed.raw.take().filter(|raw| !raw.is_null());
    if let Some(id) = &key.provider_id {
        changed.extra.insert(NOTICE_ID.into(), id.clone().into());
    }
    event
}

fn effective(when: When, now: Moment) -> Option<Moment> {
    match when {
        When::Unknown => None,
        When::At(wall_ns) => Some(Moment::at_wall(wall_ns, now)),
        When::In(ns) => Some(now.plus_ns(ns)),
        When::Now => Some(now),
    }
}

/// Takes what a source says of its sight into its health, and gives the change to log.
pub fn see(health: &Health, sight: Sight, now_boot_ns: i64) -> super::health::Change {
    #[allow(clippy::cast_precision_loss, reason = "an hour at most")]
    health.set_interval_seconds(sight.next_within_ms as f64 / 1_000.0);
    let promise_ns = i64::try_from(sight.next_within_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    health.lives_until(now_boot_ns.saturating_add(promise_ns));
    match sight.blind {
        None => health.success(0, now_boot_ns),
        // What the metadata client finds out by asking twice, a plugin knows: its first word counts.
        Some(why) => match health.error(0, now_boot_ns, why.clone()) {
            super::health::Change::None => health.error(0, now_boot_ns, why),
            change => change,
        },
    }
}

/// What such a source remembers of the events that were told before a restart: each event, and whether it was withdrawn.
pub fn remembering(source: &str, seen: &[(Event, bool)]) -> Reviser {
    Reviser::new(source.to_owned()).with_room_for(NOTICES_MAX).knowing(seen, key_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Action, EventId, EventType, NoticeKind, Severity};
    use crate::normalise::deadline::SECOND_NS;
    use serde_json::json;

    const START: Moment = Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: 1_700_000_000 * SECOND_NS };

    #[derive(Default)]
    struct Published {
        events: Vec<Arc<Event>>,
        moves: Vec<(EventId, Moment)>,
    }

    impl Sink for Published {
        fn publish(&mut self, event: Arc<Event>) {
            self.events.push(event);
        }

        fn moved(&mut self, id: EventId, effective: Moment) {
            self.moves.push((id, effective));
        }
    }

    fn told(id: &str, when: When) -> Told {
        Told {
            provider: "nimbus".into(),
            notice_id: id.into(),
            event_type: EventType::MAINTENANCE_REBOOT,
            instance_id: String::new(),
            severity: Severity::Warning,
            action: Action::Reboot,
            notice_kind: NoticeKind::Deadline,
            when,
            stated_wall_ns: None,
            resources: vec!["rack-7".into()],
            raw: json!({"storm": 7}),
        }
    }

    fn watch() -> Watch {
        let mut watch = Watch::new(remembering("plugin.nimbus", &[]));
        watch.found_machine(&Arc::new(Machine { instance_id: "drop-1".into(), ..Machine::default() }));
        watch
    }

    fn at(seconds: i64) -> When {
        When::At(START.wall_ns + seconds * SECOND_NS)
    }

    #[test]
    fn a_notice_told_again_is_one_event_and_a_nearer_time_moves_it() {
        let (mut watch, mut sink) = (watch(), Published::default());
        let Heard::News(id) = watch.notice(told("n-1", at(600)), START, &mut sink).heard else { panic!("no news") };
        assert_eq!(watch.notice(told("n-1", at(600)), START.plus_ns(SECOND_NS), &mut sink).heard, Heard::Known(id));
        let moved = watch.notice(told("n-1", at(120)), START.plus_ns(2 * SECOND_NS), &mut sink);
        assert_eq!(moved.heard, Heard::News(id));
        assert!(moved.words.is_some_and(|words| words.contains("moved")));
        assert_eq!((sink.events.len(), sink.moves.len()), (1, 1));
        assert_eq!(sink.moves[0], (id, START.plus_ns(120 * SECOND_NS)));
        let event = &sink.events[0];
        assert_eq!(
            (&*event.source, &*event.provider, &*event.machine.instance_id),
            ("plugin.nimbus", "nimbus", "drop-1")
        );
        assert_eq!(
            (event.resources.clone(), event.raw.clone()),
            (vec!["rack-7".to_owned()], Some(json!({"storm": 7})))
        );
        assert_eq!(event.extra[NOTICE_ID], "n-1");
    }

    #[test]
    fn another_identifier_or_another_machine_is_another_event() {
        let (mut watch, mut sink) = (watch(), Published::default());
        let other_machine = Told { instance_id: "drop-2".into(), ..told("n-1", at(600)) };
        for notice in [told("n-1", at(600)), told("n-2", at(600)), other_machine] {
            assert!(matches!(watch.notice(notice, START, &mut sink).heard, Heard::News(_)));
        }
        let machines: Vec<&str> = sink.events.iter().map(|event| &*event.machine.instance_id).collect();
        assert_eq!(machines, ["drop-1", "drop-1", "drop-2"]);
    }

    #[test]
    fn a_withdrawal_names_what_it_withdraws_and_one_of_nothing_is_nothing() {
        let (mut watch, mut sink) = (watch(), Published::default());
        assert_eq!(watch.withdrawn(told("n-1", When::Unknown), START, &mut sink).heard, Heard::Nothing);
        let Heard::News(id) = watch.notice(told("n-1", at(600)), START, &mut sink).heard else { panic!("no news") };
        let Heard::News(cancel) = watch.withdrawn(told("n-1", When::Unknown), START, &mut sink).heard else {
            panic!("not withdrawn")
        };
        assert_eq!(watch.withdrawn(told("n-1", When::Unknown), START, &mut sink).heard, Heard::Nothing);
        let last = sink.events.last().expect("two events");
        assert_eq!((last.id, last.cancels, last.event_type.is_cancelled()), (cancel, Some(id), true));
    }

    #[test]
    fn a_time_that_has_passed_does_not_fire_and_a_relative_one_is_stable() {
        let (mut watch, mut sink) = (watch(), Published::default());
        assert_eq!(watch.notice(told("n-1", at(-1)), START, &mut sink).heard, Heard::Past);
        assert!(sink.events.is_empty());
        let relative = |seconds: i64| told("n-2", When::In(seconds * SECOND_NS));
        let Heard::News(id) = watch.notice(relative(120), START, &mut sink).heard else { panic!("no news") };
        // Counted down by the provider: the same time.
        let again = watch.notice(relative(110), START.plus_ns(10 * SECOND_NS), &mut sink);
        assert_eq!((again.heard, sink.moves.len()), (Heard::Known(id), 0));
    }

    #[test]
    fn the_notices_of_a_fleet_are_one_event_each_however_late_they_are_told_again() {
        let (mut watch, mut sink) = (watch(), Published::default());
        let all = || (0..500).map(|number| told(&format!("n-{number}"), at(600)));
        for notice in all().chain(all()) {
            watch.notice(notice, START, &mut sink);
        }
        assert_eq!(sink.events.len(), 500);
    }

    #[test]
    fn what_was_told_before_a_restart_is_known_after_it() {
        let (mut watch, mut sink) = (watch(), Published::default());
        let Heard::News(id) = watch.notice(told("n-1", at(600)), START, &mut sink).heard else { panic!("no news") };
        let kept = sink.events[0].to_json(START);
        let event = Event::from_json(&kept, START).expect("an event");
        let mut after = Watch::new(remembering("plugin.nimbus", &[(Event::clone(&event), false)]));
        after.found_machine(&Arc::new(event.machine.as_ref().clone()));
        assert_eq!(after.notice(told("n-1", at(600)), START, &mut sink).heard, Heard::Known(id));
        let mut other = Watch::new(remembering("plugin.other", &[(Event::clone(&event), false)]));
        assert!(matches!(other.notice(told("n-1", at(600)), START, &mut sink).heard, Heard::News(_)));
    }

    #[test]
    fn a_source_that_says_that_it_is_blind_is_blind_at_once() {
        use super::super::health::{Change, State};
        let health = Health::new("nimbus", &[PATH]);
        let blind = |why: &str| Sight { blind: Some(why.into()), next_within_ms: 5_000 };
        assert_eq!(see(&health, blind("no socket"), SECOND_NS), Change::BecameBlind);
        assert_eq!(health.report(SECOND_NS).state, State::Blind);
        assert_eq!(see(&health, blind("no socket"), SECOND_NS), Change::None);
        assert_eq!(see(&health, Sight { blind: None, next_within_ms: 5_000 }, 2 * SECOND_NS), Change::SeesAgain);
        assert_eq!((health.owed_ns(6 * SECOND_NS), health.owed_ns(9 * SECOND_NS)), (0, 2 * SECOND_NS));
    }
}
