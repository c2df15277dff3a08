//! Azure: the document of Scheduled Events, and who this machine is.
//!
//! Responsibilities: bodies -> notices, one for each event that names this machine. Inputs: the body of a 200 reply, a
//! `Reading`. Outputs: a [`Document`], an [`Identity`] or a `ParseError`. Must never treat garbage as "no notice", drop a
//! notice because part of it is unknown, or take a neighbour's notice for this machine's.
//!
//! Facts: "Azure Metadata Service: Scheduled Events for Linux VMs" (fields, versions, scope, `NotBefore` blank once an event
//! is Started), "Azure Instance Metadata Service" (instance data), "Terminate notification for scale set instances"
//! (the form of a name in `Resources`). The tables for people are in docs/normalisation.md.

use super::deadline::any_ns;
use super::{Notice, NoticeKey, ParseError, Reading};
use crate::event::{Action, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::Value;
use std::borrow::Cow;

/// The provider's name in keys and events.
pub const PROVIDER: &str = "azure";

/// An event of the document that concerns this machine, or may.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// What it says.
    pub notice: Notice,
    /// Azure has begun: the event leaves the document when it is over, not because it is withdrawn.
    pub is_started: bool,
}

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// `DocumentIncarnation`: grows with each change; smaller than before, the service has begun anew.
    pub incarnation: Option<i64>,
    /// The events that name this machine, or nobody.
    pub ours: Vec<Listed>,
    /// The events of which it is not known whether they name this machine, because its name is not known.
    pub undecided: Vec<Listed>,
    /// Entries that could not be read. They hide no other entry.
    pub malformed: u32,
}

/// Who this machine is.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The machine. Its `instance_id` is the name that `Resources` has.
    pub machine: Machine,
    /// What an eviction does to it.
    pub eviction: Action,
    /// It is said to be no spot machine: there are no evictions.
    pub is_regular: bool,
}

/// The document of scheduled events. `eviction`: what an eviction does to this machine, see [`Identity`].
///
/// Every machine of a scale set or availability set is given the events of all. What counts is the name that Azure itself
/// gives this machine (`compute/name`), without regard to case. The computer name inside the machine does not count: its
/// owner sets it, and another machine of the set may be called that.
///
/// # Errors
/// The body is not a JSON object with a list `Events`.
pub fn document(body: &[u8], reading: Reading<'_>, eviction: Action) -> Result<Document, ParseError> {
    let expected = ParseError::Shape { expected: "an object with the member Events" };
    let Value::Object(mut whole) = json_value(body)? else { return Err(expected) };
    let Some(Value::Array(events)) = whole.remove("Events") else { return Err(expected) };
    let mut found = Document { incarnation: whole.get("DocumentIncarnation").and_then(number), ..Document::default() };
    let name = reading.machine.instance_id.as_str();
    for event in events {
        if member(&event, "EventId").or_else(|| member(&event, "EventType")).is_none() {
            found.malformed = found.malformed.saturating_add(1);
            continue;
        }
        // The documentation knows no such state: an event that is over disappears. An entry that says so is as good as none.
        let status = member(&event, "EventStatus").unwrap_or_default();
        if ["completed", "canceled", "cancelled"].iter().any(|over| status.eq_ignore_ascii_case(over)) {
            continue;
        }
        let resources = resources(&event);
        let list = match () {
            // Nobody is named: it was given to this machine, and must not be missed.
            () if resources.is_empty() => &mut found.ours,
            () if name.is_empty() => &mut found.undecided,
            () if resources.iter().any(|resource| resource.eq_ignore_ascii_case(name)) => &mut found.ours,
            () => continue,
        };
        let listed = listed(event, resources, reading, eviction);
        if !list.iter().any(|known| known.notice.key.matches(&listed.notice.key)) {
            list.push(listed);
        }
    }
    Ok(found)
}

/// `instance/compute`: every value is a text, and what is not there is empty.
///
/// `evictionPolicy` is `Deallocate` or `Delete`. Where it is not said, deletion is assumed, which asks for more care.
///
/// # Errors
/// The body is not a JSON object with a `name`.
pub fn identity(body: &[u8]) -> Result<Identity, ParseError> {
    let document = json_value(body)?;
    let text = |name: &str| member(&document, name).unwrap_or_default();
    let machine = Machine {
        instance_id: text("name").to_owned(),
        instance_type: text("vmSize").to_owned(),
        zone: text("zone").to_owned(),
        region: text("location").to_owned(),
    };
    if machine.instance_id.is_empty() {
        return Err(ParseError::Shape { expected: "an object with the member name" });
    }
    let is_kept = text("evictionPolicy").eq_ignore_ascii_case("Deallocate");
    Ok(Identity {
        machine,
        eviction: if is_kept { Action::Stop } else { Action::Terminate },
        is_regular: text("priority").eq_ignore_ascii_case("Regular"),
    })
}

fn listed(event: Value, mut resources: Vec<String>, reading: Reading<'_>, eviction: Action) -> Listed {
    let (kind, action, severity) = meaning(member(&event, "EventType").unwrap_or_default(), eviction);
    let is_advice = kind == EventType::SPOT_REBALANCE;
    let is_started = member(&event, "EventStatus").is_some_and(|status| status.eq_ignore_ascii_case("Started"));
    let stated = member(&event, "NotBefore").and_then(any_ns);
    // One that is due and still scheduled may begin at any moment.
    let is_due = is_started || stated.is_some_and(|ns| ns <= reading.now.wall_ns);
    let immediate = is_due && !is_advice;
    let effective = match stated {
        _ if is_advice => None,
        _ if immediate => Some(reading.now),
        stated => stated.map(|ns| Moment::at_wall(ns, reading.now)),
    };
    resources.retain(|resource| !resource.eq_ignore_ascii_case(&reading.machine.instance_id));
    let goes_away = !matches!(action, Action::Freeze | Action::None);
    let notice = Notice {
        key: key(kind.clone(), member(&event, "EventId"), reading.machine),
        kind,
        action,
        notice_kind: if is_advice { NoticeKind::Advisory } else { NoticeKind::Deadline },
        stated_wall_ns: stated,
        effective,
        immediate,
        resources,
        raw: event,
        severity: if immediate && goes_away { Severity::Critical } else { severity },
        cancelled: false,
    };
    Listed { notice, is_started }
}

/// What a type of event is to us.
///
/// A type of the future is announced as the mildest kind, with no action: it must be seen by people, and must not set off
/// what saves a machine from deletion.
fn meaning(event_type: &str, eviction: Action) -> (EventType, Action, Severity) {
    match event_type.to_ascii_lowercase().as_str() {
        "freeze" => (EventType::MAINTENANCE_FREEZE, Action::Freeze, Severity::Warning),
        "reboot" => (EventType::MAINTENANCE_REBOOT, Action::Reboot, Severity::Warning),
        "redeploy" => (EventType::MAINTENANCE_REDEPLOY, Action::Redeploy, Severity::Warning),
        "preempt" => (EventType::SPOT_INTERRUPT, eviction, Severity::Urgent),
        "terminate" => (EventType::INSTANCE_TERMINATE, Action::Terminate, Severity::Urgent),
        "spotrebalancerecommendation" => (EventType::SPOT_REBALANCE, Action::None, Severity::Warning),
        _ => (EventType::MAINTENANCE_FREEZE, Action::None, Severity::Warning),
    }
}

/// The names in `Resources`. The preview of 2017-03-01 put an underscore before each, with which no name begins.
fn resources(event: &Value) -> Vec<String> {
    let listed = event.get("Resources").and_then(Value::as_array).into_iter().flatten();
    let names = listed.filter_map(Value::as_str).map(|name| name.strip_prefix('_').unwrap_or(name));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn key(kind: EventType, event_id: Option<&str>, machine: &Machine) -> NoticeKey {
    NoticeKey {
        provider: Cow::Borrowed(PROVIDER),
        kind,
        instance: machine.instance_id.clone(),
        // Its case varies from reading to reading, and it becomes part of the event's identity.
        provider_id: event_id.map(str::to_ascii_lowercase),
    }
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn json_value(body: &[u8]) -> Result<Value, ParseError> {
    serde_json::from_slice(body).map_err(|e| ParseError::NotJson {
        line: e.line(),
        column: e.column(),
        bytes: body.len(),
    })
}

#[cfg(test)]
mod tests;
