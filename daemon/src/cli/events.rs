//! `snooze events`: which events there were.
//!
//! Inputs: the daemon's list. Outputs: a table, newest first. Must never hide that an event was only a rehearsal.

use super::client;
use super::fault::{Exit, Outcome};
use super::paint::{Paint, Tone};
use super::render::{keep_whole, lines, plain, table, tone};
use super::session::Session;
use crate::control::wire::{EventSummary, Events};
use crate::event::EventType;

const EXAMPLES: &str = "\
Examples:
  snooze events                                  the last twenty
  snooze events --type cloud.spot.interrupt --limit 100
  snooze report $(snooze events --json | jq -r '.events[0].event_id')

(test): no provider said so; snooze simulate or snooze drill made it.";

/// List the events there were, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Most events to list.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

    /// Only events of this type.
    #[arg(long = "type", value_name = "EVENT_TYPE", value_parser = EventType::parse)]
    event_type: Option<EventType>,
}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let only = args.event_type.as_ref().map_or_else(String::new, |event_type| format!("&type={event_type}"));
    let reply = session.daemon()?.get(&format!("/v1/events?limit={}{only}", args.limit))?;
    session.show(&reply, screen)?;
    Ok(Exit::Ok)
}

/// Lists the newest events whose type begins so, of the newest thousand.
///
/// # Errors
/// The daemon cannot be asked.
pub fn of_prefix(prefix: &str, limit: usize, session: &mut Session<'_>) -> Outcome {
    let reply = session.daemon()?.get("/v1/events?limit=1000")?;
    let mut found: Events = client::read(&reply)?;
    found.events.retain(|event| event.event_type.starts_with(prefix));
    found.events.truncate(limit);
    if session.global.json {
        session.print_json(&found)?;
    } else {
        let text = screen(&found, session.paint, session.width);
        session.print(&text)?;
    }
    Ok(Exit::Ok)
}

/// The screen.
pub fn screen(events: &Events, paint: Paint, width: u16) -> String {
    if events.events.is_empty() {
        return "No event yet. A rehearsal: snooze simulate cloud.spot.interrupt --in 120s --wait\n".into();
    }
    let mut table = table(paint, width, &["EVENT", "DETECTED (UTC)", "TYPE", "RESULT"], &[]);
    for event in &events.events {
        let (tone, result) = result(event);
        let detected = plain(&event.detected).replace('T', " ");
        table.add_row([
            paint.cell(Tone::Plain, plain(&event.event_id)),
            paint.cell(Tone::Plain, detected.get(..16).unwrap_or(&detected)),
            paint.cell(Tone::Plain, plain(&event.event_type)),
            paint.cell(tone, result),
        ]);
    }
    keep_whole(&mut table, 0);
    keep_whole(&mut table, 1);
    lines(&table)
}

fn result(event: &EventSummary) -> (Tone, String) {
    let all = event.handlers;
    let state = plain(&event.state);
    let (tone, mut text) = match state.as_str() {
        "completed" if all == 0 => (Tone::Warn, "no handler".into()),
        "completed" if event.failed > 0 => (Tone::Bad, format!("{} of {all} failed", event.failed)),
        "completed" => (Tone::Good, format!("{} of {all} handled", event.handled)),
        _ => (tone(&state), state),
    };
    if event.simulated {
        text += " (test)";
    }
    (tone, text)
}
