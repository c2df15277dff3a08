//! What a message of the queue says: from its body to what was found in it.
//!
//! Inputs: the body of one message. Outputs: [`Meaning`]. Pure. Must never panic, take a message that it does not know for
//! "nothing", or guess which machine is meant.
//!
//! Facts: EC2 user guide, "Spot Instance interruption notices" and "EC2 instance rebalance recommendations" (the events'
//! forms; the resource is no ARN of the usual form, so `detail.instance-id` is what counts); EC2 Auto Scaling user guide,
//! "EventBridge event reference" and "Lifecycle hooks" (the direct form, its TEST_NOTIFICATION); Amazon SNS developer guide
//! (the envelope without raw delivery); AWS Health user guide, "Amazon EventBridge events" (several machines in one event).

use cloudsnooze_plugin::Severity;
use cloudsnooze_plugin::serde_json::{self, Value};
use cloudsnooze_plugin::source::{Action, When};

/// From the time of a spot event to what it announces: its `time` is when it was sent (EC2 user guide: two minutes).
const SPOT_NS: i64 = 120_000_000_000;
/// Envelopes within envelopes that are opened.
const DEPTH_MAX: u32 = 3;
/// Most machines of one message.
const MACHINES_MAX: usize = 1_000;

/// One notice about one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The machine.
    pub instance_id: String,
    /// Type of the event that it becomes.
    pub event_type: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What will be done.
    pub action: Action,
    /// Whether it only warns.
    pub is_advisory: bool,
    /// When.
    pub when: When,
    /// The time in the message, nanoseconds since 1970.
    pub stated_wall_ns: Option<i64>,
    /// AWS's identifier, where several notices of one kind can stand for one machine.
    pub notice_id: String,
    /// It is withdrawn, or over.
    pub is_withdrawn: bool,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// Notices.
    Notices(Vec<Found>),
    /// Nothing that anybody waits for: a test of Auto Scaling.
    Test,
    /// Known, and no notice: of these machines, which may be none.
    NoNotice(Vec<String>),
    /// Not known, and why.
    Unknown(String),
}

/// Reads the body of a message.
pub fn read(body: &str) -> Meaning {
    match serde_json::from_str(body) {
        Ok(document) => meaning(&document, 0),
        Err(error) => Meaning::Unknown(format!("it is not JSON (line {}, column {})", error.line(), error.column())),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn unknown(why: &str) -> Meaning {
    Meaning::Unknown(why.to_owned())
}

fn meaning(document: &Value, depth: u32) -> Meaning {
    if !document.is_object() {
        return unknown("it is no JSON object");
    }
    if document.get("detail-type").is_some() {
        return of_event_bridge(document);
    }
    if text(document, "Event") == "autoscaling:TEST_NOTIFICATION" {
        return Meaning::Test;
    }
    if document.get("LifecycleTransition").is_some() {
        return of_hook(document, text(document, "Time"));
    }
    match document.get("Message").and_then(Value::as_str) {
        Some(_) if depth >= DEPTH_MAX => unknown("it is an envelope in too many envelopes"),
        Some(inner) => match serde_json::from_str(inner) {
            Ok(inner) => meaning(&inner, depth + 1),
            Err(_) => unknown("it is an envelope of SNS around something that is not JSON"),
        },
        None => unknown("it has neither a detail-type nor a LifecycleTransition"),
    }
}

fn of_event_bridge(event: &Value) -> Meaning {
    let detail = event.get("detail").unwrap_or(&Value::Null);
    let time = text(event, "time");
    let instance = text(detail, "instance-id");
    match (text(event, "source"), text(event, "detail-type")) {
        ("aws.health", _) => of_health(event, detail),
        ("aws.autoscaling", name) if name.contains("Lifecycle Action") => of_hook(detail, time),
        ("aws.ec2", "EC2 Instance State-change Notification") => of_state(instance, text(detail, "state"), time),
        ("aws.ec2", "EC2 Instance Rebalance Recommendation") => of_machine(instance, |instance_id| Found {
            event_type: "cloud.spot.rebalance",
            severity: Severity::Warning,
            is_advisory: true,
            ..found(instance_id, rfc3339_ns(time))
        }),
        // The exact words of the one for capacity reservations are not documented; both have the same members.
        ("aws.ec2", name) if name.contains("Interruption Warning") => {
            let (sent, action) = (rfc3339_ns(time), action(text(detail, "instance-action")));
            of_machine(instance, |instance_id| interruption(instance_id, action, sent))
        }
        (source, name) => Meaning::Unknown(format!("an event of '{}' called '{}'", short(source), short(name))),
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// What all notices begin as.
fn found(instance_id: &str, stated_wall_ns: Option<i64>) -> Found {
    Found {
        instance_id: instance_id.to_owned(),
        event_type: "cloud.spot.interrupt",
        severity: Severity::Urgent,
        action: Action::None,
        is_advisory: false,
        when: When::Unknown,
        stated_wall_ns,
        notice_id: String::new(),
        is_withdrawn: false,
    }
}

fn is_instance(id: &str) -> bool {
    id.len() <= 64 && id.starts_with("i-") && id[2..].bytes().all(|b| b.is_ascii_alphanumeric())
}

fn of_machine(instance_id: &str, make: impl FnOnce(&str) -> Found) -> Meaning {
    if is_instance(instance_id) {
        return Meaning::Notices(vec![make(instance_id)]);
    }
    unknown("it names no instance")
}

fn action(name: &str) -> Action {
    match name.to_ascii_lowercase().as_str() {
        "terminate" => Action::Terminate,
        "stop" => Action::Stop,
        "hibernate" => Action::Hibernate,
        _ => Action::None,
    }
}

/// The same as the metadata service says of it, so that both are one notice: the stated time is that of the action.
fn interruption(instance_id: &str, action: Action, sent_wall_ns: Option<i64>) -> Found {
    let acts = sent_wall_ns.map(|sent| sent.saturating_add(SPOT_NS));
    let when = match (action, acts) {
        (Action::Hibernate, _) => When::Now,
        (_, Some(acts)) => When::At(acts),
        (_, None) => When::Unknown,
    };
    let severity = if action == Action::Hibernate { Severity::Critical } else { Severity::Urgent };
    Found { action, when, severity, ..found(instance_id, acts) }
}

fn of_state(instance_id: &str, state: &str, time: &str) -> Meaning {
    let (event_type, action) = match state {
        "shutting-down" => ("cloud.instance.terminate", Action::Terminate),
        "stopping" => ("cloud.instance.stop", Action::Stop),
        _ if is_instance(instance_id) => return Meaning::NoNotice(vec![instance_id.to_owned()]),
        _ => return unknown("it names no instance"),
    };
    // It has begun: the system has what its own shutdown leaves.
    of_machine(instance_id, |instance_id| Found {
        event_type,
        action,
        severity: Severity::Critical,
        when: When::Now,
        ..found(instance_id, rfc3339_ns(time))
    })
}

/// Through EventBridge or straight from Auto Scaling: the same members. Several hooks of a group are one termination.
fn of_hook(detail: &Value, time: &str) -> Meaning {
    let instance = text(detail, "EC2InstanceId");
    match text(detail, "LifecycleTransition") {
        "autoscaling:EC2_INSTANCE_TERMINATING" => of_machine(instance, |instance_id| Found {
            event_type: "cloud.autoscaling.terminate",
            action: Action::Terminate,
            ..found(instance_id, rfc3339_ns(time))
        }),
        "autoscaling:EC2_INSTANCE_LAUNCHING" => Meaning::NoNotice(vec![short(instance)]),
        _ => unknown("a lifecycle transition that is neither launching nor terminating"),
    }
}

fn of_health(event: &Value, detail: &Value) -> Meaning {
    let machines = entities(detail);
    if text(detail, "service") != "EC2" || text(detail, "eventTypeCategory") != "scheduledChange" || machines.is_empty()
    {
        return Meaning::NoNotice(machines);
    }
    let Some((event_type, action)) = planned(text(detail, "eventTypeCode")) else { return Meaning::NoNotice(machines) };
    let starts = health_time_ns(text(detail, "startTime"));
    let arn = Some(text(detail, "eventArn")).filter(|arn| !arn.is_empty()).unwrap_or(text(event, "id"));
    let is_withdrawn = ["statusCode", "eventStatusCode"].iter().any(|name| text(detail, name) == "closed");
    let one = |instance_id: &String| Found {
        event_type,
        action,
        severity: Severity::Warning,
        when: starts.map_or(When::Unknown, When::At),
        notice_id: arn.chars().take(512).collect(),
        is_withdrawn,
        ..found(instance_id, starts)
    };
    Meaning::Notices(machines.iter().map(one).collect())
}

fn entities(detail: &Value) -> Vec<String> {
    let all = detail.get("affectedEntities").and_then(Value::as_array).into_iter().flatten();
    let mut machines: Vec<String> =
        all.map(|entity| text(entity, "entityValue")).filter(|id| is_instance(id)).map(str::to_owned).collect();
    machines.sort();
    machines.dedup();
    machines.truncate(MACHINES_MAX);
    machines
}

/// What a code such as `AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED` does to the machines; the codes are many, and grow.
fn planned(code: &str) -> Option<(&'static str, Action)> {
    let code = code.strip_prefix("AWS_EC2_")?;
    let has = |word: &str| code.split('_').any(|part| part == word);
    Some(match () {
        () if has("RETIREMENT") => ("cloud.maintenance.retire", Action::Stop),
        () if has("REBOOT") => ("cloud.maintenance.reboot", Action::Reboot),
        () if has("STOP") => ("cloud.maintenance.stop", Action::Stop),
        () if has("NETWORK") || has("POWER") || has("MAINTENANCE") => ("cloud.maintenance.freeze", Action::Freeze),
        () if has("SCHEDULED") => ("cloud.maintenance.freeze", Action::None),
        () => return None,
    })
}

/// RFC 3339, nanoseconds since 1970.
fn rfc3339_ns(text: &str) -> Option<i64> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(stamp.as_nanosecond()).ok().filter(|ns| *ns > 0)
}

/// `Sat, 05 Jun 2016 15:10:09 GMT`; the documentation's own example has the wrong day of the week.
fn health_time_ns(text: &str) -> Option<i64> {
    static PARSER: jiff::fmt::rfc2822::DateTimeParser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let stamp = PARSER.parse_timestamp(text).ok();
    stamp.and_then(|stamp| i64::try_from(stamp.as_nanosecond()).ok()).filter(|ns| *ns > 0).or_else(|| rfc3339_ns(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_plugin::serde_json::json;
    use std::path::Path;

    fn shown(meaning: &Meaning) -> Value {
        let when = |when: When| match when {
            When::At(ns) => json!(jiff::Timestamp::from_nanosecond(ns.into()).unwrap().to_string()),
            When::Unknown => Value::Null,
            other => json!(format!("{other:?}")),
        };
        let one = |found: &Found| {
            json!({
                "instance": found.instance_id, "type": found.event_type, "severity": format!("{:?}", found.severity),
                "action": format!("{:?}", found.action), "advisory": found.is_advisory, "when": when(found.when),
                "stated": found.stated_wall_ns.map_or(Value::Null, |ns| when(When::At(ns))), "id": found.notice_id,
                "withdrawn": found.is_withdrawn,
            })
        };
        match meaning {
            Meaning::Notices(all) => json!({ "notices": all.iter().map(one).collect::<Vec<_>>() }),
            Meaning::Test => json!("test"),
            Meaning::NoNotice(machines) => json!({ "no notice": machines }),
            Meaning::Unknown(why) => json!({ "unknown": why }),
        }
    }

    #[test]
    fn every_message_becomes_what_stands_beside_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".body")) else { continue };
            let body = std::fs::read_to_string(&path).unwrap();
            let wanted = std::fs::read_to_string(folder.join(format!("{name}.found.json"))).unwrap_or_default();
            let wanted: Value = serde_json::from_str(&wanted).unwrap_or_default();
            assert_eq!(shown(&read(&body)), wanted, "{name}");
            count += 1;
        }
        assert!(count >= 15, "only {count} messages");
    }

    #[test]
    fn garbage_is_unknown_and_not_the_absence_of_a_notice() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "\"x\"",
            "{\"detail-type\":5}",
            "{\"Message\":\"{\"}",
            "\u{0}",
            "{\"detail-type\":",
        ] {
            assert!(matches!(read(body), Meaning::Unknown(_)), "{body}");
        }
        let mut nested = json!({"Event": "autoscaling:TEST_NOTIFICATION"}).to_string();
        for _ in 0..8 {
            nested = json!({ "Message": nested }).to_string();
        }
        assert!(matches!(read(&nested), Meaning::Unknown(_)));
    }

    #[test]
    fn the_reason_quotes_nothing_that_could_steer_a_terminal() {
        let body = json!({"detail-type": "\u{1b}[2J\n".repeat(100), "source": "x"}).to_string();
        let Meaning::Unknown(why) = read(&body) else { panic!("it is unknown") };
        assert!(why.len() < 400 && !why.contains(char::is_control), "{why:?}");
    }
}
