//! What one handler did, with its evidence.
//!
//! Inputs: one handler's report. Outputs: a heading and lines `name  before -> after`. Must never assume
//! that a plugin's evidence has a form: whatever it is, it is shown.

use super::super::duration::human_ms;
use super::super::paint::{Paint, Tone};
use super::super::render::{count, cut, facts, plain, tone, value};
use super::ended;
use crate::dispatch::report::{HandlerReport, Verified};
use serde_json::{Map, Value};

/// Most lines of evidence that are shown of one handler; `--json` has them all.
const LINES_MAX: usize = 24;
/// Columns that a name of evidence takes at most.
const NAME_COLUMNS_MAX: usize = 32;

type Members = Map<String, Value>;

/// A handler's heading and evidence.
pub fn handler(handler: &HandlerReport, paint: Paint, width: usize) -> String {
    let name = paint.text(Tone::Strong, &plain(&handler.handler));
    let word = ended(handler.status);
    let result = paint.text(tone(word), word);
    let time = match handler.start_ms {
        Some(_) => format!(" in {} of {} granted", human_ms(handler.duration_ms), human_ms(handler.budget_ms)),
        None => String::new(),
    };
    let attempts = match handler.attempts {
        0 | 1 => String::new(),
        n => format!(", {}", count(n as usize, "attempt")),
    };
    let seen = match handler.verified {
        Verified::Yes => format!(", {}", paint.text(Tone::Good, "verified")),
        Verified::No => format!(", {}", paint.text(Tone::Bad, "not verified")),
        Verified::Unknown => ", cannot be verified".into(),
        Verified::NotAsked => String::new(),
    };
    let mut text = format!("{name}: {result}{time}{attempts}{seen}\n");
    if let Some(error) = &handler.error {
        text += &format!("  {} {}\n", paint.text(Tone::Bad, "error:"), plain(error));
    }
    let mut rows = handler.result.as_ref().map(rows).unwrap_or_default();
    for (name, value) in handler.evidence.as_ref().map(self::rows).unwrap_or_default() {
        rows.push((format!("seen afterwards: {name}"), value));
    }
    text + &shown(&rows, paint, width)
}

fn shown(rows: &[(String, String)], paint: Paint, width: usize) -> String {
    let name_columns = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(NAME_COLUMNS_MAX);
    let room = width.saturating_sub(name_columns + 4).max(20);
    let cut_rows: Vec<(String, String)> =
        rows.iter().take(LINES_MAX).map(|(name, value)| (cut(name, NAME_COLUMNS_MAX), cut(value, room))).collect();
    let borrowed: Vec<(&str, String)> = cut_rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let mut text = facts(paint, &borrowed);
    if let Some(more) = rows.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        text += &format!("  and {} (see --json)\n", count(more, "further line"));
    }
    text
}

/// The evidence as names and values. A member `evidence` is looked into; in it, `before` and `after` are
/// set against each other.
fn rows(result: &Members) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (key, member) in result {
        match (key.as_str(), member) {
            ("evidence", Value::Object(inner)) => rows.extend(compared(inner)),
            ("skipped", Value::Array(steps)) => rows.extend(steps.iter().map(|step| (plain("skipped"), skipped(step)))),
            ("before" | "after", Value::Object(_)) if both(result).is_some() => {}
            _ => rows.push((plain(key), value(member))),
        }
    }
    if let Some((before, after)) = both(result) {
        rows.extend(changes(before, after));
    }
    rows.retain(|(_, value)| !value.is_empty() && value != "-" && value != "{}");
    rows
}

fn compared(evidence: &Members) -> Vec<(String, String)> {
    let pairs = both(evidence);
    let is_pair = |key: &str| pairs.is_some() && (key == "before" || key == "after");
    let rest = evidence.iter().filter(|(key, _)| !is_pair(key)).map(|(key, member)| (plain(key), value(member)));
    pairs.map(|(before, after)| changes(before, after)).unwrap_or_default().into_iter().chain(rest).collect()
}

fn both(members: &Members) -> Option<(&Members, &Members)> {
    Some((members.get("before")?.as_object()?, members.get("after")?.as_object()?))
}

fn changes(before: &Members, after: &Members) -> Vec<(String, String)> {
    let only_after = after.keys().filter(|key| !before.contains_key(*key));
    let line = |key: &String| {
        let of = |side: &Members| side.get(key).map_or_else(|| "-".to_owned(), value);
        let (was, is) = (of(before), of(after));
        (plain(key), if was == is { was } else { format!("{was} -> {is}") })
    };
    before.keys().chain(only_after).map(line).collect()
}

fn skipped(step: &Value) -> String {
    match (step["step"].as_str(), step["reason"].as_str()) {
        (Some(name), Some(reason)) => plain(&format!("{name}: {reason}")),
        _ => value(step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows_of(result: &Value) -> Vec<String> {
        rows(result.as_object().expect("object")).into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn before_and_after_are_set_against_each_other_wherever_they_stand() {
        let before = json!({"dirty": 4812, "old": 1, "same": "x"});
        let evidence = json!({"before": before, "goal": 9, "after": {"dirty": 0, "same": "x", "new": true}});
        let expected = ["dirty: 4812 -> 0", "old: 1 -> -", "same: x", "new: - -> true", "goal: 9"];
        assert_eq!(rows_of(&json!({"evidence": evidence})), expected);
        assert_eq!(rows_of(&json!({"before": {"a": 1}, "after": {"a": 2}, "n": 3})), ["n: 3", "a: 1 -> 2"]);
    }

    #[test]
    fn evidence_of_any_form_is_shown_and_empty_members_are_not() {
        let result = json!({"action": "x", "steps": ["a", "b"], "skipped": [{"step": "s", "reason": "r"}, 7],
                            "none": null, "empty": [], "before": 1, "evidence": "plain"});
        let expected = ["action: x", "before: 1", "evidence: plain", "skipped: 7", "skipped: s: r", "steps: a, b"];
        let mut shown = rows_of(&result);
        shown.sort();
        assert_eq!(shown, expected);
    }
}
