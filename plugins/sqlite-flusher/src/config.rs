//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema. Must never accept what could not mean
//! anything.

use cloudsnooze_plugin::{Code, Error, schemars};
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Database files: paths, or patterns such as `/srv/app/*.db`.
    #[schemars(length(min = 1, max = 64))]
    pub paths: Vec<String>,
    /// Directory for copies. The copy of /srv/app/a.db is srv/app/a.db below it, and replaces the one before.
    #[serde(default)]
    pub backup_directory: Option<PathBuf>,
    /// Longest time to wait for an application's readers and writers, for each database, in milliseconds.
    #[serde(default = "busy_ms")]
    #[schemars(range(min = 0, max = 60_000))]
    pub busy_ms: u64,
    /// Whether verification reads the database and its copy through (`PRAGMA quick_check`).
    #[serde(default = "quick_check")]
    pub quick_check: bool,
}

fn busy_ms() -> u64 {
    3_000
}

fn quick_check() -> bool {
    true
}

impl Config {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::new(text).code(Code::Config));
        if self.paths.is_empty() {
            return refuse("paths names none".to_owned());
        }
        for path in &self.paths {
            if !Path::new(path).is_absolute() || path.contains('\0') {
                return refuse(format!("paths: {path:?} is not an absolute path"));
            }
            if let Err(error) = glob::Pattern::new(path) {
                return refuse(format!("paths: {path:?}: {error}"));
            }
        }
        match &self.backup_directory {
            Some(directory) if !directory.is_absolute() || directory.as_os_str().as_encoded_bytes().contains(&0) => {
                refuse("backup_directory is not an absolute path".to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn mistakes_are_told_by_their_key() {
        let check = |config: Value| serde_json::from_value::<Config>(config).unwrap().check();
        assert!(check(json!({ "paths": ["/srv/*.db"], "backup_directory": "/mnt/copies" })).is_ok());
        for (config, said) in [
            (json!({ "paths": [] }), "paths names none"),
            (json!({ "paths": ["a.db"] }), "paths: \"a.db\" is not an absolute path"),
            (json!({ "paths": ["/srv/a\u{0}.db"] }), "is not an absolute path"),
            (json!({ "paths": ["/srv/[.db"] }), "paths: \"/srv/[.db\": "),
            (json!({ "paths": ["/a.db"], "backup_directory": "copies" }), "backup_directory is not an absolute path"),
        ] {
            let error = check(config.clone()).err().map(|e| e.message().to_owned()).unwrap_or_default();
            assert!(error.contains(said), "{config}: {error}");
        }
        assert!(serde_json::from_value::<Config>(json!({ "paths": ["/a"], "path": "/" })).is_err());
    }

    #[test]
    fn the_schema_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 4);
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
        }
    }
}
