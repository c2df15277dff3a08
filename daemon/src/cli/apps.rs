//! `snooze apps`: which applications are registered.
//!
//! Inputs: the daemon's list. Outputs: a table. Must never hide that nothing would be sent to one of them.

use super::fault::{Exit, Outcome};
use super::paint::{Paint, Tone};
use super::render::{keep_whole, lines, plain, table, tone};
use super::session::Session;
use crate::control::wire::{AppStatus, Apps};

const EXAMPLES: &str = "\
Examples:
  snooze apps
  snooze apps --json | jq -r '.applications[].name'

How an application registers: docs/apps.md.";

/// List the applications that are registered to be told of notices.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked.
pub fn run(_: &Args, session: &mut Session<'_>) -> Outcome {
    let reply = session.daemon()?.get("/v1/apps")?;
    session.show(&reply, screen)?;
    Ok(Exit::Ok)
}

/// The screen.
pub fn screen(apps: &Apps, paint: Paint, width: u16) -> String {
    if apps.applications.is_empty() {
        return "No application is registered.\n".into();
    }
    let headings = ["NAME", "PROCESS", "USER", "NEEDS", "EVENTS", "LAST NOTICE"];
    let mut table = table(paint, width, &headings, &[1, 2, 3]);
    for app in &apps.applications {
        let needs = app.needs_seconds.map_or_else(|| "all".to_owned(), super::duration::human);
        let (tone, last) = last(app);
        table.add_row([
            paint.cell(Tone::Plain, plain(&app.name)),
            paint.cell(Tone::Plain, app.pid.to_string()),
            paint.cell(Tone::Plain, app.uid.to_string()),
            paint.cell(Tone::Plain, needs),
            paint.cell(Tone::Plain, plain(&app.events.join(", "))),
            paint.cell(tone, last),
        ]);
    }
    keep_whole(&mut table, 0);
    lines(&table)
}

fn last(app: &AppStatus) -> (Tone, String) {
    match app.notices.last() {
        Some(told) => (tone(&told.answer), plain(&told.answer)),
        None if app.is_waited_for => (Tone::Dim, "-".into()),
        None => (Tone::Warn, "no handler notify-apps for its events".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::Told;

    #[test]
    fn the_table_says_who_waits_for_what_and_who_in_vain() {
        let app = |name: &str, answer: Option<&str>, is_waited_for: bool| AppStatus {
            id: 1,
            name: name.into(),
            pid: 4242,
            uid: 1000,
            events: vec!["cloud.spot.*".into(), "custom.x".into()],
            needs_seconds: answer.map(|_| 20.0),
            since: "2026-05-01T12:00:00Z".into(),
            is_waited_for,
            notices: answer.iter().map(|answer| Told { id: "x".into(), answer: (*answer).into() }).collect(),
        };
        let apps = vec![app("trainer", Some("ready"), true), app("idle\x1b[2J", None, true), app("lost", None, false)];
        let screen = screen(&Apps { applications: apps }, Paint(false), 120);
        let lines: Vec<&str> = screen.lines().collect();
        assert!(
            lines[1].starts_with("trainer") && lines[1].contains("4242") && lines[1].ends_with("ready"),
            "{screen}"
        );
        assert!(lines[2].ends_with("-") && !screen.contains('\x1b'), "{screen}");
        assert!(lines[3].ends_with("no handler notify-apps for its events"), "{screen}");
        assert_eq!(super::screen(&Apps::default(), Paint(false), 100), "No application is registered.\n");
    }
}
