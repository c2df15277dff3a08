//! Whether a configuration has the right shape: known keys, right types, numbers within their limits.
//!
//! Responsibilities: holding a document against the generated JSON Schema and reporting everything that differs, not only the
//! first. Inputs: the merged document, the schema. Outputs: findings. Must never judge what a schema cannot say: that is
//! `check`'s.

use serde_json::{Map, Value};

use super::path::JsonPath;
use super::problem::{Finding, describe, describe_type};
use super::suggest::closest;

/// Everything in `document` that differs from `schema`, in the order of the document.
pub(super) fn findings(document: &Value, schema: &Value) -> Vec<Finding> {
    let mut walk = Walk { root: schema, findings: Vec::new() };
    walk.value(document, schema, &JsonPath::default());
    walk.findings
}

struct Walk<'s> {
    root: &'s Value,
    findings: Vec<Finding>,
}

impl<'s> Walk<'s> {
    fn value(&mut self, value: &Value, schema: &'s Value, path: &JsonPath) {
        let schema = self.target(schema);
        if !fits(value, schema) {
            // What stands where the plugin's own settings belong may be a secret.
            let is_private = *path == path_of_config(path) || is_of_post(path) || is_token(path);
            let found = if is_private { describe_type(value).to_owned() } else { describe(value) };
            self.findings.push(Finding::new(path.clone(), found, expected(schema), hint(value, schema)));
            return;
        }
        match value {
            Value::Object(members) => self.members(members, schema, path),
            Value::Array(items) => {
                if let Some(of_items) = schema.get("items") {
                    items.iter().enumerate().for_each(|(index, item)| self.value(item, of_items, &path.index(index)));
                }
            }
            _ => {}
        }
    }

    fn members(&mut self, members: &Map<String, Value>, schema: &'s Value, path: &JsonPath) {
        let known = schema.get("properties").and_then(Value::as_object);
        for (key, member) in members {
            match known.and_then(|known| known.get(key)).or_else(|| schema.get("additionalProperties")) {
                Some(Value::Bool(false)) => self.unknown(key, known, path),
                Some(of_member) => self.value(member, of_member, &path.key(key)),
                None => {}
            }
        }
        for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(key) {
                let found = format!("no \"{key}\"");
                self.findings.push(Finding::new(path.clone(), found, format!("\"{key}\" to be given"), ""));
            }
        }
    }

    fn unknown(&mut self, key: &str, known: Option<&Map<String, Value>>, path: &JsonPath) {
        let mut keys: Vec<&str> = known.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        let hint = match closest(key, keys.iter().copied()) {
            Some(meant) => format!("Did you mean \"{meant}\"?"),
            None => format!("Known here: {}.", keys.join(", ")),
        };
        self.findings.push(Finding::new(path.key(key), "an unknown key", "one of the known keys", hint));
    }

    /// The schema itself, or the one it refers to.
    fn target(&self, schema: &'s Value) -> &'s Value {
        let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }
}

/// Whether it is the address that reports are sent to, or one of the headers.
fn is_of_post(path: &JsonPath) -> bool {
    let post = JsonPath::default().key("report").key("post");
    path.0.starts_with(&post.key("url").0) || path.0.starts_with(&post.key("headers").0)
}

/// Whether it is what stands for the dashboard's token.
fn is_token(path: &JsonPath) -> bool {
    path.0.starts_with(&JsonPath::default().key("control").key("dashboard").key("token").0)
}

/// The same path with its last step being `config`.
fn path_of_config(path: &JsonPath) -> JsonPath {
    let above = path.0.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default();
    JsonPath(above).key("config")
}

fn fits(value: &Value, schema: &Value) -> bool {
    if let Some(words) = words(schema) {
        return value.as_str().is_some_and(|value| words.contains(&value));
    }
    let types = types(schema);
    if !types.is_empty() && !types.iter().any(|wanted| has_type(value, wanted)) {
        return false;
    }
    let Some(number) = value.as_f64() else { return true };
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    limit("minimum").is_none_or(|min| number >= min)
        && limit("maximum").is_none_or(|max| number <= max)
        && limit("exclusiveMinimum").is_none_or(|min| number > min)
}

fn has_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The words of an enumeration.
fn words(schema: &Value) -> Option<Vec<&str>> {
    let cases = schema.get("oneOf")?.as_array()?;
    cases.iter().map(|case| case.get("const")?.as_str()).collect()
}

/// What the schema wants, as a phrase.
fn expected(schema: &Value) -> String {
    if let Some(words) = words(schema) {
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        return format!("one of {}", quoted.join(", "));
    }
    let noun = match types(schema).first() {
        Some(&"boolean") => return "true or false".to_owned(),
        Some(&"string") => return "a string".to_owned(),
        Some(&"array") => return "a list".to_owned(),
        Some(&"integer") => "a whole number",
        Some(&"number") => "a number",
        _ => return "an object".to_owned(),
    };
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    match (limit("minimum"), limit("exclusiveMinimum"), limit("maximum")) {
        (Some(min), _, Some(max)) => format!("{noun} from {min} to {max}"),
        (_, Some(min), Some(max)) => format!("{noun} above {min}, at most {max}"),
        _ => noun.to_owned(),
    }
}

fn hint(value: &Value, schema: &Value) -> String {
    if let (Value::String(text), Some(words)) = (value, words(schema)) {
        return closest(text, words).map(|meant| format!("Did you mean \"{meant}\"?")).unwrap_or_default();
    }
    let unquoted: Option<Value> = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    if unquoted.is_some_and(|unquoted| fits(&unquoted, schema)) {
        "Remove the quotes.".to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::json_schema;
    use super::*;
    use serde_json::json;

    /// Keywords that `fits` and `Walk` obey, and those that ask for nothing.
    const KEYWORDS: [&str; 17] = [
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "const",
        "default",
        "description",
        "exclusiveMinimum",
        "format",
        "items",
        "maximum",
        "minimum",
        "oneOf",
        "properties",
        "required",
        "title",
        "type",
    ];

    fn each_schema(schema: &Value, visit: &mut dyn FnMut(&Map<String, Value>)) {
        let Some(object) = schema.as_object() else { return };
        visit(object);
        for holder in ["$defs", "properties"] {
            let held = object.get(holder).and_then(Value::as_object).into_iter().flatten();
            held.for_each(|(_, below)| each_schema(below, visit));
        }
        for holder in ["items", "additionalProperties"] {
            object.get(holder).into_iter().for_each(|below| each_schema(below, visit));
        }
        let cases = object.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        cases.for_each(|below| each_schema(below, visit));
    }

    #[test]
    fn the_schema_says_nothing_that_is_not_checked() {
        let mut count = 0;
        each_schema(&json_schema(), &mut |schema| {
            count += 1;
            for keyword in schema.keys() {
                assert!(KEYWORDS.contains(&keyword.as_str()), "{keyword} in {schema:?}");
            }
            if let Some(Value::String(reference)) = schema.get("$ref") {
                assert!(json_schema().pointer(&reference[1..]).is_some(), "{reference}");
            }
        });
        assert!(count > 40, "only {count} schemas were seen");
    }

    #[test]
    fn every_setting_has_a_description() {
        each_schema(&json_schema(), &mut |schema| {
            for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                assert!(property.get("description").is_some(), "{key}");
            }
        });
    }

    #[test]
    fn everything_that_is_wrong_is_found_not_only_the_first() {
        let document = json!({"log": {"level": "loud"}, "dispatch": {"threads": 0, "x": 1}, "control": []});
        let found: Vec<String> = findings(&document, &json_schema()).iter().map(|f| f.path.to_string()).collect();
        assert_eq!(found, ["control", "dispatch.threads", "dispatch.x", "log.level"]);
    }
}
