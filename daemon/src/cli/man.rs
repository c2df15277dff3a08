//! `snooze man`: writes the manual pages.
//!
//! Inputs: the command line's description. Outputs: files such as `snooze-status.1`. Must never depend on
//! the machine or the day: packages are built with it.

use super::fault::{Exit, Fault, Outcome};
use super::session::Session;
use clap::Command;
use clap_mangen::Man;
use std::path::PathBuf;

/// Write the manual pages into a directory.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// The directory; made if there is none.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// The files cannot be written.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let failed = |error| Fault::InputOutput(format!("cannot write to {}: {error}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(failed)?;
    for (name, page) in man_pages() {
        std::fs::write(args.directory.join(&name), page).map_err(failed)?;
        session.note(&name);
    }
    Ok(Exit::Ok)
}

/// Every manual page: file name and content.
pub fn man_pages() -> Vec<(String, String)> {
    let mut command = super::command();
    command.build();
    let mut pages = Vec::new();
    collect(&command, &mut pages);
    pages
}

fn collect(command: &Command, pages: &mut Vec<(String, String)>) {
    let man =
        Man::new(command.clone()).manual("CloudSnooze").source(format!("CloudSnooze {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    if man.render(&mut page).is_ok() {
        pages.push((man.get_filename(), String::from_utf8_lossy(&page).into_owned()));
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, pages);
    }
}
