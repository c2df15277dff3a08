//! `NAME.plugin.json`: how an external plugin is started.
//!
//! Inputs: the path and bytes of the file, both found trustworthy. Outputs: a [`Manifest`] with every path
//! absolute, or a refusal that names file and JSON path. Must never run anything, or quote a value of `env`.

use crate::host::instance::Abilities;
use crate::host::refusal::Refusal;
use crate::host::trust;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs named without a slash are looked for, and the PATH of every plugin process.
pub const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest time a plugin may take to start, seconds.
const STARTUP_TIMEOUT_SECONDS_MAX: f64 = 600.0;

/// How an external plugin is started.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The plugin's name; that of the file.
    pub name: String,
    /// The plugin's version, for people.
    pub version: String,
    /// What it does, one sentence.
    #[serde(default)]
    pub description: String,
    /// Program and arguments; not a shell's command line.
    pub command: Vec<String>,
    /// JSON Schema of the configuration.
    #[serde(default)]
    pub config_schema: Option<Value>,
    /// Environment besides PATH, LANG and HOME, which it may replace.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Where the process starts; `/` when absent.
    #[serde(default)]
    pub working_directory: Option<PathBuf>,
    /// Whether the plugin puts back what an event had it change: it is given the withdrawal of every event it takes.
    #[serde(default)]
    pub undo: bool,
    /// Whether it knows drills (member `drill` of the event), and does in one only what can be undone.
    #[serde(default)]
    pub drill: bool,
    /// How long `initialize` may take, seconds.
    #[serde(default = "startup_timeout_seconds")]
    pub startup_timeout_seconds: f64,
    /// The file that is run: `command[0]` found, links resolved.
    #[serde(skip)]
    program: PathBuf,
}

/// Without `env`: a key of an API may stand in it.
impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest").field("name", &self.name).field("command", &self.command).finish_non_exhaustive()
    }
}

const fn startup_timeout_seconds() -> f64 {
    10.0
}

impl Manifest {
    /// What the plugin can do beyond handling an event.
    pub fn abilities(&self) -> Abilities {
        Abilities { undo: self.undo, drill: self.drill }
    }

    /// Reads the manifest in the file `path` and finds the program and script that it names. A first word
    /// with a slash is a path from the manifest's directory, one without is looked up in
    /// [`PROGRAM_PATH`]; the first further word that names a file beside the manifest is the script.
    ///
    /// # Errors
    /// MANIFEST with file, JSON path, found and expected; NAME; PERMISSIONS and IO of program or script.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Refusal> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let mut manifest: Self =
            serde_path_to_error::deserialize(&mut json).map_err(|error| parse_fault(path, &error))?;
        json.end().map_err(|error| fault(path, &format!("after the object: {error}")))?;
        manifest.check(path)?;
        let expected = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".plugin.json"));
        if let Some(expected) = expected.filter(|e| *e != manifest.name) {
            return Err(Refusal::Name { expected: expected.to_owned(), found: vec![manifest.name] });
        }
        let base = path.parent().map(Path::canonicalize).transpose().map_err(|e| Refusal::Io(e.to_string()))?;
        manifest.resolve(path, &base.unwrap_or_default())?;
        Ok(manifest)
    }

    /// The file to run; `command[0]` is only what it is told it was called.
    pub fn program(&self) -> &Path {
        &self.program
    }

    fn check(&self, path: &Path) -> Result<(), Refusal> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(fault(path, "command: found nothing, expected a program and its arguments"));
        }
        if let Some(index) = self.command.iter().position(|word| word.contains('\0')) {
            return Err(fault(path, &format!("command[{index}]: found a NUL character, expected text without")));
        }
        let bad_key = |key: &str| key.is_empty() || key.contains(['=', '\0']);
        if let Some((key, _)) = self.env.iter().find(|(key, value)| bad_key(key) || value.contains('\0')) {
            let text = format!("env.{}: found '=', NUL or no name, expected a name and a text", key.escape_debug());
            return Err(fault(path, &text));
        }
        if let Some(directory) = self.working_directory.as_deref().filter(|d| !d.is_absolute() || !d.is_dir()) {
            let found = directory.display();
            return Err(fault(
                path,
                &format!("working_directory: found {found}, expected an absolute, existing directory"),
            ));
        }
        let seconds = self.startup_timeout_seconds;
        if !(seconds > 0.0 && seconds <= STARTUP_TIMEOUT_SECONDS_MAX) {
            let limit = STARTUP_TIMEOUT_SECONDS_MAX;
            let text = format!("startup_timeout_seconds: found {seconds}, expected more than 0 and at most {limit}");
            return Err(fault(path, &text));
        }
        Ok(())
    }

    fn resolve(&mut self, path: &Path, base: &Path) -> Result<(), Refusal> {
        let Some((first, rest)) = self.command.split_first_mut() else { return Ok(()) };
        let program = if first.contains('/') {
            base.join(&*first)
        } else {
            let found = PROGRAM_PATH.split(':').map(|d| Path::new(d).join(&*first)).find(|p| p.is_file());
            found.ok_or_else(|| fault(path, &format!("command[0]: found '{first}', which is not in {PROGRAM_PATH}")))?
        };
        let trusted = trust::open(&program, None)?;
        let mode = trusted.file.metadata().map_err(|e| Refusal::Io(e.to_string()))?.permissions().mode();
        if mode & 0o111 == 0 {
            return Err(fault(
                path,
                &format!("command[0]: {} is not executable (mode {:04o})", program.display(), mode & 0o7777),
            ));
        }
        // A virtual environment's interpreter is a link that finds its packages by the name it is called
        // by, so it keeps that name; what is run is the file that was checked.
        *first = program.to_string_lossy().into_owned();
        self.program = trusted.path;
        if let Some(script) = rest.iter_mut().find(|word| base.join(word.as_str()).is_file()) {
            let trusted = trust::open(&base.join(script.as_str()), None)?;
            *script = trusted.path.to_string_lossy().into_owned();
        }
        Ok(())
    }
}

fn fault(path: &Path, text: &str) -> Refusal {
    Refusal::Manifest(format!("{}: {text}", path.display()))
}

fn parse_fault(path: &Path, error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let place = error.path().to_string();
    if place.starts_with("env") && error.inner().is_data() {
        // The library's own words would quote the value.
        return fault(path, &format!("{place}: found another type, expected texts by name"));
    }
    // The library's names of the whole file, before and after its first brace.
    let at = if place == "." || place == "?" { String::new() } else { format!("{place}: ") };
    fault(path, &format!("{at}{}", error.inner()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("tempdir");
            fs::write(dir.path().join("app.py"), "pass").expect("written");
            fs::set_permissions(dir.path().join("app.py"), fs::Permissions::from_mode(0o644)).expect("mode");
            Self(dir)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().expect("there").join(name)
        }

        fn parse(&self, change: &Value) -> Result<Manifest, Refusal> {
            let mut manifest = json!({ "name": "app", "version": "1", "command": ["sh", "app.py"] });
            manifest.as_object_mut().expect("object").extend(change.as_object().expect("object").clone());
            Manifest::parse(&self.path("app.plugin.json"), manifest.to_string().as_bytes())
        }

        fn refused(&self, change: &Value) -> String {
            self.parse(change).expect_err("refused").to_string()
        }
    }

    #[test]
    fn programs_come_from_the_fixed_path_and_scripts_from_beside_the_manifest() {
        let place = Place::new();
        let manifest = place.parse(&json!({})).expect("taken");
        assert!(manifest.command[0].ends_with("/sh") && manifest.program().is_absolute(), "{manifest:?}");
        assert_eq!(manifest.command[1], place.path("app.py").to_string_lossy());
        assert!((manifest.startup_timeout_seconds - 10.0).abs() < f64::EPSILON);
        let words = place.parse(&json!({ "command": ["sh", "-u", "./app.py", "none.py"] })).expect("taken").command;
        assert_eq!(words[1..], ["-u".into(), place.path("app.py").to_string_lossy().into_owned(), "none.py".into()]);
    }

    #[test]
    fn a_linked_program_keeps_its_name_and_runs_the_file_that_was_checked() {
        let place = Place::new();
        symlink("/bin/sh", place.path("python")).expect("linked");
        let manifest = place.parse(&json!({ "command": ["./python"] })).expect("taken");
        assert_eq!(manifest.program(), Path::new("/bin/sh").canonicalize().expect("there"));
        assert!(manifest.command[0].ends_with("/python"), "{manifest:?}");
    }

    #[test]
    fn faults_name_file_path_found_and_expected() {
        let place = Place::new();
        let cases = [
            (json!({ "commands": [] }), "unknown field `commands`"),
            (json!({ "command": [] }), "command: found nothing"),
            (json!({ "command": ["sh", 5] }), "command[1]: invalid type: integer `5`, expected a string"),
            (json!({ "command": ["no-such-program"] }), "command[0]: found 'no-such-program'"),
            (json!({ "command": ["./app.py"] }), "app.py is not executable (mode 0644)"),
            (json!({ "startup_timeout_seconds": 0 }), "startup_timeout_seconds: found 0, expected more than 0"),
            (json!({ "working_directory": "relative" }), "working_directory: found relative, expected an absolute"),
            (json!({ "env": { "A=B": "c" } }), "env.A=B: found '='"),
        ];
        for (change, expected) in cases {
            let text = place.refused(&change);
            assert!(text.contains("app.plugin.json: ") && text.contains(expected), "{text}");
        }
        let text = Manifest::parse(&place.path("app.plugin.json"), b"{").expect_err("refused").to_string();
        assert!(text.contains("app.plugin.json: EOF while parsing"), "{text}");
    }

    #[test]
    fn values_of_the_environment_are_never_quoted() {
        let place = Place::new();
        for env in [json!("hunter2"), json!({ "K": ["hunter2"] }), json!({ "K": { "hunter2": 1 } })] {
            let text = place.refused(&json!({ "env": env }));
            assert!(text.contains("expected texts by name") && !text.contains("hunter2"), "{text}");
        }
        let manifest = place.parse(&json!({ "env": { "K": "hunter2" } })).expect("taken");
        assert!(!format!("{manifest:?}").contains("hunter2"));
    }

    #[test]
    fn another_name_than_the_files_is_refused() {
        let place = Place::new();
        let refused = place.parse(&json!({ "name": "other" })).expect_err("refused");
        assert_eq!(refused, Refusal::Name { expected: "app".into(), found: vec!["other".into()] });
    }

    #[test]
    fn a_program_or_script_that_others_may_write_is_refused() {
        let place = Place::new();
        fs::set_permissions(place.path("app.py"), fs::Permissions::from_mode(0o666)).expect("mode");
        assert_eq!(place.parse(&json!({})).expect_err("refused").code(), "PERMISSIONS");
        fs::set_permissions(place.path("app.py"), fs::Permissions::from_mode(0o777)).expect("mode");
        let refused = place.parse(&json!({ "command": ["./app.py"] })).expect_err("refused");
        assert_eq!(refused.code(), "PERMISSIONS");
    }
}
