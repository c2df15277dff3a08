//! Simple plugins for tests of the daemon around them.
//!
//! Responsibilities: build them into a directory of the test's own, make the daemon that finds them, read what they
//! recorded, hold them up by a gate. Inputs: the sources in `plugins/simple`. Outputs: libraries, journals. Must never
//! decide what is right.

pub mod application;
pub mod leaks;
pub mod notify;
pub mod possessions;
pub mod socket;

use harness::daemon::{Daemon, DaemonBuilder};
use harness::program::Output;
use harness::{paths, program, wait};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take that is expected to happen; generous, because a busy machine is not what tests are about.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with plugins, their journals and their gates.
#[derive(Debug)]
pub struct Plugins(TempDir);

impl Plugins {
    /// A directory with a `recorder` of each of these names.
    ///
    /// # Panics
    /// Without a C compiler: whoever built the workspace has one (SQLite is built from its source).
    pub fn recorders(names: &[&str]) -> Self {
        let plugins = Self::empty();
        for name in names {
            plugins.build("recorder", name);
        }
        plugins
    }

    /// A directory without plugins.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    pub fn empty() -> Self {
        let directory = tempfile::Builder::new().prefix("snz-plugins-").tempdir().expect("a temporary directory");
        Self(directory)
    }

    /// Builds `plugins/simple/SOURCE.c` as the plugin `name`.
    ///
    /// # Panics
    /// When the compiler refuses it: with the compiler's words.
    pub fn build(&self, source: &str, name: &str) -> PathBuf {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let library = self.file(&format!("{name}.so"));
        let mut command = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        command
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared"])
            .args(["-Wl,-z,defs,-z,now,-z,relro,-z,noexecstack,-z,nodelete"])
            .arg(format!("-DPLUGIN_NAME=\"{name}\""))
            .arg("-I")
            .arg(here.join("../../include"))
            .arg(here.join("plugins/simple").join(format!("{source}.c")))
            .arg("-o")
            .arg(&library);
        program::run(&mut command, PATIENCE).and_then(|output| output.success("the C compiler")).expect("it compiles");
        library
    }

    /// The plugin `outside`, a Python program in a process of its own. None, loudly, on a machine without Python.
    ///
    /// # Panics
    /// When the manifest cannot be written.
    pub fn outside(&self) -> Option<PathBuf> {
        let Some(python) = python() else {
            harness::require::missing_means_skip("the plugin in a process of its own: there is no python3");
            return None;
        };
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = json!({
            "name": "outside", "version": "1.0.0", "description": "Tells everything it knows",
            "command": [python, here.join("plugins/simple/outside.py")],
            "env": {"PYTHONPATH": here.join("../../plugins/python/src"), "PYTHONDONTWRITEBYTECODE": "1"},
        });
        let file = self.file("outside.plugin.json");
        std::fs::write(&file, manifest.to_string()).expect("the manifest is written");
        Some(file)
    }

    /// A file in the directory; it need not exist.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The journal that recorders with [`Self::config`] write.
    pub fn journal(&self) -> Journal {
        Journal(self.file("journal"))
    }

    /// The settings of a recorder that tells this tag.
    pub fn config(&self, tag: &str) -> Value {
        json!({"file": self.journal().0, "tag": tag})
    }

    /// The same, held up until [`open`] is called with the gate of this name.
    pub fn gated(&self, tag: &str, gate: &str) -> Value {
        json!({"file": self.journal().0, "tag": tag, "gate": self.file(gate)})
    }

    /// Lets the recorders behind the gate go on.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn open(&self, gate: &str) {
        std::fs::write(self.file(gate), "").expect("the gate opens");
    }

    /// A daemon that finds these plugins, with this configuration.
    ///
    /// # Panics
    /// When the programs have not been built.
    pub fn daemon(&self, config: Value) -> DaemonBuilder {
        DaemonBuilder::new(bin_dir()).plugin_directory(self.directory()).config(config)
    }
}

/// The directory of the programs under test.
///
/// # Panics
/// When they have not been built: with what to do.
pub fn bin_dir() -> PathBuf {
    paths::bin_dir().unwrap_or_else(|error| panic!("{error}"))
}

/// A real interpreter: a wrapper that reads the user's settings finds none in a plugin's environment.
fn python() -> Option<PathBuf> {
    let found = program::find("python3")?;
    let mut command = Command::new(found);
    let told = program::run(command.args(["-c", "import sys; print(sys.executable)"]), PATIENCE);
    Some(told.ok()?.success("python3").ok()?.trim().into())
}

/// Runs the daemon's own program to its end; for configurations that it refuses.
///
/// # Panics
/// When it does not end.
pub fn snoozed(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let program = paths::program(&bin_dir(), "snoozed").expect("it is built");
    let mut command = Command::new(program);
    program::run(command.args(args).envs(environment.iter().copied()), PATIENCE).expect("snoozed ends")
}

/// What recorders wrote.
#[derive(Clone, Debug)]
pub struct Journal(PathBuf);

impl Journal {
    /// Every line so far.
    ///
    /// # Panics
    /// When a line is not JSON.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The lines as `TAG WHAT`, in order.
    pub fn story(&self) -> Vec<String> {
        let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        self.lines().iter().map(|line| format!("{} {}", word(line, "tag"), word(line, "what"))).collect()
    }

    /// The lines that say `TAG WHAT`.
    pub fn all(&self, story: &str) -> Vec<Value> {
        let is_one =
            |line: &Value| story.split_once(' ').is_some_and(|(tag, what)| line["tag"] == tag && line["what"] == what);
        self.lines().into_iter().filter(is_one).collect()
    }

    /// Waits until there are `count` lines that say `TAG WHAT`, and gives the last one.
    ///
    /// # Panics
    /// When they do not come: with what there is.
    pub fn wait(&self, count: usize, story: &str) -> Value {
        let found =
            wait::until(&format!("{count} times '{story}'"), PATIENCE, || self.all(story).into_iter().nth(count - 1));
        found.unwrap_or_else(|error| panic!("{error}; there is {:?}", self.story()))
    }
}

/// Has the daemon make an event up and gives its id.
///
/// # Panics
/// When it refuses.
pub fn simulate(daemon: &Daemon, event_type: &str, more: &[&str]) -> String {
    let mut args = vec!["simulate", event_type, "--json"];
    args.extend(more);
    let told = daemon.snooze_json(&args).unwrap_or_else(|error| panic!("{error}"));
    told["event_id"].as_str().expect("an id").to_owned()
}

/// Waits until the event of this id is over and gives its report.
///
/// # Panics
/// When it does not end: with its report as it stands.
pub fn finished(daemon: &Daemon, id: &str) -> Value {
    let mut last = String::new();
    let report = wait::until(&format!("the end of event {id}"), PATIENCE, || {
        // Just after it was made there is no report yet.
        match daemon.snooze_json(&["report", id, "--json"]) {
            Ok(report) if report["state"] != "running" => Some(report),
            other => {
                last = format!("{other:?}");
                None
            }
        }
    });
    report.unwrap_or_else(|error| panic!("{error}: {last}\n{}", daemon.log_tail()))
}

/// The events that the daemon knows, newest first.
///
/// # Panics
/// When it does not answer.
pub fn events(daemon: &Daemon) -> Vec<Value> {
    let told = daemon.snooze_json(&["events", "--json", "--limit", "1000"]).unwrap_or_else(|error| panic!("{error}"));
    told["events"].as_array().expect("a list").clone()
}

/// Waits until the daemon's status is as wanted and gives it.
///
/// # Panics
/// When it never is: with the status as it is.
pub fn status_when(daemon: &Daemon, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = wait::until(what, PATIENCE, || {
        last = daemon.snooze_json(&["status", "--json"]).unwrap_or_else(|error| panic!("{error}"));
        wanted(&last).then(|| last.clone())
    });
    found.unwrap_or_else(|error| panic!("{error}; the status is {last:#}"))
}

/// The configuration of one handler for one key.
pub fn handles(key: &str, plugin: &str, config: &Value) -> Value {
    json!({"event_handlers": {key: {"plugins": [{"name": plugin, "timeout_seconds": 60, "config": config}]}}})
}
