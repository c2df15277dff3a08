//! The message: an event as a person reads it, in plain text and a little HTML.
//!
//! Inputs: the operator's addresses and templates, what templates know of an event. Outputs: the bytes of a message. Must never
//! give two attempts at one delivery different Message-IDs, nor let a value of the event become a header or mark-up.

use cloudsnooze_plugin::Error;
use cloudsnooze_plugin_words::{Markup, Template};
use jiff::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use serde_json::Value;
use std::time::SystemTime;

const SUBJECT: &str = "{{ headline }}";
const TEXT: &str = include_str!("default.txt");
const HTML: &str = include_str!("default.html");
/// Characters of a subject that are sent.
const MAX_SUBJECT_CHARS: usize = 250;

/// Makes the messages of one handler.
pub(crate) struct Letters {
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    reply_to: Option<Mailbox>,
    subject: Template,
    text: Template,
    html: Option<Template>,
}

/// One message.
pub(crate) struct Letter {
    /// With its angle brackets.
    pub(crate) message_id: String,
    pub(crate) subject: String,
    pub(crate) bytes: Vec<u8>,
}

impl Letters {
    /// Reads the templates of subject, text and HTML.
    pub(crate) fn new(
        from: Mailbox,
        to: Vec<Mailbox>,
        reply_to: Option<Mailbox>,
        [subject, text, html]: [Option<&str>; 3],
    ) -> Result<Self, String> {
        let read =
            |key: &str, source: &str, markup| Template::new(source, markup).map_err(|error| format!("{key}: {error}"));
        // A text of the operator's beside our HTML would say two things.
        let html = html.or(if text.is_some() { None } else { Some(HTML) });
        Ok(Self {
            from,
            to,
            reply_to,
            subject: read("subject", subject.unwrap_or(SUBJECT), Markup::None)?,
            text: read("text", text.unwrap_or(TEXT), Markup::None)?,
            html: html.map(|source| read("html", source, Markup::Html)).transpose()?,
        })
    }

    /// The message for an event. `key` is that of the delivery: with the event's id it makes the Message-ID.
    pub(crate) fn letter(&self, context: &Value, event_id: &str, key: &str) -> Result<Letter, Error> {
        let render =
            |template: &Template, what: &str| template.render(context).map_err(|e| Error::from(e).context(what));
        let subject = one_line(&render(&self.subject, "subject")?);
        let message_id = format!("<{event_id}.{key}@{}>", self.from.email.domain());
        let mut builder = Message::builder().from(self.from.clone());
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        let builder = builder
            .subject(subject.clone())
            .date(date(context))
            .message_id(Some(message_id.clone()))
            // RFC 3834: nobody's absence note should answer it.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("X-CloudSnooze-Event"), event_id.to_owned()));
        let text = SinglePart::plain(render(&self.text, "text")?);
        let message = match &self.html {
            None => builder.singlepart(text)?,
            Some(html) => {
                let html = SinglePart::html(render(html, "html")?);
                // Named after the delivery, so that another attempt has the same bytes.
                let parts = MultiPart::alternative().boundary(format!("snooze-{key}"));
                builder.multipart(parts.singlepart(text).singlepart(html))?
            }
        };
        Ok(Letter { message_id, subject, bytes: message.formatted() })
    }
}

/// When the event was seen: the time of the message, whenever it is sent.
fn date(context: &Value) -> SystemTime {
    let seen = context.get("time").and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
    seen.map_or_else(SystemTime::now, SystemTime::from)
}

/// A subject is one line.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(MAX_SUBJECT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_plugin::testing::spot_interrupt;
    use serde_json::json;

    const ID: &str = "01936b7e-5b3a-7000-8000-000000000001";

    fn letters(templates: [Option<&str>; 3]) -> Letters {
        let to = vec!["ann@example.com".parse().unwrap()];
        Letters::new("Snooze <snooze@example.com>".parse().unwrap(), to, None, templates).unwrap()
    }

    fn context() -> Value {
        let mut context = spot_interrupt();
        context["headline"] = json!("Spot interruption: i-0123 will be terminated");
        context
    }

    #[test]
    fn attempts_at_one_delivery_are_the_same_message_and_others_are_not() {
        let letters = letters([None, None, None]);
        let letter = |key| letters.letter(&context(), ID, key).unwrap();
        let (first, again, other) = (letter("07"), letter("07"), letter("08"));
        assert_eq!(first.message_id, format!("<{ID}.07@example.com>"));
        assert_eq!(first.bytes, again.bytes);
        assert_ne!(first.message_id, other.message_id);
    }

    #[test]
    fn no_value_of_an_event_becomes_a_header() {
        let mut context = context();
        context["headline"] = json!("a\r\nBcc: eve@example.com\r\n\r\nb\u{7}");
        let letter = letters([None, Some("x"), None]).letter(&context, ID, "07").unwrap();
        assert_eq!(letter.subject, "a Bcc: eve@example.com b");
        let text = String::from_utf8(letter.bytes).unwrap();
        assert!(text.contains("\r\nSubject: a Bcc: eve@example.com b\r\n") && !text.contains("\r\nBcc:"), "{text}");
    }

    #[test]
    fn the_defaults_say_what_is_known_and_leave_out_what_is_not() {
        let letters = letters([None, None, None]);
        let text = letters.text.render(&context()).unwrap();
        for words in
            ["Spot interruption: i-0123 will", "i-0123456789abcdef0", "m5.large", "us-east-1a", "03:06:05Z", ID]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("drill"), "{text}");
        let mut drill = context();
        drill["simulated"] = json!(true);
        assert!(letters.text.render(&drill).unwrap().contains("This is a drill"));
        let bare = json!({"id": ID, "type": "custom.x", "severity": "info", "time": "t", "source": "s",
            "headline": "<b>x</b>", "data": {}});
        let text = letters.text.render(&bare).unwrap();
        assert!(!text.contains("Machine") && !text.contains("none") && !text.contains("\n\n\n"), "{text}");
        let html = letters.html.as_ref().unwrap().render(&bare).unwrap();
        assert!(html.contains("&lt;b&gt;x") && !html.contains("<b>x"), "{html}");
    }

    #[test]
    fn an_operators_text_stands_alone_unless_there_is_html_too() {
        assert!(letters([None, Some("{{ headline }}"), None]).html.is_none());
        assert!(letters([None, Some("{{ headline }}"), Some("<p>{{ headline }}</p>")]).html.is_some());
    }
}
