//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema, checked. Must never accept a group that can match
//! nothing.

use cloudsnooze_plugin::schemars;
use cloudsnooze_plugin::{Code, Error};
use glob::Pattern;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// What an operator can set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Unix socket of the engine's API: Docker's, or Podman's (/run/podman/podman.sock).
    #[serde(default = "docker_socket")]
    pub socket: PathBuf,
    /// Which containers to stop, in this order; those of one group are stopped at the same time.
    #[schemars(length(min = 1))]
    pub groups: Vec<Group>,
    /// Which are never stopped, whatever a group says.
    #[serde(default)]
    pub except: Selector,
    /// What a drill does: check only, or really stop them, and start them again when the drill is ended.
    #[serde(default)]
    pub drill: Drill,
}

/// Containers that are stopped at the same time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Name of the group, for the report; by default its number.
    #[serde(default)]
    pub name: Option<String>,
    /// Names of containers; `*`, `?` and `[...]` match as in a shell.
    #[serde(default)]
    pub names: Vec<String>,
    /// Labels of containers, `key` or `key=value`; one is enough.
    #[serde(default)]
    pub labels: Vec<String>,
    /// All that no group before has taken.
    #[serde(default)]
    pub all: bool,
    /// Seconds from the stop signal to SIGKILL when there is time; by default each container's own, which is 10 unless it was
    /// made with another.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3600))]
    pub grace_seconds: Option<u32>,
    /// Exit codes that a stopped container may have; by default 0 and that of its stop signal (143 for SIGTERM). 137 allows it to
    /// be killed.
    #[serde(default)]
    pub exit_codes: Option<Vec<i64>>,
    /// Write an image of its processes first, with Podman and CRIU, and stop it only where that cannot be done.
    #[serde(default)]
    pub checkpoint: Option<Checkpoint>,
}

/// Images of processes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Directory for the archives, on a disk that outlives the machine.
    pub directory: PathBuf,
    /// Seconds that a checkpoint needs; with less the container is stopped instead.
    #[serde(default = "checkpoint_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub needs_seconds: u32,
}

/// Containers by name or label.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Names of containers; `*`, `?` and `[...]` match as in a shell.
    #[serde(default)]
    pub names: Vec<String>,
    /// Labels of containers, `key` or `key=value`; one is enough.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// What a drill does.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Drill {
    /// Lists what would be stopped, and whether the time is enough.
    #[default]
    Check,
    /// Stops them; the end of the drill starts them again.
    Restart,
}

fn docker_socket() -> PathBuf {
    PathBuf::from("/var/run/docker.sock")
}

fn checkpoint_seconds() -> u32 {
    20
}

impl Config {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::new(text).code(Code::Config));
        if !self.socket.is_absolute() {
            return refuse("socket is not an absolute path".to_owned());
        }
        if self.groups.is_empty() {
            return refuse("groups: there is none".to_owned());
        }
        for (index, group) in self.groups.iter().enumerate() {
            let key = format!("groups[{index}]");
            if group.names.is_empty() && group.labels.is_empty() && !group.all {
                return refuse(format!("{key}: needs names, labels or \"all\": true"));
            }
            if group.all && index + 1 < self.groups.len() {
                return refuse(format!("{key}: \"all\" leaves nothing for the groups after it"));
            }
            if group.exit_codes.as_ref().is_some_and(Vec::is_empty) {
                return refuse(format!("{key}.exit_codes: with none, no container could ever be stopped"));
            }
            if group.checkpoint.as_ref().is_some_and(|checkpoint| !checkpoint.directory.is_absolute()) {
                return refuse(format!("{key}.checkpoint.directory is not an absolute path"));
            }
            check_words(&key, &group.names, &group.labels)?;
        }
        check_words("except", &self.except.names, &self.except.labels)
    }

    /// What a group is called in the report.
    pub fn group_name(&self, index: usize) -> String {
        let given = self.groups.get(index).and_then(|group| group.name.clone());
        given.unwrap_or_else(|| format!("group {}", index + 1))
    }
}

fn check_words(key: &str, names: &[String], labels: &[String]) -> Result<(), Error> {
    for name in names {
        if name.is_empty() || Pattern::new(name).is_err() {
            return Err(Error::new(format!("{key}.names: {name:?} is not a pattern")).code(Code::Config));
        }
    }
    match labels.iter().find(|label| label.is_empty() || label.starts_with('=')) {
        Some(label) => Err(Error::new(format!("{key}.labels: {label:?} has no key")).code(Code::Config)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config(value: Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_group_is_enough_and_what_nobody_knows_is_refused() {
        let least = config(json!({ "groups": [{ "all": true }] }));
        least.check().unwrap();
        assert_eq!((least.drill, least.group_name(0).as_str()), (Drill::Check, "group 1"));
        for more in [json!({ "host": "tcp://x" }), json!({ "groups": [{ "all": true, "grace": 3 }] })] {
            let mut value = json!({ "groups": [{ "all": true }] });
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert!(serde_json::from_value::<Config>(value).is_err());
        }
    }

    #[test]
    fn what_cannot_work_is_named_by_its_key() {
        let cases = [
            (json!({ "groups": [] }), "groups: there is none"),
            (json!({ "groups": [{ "name": "x" }] }), "groups[0]: needs names, labels or"),
            (json!({ "groups": [{ "all": true }, { "names": ["a"] }] }), "groups[0]: \"all\" leaves nothing"),
            (json!({ "groups": [{ "names": ["["] }] }), "groups[0].names: \"[\" is not a pattern"),
            (json!({ "groups": [{ "labels": ["=x"] }] }), "groups[0].labels: \"=x\" has no key"),
            (json!({ "groups": [{ "all": true, "exit_codes": [] }] }), "groups[0].exit_codes"),
            (json!({ "groups": [{ "all": true }], "except": { "names": [""] } }), "except.names"),
            (json!({ "groups": [{ "all": true }], "socket": "docker.sock" }), "socket is not an absolute path"),
            (
                json!({ "groups": [{ "all": true, "checkpoint": { "directory": "x" } }] }),
                "groups[0].checkpoint.directory",
            ),
        ];
        for (value, words) in cases {
            let error = config(value).check().unwrap_err();
            assert!(error.message().starts_with(words), "{error}");
            assert_eq!(error.kind(), Code::Config);
        }
    }

    #[test]
    fn the_schema_describes_every_key_and_knows_no_others() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_eq!(schema["additionalProperties"], false);
        let all = [&schema["properties"], &schema["$defs"]["Group"]["properties"]];
        for (key, property) in all.into_iter().flat_map(|properties| properties.as_object().unwrap()) {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}: {property}");
        }
    }
}
