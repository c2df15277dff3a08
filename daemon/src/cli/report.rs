//! `snooze report`: what became of an event.
//!
//! Inputs: the daemon's report. Outputs: the report screen. Must never call an event well at which a
//! handler failed or an effect did not hold.

use super::fault::{Exit, Fault, Outcome};
use super::screen;
use super::session::Session;
use crate::dispatch::report::EventReport;

const EXAMPLES: &str = "\
Examples:
  snooze report                    the last event
  snooze report 019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8
  snooze report last --json | jq '.handlers[] | {handler, status, verified}'

Exit code 1 when a handler failed or its effect did not hold.";

/// Show what became of an event: what ran, when, how long, what was verified, how much time was left.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Id of the event, from `snooze events`; or `last`.
    #[arg(value_name = "EVENT_ID", default_value = "last")]
    event_id: String,
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
    let reply = session.daemon()?.get(&format!("/v1/reports/{}", args.event_id))?;
    show(&reply, session)
}

/// Shows a report; `Bad` when something in it is not well.
///
/// # Errors
/// It is not understood, or standard output is closed.
pub fn show(reply: &str, session: &mut Session<'_>) -> Outcome {
    let report: EventReport = session.show(reply, screen::report)?;
    Ok(Exit::when(screen::verdict(&report).is_well))
}
