//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema; `plan` checks what the schema cannot. Must
//! never hold a secret: there is none in it.

use cloudsnooze_plugin::schemars;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// What an operator can set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What has to hold, all of it.
    #[schemars(length(min = 1, max = 64))]
    pub checks: Vec<Check>,
}

/// One check: exactly one of file, unit_inactive, process_gone, port_closed and command, and what belongs to it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// A file that has to be there.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// With file: it has to be newer than the event.
    #[serde(default)]
    pub newer_than_event: Option<bool>,
    /// With file: bytes that it has to have at least; 1 if not given.
    #[serde(default)]
    pub min_bytes: Option<u64>,
    /// A unit of systemd that has to be inactive.
    #[serde(default)]
    pub unit_inactive: Option<String>,
    /// A file with the number of a process that has to be gone.
    #[serde(default)]
    pub process_gone: Option<PathBuf>,
    /// A TCP address, such as 127.0.0.1:5432, that has to refuse connections.
    #[serde(default)]
    pub port_closed: Option<String>,
    /// A program and its arguments; no shell looks at them.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// With command: the exit code that it has to end with; 0 if not given.
    #[serde(default)]
    #[schemars(range(min = 0, max = 255))]
    pub expect_exit: Option<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_nobody_knows_is_refused() {
        for wrong in [json!({}), json!({"checks": [{"file": "/a", "older": true}]}), json!({"checks": [], "retry": 1})]
        {
            assert!(serde_json::from_value::<Config>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_schema_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        let check = schema["$defs"]["Check"]["properties"].as_object().unwrap();
        assert_eq!(check.len(), 8);
        for (key, property) in check.iter().chain(schema["properties"].as_object().unwrap()) {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
        }
    }
}
