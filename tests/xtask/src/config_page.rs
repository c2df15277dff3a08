//! The manual page of the configuration, cloudsnooze.json(5): every setting, from the schema that the daemon itself checks with.
//! Inputs: the schema. Outputs: roff (groff_man(7)). Must never say anything of a setting that the schema does not.

use cloudsnooze::config;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Objects in objects: deeper ones would be a circle.
const DEPTH_MAX: usize = 8;

const HEAD: &str = "\
.TH cloudsnooze.json 5 \"\" \"CloudSnooze\" CloudSnooze
.SH NAME
cloudsnooze.json \\- configuration of the daemon snoozed
.SH SYNOPSIS
.nf
/etc/cloudsnooze/cloudsnooze.json
/etc/cloudsnooze/conf.d/*.json
.fi
.SH DESCRIPTION
One JSON object. The files of the directory beside it are merged over it in the order of their names: objects are merged, everything
else replaces what was there. \\fBsnooze config check\\fR names every mistake with its file and place; \\fBsnooze reload\\fR or
\\fBsystemctl reload cloudsnooze\\fR takes a good configuration, and refuses a bad one while the old goes on.
.PP
Wherever a secret may stand in a plugin's own \\fBconfig\\fR, an object stands for one that is kept elsewhere: {\"credential\": \"NAME\"}
for the file NAME that systemd passes (\\fBLoadCredential=\\fR) or that lies in /etc/cloudsnooze/credentials, {\"env\": \"NAME\"},
{\"file\": \"/PATH\"}.
.PP
Editors complete and check the file where it begins with \"$schema\": \"/usr/share/cloudsnooze/config.schema.json\".
.SH EXAMPLE
.nf
{
  \"event_handlers\": {
    \"cloud.spot.interrupt\": { \"plugins\": [
      { \"name\": \"mysql\\-flusher\", \"priority\": 100, \"timeout_seconds\": 60,
        \"config\": { \"connection_string\": { \"credential\": \"mysql\" } } },
      { \"name\": \"slack\\-notifier\", \"priority\": 10, \"start\": \"at\\-once\",
        \"config\": { \"webhook_url\": { \"credential\": \"slack\\-webhook\" } } }
    ] }
  }
}
.fi
.SH SETTINGS
NAME stands for a key of one's own choice, [] for each member of a list.
";

const FOOT: &str = "\
.SH FILES
.TP
/etc/cloudsnooze/credentials
Secrets, one a file, for root and the daemon.
.TP
/var/lib/cloudsnooze
History, journal and the plugins' state.
.TP
/run/cloudsnooze
The sockets of \\fBsnooze\\fR and of applications, and the list of open notices.
.SH SEE ALSO
\\fBsnoozed\\fR(8), \\fBsnooze\\fR(1), \\fBsnooze\\-config\\-check\\fR(1)
";

/// The page.
pub fn page() -> String {
    let schema = config::generated_json_schema();
    let mut text = HEAD.to_owned();
    settings(&schema, &schema, "", 0, &mut text);
    text + FOOT
}

/// The members of an object, each with those inside of it.
fn settings(whole: &Value, object: &Value, path: &str, depth: usize, text: &mut String) {
    let Some(members) = object["properties"].as_object().filter(|_| depth < DEPTH_MAX) else { return };
    for (name, member) in members.iter().filter(|(name, _)| *name != "$schema") {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let target = target(whole, member);
        entry(&path, member, &target, text);
        settings(whole, &target, &path, depth + 1, text);
        for (below, suffix) in [(&target["additionalProperties"], ".NAME"), (&target["items"], "[]")] {
            settings(whole, &self::target(whole, below), &format!("{path}{suffix}"), depth + 1, text);
        }
    }
}

/// What a reference stands for, also one that may be null; anything else is itself.
fn target(whole: &Value, member: &Value) -> Value {
    let choices = member["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
    let reference = |value: &Value| value["$ref"].as_str().and_then(|text| text.strip_prefix('#').map(str::to_owned));
    let found = reference(member).or_else(|| choices.iter().find_map(reference));
    found.and_then(|pointer| whole.pointer(&pointer)).unwrap_or(member).clone()
}

fn entry(path: &str, member: &Value, target: &Value, text: &mut String) {
    let mut facts = vec![kind(target)];
    let scalar = |value: &&Value| !value.is_object() && !value.is_null();
    let limit = |key: &str| target.get(key).or_else(|| member.get(key)).filter(scalar).map(number);
    facts.extend(limit("minimum").map(|value| format!("at least {value}")));
    facts.extend(limit("exclusiveMinimum").map(|value| format!("more than {value}")));
    facts.extend(limit("maximum").map(|value| format!("at most {value}")));
    facts.extend(member.get("default").filter(scalar).map(|value| format!("default {}", number(value))));
    let facts: Vec<String> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
    // Writing to a text cannot fail.
    let _ = writeln!(text, ".TP\n\\fB{}\\fR ({})", escaped(path), escaped(&facts.join(", ")));
    let description = member["description"].as_str().or(target["description"].as_str()).unwrap_or("Not described.");
    let _ = writeln!(text, "{}", lines(description));
    for (value, meaning) in words(target) {
        let _ = writeln!(text, ".br\n\\(bu \\fB{}\\fR: {}", escaped(&value), lines(&meaning));
    }
}

fn kind(target: &Value) -> String {
    let named = match &target["type"] {
        Value::String(one) => one.clone(),
        Value::Array(several) => {
            let names: Vec<&str> = several.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect();
            names.join(" or ")
        }
        _ => "string".to_owned(),
    };
    named.replace("array", "list")
}

/// The texts that a setting may be, with what each means.
fn words(target: &Value) -> Vec<(String, String)> {
    let described = |value: &Map<String, Value>| {
        let text = value.get("const")?.as_str()?;
        Some((text.to_owned(), value.get("description")?.as_str()?.to_owned()))
    };
    let choices = target["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    choices.iter().filter_map(Value::as_object).filter_map(described).collect()
}

/// Without a fraction that is nought: 5, not 5.0.
fn number(value: &Value) -> String {
    let text = value.to_string();
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// Text whose characters mean nothing to roff, without the marks for code.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('`', "")
}

/// The same in lines, of which none begins with what would be a request.
fn lines(text: &str) -> String {
    let safe = |line: &str| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    };
    escaped(text).lines().map(safe).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_schema_has_its_place_on_the_page() {
        let page = page();
        for setting in [
            "event_handlers.NAME.plugins[].timeout_seconds\\fR (number, more than 0, at most 86400)",
            "sources.aws.polling_interval_seconds\\fR (number, at least 0.05, at most 3600, default 5)",
            "dispatch.on_crash",
            "control.socket",
            "\\(bu \\fBat\\-once\\fR: With the first handler",
        ] {
            assert!(page.contains(setting), "{setting}");
        }
        assert!(!page.contains("Not described"), "every setting says what it is");
    }

    #[test]
    fn no_text_is_taken_for_a_request() {
        assert_eq!(lines(".a\n'b\nc-d `e` \\"), "\\&.a\n\\&'b\nc\\-d e \\e");
    }
}
