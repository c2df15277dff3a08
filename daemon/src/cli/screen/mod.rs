//! The report screen: one event, readable at three in the morning.
//!
//! Inputs: a report. Outputs: text: what it was, a picture of who ran when, what each handler did, and
//! one sentence that says whether it was well. Must never leave out a handler that did not succeed.

mod details;
mod timeline;

use super::duration::{exact, human, human_ms};
use super::paint::{Paint, Tone};
use super::render::{facts, plain, time, tone};
use crate::dispatch::report::EventReport;
use crate::reports::reading::{in_order, left, notice_seconds};
pub use crate::reports::verdict::verdict;
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

fn coloured(paint: Paint, word: &str, width: usize) -> String {
    paint.text(tone(word), &format!("{word:<width$}"))
}
