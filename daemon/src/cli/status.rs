//! `snooze status`: what the daemon is doing now.
//!
//! Inputs: the daemon's status. Outputs: a screen. Must never call a daemon well that names a problem.

use super::duration::human;
use super::fault::{Exit, Outcome};
use super::paint::{Paint, Tone};
use super::render::{count, facts, lines, plain, table, tone};
use super::session::Session;
use crate::control::wire::{DispatchStatus, InstanceStatus, Percentiles, SelfTest, SourceStatus, Status};

const EXAMPLES: &str = "\
Examples:
  snooze status                    a screen; exit code 1 when something is not well
  snooze status --json | jq .problems
  snooze status -q >/dev/null && echo well

States of a source: seeing (notices would be seen), partial (some would not), blind (none would), \
starting, off.";

/// Show what the daemon watches, which handlers are ready, and what is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// The daemon cannot be asked.
pub fn run(_: &Args, session: &mut Session<'_>) -> Outcome {
    let reply = session.daemon()?.get("/v1/status")?;
    let status: Status = session.show(&reply, screen)?;
    Ok(Exit::when(status.health == "ok"))
}

/// The screen.
pub fn screen(status: &Status, paint: Paint, width: u16) -> String {
    let health = paint.text(tone(&status.health), &plain(&status.health));
    let title = paint.text(Tone::Strong, &format!("snoozed {}", status.version));
    let mut text = format!("{title} is {health}, running for {} (pid {})\n", human(status.uptime_seconds), status.pid);
    for problem in &status.problems {
        text += &format!("  {} {}\n", paint.text(Tone::Bad, "!"), plain(problem));
    }
    text += &facts(paint, &summary(status));
    text += "\n";
    text += &sources(&status.sources, paint, width);
    text += "\n";
    text += &handlers(&status.instances, paint, width);
    text
}

fn summary(status: &Status) -> Vec<(&'static str, String)> {
    let (dispatch, events) = (&status.dispatch, &status.events);
    let locked = match dispatch.memory_locked.as_str() {
        "yes" => "memory locked".to_owned(),
        "off" => "memory not locked (switched off)".to_owned(),
        why => format!("memory not locked: {why}"),
    };
    let mut counts = vec![format!("{} published", events.published), format!("{} completed", events.completed)];
    for (number, what) in [
        (events.refused, "refused (queue full)"),
        (dispatch.events_busy as u64, "running now"),
        (dispatch.calls_abandoned as u64, "abandoned (calls)"),
        (events.notes_dropped, "lost (notes for the log)"),
    ] {
        if number > 0 {
            counts.push(format!("{number} {what}"));
        }
    }
    vec![
        ("machine", machine(status)),
        ("cloud", cloud(status)),
        ("config", status.config_files.join(", ")),
        ("threads", threads(dispatch, &locked)),
        ("events", counts.join(", ")),
        ("first call", dispatch.first_start_us.as_ref().map_or_else(String::new, latency)),
        ("self-test", dispatch.self_test_us.as_ref().map_or_else(String::new, self_test)),
    ]
}

fn threads(dispatch: &DispatchStatus, locked: &str) -> String {
    let place = dispatch.cpu.map_or_else(String::new, |cpu| format!(" on CPU {cpu}"));
    format!("{}, {}{place}, {}", dispatch.threads, plain(&dispatch.scheduling), plain(locked))
}

fn self_test(test: &SelfTest) -> String {
    let over = counted(test.count, "time");
    format!("{}, 999 of 1000 within {} ({over} in the last hour)", most(test.p50, test.p99), micros(test.p999))
}

fn machine(status: &Status) -> String {
    let machine = &status.machine;
    let known = |text: &str| (!text.is_empty()).then(|| plain(text));
    let place = known(&machine.zone).or_else(|| known(&machine.region));
    let provider = known(&machine.provider).map(|name| format!("({name})"));
    let parts = [known(&machine.instance_id), known(&machine.instance_type), place, provider];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "not known".into() } else { parts.join(" ") }
}

/// How the cloud is known; nothing where nobody looked.
fn cloud(status: &Status) -> String {
    let looked = status.detection.as_ref().filter(|detection| detection.state != "off");
    looked.map_or_else(String::new, |detection| plain(&detection.summary))
}

fn latency(first: &Percentiles) -> String {
    let over = counted(first.count, "event");
    format!("after detection: {}, worst {} ({over})", most(first.p50, first.p99), micros(first.max))
}

fn most(p50_us: f64, p99_us: f64) -> String {
    format!("half within {}, 99 of 100 within {}", micros(p50_us), micros(p99_us))
}

fn micros(us: f64) -> String {
    human(us / 1e6)
}

#[allow(clippy::cast_possible_truncation, reason = "counts of events")]
fn counted(number: u64, what: &str) -> String {
    count(number as usize, what)
}

fn sources(sources: &[SourceStatus], paint: Paint, width: u16) -> String {
    if sources.is_empty() {
        return "No source is watched: no notice would be seen (see the setting 'sources').\n".into();
    }
    let mut table = table(paint, width, &["SOURCE", "STATE", "EVERY", "POLLS", "ERRORS", "WHAT IT SEES"], &[2, 3, 4]);
    for source in sources {
        table.add_row([
            paint.cell(Tone::Plain, plain(&source.name)),
            paint.cell(tone(&source.state), plain(&source.state)),
            paint.cell(Tone::Plain, human(source.interval_seconds)),
            paint.cell(Tone::Plain, source.polls.to_string()),
            paint.cell(if source.errors > 0 { Tone::Warn } else { Tone::Plain }, source.errors.to_string()),
            paint.cell(Tone::Plain, plain(&source.summary)),
        ]);
    }
    lines(&table)
}

fn handlers(instances: &[InstanceStatus], paint: Paint, width: u16) -> String {
    if instances.is_empty() {
        return "No handler is configured: nothing would run (see the setting 'event_handlers').\n".into();
    }
    let headings = ["HANDLER", "STATE", "PRIORITY", "TIMEOUT", "VERSION", "RUNS"];
    let mut table = table(paint, width, &headings, &[2, 3]);
    for instance in instances {
        table.add_row([
            paint.cell(Tone::Plain, plain(&instance.name)),
            paint.cell(tone(&instance.state), plain(&instance.state)),
            paint.cell(Tone::Plain, instance.priority.to_string()),
            paint.cell(Tone::Plain, human(instance.timeout_seconds)),
            paint.cell(Tone::Plain, plain(&instance.version)),
            paint.cell(Tone::Plain, plain(&instance.detail)),
        ]);
    }
    lines(&table)
}
