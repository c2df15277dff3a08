//! The event of somebody on this machine, made of a request: an operator's rehearsal, or a real one that a script emits.
//!
//! Inputs: the request, the time. Outputs: the event, or what is wrong with the request. Pure. Must never make an event that
//! passes for one that a cloud told: a rehearsal is marked as simulated, and what is emitted has source and provider of its
//! own and names its user.

use super::rights::Right;
use super::wire::{Emit, Simulate};
use crate::event::{Action, Event, EventId, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::Value;
use std::sync::Arc;

/// Source of what is emitted.
pub const EMITTED: &str = "local.emit";

/// Member of `data` that names who emitted the event, by number.
const EMITTER: &str = "emitterUid";

/// The event that the request stands for, detected `now`.
///
/// # Errors
/// What is wrong with the request, in words for the operator.
pub fn event(request: Simulate, now: Moment) -> Result<Event, String> {
    let event_type = EventType::parse(&request.event_type)?;
    let word = |what: &str, given: String, expected: &str| {
        format!("{what} '{given}' is not known; expected one of {expected}")
    };
    let severity = match request.severity {
        Some(text) => serde_json::from_value(text.clone().into())
            .map_err(|_| word("severity", text, "info, warning, urgent, critical"))?,
        None => usual_severity(&event_type),
    };
    let action = match request.action {
        Some(text) => serde_json::from_value(text.clone().into())
            .map_err(|_| word("action", text, "terminate, stop, hibernate, reboot, redeploy, freeze, none"))?,
        None => usual_action(&event_type),
    };
    let effective = match request.in_seconds {
        Some(s) if !(0.0..=86_400.0).contains(&s) => {
            return Err(format!("'in' is {s} seconds, expected 0 to 86400"));
        }
        seconds => seconds.map(|s| now.plus_ns((s * 1e9) as i64)),
    };
    let reserved = ["timeRemaining", "time", "provider", "action", "noticeKind", "raw"];
    if let Some(key) = request.data.keys().find(|k| reserved.contains(&k.as_str())) {
        return Err(format!("data.{key} is set by the daemon itself"));
    }
    let cancels = match request.cancels {
        Some(_) if !event_type.is_cancelled() => {
            return Err(format!("'{event_type}' withdraws nothing; a withdrawal's type ends in .cancelled"));
        }
        Some(_) if request.drill => return Err("a drill is withdrawn by the daemon itself".into()),
        Some(id) => {
            Some(EventId(id.parse().map_err(|_| format!("'{id}' is no event's id (snooze events shows them)"))?))
        }
        None if request.drill && event_type.is_cancelled() => {
            return Err("a drill is of a notice; its withdrawal comes by itself".into());
        }
        None => None,
    };
    let given = |key: &str| request.data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let machine = Machine {
        instance_id: given("instanceID"),
        instance_type: given("instanceType"),
        zone: given("zone"),
        region: given("region"),
    };
    Ok(Event {
        id: EventId::at(now.wall_ns),
        event_type,
        source: "operator".into(),
        severity,
        detected: now,
        effective,
        simulated: true,
        drill: request.drill,
        provider: "operator".into(),
        action,
        notice_kind: if effective.is_some() { NoticeKind::Deadline } else { NoticeKind::Advisory },
        machine: Arc::new(machine),
        resources: Vec::new(),
        cancels,
        raw: None,
        extra: request.data,
    })
}

/// The right that it takes to emit an event of this type.
pub fn right_to_emit(event_type: &EventType) -> Right {
    let is_custom = event_type.as_str().split('.').next() == Some("custom");
    if is_custom { Right::Emit } else { Right::Administer }
}

/// The real event that the request of the user `uid` stands for, detected `now`.
///
/// # Errors
/// What is wrong with the request, in words for whoever wrote the script.
pub fn emitted(request: Emit, uid: u32, now: Moment) -> Result<Event, String> {
    let Emit { event_type, deadline_seconds, severity, action, data } = request;
    if data.contains_key(EMITTER) {
        return Err(format!("data.{EMITTER} is set by the daemon itself"));
    }
    if let Some(seconds) = deadline_seconds.filter(|s| !(0.0..=86_400.0).contains(s)) {
        return Err(format!("'deadline' is {seconds} seconds, expected 0 to 86400"));
    }
    let in_seconds = deadline_seconds;
    let asked = Simulate { event_type, in_seconds, severity, action, drill: false, cancels: None, data };
    let mut event = event(asked, now)?;
    if event.event_type.is_cancelled() {
        return Err(format!("'{}' would withdraw an event, which cannot be emitted", event.event_type));
    }
    event.extra.insert(EMITTER.into(), uid.into());
    Ok(Event { source: EMITTED.into(), provider: "local".into(), simulated: false, ..event })
}

/// The withdrawal of an event that this daemon made itself, `now`.
pub fn withdrawal(event: &Event, now: Moment) -> Event {
    Event {
        id: EventId::at(now.wall_ns),
        event_type: event.event_type.cancelled(),
        severity: Severity::Info,
        detected: now,
        effective: None,
        notice_kind: NoticeKind::Advisory,
        cancels: Some(event.id),
        raw: None,
        ..event.clone()
    }
}

fn usual_severity(event_type: &EventType) -> Severity {
    match event_type.as_str() {
        t if t.ends_with(".cancelled") => Severity::Info,
        "cloud.spot.interrupt" | "cloud.autoscaling.terminate" | "cloud.instance.terminate" | "system.shutdown" => {
            Severity::Urgent
        }
        t if t.starts_with("cloud.") => Severity::Warning,
        _ => Severity::Info,
    }
}

fn usual_action(event_type: &EventType) -> Action {
    match event_type.as_str() {
        "cloud.spot.interrupt" | "cloud.instance.terminate" | "cloud.autoscaling.terminate" => Action::Terminate,
        "cloud.maintenance.reboot" => Action::Reboot,
        "cloud.maintenance.redeploy" => Action::Redeploy,
        "cloud.maintenance.freeze" => Action::Freeze,
        "cloud.maintenance.stop" | "cloud.maintenance.retire" => Action::Stop,
        _ => Action::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Moment = Moment { boot_ns: 5_000_000_000, wall_ns: 1_700_000_000_000_000_000 };

    fn emit(request: Value) -> Result<Event, String> {
        emitted(serde_json::from_value(request).expect("of the form"), 1000, NOW)
    }

    #[test]
    fn what_is_emitted_is_real_and_names_who_emitted_it() {
        let event =
            emit(json!({"type": "custom.raid", "deadline_seconds": 30, "severity": "urgent", "data": {"disk": "sda"}}));
        let json = event.expect("an event").to_json(NOW);
        assert_eq!((&json["simulated"], &json["source"]), (&Value::Null, &json!("local.emit")), "{json}");
        assert_eq!((&json["severity"], &json["data"]["provider"]), (&json!("urgent"), &json!("local")), "{json}");
        assert_eq!((&json["data"]["disk"], &json["data"]["emitterUid"]), (&json!("sda"), &json!(1000)), "{json}");
        assert_eq!((&json["data"]["timeRemaining"], &json["data"]["action"]), (&json!(30.0), &json!("none")), "{json}");
    }

    #[test]
    fn what_cannot_be_emitted_is_refused_with_the_reason() {
        for (request, why) in [
            (json!({"type": "Custom.x"}), "is not an event type"),
            (json!({"type": "custom.x.cancelled"}), "cannot be emitted"),
            (json!({"type": "custom.x", "deadline_seconds": -1}), "0 to 86400"),
            (json!({"type": "custom.x", "severity": "awful"}), "severity 'awful'"),
            (json!({"type": "custom.x", "data": {"emitterUid": 0}}), "data.emitterUid is set by the daemon"),
            (json!({"type": "custom.x", "data": {"provider": "aws"}}), "data.provider is set by the daemon"),
        ] {
            let error = emit(request.clone()).expect_err("refused");
            assert!(error.contains(why), "{request}: {error}");
        }
    }

    #[test]
    fn only_types_of_ones_own_can_be_emitted_without_administering() {
        let right = |text: &str| right_to_emit(&EventType::parse(text).expect("a type"));
        assert_eq!([right("custom.x"), right("custom")], [Right::Emit; 2]);
        for other in ["cloud.spot.interrupt", "system.shutdown", "customs.x", "fleet.custom.x", "insight.x"] {
            assert_eq!(right(other), Right::Administer, "{other}");
        }
    }
}
