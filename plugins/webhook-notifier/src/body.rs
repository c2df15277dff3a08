//! The message: an event in the form that an endpoint wants.
//!
//! Inputs: the event as JSON text, what templates know of it. Outputs: headers and bytes. Must never put a value of the
//! event where it could end a header or a JSON text.

use cloudsnooze_plugin::Error;
use cloudsnooze_plugin_http::{HeaderName, HeaderValue, header};
use cloudsnooze_plugin_words::Template;
use serde_json::Value;

/// The form of an endpoint's messages.
pub(crate) enum Body {
    /// CloudEvents 1.0, structured mode: the whole event is the body.
    Structured,
    /// CloudEvents 1.0, binary mode: the event's `data` is the body, its attributes are headers.
    Binary,
    /// A text of the operator's.
    Template {
        /// Makes it.
        template: Box<Template>,
        /// What it is.
        content_type: HeaderValue,
    },
}

/// What is sent, the same in every attempt.
pub(crate) struct Message {
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) bytes: Vec<u8>,
}

impl Body {
    /// Makes the message.
    pub(crate) fn message(&self, json: &str, context: &Value) -> Result<Message, Error> {
        match self {
            Self::Structured => {
                let kind = HeaderValue::from_static("application/cloudevents+json; charset=UTF-8");
                Ok(Message { headers: vec![(header::CONTENT_TYPE, kind)], bytes: json.as_bytes().to_vec() })
            }
            Self::Binary => binary(&serde_json::from_str(json)?),
            Self::Template { template, content_type } => {
                let text = template.render(context).map_err(|error| Error::from(error).context("template"))?;
                let headers = vec![(header::CONTENT_TYPE, content_type.clone())];
                Ok(Message { headers, bytes: text.into_bytes() })
            }
        }
    }
}

/// CloudEvents' HTTP binding 1.0.2, 3.1.
fn binary(event: &Value) -> Result<Message, Error> {
    let kind = event.get("datacontenttype").and_then(Value::as_str).unwrap_or("application/json");
    let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::try_from(kind)?)];
    for (name, value) in event.as_object().into_iter().flatten() {
        let text = match value {
            _ if matches!(name.as_str(), "data" | "data_base64" | "datacontenttype") => continue,
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        headers.push((HeaderName::try_from(format!("ce-{name}"))?, HeaderValue::try_from(header_text(&text))?));
    }
    Ok(Message { headers, bytes: event.get("data").map_or_else(Vec::new, |data| data.to_string().into_bytes()) })
}

/// 3.1.3.2: what is not printable ASCII, the space, the quote and the per cent sign are percent-encoded.
fn header_text(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'%';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudsnooze_plugin::testing::spot_interrupt;
    use serde_json::json;

    fn header(message: &Message, name: &str) -> Option<String> {
        let found = message.headers.iter().find(|(n, _)| n.as_str() == name);
        found.map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_structured_mode_is_the_event_itself() {
        let json = spot_interrupt().to_string();
        let message = Body::Structured.message(&json, &Value::Null).unwrap();
        assert_eq!(message.bytes, json.as_bytes());
        assert!(header(&message, "content-type").unwrap().starts_with("application/cloudevents+json"));
    }

    #[test]
    fn the_binary_mode_has_the_data_as_body_and_the_rest_as_headers() {
        let mut event = spot_interrupt();
        event["simulated"] = json!(true);
        event["subject"] = json!("Grüße \"50%\"\r\nx-evil: 1");
        let message = Body::Binary.message(&event.to_string(), &Value::Null).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&message.bytes).unwrap(), event["data"]);
        for (name, value) in [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "01936b7e-5b3a-7000-8000-000000000001"),
            ("ce-type", "cloud.spot.interrupt"),
            ("ce-source", "aws.ec2.metadata-service"),
            ("ce-time", "2026-01-02T03:04:05Z"),
            ("ce-severity", "urgent"),
            ("ce-simulated", "true"),
            ("ce-subject", "Gr%C3%BC%C3%9Fe%20%2250%25%22%0D%0Ax-evil:%201"),
        ] {
            assert_eq!(header(&message, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(header(&message, "ce-data"), None);
    }
}
