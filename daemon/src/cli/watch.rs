//! `snooze watch`: what happens, as it happens.
//!
//! Inputs: the daemon's stream. Outputs: a line for each thing that happens. Must never end while the
//! daemon goes on, nor stop at a line that it does not know.

use super::client;
use super::duration::{human, human_ms};
use super::fault::{Fault, Outcome};
use super::paint::{Paint, Tone};
use super::render::{plain, time, tone};
use super::session::Session;
use crate::control::wire::Watched;
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  snooze watch                     until Ctrl-C
  snooze watch --json | jq -c 'select(.kind == \"finished\")'

The word in brackets is the end of the event's id.";

/// Follow events, handlers and plugins' messages as they happen.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked, or ends.
pub fn run(_: &Args, session: &mut Session<'_>) -> Outcome {
    let daemon = session.daemon()?;
    let mut stream = daemon.stream("/v1/watch")?;
    session.note("watching; Ctrl-C ends it");
    while let Some(text) = stream.next_line()? {
        if session.global.json {
            session.print(&format!("{text}\n"))?;
        } else if let Some(watched) = known(&text)? {
            let line = line(&watched, session.paint);
            session.print(&line)?;
        }
    }
    Err(Fault::Unreachable("snoozed has ended the stream: it was stopped or restarted".into()))
}

/// What a line of the stream says; None for a kind that this version does not know.
///
/// # Errors
/// It is no JSON.
pub fn known(text: &str) -> Result<Option<Watched>, Fault> {
    let value: Value = client::read(text)?;
    Ok(serde_json::from_value(value).ok())
}

/// One line, with its line break.
pub fn line(watched: &Watched, paint: Paint) -> String {
    match watched {
        Watched::Event { event } => event_line(event, paint),
        Watched::Started { event_id, handler, priority, at_ms, budget_ms, left_seconds, .. } => {
            let (after, handler) = (human_ms(*at_ms), plain(handler));
            let (budget, left) = (human_ms(*budget_ms), human(*left_seconds));
            format!(
                "  {} +{after}: {handler} started (priority {priority}): has {budget}, {left} left\n",
                short(event_id)
            )
        }
        Watched::Finished { event_id, handler, status, at_ms, duration_ms, verified, left_seconds, error, .. } => {
            let word = status.replace('-', " ");
            let verified = match verified.as_str() {
                "yes" => ", verified".into(),
                "no" => format!(", {}", paint.text(Tone::Bad, "not verified")),
                "unknown" => ", cannot be verified".into(),
                _ => String::new(),
            };
            let error = error.as_deref().map_or_else(String::new, |error| format!(": {}", plain(error)));
            format!(
                "  {} +{}: {} {} in {}{verified}, {} left{error}\n",
                short(event_id),
                human_ms(*at_ms),
                plain(handler),
                paint.text(tone(&word), &plain(&word)),
                human_ms(*duration_ms),
                human(*left_seconds),
            )
        }
        Watched::Completed { event_id, state, duration_ms, left_seconds } => {
            let state = paint.text(tone(state), &plain(state));
            let (duration, left) = (human_ms(*duration_ms), human(*left_seconds));
            format!("  {} {state} after {duration}, {left} left\n", short(event_id))
        }
        Watched::Log { instance, level, message } => {
            let level = plain(level);
            let tone = match level.as_str() {
                "error" => Tone::Bad,
                "warn" | "warning" => Tone::Warn,
                _ => Tone::Dim,
            };
            format!("  {} {}: {}\n", paint.text(tone, &level), plain(instance), plain(message))
        }
    }
}

fn event_line(event: &Value, paint: Paint) -> String {
    let text = |value: &Value| value.as_str().map(plain).filter(|text| !text.is_empty());
    let data = &event["data"];
    let left = data["timeRemaining"].as_f64().map(|seconds| format!("in {}", human(seconds)));
    let action = text(&data["action"]).filter(|action| action != "none");
    let parts = [text(&event["severity"]), action, text(&event["subject"]), left];
    let rest: String = parts.into_iter().flatten().map(|part| format!(" {part}")).collect();
    let kind = text(&event["type"]).unwrap_or_else(|| "event".into());
    let when = time(event["time"].as_str().unwrap_or_default());
    let id = short(event["id"].as_str().unwrap_or_default());
    format!("{when} {} {id}{rest}\n", paint.text(Tone::Strong, &kind))
}

/// The end of an event's id in brackets: the beginning of a UUID of version 7 is the time, which events
/// close to each other share.
fn short(id: &str) -> String {
    let chars: Vec<char> = plain(id).chars().collect();
    format!("[{}]", chars[chars.len().saturating_sub(6)..].iter().collect::<String>())
}
