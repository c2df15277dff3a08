//! The page of the configuration: every key with its type, default, limits and meaning, and an example.
//! Inputs: the configuration's JSON Schema. Outputs: a page. Must never name a key that the schema does not have.

use super::{NOTE, paragraph, wrapped};
use anyhow::{Context, Result};
use cloudsnooze::config;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Keys of a map, as they stand in paths.
const ANY_KEY: &str = "EVENT_TYPE";

/// What examples show where the schema has no default, by path. Everything else is shown as its type.
const EXAMPLES: &[(&str, &str)] = &[
    ("fleet.credentials", "null"),
    ("fleet.group", "\"db\""),
    ("fleet.member", "\"db-1\""),
    ("fleet.nkey_file", "\"/etc/cloudsnooze/fleet.nk\""),
    ("fleet.role", "\"replica\""),
    ("fleet.servers", "[\"nats://10.0.0.5:4222\", \"nats://10.0.0.6:4222\", \"nats://10.0.0.7:4222\"]"),
    ("fleet.steps[].role", "\"replica\""),
    ("fleet.steps[].timeout_seconds", "40"),
    ("fleet.steps[].most_at_once", "1"),
    ("fleet.tls.ca", "\"/etc/cloudsnooze/ca.pem\""),
    ("fleet.tls.certificate", "\"/etc/cloudsnooze/fleet.pem\""),
    ("fleet.tls.key", "\"/etc/cloudsnooze/fleet.key\""),
    ("$schema", r#""/usr/share/cloudsnooze/config.schema.json""#),
    ("plugin_directories", r#"["/usr/lib/cloudsnooze/plugins", "/usr/local/lib/cloudsnooze/plugins"]"#),
    ("deadlines", r#"{"cloud.autoscaling.terminate": 300, "cloud.maintenance.*": 600, "immediate": 8}"#),
    ("apps.group", r#""apps""#),
    ("apps.socket", r#""/run/cloudsnooze/apps.sock""#),
    ("apps.state_file", r#""/run/cloudsnooze/notice.json""#),
    ("control.group", r#""operators""#),
    ("control.read_group", r#""monitoring""#),
    ("control.emit_group", r#""scripts""#),
    ("control.simulate_group", r#""rehearsals""#),
    ("control.administer_group", r#""admins""#),
    ("control.dashboard.listen", r#""127.0.0.1:7070""#),
    ("control.dashboard.token", r#"{"credential": "dashboard"}"#),
    ("dispatch.cpu", r#"0"#),
    ("dispatch.threads", r#"8"#),
    ("event_handlers.EVENT_TYPE.polling_interval_seconds", r#"1"#),
    ("event_handlers.EVENT_TYPE.plugins[].name", r#""mysql-flusher""#),
    ("event_handlers.EVENT_TYPE.plugins[].id", r#""orders-database""#),
    ("event_handlers.EVENT_TYPE.plugins[].priority", r#"80"#),
    ("event_handlers.EVENT_TYPE.plugins[].timeout_seconds", r#"30"#),
    ("event_handlers.EVENT_TYPE.plugins[].minimum_seconds", r#"5"#),
    (
        "event_handlers.EVENT_TYPE.plugins[].sha256",
        r#""abababababababababababababababababababababababababababababababab""#,
    ),
    ("event_handlers.EVENT_TYPE.plugins[].user", r#""mysql""#),
    ("event_handlers.EVENT_TYPE.plugins[].isolation", r#""process""#),
    ("event_handlers.EVENT_TYPE.plugins[].writable_directories", r#"["/var/backups/orders"]"#),
    ("event_handlers.EVENT_TYPE.plugins[].config", r#"{"connection_string": {"credential": "mysql"}}"#),
    ("event_handlers.EVENT_TYPE.plugins[].when.types", r#"["cloud.spot.interrupt"]"#),
    ("event_handlers.EVENT_TYPE.plugins[].when.actions", r#"["terminate", "stop"]"#),
    ("report.file", r#""/var/lib/cloudsnooze/reports""#),
    ("report.post.url", r#"{"credential": "collector-url"}"#),
    ("report.post.headers", r#"{"Authorization": {"credential": "collector"}}"#),
    ("report.post.ca_file", r#""/etc/ssl/private-ca.pem""#),
    ("sources.aws.enabled", r#"true"#),
    ("sources.azure.enabled", r#"false"#),
    ("sources.gcp.enabled", r#"false"#),
    ("sources.alibaba.enabled", r#"false"#),
    ("sources.alibaba.endpoint", r#""http://100.100.100.200""#),
    ("sources.tencent.enabled", r#"false"#),
    ("sources.tencent.endpoint", r#""http://metadata.tencentyun.com""#),
    ("sources.plugins[].name", r#""aws-queue""#),
    ("sources.plugins[].id", r#""notices""#),
    ("sources.plugins[].sha256", r#""cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd""#),
    ("sources.plugins[].config", r#"{"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/notices"}"#),
    ("sources.system.disk.mount_points", r#"["/", "/var/lib/mysql"]"#),
    ("sources.system.network.interfaces", r#"["eth0"]"#),
    ("sources.system.network.name_check.name", r#""db.internal.example.com""#),
    ("sources.system.units.names", r#"["nginx.service"]"#),
];

/// A type of the schema and what stands around it.
struct Page<'s> {
    definitions: &'s Map<String, Value>,
    text: String,
}

/// The page.
///
/// # Errors
/// The schema is not of the form that its generator gives.
pub fn page() -> Result<String> {
    let schema = config::generated_json_schema();
    let definitions = schema["$defs"].as_object().context("the schema has no definitions")?;
    let mut page = Page { definitions, text: head() };
    page.section("", &schema, "")?;
    page.text += "## A whole file\n\n";
    page.text += &paragraph(
        "Every key once, with its default or, where it has none, a possible value. Nobody needs so many: `{}` is a configuration.",
    );
    page.text += "```json whole\n";
    page.text += &serde_json::to_string_pretty(&page.example("", &schema))?;
    page.text += "\n```\n";
    Ok(page.text)
}

fn head() -> String {
    let mut text = format!("# Configuration\n\n{NOTE}\n\n");
    text += &paragraph(
        "One JSON file, `/etc/cloudsnooze/cloudsnooze.json`, and `conf.d/*.json` beside it merged over it in the order of their \
         names: objects merge, the handlers of an event type are joined (one of the same `id` or name replaces the earlier), everything \
         else replaces. `snooze config check` names every mistake with its file and path; \
         `snooze reload` takes a good file up and refuses a bad one. Unknown keys are refused.",
    );
    text += &paragraph(
        "This page is the JSON Schema that editors and the loader use (`snooze config schema`), in words. Units are the last word \
         of a key's name. \"none\" as a default means that the key is absent, and the text says what then holds.",
    );
    text
}

impl<'s> Page<'s> {
    /// What a schema refers to, or itself.
    fn resolved<'a>(&self, schema: &'a Value) -> &'a Value
    where
        's: 'a,
    {
        let name = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
        name.and_then(|name| self.definitions.get(name)).unwrap_or(schema)
    }

    /// The keys of an object, and below them the sections of keys that are objects themselves.
    fn section(&mut self, path: &str, schema: &'s Value, meaning: &str) -> Result<()> {
        let object = self.resolved(schema);
        let properties = object["properties"].as_object().context("an object without properties")?;
        if !path.is_empty() {
            let _ = write!(self.text, "## `{path}`\n\n{}", paragraph(meaning));
        }
        let mut below = Vec::new();
        for (key, property) in properties {
            let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let own = match self.inner(&full, property) {
                Some((inner, schema)) => {
                    below.push((inner.clone(), schema, words(property)));
                    format!(" Its keys: [`{inner}`](#{}).", anchor(&inner))
                }
                None => self.choices(property),
            };
            let facts =
                self.facts(property, object["required"].as_array().is_some_and(|all| all.contains(&json!(key))));
            self.text += &wrapped(&format!("- **`{key}`** ({facts}): "), "  ", &format!("{}{own}", words(property)));
        }
        self.text.push('\n');
        if !path.is_empty() {
            let example = serde_json::to_string_pretty(&nested(path, self.shallow(path, object)))?;
            let _ = write!(self.text, "```json\n{example}\n```\n\n");
        }
        for (inner, schema, meaning) in below {
            self.section(&inner, schema, &meaning)?;
        }
        Ok(())
    }

    /// Path and schema of the object that is this key, or that its entries are.
    fn inner<'a>(&self, path: &str, property: &'a Value) -> Option<(String, &'a Value)>
    where
        's: 'a,
    {
        let is_object = |schema: &Value| self.resolved(schema)["properties"].is_object();
        if is_object(property) {
            return Some((path.to_owned(), property));
        }
        let entry = &property["additionalProperties"];
        if entry.is_object() && is_object(entry) {
            return Some((format!("{path}.{ANY_KEY}"), entry));
        }
        let item = &property["items"];
        is_object(item).then(|| (format!("{path}[]"), item))
    }

    /// Type, limits and default.
    fn facts(&self, property: &Value, is_required: bool) -> String {
        let resolved = self.resolved(property);
        let mut facts = self.type_of(property);
        if let Some(limits) = limits(property) {
            facts += &format!(" {limits}");
        }
        if is_required {
            return facts + ", required";
        }
        match &property["default"] {
            Value::Object(_) if resolved["properties"].is_object() => facts,
            Value::Null => facts + ", default: none",
            default => format!("{facts}, default `{}`", compact(default)),
        }
    }

    fn type_of(&self, property: &Value) -> String {
        let resolved = self.resolved(property);
        let kinds: Vec<&str> = match &resolved["type"] {
            Value::String(kind) => vec![kind.as_str()],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let named = |kind: &&str| match *kind {
            "string" => "text".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => format!("list of {}", plural(&self.type_of(&resolved["items"]))),
            "object" if resolved["properties"].is_object() => "object".to_owned(),
            "object" if resolved["additionalProperties"].is_object() => {
                let entries = &resolved["additionalProperties"];
                let limits = limits(entries).map_or_else(String::new, |limits| format!(" {limits}"));
                format!("object of {}{limits}", plural(&self.type_of(entries)))
            }
            other => other.to_owned(),
        };
        let known: Vec<String> = kinds.iter().filter(|kind| **kind != "null").map(named).collect();
        if known.is_empty() { "one of the words below".to_owned() } else { known.join(" or ") }
    }

    /// The words that a key takes, with their meanings.
    fn choices(&self, property: &Value) -> String {
        let schema = if property["items"].is_object() { &property["items"] } else { property };
        let Some(choices) = self.resolved(schema)["oneOf"].as_array() else { return String::new() };
        let told = choices
            .iter()
            .map(|choice| format!(" `{}`: {}", choice["const"].as_str().unwrap_or_default(), words(choice)));
        told.collect()
    }

    /// A value for each key of an object; objects below it are left to their own sections.
    fn shallow(&self, path: &str, object: &Value) -> Value {
        let properties = object["properties"].as_object().into_iter().flatten();
        let shown = properties.filter(|(key, property)| self.inner(key, property).is_none());
        shown.map(|(key, property)| (key.clone(), self.example(&format!("{path}.{key}"), property))).collect()
    }

    /// A value that fits.
    fn example(&self, path: &str, property: &Value) -> Value {
        if let Some((_, given)) = EXAMPLES.iter().find(|(key, _)| *key == path) {
            // A test reads them all.
            return serde_json::from_str(given).unwrap_or_default();
        }
        let resolved = self.resolved(property);
        if let Some(properties) = resolved["properties"].as_object() {
            let below = |key: &String| if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            return properties
                .iter()
                .map(|(key, property)| (key.clone(), self.example(&below(key), property)))
                .collect();
        }
        match self.inner(path, property) {
            Some((inner, schema)) if inner.ends_with("[]") => json!([self.example(&inner, schema)]),
            Some((inner, schema)) => json!({"cloud.spot.*": self.example(&inner, schema)}),
            None if !property["default"].is_null() => property["default"].clone(),
            None => match self.type_of(property).as_str() {
                "true or false" => json!(true),
                "integer" | "number" => property["minimum"].clone(),
                kind if kind.starts_with("list") => json!([]),
                kind if kind.starts_with("object") => json!({}),
                kind if kind.starts_with("one of") => resolved["oneOf"][0]["const"].clone(),
                _ => json!("..."),
            },
        }
    }
}

fn plural(kind: &str) -> String {
    match kind {
        "text" => "texts".to_owned(),
        "number" => "numbers".to_owned(),
        "object" => "objects".to_owned(),
        "one of the words below" => "the words below".to_owned(),
        other => other.to_owned(),
    }
}

fn limits(property: &Value) -> Option<String> {
    let bound = |key: &str| property[key].as_f64();
    let (least, most) = (bound("minimum"), bound("maximum"));
    match (least, bound("exclusiveMinimum"), most) {
        (Some(least), _, Some(most)) => Some(format!("from {least} to {most}")),
        (Some(least), _, None) => Some(format!("from {least}")),
        (None, Some(least), Some(most)) => Some(format!("above {least}, up to {most}")),
        (None, None, Some(most)) => Some(format!("up to {most}")),
        _ => None,
    }
}

/// JSON in one line; a number without the fraction that it does not have.
fn compact(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string())
}

fn words(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

/// The fragment that books and hosts of repositories make of a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric() || "_-".contains(*c)).flat_map(char::to_lowercase).collect()
}

/// `value` at its path: `a.b[]` is `{"a": {"b": [value]}}`.
fn nested(path: &str, value: Value) -> Value {
    path.split('.').rev().fold(value, |inner, part| match part.strip_suffix("[]") {
        Some(key) => json!({key: [inner]}),
        None if part == ANY_KEY => json!({"cloud.spot.*": inner}),
        None => json!({part: inner}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze::config::Config;

    fn keys(schema: &Value, definitions: &Value, found: &mut Vec<String>) {
        for object in definitions.as_object().into_iter().flat_map(Map::values).chain([schema]) {
            found.extend(object["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()));
        }
    }

    #[test]
    fn every_key_of_the_schema_is_on_the_page() {
        let (page, schema) = (page().expect("the page"), config::generated_json_schema());
        let mut wanted = Vec::new();
        keys(&schema, &schema["$defs"], &mut wanted);
        assert!(wanted.len() > 80, "{wanted:?}");
        for key in wanted {
            assert!(page.contains(&format!("- **`{key}`** (")), "{key}");
        }
        for words in
            ["from 1 to 49, default `10`", "default `\"isolate\"`", "`at-once`: With the first handler", "required"]
        {
            assert!(page.contains(words), "{words}");
        }
    }

    #[test]
    fn every_link_within_the_page_has_its_heading() {
        let page = page().expect("the page");
        let headings: Vec<String> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        let links: Vec<&str> = page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(
            links.len() > 15 && links.iter().all(|link| headings.iter().any(|heading| heading == link)),
            "{links:?}"
        );
    }

    #[test]
    fn the_whole_file_is_a_configuration_and_names_no_path_that_is_not_there() {
        let schema = config::generated_json_schema();
        let definitions = schema["$defs"].as_object().expect("definitions");
        let page = Page { definitions, text: String::new() };
        let whole = page.example("", &schema);
        let read: Result<Config, _> = serde_json::from_value(whole.clone());
        assert!(read.is_ok(), "{read:?}\n{whole:#}");
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("cloudsnooze.json");
        std::fs::write(&file, whole.to_string()).expect("written");
        let loaded = Config::load(&file, None);
        assert!(loaded.is_ok(), "{:?}", loaded.err());
        assert!(!whole.to_string().contains("\"...\""), "a key without an example: {whole:#}");
        for (path, given) in EXAMPLES {
            assert!(serde_json::from_str::<Value>(given).is_ok(), "{given}");
            let pointer: String = path
                .split('.')
                .map(|part| match part.strip_suffix("[]") {
                    Some(key) => format!("/{key}/0"),
                    None => format!("/{}", part.replace(ANY_KEY, "cloud.spot.*")),
                })
                .collect();
            assert!(whole.pointer(&pointer).is_some(), "{path} is no key");
        }
    }
}
