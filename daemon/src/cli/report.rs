//! `snooze report`: what became of an event.
//!
//! Inputs: the daemon's report. Outputs: the report screen, or a page for people. Must never call an event well at which a
//! handler failed or an effect did not hold.

use super::client;
use super::fault::{Exit, Fault, Outcome};
use super::screen;
use super::session::Session;
use crate::dispatch::report::EventReport;
use crate::reports::page;
use std::path::{Path, PathBuf};

/// The file that stands for standard output.
const STANDARD_OUTPUT: &str = "-";

const EXAMPLES: &str = "\
Examples:
  snooze report                    the last event
  snooze report 019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8
  snooze report last --json | jq '.handlers[] | {handler, status, verified}'
  snooze report last --html report.html      one file with a picture, for a browser
  snooze report --html > report.html

Exit code 1 when a handler failed or its effect did not hold.";

/// Show what became of an event: what ran, when, how long, what was verified, how much time was left.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Id of the event, from `snooze events`; or `last`.
    #[arg(value_name = "EVENT_ID", default_value = "last")]
    event_id: String,

    /// Write one HTML file with a picture of who ran when, which needs nothing beside it; without FILE, or with `-`, to
    /// standard output.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STANDARD_OUTPUT)]
    html: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked, or has no such report.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let is_id = |id: &str| id == "last" || uuid::Uuid::parse_str(id).is_ok();
    if !is_id(&args.event_id) {
        return Err(Fault::Usage(format!(
            "'{}' is not the id of an event: expected one from `snooze events`, or last",
            args.event_id
        )));
    }
    if let Some(file) = &args.html {
        checked(file, session)?;
    }
    let reply = session.daemon()?.get(&format!("/v1/reports/{}", args.event_id))?;
    match &args.html {
        Some(file) => write(&reply, file, session),
        None => show(&reply, session),
    }
}

/// What is hardly meant is refused before anything is asked or written.
fn checked(file: &Path, session: &Session<'_>) -> Result<(), Fault> {
    if session.global.json {
        return Err(Fault::Usage("--html and --json ask for two forms of one report: choose one".into()));
    }
    let name = file.to_string_lossy();
    if name == "last" || uuid::Uuid::parse_str(&name).is_ok() {
        return Err(Fault::Usage(format!(
            "--html takes the name of a file, and '{name}' is that of an event: say snooze report {name} --html FILE"
        )));
    }
    Ok(())
}

/// Writes a report as a page; `Bad` when something in it is not well.
fn write(reply: &str, file: &Path, session: &mut Session<'_>) -> Outcome {
    let report: EventReport = client::read(reply)?;
    let page = page::html(&report).map_err(|error| Fault::Broken(format!("the page cannot be made: {error}")))?;
    if file == Path::new(STANDARD_OUTPUT) {
        session.print(&page)?;
    } else {
        std::fs::write(file, page)
            .map_err(|error| Fault::InputOutput(format!("cannot write {}: {error}", file.display())))?;
        session.note(&format!("the report of event {} is in {}", report.event_id, file.display()));
    }
    Ok(Exit::when(screen::verdict(&report).is_well))
}

/// Shows a report; `Bad` when something in it is not well.
///
/// # Errors
/// It is not understood, or standard output is closed.
pub fn show(reply: &str, session: &mut Session<'_>) -> Outcome {
    let report: EventReport = session.show(reply, screen::report)?;
    Ok(Exit::when(screen::verdict(&report).is_well))
}
