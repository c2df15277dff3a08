//! From configuration files to one checked [`Config`].
//!
//! Responsibilities: which files count and in which order; reporting everything that is wrong with them at once. Inputs: the main
//! file, a directory of further ones. Outputs: the configuration, or all errors. Must never start with a configuration that is
//! partly wrong: an operator learns of it now, not when the cloud takes the machine.

use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::check::check;
use super::merge::Layers;
use super::parse::{parse, read_file};
use super::path::JsonPath;
use super::problem::{ConfigError, Finding, describe};
use super::schema::{Config, is_token, json_schema};
use super::secret::{Secret, SecretSources, resolve};
use super::shape;

/// A configuration that is fit for use.
#[derive(Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is allowed but hardly meant; to be logged.
    pub warnings: Vec<ConfigError>,
    layers: Layers,
}

impl std::fmt::Debug for Loaded {
    /// Written by hand because the merged document may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

impl Loaded {
    /// The files that were read, in order; the main one first.
    pub fn files(&self) -> &[PathBuf] {
        self.layers.files()
    }

    /// An error about the value at `path`, for what only others can know (whether a plugin exists, whether it takes its
    /// configuration). `found` and `expected` are phrases, `hint` a sentence or empty.
    pub fn error(&self, path: &JsonPath, found: &str, expected: &str, hint: &str) -> ConfigError {
        Finding::new(path.clone(), found, expected, hint).in_file(self.layers.file_of(path))
    }

    /// The `config` of the handler at `index` (from 0) under `key` with its secrets put in, and those secrets. A handler that
    /// does not exist has an empty one. Blocks on the file system.
    ///
    /// # Errors
    /// One for every reference that leads to no secret.
    pub fn resolve(
        &self,
        key: &str,
        index: usize,
        sources: &SecretSources,
    ) -> Result<(Value, Vec<Secret>), Vec<ConfigError>> {
        let handler = self.config.event_handlers.get(key).and_then(|handlers| handlers.plugins.get(index));
        let empty = Value::Object(serde_json::Map::new());
        let config = handler.map_or(&empty, |handler| &handler.config);
        self.resolved(config, &JsonPath::handler(key, index).key("config"), sources)
    }

    /// The `config` of the source at `index` (from 0) of `sources.plugins` with its secrets put in, and those secrets. One
    /// that does not exist has an empty one. Blocks on the file system.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_source(
        &self,
        index: usize,
        sources: &SecretSources,
    ) -> Result<(Value, Vec<Secret>), Vec<ConfigError>> {
        let empty = Value::Object(serde_json::Map::new());
        let config = self.config.sources.plugins.get(index).map_or(&empty, |source| &source.config);
        self.resolved(config, &JsonPath::source(index).key("config"), sources)
    }

    /// Address and headers of `report.post` with their secrets put in, as an object of `url` and `headers`, and those
    /// secrets; None when reports are sent nowhere. Blocks on the file system.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_post(&self, sources: &SecretSources) -> Result<Option<(Value, Vec<Secret>)>, Vec<ConfigError>> {
        let Some(post) = &self.config.report.post else { return Ok(None) };
        let given = json!({"url": post.url, "headers": post.headers});
        self.resolved(&given, &JsonPath::default().key("report").key("post"), sources).map(Some)
    }

    /// The token of `control.dashboard`, and the same as a secret; None when there is no port. Blocks on the file system.
    ///
    /// # Errors
    /// It cannot be read, or is none that can be shown.
    pub fn resolve_dashboard(
        &self,
        sources: &SecretSources,
    ) -> Result<Option<(String, Vec<Secret>)>, Vec<ConfigError>> {
        let Some(dashboard) = &self.config.control.dashboard else { return Ok(None) };
        let base = JsonPath::default().key("control").key("dashboard");
        let (resolved, secrets) = self.resolved(&json!({"token": dashboard.token}), &base, sources)?;
        match resolved["token"].as_str().filter(|token| is_token(token)) {
            Some(token) => Ok(Some((token.to_owned(), secrets))),
            None => {
                let expected = "16 to 256 letters, digits and -._~+/= in one line";
                let hint = "Such as `openssl rand -hex 24` prints.";
                Err(vec![self.error(&base.key("token"), "a secret that cannot be a token", expected, hint)])
            }
        }
    }

    fn resolved(
        &self,
        given: &Value,
        base: &JsonPath,
        sources: &SecretSources,
    ) -> Result<(Value, Vec<Secret>), Vec<ConfigError>> {
        resolve(given, sources).map_err(|errors| {
            let told = errors.into_iter().map(|error| {
                let found = format!("{} that gives no secret ({})", error.reference, error.reason);
                self.error(&base.join(&error.path), &found, "a secret that the daemon can read", "")
            });
            told.collect()
        })
    }
}

impl Config {
    /// Reads `main`, then the files `*.json` of `conf_d` in the order of their names, each over the ones before: objects merge
    /// at every depth, handlers of an event type are joined, everything else, lists too, replaces what was there.
    /// A directory that does not exist holds no files.
    /// Blocks on the file system.
    ///
    /// # Errors
    /// Everything found wrong in all files, by file and place.
    pub fn load(main: &Path, conf_d: Option<&Path>) -> Result<Loaded, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut layers = Layers::new(main);
        let files = conf_d.map_or(Ok(Vec::new()), files_in).unwrap_or_else(|error| {
            let found = format!("a directory that cannot be read ({error})");
            let directory = conf_d.unwrap_or(main).to_owned();
            let expected = "a directory of configuration files";
            errors.push(Finding::new(JsonPath::default(), found, expected, "").in_file(directory));
            Vec::new()
        });
        for file in [main.to_owned()].iter().chain(&files) {
            match read_file(file) {
                Ok(object) => layers.add(file, object),
                Err(wrong) => errors.extend(wrong),
            }
        }
        decode(layers, errors)
    }

    /// The same from the text of one file, without the file system: `main` is only named.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_text(main: &Path, text: &[u8]) -> Result<Loaded, Vec<ConfigError>> {
        let mut layers = Layers::new(main);
        let errors = parse(main, text).map(|object| layers.add(main, object)).err().unwrap_or_default();
        decode(layers, errors)
    }
}

/// Checks and decodes the merged document; `errors` are those found so far.
pub(super) fn decode(layers: Layers, mut errors: Vec<ConfigError>) -> Result<Loaded, Vec<ConfigError>> {
    let mut findings = shape::findings(layers.document(), &json_schema());
    let has_shape = findings.is_empty();
    let checked = check(layers.document());
    findings.extend(checked.errors);
    let in_files = |mut findings: Vec<Finding>| -> Vec<ConfigError> {
        findings.sort_by(|a, b| a.path.cmp(&b.path));
        let placed = findings.into_iter().map(|finding| (layers.file_of(&finding.path), finding));
        placed.map(|(file, finding)| finding.in_file(file)).collect()
    };
    errors.extend(in_files(findings));
    let config = match serde_path_to_error::deserialize::<_, Config>(layers.document()) {
        Ok(config) => config,
        Err(error) => {
            // The schema is generated from the type, so a document of the right shape decodes; should the two ever differ, the
            // decoder has the last word.
            if has_shape {
                errors.extend(in_files(vec![undecodable(layers.document(), &error)]));
            }
            return Err(errors);
        }
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    let warnings = in_files(checked.warnings);
    Ok(Loaded { config, warnings, layers })
}

/// The decoder's complaint. Its own words may quote the value, so only what it expected is taken from them.
fn undecodable(document: &Value, error: &serde_path_to_error::Error<serde_json::Error>) -> Finding {
    let path = JsonPath::from(error.path());
    let found = path.find(document).map_or_else(|| "nothing".to_owned(), describe);
    let words = error.inner().to_string();
    let expected = words.rsplit_once("expected ").map_or("another value", |(_, expected)| expected);
    Finding::new(path, found, expected, "")
}

/// The configuration files in a directory, in the order of their names. Hidden files are what editors leave behind.
fn files_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "json") && !is_hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
