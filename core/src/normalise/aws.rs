//! AWS: the documents of the EC2 instance metadata service.
//!
//! Responsibilities: bodies -> notices, and who this machine is. Inputs: the body of a 200 reply, a
//! `Reading`. Outputs: `Notice`s or a `ParseError`. Must never treat garbage as "no notice", drop a
//! notice because part of it is unknown, or fire for a time that has passed.
//!
//! Facts: EC2 user guide, "Spot Instance interruption notices", "EC2 instance rebalance recommendations",
//! "View scheduled events", "Instance metadata categories"; EC2 Auto Scaling user guide, "Retrieve the
//! target lifecycle state through instance metadata".

use super::deadline::{SECOND_NS, any_ns};
use super::{Notice, NoticeKey, ParseError, Reading, json_value};
use crate::event::{Action, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The provider's name in keys and events.
pub const PROVIDER: &str = "aws";

/// How long after its stated time a hibernation is still worth acting on: the two minutes that the time
/// promises do not exist, freezing begins with the notice, so the stated time says nothing of use.
pub const HIBERNATE_PAST_MAX_NS: i64 = 120 * SECOND_NS;

/// `spot/instance-action`. None when its time has passed: the machine outlived it.
///
/// An action this version does not know is still an interruption, with [`Action::None`]; one without a
/// readable time is an interruption without a deadline.
///
/// # Errors
/// The body is not a JSON object with an `action` or a `time`.
pub fn instance_action(body: &[u8], reading: Reading<'_>) -> Result<Option<Notice>, ParseError> {
    let raw = object(body)?;
    let action = member(&raw, "action");
    let stated = member(&raw, "time").and_then(any_ns);
    if action.is_none() && stated.is_none() {
        return Err(ParseError::Shape { expected: "an object with the members action and time" });
    }
    let action = action_named(action.unwrap_or_default());
    Ok(interrupt(action, stated, raw, reading))
}

/// `spot/termination-time`, the older form of `spot/instance-action` for terminations: the same notice,
/// under the same key. A text that is no time means "nothing", as documented.
///
/// # Errors
/// The body is not text.
pub fn termination_time(body: &[u8], reading: Reading<'_>) -> Result<Option<Notice>, ParseError> {
    let text = text(body)?;
    let stated = any_ns(text);
    Ok(stated.and_then(|_| interrupt(Action::Terminate, stated, json!(text), reading)))
}

/// `events/recommendations/rebalance`. Its time is when it was issued, not a deadline.
///
/// # Errors
/// The body is not a JSON object.
pub fn rebalance(body: &[u8], reading: Reading<'_>) -> Result<Notice, ParseError> {
    let raw = object(body)?;
    Ok(Notice {
        kind: EventType::SPOT_REBALANCE,
        key: spot_rebalance_key(reading.machine),
        action: Action::None,
        notice_kind: NoticeKind::Advisory,
        stated_wall_ns: member(&raw, "noticeTime").and_then(any_ns),
        effective: None,
        immediate: false,
        resources: Vec::new(),
        raw,
        severity: Severity::Warning,
        cancelled: false,
    })
}

/// Key of the interruption notice of this machine: there is at most one.
pub fn spot_interrupt_key(machine: &Machine) -> NoticeKey {
    key(EventType::SPOT_INTERRUPT, None, machine)
}

/// Key of the rebalance recommendation of this machine.
pub fn spot_rebalance_key(machine: &Machine) -> NoticeKey {
    key(EventType::SPOT_REBALANCE, None, machine)
}

/// Key of the Auto Scaling notice of this machine.
pub fn autoscaling_key(machine: &Machine) -> NoticeKey {
    key(EventType::AUTOSCALING_TERMINATE, None, machine)
}

/// What `autoscaling/target-lifecycle-state` says.
#[derive(Clone, Debug, PartialEq)]
pub enum Lifecycle {
    /// The group takes the machine out.
    Leaving(Box<Notice>),
    /// Any other target: the machine stays, or stops to wait in a warm pool, or leaves the group alive.
    Other,
}

/// `autoscaling/target-lifecycle-state`. `Terminated` and `Warmed:Terminated` end in termination; no time
/// is given. `Detached`, `Standby` and the other `Warmed:` states do not delete the machine. A state
/// that this version does not know ends in termination if its name says so.
///
/// # Errors
/// The body is not one word of letters and colons with a capital first.
pub fn lifecycle_state(body: &[u8], reading: Reading<'_>) -> Result<Lifecycle, ParseError> {
    let state = text(body)?;
    let is_word = state.len() <= 64 && state.bytes().all(|b| b.is_ascii_alphabetic() || b == b':');
    if !is_word || !state.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Err(ParseError::Shape { expected: "a lifecycle state, such as InService" });
    }
    if state.rsplit(':').next() != Some("Terminated") {
        return Ok(Lifecycle::Other);
    }
    Ok(Lifecycle::Leaving(Box::new(Notice {
        kind: EventType::AUTOSCALING_TERMINATE,
        key: autoscaling_key(reading.machine),
        action: Action::Terminate,
        notice_kind: NoticeKind::Deadline,
        stated_wall_ns: None,
        effective: None,
        immediate: false,
        resources: Vec::new(),
        raw: json!(state),
        severity: Severity::Urgent,
        cancelled: false,
    })))
}

/// What the two lists of scheduled events say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Maintenance {
    /// One notice for each `EventId`: active, or cancelled (which includes completed).
    pub notices: Vec<Notice>,
    /// Entries that could not be read. They hide no other entry.
    pub malformed: u32,
}

/// `events/maintenance/scheduled` and `events/maintenance/history`, read one after the other.
///
/// The lists must be judged together: an event that is moved to another time stays in `scheduled` and
/// appears under the same `EventId` as canceled in `history`. What is active therefore wins.
/// An active event whose start has passed still counts, without a deadline, because it may begin at any
/// moment; when its `NotAfter` has passed too it is over.
///
/// # Errors
/// A body is not a JSON list.
pub fn maintenance(scheduled: &[u8], history: &[u8], reading: Reading<'_>) -> Result<Maintenance, ParseError> {
    let mut found = Maintenance::default();
    let mut cancelled = Vec::new();
    let lists = list(scheduled)?.into_iter().map(|e| (e, false)).chain(list(history)?.into_iter().map(|e| (e, true)));
    for (entry, is_history) in lists {
        if member(&entry, "Code").or_else(|| member(&entry, "EventId")).is_none() {
            found.malformed = found.malformed.saturating_add(1);
        } else if is_over(&entry) {
            cancelled.push(maintenance_notice(entry, true, reading));
        } else if !is_history && is_ahead(&entry, reading.now) {
            add_once(&mut found.notices, maintenance_notice(entry, false, reading));
        }
    }
    for notice in cancelled {
        add_once(&mut found.notices, notice);
    }
    Ok(found)
}

/// `dynamic/instance-identity/document`: who this machine is. Members that are null or absent stay empty.
///
/// # Errors
/// The body is not a JSON object with an `instanceId`.
pub fn identity(body: &[u8]) -> Result<Machine, ParseError> {
    let document = object(body)?;
    let text = |name: &str| member(&document, name).unwrap_or_default().to_owned();
    let machine = Machine {
        instance_id: text("instanceId"),
        instance_type: text("instanceType"),
        zone: text("availabilityZone"),
        region: text("region"),
    };
    if machine.instance_id.is_empty() {
        return Err(ParseError::Shape { expected: "an object with the member instanceId" });
    }
    Ok(machine)
}

/// Whether the provider says that a scheduled event is withdrawn or done.
fn is_over(entry: &Value) -> bool {
    let state = member(entry, "State").unwrap_or_default();
    let description = member(entry, "Description").unwrap_or_default();
    ["canceled", "cancelled", "completed"].iter().any(|s| state.eq_ignore_ascii_case(s))
        || ["[Canceled]", "[Completed]"].iter().any(|prefix| description.starts_with(prefix))
}

/// Whether a scheduled event may still happen.
fn is_ahead(entry: &Value, now: Moment) -> bool {
    member(entry, "NotAfter").and_then(any_ns).is_none_or(|end| end > now.wall_ns)
}

fn maintenance_notice(entry: Value, cancelled: bool, reading: Reading<'_>) -> Notice {
    let (kind, action) = maintenance_kind(member(&entry, "Code").unwrap_or_default());
    let stated = member(&entry, "NotBefore").and_then(any_ns);
    let ahead = stated.filter(|ns| !cancelled && *ns > reading.now.wall_ns);
    Notice {
        key: key(kind.clone(), member(&entry, "EventId"), reading.machine),
        kind,
        action,
        notice_kind: NoticeKind::Deadline,
        stated_wall_ns: stated,
        effective: ahead.map(|ns| Moment::at_wall(ns, reading.now)),
        immediate: false,
        resources: Vec::new(),
        raw: entry,
        severity: Severity::Warning,
        cancelled,
    }
}

fn member<'a>(entry: &'a Value, name: &str) -> Option<&'a str> {
    entry.get(name).and_then(Value::as_str)
}

/// What a code of a scheduled event does to the machine.
///
/// Retirement stops a machine whose root disk is a volume, and deletes the few whose root disk is local;
/// the document does not say which, so it counts as a stop. `system-maintenance` is a short loss of
/// network or power. A code of the future is announced as the mildest kind, with no action: it must be
/// seen by people, and must not set off what saves a machine from deletion.
fn maintenance_kind(code: &str) -> (EventType, Action) {
    match code {
        "instance-stop" => (EventType::MAINTENANCE_STOP, Action::Stop),
        "instance-retirement" => (EventType::MAINTENANCE_RETIRE, Action::Stop),
        "instance-reboot" | "system-reboot" => (EventType::MAINTENANCE_REBOOT, Action::Reboot),
        "system-maintenance" => (EventType::MAINTENANCE_FREEZE, Action::Freeze),
        _ => (EventType::MAINTENANCE_FREEZE, Action::None),
    }
}

fn action_named(name: &str) -> Action {
    match name.to_ascii_lowercase().as_str() {
        "terminate" => Action::Terminate,
        "stop" => Action::Stop,
        "hibernate" => Action::Hibernate,
        _ => Action::None,
    }
}

/// The interruption of this machine, unless it has passed.
fn interrupt(action: Action, stated: Option<i64>, raw: Value, reading: Reading<'_>) -> Option<Notice> {
    let now = reading.now;
    let immediate = action == Action::Hibernate;
    let grace_ns = if immediate { HIBERNATE_PAST_MAX_NS } else { 0 };
    if stated.is_some_and(|ns| ns.saturating_add(grace_ns) <= now.wall_ns) {
        return None;
    }
    Some(Notice {
        kind: EventType::SPOT_INTERRUPT,
        key: spot_interrupt_key(reading.machine),
        action,
        notice_kind: NoticeKind::Deadline,
        stated_wall_ns: stated,
        effective: if immediate { Some(now) } else { stated.map(|ns| Moment::at_wall(ns, now)) },
        immediate,
        resources: Vec::new(),
        raw,
        severity: if immediate { Severity::Critical } else { Severity::Urgent },
        cancelled: false,
    })
}

fn key(kind: EventType, provider_id: Option<&str>, machine: &Machine) -> NoticeKey {
    NoticeKey {
        provider: Cow::Borrowed(PROVIDER),
        kind,
        instance: machine.instance_id.clone(),
        provider_id: provider_id.map(str::to_owned),
    }
}

fn add_once(notices: &mut Vec<Notice>, notice: Notice) {
    if !notices.iter().any(|known| known.key == notice.key) {
        notices.push(notice);
    }
}

fn object(body: &[u8]) -> Result<Value, ParseError> {
    let value = json_value(body)?;
    if value.is_object() { Ok(value) } else { Err(ParseError::Shape { expected: "a JSON object" }) }
}

fn list(body: &[u8]) -> Result<Vec<Value>, ParseError> {
    match json_value(body)? {
        Value::Array(entries) => Ok(entries),
        _ => Err(ParseError::Shape { expected: "a JSON list" }),
    }
}

fn text(body: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(body).map(str::trim).map_err(|_| ParseError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::revise::{Reviser, Verdict};
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::Arc;

    fn at(text: &str) -> Moment {
        Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: any_ns(text).unwrap() }
    }

    fn machine() -> Machine {
        Machine { instance_id: "i-0123456789abcdef0".into(), ..Machine::default() }
    }

    /// Every document of `tests/fixtures/aws` becomes the events written beside it: `NAME.body` is what
    /// the path gave, `NAME.event.json` says which path, at what time, and what members the events have.
    #[test]
    fn recorded_documents_become_their_events() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/aws");
        let mut count = 0;
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let Some(name) = file.to_str().and_then(|f| f.strip_suffix(".body")) else { continue };
            let expected: Value =
                serde_json::from_slice(&std::fs::read(format!("{name}.event.json")).unwrap()).expect(name);
            let found = events_of(&std::fs::read(&file).unwrap(), &expected);
            let wanted = expected["events"].as_array().expect(name);
            assert_eq!(found.len(), wanted.len(), "{name}: {found:#?}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert_subset(name, wanted, found);
            }
            count += 1;
        }
        assert!(count >= 15, "only {count} documents in {}", folder.display());
    }

    fn events_of(body: &[u8], expected: &Value) -> Vec<Value> {
        let (machine, now) = (Arc::new(machine()), at(expected["now"].as_str().unwrap()));
        let reading = Reading { machine: &machine, now };
        let path = expected["path"].as_str().unwrap();
        let notices = match path {
            "spot/instance-action" => instance_action(body, reading).unwrap().into_iter().collect(),
            "spot/termination-time" => termination_time(body, reading).unwrap().into_iter().collect(),
            "events/recommendations/rebalance" => vec![rebalance(body, reading).unwrap()],
            "events/maintenance/scheduled" => maintenance(body, b"[]", reading).unwrap().notices,
            "events/maintenance/history" => {
                // What history withdraws must have been told: the same entries, still active.
                let before = String::from_utf8_lossy(body).replace("[Canceled] ", "").replace("[Completed] ", "");
                let before = before.replace("canceled", "active").replace("completed", "active");
                let before = maintenance(before.as_bytes(), b"[]", reading).unwrap().notices;
                before.into_iter().chain(maintenance(b"[]", body, reading).unwrap().notices).collect()
            }
            "autoscaling/target-lifecycle-state" => match lifecycle_state(body, reading).unwrap() {
                Lifecycle::Leaving(notice) => vec![*notice],
                Lifecycle::Other => Vec::new(),
            },
            other => panic!("unknown path {other}"),
        };
        let mut reviser = Reviser::new("aws.ec2.metadata-service");
        let verdicts = notices.into_iter().map(|n| reviser.observe(n, &machine, now));
        let told = verdicts.filter_map(|verdict| match verdict {
            Verdict::New(event) | Verdict::Cancelled(event) => Some(event.to_json(now)),
            _ => None,
        });
        told.collect()
    }

    /// A null in `wanted` means "must be absent".
    fn assert_subset(at: &str, wanted: &Value, found: &Value) {
        match wanted {
            Value::Object(members) => {
                for (name, wanted) in members {
                    assert_subset(&format!("{at}.{name}"), wanted, &found[name]);
                }
            }
            _ => assert_eq!(wanted, found, "{at}"),
        }
    }

    #[test]
    fn a_notice_in_the_past_does_not_fire() {
        let (machine, now) = (machine(), at("2017-09-18T08:22:00Z"));
        let reading = Reading { machine: &machine, now };
        for action in ["terminate", "stop", "something-new"] {
            let body = json!({"action": action, "time": "2017-09-18T08:22:00Z"}).to_string();
            assert_eq!(instance_action(body.as_bytes(), reading), Ok(None), "{action}");
        }
        assert_eq!(termination_time(b"2015-01-05T18:02:00Z", reading), Ok(None));
        let body = br#"{"action":"hibernate","time":"2017-09-18T08:20:01Z"}"#;
        assert!(instance_action(body, reading).unwrap().is_some_and(|n| n.effective == Some(now)));
        let body = br#"{"action":"hibernate","time":"2017-09-18T08:20:00Z"}"#;
        assert_eq!(instance_action(body, reading), Ok(None));
    }

    #[test]
    fn an_unknown_part_of_a_notice_drops_nothing() {
        let (machine, now) = (machine(), at("2017-09-18T08:20:00Z"));
        let reading = Reading { machine: &machine, now };
        let read = |body: &str| instance_action(body.as_bytes(), reading).unwrap().unwrap();
        let unknown = read(r#"{"action":"teleport","time":"2017-09-18T08:22:00Z","more":[1]}"#);
        assert_eq!((unknown.action, unknown.effective.is_some()), (Action::None, true));
        let timeless = read(r#"{"action":"stop","time":"soon"}"#);
        assert_eq!((timeless.action, timeless.effective), (Action::Stop, None));
        let code = r#"[{"Code":"instance-paint","EventId":"x"},7,{"EventId":"y","NotBefore":5}]"#;
        let found = maintenance(code.as_bytes(), b"[]", reading).unwrap();
        assert_eq!((found.notices.len(), found.malformed), (2, 1));
        assert!(found.notices.iter().all(|n| n.kind == EventType::MAINTENANCE_FREEZE && n.action == Action::None));
    }

    #[test]
    fn both_forms_of_a_termination_are_one_notice() {
        let (machine, now) = (machine(), at("2017-09-18T08:20:00Z"));
        let reading = Reading { machine: &machine, now };
        let new_form = instance_action(br#"{"action":"terminate","time":"2017-09-18T08:22:00Z"}"#, reading);
        let old_form = termination_time(b"2017-09-18T08:22:00Z\n", reading);
        let (new_form, old_form) = (new_form.unwrap().unwrap(), old_form.unwrap().unwrap());
        assert_eq!((new_form.key, new_form.effective), (old_form.key, old_form.effective));
        assert_eq!(termination_time(b"not marked", reading), Ok(None));
    }

    #[test]
    fn a_maintenance_window_that_is_open_has_no_deadline_and_one_that_is_over_is_nothing() {
        let machine = machine();
        let body = br#"[{"Code":"system-reboot","EventId":"x","State":"active",
            "NotBefore":"21 Jan 2019 09:00:43 GMT","NotAfter":"21 Jan 2019 09:17:23 GMT"}]"#;
        let read = |now| maintenance(body, b"[]", Reading { machine: &machine, now: at(now) }).unwrap().notices;
        assert!(read("2019-01-21T09:00:00Z")[0].effective.is_some());
        assert!(read("2019-01-21T09:05:00Z")[0].effective.is_none());
        assert!(read("2019-01-21T09:18:00Z").is_empty());
    }

    #[test]
    fn garbage_is_an_error_and_not_the_absence_of_a_notice() {
        let (machine, now) = (machine(), at("2017-09-18T08:20:00Z"));
        let reading = Reading { machine: &machine, now };
        for body in [&b""[..], b"<html>", b"{}", b"[]", b"null", b"{\"action\":", b"\xff\xfe"] {
            assert!(instance_action(body, reading).is_err(), "{body:?}");
            assert!(lifecycle_state(body, reading).is_err(), "{body:?}");
            assert!(identity(body).is_err(), "{body:?}");
            assert!(maintenance(b"[]", body, reading).is_err() || body == b"[]", "{body:?}");
            assert!(rebalance(body, reading).is_err() || body == b"{}", "{body:?}");
        }
        assert!(termination_time(b"\xff", reading).is_err());
        let secret = instance_action(b"{\"password\": hunter2", reading).unwrap_err().to_string();
        assert!(!secret.contains("hunter2"), "{secret}");
    }

    #[test]
    fn the_identity_document_names_the_machine_and_may_hold_nulls() {
        let body = br#"{"instanceId":"i-1","instanceType":"m5.large","availabilityZone":"us-east-1a","region":null}"#;
        let machine = identity(body).unwrap();
        assert_eq!((&*machine.instance_id, &*machine.zone, &*machine.region), ("i-1", "us-east-1a", ""));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), wall_ns in any::<i64>()) {
            read_all(&body, wall_ns);
        }

        #[test]
        fn no_json_of_the_right_shape_panics(
            code in "\\PC{0,12}", time in "\\PC{0,24}", state in "\\PC{0,12}", wall_ns in any::<i64>(),
        ) {
            let entry = json!({"Code": code, "EventId": state, "NotBefore": time, "NotAfter": time, "State": state});
            read_all(json!([entry]).to_string().as_bytes(), wall_ns);
            read_all(json!({"action": code, "time": time, "noticeTime": time}).to_string().as_bytes(), wall_ns);
        }
    }

    fn read_all(body: &[u8], wall_ns: i64) {
        let machine = machine();
        let reading = Reading { machine: &machine, now: Moment { boot_ns: i64::MAX, wall_ns } };
        let _ = instance_action(body, reading);
        let _ = termination_time(body, reading);
        let _ = rebalance(body, reading);
        let _ = lifecycle_state(body, reading);
        let _ = maintenance(body, body, reading);
        let _ = identity(body);
    }
}
