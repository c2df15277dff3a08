//! `snooze mock-metadata`: plays a cloud's metadata service.
//!
//! Inputs: the arguments of the service. Outputs: its lines. Must never differ from the program
//! `fake-metadata`, which is the same code.

use super::fault::{Exit, Fault, Outcome};
use super::session::Session;
use clap::Command;

/// Arguments of the service.
pub type Args = Box<fake_metadata::cli::Args>;

/// Runs the command until it is stopped.
///
/// # Errors
/// The service cannot start.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    fake_metadata::cli::run(args, session.out()).map_err(|error| Fault::InputOutput(error.to_string()))?;
    Ok(Exit::Ok)
}

/// The command line with the service's examples under the name they have here.
pub fn named(command: Command) -> Command {
    command.mut_subcommand("mock-metadata", |service| {
        let examples = service.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        service.after_long_help(examples.replace("fake-metadata --", "snooze mock-metadata --"))
    })
}
