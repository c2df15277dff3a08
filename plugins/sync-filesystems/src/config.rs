//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema. Must never accept what could not mean
//! anything.

use cloudsnooze_plugin::{Code, Error, schemars};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// What an operator can set.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Mount points to sync; by default those of all writable file systems on this machine's disks, one of each.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub mount_points: Option<Vec<PathBuf>>,
    /// Mount points whose file systems are left out of those that are found.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub exclude: Vec<PathBuf>,
    /// Longest time for each file system, in milliseconds; by default all that is left.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_ms: Option<u64>,
}

impl Config {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::new(text).code(Code::Config));
        let named = self.mount_points.as_deref().unwrap_or_default();
        if self.mount_points.is_some() && named.is_empty() {
            return refuse("mount_points names none; leave it out to have them found".to_owned());
        }
        if self.mount_points.is_some() && !self.exclude.is_empty() {
            return refuse("exclude is for those that are found; with mount_points, leave it out".to_owned());
        }
        for (key, paths) in [("mount_points", named), ("exclude", &self.exclude)] {
            if let Some(path) = paths.iter().find(|path| !path.is_absolute()) {
                return refuse(format!("{key}: {} is not an absolute path", path.display()));
            }
            if let Some(path) = paths.iter().find(|path| path.as_os_str().as_encoded_bytes().contains(&0)) {
                return refuse(format!("{key}: {} holds a zero byte", path.display()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn mistakes_are_told_by_their_key() {
        let check = |config: Value| serde_json::from_value::<Config>(config).unwrap().check();
        assert!(check(json!({})).is_ok());
        assert!(check(json!({ "mount_points": ["/srv"], "timeout_ms": 5 })).is_ok());
        for (config, said) in [
            (json!({ "mount_points": [] }), "mount_points names none"),
            (json!({ "mount_points": ["srv"] }), "mount_points: srv is not an absolute path"),
            (json!({ "exclude": ["srv"] }), "exclude: srv is not an absolute path"),
            (json!({ "exclude": ["/a\u{0}b"] }), "holds a zero byte"),
            (json!({ "mount_points": ["/srv"], "exclude": ["/a"] }), "exclude is for those that are found"),
        ] {
            let error = check(config.clone()).err().map(|e| e.message().to_owned()).unwrap_or_default();
            assert!(error.contains(said), "{config}: {error}");
        }
        assert!(serde_json::from_value::<Config>(json!({ "paths": ["/"] })).is_err());
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
