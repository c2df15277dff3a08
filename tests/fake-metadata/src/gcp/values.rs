//! The values of GCP's metadata server: which there are and how they are written.
//!
//! Responsibilities: the tree, its listings, its JSON; an upcoming maintenance as an object. Inputs: the instance, values.
//! Outputs: bodies. Everything here is pure; it must never know about requests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::change;
use crate::cloud::Moment;
use crate::instance::Instance;
use crate::settings::UpcomingForm;

/// Values by their path below `v1/`.
#[derive(Debug, Default)]
pub(super) struct Values {
    leaves: BTreeMap<String, Leaf>,
}

#[derive(Debug, PartialEq)]
struct Leaf {
    text: String,
    /// How it looks in JSON, when it is no string there.
    json: Option<Value>,
}

impl Values {
    /// What does not change while an instance runs.
    pub(super) fn standing(instance: &Instance) -> Self {
        let mut values = Self::default();
        let project = &instance.account_id;
        let flag = |yes: bool| if yes { "TRUE" } else { "FALSE" };
        let spot = instance.is_spot();
        let number = |text: &str| text.parse::<u64>().map(Value::from).ok();
        values.leaves.insert("instance/id".to_owned(), Leaf { text: instance.id.clone(), json: number(&instance.id) });
        values
            .leaves
            .insert("project/numeric-project-id".to_owned(), Leaf { text: project.clone(), json: number(project) });
        for (path, text) in [
            ("instance/name", instance.name.clone()),
            ("instance/hostname", format!("{}.{}.c.rehearsal.internal", instance.name, instance.zone)),
            ("instance/zone", format!("projects/{project}/zones/{}", instance.zone)),
            ("instance/machine-type", format!("projects/{project}/machineTypes/{}", instance.instance_type)),
            ("instance/cpu-platform", "Intel Cascade Lake".to_owned()),
            ("instance/scheduling/automatic-restart", flag(!spot).to_owned()),
            // A spot instance is never migrated: its only policy is TERMINATE.
            ("instance/scheduling/on-host-maintenance", if spot { "TERMINATE" } else { "MIGRATE" }.to_owned()),
            ("instance/scheduling/preemptible", flag(spot).to_owned()),
            ("project/project-id", "rehearsal".to_owned()),
        ] {
            values.put(path, &text);
        }
        for (key, value) in instance.tags.iter().flatten() {
            values.put(&format!("instance/attributes/{key}"), value);
        }
        values
    }

    pub(super) fn put(&mut self, path: &str, text: &str) {
        self.leaves.insert(path.to_owned(), Leaf { text: text.to_owned(), json: None });
    }

    pub(super) fn put_json(&mut self, path: &str, value: Value) {
        self.leaves.insert(path.to_owned(), Leaf { text: value.to_string(), json: Some(value) });
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.leaves.remove(path);
    }

    /// The paths at which the two differ.
    pub(super) fn differing(&self, other: &Self) -> Vec<String> {
        let differs = |path: &&String| self.leaves.get(*path) != other.leaves.get(*path);
        let mut paths: Vec<String> = self.leaves.keys().chain(other.leaves.keys()).filter(differs).cloned().collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    pub(super) fn is_directory(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }

    /// The leaves below a directory, by their paths inside it.
    fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a str, &'a Leaf)> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        self.leaves.iter().filter_map(move |(path, leaf)| Some((path.strip_prefix(&prefix)?, leaf)))
    }

    /// The body at a path, without a slash at its end; nothing where there is nothing.
    pub(super) fn read(&self, path: &str, is_recursive: bool, json: bool) -> Option<String> {
        if let Some(leaf) = self.leaves.get(path) {
            return Some(if json { leaf.as_json().to_string() } else { leaf.text.clone() });
        }
        if !self.is_directory(path) {
            return None;
        }
        Some(match (is_recursive, json) {
            (true, true) => self.tree(path).to_string(),
            (true, false) => self.below(path).map(|(inner, leaf)| format!("{inner} {}\n", leaf.text)).collect(),
            (false, true) => Value::from(self.children(path)).to_string(),
            (false, false) => self.children(path).iter().map(|child| format!("{child}\n")).collect(),
        })
    }

    /// The names in a directory, directories with a trailing slash.
    fn children(&self, path: &str) -> Vec<&str> {
        let mut children: Vec<&str> = Vec::new();
        for (inner, _) in self.below(path) {
            let child = inner.find('/').map_or(inner, |slash| &inner[..=slash]);
            if children.last() != Some(&child) {
                children.push(child);
            }
        }
        children
    }

    fn tree(&self, path: &str) -> Value {
        let mut tree = Map::new();
        for (inner, leaf) in self.below(path) {
            plant(&mut tree, inner, leaf.as_json());
        }
        Value::Object(tree)
    }
}

/// Puts a value at its path, through the objects on the way.
fn plant(tree: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((directory, rest)) = path.split_once('/') else {
        tree.insert(camel_case(path, '-'), value);
        return;
    };
    let inside = tree.entry(camel_case(directory, '-')).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inside) = inside {
        plant(inside, rest, value);
    }
}

impl Leaf {
    fn as_json(&self) -> Value {
        self.json.clone().unwrap_or_else(|| Value::from(self.text.clone()))
    }
}

/// `machine-type` is `machineType` in JSON.
fn camel_case(name: &str, separator: char) -> String {
    let mut parts = name.split(separator);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut camel, part| {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
        camel
    })
}

/// An announced maintenance, its times resolved.
#[derive(Debug)]
pub(super) struct Upcoming {
    start: Timestamp,
    end: Timestamp,
    latest_start: Option<Timestamp>,
    kind: String,
    status: String,
    can_reschedule: bool,
    reasons: Vec<String>,
}

impl Upcoming {
    pub(super) fn new(upcoming: change::Upcoming, now: Timestamp) -> Self {
        let start = upcoming.window_start.resolve(now);
        Self {
            start,
            end: start.saturating_add(upcoming.window).unwrap_or(start),
            latest_start: upcoming.latest_window_start.map(|when| when.resolve(now)),
            kind: upcoming.kind,
            status: upcoming.status,
            can_reschedule: upcoming.can_reschedule,
            reasons: upcoming.reasons,
        }
    }

    /// The object that `upcoming-maintenance` answers. `can_reschedule` is text, as recorded.
    pub(super) fn shown(&self, form: UpcomingForm, moment: &Moment) -> Value {
        let time = |time: Timestamp| {
            let drifted = time.saturating_add(moment.drift).unwrap_or(time);
            Value::from(drifted.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        };
        let mut fields = vec![
            ("can_reschedule", Value::from(self.can_reschedule.to_string())),
            ("maintenance_status", Value::from(self.status.clone())),
            ("type", Value::from(self.kind.clone())),
            ("window_start_time", time(self.start)),
            ("window_end_time", time(self.end)),
        ];
        fields.extend(self.latest_start.map(|latest| ("latest_window_start_time", time(latest))));
        if !self.reasons.is_empty() {
            fields.push(("maintenance_reasons", Value::from(self.reasons.clone())));
        }
        let named = |name: &str| match form {
            UpcomingForm::CamelCase => camel_case(name, '_'),
            UpcomingForm::SnakeCase | UpcomingForm::Wrapped => name.to_owned(),
        };
        let object: Map<String, Value> = fields.into_iter().map(|(name, value)| (named(name), value)).collect();
        match form {
            UpcomingForm::Wrapped => json!({"Upcoming maintenance": object}),
            UpcomingForm::SnakeCase | UpcomingForm::CamelCase => Value::Object(object),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_json_with_names_in_camel_case() {
        let values = Values::standing(&Instance::of(crate::Provider::Gcp));
        let tree = values.tree("instance");
        assert_eq!(tree["scheduling"]["onHostMaintenance"], "TERMINATE");
        assert!(tree["id"].is_u64());
        assert_eq!(
            values.read("instance/scheduling", false, false).as_deref(),
            Some("automatic-restart\non-host-maintenance\npreemptible\n")
        );
        assert_eq!(values.read("instance/sched", false, false), None);
    }
}
