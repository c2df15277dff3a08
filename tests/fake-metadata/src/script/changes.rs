//! Changes as JSON spells them.
//!
//! Responsibilities: check the settings of one change for the provider that is played, and say which of them is wrong.
//! Inputs: an object with one field, the name of the change. Outputs: a [`Change`]. It must never apply anything.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::fault::RawFault;
use super::{Problem, duration, invalid, read, signed};
use crate::change::{Action, Body, Change, LIFECYCLE_STATES, Maintenance, Upcoming, When, maintenance_codes};
use crate::cloud::Provider;
use crate::settings::{Settings, SettingsPatch, overlaid};

/// One change, from an object with exactly one field: its name.
pub(super) fn change(raw: Map<String, Value>, provider: Provider) -> Result<Change, Problem> {
    if raw.len() != 1 {
        let names: Vec<&str> = raw.keys().map(String::as_str).collect();
        let reason = match names.as_slice() {
            [] => "says nothing to do; add one change, such as \"notice\": {}".to_owned(),
            _ => format!("has {} changes ({}); give each a step of its own", names.len(), names.join(", ")),
        };
        return Err(Problem::new("", reason));
    }
    let name = raw.keys().next().cloned().unwrap_or_default();
    let raw: RawChange = read(Value::Object(raw))?;
    raw.checked(provider).and_then(|change| fitting(change, provider)).map_err(|problem| problem.below(&name))
}

/// A change that means nothing to the provider would fail in the middle of a drill.
fn fitting(change: Change, provider: Provider) -> Result<Change, Problem> {
    match change.misfit(provider) {
        Some(error) => Err(Problem::new("", error.to_string())),
        None => Ok(change),
    }
}

/// A change as JSON spells it: an object with one field.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawChange {
    Notice(RawNotice),
    Withdraw(Nothing),
    Rebalance(RawWhen),
    ClearRebalance(Nothing),
    Maintenance(RawMaintenance),
    CancelMaintenance(RawEventId),
    CompleteMaintenance(RawEventId),
    StartMaintenance(RawEventId),
    MoveMaintenance(RawMove),
    UpcomingMaintenance(RawUpcoming),
    ClearUpcomingMaintenance(Nothing),
    LifecycleState(RawState),
    TerminationTime(RawText),
    Body(RawBody),
    Tokens(RawTokens),
    RevokeTokens(Nothing),
    Endpoint(RawEndpoint),
    Incarnation(RawIncarnation),
    Settings(Map<String, Value>),
    Fault(Box<RawFault>),
    ClearFaults(Nothing),
    AdvanceClock(RawAdvance),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNotice {
    action: Option<Action>,
    in_seconds: Option<f64>,
    at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWhen {
    in_seconds: Option<f64>,
    at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMaintenance {
    code: String,
    in_seconds: Option<f64>,
    at: Option<String>,
    duration_seconds: Option<f64>,
    deadline_in_seconds: Option<f64>,
    description: Option<String>,
    event_id: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    source: Option<String>,
    #[serde(default)]
    started: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMove {
    event_id: String,
    in_seconds: Option<f64>,
    at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpcoming {
    in_seconds: Option<f64>,
    at: Option<String>,
    window_seconds: Option<f64>,
    latest_in_seconds: Option<f64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    status: Option<String>,
    can_reschedule: Option<bool>,
    #[serde(default)]
    reasons: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIncarnation {
    value: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdvance {
    seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEventId {
    event_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawState {
    state: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBody {
    path: String,
    text: Option<String>,
    #[serde(default)]
    absent: bool,
    #[serde(default)]
    usual: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTokens {
    required: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEndpoint {
    enabled: bool,
}

impl RawChange {
    fn checked(self, provider: Provider) -> Result<Change, Problem> {
        Ok(match self {
            Self::Notice(raw) => {
                // Only AWS's notice says what will happen.
                let action = match (raw.action, provider) {
                    (Some(action), _) => action,
                    (None, Provider::Aws) => return Err(Problem::new("", "missing field `action`: what will happen?")),
                    (None, _) => Action::Terminate,
                };
                Change::Notice { action, time: when(raw.in_seconds, raw.at, When::Usual)? }
            }
            Self::Withdraw(Nothing {}) => Change::Withdraw,
            Self::Rebalance(raw) => Change::Rebalance { time: when(raw.in_seconds, raw.at, When::Usual)? },
            Self::ClearRebalance(Nothing {}) => Change::ClearRebalance,
            Self::Maintenance(raw) => Change::Maintenance(raw.checked(provider)?),
            Self::CancelMaintenance(raw) => Change::CancelMaintenance { event_id: raw.event_id },
            Self::CompleteMaintenance(raw) => Change::CompleteMaintenance { event_id: raw.event_id },
            Self::StartMaintenance(raw) => Change::StartMaintenance { event_id: raw.event_id },
            Self::MoveMaintenance(raw) => {
                let time = when(raw.in_seconds, raw.at, When::Usual)?;
                if time == When::Usual {
                    return Err(Problem::new("", "needs in_seconds or at: when is it now?"));
                }
                Change::MoveMaintenance { event_id: raw.event_id, time }
            }
            Self::UpcomingMaintenance(raw) => Change::UpcomingMaintenance(raw.checked()?),
            Self::ClearUpcomingMaintenance(Nothing {}) => Change::ClearUpcomingMaintenance,
            Self::LifecycleState(raw) => Change::LifecycleState {
                state: raw.state.map(|state| known("state", state, &LIFECYCLE_STATES)).transpose()?,
            },
            Self::TerminationTime(raw) => Change::Body {
                path: "spot/termination-time".to_owned(),
                body: raw.text.map_or(Body::Absent, Body::Text),
            },
            Self::Body(raw) => raw.checked()?,
            Self::Tokens(raw) => Change::Tokens { required: raw.required },
            Self::RevokeTokens(Nothing {}) => Change::RevokeTokens,
            Self::Endpoint(raw) => Change::Endpoint { enabled: raw.enabled },
            Self::Fault(raw) => Change::Fault(raw.checked()?),
            Self::Incarnation(raw) => Change::Incarnation { value: raw.value },
            Self::Settings(patch) => {
                overlaid(&Settings::default(), &patch).map_err(invalid)?;
                Change::Settings(SettingsPatch::new(patch))
            }
            Self::ClearFaults(Nothing {}) => Change::ClearFaults,
            Self::AdvanceClock(raw) => {
                Change::AdvanceClock { by: duration(raw.seconds).map_err(|problem| problem.below("seconds"))? }
            }
        })
    }
}

impl RawMaintenance {
    fn checked(self, provider: Provider) -> Result<Maintenance, Problem> {
        let code = known("code", self.code, maintenance_codes(provider))?;
        // AWS gives no usual time; an hour is what this service takes.
        let usual = if provider == Provider::Aws { When::In(SignedDuration::from_hours(1)) } else { When::Usual };
        let not_before = when(self.in_seconds, self.at, usual)?;
        let mut event = Maintenance::new(&code, not_before);
        if let Some(duration_seconds) = self.duration_seconds {
            let lasts = signed(duration_seconds).map_err(|problem| problem.below("duration_seconds"))?;
            event.not_after = Some(later(not_before, lasts));
            event.impact_seconds = Some(lasts.as_secs());
        }
        if let Some(deadline_in_seconds) = self.deadline_in_seconds {
            let offset = signed(deadline_in_seconds).map_err(|problem| problem.below("deadline_in_seconds"))?;
            event.not_before_deadline = Some(When::In(offset));
        }
        if let Some(description) = self.description {
            event.description = description;
        }
        event.event_id = self.event_id;
        event.resources = self.resources;
        event.source = self.source.map(|source| known("source", source, &["Platform", "User"])).transpose()?;
        event.started = self.started;
        Ok(event)
    }
}

impl RawUpcoming {
    fn checked(self) -> Result<Upcoming, Problem> {
        let day = When::In(SignedDuration::from_hours(24));
        let window_start = when(self.in_seconds, self.at, day)?;
        // Four hours is the window of the documentation's examples.
        let window_seconds = self.window_seconds.unwrap_or(4.0 * 3600.0);
        let latest = self.latest_in_seconds.map(signed).transpose().map_err(|p| p.below("latest_in_seconds"))?;
        Ok(Upcoming {
            window_start,
            window: signed(window_seconds).map_err(|problem| problem.below("window_seconds"))?,
            latest_window_start: latest.map(When::In),
            kind: known("type", self.kind.unwrap_or("SCHEDULED".to_owned()), &["SCHEDULED", "UNSCHEDULED"])?,
            status: known("status", self.status.unwrap_or("PENDING".to_owned()), &["PENDING", "ONGOING"])?,
            can_reschedule: self.can_reschedule.unwrap_or(true),
            reasons: self.reasons,
        })
    }
}

impl RawBody {
    fn checked(self) -> Result<Change, Problem> {
        if self.path.is_empty() || self.path.starts_with('/') || self.path.ends_with('/') {
            return Err(Problem::new(
                "path",
                "is relative: below meta-data/ (GCP: v1/, Azure: metadata/), such as spot/termination-time",
            ));
        }
        let body = match (self.text, self.absent, self.usual) {
            (Some(text), false, false) => Body::Text(text),
            (None, true, false) => Body::Absent,
            (None, false, true) => Body::Usual,
            _ => return Err(Problem::new("", "needs exactly one of text, \"absent\": true and \"usual\": true")),
        };
        Ok(Change::Body { path: self.path, body })
    }
}

fn known(field: &str, value: String, known: &[&str]) -> Result<String, Problem> {
    if known.contains(&value.as_str()) {
        return Ok(value);
    }
    Err(Problem::new(field, format!("unknown value {value:?}; use one of {}", known.join(", "))))
}

fn when(in_seconds: Option<f64>, at: Option<String>, usual: When) -> Result<When, Problem> {
    match (in_seconds, at) {
        (None, None) => Ok(usual),
        (Some(seconds), None) => signed(seconds).map(When::In).map_err(|problem| problem.below("in_seconds")),
        (None, Some(text)) => text
            .parse::<Timestamp>()
            .map(When::At)
            .map_err(|_| Problem::new("at", format!("{text:?} is not an RFC 3339 time such as 2026-01-05T18:02:00Z"))),
        (Some(_), Some(_)) => Err(Problem::new("", "has both in_seconds and at; give one of them")),
    }
}

fn later(when: When, by: SignedDuration) -> When {
    match when {
        When::Usual => When::Usual,
        When::In(offset) => When::In(offset.saturating_add(by)),
        When::At(moment) => When::At(moment.saturating_add(by).unwrap_or(moment)),
    }
}
