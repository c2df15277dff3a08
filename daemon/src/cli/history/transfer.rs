//! Rows into a history and out of it: export, import, merge, prune.
//!
//! Inputs: files, histories. Outputs: the same, and how many rows there were. Must never leave half a file behind, neither taken nor
//! written.

use crate::cli::duration;
use crate::cli::fault::{Exit, Fault, Outcome};
use crate::cli::render::count;
use crate::cli::session::Session;
use crate::history::archive::import::{Counts, Importer};
use crate::history::archive::prune::{Dropped, Keep};
use crate::history::archive::tables::{ALL, Exchanged};
use crate::history::archive::{Access, Archive, Place, Result, jsonl, parquet, public};
use crate::sys::clock;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

/// The file that stands for standard input or output.
const STANDARD: &str = "-";

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// File to write: .jsonl for everything, .parquet for one table; - for JSON Lines on standard output.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Table to write as Parquet: events, deliveries, lives, prices.
    #[arg(long, value_name = "TABLE", value_parser = table)]
    table: Option<&'static Exchanged>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// Files to read, each in one piece or not at all: .jsonl, .parquet, or .csv in one of the two forms of public data sets;
    /// - for JSON Lines from standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// Histories to take from, each in one piece or not at all: files, also of earlier versions, or postgres://USER@HOST/DATABASE.
    #[arg(value_name = "PLACE", required = true)]
    places: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct PruneArgs {
    /// Drop what is older (400d); events that still run and lives that go on stay.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<f64>,

    /// Keep so many events, so many lives and so many prices, the newest.
    #[arg(long, value_name = "NUMBER")]
    keep_rows: Option<u64>,
}

fn table(name: &str) -> std::result::Result<&'static Exchanged, String> {
    let known = || ALL.map(|table| table.name).join(", ");
    Exchanged::of(name).ok_or_else(|| format!("'{name}' is no table: expected {}", known()))
}

/// The form of a file, by its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    JsonLines,
    Parquet,
    Csv,
}

fn form(file: &Path) -> std::result::Result<Form, Fault> {
    if file == Path::new(STANDARD) {
        return Ok(Form::JsonLines);
    }
    let ending = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match ending.as_str() {
        "jsonl" | "ndjson" => Ok(Form::JsonLines),
        "parquet" => Ok(Form::Parquet),
        "csv" => Ok(Form::Csv),
        _ => Err(Fault::Usage(format!("{}: the ending says what a file is: .jsonl, .parquet or .csv", file.display()))),
    }
}

/// `snooze history export`.
pub(super) fn export(args: &ExportArgs, place: &Place, session: &mut Session<'_>) -> Outcome {
    let form = form(&args.file)?;
    match (form, args.table) {
        (Form::Csv, _) => return Err(Fault::Usage("views write CSV: snooze history lives --csv > FILE".into())),
        (Form::Parquet, None) => return Err(Fault::Usage("a Parquet file holds one table: --table says which".into())),
        (Form::JsonLines, Some(_)) => {
            return Err(Fault::Usage("JSON Lines hold all tables: --table is for Parquet".into()));
        }
        _ => {}
    }
    let mut archive = Archive::open(place, Access::Read)?;
    if args.file == Path::new(STANDARD) {
        archive.snapshot(|archive| jsonl::export(archive, session.out(), &mut |_| {}))?;
        return Ok(Exit::Ok);
    }
    // Beside it, and renamed when it is whole.
    let beside =
        args.file.with_file_name(format!(".{}.part", args.file.file_name().unwrap_or_default().to_string_lossy()));
    let written = archive.snapshot(|archive| {
        let mut progress = |rows| session.progress(&format!("{rows} rows"));
        match args.table {
            Some(table) => parquet::export(archive, table, &beside, &mut progress),
            None => {
                let file = File::create(&beside)
                    .map_err(|error| crate::history::archive::ArchiveError::file(&beside, error))?;
                jsonl::export(archive, &mut BufWriter::new(file), &mut progress)
            }
        }
    });
    session.progress("");
    let renamed = written.map_err(Fault::from).and_then(|rows| {
        let failed = |error| Fault::InputOutput(format!("cannot write {}: {error}", args.file.display()));
        std::fs::rename(&beside, &args.file).map(|()| rows).map_err(failed)
    });
    let rows = renamed.inspect_err(|_| {
        // There may be none.
        let _ = std::fs::remove_file(&beside);
    })?;
    if session.global.json {
        session.print_json(&json!({"file": args.file, "rows": rows}))?;
    } else {
        session.note(&format!("{rows} rows of {} are in {}", archive.place(), args.file.display()));
    }
    Ok(Exit::Ok)
}

/// `snooze history import`.
pub(super) fn import(args: &ImportArgs, place: &Place, session: &mut Session<'_>) -> Outcome {
    // What cannot be read is known before anything is made.
    for file in args.files.iter().filter(|file| **file != Path::new(STANDARD)) {
        form(file)?;
        File::open(file).map_err(|error| Fault::reading(file, &error))?;
    }
    let mut archive = Archive::open(place, Access::Write)?;
    let mut told = Vec::new();
    for file in &args.files {
        let counts = take(&mut archive, session, |importer| import_file(file, importer))?;
        told.push(tell(&file.display().to_string(), &counts, session));
    }
    archive.settle()?;
    if session.global.json {
        session.print_json(&json!({"taken": told}))?;
    }
    Ok(Exit::Ok)
}

fn import_file(file: &Path, importer: &mut Importer<'_>) -> Result<()> {
    let name = file.display().to_string();
    if file == Path::new(STANDARD) {
        return jsonl::import(&mut BufReader::new(std::io::stdin().lock()), "standard input", importer);
    }
    let opened = || File::open(file).map_err(|error| crate::history::archive::ArchiveError::file(file, error));
    match form(file) {
        Ok(Form::Parquet) => parquet::import(file, importer),
        Ok(Form::Csv) => {
            let set = file.file_stem().unwrap_or_default().to_string_lossy();
            public::import(BufReader::new(opened()?), &name, &set, importer)
        }
        _ => jsonl::import(&mut BufReader::new(opened()?), &name, importer),
    }
}

/// `snooze history merge`.
pub(super) fn merge(args: &MergeArgs, place: &Place, session: &mut Session<'_>) -> Outcome {
    let places: Vec<Place> = args.places.iter().map(|text| Place::parse(text)).collect();
    if places.contains(place) {
        return Err(Fault::Usage(format!("{place} cannot be merged into itself")));
    }
    let mut sources = places.iter().map(Archive::open_source).collect::<Result<Vec<_>>>()?;
    let mut archive = Archive::open(place, Access::Write)?;
    let mut told = Vec::new();
    for source in &mut sources {
        let counts = take(&mut archive, session, |importer| {
            source.snapshot(|source| {
                ALL.into_iter().try_for_each(|table| source.each(table, &mut |row| importer.take(table, row.to_vec())))
            })
        })?;
        told.push(tell(source.place(), &counts, session));
    }
    archive.settle()?;
    if session.global.json {
        session.print_json(&json!({"taken": told}))?;
    }
    Ok(Exit::Ok)
}

/// Takes rows in one transaction.
fn take(
    archive: &mut Archive,
    session: &mut Session<'_>,
    give: impl FnOnce(&mut Importer<'_>) -> Result<()>,
) -> std::result::Result<Counts, Fault> {
    let taken = archive.transact(|archive| {
        let mut progress = |rows| session.progress(&format!("{rows} rows"));
        let mut importer = Importer::new(archive, &mut progress);
        give(&mut importer)?;
        importer.finish()
    });
    session.progress("");
    Ok(taken?)
}

/// Says what came of one file or history; gives the same for programs.
fn tell(from: &str, counts: &Counts, session: &mut Session<'_>) -> Value {
    let there: Vec<_> = counts.iter().filter(|(_, count)| count.given > 0).collect();
    if !session.global.json {
        let words = there.iter().map(|(name, count)| {
            let known = count.given - count.taken.min(count.given);
            format!("{} {name}, {} of them new, {known} known already", count.given, count.taken)
        });
        let words = words.collect::<Vec<_>>().join("; ");
        let nothing = there.iter().all(|(_, count)| count.taken == 0);
        let verdict = match (there.is_empty(), nothing) {
            (true, _) => "no rows".to_owned(),
            (_, true) => format!("{words}: nothing changed"),
            _ => words,
        };
        session.note(&format!("{from}: {verdict}"));
    }
    let tables =
        there.iter().map(|(name, count)| ((*name).to_owned(), json!({"given": count.given, "new": count.taken})));
    json!({"from": from, "tables": tables.collect::<serde_json::Map<_, _>>()})
}

/// `snooze history prune`.
#[allow(clippy::cast_possible_truncation, reason = "seconds of at most ten years")]
pub(super) fn prune(args: &PruneArgs, place: &Place, session: &mut Session<'_>) -> Outcome {
    if let Place::File(path) = place {
        // A mistyped name must not make a history.
        File::open(path).map_err(|error| Fault::reading(path, &error))?;
    }
    let since = args.older_than.map(|seconds| clock::wall_ns().saturating_sub((seconds * 1e9) as i64));
    let mut archive = Archive::open(place, Access::Write)?;
    let keep = Keep { since_wall_ns: since, rows: args.keep_rows };
    let dropped = archive.prune(keep, &mut |rows| session.progress(&format!("{rows} rows dropped")));
    session.progress("");
    let Dropped { events, lives, prices } = dropped?;
    archive.settle()?;
    if session.global.json {
        session.print_json(&json!({"dropped": {"events": events, "lives": lives, "prices": prices}}))?;
    } else {
        let counted = |number: u64, what: &str| count(usize::try_from(number).unwrap_or(usize::MAX), what);
        session.note(&format!(
            "{}, {} and {} are gone; their room is used again",
            counted(events, "event"),
            counted(lives, "life"),
            counted(prices, "price")
        ));
    }
    Ok(Exit::Ok)
}
