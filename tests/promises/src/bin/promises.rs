//! `promises`: runs what measures, and says of each promise whether it is kept.
//!
//! Inputs: options, `promises.toml`. Outputs: a table or JSON, `target/promises/all.json`; exit status 1 when a promise is not
//! kept or was not measured. Must never judge by a figure that its command did not write in this run, unless told to.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use anyhow::{Context, Result, bail};
use clap::Parser;
use comfy_table::{Table, presets};
use promises::verdict::{Verdict, judge};
use promises::{Command, Promise, Promises};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Measures what the project promises and says whether it is kept. Needs the repository's root as working directory. Give the
/// machine nothing else to do.
#[derive(Debug, Parser)]
#[command(name = "promises", max_term_width = 100)]
struct Options {
    /// These commands only, by their names in promises.toml.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    only: Vec<String>,
    /// Measure nothing: judge the figures that stand in target/promises.
    #[arg(long)]
    judge: bool,
    /// Print JSON in place of a table.
    #[arg(long)]
    json: bool,
    /// The directory of the figures [default: promises in cargo's target directory]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let promises = promises::promises()?;
    if let Some(unknown) = options.only.iter().find(|name| !promises.commands.contains_key(*name)) {
        let known: Vec<&str> = promises.commands.keys().map(String::as_str).collect();
        bail!("--only {unknown}: no such command; there are {}", known.join(", "));
    }
    let is_wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let from = options.from.clone().unwrap_or_else(|| target.join("promises"));
    let wanted: Vec<(&String, &Command)> = promises.commands.iter().filter(|(name, _)| is_wanted(name)).collect();
    let mut documents = BTreeMap::new();
    for (number, (name, command)) in wanted.iter().enumerate() {
        if !options.judge {
            eprintln!("[{}/{}] {name}, about {} min: {}", number + 1, wanted.len(), command.minutes, command.run);
        }
        documents.insert((*name).clone(), document(&from, command, options.judge));
    }
    let judged: Vec<(&Promise, Verdict)> =
        promises.all.iter().filter(|p| is_wanted(&p.command)).map(|p| (p, verdict(p, &promises, &documents))).collect();
    let all = report(&judged, &promises);
    std::fs::create_dir_all(&from).with_context(|| from.display().to_string())?;
    std::fs::write(from.join("all.json"), format!("{all:#}\n")).context("all.json")?;
    if options.json {
        println!("{all:#}");
    } else {
        print(&judged, &promises);
    }
    let is_green = judged.iter().all(|(_, verdict)| verdict.is_kept());
    Ok(if is_green { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a command, unless told to judge only, and reads what it wrote. A command that fails may have found its limits broken:
/// what it wrote counts all the same.
fn document(from: &Path, command: &Command, judge_only: bool) -> Result<Value, String> {
    let file = from.join(&command.file);
    if !judge_only {
        if let Err(error) = std::fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(format!("{}: {error}", file.display()));
        }
        let started = Instant::now();
        // Its output is for who watches; the table alone goes to standard output.
        let status = std::process::Command::new("sh").args(["-c", &format!("{} 1>&2", command.run)]).status();
        let status = status.map_err(|error| format!("cannot run `{}`: {error}", command.run))?;
        eprintln!("      {status} after {:.0} s", started.elapsed().as_secs_f64());
    }
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn verdict(promise: &Promise, promises: &Promises, documents: &BTreeMap<String, Result<Value, String>>) -> Verdict {
    match promises.commands.get(&promise.command).zip(documents.get(&promise.command)) {
        Some((command, Ok(document))) => judge(promise, command, document),
        Some((_, Err(reason))) => Verdict::NotMeasured { reason: reason.clone() },
        None => Verdict::NotMeasured { reason: "its command did not run".into() },
    }
}

fn report(judged: &[(&Promise, Verdict)], promises: &Promises) -> Value {
    let one = |(promise, verdict): &(&Promise, Verdict)| {
        let mut entry = json!({
            "promise": promise.name, "about": promise.about, "limit": promise.limit(), "figure": promise.figure,
            "command": promises.commands.get(&promise.command).map(|command| &command.run),
        });
        if let (Some(entry), Ok(Value::Object(verdict))) = (entry.as_object_mut(), serde_json::to_value(verdict)) {
            entry.extend(verdict);
        }
        entry
    };
    json!(judged.iter().map(one).collect::<Vec<_>>())
}

fn print(judged: &[(&Promise, Verdict)], promises: &Promises) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["promise", "limit", "measured", "verdict", "command"]);
    for (promise, verdict) in judged {
        let (measured, word) = match verdict {
            Verdict::Kept { measured } => (format!("{measured:.3}"), "kept".to_owned()),
            Verdict::Broken { measured } => (format!("{measured:.3}"), "BROKEN".to_owned()),
            Verdict::NotMeasured { reason } => ("-".to_owned(), format!("NOT MEASURED: {reason}")),
        };
        let run = promises.commands.get(&promise.command).map_or("", |command| command.run.as_str());
        table.add_row([promise.name.as_str(), &promise.limit(), &measured, &word, run]);
    }
    println!("{table}");
    let kept = judged.iter().filter(|(_, verdict)| verdict.is_kept()).count();
    println!("\n{kept} of {} promises are kept.", judged.len());
}
