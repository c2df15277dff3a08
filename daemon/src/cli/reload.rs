//! `snooze reload`: has the daemon read its configuration anew.
//!
//! Inputs: the daemon's answer. Outputs: what changed, or every error. Must never leave open which
//! configuration is in use now.

use super::fault::{Exit, Fault, Outcome};
use super::paint::{Paint, Tone};
use super::render::plain;
use super::session::Session;
use crate::control::wire::Reloaded;

const EXAMPLES: &str = "\
Examples:
  snooze config check && snooze reload

A configuration with an error changes nothing: the daemon goes on with the old one, and the exit code is 78.";

/// Have the daemon use the changed configuration, without a gap.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked, or refuses the configuration.
pub fn run(_: &Args, session: &mut Session<'_>) -> Outcome {
    let reply = session.daemon()?.post("/v1/reload", &serde_json::json!({})).map_err(|fault| match fault {
        Fault::Refused { status: 422, message, details } => {
            let message = format!("{message}; the daemon goes on with the configuration it has");
            Fault::Configuration { message, details }
        }
        other => other,
    })?;
    session.show(&reply, screen)?;
    Ok(Exit::Ok)
}

/// The screen.
pub fn screen(reloaded: &Reloaded, paint: Paint, _: u16) -> String {
    let waiting: Vec<&String> = reloaded.needs_restart.iter().collect();
    let mut text = match reloaded.changes.is_empty() && waiting.is_empty() {
        true => "Nothing has changed.\n".to_owned(),
        false => format!("{}\n", paint.text(Tone::Good, "The new configuration is in use.")),
    };
    for change in reloaded.changes.iter().filter(|change| !waiting.contains(change)) {
        text += &format!("  {}\n", plain(change));
    }
    if !waiting.is_empty() {
        text += &format!("{}\n", paint.text(Tone::Warn, "These wait for a restart (systemctl restart cloudsnooze):"));
    }
    for change in waiting {
        text += &format!("  {}\n", plain(change));
    }
    for warning in &reloaded.warnings {
        text += &format!("  {} {}\n", paint.text(Tone::Warn, "warning:"), plain(warning));
    }
    text
}
