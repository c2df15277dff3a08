//! `snooze upgrade-ready`: may the daemon be replaced now?
//!
//! Inputs: the daemon's status. Outputs: an exit code, for the scripts of packages. Must never keep a package from being
//! installed because no daemon runs, nor call a moment good in which an event is in progress.

use super::client::read;
use super::duration;
use super::fault::{Exit, Fault, Outcome};
use super::session::Session;
use crate::assemble::nanoseconds;
use crate::sys::clock;
use serde_json::Value;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  snooze upgrade-ready && apt-get install -y cloudsnooze
  snooze upgrade-ready --wait 180s

Exit code 0: no event is in progress, or no daemon runs. 124: an event still is.";

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Say whether the daemon may be upgraded or restarted now, and wait for it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How long to wait for the events in progress (180s, 3m) [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    wait: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// The daemon answers, but not with what was asked.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let until_ns = clock::boot_ns().saturating_add(nanoseconds(args.wait.unwrap_or(0.0)));
    let daemon = session.daemon()?;
    let mut has_told = false;
    loop {
        let busy = match daemon.get("/v1/status") {
            Ok(reply) => events_busy(&read(&reply)?)?,
            Err(Fault::Unreachable(why)) => {
                session.note(&format!("there is no event to wait for: {why}"));
                return Ok(Exit::Ok);
            }
            Err(fault) => return Err(fault),
        };
        if busy == 0 {
            return Ok(Exit::Ok);
        }
        if clock::boot_ns() >= until_ns {
            session.note(&format!("{busy} event(s) in progress"));
            return Ok(Exit::TimeOver);
        }
        if !has_told {
            session.note(&format!("waiting for {busy} event(s) in progress"));
            has_told = true;
        }
        std::thread::sleep(LOOK);
    }
}

/// Read by itself, not as a whole status: the daemon may be of another version than this command.
fn events_busy(status: &Value) -> Result<u64, Fault> {
    let busy = status.pointer("/dispatch/events_busy").and_then(Value::as_u64);
    busy.ok_or_else(|| Fault::Broken("the daemon does not say whether an event is in progress".into()))
}
