//! `snooze plugin load-test`: everything up to the first event, step by step.
//!
//! Inputs: a plugin, a configuration for it. Outputs: one line a step, with its duration. Must never show
//! a secret, nor leave an instance or a directory behind.

use super::super::duration::human;
use super::super::fault::{Exit, Fault, Outcome};
use super::super::paint::Tone;
use super::super::render::plain;
use super::super::session::Session;
use crate::config::{Scrubber, SecretSources, resolve};
use crate::host::discover::Found;
use crate::host::instance::{self, Instance, InstanceSpec};
use crate::host::refusal::Refusal;
use crate::log_ring::LogRing;
use crate::sys::clock;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Load a plugin, make an instance of it and put it away again; it gets no event.
///
/// The plugin's own code runs, with your rights: create, activate, warm up, deactivate, destroy.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File of the plugin, or its name.
    #[arg(value_name = "FILE|NAME")]
    plugin: String,

    /// Its settings: a JSON file with what would stand under "config"; left out: {}.
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
}

/// One step that was made.
struct Step {
    name: &'static str,
    duration_seconds: f64,
    /// What it showed, or why it was refused.
    result: Result<String, Refusal>,
}

/// The steps so far, and what must not be shown.
struct Steps {
    steps: Vec<Step>,
    scrubber: Scrubber,
    log: Arc<LogRing>,
}

impl Steps {
    /// Makes a step; None when it was refused.
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds, for people")]
    fn make<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, Refusal>,
        tell: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let begin = clock::boot_ns();
        let made = work();
        let duration_seconds = (clock::boot_ns() - begin) as f64 / 1e9;
        let (made, result) = match made {
            Ok(made) => {
                let told = tell(&made);
                (Some(made), Ok(told))
            }
            Err(refusal) => (None, Err(refusal)),
        };
        self.steps.push(Step { name, duration_seconds, result });
        made
    }

    fn is_well(&self) -> bool {
        self.steps.iter().all(|step| step.result.is_ok())
    }

    fn shown(&self, text: &str) -> String {
        plain(&self.scrubber.scrub(text))
    }

    fn messages(&self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.log.pop());
        lines.map(|line| self.shown(line.text())).collect()
    }
}

/// Runs the command.
///
/// # Errors
/// Plugin or settings cannot be found or read.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let found = super::find(&args.plugin, session)?;
    let written = args.config_file.as_deref().map_or_else(|| Ok(json!({})), settings)?;
    let resolved = resolve(&written, &SecretSources::system()).map_err(|errors| Fault::Configuration {
        message: "a secret cannot be read".into(),
        details: errors.iter().map(ToString::to_string).collect(),
    });
    let (config, secrets) = resolved?;
    let log = Arc::new(LogRing::new(cloudsnooze_abi::SNOOZE_LOG_DEBUG));
    let mut steps = Steps { steps: Vec::new(), scrubber: Scrubber::new(&secrets, [&config]), log };
    let state = StateDirectory::make()?;
    test(&found, config, &state.0, &mut steps);
    let messages = steps.messages();
    tell(&found, &steps, &messages, session)?;
    Ok(Exit::when(steps.is_well()))
}

/// The settings in a file.
///
/// # Errors
/// It cannot be read, or holds no JSON object.
pub(super) fn settings(file: &Path) -> Result<Value, Fault> {
    let text = std::fs::read_to_string(file).map_err(|error| Fault::reading(file, &error))?;
    let wrong =
        |what: String| Fault::Configuration { message: format!("{}: {what}", file.display()), details: Vec::new() };
    // The decoder's words name a place, never a value: the text is not decoded into a type.
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(format!("not JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(wrong("expected an object with the plugin's settings".into())) }
}

fn test(found: &Found, config: Value, state_dir: &Path, steps: &mut Steps) {
    let described = |info: &instance::PluginInfo| format!("{} {}, ABI {}", info.name, info.version, info.abi);
    let Some(_) = steps.make("read and load", || instance::inspect(found), described) else { return };
    let spec = InstanceSpec {
        name: format!("load-test/{}", found.name),
        config,
        sha256: None,
        state_dir: state_dir.to_owned(),
        isolation: None,
    };
    let checked = steps.make("check settings", || instance::check(found, &spec), |()| "accepted".into());
    let Some(()) = checked else { return };
    let log = Arc::clone(&steps.log);
    let made = steps.make("create and activate", || Instance::make(found, &spec, &log), |instance| taken(instance));
    let Some(instance) = made else { return };
    steps.make(
        "warm up",
        || {
            instance.warm_up();
            Ok(())
        },
        |()| String::new(),
    );
    steps.make(
        "deactivate and destroy",
        || {
            instance.retire();
            Ok(())
        },
        |()| String::new(),
    );
}

/// Which types it takes.
fn taken(instance: &Instance) -> String {
    let kinds: Vec<String> = instance.subscriptions().into_iter().flat_map(|s| s.kinds).collect();
    if kinds.is_empty() { "takes whatever it is sent".into() } else { format!("takes {}", kinds.join(", ")) }
}

fn tell(found: &Found, steps: &Steps, messages: &[String], session: &mut Session<'_>) -> Result<(), Fault> {
    if session.global.json {
        let one = |step: &Step| {
            let refused = step.result.as_ref().err();
            json!({
                "step": step.name, "ok": refused.is_none(), "duration_seconds": step.duration_seconds,
                "result": step.result.as_ref().ok().map(|text| steps.shown(text)),
                "refused": refused.map(|r| json!({ "code": r.code(), "reason": steps.shown(&r.to_string()) })),
            })
        };
        let all: Vec<Value> = steps.steps.iter().map(one).collect();
        return session.print_json(
            &json!({ "plugin": found.name, "path": found.path, "ok": steps.is_well(), "steps": all, "messages": messages }),
        );
    }
    let paint = session.paint;
    let mut text = format!("{}\n", found.path.display());
    for step in &steps.steps {
        let (mark, told) = match &step.result {
            Ok(told) => (paint.text(Tone::Good, "✓"), steps.shown(told)),
            Err(refusal) => {
                let reason = steps.shown(&refusal.to_string());
                (paint.text(Tone::Bad, "✗"), format!("refused ({}): {reason}", refusal.code()))
            }
        };
        let line = format!("  {mark} {:<22}  {:>8}  {told}", step.name, human(step.duration_seconds));
        text += &format!("{}\n", line.trim_end());
    }
    for message in messages {
        text += &format!("    {} {message}\n", paint.text(Tone::Dim, "it says:"));
    }
    session.print(&text)
}

/// A directory of the plugin's own that goes away with the test.
pub(super) struct StateDirectory(pub(super) PathBuf);

impl StateDirectory {
    /// A fresh one.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn make() -> Result<Self, Fault> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("snooze-load-test-{}", uuid::Uuid::now_v7()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Fault::InputOutput(format!("cannot make the directory {}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for StateDirectory {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
