//! GCP: the documents of Compute Engine's metadata server.
//!
//! Responsibilities: bodies -> notices, and who this machine is. Inputs: the body of a reply, a `Reading`, since when
//! the notice may have stood. Outputs: `Notice`s or a `ParseError`. Must never treat garbage as "no notice", or drop a
//! notice because part of it is unknown.
//!
//! None of these documents but `upcoming-maintenance` states a time: a deadline is the time of the change and what Google
//! documents as its notice. Nor has any an identifier: what stands under a key is one notice until the key changes.
//!
//! Facts: Compute Engine, "Query metadata server for maintenance event notices", "Monitor and plan for a host maintenance
//! event", "Preemptible VM instances", "Spot VMs" (`preemptionNoticeDuration`); the body of a 503 as ScyllaDB's machine
//! images recorded it; `upcoming-maintenance` in snake case (metadata server) and camel case (API), and wrapped in one more
//! object (AI Hypercomputer documentation).

use super::deadline::{SECOND_NS, any_ns};
use super::{Notice, NoticeKey, ParseError, Reading, json_value};
use crate::event::{Action, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The provider's name in keys and events.
pub const PROVIDER: &str = "gcp";

/// In place of an identifier: what is planned is another notice than what begins.
pub(super) const PLANNED: &str = "planned";

/// How long before a live migration `maintenance-event` says so.
pub const MIGRATE_NOTICE_NS: i64 = 60 * SECOND_NS;

/// How long before a machine with GPUs is stopped for maintenance `maintenance-event` says so.
pub const TERMINATE_NOTICE_NS: i64 = 3_600 * SECOND_NS;

/// Longest word of a text document, bytes.
const WORD_BYTES_MAX: usize = 64;

/// What happens to this machine when its host is maintained (`scheduling/on-host-maintenance`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHostMaintenance {
    /// It moves to another host and stands still for a moment.
    Migrate,
    /// It is stopped, and started elsewhere if `scheduling/automatic-restart` says so.
    Terminate,
    /// The service does not say.
    #[default]
    Unknown,
}

impl OnHostMaintenance {
    /// `scheduling/on-host-maintenance`.
    pub fn read(body: &[u8]) -> Self {
        match body.trim_ascii() {
            b"MIGRATE" => Self::Migrate,
            b"TERMINATE" => Self::Terminate,
            _ => Self::Unknown,
        }
    }

    /// A value of the future is told as the mildest kind, with no action: people must see it, and it must not set off
    /// what saves a machine from its end.
    const fn kind(self) -> (EventType, Action) {
        match self {
            Self::Migrate => (EventType::MAINTENANCE_FREEZE, Action::Freeze),
            Self::Terminate => (EventType::MAINTENANCE_STOP, Action::Stop),
            Self::Unknown => (EventType::MAINTENANCE_FREEZE, Action::None),
        }
    }
}

/// `preempted`. None for FALSE. `since`: the earliest time at which it can have become TRUE; the machine ends `notice_ns`
/// later, which the document does not say.
///
/// # Errors
/// The body is neither TRUE nor FALSE.
pub fn preempted(
    body: &[u8],
    reading: Reading<'_>,
    since: Moment,
    notice_ns: i64,
) -> Result<Option<Notice>, ParseError> {
    let said = text(body)?;
    if said.eq_ignore_ascii_case("FALSE") {
        return Ok(None);
    }
    if !said.eq_ignore_ascii_case("TRUE") {
        return Err(ParseError::Shape { expected: "TRUE or FALSE" });
    }
    Ok(Some(Notice {
        resources: Vec::new(),
        kind: EventType::SPOT_INTERRUPT,
        key: preempted_key(reading.machine),
        action: Action::Terminate,
        notice_kind: NoticeKind::Deadline,
        stated_wall_ns: None,
        effective: Some(after(since, notice_ns, reading.now)),
        immediate: false,
        raw: json!(said),
        severity: Severity::Urgent,
        cancelled: false,
    }))
}

/// `maintenance-event`. None for NONE. `since`: as for [`preempted`].
///
/// # Errors
/// The body is not one word of capitals and low lines.
pub fn maintenance_event(body: &[u8], reading: Reading<'_>, since: Moment) -> Result<Option<Notice>, ParseError> {
    let said = text(body)?;
    let is_word = said.len() <= WORD_BYTES_MAX && said.starts_with(|c: char| c.is_ascii_uppercase());
    if !is_word || !said.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return Err(ParseError::Shape { expected: "a word such as NONE or MIGRATE_ON_HOST_MAINTENANCE" });
    }
    let (policy, notice_ns) = match said {
        "NONE" => return Ok(None),
        _ if said.starts_with("MIGRATE") => (OnHostMaintenance::Migrate, Some(MIGRATE_NOTICE_NS)),
        _ if said.starts_with("TERMINATE") => (OnHostMaintenance::Terminate, Some(TERMINATE_NOTICE_NS)),
        _ => (OnHostMaintenance::Unknown, None),
    };
    let effective = notice_ns.map(|ns| after(since, ns, reading.now));
    Ok(Some(maintenance(policy, effective, json!(said), reading.machine)))
}

/// What `upcoming-maintenance` says.
#[derive(Clone, Debug, PartialEq)]
pub enum Upcoming {
    /// Nothing is planned and nothing goes on.
    Nothing,
    /// It is planned: an advice, with the beginning of its window.
    Planned(Box<Notice>),
    /// It goes on: the machine is stopped or stands still at any moment.
    Ongoing(Box<Notice>),
}

/// `upcoming-maintenance?alt=json`, the body of a 200. `policy`: what maintenance does to this machine, which the document
/// does not say.
///
/// A status that this version does not know, or none, counts as planned.
///
/// # Errors
/// The body is neither `NONE` nor a JSON object with a status or a time of maintenance.
pub fn upcoming(body: &[u8], policy: OnHostMaintenance, reading: Reading<'_>) -> Result<Upcoming, ParseError> {
    if text(body)?.eq_ignore_ascii_case("NONE") {
        return Ok(Upcoming::Nothing);
    }
    let raw = match json_value(body)? {
        // A document that was written as text, and that text as JSON.
        Value::String(inner) => serde_json::from_str(&inner).unwrap_or(Value::String(inner)),
        other => other,
    };
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(word) => word.eq_ignore_ascii_case("NONE"),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let document = unwrapped(&raw);
    if is_nothing(document) {
        return Ok(Upcoming::Nothing);
    }
    let status = member(document, &["maintenancestatus", "status"]).and_then(Value::as_str);
    let start = member(document, &["windowstarttime", "starttime"]);
    if status.is_none() && start.is_none() {
        return Err(ParseError::Shape { expected: "an object with a maintenance_status or a window_start_time" });
    }
    let stated = start.and_then(Value::as_str).and_then(any_ns);
    if status.is_some_and(|status| status.eq_ignore_ascii_case("ONGOING")) {
        return Ok(Upcoming::Ongoing(Box::new(maintenance(policy, None, raw, reading.machine))));
    }
    let ahead = stated.filter(|ns| *ns > reading.now.wall_ns);
    Ok(Upcoming::Planned(Box::new(Notice {
        resources: Vec::new(),
        key: planned_key(policy.kind().0, reading.machine),
        kind: policy.kind().0,
        // Nothing happens to the machine yet: the notice of what does comes when it begins, with its action.
        action: Action::None,
        notice_kind: NoticeKind::Advisory,
        stated_wall_ns: stated,
        effective: ahead.map(|ns| Moment::at_wall(ns, reading.now)),
        immediate: false,
        raw,
        severity: Severity::Warning,
        cancelled: false,
    })))
}

/// Whether the body of a 503 of `upcoming-maintenance` only says that nothing was ever announced to this machine.
pub fn is_nothing_yet(body: &[u8]) -> bool {
    let said = serde_json::from_slice::<Value>(body);
    let is_it = |text: &str| text.contains("no notifications have been received yet");
    said.is_ok_and(|said| said.get("error").and_then(Value::as_str).is_some_and(is_it))
}

/// Key of the preemption of this machine: there is at most one.
pub fn preempted_key(machine: &Machine) -> NoticeKey {
    key(EventType::SPOT_INTERRUPT, None, machine)
}

/// Keys of maintenance that begins or goes on, of each type it may have.
pub fn maintenance_keys(machine: &Machine) -> [NoticeKey; 2] {
    [EventType::MAINTENANCE_FREEZE, EventType::MAINTENANCE_STOP].map(|kind| key(kind, None, machine))
}

/// Keys of maintenance that is planned, of each type it may have.
pub fn planned_keys(machine: &Machine) -> [NoticeKey; 2] {
    [EventType::MAINTENANCE_FREEZE, EventType::MAINTENANCE_STOP].map(|kind| planned_key(kind, machine))
}

/// Who this machine is, from the bodies of `id`, `name`, `zone` (`projects/N/zones/Z`) and `machine-type`
/// (`projects/N/machineTypes/T`). The name stands in for a missing id; what else is missing stays empty.
///
/// # Errors
/// There is neither an id nor a name.
pub fn identity(id: &[u8], name: &[u8], zone: &[u8], machine_type: &[u8]) -> Result<Machine, ParseError> {
    let last = |body: &[u8]| -> Result<String, ParseError> {
        Ok(text(body)?.rsplit('/').next().unwrap_or_default().to_owned())
    };
    let (id, name, zone) = (last(id)?, last(name)?, last(zone)?);
    let instance_id = if id.is_empty() { name } else { id };
    if instance_id.is_empty() {
        return Err(ParseError::Shape { expected: "the id of an instance" });
    }
    // A zone is its region, a hyphen and a letter.
    let region = zone.rsplit_once('-').map_or("", |(region, _)| region).to_owned();
    Ok(Machine { instance_id, instance_type: last(machine_type)?, zone, region })
}

/// Maintenance that begins at `effective`, or at any moment.
fn maintenance(policy: OnHostMaintenance, effective: Option<Moment>, raw: Value, machine: &Machine) -> Notice {
    let (kind, action) = policy.kind();
    let is_end = policy == OnHostMaintenance::Terminate;
    Notice {
        resources: Vec::new(),
        key: key(kind.clone(), None, machine),
        kind,
        action,
        notice_kind: NoticeKind::Deadline,
        stated_wall_ns: None,
        effective,
        immediate: false,
        raw,
        severity: if is_end { Severity::Urgent } else { Severity::Warning },
        cancelled: false,
    }
}

/// `ns` after `since`, but not before now.
fn after(since: Moment, ns: i64, now: Moment) -> Moment {
    let then = since.plus_ns(ns);
    if then.boot_ns < now.boot_ns { now } else { then }
}

/// The document itself, which one documentation shows as the only member of another object.
fn unwrapped(raw: &Value) -> &Value {
    let only = raw.as_object().filter(|members| members.len() == 1).and_then(|members| members.iter().next());
    match only {
        Some((name, inner)) if plain(name) == "upcomingmaintenance" => inner,
        _ => raw,
    }
}

/// The first of these members, whose names are given in lower case and without separators.
fn member<'a>(document: &'a Value, names: &[&str]) -> Option<&'a Value> {
    let members = document.as_object()?;
    names.iter().find_map(|wanted| members.iter().find(|(name, _)| plain(name) == *wanted).map(|(_, value)| value))
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn planned_key(kind: EventType, machine: &Machine) -> NoticeKey {
    key(kind, Some(PLANNED), machine)
}

fn key(kind: EventType, provider_id: Option<&str>, machine: &Machine) -> NoticeKey {
    NoticeKey {
        provider: Cow::Borrowed(PROVIDER),
        kind,
        instance: machine.instance_id.clone(),
        provider_id: provider_id.map(str::to_owned),
    }
}

fn text(body: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(body).map(str::trim).map_err(|_| ParseError::NotText)
}

#[cfg(test)]
mod tests;
