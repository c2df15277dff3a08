//! The report screen: one event, readable at three in the morning.
//!
//! Inputs: a report. Outputs: text: what it was, a picture of who ran when, what each handler did, and
//! one sentence that says whether it was well. Must never leave out a handler that did not succeed.

mod details;
mod timeline;
mod verdict;

pub use verdict::verdict;

use super::duration::{exact, human, human_ms};
use super::paint::{Paint, Tone};
use super::render::{facts, plain, time, tone};
use crate::dispatch::report::{Ended, EventReport, HandlerReport, Verified};
use serde_json::Value;

/// The screen.
pub fn report(report: &EventReport, paint: Paint, width: u16) -> String {
    let mut text = heading(report, paint);
    text += &facts(paint, &summary(report));
    if !report.handlers.is_empty() {
        text += "\n";
        text += &timeline::picture(report, paint, usize::from(width));
        for handler in in_order(report) {
            text += "\n";
            text += &details::handler(handler, paint, usize::from(width));
        }
    }
    let verdict = verdict(report);
    let tone = if verdict.is_well { Tone::Good } else { Tone::Bad };
    text + &format!("\n{}\n", paint.text(tone, &verdict.sentence))
}

fn heading(report: &EventReport, paint: Paint) -> String {
    let data = &report.event["data"];
    let text = |value: &Value| value.as_str().map(plain).filter(|text| !text.is_empty());
    let place = text(&data["zone"]).or_else(|| text(&data["region"]));
    let about: Vec<String> = [text(&data["instanceType"]), place].into_iter().flatten().collect();
    let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
    let machine = text(&data["instanceID"]).map_or_else(String::new, |id| format!(" on {id}{about}"));
    let action = text(&data["action"]).filter(|action| action != "none");
    let action = action.map_or_else(String::new, |action| format!(": {action}"));
    format!("{}{machine}{action}\n", paint.text(Tone::Strong, &plain(&report.event_type)))
}

fn summary(report: &EventReport) -> Vec<(&'static str, String)> {
    let source = report.event["source"].as_str().map(plain).unwrap_or_default();
    let first = report.first_start_us.map(|us| format!(", first handler {} later", human(us / 1e6)));
    let deadline = report.deadline.as_deref();
    let notice = notice_seconds(report);
    let after = notice.map_or_else(String::new, |seconds| format!(", {} after detection", exact(seconds)));
    let finished = match report.state.as_str() {
        "running" => format!("not yet, after {}; {} left", human_ms(report.duration_ms), exact(report.left_seconds)),
        _ => format!("after {}, {}", human_ms(report.duration_ms), left(report)),
    };
    vec![
        ("event", plain(&report.event_id)),
        ("seen by", source),
        ("detected", format!("{}{}", time(&report.detected), first.unwrap_or_default())),
        ("deadline", deadline.map_or_else(|| "none named".into(), |at| format!("{}{after}", time(at)))),
        ("finished", finished),
    ]
}

/// How the end lies to the deadline.
fn left(report: &EventReport) -> String {
    let deadline = if report.deadline.is_some() { "the deadline" } else { "the assumed deadline" };
    if report.left_seconds > 0.0 {
        return format!("{} before {deadline}", exact(report.left_seconds));
    }
    let late = notice_seconds(report).map(|notice| report.duration_ms / 1e3 - notice).filter(|late| *late >= 0.05);
    late.map_or_else(|| format!("at or after {deadline}"), |late| format!("{} after {deadline}", exact(late)))
}

/// Seconds from detection to the deadline that the notice named.
fn notice_seconds(report: &EventReport) -> Option<f64> {
    let detected: jiff::Timestamp = report.detected.parse().ok()?;
    let deadline: jiff::Timestamp = report.deadline.as_ref()?.parse().ok()?;
    Some(deadline.duration_since(detected).as_secs_f64())
}

/// The handlers as they started; those that never did come last.
fn in_order(report: &EventReport) -> Vec<&HandlerReport> {
    let mut handlers: Vec<&HandlerReport> = report.handlers.iter().collect();
    let start = |handler: &HandlerReport| handler.start_ms.unwrap_or(f64::INFINITY);
    handlers.sort_by(|a, b| {
        start(a).total_cmp(&start(b)).then(b.priority.cmp(&a.priority)).then(a.handler.cmp(&b.handler))
    });
    handlers
}

/// The word for how a handler ended.
const fn ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Handled => "handled",
        Ended::Declined => "nothing to do",
        Ended::Failed => "failed",
        Ended::TimedOut => "timed out",
        Ended::Abandoned => "abandoned",
        Ended::Panicked => "panicked",
        Ended::Crashed => "crashed",
        Ended::Cancelled => "cancelled",
        Ended::NotRun => "not run",
    }
}

/// The word for whether its effect was seen.
const fn verified(verified: Verified) -> &'static str {
    match verified {
        Verified::Yes => "yes",
        Verified::No => "no",
        Verified::Unknown => "unknown",
        Verified::NotAsked => "-",
    }
}

fn coloured(paint: Paint, word: &str, width: usize) -> String {
    paint.text(tone(word), &format!("{word:<width$}"))
}
