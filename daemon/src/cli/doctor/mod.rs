//! `snooze doctor`: is everything as it should be, before it matters?
//!
//! Inputs: configuration, plugins, secrets, the daemon, the machine. Outputs: one line a check, and what
//! to do. Must never change anything, nor call something well that it could not look at.

mod daemon;
mod machine;
mod setup;

use super::fault::{Exit, Fault, Outcome};
use super::paint::{Paint, Tone};
use super::render::plain;
use super::session::Session;
use crate::config::Config;
use crate::control::wire::Status;
use serde::Serialize;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  sudo snooze doctor               as root, all secrets can be looked at
  snooze doctor --json | jq '.checks[] | select(.mark != \"good\")'

Marks: ✓ as it should be, ! worth a look, ✗ not as it should be. Exit code 1 when there is a ✗.";

/// Check configuration, plugins, secrets, daemon, cloud and machine, with a hint where something is not well.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    Good,
    Doubtful,
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    about: &'static str,
    mark: Mark,
    text: String,
    hint: Option<String>,
}

impl Check {
    fn good(about: &'static str, text: impl Into<String>) -> Self {
        Self { about, mark: Mark::Good, text: text.into(), hint: None }
    }

    fn doubtful(about: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { about, mark: Mark::Doubtful, text: text.into(), hint: Some(hint.into()) }
    }

    fn bad(about: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { about, mark: Mark::Bad, text: text.into(), hint: Some(hint.into()) }
    }
}

/// Runs the command.
///
/// # Errors
/// Standard output is closed.
pub fn run(_: &Args, session: &mut Session<'_>) -> Outcome {
    let (mut checks, loaded) = setup::checks(session);
    let config = loaded.map_or_else(Config::default, |loaded| loaded.config);
    let asked: Result<Status, Fault> =
        session.daemon().and_then(|daemon| super::client::read(&daemon.get("/v1/status")?));
    checks.extend(daemon::checks(&asked, &config));
    let status = asked.ok();
    checks.extend(machine::checks(&machine::read(&config), status.as_ref().map(|status| &status.dispatch)));
    let is_well = checks.iter().all(|check| check.mark != Mark::Bad);
    if session.global.json {
        session.print_json(&json!({ "ok": is_well, "checks": checks }))?;
    } else {
        let text = screen(&checks, session.paint);
        session.print(&text)?;
    }
    Ok(Exit::when(is_well))
}

fn screen(checks: &[Check], paint: Paint) -> String {
    let (mut text, mut about) = (String::new(), "");
    for check in checks {
        if check.about != about {
            about = check.about;
            text += &format!("{}\n", paint.text(Tone::Strong, about));
        }
        let mark = match check.mark {
            Mark::Good => paint.text(Tone::Good, "✓"),
            Mark::Doubtful => paint.text(Tone::Warn, "!"),
            Mark::Bad => paint.text(Tone::Bad, "✗"),
        };
        text += &format!("  {mark} {}\n", plain(&check.text));
        if let Some(hint) = &check.hint {
            text += &format!("    {} {}\n", paint.text(Tone::Dim, "hint:"), plain(hint));
        }
    }
    let number = |mark| checks.iter().filter(|check| check.mark == mark).count();
    let (good, doubtful, bad) = (number(Mark::Good), number(Mark::Doubtful), number(Mark::Bad));
    let verdict = match (bad, doubtful) {
        (0, 0) => paint.text(Tone::Good, "Everything is as it should be"),
        (0, _) => paint.text(Tone::Warn, "It works, and could be better"),
        _ => paint.text(Tone::Bad, "Something is not as it should be"),
    };
    text + &format!("\n{verdict}: {good} good, {doubtful} worth a look, {bad} bad.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_groups_checks_and_counts_them() {
        let checks = [
            Check::good("Daemon", "runs"),
            Check::doubtful("Daemon", "slow\x1b[2J", "faster"),
            Check::bad("Machine", "none", "buy one"),
        ];
        let expected = "Daemon\n  ✓ runs\n  ! slow [2J\n    hint: faster\nMachine\n  ✗ none\n    hint: buy one\n\n\
                        Something is not as it should be: 1 good, 1 worth a look, 1 bad.\n";
        assert_eq!(screen(&checks, Paint(false)), expected);
        assert!(screen(&checks[..1], Paint(false)).contains("Everything is as it should be: 1 good"));
        assert!(screen(&checks[..2], Paint(false)).contains("It works, and could be better"));
    }
}
