//! A command as the operator writes it, and as it is run.
//!
//! Inputs: the two keys of a configuration, an event. Outputs: [`Words`], and the `NAME=VALUE` texts that a command finds. Must
//! never repeat a value of the environment in an error.

use cloudsnooze_plugin::{Call, Event, Severity, schemars};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where programs are looked for.
pub const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Variables that plugins set begin like this.
pub const OWN: &str = "CLOUDSNOOZE_";

/// A command: one of the two.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments; no shell looks at them.
    #[serde(default)]
    pub argv: Option<Vec<String>>,
    /// In place of argv: a command line for /bin/sh.
    #[serde(default)]
    pub shell: Option<String>,
}

/// A command, as words without a zero byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Program and arguments.
    pub words: Vec<CString>,
    /// The program, for people.
    pub program: String,
}

impl Words {
    /// Checks what the schema cannot. `key` leads the errors.
    ///
    /// # Errors
    /// What is wrong.
    pub fn new(key: &str, given: Command) -> Result<Self, String> {
        let words = match (given.argv, given.shell) {
            (Some(argv), None) => argv,
            (None, Some(shell)) if shell.trim().is_empty() => return Err(format!("{key}shell is empty")),
            (None, Some(shell)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), shell],
            _ => return Err(format!("{key}give either argv or shell")),
        };
        let program = words.first().filter(|word| !word.is_empty());
        let program = program.ok_or_else(|| format!("{key}argv names no program"))?.clone();
        let words = words.into_iter().map(CString::new).collect::<Result<_, _>>();
        Ok(Self { words: words.map_err(|_| format!("{key}a word of the command holds a zero byte"))?, program })
    }

    /// Whether it can be started from this directory, before it is needed. `places` is a PATH other than the usual one.
    ///
    /// # Errors
    /// A sentence's worth of why not.
    pub fn must_be_startable(&self, directory: &Path, places: Option<&str>) -> Result<(), String> {
        let is_program =
            |path: &Path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        let program = &self.program;
        if program.contains('/') {
            let path = directory.join(program);
            return if is_program(&path) { Ok(()) } else { Err(format!("{} is no program", path.display())) };
        }
        let places = places.unwrap_or(PROGRAM_PATH);
        if places.split(':').any(|place| is_program(&directory.join(place).join(program))) {
            return Ok(());
        }
        Err(format!("there is no program '{program}' in {places}"))
    }
}

/// What a command finds in its environment, and nothing else. `seconds_left` is its own time; `more` may set other
/// variables, and PATH, LANG and HOME.
pub fn environment(
    phase: &str,
    event: &Event<'_>,
    call: &Call<'_>,
    seconds_left: f64,
    home: &Path,
    more: &BTreeMap<String, String>,
) -> Vec<CString> {
    let severity = match event.severity() {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Urgent => "urgent",
        Severity::Critical => "critical",
    };
    let mut all = surroundings(home);
    all.extend(more.clone());
    let event_seconds = event.seconds_left().map_or_else(String::new, |seconds| format!("{seconds:.3}"));
    for (name, value) in [
        ("PHASE", phase.to_owned()),
        ("EVENT_TYPE", event.event_type().to_owned()),
        ("EVENT_ID", event.id().to_owned()),
        ("EVENT_SEVERITY", severity.to_owned()),
        ("EVENT_ACTION", event.action().to_owned()),
        ("EVENT_DEADLINE", event.deadline().unwrap_or_default().to_owned()),
        ("EVENT_SECONDS_LEFT", event_seconds),
        ("SECONDS_LEFT", format!("{seconds_left:.3}")),
        ("PROVIDER", event.provider().to_owned()),
        ("INSTANCE_ID", event.instance_id().to_owned()),
        ("SIMULATED", u8::from(event.is_simulated()).to_string()),
        ("ATTEMPT", call.attempt().to_string()),
        ("IDEMPOTENCY_KEY", call.idempotency_key()),
    ] {
        all.insert(format!("{OWN}{name}"), value);
    }
    texts(&all)
}

/// The environment of a command that need not know of an event.
pub fn bare_environment() -> Vec<CString> {
    texts(&surroundings(Path::new("/")))
}

fn surroundings(home: &Path) -> BTreeMap<String, String> {
    let home = if home.as_os_str().is_empty() { Path::new("/") } else { home };
    let home = home.to_string_lossy().into_owned();
    let all = [("PATH", PROGRAM_PATH.to_owned()), ("LANG", "C.UTF-8".to_owned()), ("HOME", home)];
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

/// An event's text may hold anything; a zero byte would end a variable early.
fn texts(all: &BTreeMap<String, String>) -> Vec<CString> {
    let without_zero = |text: String| CString::new(text.replace('\0', "")).unwrap_or_default();
    all.iter().map(|(name, value)| without_zero(format!("{name}={value}"))).collect()
}
