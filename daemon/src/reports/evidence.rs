//! A plugin's evidence as lines of name and value.
//!
//! Inputs: what a handler or its verification told, JSON of any form. Outputs: rows, `before -> after` where both are
//! there; the steps that the plugin left out. Must never assume that evidence has a form: whatever it is, it is shown.

use super::words::{plain, value};
use serde_json::{Map, Value};

/// A JSON object's members.
pub type Members = Map<String, Value>;

/// One line of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is of.
    pub name: String,
    /// What it was before, where that was told and differs.
    pub before: Option<String>,
    /// What it is.
    pub value: String,
}

impl Row {
    fn new(name: &str, value: String) -> Self {
        Self { name: plain(name), before: None, value }
    }

    /// Both values as one text: `4812 -> 0`.
    pub fn text(&self) -> String {
        self.before.as_ref().map_or_else(|| self.value.clone(), |before| format!("{before} -> {}", self.value))
    }
}

/// The evidence as names and values. A member `evidence` is looked into; in it, `before` and `after` are
/// set against each other.
pub fn rows(result: &Members) -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, member) in result {
        match (key.as_str(), member) {
            ("evidence", Value::Object(inner)) => rows.extend(compared(inner)),
            ("skipped", Value::Array(steps)) => {
                rows.extend(steps.iter().map(|step| Row::new("skipped", skipped(step))));
            }
            ("before" | "after", Value::Object(_)) if both(result).is_some() => {}
            _ => rows.push(Row::new(key, value(member))),
        }
    }
    if let Some((before, after)) = both(result) {
        rows.extend(changes(before, after));
    }
    rows.retain(|row| row.before.is_some() || !matches!(row.value.as_str(), "" | "-" | "{}"));
    rows
}

/// The steps that the plugin says it left out, each as `step: reason` where it has that form.
pub fn left_out(result: &Members) -> Vec<String> {
    let steps = |members: &Members| members.get("skipped").and_then(Value::as_array).cloned().unwrap_or_default();
    let inner = result.get("evidence").and_then(Value::as_object).map(steps).unwrap_or_default();
    steps(result).iter().chain(&inner).map(skipped).collect()
}

fn compared(evidence: &Members) -> Vec<Row> {
    let pairs = both(evidence);
    let is_pair = |key: &str| pairs.is_some() && (key == "before" || key == "after");
    let rest = evidence.iter().filter(|(key, _)| !is_pair(key)).map(|(key, member)| Row::new(key, value(member)));
    pairs.map(|(before, after)| changes(before, after)).unwrap_or_default().into_iter().chain(rest).collect()
}

fn both(members: &Members) -> Option<(&Members, &Members)> {
    Some((members.get("before")?.as_object()?, members.get("after")?.as_object()?))
}

fn changes(before: &Members, after: &Members) -> Vec<Row> {
    let only_after = after.keys().filter(|key| !before.contains_key(*key));
    let row = |key: &String| {
        let of = |side: &Members| side.get(key).map_or_else(|| "-".to_owned(), value);
        let (was, is) = (of(before), of(after));
        Row { before: (was != is).then_some(was), ..Row::new(key, is) }
    };
    before.keys().chain(only_after).map(row).collect()
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
        rows(result.as_object().expect("object")).iter().map(|row| format!("{}: {}", row.name, row.text())).collect()
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

    #[test]
    fn steps_that_were_left_out_are_found_with_their_reasons() {
        let result = json!({"skipped": [{"step": "a", "reason": "no time"}, 7], "evidence": {"skipped": ["b"]}});
        assert_eq!(left_out(result.as_object().expect("object")), ["a: no time", "7", "b"]);
        assert!(left_out(&Members::new()).is_empty());
    }
}
