//! What is wrong with the machine, each thing told once: pure.
//!
//! Responsibilities: which alarms are open, the event of each and of its end, how many may be told. Inputs: what the watchers
//! find, the time, the events of before a restart. Outputs: events. Must never have two events open for one subject, end one
//! that was not told, nor tell more of a type than the limit allows; what is over is always told.

use crate::event::{Action, Event, EventId, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Most subjects that may be wrong at once; further ones are not told.
const SUBJECTS_MAX: usize = 1_024;

/// The word that ends every type of an end.
const RECOVERED: &str = "recovered";

/// What an alarm is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Who sees it, such as `system.disk`: the source of its events.
    pub source: Cow<'static, str>,
    /// What is looked at, such as `space`.
    pub check: Cow<'static, str>,
    /// Which one, such as a mount point.
    pub resource: String,
}

impl Subject {
    /// A subject.
    pub fn new(source: &'static str, check: &'static str, resource: impl Into<String>) -> Self {
        Self { source: source.into(), check: check.into(), resource: resource.into() }
    }
}

/// What is wrong with a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// Type of the event.
    pub event_type: EventType,
    /// How bad it is.
    pub severity: Severity,
    /// When it will be worse, where that is foretold.
    pub effective: Option<Moment>,
    /// Members of the event's `data`.
    pub data: Map<String, Value>,
}

/// How a subject was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Something is wrong with it.
    Wrong(Alarm),
    /// Nothing is, with what is to be said of it where something was: members of the event's `data`.
    Well(Map<String, Value>),
}

/// How many events of one type may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// So many.
    pub events_max: u32,
    /// Within so many nanoseconds.
    pub window_ns: i64,
}

/// One subject that is wrong.
#[derive(Debug)]
enum Open {
    /// Its event.
    Told { id: EventId, event_type: EventType, since: Moment },
    /// The limit was reached: told when it allows.
    Waiting(Alarm),
}

/// Events of one type.
#[derive(Debug, Default)]
struct Told {
    /// CLOCK_BOOTTIME of each within the window.
    at_boot_ns: VecDeque<i64>,
    /// Those that never were told, since the last that was.
    suppressed: u64,
}

/// The alarms that are open.
#[derive(Debug)]
pub struct Alarms {
    limit: Limit,
    open: BTreeMap<Subject, Open>,
    told: BTreeMap<EventType, Told>,
}

impl Alarms {
    /// None is open.
    pub fn new(limit: Limit) -> Self {
        Self { limit, open: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// An event of before a restart, in the order of their making: what it tells of is open again, or over.
    pub fn remember(&mut self, event: &Event) {
        let Some(check) = event.extra.get("check").and_then(Value::as_str) else { return };
        let resource = event.resources.first().cloned().unwrap_or_default();
        let subject = Subject { source: event.source.clone(), check: check.to_owned().into(), resource };
        if event.extra.contains_key("recovers") {
            self.open.remove(&subject);
        } else if end_of(&event.event_type).is_some() && self.open.len() < SUBJECTS_MAX {
            let (id, event_type, since) = (event.id, event.event_type.clone(), event.detected);
            self.open.insert(subject, Open::Told { id, event_type, since });
        }
    }

    /// Whether this subject is wrong, told or not.
    pub fn is_open(&self, subject: &Subject) -> bool {
        self.open.contains_key(subject)
    }

    /// What is wrong of what `source` sees.
    pub fn of(&self, source: &str) -> Vec<Subject> {
        self.open.keys().filter(|subject| subject.source == source).cloned().collect()
    }

    /// The subject was found like this. The event of it, if that is news.
    pub fn set(&mut self, subject: &Subject, found: Finding, now: Moment) -> Option<Event> {
        match found {
            Finding::Well(data) => self.clear(subject, data, now),
            Finding::Wrong(alarm) => self.raise(subject, alarm, now),
        }
    }

    /// Something is wrong. Gives the event unless there is one, or the limit is reached.
    pub fn raise(&mut self, subject: &Subject, alarm: Alarm, now: Moment) -> Option<Event> {
        match self.open.get(subject) {
            Some(Open::Told { .. }) => return None,
            None if self.open.len() >= SUBJECTS_MAX => return None,
            Some(Open::Waiting(_)) | None => {}
        }
        if self.has_room(&alarm.event_type, now) {
            Some(self.tell_alarm(subject.clone(), alarm, now))
        } else {
            self.open.insert(subject.clone(), Open::Waiting(alarm));
            None
        }
    }

    /// It is over. Gives the event of that, if its beginning was told.
    pub fn clear(&mut self, subject: &Subject, mut data: Map<String, Value>, now: Moment) -> Option<Event> {
        match self.open.remove(subject)? {
            Open::Waiting(alarm) => {
                self.told.entry(alarm.event_type).or_default().suppressed += 1;
                None
            }
            Open::Told { id, event_type, since } => {
                data.insert("recovers".into(), json!(id.to_string()));
                data.insert("lastedSeconds".into(), seconds(now.boot_ns.saturating_sub(since.boot_ns)));
                let event_type = end_of(&event_type)?;
                Some(event(subject, Alarm { event_type, severity: Severity::Info, effective: None, data }, now))
            }
        }
    }

    /// Something happened that does not last. Gives its event unless the limit is reached.
    pub fn tell(&mut self, subject: &Subject, mut alarm: Alarm, now: Moment) -> Option<Event> {
        if self.has_room(&alarm.event_type, now) {
            self.count(&mut alarm, now);
            Some(event(subject, alarm, now))
        } else {
            self.told.entry(alarm.event_type).or_default().suppressed += 1;
            None
        }
    }

    /// The events of what has waited for the limit and still holds.
    pub fn due(&mut self, now: Moment) -> Vec<Event> {
        let waiting = self.open.iter().filter(|(_, open)| matches!(open, Open::Waiting(_)));
        let waiting: Vec<Subject> = waiting.map(|(subject, _)| subject.clone()).collect();
        let mut events = Vec::new();
        for subject in waiting {
            if let Some(Open::Waiting(alarm)) = self.open.get(&subject) {
                let alarm = alarm.clone();
                events.extend(self.raise(&subject, alarm, now));
            }
        }
        events
    }

    fn has_room(&mut self, event_type: &EventType, now: Moment) -> bool {
        let Limit { events_max, window_ns } = self.limit;
        let told = self.told.entry(event_type.clone()).or_default();
        while told.at_boot_ns.front().is_some_and(|at| now.boot_ns.saturating_sub(*at) >= window_ns) {
            told.at_boot_ns.pop_front();
        }
        told.at_boot_ns.len() < events_max as usize
    }

    /// One more is told; it says how many were not.
    fn count(&mut self, alarm: &mut Alarm, now: Moment) {
        let told = self.told.entry(alarm.event_type.clone()).or_default();
        told.at_boot_ns.push_back(now.boot_ns);
        let suppressed = std::mem::take(&mut told.suppressed);
        if suppressed > 0 {
            alarm.data.insert("suppressedCount".into(), json!(suppressed));
        }
    }

    fn tell_alarm(&mut self, subject: Subject, mut alarm: Alarm, now: Moment) -> Event {
        self.count(&mut alarm, now);
        let event = event(&subject, alarm, now);
        let open = Open::Told { id: event.id, event_type: event.event_type.clone(), since: now };
        self.open.insert(subject, open);
        event
    }
}

/// Nanoseconds as seconds for people.
#[allow(clippy::cast_precision_loss, reason = "seconds for people, milliseconds are kept")]
pub fn seconds(ns: i64) -> Value {
    json!((ns.max(0) / 1_000_000) as f64 / 1_000.0)
}

/// The type of the end of what this type tells; None: that has none.
fn end_of(event_type: &EventType) -> Option<EventType> {
    let (family, word) = event_type.as_str().rsplit_once('.')?;
    let lasts = matches!(word, "pressure" | "failure" | "failed");
    lasts.then(|| EventType::parse(&format!("{family}.{RECOVERED}")).ok())?
}

fn event(subject: &Subject, alarm: Alarm, now: Moment) -> Event {
    let mut extra = alarm.data;
    extra.insert("check".into(), json!(subject.check));
    Event {
        id: EventId::at(now.wall_ns),
        event_type: alarm.event_type,
        source: subject.source.clone(),
        severity: alarm.severity,
        detected: now,
        effective: alarm.effective,
        simulated: false,
        drill: false,
        provider: "system".into(),
        action: Action::None,
        notice_kind: if alarm.effective.is_some() { NoticeKind::Deadline } else { NoticeKind::Advisory },
        machine: Arc::new(Machine::default()),
        resources: vec![subject.resource.clone()],
        cancels: None,
        raw: None,
        extra,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: Limit = Limit { events_max: 2, window_ns: 100 };

    fn at(ns: i64) -> Moment {
        Moment { boot_ns: ns, wall_ns: 1_767_323_045_250_000_000 + ns }
    }

    fn disk(resource: &str) -> Subject {
        Subject::new("system.disk", "space", resource)
    }

    fn pressure() -> Alarm {
        let (event_type, severity) = (EventType::DISK_PRESSURE, Severity::Warning);
        Alarm { event_type, severity, effective: None, data: Map::new() }
    }

    #[test]
    fn what_is_wrong_is_told_once_and_its_end_names_it() {
        let mut alarms = Alarms::new(LIMIT);
        let event = alarms.raise(&disk("/"), pressure(), at(0)).expect("news");
        assert_eq!(alarms.raise(&disk("/"), pressure(), at(1)).map(|e| e.id), None);
        let end = alarms.clear(&disk("/"), Map::new(), at(2_000_000_000)).expect("news");
        assert_eq!((end.event_type, end.severity), (EventType::DISK_RECOVERED, Severity::Info));
        assert_eq!(end.extra["recovers"], event.id.to_string());
        assert_eq!((&end.extra["lastedSeconds"], &end.resources[..]), (&json!(2.0), &["/".to_owned()][..]));
        assert_eq!(end.cancels, None, "a withdrawal is another thing");
        assert!(alarms.clear(&disk("/"), Map::new(), at(3)).is_none());
    }

    #[test]
    fn every_type_that_lasts_has_an_end_that_is_known() {
        for event_type in EventType::OF_THE_MACHINE {
            let end = end_of(&event_type);
            assert!(end.as_ref().is_none_or(|end| EventType::OF_THE_MACHINE.contains(end)), "{event_type}");
            let is_end = event_type.as_str().ends_with(RECOVERED);
            let happens_once = [EventType::CLOCK_JUMPED, EventType::RESUMED].contains(&event_type);
            assert_eq!(end.is_none(), is_end || happens_once, "{event_type}");
        }
    }

    #[test]
    fn beyond_the_limit_it_waits_and_is_told_later_if_it_still_holds() {
        let mut alarms = Alarms::new(LIMIT);
        let told = |events: &[Event]| events.iter().map(|e| e.resources[0].clone()).collect::<Vec<_>>();
        let mut first: Vec<Event> = Vec::new();
        for name in ["a", "b", "c", "d"] {
            first.extend(alarms.raise(&disk(name), pressure(), at(0)));
        }
        assert_eq!(told(&first), ["a", "b"]);
        assert!(alarms.clear(&disk("c"), Map::new(), at(50)).is_none(), "its beginning was not told");
        assert!(alarms.due(at(99)).is_empty());
        let later = alarms.due(at(100));
        assert_eq!(told(&later), ["d"]);
        assert_eq!(later[0].extra["suppressedCount"], 1, "c never was");
        assert!(alarms.clear(&disk("d"), Map::new(), at(101)).is_some());
    }

    #[test]
    fn what_happens_once_is_counted_where_it_is_not_told() {
        let mut alarms = Alarms::new(LIMIT);
        let clock = Subject::new("system.clock", "jump", "realtime");
        let jump = || Alarm { event_type: EventType::CLOCK_JUMPED, ..pressure() };
        let told: Vec<bool> = (0..5).map(|ns| alarms.tell(&clock, jump(), at(ns)).is_some()).collect();
        assert_eq!(told, [true, true, false, false, false]);
        let next = alarms.tell(&clock, jump(), at(200)).expect("there is room again");
        assert_eq!(next.extra["suppressedCount"], 3);
    }

    #[test]
    fn after_a_restart_what_was_told_is_not_told_again_and_ends_all_the_same() {
        let mut before = Alarms::new(LIMIT);
        let open = before.raise(&disk("/"), pressure(), at(0)).expect("news");
        let over = before.raise(&disk("/b"), pressure(), at(0)).expect("news");
        let end = before.clear(&disk("/b"), Map::new(), at(1)).expect("news");
        let mut after = Alarms::new(LIMIT);
        for event in [&open, &over, &end] {
            let json = event.to_json(at(5));
            after.remember(&Event::from_json(&json, at(5)).expect("reads back"));
        }
        assert_eq!(after.of("system.disk"), [disk("/")]);
        assert!(after.raise(&disk("/"), pressure(), at(6)).is_none());
        let end = after.clear(&disk("/"), Map::new(), at(7)).expect("news");
        assert_eq!(end.extra["recovers"], open.id.to_string());
    }

    proptest! {
        #[test]
        fn whatever_happens_one_event_is_open_a_subject_and_the_limit_holds(
            steps in prop::collection::vec((0..4_u8, any::<bool>(), 0..60_i64), 1..200),
        ) {
            let mut alarms = Alarms::new(LIMIT);
            let mut open: BTreeMap<String, String> = BTreeMap::new();
            let (mut told, mut now) = (Vec::new(), 0);
            for (name, is_wrong, pause) in steps {
                now += pause;
                let subject = disk(&name.to_string());
                let found = if is_wrong { Finding::Wrong(pressure()) } else { Finding::Well(Map::new()) };
                let mut events: Vec<Event> = alarms.set(&subject, found, at(now)).into_iter().collect();
                events.extend(alarms.due(at(now)));
                for event in events {
                    let of = event.resources[0].clone();
                    match event.extra.get("recovers") {
                        Some(ended) => prop_assert_eq!(open.remove(&of).map(Value::from), Some(ended.clone())),
                        None => {
                            prop_assert!(open.insert(of, event.id.to_string()).is_none(), "two for one subject");
                            told.push(now);
                        }
                    }
                }
                let recent = told.iter().filter(|at| now - **at < LIMIT.window_ns).count();
                prop_assert!(recent <= LIMIT.events_max as usize, "{} within the window", recent);
            }
        }
    }
}
