//! Scripts: which instance, and what changes when.
//!
//! Responsibilities: read a script or one change from JSON and say exactly what is wrong with it. Inputs: a JSON file,
//! the name and body of a control request. Outputs: a checked [`Script`] or [`Change`], or an error that names the file
//! and the JSON path. It must never apply anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::aws::Instance;
use crate::change::{Action, Body, Change, LIFECYCLE_STATES, MAINTENANCE_CODES, Maintenance, When};
use crate::faults::{Effect, Fault, GARBAGE};

/// Times and durations in a script may not be longer than this, in seconds: a year catches milliseconds given as seconds.
const MAX_SECONDS: f64 = 366.0 * 86_400.0;

/// What is wrong with a script or a control request.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Read {
        /// The script.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not JSON; the source names line and column.
    #[error("{file}: not JSON: {source}")]
    Syntax {
        /// The script, or what stands for it.
        file: String,
        /// Why, and where.
        source: serde_json::Error,
    },
    /// The JSON does not say what a script must say.
    #[error("{file}: {path}: {reason}")]
    Invalid {
        /// The script, or what stands for it.
        file: String,
        /// Where in the document, such as `steps[1].notice.action`.
        path: String,
        /// What is wrong there, and what would be right.
        reason: String,
    },
}

/// A checked script.
#[derive(Debug, Default)]
pub struct Script {
    /// The instance to play.
    pub instance: Instance,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

/// One step of a script.
#[derive(Debug)]
pub struct Step {
    /// When, counted from the start of the service.
    pub after: Duration,
    /// What.
    pub change: Change,
}

impl Script {
    /// Reads and checks the script in `file`.
    ///
    /// # Errors
    /// [`ScriptError`] when the file cannot be read or does not hold a valid script.
    pub fn load(file: &Path) -> Result<Self, ScriptError> {
        let text =
            std::fs::read_to_string(file).map_err(|source| ScriptError::Read { file: file.to_owned(), source })?;
        Self::parse(&text, &file.display().to_string())
    }

    /// Checks a script given as text; `file` stands for it in errors.
    ///
    /// # Errors
    /// [`ScriptError`] when the text is not a valid script.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScriptError> {
        let document = syntax(text, file)?;
        checked(document).map_err(|problem| problem.in_file(file))
    }
}

/// Reads the change `name` with the settings in the JSON text `body`, as a control request gives them.
pub(crate) fn parse_change(name: &str, body: &str) -> Result<Change, ScriptError> {
    let file = "request";
    let settings = if body.trim().is_empty() { Value::Object(Map::new()) } else { syntax(body, file)? };
    change(Map::from_iter([(name.to_owned(), settings)])).map_err(|problem| problem.in_file(file))
}

fn syntax(text: &str, file: &str) -> Result<Value, ScriptError> {
    serde_json::from_str(text).map_err(|source| ScriptError::Syntax { file: file.to_owned(), source })
}

/// A finding inside a document, before the file's name is put to it.
#[derive(Debug)]
struct Problem {
    path: String,
    reason: String,
}

impl Problem {
    fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    fn below(mut self, prefix: &str) -> Self {
        // serde_path_to_error calls the document itself ".".
        self.path = match self.path.as_str() {
            "" | "." => prefix.to_owned(),
            path => format!("{prefix}.{path}"),
        };
        self
    }

    fn in_file(self, file: &str) -> ScriptError {
        ScriptError::Invalid { file: file.to_owned(), path: self.path, reason: self.reason }
    }
}

fn read<Wanted: DeserializeOwned>(value: Value) -> Result<Wanted, Problem> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| Problem::new(error.path().to_string(), error.inner().to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScript {
    #[serde(default)]
    instance: Instance,
    #[serde(default)]
    steps: Vec<Map<String, Value>>,
}

fn checked(document: Value) -> Result<Script, Problem> {
    let raw: RawScript = read(document)?;
    if let Some((field, reason)) = raw.instance.problem() {
        return Err(Problem::new(format!("instance.{field}"), reason));
    }
    let mut steps = Vec::new();
    for (index, raw_step) in raw.steps.into_iter().enumerate() {
        steps.push(step(raw_step).map_err(|problem| problem.below(&format!("steps[{index}]")))?);
    }
    // Stable, so that steps of the same time keep the order they were written in.
    steps.sort_by_key(|step| step.after);
    check_event_ids(&steps)?;
    Ok(Script { instance: raw.instance, steps })
}

/// A cancellation that comes before its event would fail in the middle of a drill.
fn check_event_ids(steps: &[Step]) -> Result<(), Problem> {
    let mut announced: Vec<&str> = Vec::new();
    for step in steps {
        match &step.change {
            Change::Maintenance(Maintenance { event_id: Some(event_id), .. }) => announced.push(event_id),
            Change::CancelMaintenance { event_id } | Change::CompleteMaintenance { event_id } => {
                let Some(index) = announced.iter().position(|have| have == event_id) else {
                    return Err(Problem::new("steps", format!("no earlier step announces the event {event_id:?}")));
                };
                announced.remove(index);
            }
            _ => {}
        }
    }
    Ok(())
}

fn step(mut raw: Map<String, Value>) -> Result<Step, Problem> {
    let Some(at) = raw.remove("at_seconds") else {
        return Err(Problem::new("at_seconds", "is missing: when does this step happen?"));
    };
    let at_seconds = at.as_f64().ok_or_else(|| Problem::new("at_seconds", "must be a number of seconds"))?;
    let after = duration(at_seconds).map_err(|problem| problem.below("at_seconds"))?;
    Ok(Step { after, change: change(raw)? })
}

/// One change, from an object with exactly one field: its name.
fn change(raw: Map<String, Value>) -> Result<Change, Problem> {
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
    raw.checked().map_err(|problem| problem.below(&name))
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
    LifecycleState(RawState),
    TerminationTime(RawText),
    Body(RawBody),
    Tokens(RawTokens),
    RevokeTokens(Nothing),
    Endpoint(RawEndpoint),
    Fault(RawFault),
    ClearFaults(Nothing),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNotice {
    action: Action,
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

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Delay,
    Status,
    TokenStorm,
    Garbage,
    Truncated,
    Reset,
    Drip,
    Oversized,
    Redirect,
    ContentType,
    Drift,
    HopLimit,
    Hang,
    Close,
}

/// A fault's settings: `kind`, what that kind needs, and which requests it strikes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFault {
    kind: Kind,
    #[serde(default)]
    paths: Vec<String>,
    count: Option<u32>,
    probability: Option<f64>,
    seed: Option<u64>,
    code: Option<u16>,
    delay_seconds: Option<f64>,
    interval_seconds: Option<f64>,
    step_seconds: Option<f64>,
    bytes: Option<u64>,
    location: Option<String>,
    value: Option<String>,
    text: Option<String>,
}

impl RawChange {
    fn checked(self) -> Result<Change, Problem> {
        Ok(match self {
            Self::Notice(raw) => {
                let usual = When::In(raw.action.usual_warning());
                Change::Notice { action: raw.action, time: when(raw.in_seconds, raw.at, usual)? }
            }
            Self::Withdraw(Nothing {}) => Change::Withdraw,
            Self::Rebalance(raw) => {
                Change::Rebalance { time: when(raw.in_seconds, raw.at, When::In(SignedDuration::ZERO))? }
            }
            Self::ClearRebalance(Nothing {}) => Change::ClearRebalance,
            Self::Maintenance(raw) => Change::Maintenance(raw.checked()?),
            Self::CancelMaintenance(raw) => Change::CancelMaintenance { event_id: raw.event_id },
            Self::CompleteMaintenance(raw) => Change::CompleteMaintenance { event_id: raw.event_id },
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
            Self::ClearFaults(Nothing {}) => Change::ClearFaults,
        })
    }
}

impl RawMaintenance {
    fn checked(self) -> Result<Maintenance, Problem> {
        let code = known("code", self.code, &MAINTENANCE_CODES)?;
        let not_before = when(self.in_seconds, self.at, When::In(SignedDuration::from_hours(1)))?;
        let mut event = Maintenance::new(&code, not_before);
        if let Some(duration_seconds) = self.duration_seconds {
            let lasts = signed(duration_seconds).map_err(|problem| problem.below("duration_seconds"))?;
            event.not_after = Some(later(not_before, lasts));
        }
        if let Some(deadline_in_seconds) = self.deadline_in_seconds {
            let offset = signed(deadline_in_seconds).map_err(|problem| problem.below("deadline_in_seconds"))?;
            event.not_before_deadline = Some(When::In(offset));
        }
        if let Some(description) = self.description {
            event.description = description;
        }
        event.event_id = self.event_id;
        Ok(event)
    }
}

impl RawBody {
    fn checked(self) -> Result<Change, Problem> {
        if self.path.is_empty() || self.path.starts_with('/') || self.path.ends_with('/') {
            return Err(Problem::new("path", "is relative to meta-data/, such as spot/termination-time"));
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

impl RawFault {
    fn checked(self) -> Result<Fault, Problem> {
        if let Some(share) = self.probability.filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(Problem::new("probability", format!("{share} is not between 0 and 1")));
        }
        if self.seed.is_some() && self.probability.is_none() {
            return Err(Problem::new("seed", "means nothing without probability"));
        }
        if let Some(setting) = self.misplaced() {
            return Err(Problem::new(setting, "means nothing for this kind of fault"));
        }
        let mut fault = Fault::new(self.effect()?).paths(self.paths);
        if let Some(count) = self.count {
            fault = fault.count(count);
        }
        if let Some(share) = self.probability {
            fault = fault.probability(share, self.seed.unwrap_or(0));
        }
        Ok(fault)
    }

    fn effect(&self) -> Result<Effect, Problem> {
        Ok(match self.kind {
            Kind::Delay => Effect::Delay(needed_duration("delay_seconds", self.delay_seconds)?),
            Kind::Status => match needed("code", self.code)? {
                code @ 200..=599 => Effect::Status(code),
                code => return Err(Problem::new("code", format!("{code} is not between 200 and 599"))),
            },
            Kind::TokenStorm => Effect::TokenStorm,
            Kind::Garbage => Effect::Garbage(self.text.as_ref().map_or(GARBAGE, |text| text.as_bytes()).to_vec()),
            Kind::Truncated => Effect::Truncated,
            Kind::Reset => Effect::Reset,
            Kind::Drip => Effect::Drip(needed_duration("interval_seconds", self.interval_seconds)?),
            Kind::Oversized => Effect::Oversized(needed("bytes", self.bytes)?),
            Kind::Redirect => Effect::Redirect(header_text("location", self.location.as_ref())?),
            Kind::ContentType => Effect::ContentType(header_text("value", self.value.as_ref())?),
            Kind::Drift => Effect::Drift(
                signed(needed("step_seconds", self.step_seconds)?).map_err(|problem| problem.below("step_seconds"))?,
            ),
            Kind::HopLimit => Effect::HopLimit,
            Kind::Hang => Effect::Hang,
            Kind::Close => Effect::Close,
        })
    }

    /// The first setting that was given and belongs to another kind.
    fn misplaced(&self) -> Option<&'static str> {
        let given = [
            ("code", self.code.is_some(), matches!(self.kind, Kind::Status)),
            ("delay_seconds", self.delay_seconds.is_some(), matches!(self.kind, Kind::Delay)),
            ("interval_seconds", self.interval_seconds.is_some(), matches!(self.kind, Kind::Drip)),
            ("step_seconds", self.step_seconds.is_some(), matches!(self.kind, Kind::Drift)),
            ("bytes", self.bytes.is_some(), matches!(self.kind, Kind::Oversized)),
            ("location", self.location.is_some(), matches!(self.kind, Kind::Redirect)),
            ("value", self.value.is_some(), matches!(self.kind, Kind::ContentType)),
            ("text", self.text.is_some(), matches!(self.kind, Kind::Garbage)),
        ];
        given.into_iter().find(|(_, is_given, belongs)| *is_given && !belongs).map(|(name, _, _)| name)
    }
}

fn needed<Setting>(name: &str, setting: Option<Setting>) -> Result<Setting, Problem> {
    setting.ok_or_else(|| Problem::new(name, "is missing: this kind of fault needs it"))
}

fn needed_duration(name: &str, seconds: Option<f64>) -> Result<Duration, Problem> {
    duration(needed(name, seconds)?).map_err(|problem| problem.below(name))
}

/// A header's value: a line break in it would forge headers of the reply.
fn header_text(name: &str, text: Option<&String>) -> Result<String, Problem> {
    let text = needed(name, text)?;
    if text.chars().any(char::is_control) {
        return Err(Problem::new(name, "must not contain control characters"));
    }
    Ok(text.clone())
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
        When::In(offset) => When::In(offset.saturating_add(by)),
        When::At(moment) => When::At(moment.saturating_add(by).unwrap_or(moment)),
    }
}

fn signed(seconds: f64) -> Result<SignedDuration, Problem> {
    if !(-MAX_SECONDS..=MAX_SECONDS).contains(&seconds) {
        return Err(Problem::new("", format!("{seconds} seconds is more than a year; are these milliseconds?")));
    }
    SignedDuration::try_from_secs_f64(seconds).map_err(|error| Problem::new("", error.to_string()))
}

fn duration(seconds: f64) -> Result<Duration, Problem> {
    Duration::try_from(signed(seconds)?).map_err(|_| Problem::new("", format!("{seconds} seconds is before the start")))
}
