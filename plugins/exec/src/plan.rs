//! The configuration, checked.
//!
//! Inputs: a [`Config`], an event. Outputs: [`Plan`]. Must never repeat a value of the environment in an
//! error.

use crate::config::Config;
use cloudsnooze_plugin::{Call, Code, Error, Event};
use cloudsnooze_plugin_commands::{Command, OWN, Words, environment};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A configuration that is known to make sense.
pub(crate) struct Plan {
    pub(crate) command: Words,
    pub(crate) fallback: Option<Words>,
    pub(crate) verify: Option<Words>,
    pub(crate) undo: Option<Words>,
    env: BTreeMap<String, String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) timeout: Option<Duration>,
    pub(crate) term_grace: Duration,
    pub(crate) output_bytes: usize,
    pub(crate) declined_code: Option<i32>,
    pub(crate) needs: Option<Duration>,
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
        let command = Words::new("", Command { argv: config.argv, shell: config.shell }).map_err(refuse)?;
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
        let other = |key: &str, given: Option<Command>| {
            given.map(|given| Words::new(&format!("{key}: "), given)).transpose().map_err(refuse)
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
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Words> {
        [Some(&self.command), self.fallback.as_ref(), self.verify.as_ref(), self.undo.as_ref()].into_iter().flatten()
    }

    /// Whether a command can be started, before it is needed.
    ///
    /// # Errors
    /// A sentence's worth of why not.
    pub(crate) fn must_be_startable(&self, command: &Words) -> Result<(), Error> {
        let directory = &self.working_directory;
        if !directory.is_dir() {
            let text = format!("working_directory {} is not there", directory.display());
            return Err(Error::new(text).code(Code::Io));
        }
        let startable = command.must_be_startable(directory, self.env.get("PATH").map(String::as_str));
        startable.map_err(|text| Error::new(text).code(Code::Io))
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
        environment(phase.name(), event, call, seconds_left, home, &self.env)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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
