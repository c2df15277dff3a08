//! `snooze config`: looks at a configuration without the daemon.
//!
//! Inputs: configuration files, plugins, secrets. Outputs: every error and warning, or the schema. Must
//! never show a secret, nor open an instance of a plugin (a faultless configuration is rehearsed: created,
//! asked what it subscribes to, freed).

use super::fault::{Exit, Fault, Outcome};
use super::paint::{Paint, Tone};
use super::render::count;
use super::session::{self, Session, conf_d};
use crate::assemble;
use crate::config::{Config, ConfigError, Loaded, SecretSources, json_schema};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  snooze config check                            what the daemon would load now
  snooze config check new.json other.json        each on its own
  snooze config check new.json --conf-d /etc/cloudsnooze/conf.d
  snooze config schema > cloudsnooze.schema.json    for an editor: \"$schema\": \"./cloudsnooze.schema.json\"

Exit code 78 when something is wrong.";

/// Check a configuration, or print its schema.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(Check),
    Schema(Schema),
}

/// Say everything that is wrong or doubtful: form, meaning, plugins, their settings, secrets.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Check {
    /// Files, each checked as a configuration of its own [default: the one of --config, with its conf.d]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Directory of further files that count after the main one.
    #[arg(long, value_name = "DIR")]
    conf_d: Option<PathBuf>,

    /// Check the files only, not whether plugins and secrets are on this machine.
    #[arg(long)]
    files_only: bool,
}

/// Print the JSON Schema of the configuration.
#[derive(Debug, clap::Args)]
struct Schema {}

/// Runs the command.
///
/// # Errors
/// A configuration is wrong or cannot be read.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    match &args.command {
        Command::Schema(_) => session.print_json(&json_schema())?,
        Command::Check(check) => return checked(check, session),
    }
    Ok(Exit::Ok)
}

fn checked(args: &Check, session: &mut Session<'_>) -> Outcome {
    let files = if args.files.is_empty() { vec![session.config_path()] } else { args.files.clone() };
    let mut results = Vec::new();
    for file in &files {
        if let Err(error) = std::fs::File::open(file) {
            return Err(Fault::reading(file, &error));
        }
        let further = args.conf_d.clone().or_else(|| if args.files.is_empty() { conf_d(file) } else { None });
        results.push((file, check(file, further.as_deref(), args.files_only)));
    }
    let wrong: usize = results.iter().filter_map(|(_, result)| result.as_ref().err()).map(Vec::len).sum();
    if session.global.json {
        let results: Vec<Value> = results.iter().map(|(file, result)| as_json(file, result)).collect();
        session.print_json(&json!({ "ok": wrong == 0, "configurations": results }))?;
    } else {
        for (file, result) in &results {
            let text = screen(file, result, session.paint);
            session.print(&text)?;
        }
    }
    match wrong {
        0 => Ok(Exit::Ok),
        n => Err(Fault::Configuration { message: format!("{} found", count(n, "error")), details: Vec::new() }),
    }
}

fn check(file: &Path, conf_d: Option<&Path>, files_only: bool) -> Result<Loaded, Vec<ConfigError>> {
    let loaded = Config::load(file, conf_d)?;
    if !files_only {
        assemble::rehearse(&loaded, &SecretSources::system())?;
    }
    Ok(loaded)
}

/// How many handlers for how many types.
fn summary(config: &Config) -> String {
    let enabled = || config.event_handlers.values().filter(|h| h.enabled);
    let number = |handlers: &crate::config::EventHandlers| handlers.plugins.iter().filter(|h| h.enabled).count();
    let handlers: usize = enabled().map(number).sum();
    let types = enabled().filter(|handlers| number(handlers) > 0).count();
    format!("{} in {}", count(handlers, "handler"), count(types, "event type"))
}

fn screen(file: &Path, result: &Result<Loaded, Vec<ConfigError>>, paint: Paint) -> String {
    match result {
        Ok(loaded) => {
            let label = paint.text(Tone::Warn, "warning:");
            let warnings: String = loaded.warnings.iter().map(|warning| format!("{label} {warning}\n")).collect();
            let files: Vec<String> = loaded.files().iter().map(|file| file.display().to_string()).collect();
            format!("{warnings}{}: {}; {}\n", files.join(", "), summary(&loaded.config), paint.text(Tone::Good, "OK"))
        }
        Err(errors) => {
            let label = paint.text(Tone::Bad, "error:");
            let told: String = errors.iter().map(|error| format!("{label} {error}\n")).collect();
            format!("{told}{}: {}\n", file.display(), count(errors.len(), "error"))
        }
    }
}

fn as_json(file: &Path, result: &Result<Loaded, Vec<ConfigError>>) -> Value {
    let list = |errors: &[ConfigError]| -> Vec<Value> {
        let one = |e: &ConfigError| json!({ "file": e.file, "path": e.path, "found": e.found, "expected": e.expected, "hint": e.hint });
        errors.iter().map(one).collect()
    };
    match result {
        Ok(loaded) => json!({
            "file": file, "ok": true, "files": loaded.files(), "summary": summary(&loaded.config),
            "errors": [], "warnings": list(&loaded.warnings),
        }),
        Err(errors) => json!({ "file": file, "ok": false, "errors": list(errors), "warnings": [] }),
    }
}

/// What the doctor says of a configuration: its summary, and its warnings.
pub fn told(loaded: &Loaded) -> (String, Vec<String>) {
    (summary(&loaded.config), loaded.warnings.iter().map(ToString::to_string).collect())
}

/// The configuration with its `conf.d`, for the doctor.
///
/// # Errors
/// As [`session::load`].
pub fn load(file: &Path) -> Result<Loaded, Fault> {
    session::load(file, conf_d(file).as_deref())
}
