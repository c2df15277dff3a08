//! The configuration of one instance, as the operator writes it.
//!
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema, and [`Plan`], which is known to make sense. Must
//! never accept a file system that may not be frozen whatever is mounted where.

use cloudsnooze_plugin::{Code, Error, schemars};
use cloudsnooze_plugin_commands::{Command, Words};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the system itself writes, wherever it is mounted.
const NEVER: [&str; 9] = ["/", "/bin", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/usr"];

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Mount points to freeze, in this order; they are thawed in the reverse one.
    #[schemars(length(min = 1, max = 8))]
    pub mount_points: Vec<PathBuf>,
    /// The command that takes the snapshot while they are frozen.
    #[serde(default)]
    pub then: Option<Command>,
    /// Longest time they are frozen; without a command, how long.
    #[serde(default = "hold_seconds")]
    #[schemars(range(min = 0.1, max = 10))]
    pub hold_seconds: f64,
}

fn hold_seconds() -> f64 {
    5.0
}

/// A configuration that is known to make sense.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mount_points: Vec<PathBuf>,
    pub(crate) then: Option<Words>,
    pub(crate) hold: Duration,
}

impl Plan {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let refuse = |text: String| Error::new(text).code(Code::Config);
        let points = config.mount_points;
        if points.is_empty() {
            return Err(refuse("mount_points names none".to_owned()));
        }
        for (at, path) in points.iter().enumerate() {
            let shown = path.display();
            if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) {
                return Err(refuse(format!("mount_points: {shown} is not an absolute path")));
            }
            if NEVER.iter().any(|never| path == Path::new(never)) {
                return Err(refuse(format!("mount_points: {shown} is never frozen: the system itself writes there")));
            }
            if points.iter().take(at).any(|earlier| earlier == path) {
                return Err(refuse(format!("mount_points: {shown} stands there twice")));
            }
        }
        if !(0.1..=10.0).contains(&config.hold_seconds) {
            return Err(refuse("hold_seconds is not from 0.1 to 10".to_owned()));
        }
        let then = config.then.map(|given| Words::new("then: ", given)).transpose().map_err(refuse)?;
        Ok(Self { mount_points: points, then, hold: Duration::from_secs_f64(config.hold_seconds) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn mistakes_are_told_by_their_key() {
        let plan = |config: Value| Plan::new(serde_json::from_value(config).unwrap());
        assert_eq!(plan(json!({ "mount_points": ["/srv/db"] })).unwrap().hold, Duration::from_secs(5));
        for (config, said) in [
            (json!({ "mount_points": [] }), "mount_points names none"),
            (json!({ "mount_points": ["srv"] }), "mount_points: srv is not an absolute path"),
            (json!({ "mount_points": ["/"] }), "mount_points: / is never frozen"),
            (json!({ "mount_points": ["/srv", "/usr/"] }), "mount_points: /usr/ is never frozen"),
            (json!({ "mount_points": ["/srv", "/srv/"] }), "mount_points: /srv/ stands there twice"),
            (json!({ "mount_points": ["/srv"], "hold_seconds": 10.5 }), "hold_seconds is not from 0.1 to 10"),
            (json!({ "mount_points": ["/srv"], "then": {} }), "then: give either argv or shell"),
        ] {
            let error = plan(config.clone()).err().map(|e| e.message().to_owned()).unwrap_or_default();
            assert!(error.contains(said), "{config}: {error}");
        }
        assert!(serde_json::from_value::<Config>(json!({ "mount_points": ["/srv"], "path": "/" })).is_err());
    }

    #[test]
    fn the_schema_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 3);
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
        }
    }
}
