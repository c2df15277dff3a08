//! The configuration of one instance.
//!
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema, [`Settings`] that can work. Must never be
//! printed as a whole: `options` holds secrets.

use cloudsnooze_plugin::schemars;
use cloudsnooze_plugin::{Code, Error};
use glob::Pattern;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The least that S3 takes as a part that is not the last.
const LEAST_PART_BYTES: u64 = 5 << 20;

/// What an operator can set.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to: `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`. `{instance_id}` and `{hostname}` stand for
    /// those of this machine: machines that share a prefix overwrite each other's files.
    pub to: String,
    /// What to upload.
    #[schemars(length(min = 1, max = 64))]
    pub sources: Vec<SourceConfig>,
    /// What not to upload: patterns with `*`, `?`, `[]` and `**`. One without `/` is for names at any depth, one with it for
    /// paths below the source. A directory that matches is left out as a whole.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Files that are uploaded at the same time; twice as many requests.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 32))]
    pub at_once: usize,
    /// Files larger than this are uploaded in parts of this size, several at a time.
    #[serde(default = "part_bytes")]
    #[schemars(range(min = 5_242_880, max = 268_435_456))]
    pub part_bytes: u64,
    /// Bytes a second that the way to the store is known to take; by default what was measured at the last upload.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub bandwidth: Option<u64>,
    /// With S3: send the SHA-256 of each request's body for the store to check. Some that are only compatible refuse it.
    #[serde(default = "yes")]
    pub store_checksum: bool,
    /// Settings of the library object_store for this store, such as `aws_access_key_id`, `aws_secret_access_key`, `aws_region`,
    /// `aws_endpoint`, `google_service_account_key`. What is not set is taken from the environment,
    /// then from the role of the machine. May hold secrets.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub options: BTreeMap<String, String>,
    /// PEM certificates to trust, instead of the public authorities.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// A directory or a file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its name below the prefix; by default the last part of its path.
    #[serde(default)]
    pub name: Option<String>,
    /// That it is not there is no failure.
    #[serde(default)]
    pub optional: bool,
}

fn four() -> usize {
    4
}

fn part_bytes() -> u64 {
    8 << 20
}

fn yes() -> bool {
    true
}

/// A source that can work.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) is_optional: bool,
}

/// What is uploaded, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) sources: Vec<Source>,
    pub(crate) exclude: Vec<Pattern>,
    pub(crate) at_once: usize,
    pub(crate) part_bytes: u64,
    pub(crate) bandwidth: Option<u64>,
}

impl Config {
    /// Checks what the schema cannot.
    ///
    /// # Errors
    /// What cannot work, with its place.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        let wrong = |text: String| Error::new(text).code(Code::Config);
        if self.sources.is_empty() {
            return Err(wrong("sources: there is nothing to upload".to_owned()));
        }
        if self.at_once == 0 || self.part_bytes < LEAST_PART_BYTES {
            return Err(wrong(format!("at_once must be 1 at least, part_bytes {LEAST_PART_BYTES}")));
        }
        if self.bandwidth == Some(0) {
            return Err(wrong("bandwidth: must be 1 at least".to_owned()));
        }
        let mut sources = Vec::new();
        let mut names = BTreeSet::new();
        for (at, source) in self.sources.iter().enumerate() {
            let source = usable(source).map_err(|text| wrong(format!("sources[{at}]: {text}")))?;
            if !names.insert(source.name.clone()) {
                return Err(wrong(format!("sources[{at}]: two have the name {:?}; give one another", source.name)));
            }
            sources.push(source);
        }
        let mut exclude = Vec::new();
        for (at, text) in self.exclude.iter().enumerate() {
            exclude.push(Pattern::new(text).map_err(|error| wrong(format!("exclude[{at}]: {text:?}: {error}")))?);
        }
        Ok(Settings { sources, exclude, at_once: self.at_once, part_bytes: self.part_bytes, bandwidth: self.bandwidth })
    }
}

fn usable(source: &SourceConfig) -> Result<Source, String> {
    if !source.path.is_absolute() {
        return Err(format!("path: {} is not absolute", source.path.display()));
    }
    let name = match (&source.name, source.path.file_name().and_then(|name| name.to_str())) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => return Err("name: is needed, the path has none".to_owned()),
    };
    let is_plain = Path::new(&name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    // The manifest has this name below the prefix.
    if name.is_empty() || !is_plain || name.contains('/') || name.starts_with("manifest") || name.starts_with('.') {
        return Err(format!("name: {name:?} cannot be one; choose another, without `/`, not `manifest...`"));
    }
    Ok(Source { path: source.path.clone(), name, is_optional: source.optional })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_plugin::serde_json::{Value, json};

    fn settings(config: Value) -> Result<Settings, String> {
        let config: Config = serde_json::from_value(config).map_err(|error| error.to_string())?;
        config.settings().map_err(|error| error.to_string())
    }

    #[test]
    fn a_place_and_a_source_are_enough() {
        let settings = settings(json!({ "to": "s3://b/p", "sources": [{ "path": "/var/lib/app" }] })).unwrap();
        assert_eq!((settings.sources[0].name.as_str(), settings.at_once, settings.part_bytes), ("app", 4, 8 << 20));
    }

    #[test]
    fn what_cannot_work_is_named_with_its_place() {
        let cases = [
            (json!({ "to": "s3://b/p", "sources": [] }), "sources"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "app" }] }), "sources[0]: path"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "/" }] }), "sources[0]: name"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "/a", "name": "../b" }] }), "sources[0]: name"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "/a", "name": "manifest.json" }] }), "sources[0]: name"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "/a/x" }, { "path": "/b/x" }] }), "sources[1]: two have"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "/a" }], "exclude": ["a", "[b"] }), "exclude[1]"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "/a" }], "part_bytes": 5 }), "part_bytes"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "/a" }], "bandwidth": 0 }), "bandwidth"),
            (json!({ "to": "s3://b/p", "sources": [{ "path": "/a" }], "nonsense": 0 }), "nonsense"),
        ];
        for (config, place) in cases {
            let error = settings(config).unwrap_err();
            assert!(error.contains(place), "{place}: {error}");
        }
    }
}
