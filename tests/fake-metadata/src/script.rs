//! Scripts: which instance, and what changes when.
//!
//! Responsibilities: read a script or one change from JSON and say exactly what is wrong with it; the changes themselves are
//! in `changes`, faults in `fault`. Inputs: a JSON file, the name and body of a control request. Outputs: a checked
//! [`Script`] or [`Change`], or an error that names the file and the JSON path. It must never apply anything.

mod changes;
mod fault;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::change::{Change, Maintenance};
use crate::cloud::Provider;
use crate::instance::Instance;
use crate::settings::{Settings, overlaid};
use changes::change;

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
    /// What it shows, in a line.
    pub about: String,
    /// Whose service to play.
    pub provider: Provider,
    /// The instance to play.
    pub instance: Instance,
    /// How the service behaves.
    pub settings: Settings,
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
    /// Reads and checks the script in `file`. A script that does not say whose service it is for plays AWS.
    ///
    /// # Errors
    /// [`ScriptError`] when the file cannot be read or does not hold a valid script.
    pub fn load(file: &Path) -> Result<Self, ScriptError> {
        Self::load_for(file, None)
    }

    /// The same for that provider; a script for another is an error.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_for(file: &Path, provider: Option<Provider>) -> Result<Self, ScriptError> {
        let text =
            std::fs::read_to_string(file).map_err(|source| ScriptError::Read { file: file.to_owned(), source })?;
        Self::parse_for(&text, &file.display().to_string(), provider)
    }

    /// Checks a script given as text; `file` stands for it in errors.
    ///
    /// # Errors
    /// [`ScriptError`] when the text is not a valid script.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScriptError> {
        Self::parse_for(text, file, None)
    }

    /// The same for that provider; a script for another is an error.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_for(text: &str, file: &str, provider: Option<Provider>) -> Result<Self, ScriptError> {
        let document = syntax(text, file)?;
        checked(document, provider).map_err(|problem| problem.in_file(file))
    }

    /// The same story told `speed` times as fast: steps come sooner, and the times in notices lie nearer. How long an impact
    /// lasts (Azure's `DurationInSeconds`) stays as it is said, as do times that a step leaves to the provider.
    #[must_use]
    pub fn accelerated(mut self, speed: f64) -> Self {
        let sooner = |after: Duration| Duration::try_from_secs_f64(after.as_secs_f64() / speed).unwrap_or(after);
        let steps = self.steps.into_iter();
        self.steps =
            steps.map(|step| Step { after: sooner(step.after), change: step.change.accelerated(speed) }).collect();
        self
    }
}

/// Reads the change `name` with the settings in the JSON text `body`, as a control request gives them.
pub(crate) fn parse_change(provider: Provider, name: &str, body: &str) -> Result<Change, ScriptError> {
    let file = "request";
    let settings = if body.trim().is_empty() { Value::Object(Map::new()) } else { syntax(body, file)? };
    change(Map::from_iter([(name.to_owned(), settings)]), provider).map_err(|problem| problem.in_file(file))
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
    serde_path_to_error::deserialize(value).map_err(invalid)
}

fn invalid(error: serde_path_to_error::Error<serde_json::Error>) -> Problem {
    Problem::new(error.path().to_string(), error.inner().to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScript {
    #[serde(default)]
    about: String,
    provider: Option<Provider>,
    #[serde(default)]
    instance: Map<String, Value>,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    steps: Vec<Map<String, Value>>,
}

fn checked(document: Value, wanted: Option<Provider>) -> Result<Script, Problem> {
    let raw: RawScript = read(document)?;
    let provider = raw.provider.or(wanted).unwrap_or_default();
    if let Some(wanted) = wanted.filter(|wanted| *wanted != provider) {
        return Err(Problem::new("provider", format!("this script is for {provider}, not for {wanted}")));
    }
    let instance = overlaid(&Instance::of(provider), &raw.instance);
    let instance = instance.map_err(|error| invalid(error).below("instance"))?;
    if let Some((field, reason)) = instance.problem(provider) {
        return Err(Problem::new(format!("instance.{field}"), reason));
    }
    let settings = overlaid(&Settings::default(), &raw.settings);
    let settings = settings.map_err(|error| invalid(error).below("settings"))?;
    let mut steps = Vec::new();
    for (index, raw_step) in raw.steps.into_iter().enumerate() {
        steps.push(step(raw_step, provider).map_err(|problem| problem.below(&format!("steps[{index}]")))?);
    }
    // Stable, so that steps of the same time keep the order they were written in.
    steps.sort_by_key(|step| step.after);
    check_event_ids(&steps)?;
    Ok(Script { about: raw.about, provider, instance, settings, steps })
}

/// A cancellation that comes before its event would fail in the middle of a drill.
fn check_event_ids(steps: &[Step]) -> Result<(), Problem> {
    let mut announced: Vec<&str> = Vec::new();
    for step in steps {
        match &step.change {
            Change::Maintenance(Maintenance { event_id: Some(event_id), .. }) => announced.push(event_id),
            Change::StartMaintenance { event_id }
            | Change::MoveMaintenance { event_id, .. }
            | Change::CancelMaintenance { event_id }
            | Change::CompleteMaintenance { event_id } => {
                let Some(index) = announced.iter().position(|have| have == event_id) else {
                    return Err(Problem::new("steps", format!("no earlier step announces the event {event_id:?}")));
                };
                if matches!(step.change, Change::CancelMaintenance { .. } | Change::CompleteMaintenance { .. }) {
                    announced.remove(index);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn step(mut raw: Map<String, Value>, provider: Provider) -> Result<Step, Problem> {
    let Some(at) = raw.remove("at_seconds") else {
        return Err(Problem::new("at_seconds", "is missing: when does this step happen?"));
    };
    let at_seconds = at.as_f64().ok_or_else(|| Problem::new("at_seconds", "must be a number of seconds"))?;
    let after = duration(at_seconds).map_err(|problem| problem.below("at_seconds"))?;
    Ok(Step { after, change: change(raw, provider)? })
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
