//! The configuration, checked, and the environment that a command finds.
//!
//! Inputs: a [`Config`], an event. Outputs: [`Plan`]; `NAME=VALUE` texts. Must never repeat a value of the environment in an
//! error.

use crate::config::{self, Config};
use cloudsnooze_plugin::{Call, Code, Error, Event, Severity};
use cloudsnooze_plugin_commands::PROGRAM_PATH;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Variables that the plugin sets begin like this.
const OWN: &str = "CLOUDSNOOZE_";

/// A configuration that is known to make sense.
pub(crate) struct Plan {
    pub(crate) command: Command,
    pub(crate) fallback: Option<Command>,
    pub(crate) verify: Option<Command>,
    pub(crate) undo: Option<Command>,
    env: BTreeMap<String, String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) timeout: Option<Duration>,
    pub(crate) term_grace: Duration,
    pub(crate) output_bytes: usize,
    pub(crate) declined_code: Option<i32>,
    pub(crate) needs: Option<Duration>,
}

/// A command, as words without a zero byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) words: Vec<CString>,
    pub(crate) program: String,
}

/// What a command is run for; it sees it as CLOUDSNOOZE_PHASE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Run,
    Fallback,
    Verify,
    Undo,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Fallback => "fallback",
            Self::Verify => "verify",
            Self::Undo => "undo",
        }
    }
}

impl Plan {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let refuse = |text: String| Error::new(text).code(Code::Config);
        let command = command("", config.argv, config.shell).map_err(refuse)?;
        if !config.working_directory.is_absolute() {
            return Err(refuse("working_directory is not an absolute path".to_owned()));
        }
        if config.fallback.is_some() && config.needs_ms.is_none() {
            return Err(refuse("fallback needs needs_ms, which decides about it".to_owned()));
        }
        if let Some(code @ (126 | 127)) = config.declined_code {
            return Err(refuse(format!("declined_code {code} is what a program that cannot be started ends with")));
        }
        for (name, value) in &config.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(refuse(format!("env: {name:?} is not a variable's name")));
            }
            if name.starts_with(OWN) {
                return Err(refuse(format!("env: {name} is set by the plugin")));
            }
            if value.contains('\0') {
                return Err(refuse(format!("env: the value of {name} holds a zero byte")));
            }
        }
        let other = |key: &str, given: Option<config::Command>| {
            given.map(|given| self::command(&format!("{key}: "), given.argv, given.shell)).transpose().map_err(refuse)
        };
        Ok(Self {
            command,
            fallback: other("fallback", config.fallback)?,
            verify: other("verify", config.verify)?,
            undo: other("undo", config.undo)?,
            env: config.env,
            working_directory: config.working_directory,
            timeout: config.timeout_ms.map(Duration::from_millis),
            term_grace: Duration::from_millis(config.term_grace_ms.min(60_000)),
            output_bytes: config.output_bytes.min(8_192),
            declined_code: config.declined_code.map(i32::from),
            needs: config.needs_ms.map(Duration::from_millis),
        })
    }

    /// All commands there are.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Command> {
        [Some(&self.command), self.fallback.as_ref(), self.verify.as_ref(), self.undo.as_ref()].into_iter().flatten()
    }

    /// Whether a command can be started, before it is needed.
    ///
    /// # Errors
    /// A sentence's worth of why not.
    pub(crate) fn must_be_startable(&self, command: &Command) -> Result<(), Error> {
        let directory = &self.working_directory;
        if !directory.is_dir() {
            let text = format!("working_directory {} is not there", directory.display());
            return Err(Error::new(text).code(Code::Io));
        }
        let is_program =
            |path: &Path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        let program = &command.program;
        if program.contains('/') {
            let path = directory.join(program);
            if !is_program(&path) {
                return Err(Error::new(format!("{} is no program", path.display())).code(Code::Io));
            }
            return Ok(());
        }
        let places = self.env.get("PATH").map_or(PROGRAM_PATH, String::as_str);
        if places.split(':').any(|place| is_program(&directory.join(place).join(program))) {
            return Ok(());
        }
        Err(Error::new(format!("there is no program '{program}' in {places}")).code(Code::Io))
    }

    /// What a command finds in its environment. `seconds_left` is its own time.
    pub(crate) fn environment(
        &self,
        phase: Phase,
        event: &Event<'_>,
        call: &Call<'_>,
        seconds_left: f64,
        home: &Path,
    ) -> Vec<CString> {
        let home = if home.as_os_str().is_empty() { Path::new("/") } else { home };
        let severity = match event.severity() {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Urgent => "urgent",
            Severity::Critical => "critical",
        };
        let mut all: BTreeMap<String, String> = [
            ("PATH", PROGRAM_PATH.to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("HOME", home.to_string_lossy().into_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        all.extend(self.env.clone());
        let event_seconds = event.seconds_left().map_or_else(String::new, |seconds| format!("{seconds:.3}"));
        for (name, value) in [
            ("PHASE", phase.name().to_owned()),
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
        all.iter().map(|(name, value)| without_zero(&format!("{name}={value}"))).collect()
    }
}

/// An event's text may hold anything.
fn without_zero(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

fn command(key: &str, argv: Option<Vec<String>>, shell: Option<String>) -> Result<Command, String> {
    let words = match (argv, shell) {
        (Some(argv), None) => argv,
        (None, Some(shell)) if shell.trim().is_empty() => return Err(format!("{key}shell is empty")),
        (None, Some(shell)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), shell],
        _ => return Err(format!("{key}give either argv or shell")),
    };
    let program = words.first().filter(|word| !word.is_empty());
    let program = program.ok_or_else(|| format!("{key}argv names no program"))?.clone();
    let words = words.into_iter().map(CString::new).collect::<Result<_, _>>();
    Ok(Command { words: words.map_err(|_| format!("{key}a word of the command holds a zero byte"))?, program })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn plan(config: Value) -> Result<Plan, Error> {
        Plan::new(serde_json::from_value(config).unwrap())
    }

    #[test]
    fn mistakes_are_told_by_their_key_and_without_values() {
        for (config, said) in [
            (json!({}), "give either argv or shell"),
            (json!({"argv": ["true"], "shell": "true"}), "give either argv or shell"),
            (json!({"argv": []}), "argv names no program"),
            (json!({"argv": ["", "a"]}), "argv names no program"),
            (json!({"shell": " "}), "shell is empty"),
            (json!({"argv": ["a\0b"]}), "a word of the command holds a zero byte"),
            (json!({"argv": ["true"], "working_directory": "here"}), "working_directory is not an absolute path"),
            (json!({"argv": ["true"], "fallback": {"argv": ["true"]}}), "fallback needs needs_ms"),
            (json!({"argv": ["true"], "undo": {}}), "undo: give either argv or shell"),
            (json!({"argv": ["true"], "verify": {"shell": ""}}), "verify: shell is empty"),
            (json!({"argv": ["true"], "declined_code": 127}), "declined_code 127 is what"),
            (json!({"argv": ["true"], "env": {"A=B": "hunter2"}}), "env: \"A=B\" is not a variable's name"),
            (json!({"argv": ["true"], "env": {"A": "hunter2\0"}}), "env: the value of A holds a zero byte"),
            (json!({"argv": ["true"], "env": {"CLOUDSNOOZE_PHASE": "hunter2"}}), "is set by the plugin"),
        ] {
            let error = plan(config.clone()).err().map(|e| e.message().to_owned()).unwrap_or_default();
            assert!(error.contains(said) && !error.contains("hunter2"), "{config}: {error}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_known_before_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tool"), "#!/bin/sh\n").unwrap();
        let check = |more: Value| {
            let mut config = json!({"working_directory": dir.path()});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let plan = plan(config).unwrap();
            plan.must_be_startable(&plan.command).map_err(|error| error.message().to_owned())
        };
        assert_eq!(check(json!({"argv": ["true"]})), Ok(()));
        assert_eq!(check(json!({"shell": "nosuch"})), Ok(()), "that is for the shell to say");
        assert!(check(json!({"argv": ["nosuch"]})).unwrap_err().starts_with("there is no program 'nosuch' in /usr"));
        assert!(check(json!({"argv": ["./tool"]})).unwrap_err().ends_with("tool is no program"), "not executable");
        fs::set_permissions(dir.path().join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(check(json!({"argv": ["./tool"]})), Ok(()));
        assert_eq!(check(json!({"argv": ["tool"], "env": {"PATH": dir.path()}})), Ok(()));
        let gone = check(json!({"argv": ["true"], "working_directory": "/nonexistent"}));
        assert_eq!(gone, Err("working_directory /nonexistent is not there".to_owned()));
    }
}
