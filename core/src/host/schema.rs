//! A handler's configuration against the schema of its plugin, before the plugin sees it.
//!
//! Inputs: JSON Schema text (draft 2020-12), a configuration value. Outputs: one sentence a fault, with
//! the JSON path. Must never print a value of the configuration: it may be a secret. Must never open what a schema refers to.

use super::refusal::Refusal;
use boon::{Compiler, ErrorKind, Schemas, SchemeUrlLoader, ValidationError};
use serde_json::Value;

/// Longest schema accepted, bytes.
const SCHEMA_BYTES_MAX: usize = 256 * 1024;

/// Checks a configuration.
///
/// # Errors
/// BAD_SCHEMA when the schema itself is at fault, CONFIG with every fault of the configuration.
pub fn check(schema: &str, config: &Value) -> Result<(), Refusal> {
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(Refusal::BadSchema(format!("longer than {SCHEMA_BYTES_MAX} bytes")));
    }
    let parsed: Value = serde_json::from_str(schema).map_err(|e| Refusal::BadSchema(e.to_string()))?;
    let bad = |error: boon::CompileError| Refusal::BadSchema(error.to_string());
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    // A schema is one text: what it refers to must be in it. The library would open any file that it names.
    compiler.use_loader(Box::new(SchemeUrlLoader::new()));
    compiler.add_resource("config.schema.json", parsed).map_err(bad)?;
    let compiled = compiler.compile("config.schema.json", &mut schemas).map_err(bad)?;
    schemas.validate(config, compiled).map_err(|error| {
        let mut faults = Vec::new();
        collect(&error, config, &mut faults);
        faults.dedup();
        Refusal::Config(faults)
    })
}

/// Only the innermost faults speak; the outer ones say "does not match the schema".
fn collect(error: &ValidationError<'_, '_>, config: &Value, faults: &mut Vec<String>) {
    for cause in &error.causes {
        collect(cause, config, faults);
    }
    if error.causes.is_empty() {
        let pointer = error.instance_location.to_string();
        let place = if pointer.is_empty() { "config".to_owned() } else { format!("config{}", dotted(&pointer)) };
        let found = config.pointer(&pointer).map_or("nothing", kind_name);
        faults.push(format!("{place}: {}", sentence(&error.kind, found)));
    }
}

fn dotted(pointer: &str) -> String {
    pointer
        .split('/')
        .skip(1)
        .map(|word| match word.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) => format!(".{}", word.replace("~1", "/").replace("~0", "~")),
        })
        .collect()
}

fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn sentence(kind: &ErrorKind<'_, '_>, found: &str) -> String {
    match kind {
        ErrorKind::Type { want, .. } => {
            let want: Vec<String> = want.iter().map(|t| t.to_string()).collect();
            format!("found {found}, expected {}", want.join(" or "))
        }
        ErrorKind::Required { want } => format!("{} missing", quoted(want.iter().copied())),
        ErrorKind::AdditionalProperties { got } => {
            format!("unknown key {}; see `snooze plugin info` for the keys", quoted(got.iter().map(AsRef::as_ref)))
        }
        ErrorKind::Enum { want } => {
            let want: Vec<String> = want.iter().map(ToString::to_string).collect();
            format!("found another value, expected one of {}", want.join(", "))
        }
        ErrorKind::Minimum { want, .. } => format!("found a smaller number, expected at least {want}"),
        ErrorKind::Maximum { want, .. } => format!("found a greater number, expected at most {want}"),
        ErrorKind::MinLength { want, .. } => format!("found a shorter text, expected at least {want} characters"),
        ErrorKind::Pattern { want, .. } => format!("found a text of another form, expected {want}"),
        ErrorKind::Format { want, .. } => format!("found a text of another form, expected {want}"),
        // The library's own words may quote the value.
        _ => "does not fit the plugin's schema".to_owned(),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"required":["url"],
        "properties":{"url":{"type":"string"},"list":{"type":"array","items":{"type":"integer","minimum":1}}}}"#;

    fn faults(config: &Value) -> Vec<String> {
        match check(SCHEMA, config) {
            Err(Refusal::Config(faults)) => faults,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_fault_has_its_path_and_no_value() {
        assert_eq!(check(SCHEMA, &json!({ "url": "x", "list": [1] })), Ok(()));
        assert_eq!(faults(&json!({})), ["config: 'url' missing"]);
        assert_eq!(faults(&json!({ "url": 5 })), ["config.url: found a number, expected string"]);
        let two = faults(&json!({ "url": "x", "list": [0], "sekret": "hunter2" }));
        assert!(two.iter().any(|f| f == "config.list[0]: found a smaller number, expected at least 1"), "{two:?}");
        assert!(two.iter().any(|f| f.starts_with("config: unknown key 'sekret'")), "{two:?}");
        assert!(!two.join("").contains("hunter2"));
    }

    #[test]
    fn a_schema_that_is_no_schema_is_the_plugins_fault() {
        assert_eq!(check("{", &json!({})).expect_err("refused").code(), "BAD_SCHEMA");
        assert_eq!(check(r#"{"type":"nonsense"}"#, &json!({})).expect_err("refused").code(), "BAD_SCHEMA");
    }

    #[test]
    fn a_schema_that_refers_to_a_file_does_not_have_it_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("s.json");
        std::fs::write(&file, r#"{"type":"string"}"#).expect("written");
        let schema = json!({ "$ref": format!("file://{}", file.display()) }).to_string();
        let refused = check(&schema, &json!({})).expect_err("refused");
        assert_eq!(refused.code(), "BAD_SCHEMA", "{refused}");
    }
}
