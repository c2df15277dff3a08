//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema; `plan` checks what the schema cannot. Must
//! never be printed as a whole: the environment may hold secrets.

use cloudsnooze_plugin::schemars;
use cloudsnooze_plugin_commands::Command;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The program and its arguments; no shell looks at them.
    #[serde(default)]
    pub argv: Option<Vec<String>>,
    /// In place of argv: a command line for /bin/sh.
    #[serde(default)]
    pub shell: Option<String>,
    /// Environment of the commands, besides PATH, LANG, HOME and the CLOUDSNOOZE variables. A secret.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub env: BTreeMap<String, String>,
    /// Directory in which the commands run.
    #[serde(default = "root_directory")]
    pub working_directory: PathBuf,
    /// Longest time for a command, in milliseconds; by default all that is left.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_ms: Option<u64>,
    /// Time from SIGTERM to SIGKILL, in milliseconds, when a command is out of time; at most a quarter of what is left.
    #[serde(default = "term_grace_ms")]
    #[schemars(range(min = 0, max = 60_000))]
    pub term_grace_ms: u64,
    /// Bytes at the end of standard output, and of standard error, that go into the report.
    #[serde(default = "output_bytes")]
    #[schemars(range(min = 0, max = 8192))]
    pub output_bytes: usize,
    /// Exit code that means: looked at and declined. 0 means done, any other failed.
    #[serde(default)]
    #[schemars(range(min = 1, max = 255))]
    pub declined_code: Option<u8>,
    /// Milliseconds that the command needs. With less it is not started.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub needs_ms: Option<u64>,
    /// What to run in its place when there is less time than it needs.
    #[serde(default)]
    pub fallback: Option<Command>,
    /// What proves the effect afterwards, with exit code 0.
    #[serde(default)]
    pub verify: Option<Command>,
    /// What undoes the effect when the notice is withdrawn.
    #[serde(default)]
    pub undo: Option<Command>,
}

fn root_directory() -> PathBuf {
    PathBuf::from("/")
}

fn term_grace_ms() -> u64 {
    1_000
}

fn output_bytes() -> usize {
    4_096
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_command_is_enough_and_what_nobody_knows_is_refused() {
        let config: Config = serde_json::from_value(json!({"argv": ["true"]})).unwrap();
        assert_eq!((config.term_grace_ms, config.output_bytes), (1_000, 4_096));
        assert_eq!(config.working_directory, PathBuf::from("/"));
        for more in [json!({"user": "nobody"}), json!({"undo": {"argv": ["true"], "user": "nobody"}})] {
            let mut config = json!({"argv": ["true"]});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert!(serde_json::from_value::<Config>(config).is_err());
        }
    }

    #[test]
    fn the_schema_marks_the_environment_as_a_secret_and_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 12);
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
            assert_eq!(property["writeOnly"] == json!(true), key == "env", "{key}");
        }
    }
}
