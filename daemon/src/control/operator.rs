//! An operator's event, made of a request.
//!
//! Inputs: the request, the time. Outputs: the event, or what is wrong with the request. Pure. Must never make an event that
//! passes for a cloud's: each is marked as simulated.

use super::wire::Simulate;
use crate::event::{Action, Event, EventId, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::Value;
use std::sync::Arc;

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
