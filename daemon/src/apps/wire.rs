//! The lines that go over the applications' socket: one JSON object each.
//!
//! Inputs: lines of strangers. Outputs: what they ask, or one sentence about what is wrong with it; lines to send. Must
//! never repeat a stranger's text in an error, or take one without a bound.

use super::notices::Notice;
use crate::event::Pattern;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Longest line that is read, bytes, its line break included.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// Longest name of an application, bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Most patterns of one application.
pub const EVENTS_MAX: usize = 16;
/// Most seconds an application may ask for: a day, as for handlers.
pub const SECONDS_MAX: f64 = 86_400.0;
/// Longest detail that is kept for the report, bytes of JSON; a longer one is said to be too long.
pub const DETAIL_BYTES_MAX: usize = 256;

/// What comes from the other side.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// An application wants to be told.
    Register(Registration),
    /// It is prepared for the event.
    Ready(Answered),
    /// It cannot be.
    Failed(Answered),
    /// It needs longer.
    MoreTime(MoreTime),
    /// The handler wants the applications told; for root and the daemon's own user.
    Deliver(Delivery),
    /// The handler's call was cancelled.
    Stop(Nothing),
    /// Whether somebody is there.
    Ping(Nothing),
}

/// No members.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// What an application says of itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// For people: 1 to 64 bytes without control characters.
    pub name: String,
    /// Seconds it needs at most; absent: as much as there is.
    #[serde(default)]
    pub needs_seconds: Option<f64>,
    /// Types and patterns that it wants; absent: all.
    #[serde(default)]
    pub events: Option<Vec<String>>,
}

/// An answer to a notice.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The event.
    pub id: String,
    /// For the report.
    #[serde(default)]
    pub detail: Map<String, Value>,
    /// Why, with a failure.
    #[serde(default)]
    pub error: Option<String>,
}

/// A wish.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoreTime {
    /// The event.
    pub id: String,
    /// Seconds beyond what it has.
    pub seconds: f64,
}

/// What the handler has told.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The notice.
    pub notice: Notice,
    /// Seconds until every application must have answered.
    pub seconds: f64,
}

/// Reads a line.
///
/// # Errors
/// One sentence; nothing of the line is in it but what is known to be harmless.
pub fn read(line: &[u8]) -> Result<Asked, String> {
    serde_json::from_slice(line).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "is not one of the messages known here, or has other members",
            _ => "is not a JSON object",
        };
        format!("the line {what} (column {}); see docs/apps.md", error.column())
    })
}

impl Registration {
    /// The patterns, when everything is in order.
    ///
    /// # Errors
    /// One sentence for the application's author.
    pub fn check(&self) -> Result<Vec<Pattern>, String> {
        let name = &self.name;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(format!("'name' is to have 1 to {NAME_BYTES_MAX} bytes and no control characters"));
        }
        if self.needs_seconds.is_some_and(|s| !(0.0..=SECONDS_MAX).contains(&s)) {
            return Err(format!("'needs_seconds' is to be within 0 and {SECONDS_MAX}"));
        }
        let Some(events) = &self.events else { return Ok(vec![Pattern::any()]) };
        if events.is_empty() || events.len() > EVENTS_MAX {
            return Err(format!("'events' is to list 1 to {EVENTS_MAX} event types or patterns"));
        }
        let bad = "'events' is to list event types such as cloud.spot.interrupt, or patterns such as cloud.spot.* or *";
        events.iter().map(|text| Pattern::parse(text).map_err(|_| bad.to_owned())).collect()
    }
}

impl Answered {
    /// What goes into the report: the detail with the error in it, within its bound.
    pub fn evidence(self) -> Value {
        let mut detail = self.detail;
        if let Some(error) = self.error {
            detail.insert("error".into(), error.into());
        }
        let detail = Value::Object(detail);
        let length = detail.to_string().len();
        if length <= DETAIL_BYTES_MAX { detail } else { json!({ "too_long_bytes": length }) }
    }
}

/// An application as `snooze apps` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppStatus {
    /// Number of the registration, since the daemon's start.
    pub id: u64,
    /// As it calls itself.
    pub name: String,
    /// Its process when it connected.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Types and patterns it wants.
    pub events: Vec<String>,
    /// Seconds it needs at most; None: as much as there is.
    pub needs_seconds: Option<f64>,
    /// When it registered, RFC 3339 in UTC.
    pub since: String,
    /// Whether a handler `notify-apps` is configured for something that it wants.
    pub is_waited_for: bool,
    /// The notices it has been told of and its answers, the newest last.
    pub notices: Vec<Told>,
}

/// What an application said to a notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The event.
    pub id: String,
    /// `ready`, `failed`, `waiting`, `cancelled`.
    pub answer: String,
}

/// One line with this single member.
pub fn line(kind: &str, value: &Value) -> String {
    format!("{}\n", json!({ kind: value }))
}

/// The line about something that is wrong.
pub fn error(text: &str) -> String {
    line("error", &json!({ "message": text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_of_the_documentation_are_understood() {
        let registered = br#"{"register": {"name": "trainer", "needs_seconds": 20, "events": ["cloud.spot.*"]}}"#;
        let Ok(Asked::Register(registration)) = read(registered) else { panic!("not understood") };
        assert_eq!(registration.check().expect("in order").len(), 1);
        assert!(matches!(read(br#"{"ready": {"id": "x", "detail": {"step": 7}}}"#), Ok(Asked::Ready(_))));
        assert!(matches!(read(br#"{"failed": {"id": "x", "error": "disk full"}}"#), Ok(Asked::Failed(_))));
        assert!(matches!(read(br#"{"more_time": {"id": "x", "seconds": 10}}"#), Ok(Asked::MoreTime(_))));
        assert!(matches!(read(br#"{"ping": {}}"#), Ok(Asked::Ping(_))));
    }

    #[test]
    fn what_is_not_understood_is_told_without_repeating_it() {
        for line in [
            &b"secret"[..],
            b"{\"secret\": 1}",
            b"{\"register\": {\"name\": \"a\", \"secret\": 1}}",
            b"{\"ready\": {\"id\": {\"secret\": 1}}}",
            b"[]",
            b"",
            b"\xff\xfe",
            b"{\"register\": {\"name\": \"a\"}, \"ping\": {}}",
        ] {
            let error = read(line).expect_err("refused");
            assert!(error.starts_with("the line is not") && !error.contains("secret"), "{error}");
        }
        let deep = "[".repeat(LINE_BYTES_MAX);
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_registration_is_checked_member_by_member() {
        let refused = |member: &str, value: Value| {
            let mut registration = json!({"name": "a"});
            registration[member] = value;
            let registration: Registration = serde_json::from_value(registration).expect("its form is right");
            registration.check().expect_err("refused")
        };
        for name in ["", "a\nb", &"x".repeat(65)] {
            assert!(refused("name", json!(name)).starts_with("'name' "));
        }
        for seconds in [-1.0, 86_401.0] {
            assert!(refused("needs_seconds", json!(seconds)).starts_with("'needs_seconds' "));
        }
        for events in [json!([]), json!(["Not A Type"]), json!(vec!["*"; 17])] {
            assert!(refused("events", events).starts_with("'events' "));
        }
    }

    #[test]
    fn a_detail_is_kept_within_its_bound() {
        let answered = |detail: Value, error: Option<&str>| {
            let detail = detail.as_object().cloned().unwrap_or_default();
            Answered { id: "x".into(), detail, error: error.map(str::to_owned) }.evidence()
        };
        assert_eq!(answered(json!({"step": 7}), Some("late")), json!({"step": 7, "error": "late"}));
        assert_eq!(answered(json!({"a": "b".repeat(300)}), None), json!({"too_long_bytes": 308}));
    }
}
