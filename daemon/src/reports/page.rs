//! The report as one HTML file, for people: readable without a network, a script or anything else beside it.
//!
//! Inputs: a report, already free of secrets. Outputs: HTML with the picture inside. Pure. Must never pass on markup of a
//! plugin or a cloud: the template escapes whatever it is given, and the page allows itself nothing but its own style.

use super::evidence::{self, Members, Row};
use super::reading::{at_once, ended, in_order, left, notice_seconds, shape, verified};
use super::timeline::{Picture, WIDTH, picture};
use super::verdict::verdict;
use super::words::{count, exact, human, human_ms, plain, time};
use crate::dispatch::report::{Ended, EventReport, HandlerReport, Verified};
use askama::Template;
use serde_json::Value;

/// Most lines of evidence that are shown of one handler, and most characters of one; the JSON has them all.
const LINES_MAX: usize = 200;
const CHARS_MAX: usize = 4_000;
/// Most characters of the event's own document.
const DOCUMENT_CHARS_MAX: usize = 64 * 1024;
/// Shapes with what they stand for, in the order of the legend.
const LEGEND: [(&str, &str); 6] = [
    ("done", "handled"),
    ("idle", "nothing to do"),
    ("failed", "failed or crashed"),
    ("late", "out of time"),
    ("stopped", "cancelled"),
    ("skipped", "not run"),
];

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    event_type: String,
    about: String,
    event_id: String,
    notices: Vec<&'static str>,
    is_well: bool,
    sentence: String,
    facts: Vec<(&'static str, String)>,
    totals: Vec<(String, &'static str)>,
    width: f64,
    picture: Option<Picture>,
    legend: &'static [(&'static str, &'static str)],
    handlers: Vec<Entry>,
    skipped: Vec<(String, String)>,
    document: String,
    version: &'static str,
}

/// A handler's part of the table.
struct Entry {
    name: String,
    /// Where it is configured; empty where that goes without saying.
    instance: String,
    order: String,
    began: String,
    took: String,
    granted: String,
    left: String,
    shape: &'static str,
    word: &'static str,
    attempts: String,
    seal: &'static str,
    seen: &'static str,
    error: String,
    told: Vec<Line>,
    /// What its verification saw.
    proof: Vec<Line>,
    is_more: bool,
}

impl Entry {
    /// Whether there is nothing to say of it but its numbers.
    fn is_silent(&self) -> bool {
        self.error.is_empty() && self.told.is_empty() && self.proof.is_empty()
    }
}

/// A line of evidence.
struct Line {
    name: String,
    before: String,
    value: String,
}

/// The page.
///
/// # Errors
/// None in practice: writing to a text does not fail.
pub fn html(report: &EventReport) -> Result<String, askama::Error> {
    let verdict = verdict(report);
    let page = Page {
        event_type: plain(&report.event_type),
        about: about(&report.event),
        event_id: plain(&report.event_id),
        notices: notices(&report.event),
        is_well: verdict.is_well,
        sentence: verdict.sentence,
        facts: facts(report),
        totals: totals(report),
        width: WIDTH,
        picture: picture(report),
        legend: &LEGEND,
        handlers: in_order(report).into_iter().map(|handler| entry(handler, &report.event_type)).collect(),
        skipped: skipped(report),
        document: document(&report.event),
        version: env!("CARGO_PKG_VERSION"),
    };
    page.render()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(plain).filter(|text| !text.is_empty())
}

/// The machine and what happens to it.
fn about(event: &Value) -> String {
    let data = &event["data"];
    let place = text(&data["zone"]).or_else(|| text(&data["region"]));
    let action = text(&data["action"]).filter(|action| action != "none");
    let parts = [text(&data["instanceID"]), text(&data["instanceType"]), place, action];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// What has to be known before anything else.
fn notices(event: &Value) -> Vec<&'static str> {
    let is = |key: &str| event[key] == true;
    let mut notices = Vec::new();
    if is("drill") {
        notices.push("A drill: handlers did only what can be undone, and checked the rest.");
    }
    match (is("simulated"), is("drill")) {
        (true, true) => notices.push("No cloud sent this notice; an operator did."),
        (true, false) => {
            notices.push("Simulated: no cloud sent this notice, an operator did. The handlers did their real work.");
        }
        _ => {}
    }
    notices
}

fn facts(report: &EventReport) -> Vec<(&'static str, String)> {
    let (event, data) = (&report.event, &report.event["data"]);
    let first = report.first_start_us.map(|us| format!(", first handler {} later", human(us / 1e6)));
    let after =
        notice_seconds(report).map_or_else(String::new, |seconds| format!(", {} after detection", exact(seconds)));
    let finished = match report.state.as_str() {
        "running" => format!("not yet, after {}; {} left", human_ms(report.duration_ms), exact(report.left_seconds)),
        _ => format!("after {}, {}", human_ms(report.duration_ms), left(report)),
    };
    let severity = [text(&event["severity"]), text(&data["noticeKind"])].into_iter().flatten().collect::<Vec<_>>();
    let facts = vec![
        ("seen by", text(&event["source"]).unwrap_or_default()),
        ("notice", severity.join(", ")),
        ("withdraws", text(&data["cancels"]).unwrap_or_default()),
        ("detected", format!("{}{}", time(&report.detected), first.unwrap_or_default())),
        (
            "deadline",
            report.deadline.as_deref().map_or_else(|| "none named".into(), |at| format!("{}{after}", time(at))),
        ),
        ("finished", finished),
        ("state", plain(&report.state)),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Numbers with what they count; of what there is nothing, nothing is said, but of verifications.
fn totals(report: &EventReport) -> Vec<(String, &'static str)> {
    let number = |what: &dyn Fn(&HandlerReport) -> bool| report.handlers.iter().filter(|h| what(h)).count();
    let of = |shapes: &[&str]| number(&|h| shapes.contains(&shape(h.status)));
    let attempts: u32 = report.handlers.iter().map(|h| h.attempts).fold(0, u32::saturating_add);
    let spent: f64 = report.handlers.iter().map(|h| h.duration_ms).sum();
    let counts = [
        (report.handlers.len(), if report.handlers.len() == 1 { "handler" } else { "handlers" }),
        (of(&["done"]), "handled"),
        (number(&|h| h.verified == Verified::Yes), "verified"),
        (number(&|h| h.verified == Verified::No), "not verified"),
        (of(&["idle"]), "had nothing to do"),
        (of(&["failed"]), "failed"),
        (of(&["late"]), "out of time"),
        (of(&["stopped"]), "cancelled"),
        (of(&["skipped"]), "not run"),
        (attempts as usize, if attempts == 1 { "attempt" } else { "attempts" }),
    ];
    let always = ["handlers", "handler", "handled", "verified"];
    let counts = counts.into_iter().filter(|(count, what)| *count > 0 || always.contains(what));
    let counts = counts.map(|(count, what)| (count.to_string(), what));
    counts.chain([(human_ms(spent), "of handlers' time"), (exact(report.left_seconds), "left at the end")]).collect()
}

fn entry(handler: &HandlerReport, event_type: &str) -> Entry {
    let has_run = handler.start_ms.is_some();
    let shown = |text: String| if has_run { text } else { "–".into() };
    let order = match at_once(handler) {
        true => format!("{}, at once", handler.priority),
        false => handler.priority.to_string(),
    };
    // Where it is configured is worth a word only when that is not the event's own type.
    let usual = format!("{event_type}/{}", handler.handler);
    let (told, is_more) = lines(handler.result.as_ref());
    let (proof, is_more_proof) = lines(handler.evidence.as_ref());
    Entry {
        name: plain(&handler.handler),
        instance: Some(&handler.instance).filter(|own| **own != usual).map(|own| plain(own)).unwrap_or_default(),
        order,
        began: handler.start_ms.map_or_else(|| "–".into(), |at| format!("+{}", human_ms(at))),
        took: shown(human_ms(handler.duration_ms)),
        granted: shown(human_ms(handler.budget_ms)),
        left: exact(handler.left_seconds),
        shape: shape(handler.status),
        word: ended(handler.status),
        attempts: if handler.attempts > 1 { count(handler.attempts as usize, "attempt") } else { String::new() },
        seal: match handler.verified {
            Verified::Yes => "verified",
            Verified::No => "unverified",
            Verified::Unknown => "unknown",
            Verified::NotAsked => "",
        },
        seen: match handler.verified {
            Verified::NotAsked => "not asked",
            asked => verified(asked),
        },
        error: handler.error.as_deref().map(plain).unwrap_or_default(),
        told,
        proof,
        is_more: is_more || is_more_proof,
    }
}

/// Lines of evidence, and whether something of it is left out.
fn lines(members: Option<&Members>) -> (Vec<Line>, bool) {
    let rows: Vec<Row> = members.map(evidence::rows).unwrap_or_default();
    let is_long = |text: &str| text.chars().nth(CHARS_MAX).is_some();
    let is_more = rows.len() > LINES_MAX || rows.iter().any(|row| is_long(&row.value) || is_long(&row.name));
    let cut = |text: &str| super::words::cut(text, CHARS_MAX);
    let line = |row: &Row| Line {
        name: cut(&row.name),
        before: row.before.as_deref().map(cut).unwrap_or_default(),
        value: cut(&row.value),
    };
    (rows.iter().take(LINES_MAX).map(line).collect(), is_more)
}

/// What was not done, and why: whole handlers, and steps that a handler says it left out.
fn skipped(report: &EventReport) -> Vec<(String, String)> {
    let mut skipped = Vec::new();
    for handler in in_order(report) {
        let name = plain(&handler.handler);
        if handler.status == Ended::NotRun {
            let why = handler.error.as_deref().map_or_else(|| "no reason was told".into(), plain);
            skipped.push((name.clone(), format!("not run: {why}")));
        }
        let steps = handler.result.as_ref().map(evidence::left_out).unwrap_or_default();
        skipped.extend(steps.into_iter().map(|step| (name.clone(), super::words::cut(&step, CHARS_MAX))));
    }
    skipped.truncate(LINES_MAX);
    skipped
}

fn document(event: &Value) -> String {
    // A JSON value always has a text.
    super::words::cut(&serde_json::to_string_pretty(event).unwrap_or_default(), DOCUMENT_CHARS_MAX)
}

#[cfg(test)]
mod tests;
