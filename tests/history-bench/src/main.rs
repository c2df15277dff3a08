//! `history-bench`: measures a history of as many events as a fleet makes in years.
//!
//! Inputs: options. Outputs: a table, `target/promises/history.json`. Everything goes through the code that `snooze history` and the
//! daemon use, to a file and to a real PostgreSQL; `snooze insight` is run as a program. Must never measure what it has not checked to be
//! there, nor leave its files behind.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod daemon;
mod data;
mod insight;
mod measure;
mod questions;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use cloudsnooze::history::archive::{Access, Archive, Place};
use comfy_table::{Table, presets};
use harness::postgres::{self, Postgres};
use measure::Measured;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What a view may take, milliseconds.
const LIMIT_MS: f64 = 200.0;
/// What a server of that size is given: a quarter of a small machine's memory, as PostgreSQL's own documents advise.
const SERVER: &str = "shared_buffers = 1GB\nmax_wal_size = 2GB\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum On {
    /// A file of SQLite.
    Sqlite,
    /// A server of PostgreSQL, started for it.
    Postgres,
}

/// Measures a history of many events: how fast rows come in, how long each view takes, how much room they take.
#[derive(Debug, Parser)]
#[command(name = "history-bench", max_term_width = 100)]
struct Options {
    /// Events; with them come a fifth as many deliveries, a fiftieth as many lives and a twentieth as many prices.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Questions of each view.
    #[arg(long, default_value_t = 200)]
    questions: usize,
    /// Where it is measured.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "sqlite,postgres")]
    on: Vec<On>,
    /// Directory for the files while it runs [default: that of temporary files]
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Directory for the figures [default: promises in cargo's target directory]
    #[arg(long)]
    to: Option<PathBuf>,
}

/// All figures.
#[derive(Debug, Default, Serialize)]
struct Figures {
    events: u64,
    questions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlite: Option<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postgres: Option<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon: Option<daemon::Written>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let to = options.to.clone().unwrap_or_else(|| target.join("promises"));
    std::fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
    let directory = match &options.directory {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    }
    .context("a directory for the files")?;
    let mut figures = Figures { events: options.events, questions: options.questions, ..Figures::default() };
    for on in &options.on {
        match on {
            On::Sqlite => {
                figures.daemon =
                    Some(daemon::write(&directory.path().join("daemon.sqlite"), options.events.min(20_000))?);
                let place = Place::File(directory.path().join("history.sqlite"));
                figures.sqlite = Some(measured(&place, &options, directory.path())?);
            }
            On::Postgres => figures.postgres = Some(on_server(&options, &target, directory.path())?),
        }
    }
    let file = to.join("history.json");
    std::fs::write(&file, format!("{:#}\n", json!(figures))).with_context(|| file.display().to_string())?;
    print(&figures);
    let too_slow = [&figures.sqlite, &figures.postgres].into_iter().flatten().any(|one| one.worst_p95_ms > LIMIT_MS);
    let answers = figures.sqlite.as_ref().and_then(|one| one.insight.as_ref());
    let too_slow = too_slow || answers.is_some_and(|answers| answers.worst_p95_ms > LIMIT_MS);
    // A small number shows nothing of a large one.
    if too_slow && options.events >= 1_000_000 {
        bail!("a view takes longer than {LIMIT_MS} ms (95 of 100)");
    }
    Ok(())
}

fn on_server(options: &Options, target: &Path, directory: &Path) -> Result<Measured> {
    if let Some(package) = postgres::missing() {
        bail!("PostgreSQL is not installed (Debian package {package}); --on sqlite does without");
    }
    let server = Postgres::start(SERVER, &target.join("tmp")).map_err(anyhow::Error::msg)?;
    let address =
        format!("postgres:///postgres?host={}&port={}&user=postgres", server.directory().display(), server.port());
    measured(&Place::parse(&address), options, directory)
}

fn measured(place: &Place, options: &Options, directory: &Path) -> Result<Measured> {
    let mut archive = Archive::open(place, Access::Write)?;
    eprintln!("{} events into {place}", options.events);
    let inserted = measure::insert(&mut archive, options.events, &mut |text| eprint!("\r{text}    "))?;
    eprintln!();
    archive.settle()?;
    drop(archive);
    // As somebody finds it who only looks.
    let mut archive = Archive::open(place, Access::Read)?;
    eprintln!("{} questions of each view", options.questions);
    let mut measured = measure::ask(&mut archive, options.events, options.questions, inserted)?;
    drop(archive);
    let answers = insight::ask(place, directory, options.questions, &mut |text| eprint!("\r{text:60}"))?;
    eprintln!();
    measured.insight = Some(answers);
    Ok(measured)
}

fn print(figures: &Figures) {
    for (name, one) in [("SQLite", &figures.sqlite), ("PostgreSQL", &figures.postgres)] {
        let Some(one) = one else { continue };
        println!(
            "\n{name}: {} events, {:.0} rows/s in, {:.2} GB, {:.0} bytes an event; all {} lives read in {:.2} s",
            figures.events,
            one.rows_per_second,
            one.bytes as f64 / 1e9,
            one.bytes_per_event,
            one.lives,
            one.all_lives_seconds
        );
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["view", "p50 ms", "p95 ms", "longest ms", "rows"]);
        for view in &one.views {
            let ms = |value: f64| format!("{value:.2}");
            table.add_row([
                view.name.clone(),
                ms(view.p50_ms),
                ms(view.p95_ms),
                ms(view.max_ms),
                format!("{:.0}", view.rows),
            ]);
        }
        println!("{table}");
        one.insight.iter().for_each(print_answers);
    }
    if let Some(daemon) = &figures.daemon {
        println!(
            "\nAs the daemon writes: {:.0} events/s with a commit to the disk for each {}",
            daemon.events_per_second, daemon.together
        );
    }
}

fn print_answers(answers: &insight::Answers) {
    let mut table = Table::new();
    let head = ["snooze insight", "first answer s", "kept p50 ms", "p95 ms", "longest ms", "bytes"];
    table.load_style(presets::NOTHING).set_header(head);
    for view in &answers.views {
        let number = |value: f64| format!("{value:.2}");
        table.add_row([
            view.name.clone(),
            number(view.first_seconds),
            number(view.p50_ms),
            number(view.p95_ms),
            number(view.max_ms),
            view.bytes.to_string(),
        ]);
    }
    println!("{table}");
    for view in &answers.left_out {
        println!("  left out: {}: {}", view.name, view.why);
    }
}
