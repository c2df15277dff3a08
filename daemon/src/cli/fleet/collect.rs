//! `snooze fleet collect`: the history of a whole group, in one place.
//!
//! Inputs: what the members have the servers keep. Outputs: rows of a history file or a PostgreSQL database. Must never tell the servers
//! that something is written down before it is, nor stop at a line that is none: members are not all of one version, nor all honest.

use crate::cli::fault::{Exit, Fault, Outcome};
use crate::cli::session::Session;
use crate::history::archive::import::{Counts, Importer};
use crate::history::archive::{Access, Archive, ArchiveError, Place, jsonl};
use cloudsnooze_fleet::{Batch, Collector, Kept, Settings};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

const EXAMPLES: &str = "\
Examples:
  snooze fleet collect --store postgres://fleet@db.example/fleet
  snooze fleet collect --store fleet.sqlite --once && snooze insight rates --store fleet.sqlite

The servers and the group are those of the section \"fleet\" of the configuration. A row that is known is
not taken twice; what is not written down yet comes again after a failure. The servers keep a day of it.";

/// How long one question to the servers waits for something to come.
const WAIT: Duration = Duration::from_secs(5);
/// The same where only what is there is wanted.
const WAIT_ONCE: Duration = Duration::from_secs(1);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// Sentences about what cannot be taken that are told of one batch.
const TOLD_MAX: usize = 3;

/// Bring all members' histories into one, as they come.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// History to write to: a file, or postgres://USER@HOST/DATABASE; made where there is none.
    #[arg(long, value_name = "PLACE")]
    store: String,

    /// End when all that is there has been taken.
    #[arg(long)]
    once: bool,

    /// Name by which the servers know how far it has read; another name begins with the oldest that is kept.
    #[arg(long, value_name = "NAME", default_value = "history", value_parser = name)]
    name: String,

    /// File with the NKey seed to connect with, in place of the member's.
    #[arg(long, value_name = "FILE")]
    nkey_file: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    let is_fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_fine { Ok(text.to_owned()) } else { Err("expected letters, digits, - and _".to_owned()) }
}

/// Runs the command.
///
/// # Errors
/// There is no group, the history cannot be written; with `--once` also what the servers refuse.
pub(super) fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let settings = settings(args, session)?;
    let mut archive = Archive::open(&Place::parse(&args.store), Access::Write)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    loop {
        let Err(fault) = collect(args, &settings, &runtime, &mut archive, session) else { return Ok(Exit::Ok) };
        if args.once || !matches!(fault, Fault::Unreachable(_) | Fault::InputOutput(_)) {
            return Err(fault);
        }
        session.note(&format!("{fault}; trying again in {} s", PAUSE.as_secs()));
        std::thread::sleep(PAUSE);
        // A database that was away needs a new connection.
        match Archive::open(&Place::parse(&args.store), Access::Write) {
            Ok(again) => archive = again,
            Err(error) => session.note(&format!("{error}")),
        }
    }
}

fn settings(args: &Args, session: &Session<'_>) -> Result<Settings, Fault> {
    let of_group = session.configuration()?.config.fleet;
    let mut settings = of_group.ok_or_else(|| {
        let message = "the configuration has no section \"fleet\", which says where the group's servers are".to_owned();
        Fault::Configuration { message, details: Vec::new() }
    })?;
    if let Some(file) = &args.nkey_file {
        settings.nkey_file = Some(file.clone());
        settings.credentials = None;
    }
    Ok(settings)
}

/// Takes what comes; ends with `--once`, or with a failure.
fn collect(
    args: &Args,
    settings: &Settings,
    runtime: &Runtime,
    archive: &mut Archive,
    session: &mut Session<'_>,
) -> Result<(), Fault> {
    let unreachable = |error: cloudsnooze_fleet::Error| Fault::Unreachable(error.to_string());
    let collector = runtime.block_on(Collector::connect(settings, &args.name)).map_err(unreachable)?;
    let wait = if args.once { WAIT_ONCE } else { WAIT };
    loop {
        // The database is written outside of the runtime: PostgreSQL's client has one of its own.
        let batch = runtime.block_on(collector.next(wait)).map_err(unreachable)?;
        if batch.is_empty() {
            if args.once {
                return Ok(());
            }
            continue;
        }
        let (counts, strange) = write(&batch, archive)?;
        tell(&counts, &strange, session)?;
        runtime.block_on(batch.written()).map_err(unreachable)?;
    }
}

/// Writes a batch in one transaction. Gives what came of it, and sentences about what could not be taken.
fn write(batch: &Batch, archive: &mut Archive) -> Result<(Counts, Vec<String>), ArchiveError> {
    let mut strange = batch.strange.clone();
    let mut nothing = |_| {};
    let counts = archive.transact(|archive| {
        let mut importer = Importer::new(archive, &mut nothing);
        for kept in &batch.kept {
            match row(kept) {
                Ok((table, row)) => importer.take(table, row)?,
                Err(why) => strange.push(format!("{} of {}: {why}", kept.event_type, kept.member)),
            }
        }
        importer.finish()
    })?;
    Ok((counts, strange))
}

fn row(
    kept: &Kept,
) -> Result<(&'static crate::history::archive::tables::Exchanged, crate::history::archive::Row), String> {
    let members = kept.details.as_object().ok_or("it is no row, or was too long to be kept")?;
    jsonl::row_of(members)
        .map_err(|wrong| format!("`{}`: found {}, expected {}", wrong.column, wrong.found, wrong.expected))
}

fn tell(counts: &Counts, strange: &[String], session: &mut Session<'_>) -> Result<(), Fault> {
    let there: Vec<_> = counts.iter().filter(|(_, count)| count.given > 0).collect();
    if session.global.json {
        let taken: serde_json::Map<String, Value> =
            there.iter().map(|(name, count)| ((*name).to_owned(), json!(count.taken))).collect();
        let line = json!({ "taken": taken, "refused": strange.len() });
        session.print(&format!("{line}\n"))?;
    } else if !there.is_empty() {
        let words: Vec<String> =
            there.iter().map(|(name, count)| format!("{} {name}, {} of them new", count.given, count.taken)).collect();
        session.print(&format!("{}\n", words.join("; ")))?;
    }
    for why in strange.iter().take(TOLD_MAX) {
        session.note(&format!("left out: {}", super::plain(why)));
    }
    if strange.len() > TOLD_MAX {
        session.note(&format!("left out: {} more", strange.len() - TOLD_MAX));
    }
    Ok(())
}
