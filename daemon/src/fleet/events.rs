//! What the group says, as events of this machine.
//!
//! Inputs: tellings of the member. Outputs: events, their identities the same whenever the same is told. Pure. Must never make an event of
//! this machine's own, nor one that says that the cloud acts on this machine.

use super::SOURCE;
use super::departures::{Departure, Departures};
use crate::event::{Action, Event, EventId, EventType, Machine, Moment, NoticeKind, Severity};
use cloudsnooze_fleet::{Departed, Heard, Leaver, Told};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Member of `data` that says with what the end of a step is answered.
const ANSWER: &str = "answer";

/// The event that says so; None for what is no event of its own.
pub fn event_of(told: &Told, departures: &Departures, now: Moment) -> Option<Event> {
    Some(match told {
        Told::Leaving { event, member, role, left, drill, details } => {
            let data = object(json!({ "member": member, "role": role, "notice": event }));
            let leaving = event_of_type(EventType::MEMBER_LEAVING, leaving_id(*event), Severity::Urgent, data, now);
            let details = details.value();
            let leaving = Event { machine: machine_of(&details, member), raw: some(details), ..leaving };
            drilled(about(leaving, now, *left), *drill)
        }
        // The end of its own handlers withdraws a drill here: `supervise::drills`.
        Told::Stays { drill: true, .. } => return None,
        Told::Stays { event, member, .. } => {
            let data = object(json!({ "member": member, "notice": event }));
            let id = EventId::named(&format!("fleet/{event}/stays"), wall_of(*event));
            let stays = event_of_type(EventType::MEMBER_LEAVING.cancelled(), id, Severity::Info, data, now);
            Event { cancels: Some(leaving_id(*event)), machine: machine_of(&Value::Null, member), ..stays }
        }
        Told::Step { operation, step, event, epoch, leaving, left } => {
            let data = object(json!({
                "operation": operation, "step": step, "epoch": epoch, ANSWER: event,
                "leaving": leaving.iter().map(leaver).collect::<Vec<_>>(),
            }));
            let id = EventId::named(&format!("fleet/{event}/step"), now.wall_ns);
            let step = about(event_of_type(EventType::OPERATION_STEP, id, Severity::Urgent, data, now), now, *left);
            drilled(step, !leaving.is_empty() && leaving.iter().all(|leaver| leaver.drill))
        }
        Told::Event(heard) => event_of_another(heard, now),
        Told::Joined { member, role } => came_or_went(EventType::MEMBER_JOINED, Severity::Info, (member, role), now),
        Told::Gone { member, role } => came_or_went(EventType::MEMBER_GONE, Severity::Info, (member, role), now),
        Told::Lost { member, role } => came_or_went(EventType::MEMBER_LOST, Severity::Warning, (member, role), now),
        Told::Leader { name, epoch } => {
            let data = object(json!({ "member": name, "epoch": epoch }));
            event_of_type(EventType::LEADER_CHANGED, EventId::at(now.wall_ns), Severity::Info, data, now)
        }
        Told::Completed { operation, epoch, led, departed, missing } => {
            let severity = if missing.is_empty() { Severity::Info } else { Severity::Warning };
            let data = object(json!({
                "operation": operation, "epoch": epoch, "led": led, "missing": missing,
                "departed": all_departed(departed, departures),
            }));
            let event = event_of_type(EventType::OPERATION_COMPLETED, EventId::at(now.wall_ns), severity, data, now);
            drilled(event, !departed.is_empty() && departed.iter().all(|one| one.drill))
        }
        Told::Connected(true) => {
            event_of_type(EventType::FLEET_CONNECTED, EventId::at(now.wall_ns), Severity::Info, Map::new(), now)
        }
        Told::Connected(false) => {
            event_of_type(EventType::FLEET_DISCONNECTED, EventId::at(now.wall_ns), Severity::Warning, Map::new(), now)
        }
        // What this machine does is in its own report, and a refusal is counted.
        Told::Alone { .. } | Told::Refused { .. } => return None,
    })
}

/// Whether the event is published also where no handler takes it: it says why this machine does what it does.
pub fn is_kept(event: &Event) -> bool {
    let plain = event.event_type.withdrawn();
    [EventType::MEMBER_LEAVING, EventType::OPERATION_STEP].contains(plain.as_ref().unwrap_or(&event.event_type))
}

/// What the end of this event's handlers is to be told to the group with; None where nobody there waits for it.
pub fn answer_of(event: &Event) -> Option<Uuid> {
    let is_ours = event.source == SOURCE && event.event_type == EventType::OPERATION_STEP;
    event.extra.get(ANSWER).filter(|_| is_ours)?.as_str()?.parse().ok()
}

/// The event of another member, under the identity it has there.
fn event_of_another(heard: &Heard, now: Moment) -> Event {
    let data = object(json!({
        "member": heard.member, "role": heard.role, "type": heard.event_type, "replayed": heard.replayed,
    }));
    let id = EventId::named(&format!("fleet/{}/event", heard.event), wall_of(heard.event));
    let event = event_of_type(EventType::MEMBER_EVENT, id, Severity::Info, data, now);
    let details = heard.details.value();
    let event = Event { machine: machine_of(&details, &heard.member), raw: some(details), ..event };
    drilled(event, heard.drill)
}

fn came_or_went(event_type: EventType, severity: Severity, (member, role): (&str, &str), now: Moment) -> Event {
    let data = object(json!({ "member": member, "role": role }));
    let event = event_of_type(event_type, EventId::at(now.wall_ns), severity, data, now);
    Event { machine: machine_of(&Value::Null, member), ..event }
}

fn event_of_type(
    event_type: EventType,
    id: EventId,
    severity: Severity,
    data: Map<String, Value>,
    now: Moment,
) -> Event {
    Event {
        id,
        event_type,
        source: SOURCE.into(),
        severity,
        detected: now,
        effective: None,
        simulated: false,
        drill: false,
        provider: SOURCE.into(),
        // The cloud does nothing to this machine.
        action: Action::None,
        notice_kind: NoticeKind::Advisory,
        machine: Arc::default(),
        resources: Vec::new(),
        cancels: None,
        raw: None,
        extra: data,
    }
}

/// As a drill, where it is one.
fn drilled(event: Event, is_drill: bool) -> Event {
    Event { drill: is_drill, simulated: is_drill, ..event }
}

/// With the time there is.
fn about(event: Event, now: Moment, left: Duration) -> Event {
    let left_ns = i64::try_from(left.as_nanos()).unwrap_or(i64::MAX);
    Event { effective: Some(now.plus_ns(left_ns)), notice_kind: NoticeKind::Deadline, ..event }
}

fn leaving_id(event: Uuid) -> EventId {
    EventId::named(&format!("fleet/{event}/leaving"), wall_of(event))
}

/// When the event was made, by its identity: nanoseconds since 1970, 0 where that does not say.
fn wall_of(event: Uuid) -> i64 {
    let stamp = event.get_timestamp().map(|stamp| stamp.to_unix());
    let nanoseconds = stamp.map(|(seconds, part)| i128::from(seconds) * 1_000_000_000 + i128::from(part));
    nanoseconds.and_then(|nanoseconds| i64::try_from(nanoseconds).ok()).unwrap_or(0)
}

/// The machine that another member's event is about: as the event says, else by its name in the group.
fn machine_of(details: &Value, member: &str) -> Arc<Machine> {
    let text = |pointer: &str| details.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let instance_id = Some(text("/data/instanceID")).filter(|id| !id.is_empty()).unwrap_or_else(|| member.to_owned());
    let (instance_type, zone, region) = (text("/data/instanceType"), text("/data/zone"), text("/data/region"));
    Arc::new(Machine { instance_id, instance_type, zone, region })
}

fn leaver(leaver: &Leaver) -> Value {
    json!({
        "member": leaver.member, "role": leaver.role, "notice": leaver.event,
        "timeRemaining": leaver.left.as_secs_f64(), "drill": leaver.drill,
    })
}

/// Whom the operation was for, with what its cloud calls the machine and the event; and who went before for the same event.
fn all_departed(departed: &[Departed], departures: &Departures) -> Vec<Value> {
    let announced = |notice: Uuid, of: Departure| {
        let Departure { provider, machine, cloud_event } = of;
        json!({ "notice": notice, "provider": provider, "machine": machine, "cloudEvent": cloud_event })
    };
    let now = departed.iter().map(|one| {
        let mut value = announced(one.event, departures.of(one.event));
        (value["member"], value["role"], value["drill"]) = (json!(one.member), json!(one.role), json!(one.drill));
        value
    });
    let notices: Vec<Uuid> = departed.iter().map(|one| one.event).collect();
    now.chain(departures.before(&notices).into_iter().map(|(notice, of)| announced(notice, of))).collect()
}

fn some(value: Value) -> Option<Value> {
    (!value.is_null()).then_some(value)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_fleet::Details;

    const NOW: Moment = Moment { boot_ns: 5_000_000_000, wall_ns: 1_767_323_045_250_000_000 };

    fn none() -> Departures {
        Departures::default()
    }

    fn notice() -> Uuid {
        "019b7c52-3a4e-7f60-8182-030405060708".parse().unwrap()
    }

    fn leaving(details: Value) -> Told {
        let (member, role) = ("db-1".to_owned(), "replica".to_owned());
        let (left, details) = (Duration::from_secs(90), Details::from(&details));
        Told::Leaving { event: notice(), member, role, left, drill: false, details }
    }

    #[test]
    fn a_member_that_leaves_is_an_event_with_its_deadline_and_its_withdrawal_withdraws_it() {
        let details = json!({ "type": "cloud.spot.interrupt", "data": { "instanceID": "i-7", "zone": "eu-west-1a" } });
        let event = event_of(&leaving(details.clone()), &none(), NOW).unwrap();
        assert_eq!(event.event_type.as_str(), "fleet.member.leaving");
        assert_eq!((event.action, event.seconds_left(NOW)), (Action::None, Some(90.0)));
        assert_eq!((event.machine.instance_id.as_str(), event.machine.zone.as_str()), ("i-7", "eu-west-1a"));
        assert_eq!((event.raw, &event.extra["member"]), (Some(details), &json!("db-1")));
        let again = event_of(&leaving(Value::Null), &none(), NOW.plus_ns(7)).unwrap();
        assert_eq!((again.id, again.machine.instance_id.as_str()), (event.id, "db-1"));
        let stays =
            event_of(&Told::Stays { event: notice(), member: "db-1".into(), drill: false }, &none(), NOW).unwrap();
        assert_eq!((stays.cancels, stays.event_type.is_cancelled()), (Some(event.id), true));
    }

    #[test]
    fn a_step_says_for_whom_it_is_and_with_what_its_end_is_answered() {
        let leaver = Leaver {
            event: notice(),
            member: "db-1".into(),
            role: "replica".into(),
            left: Duration::ZERO,
            drill: false,
        };
        let answer = Uuid::new_v5(&notice(), b"step");
        let told = Told::Step {
            operation: "o".into(),
            step: 0,
            event: answer,
            epoch: 3,
            leaving: vec![leaver.clone()],
            left: Duration::from_secs(8),
        };
        let event = event_of(&told, &none(), NOW).unwrap();
        assert_eq!((answer_of(&event), event.seconds_left(NOW)), (Some(answer), Some(8.0)));
        assert_eq!(event.extra["leaving"][0]["member"], "db-1");
        assert!(!event.drill);
        let drill = |all: Vec<Leaver>| match told.clone() {
            Told::Step { operation, step, event, epoch, left, .. } => {
                event_of(&Told::Step { operation, step, event, epoch, left, leaving: all }, &none(), NOW).unwrap()
            }
            _ => unreachable!("it is a step"),
        };
        let rehearses = Leaver { drill: true, ..leaver.clone() };
        assert!(drill(vec![rehearses.clone()]).drill);
        assert!(!drill(vec![rehearses, leaver]).drill, "somebody really goes");
        // What an operator emits is no directive, whatever it says.
        assert_eq!(answer_of(&Event { source: "operator".into(), ..event.clone() }), None);
        let back = Event::from_json(&event.to_json(NOW), NOW).unwrap();
        assert_eq!(answer_of(&back), Some(answer), "also after a restart");
    }

    #[test]
    fn the_end_of_an_operation_says_who_led_and_what_the_cloud_announced_to_whom() {
        let departures = Departures::default();
        let details = json!({ "data": { "provider": "azure", "instanceID": "vm-1", "raw": { "EventId": "A-1" } } });
        departures.note(notice(), &details);
        let departed = |drill| Departed { event: notice(), member: "m".into(), role: "r".into(), drill };
        let told = |departed: Vec<Departed>| Told::Completed {
            operation: "o".into(),
            epoch: 1,
            led: true,
            departed,
            missing: Vec::new(),
        };
        let event = event_of(&told(vec![departed(false), departed(true)]), &departures, NOW).unwrap();
        assert_eq!((&event.extra["led"], event.drill), (&json!(true), false));
        let first = &event.extra["departed"][0];
        assert_eq!((&first["machine"], &first["cloudEvent"]), (&json!("vm-1"), &json!("A-1")));
        assert!(event_of(&told(vec![departed(true)]), &departures, NOW).unwrap().drill);
    }

    #[test]
    fn whatever_is_told_is_a_valid_event_or_none() {
        let (member, role, why) = (|| "m".to_owned(), || "r".to_owned(), || "w".to_owned());
        let heard = Heard {
            event: notice(),
            event_type: "system.disk.pressure".into(),
            member: member(),
            role: role(),
            detected: 1,
            deadline: None,
            left: Duration::ZERO,
            replayed: true,
            drill: false,
            details: Details::default(),
        };
        let tellings = [
            Told::Event(heard),
            Told::Joined { member: member(), role: role() },
            Told::Gone { member: member(), role: role() },
            Told::Lost { member: member(), role: role() },
            Told::Leader { name: member(), epoch: 1 },
            Told::Completed { operation: "o".into(), epoch: 1, led: true, departed: Vec::new(), missing: vec![why()] },
            Told::Connected(true),
            Told::Connected(false),
        ];
        for told in tellings {
            let event = event_of(&told, &none(), NOW).unwrap_or_else(|| panic!("{told:?}"));
            assert!(event.event_type.as_str().starts_with("fleet.") && !is_kept(&event), "{told:?}");
        }
        assert!(event_of(&Told::Alone { event: notice(), why: why() }, &none(), NOW).is_none());
        assert!(event_of(&Told::Refused { epoch: 1, highest: 2 }, &none(), NOW).is_none());
    }
}
