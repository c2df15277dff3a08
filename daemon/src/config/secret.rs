//! Secrets that are kept outside the configuration files.
//!
//! Responsibilities: replacing references inside a handler's `config` by the secrets they name. Inputs: the configuration, and
//! where secrets may come from. Outputs: the configuration to hand to the plugin, and the secrets for the scrubber. Must never
//! put the content of a secret into an error, a log or a `Debug` text.

use serde_json::Value;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::path::JsonPath;

/// Largest secret that is read, bytes.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a secret is looked for when systemd has not passed it (systemd.exec(5), `LoadCredential=`).
const FALLBACK_DIRECTORY: &str = "/etc/cloudsnooze/credentials";

/// One resolved secret. Neither `Debug` nor any error shows its content.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The reference as written, such as `credential "db"`.
    pub reference: String,
    content: String,
}

impl Secret {
    /// The content itself: for the plugin and the scrubber only.
    pub fn expose(&self) -> &str {
        &self.content
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.reference)
    }
}

/// A reference that leads to no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: the secret of {reference} cannot be read: {reason}")]
pub struct SecretError {
    /// Where the reference stands inside the handler's `config`.
    pub path: JsonPath,
    /// The reference as written, such as `credential "db"`.
    pub reference: String,
    /// Why, with the file that was looked at.
    pub reason: String,
}

/// Looks up an environment variable by its name; any thread may call it.
pub type Environment = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// Where secrets come from. Tests put their own in place of the system's.
#[derive(Clone)]
pub struct SecretSources {
    /// The directory in which systemd passes credentials.
    pub credentials_directory: Option<PathBuf>,
    /// The directory for credentials that systemd has not passed.
    pub fallback_directory: PathBuf,
    /// The environment of the process.
    pub environment: Environment,
}

impl SecretSources {
    /// Those of this process: `$CREDENTIALS_DIRECTORY` as systemd sets it (systemd.exec(5)), then `/etc/cloudsnooze/credentials`,
    /// and the process's environment.
    pub fn system() -> Self {
        Self {
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            fallback_directory: PathBuf::from(FALLBACK_DIRECTORY),
            environment: Arc::new(|name| std::env::var_os(name)),
        }
    }
}

impl fmt::Debug for SecretSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSources")
            .field("credentials_directory", &self.credentials_directory)
            .field("fallback_directory", &self.fallback_directory)
            .finish_non_exhaustive()
    }
}

/// Kinds of reference.
#[derive(Clone, Copy)]
enum Kind {
    Credential,
    Env,
    File,
}

/// Whether the value stands for a secret kept elsewhere.
pub fn is_reference(value: &Value) -> bool {
    reference(value).is_some()
}

/// An object whose only member is `credential`, `env` or `file` with a text is a reference; anything else is the plugin's own.
fn reference(value: &Value) -> Option<(Kind, &str)> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let (key, name) = object.iter().next()?;
    let kind = match key.as_str() {
        "credential" => Kind::Credential,
        "env" => Kind::Env,
        "file" => Kind::File,
        _ => return None,
    };
    Some((kind, name.as_str()?))
}

/// Replaces every reference inside `config` by its secret, a text without one final line break. The configuration as a whole is
/// never one: `{"file": "/x"}` alone is a plugin's own setting. Blocks on the file system.
///
/// # Errors
/// One for every reference that leads nowhere.
pub fn resolve(config: &Value, sources: &SecretSources) -> Result<(Value, Vec<Secret>), Vec<SecretError>> {
    let mut walk = Walk { sources, secrets: Vec::new(), errors: Vec::new() };
    let resolved = walk.value(config, &JsonPath::default());
    if walk.errors.is_empty() { Ok((resolved, walk.secrets)) } else { Err(walk.errors) }
}

struct Walk<'s> {
    sources: &'s SecretSources,
    secrets: Vec<Secret>,
    errors: Vec<SecretError>,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, path: &JsonPath) -> Value {
        if let (Some((kind, name)), false) = (reference(value), path.0.is_empty()) {
            return self.secret(kind, name, path);
        }
        match value {
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| self.value(item, &path.index(index))).collect()
            }
            Value::Object(members) => {
                let resolved = members.iter().map(|(key, member)| (key.clone(), self.value(member, &path.key(key))));
                Value::Object(resolved.collect())
            }
            other => other.clone(),
        }
    }

    fn secret(&mut self, kind: Kind, name: &str, path: &JsonPath) -> Value {
        let (word, content) = match kind {
            Kind::Credential => ("credential", credential(name, self.sources)),
            Kind::Env => ("env", environment(name, self.sources)),
            Kind::File if Path::new(name).is_absolute() => {
                ("file", read_secret(Path::new(name)).map_err(Unread::reason))
            }
            Kind::File => ("file", Err("its path is not absolute".to_owned())),
        };
        let reference = format!("{word} {}", Value::from(name));
        match content {
            Ok(content) => {
                self.secrets.push(Secret { reference, content: content.clone() });
                content.into()
            }
            Err(reason) => {
                self.errors.push(SecretError { path: path.clone(), reference, reason });
                Value::Null
            }
        }
    }
}

fn credential(name: &str, sources: &SecretSources) -> Result<String, String> {
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err("the name of a credential is that of a file, with no '/' in it".to_owned());
    }
    if let Some(directory) = &sources.credentials_directory {
        match read_secret(&directory.join(name)) {
            // What systemd has not passed may lie in the other directory.
            Err(Unread::Missing(_)) => {}
            read => return read.map_err(Unread::reason),
        }
    }
    let fallback = sources.fallback_directory.join(name);
    read_secret(&fallback).map_err(|unread| match unread {
        Unread::Missing(reason) => format!("{reason}, and systemd has passed no credential of this name"),
        Unread::Other(reason) => reason,
    })
}

fn environment(name: &str, sources: &SecretSources) -> Result<String, String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("this cannot be the name of an environment variable".to_owned());
    }
    let content = (sources.environment)(name).ok_or("the daemon has no such environment variable")?;
    let content = content.into_string().map_err(|_| "it is not UTF-8".to_owned())?;
    checked(content.as_bytes())
}

/// Why a file gave no secret.
enum Unread {
    Missing(String),
    Other(String),
}

impl Unread {
    fn reason(self) -> String {
        let (Self::Missing(reason) | Self::Other(reason)) = self;
        reason
    }
}

fn read_secret(path: &Path) -> Result<String, Unread> {
    let shown = path.display();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Unread::Missing(format!("{shown} does not exist")),
        ErrorKind::PermissionDenied => Unread::Other(format!("{shown} may not be read by the daemon's user")),
        _ => Unread::Other(format!("{shown}: {error}")),
    };
    // Looked at before opening: opening a named pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Unread::Other(format!("{shown} is no regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
    checked(&bytes).map_err(|reason| Unread::Other(format!("{shown}: {reason}")))
}

/// The content as text without one final line break, which editors and `echo` add.
fn checked(bytes: &[u8]) -> Result<String, String> {
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err("it is larger than 64 KiB".to_owned());
    }
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::super::scrub::Scrubber;
    use super::*;
    use serde_json::json;
    use std::fs;

    struct Place {
        directory: tempfile::TempDir,
        sources: SecretSources,
    }

    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let (passed, fallback) = (directory.path().join("passed"), directory.path().join("fallback"));
        fs::create_dir(&passed).unwrap();
        fs::create_dir(&fallback).unwrap();
        fs::write(passed.join("db"), "hunter2\n").unwrap();
        fs::write(fallback.join("db"), "not this one").unwrap();
        fs::write(passed.join("cut"), "").unwrap();
        fs::write(fallback.join("cut"), "an old one").unwrap();
        fs::write(fallback.join("hook"), "swordfish\r\n\n").unwrap();
        fs::write(fallback.join("empty"), "\n").unwrap();
        fs::write(fallback.join("binary"), b"hunter2\xff").unwrap();
        fs::write(fallback.join("big"), vec![b'h'; 64 * 1024 + 1]).unwrap();
        fs::create_dir(fallback.join("directory")).unwrap();
        let environment = Arc::new(|name: &str| (name == "TOKEN").then(|| OsString::from("opensesame")));
        let sources = SecretSources { credentials_directory: Some(passed), fallback_directory: fallback, environment };
        Place { directory, sources }
    }

    #[test]
    fn every_kind_of_reference_is_replaced_by_its_secret() {
        let place = place();
        let file = place.directory.path().join("fallback/hook");
        let config = json!({
            "password": {"credential": "db"}, "list": [{"env": "TOKEN"}], "hook": {"credential": "hook"}, "f": {"file": file},
            "own": {"file": 1}, "two": {"env": "TOKEN", "x": "y"}
        });
        let (resolved, secrets) = resolve(&config, &place.sources).unwrap();
        let expected = json!({
            "password": "hunter2", "list": ["opensesame"], "hook": "swordfish\r\n", "f": "swordfish\r\n",
            "own": {"file": 1}, "two": {"env": "TOKEN", "x": "y"}
        });
        assert_eq!(resolved, expected);
        assert_eq!(secrets.len(), 4);
        let shown = format!("{secrets:?} {:?}", place.sources);
        assert!(["hunter2", "opensesame", "swordfish"].iter().all(|secret| !shown.contains(secret)), "{shown}");
        let scrubber = Scrubber::new(&secrets, [&config]);
        assert_eq!(scrubber.scrub("hunter2 opensesame swordfish."), "[redacted] [redacted] [redacted].");
    }

    #[test]
    fn every_reference_that_leads_nowhere_is_named_with_the_reason_but_never_the_content() {
        let place = place();
        for (reference, reason) in [
            (
                json!({"credential": "none"}),
                "fallback/none does not exist, and systemd has passed no credential of this name",
            ),
            (json!({"credential": "../db"}), "with no '/' in it"),
            (json!({"credential": ".."}), "with no '/' in it"),
            (json!({"credential": ""}), "with no '/' in it"),
            (json!({"credential": "cut"}), "passed/cut: it is empty"),
            (json!({"credential": "empty"}), "fallback/empty: it is empty"),
            (json!({"credential": "binary"}), "fallback/binary: it is not UTF-8"),
            (json!({"credential": "big"}), "fallback/big: it is larger than 64 KiB"),
            (json!({"credential": "directory"}), "fallback/directory is no regular file"),
            (json!({"env": "NONE"}), "the daemon has no such environment variable"),
            (json!({"env": "A=B"}), "this cannot be the name of an environment variable"),
            (json!({"file": "db"}), "its path is not absolute"),
        ] {
            let config = json!({"a": [reference], "b": reference});
            let errors = resolve(&config, &place.sources).unwrap_err();
            assert_eq!(errors.len(), 2, "{reference}");
            let shown = errors[0].to_string();
            assert!(shown.starts_with("a[0]: the secret of ") && shown.ends_with(reason), "{shown}");
            assert!(!format!("{shown} {errors:?}").contains("hunter2"), "{shown}");
        }
    }
}
