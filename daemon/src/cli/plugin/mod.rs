//! `snooze plugin`: which plugins there are, what they are, whether one works.
//!
//! Inputs: plugin files. Outputs: lists, steps and verdicts. Needs no daemon. Must never hand a plugin an event in
//! this process: `load-test` stops short of it, `verify` does it elsewhere.

mod load_test;
mod verify;

use super::fault::{Exit, Fault, Outcome};
use super::paint::{Paint, Tone};
use super::render::{cut, facts, lines, plain, table, value};
use super::session::Session;
use crate::assemble;
use crate::host::discover::{self, Found, Kind};
use crate::host::instance::{self, PluginInfo};
use crate::host::quarantine::{self, Quarantine};
use crate::host::refusal::Refusal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  snooze plugin list
  snooze plugin info mysql-flusher               what it is, which settings it takes
  snooze plugin load-test ./my-plugin.so         load, create, activate, warm up, put away
  snooze plugin load-test mysql-flusher --config-file settings.json
  snooze plugin release mysql-flusher            it ended the daemon: let it be loaded again
  snooze plugin verify ./my-plugin.so            everything that can go wrong, each in a process of its own

Plugins are looked for in the directories of the setting 'plugin_directories', or those built in. A plugin runs \
with the daemon's rights: its file and every directory above it must belong to root or the daemon's user.";

/// List plugins, describe one, or try one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Info(Info),
    LoadTest(load_test::Args),
    Release(Release),
    Verify(verify::Args),
    VerifyChild(verify::ChildArgs),
}

/// List every plugin that can be found, with the reason where one is refused.
#[derive(Debug, clap::Args)]
struct List {}

/// Say what a plugin is and which settings it takes.
#[derive(Debug, clap::Args)]
struct Info {
    /// Name of the plugin, or its file.
    #[arg(value_name = "NAME|FILE")]
    plugin: String,
}

/// Let a plugin be loaded again that ended the daemon: at the next reload or start.
#[derive(Debug, clap::Args)]
struct Release {
    /// Name of the plugin.
    #[arg(value_name = "NAME")]
    plugin: String,
}

/// Runs the command.
///
/// # Errors
/// There is no such plugin.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    match &args.command {
        Command::List(_) => list(session),
        Command::Info(args) => info(args, session),
        Command::LoadTest(args) => load_test::run(args, session),
        Command::Release(args) => release(args, session),
        Command::Verify(args) => verify::run(args, session),
        Command::VerifyChild(args) => verify::run_child(args),
    }
}

fn release(args: &Release, session: &mut Session<'_>) -> Outcome {
    let path = session.configuration_or_default()?.state_directory.join(quarantine::FILE);
    let done = Quarantine::open(&path).and_then(|mut all| Ok((all.release(&args.plugin)?, all)));
    let (was_in, all) = done.map_err(Fault::InputOutput)?;
    if session.global.json {
        session.print_json(&json!({ "plugin": args.plugin, "released": was_in, "left": all.entries() }))?;
        return Ok(if was_in { Exit::Ok } else { Exit::Bad });
    }
    if !was_in {
        let names: Vec<&str> = all.entries().iter().map(|entry| entry.plugin.as_str()).collect();
        let others = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        session.note(&format!("{} is not in quarantine; in it: {others}", args.plugin));
        return Ok(Exit::Bad);
    }
    session.note(&format!("{} is released: snooze reload, or a restart, loads it again", args.plugin));
    Ok(Exit::Ok)
}

fn list(session: &mut Session<'_>) -> Outcome {
    let directories = assemble::directories(&session.configuration_or_default()?);
    let plugins: Vec<_> =
        discover::list(&directories).into_iter().map(|found| (instance::inspect(&found), found)).collect();
    if session.global.json {
        let all: Vec<Value> = plugins.iter().map(|(read, found)| as_json(found, read)).collect();
        session.print_json(&json!({ "directories": directories, "plugins": all }))?;
        return Ok(Exit::Ok);
    }
    if plugins.is_empty() {
        let searched: Vec<String> = directories.iter().map(|d| d.display().to_string()).collect();
        session.note(&format!("no plugin in {}", searched.join(", ")));
        return Ok(Exit::Ok);
    }
    let mut table = table(session.paint, session.width, &["PLUGIN", "KIND", "VERSION", "WHAT IT DOES"], &[]);
    for (read, found) in &plugins {
        let (tone, version, text) = match read {
            Ok(info) => (Tone::Plain, plain(&info.version), plain(&info.description)),
            Err(refusal) => {
                (Tone::Bad, "-".into(), format!("refused ({}): {}", refusal.code(), plain(&refusal.to_string())))
            }
        };
        let name = session.paint.cell(Tone::Plain, plain(&found.name));
        let kind = session.paint.cell(Tone::Plain, kind(found.kind));
        table.add_row([name, kind, session.paint.cell(Tone::Plain, version), session.paint.cell(tone, text)]);
    }
    session.print(&lines(&table))?;
    Ok(Exit::Ok)
}

fn as_json(found: &Found, read: &Result<PluginInfo, Refusal>) -> Value {
    match read {
        Ok(info) => json!(info),
        Err(refusal) => json!({
            "name": found.name, "path": found.path, "kind": found.kind,
            "refused": { "code": refusal.code(), "reason": refusal.to_string() },
        }),
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Native => "native",
        Kind::External => "external",
    }
}

fn info(args: &Info, session: &mut Session<'_>) -> Outcome {
    let found = find(&args.plugin, session)?;
    let read = instance::inspect(&found);
    if session.global.json {
        session.print_json(&as_json(&found, &read))?;
    } else if let Ok(info) = &read {
        let text = screen(info, session.paint, session.width);
        session.print(&text)?;
    }
    match read {
        Ok(_) => Ok(Exit::Ok),
        Err(refusal) => Err(refused(&found.path, &refusal)),
    }
}

/// The plugin meant by a name or a file.
///
/// # Errors
/// There is none.
fn find(plugin: &str, session: &Session<'_>) -> Result<Found, Fault> {
    let path = Path::new(plugin);
    if path.components().count() > 1 || path.is_file() {
        let path = std::path::absolute(path).map_err(|error| Fault::reading(path, &error))?;
        if let Err(error) = path.metadata() {
            return Err(Fault::reading(&path, &error));
        }
        let wrong =
            || Fault::Usage(format!("{plugin} is not named like a plugin: expected NAME.so or NAME.plugin.json"));
        return discover::of_path(&path).ok_or_else(wrong);
    }
    let directories: Vec<PathBuf> = assemble::directories(&session.configuration_or_default()?);
    discover::find(plugin, &directories).map_err(|refusal| Fault::Missing(refusal.to_string()))
}

fn refused(path: &Path, refusal: &Refusal) -> Fault {
    let message = format!("{} was refused ({}): {}", path.display(), refusal.code(), plain(&refusal.to_string()));
    match refusal {
        Refusal::Permissions { .. } => Fault::Forbidden(message),
        _ => Fault::Refused { status: 422, message, details: Vec::new() },
    }
}

fn screen(info: &PluginInfo, paint: Paint, width: u16) -> String {
    let name = paint.text(Tone::Strong, &plain(&info.name));
    let mut text = format!("{name} {}: {}\n", plain(&info.version), plain(&info.description));
    let mut list = vec![
        ("file", info.path.display().to_string()),
        ("sha256", info.sha256.clone()),
        ("kind", format!("{} (ABI {})", kind(info.kind), plain(&info.abi))),
        ("command", info.command.as_ref().map_or_else(String::new, |command| plain(&command.join(" ")))),
    ];
    if let Some(class) = &info.class {
        list.push(("id", plain(&class.id)));
        list.push(("made by", plain(&class.vendor)));
        list.push(("license", plain(&class.license)));
        list.push(("built with", plain(&class.sdk)));
        list.push(("can", class.capabilities.join(", ")));
    }
    text += &facts(paint, &list);
    text + &info.config_schema.as_ref().map_or_else(String::new, |schema| settings(schema, paint, width))
}

/// The settings that the plugin's schema names. What a table cannot show is in `--json`.
fn settings(schema: &Value, paint: Paint, width: u16) -> String {
    let Some(members) = schema["properties"].as_object().filter(|members| !members.is_empty()) else {
        return "\nIt takes no settings.\n".into();
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut table = table(paint, width, &["SETTING", "TYPE", "DEFAULT", "MEANING"], &[]);
    for (name, member) in members {
        let default = match member.get("default") {
            Some(default) => cut(&value(default), 24),
            None if required.contains(&name.as_str()) => "(required)".into(),
            None => "-".into(),
        };
        let kind = member.get("type").or_else(|| member.get("enum")).map_or_else(|| "any".into(), value);
        let meaning = member["description"].as_str().map(plain).unwrap_or_default();
        table.add_row([plain(name), kind, default, meaning].map(|text| paint.cell(Tone::Plain, text)));
    }
    format!("\n{}", lines(&table))
}
