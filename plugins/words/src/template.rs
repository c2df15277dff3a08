//! Texts made from an event by a template of the operator's.
//!
//! Inputs: a template in the language of Jinja, events. Outputs: texts. Must never accept a template that fails for the
//! events it will meet, and never run without a bound: a call has little time.

use crate::Notice;
use cloudsnooze_plugin::Event;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};
use thiserror::Error;

/// The name the library knows the one template of an environment by.
const NAME: &str = "template";
/// Steps of the library one text may take; a message of some kilobytes takes hundreds.
const MAX_STEPS: u64 = 100_000;
/// Bytes a text may have.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// What a template may name: the members of an event, and what [`context`] adds.
const KNOWN: [&str; 12] = [
    "specversion",
    "id",
    "type",
    "source",
    "subject",
    "time",
    "timestamp",
    "severity",
    "datacontenttype",
    "data",
    "simulated",
    "headline",
];

/// What the text is, and so what a value of the event has to become in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    /// Plain text: values stand as they are.
    None,
    /// HTML: values are escaped.
    Html,
    /// JSON: values stand as JSON, texts with their quotes.
    Json,
}

/// Why a template cannot be used, or gave no text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct BadTemplate(String);

/// A template that is known to work.
pub struct Template {
    environment: Environment<'static>,
    markup: Markup,
}

impl Template {
    /// Reads a template and tries it.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn new(source: &str, markup: Markup) -> Result<Self, BadTemplate> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(move |_| match markup {
            Markup::None => AutoEscape::None,
            Markup::Html => AutoEscape::Html,
            Markup::Json => AutoEscape::Json,
        });
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_fuel(Some(MAX_STEPS));
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| reason(&error))?;
        let template = Self { environment, markup };
        template.names_nothing_unknown()?;
        for event in [full_event(), bare_event()] {
            template.render(&event)?;
        }
        Ok(template)
    }

    /// The text for this event, as [`context`] gives it.
    ///
    /// # Errors
    /// Why there is none, in which line.
    pub fn render(&self, context: &Value) -> Result<String, BadTemplate> {
        let template = self.environment.get_template(NAME).map_err(|error| reason(&error))?;
        let values = minijinja::Value::from(minijinja::value::Serde(context));
        let text = template.render(values).map_err(|error| reason(&error))?;
        if text.len() > MAX_TEXT_BYTES {
            return Err(BadTemplate(format!("its text is longer than {} KiB", MAX_TEXT_BYTES >> 10)));
        }
        if self.markup == Markup::Json
            && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text)
        {
            return Err(BadTemplate(format!(
                "its text is not JSON ({error}); values bring their own quotes, so write {{\"text\": {{{{ headline }}}}}}"
            )));
        }
        Ok(text)
    }

    /// A misspelt name would print as nothing, for ever.
    fn names_nothing_unknown(&self) -> Result<(), BadTemplate> {
        let template = self.environment.get_template(NAME).map_err(|error| reason(&error))?;
        let functions: Vec<&str> = self.environment.globals().map(|(name, _)| name).collect();
        let named = template.undeclared_variables(false);
        let mut unknown: Vec<&String> = named
            .iter()
            .filter(|name| !KNOWN.contains(&name.as_str()) && !functions.contains(&name.as_str()))
            .collect();
        unknown.sort();
        match unknown.first() {
            Some(name) => {
                Err(BadTemplate(format!("it names `{name}`, which no event has; known are {}", KNOWN.join(", "))))
            }
            None => Ok(()),
        }
    }
}

fn reason(error: &minijinja::Error) -> BadTemplate {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        text = format!("{text}: {detail}");
    }
    BadTemplate(match error.line() {
        Some(line) => format!("line {line}: {text}"),
        None => text,
    })
}

/// What templates know of an event: its members, and its headline.
pub fn context(event: &Event<'_>, notice: &Notice) -> Value {
    let mut context = match serde_json::from_str(event.json()) {
        Ok(Value::Object(members)) => members,
        // The host's own text; should it ever be broken, the headline still says what matters.
        _ => serde_json::Map::new(),
    };
    context.insert("headline".to_owned(), json!(notice.headline()));
    Value::Object(context)
}

/// An event that says everything.
fn full_event() -> Value {
    json!({
        "specversion": "1.0", "id": "01936b7e-5b3a-7000-8000-000000000001", "type": "cloud.spot.interrupt",
        "source": "aws.ec2.metadata-service", "time": "2026-01-02T03:04:05Z", "timestamp": "2026-01-02T03:04:05Z",
        "subject": "i-0123456789abcdef0", "severity": "urgent", "datacontenttype": "application/json", "simulated": true,
        "data": {
            "provider": "aws", "action": "terminate", "noticeKind": "deadline", "time": "2026-01-02T03:06:05Z",
            "timeRemaining": 120.0, "instanceID": "i-0123456789abcdef0", "instanceType": "m5.large", "zone": "us-east-1a",
            "region": "us-east-1", "cancels": "01936b7e-5b3a-7000-8000-000000000000", "raw": {"action": "terminate"},
        },
        "headline": "Spot interruption: \"quoted\" <i-0123456789abcdef0> will be terminated",
    })
}

/// An event of which nearly nothing is known.
fn bare_event() -> Value {
    json!({
        "specversion": "1.0", "id": "01936b7e-5b3a-7000-8000-000000000002", "type": "custom.x", "source": "operator",
        "time": "2026-01-02T03:04:05Z", "timestamp": "2026-01-02T03:04:05Z", "severity": "info",
        "datacontenttype": "application/json", "data": {}, "headline": "Event custom.x: this machine is concerned",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str, markup: Markup) -> String {
        Template::new(source, markup).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn values_cannot_leave_their_place_in_the_text() {
        let event = full_event();
        let text = |source, markup| Template::new(source, markup).unwrap().render(&event).unwrap();
        let json: Value = serde_json::from_str(&text(
            r#"{"a": {{ headline }}, "b": {{ "On " ~ data.instanceID }}, "c": {{ data.nothing.at.all }}, "d": {{ data }}}"#,
            Markup::Json,
        ))
        .unwrap();
        assert_eq!(json["a"], event["headline"]);
        assert_eq!(json["b"], "On i-0123456789abcdef0");
        assert_eq!((&json["c"], &json["d"]), (&Value::Null, &event["data"]));
        let html = text("<b>{{ headline }}</b>", Markup::Html);
        assert!(html.contains("&lt;i-0123456789abcdef0&gt;") && html.starts_with("<b>"), "{html}");
        assert_eq!(text("{{ severity }}: {{ data.zone }}{{ data.nothing }}", Markup::None), "urgent: us-east-1a");
        assert!(text("{{ headline }}", Markup::None).contains("\"quoted\" <i-"));
    }

    #[test]
    fn templates_that_cannot_work_are_refused_with_their_line() {
        for (source, markup, text) in [
            ("a\n{{ headline", Markup::None, "line 2: "),
            ("{% if %}", Markup::None, "line 1: "),
            ("{{ headline | shout }}", Markup::None, "shout"),
            ("{{ headlin }}", Markup::None, "it names `headlin`, which no event has; known are "),
            ("{{ event.type }}", Markup::None, "it names `event`"),
            ("{\"text\": \"{{ headline }}\"}", Markup::Json, "its text is not JSON"),
            ("{\"text\": {{ headline }}", Markup::Json, "its text is not JSON"),
            ("{\"text\": {{ data.zone.upper() }}}", Markup::Json, "line 1: "),
            ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", Markup::None, "fuel"),
            (
                "{% for a in range(9000) %}0123456789012345678901234567890{% endfor %}",
                Markup::None,
                "longer than 256 KiB",
            ),
        ] {
            let error = refused(source, markup);
            assert!(error.contains(text), "{source}: {error}");
        }
    }

    #[test]
    fn loops_conditions_and_functions_are_there() {
        let template =
            Template::new("{% for k in data | dictsort %}{{ k[0] }} {% endfor %}{{ range(2) | length }}", Markup::None);
        assert_eq!(template.unwrap().render(&json!({"data": {"b": 1, "a": 2}})).unwrap(), "a b 2");
    }
}
