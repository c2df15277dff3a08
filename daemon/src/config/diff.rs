//! What a reload changes, in words.
//!
//! Responsibilities: comparing two configurations. Inputs: the old one, the new one. Outputs: one sentence for each change, and
//! whether it takes a restart. Must never show what a handler's `config` or `report.post` holds, only that it changed.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

use super::path::JsonPath;
use super::schema::{Config, EventHandlers, Handler, SourcePlugin};
use super::scrub::redacted_config;

/// Settings that are only read at the start: threads, locked memory, open files, sockets and sources outlive a reload.
const AT_START: [&str; 41] = [
    "state_directory",
    "control",
    "apps",
    "fleet",
    "dispatch.threads",
    "dispatch.rt_priority",
    "dispatch.cpu",
    "dispatch.one_cpu",
    "dispatch.self_test",
    "dispatch.lock_memory",
    "dispatch.on_crash",
    "log",
    "sources.aws.enabled",
    "sources.aws.endpoint",
    "sources.aws.allow_imds_v1",
    "sources.aws.request_timeout_ms",
    "sources.alibaba.enabled",
    "sources.alibaba.endpoint",
    "sources.alibaba.request_timeout_ms",
    "sources.tencent.enabled",
    "sources.tencent.endpoint",
    "sources.tencent.request_timeout_ms",
    "sources.detect",
    "sources.imds_socket",
    "sources.gcp.enabled",
    "sources.gcp.endpoint",
    "sources.gcp.preemption_notice_seconds",
    "sources.gcp.hold_seconds",
    "sources.gcp.request_timeout_ms",
    "sources.azure.enabled",
    "sources.azure.endpoint",
    "sources.azure.request_timeout_ms",
    "sources.system.enabled",
    "sources.system.events_max",
    "sources.system.events_window_seconds",
    "sources.system.disk",
    "sources.system.memory",
    "sources.system.network",
    "sources.system.clock",
    "sources.system.units",
    "sources.system.hardware",
];

/// One thing that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What differs, in words without secrets.
    pub text: String,
    /// Whether the running daemon cannot take it up.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.needs_restart { " (takes effect after a restart)" } else { "" };
        write!(f, "{}{suffix}", self.text)
    }
}

impl Config {
    /// What differs between `old` and `new`, handlers first. Empty when nothing does.
    pub fn diff(old: &Self, new: &Self) -> Vec<Change> {
        let mut texts = Vec::new();
        for (key, before, after) in paired(&old.event_handlers, &new.event_handlers) {
            event_handlers(key, before, after, &mut texts);
        }
        let mut changes: Vec<Change> = texts.into_iter().map(|text| Change { text, needs_restart: false }).collect();
        for (path, text) in settings(&shown(old), &shown(new)) {
            let is_below = |start: &str| path == start || path.starts_with(&format!("{start}."));
            let needs_restart = AT_START.iter().any(|start| is_below(start));
            changes.push(Change { text: format!("{path}: {text}"), needs_restart });
        }
        changes.extend(source_plugins(&old.sources.plugins, &new.sources.plugins));
        if old.report.post != new.report.post {
            let text = match (&old.report.post, &new.report.post) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            changes.push(Change { text: format!("report.post: {text}"), needs_restart: false });
        }
        changes
    }
}

/// The settings that may be shown as they are: neither handlers nor where reports are sent to.
fn shown(config: &Config) -> Value {
    let mut json = without(config, "event_handlers");
    if let Some(report) = json.get_mut("report").and_then(Value::as_object_mut) {
        report.remove("post");
    }
    if let Some(sources) = json.get_mut("sources").and_then(Value::as_object_mut) {
        sources.remove("plugins");
    }
    json
}

/// What differs of the sources that are plugins; they are made at the start only.
fn source_plugins(old: &[SourcePlugin], new: &[SourcePlugin]) -> Vec<Change> {
    let by_name = |sources: &[SourcePlugin]| -> BTreeMap<String, SourcePlugin> {
        sources.iter().map(|source| (source.called().to_owned(), source.clone())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let different = paired(&old, &new).filter(|(_, before, after)| before != after);
    let told = different.map(|(name, before, after)| match (before, after) {
        (None, _) => format!("source {name}: added"),
        (_, None) => format!("source {name}: removed"),
        _ => format!("source {name}: changed"),
    });
    told.map(|text| Change { text, needs_restart: true }).collect()
}

fn event_handlers(key: &str, before: Option<&EventHandlers>, after: Option<&EventHandlers>, texts: &mut Vec<String>) {
    let none = EventHandlers::default();
    let (old, new) = (before.unwrap_or(&none), after.unwrap_or(&none));
    match (before, after) {
        (None, Some(_)) => texts.push(format!("event {key}: added")),
        (Some(_), None) => texts.push(format!("event {key}: removed")),
        _ => {}
    }
    for (path, text) in settings(&without(old, "plugins"), &without(new, "plugins")) {
        texts.push(format!("event {key}: {path} {text}"));
    }
    let (old, new) = (by_name(&old.plugins), by_name(&new.plugins));
    for (name, before, after) in paired(&old, &new) {
        match (before, after) {
            (None, _) => texts.push(format!("handler {name} of {key}: added")),
            (_, None) => texts.push(format!("handler {name} of {key}: removed")),
            (Some(before), Some(after)) => {
                let changed = settings(&without(before, "config"), &without(after, "config"));
                let mut parts: Vec<String> = changed.iter().map(|(path, text)| format!("{path} {text}")).collect();
                if before.config != after.config {
                    parts.push("config changed".to_owned());
                }
                if !parts.is_empty() {
                    texts.push(format!("handler {name} of {key}: {}", parts.join(", ")));
                }
            }
        }
    }
}

fn by_name(handlers: &[Handler]) -> BTreeMap<String, &Handler> {
    handlers.iter().map(|handler| (handler.called().to_owned(), handler)).collect()
}

/// Every key of either map with what both have under it.
fn paired<'m, T>(
    old: &'m BTreeMap<String, T>,
    new: &'m BTreeMap<String, T>,
) -> impl Iterator<Item = (&'m str, Option<&'m T>, Option<&'m T>)> {
    let added = new.keys().filter(|key| !old.contains_key(*key));
    old.keys().chain(added).map(|key| (key.as_str(), old.get(key), new.get(key)))
}

/// A value as JSON without one member. Our own types always have a JSON form.
fn without(value: &impl serde::Serialize, key: &str) -> Value {
    let mut json = serde_json::to_value(value).unwrap_or_default();
    if let Some(object) = json.as_object_mut() {
        object.remove(key);
    }
    json
}

/// The paths at which two documents differ, each with "OLD -> NEW".
fn settings(old: &Value, new: &Value) -> Vec<(String, String)> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    leaves(old, &JsonPath::default(), &mut before);
    leaves(new, &JsonPath::default(), &mut after);
    let shown = |value: Option<&Value>| value.map_or("not set".to_owned(), |value| redacted_config(value).to_string());
    let different = paired(&before, &after).filter(|(_, old, new)| old != new);
    different.map(|(path, old, new)| (path.to_owned(), format!("{} -> {}", shown(old), shown(new)))).collect()
}

/// Everything that is no object, by its path.
fn leaves(value: &Value, path: &JsonPath, found: &mut BTreeMap<String, Value>) {
    match value.as_object() {
        Some(members) => members.iter().for_each(|(key, member)| leaves(member, &path.key(key), found)),
        None => {
            found.insert(path.to_string(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(value: Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_reload_says_what_changed_and_what_needs_a_restart() {
        let old = config(json!({
            "event_handlers": {
                "cloud.spot.interrupt": {"polling_interval_seconds": 5, "plugins": [
                    {"name": "a", "priority": 80, "timeout_seconds": 30, "config": {"password": "hunter2"}},
                    {"name": "b"}
                ]},
                "cloud.spot.rebalance": {"plugins": [{"name": "c"}]}
            },
            "dispatch": {"threads": 4}
        }));
        let new = config(json!({
            "event_handlers": {
                "cloud.spot.interrupt": {"polling_interval_seconds": 0.5, "plugins": [
                    {"name": "d"},
                    {"name": "a", "priority": 90, "config": {"password": "swordfish"}}
                ]},
                "system.shutdown": {"enabled": false}
            },
            "deadlines": {"cloud.*": 60},
            "plugin_directories": ["/opt/plugins"],
            "dispatch": {"finish_before_seconds": 2}
        }));
        let told: Vec<String> = Config::diff(&old, &new).iter().map(ToString::to_string).collect();
        let expected = [
            "event cloud.spot.interrupt: polling_interval_seconds 5.0 -> 0.5",
            "handler a of cloud.spot.interrupt: priority 80 -> 90, timeout_seconds 30.0 -> not set, config changed",
            "handler b of cloud.spot.interrupt: removed",
            "handler d of cloud.spot.interrupt: added",
            "event cloud.spot.rebalance: removed",
            "handler c of cloud.spot.rebalance: removed",
            "event system.shutdown: added",
            "event system.shutdown: enabled true -> false",
            "dispatch.finish_before_seconds: 1.0 -> 2.0",
            "dispatch.threads: 4 -> not set (takes effect after a restart)",
            "deadlines[\"cloud.*\"]: not set -> 60.0",
            "plugin_directories: not set -> [\"/opt/plugins\"]",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn where_reports_go_changes_without_being_shown() {
        let of = |url: &str, token: &str| {
            config(
                json!({"report": {"file": "/r", "post": {"url": url, "headers": {"token": token, "x": "swordfish"}}}}),
            )
        };
        let told = |old: &Config, new: &Config| {
            Config::diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let (one, two) = (of("https://h/hunter2", "a"), of("https://h/hunter2", "swordfish"));
        assert_eq!(told(&one, &two), "report.post: changed");
        assert_eq!(told(&one, &Config::default()), "report.file: \"/r\" -> not set; report.post: removed");
        assert_eq!(told(&Config::default(), &one), "report.file: not set -> \"/r\"; report.post: added");
        assert!(!format!("{one:?}").contains("hunter2") && !format!("{two:?}").contains("swordfish"));
    }

    #[test]
    fn a_source_that_is_a_plugin_changes_at_a_restart_and_without_being_shown() {
        let of =
            |secret: &str| config(json!({"sources": {"plugins": [{"name": "nimbus", "config": {"url": secret}}]}}));
        let told = |old: &Config, new: &Config| {
            Config::diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let (one, two) = (of("hunter2"), of("swordfish"));
        assert_eq!(told(&one, &two), "source nimbus: changed (takes effect after a restart)");
        assert_eq!(told(&one, &Config::default()), "source nimbus: removed (takes effect after a restart)");
        assert_eq!(told(&Config::default(), &one), "source nimbus: added (takes effect after a restart)");
        assert_eq!(told(&one, &one), "");
    }

    #[test]
    fn another_order_of_the_same_handlers_is_no_change() {
        let one = config(json!({"event_handlers": {"*": {"plugins": [{"name": "a"}, {"name": "b"}]}}}));
        let two = config(json!({"event_handlers": {"*": {"plugins": [{"name": "b"}, {"name": "a"}]}}}));
        assert_eq!(Config::diff(&one, &two), Vec::new());
    }
}
