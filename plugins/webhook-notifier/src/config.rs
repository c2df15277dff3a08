//! The configuration, and what it means once it is checked.
//!
//! Inputs: the operator's JSON. Outputs: [`Target`]s whose addresses, headers, keys and templates are known to be usable.
//! Must never repeat an address, a header's value or a key in an error.

use crate::body::Body;
use crate::sign::Key;
use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_http::{
    BadEndpoint, Endpoint, HeaderName, HeaderValue, Method, Settings, header, percent_encoded,
};
use cloudsnooze_plugin_words::{Markup, Template};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Endpoints one handler may have: each costs a connection and a thread.
const MAX_ENDPOINTS: usize = 16;
/// Stand in `verify_url` for the event's id and for the id that the endpoint gave.
pub(crate) const EVENT_ID: &str = "{event_id}";
pub(crate) const ANSWER_ID: &str = "{answer_id}";
/// Headers that the plugin or the protocol sets.
const RESERVED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    HeaderName::from_static("idempotency-key"),
];
/// Beginnings of such headers.
const RESERVED_PREFIXES: [&str; 2] = ["webhook-", "ce-"];

/// Configuration of the webhook notifier.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to send each event, 1 to 16 endpoints; all are told at the same time.
    #[schemars(length(min = 1, max = 16))]
    pub endpoints: Vec<EndpointConfig>,
    /// Which endpoints have to take the event: all of them, or any one.
    #[serde(default)]
    pub require: Require,
}

/// Which endpoints have to take an event.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Require {
    /// All of them.
    #[default]
    All,
    /// Any one.
    Any,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
pub enum HttpMethod {
    /// POST.
    #[default]
    #[serde(rename = "POST")]
    Post,
    /// PUT.
    #[serde(rename = "PUT")]
    Put,
    /// PATCH.
    #[serde(rename = "PATCH")]
    Patch,
}

/// The form of CloudEvents 1.0 over HTTP.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The whole event is the body.
    #[default]
    Structured,
    /// The event's data is the body, its attributes are headers.
    Binary,
}

/// One endpoint.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// Address to send to, http or https. Whoever knows it may be able to send: it is a secret.
    #[schemars(extend("writeOnly" = true))]
    pub url: String,
    /// Method to send with: POST, PUT or PATCH.
    #[serde(default)]
    pub method: HttpMethod,
    /// Headers sent with every request, for example for authentication.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub headers: BTreeMap<String, String>,
    /// Form of the CloudEvent: structured (the whole event as JSON) or binary (attributes as headers). Not with template.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Body made by a template in the language of Jinja instead of the CloudEvent: {"text": {{ headline }}}.
    #[serde(default)]
    pub template: Option<String>,
    /// Content type of the template's text. For JSON the text must be JSON, and values bring their own quotes.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Keys to sign with as Standard Webhooks says, "whsec_" and base64 of 24 to 64 bytes; several while they change.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub signing_keys: Vec<String>,
    /// Statuses, 200 to 299, that mean the endpoint took the event; empty: all of them.
    #[serde(default)]
    #[schemars(inner(range(min = 200, max = 299)))]
    pub expect_status: Vec<u16>,
    /// JSON pointer to the id in the endpoint's answer, such as /data/id; it proves that the event was kept.
    #[serde(default)]
    pub id_pointer: Option<String>,
    /// Address that answers a GET with 2xx once the event is there, absolute or relative to url. {event_id} and
    /// {answer_id} in it are replaced.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub verify_url: Option<String>,
    /// Attempts in one call, 1 to 20, as far as the time allows.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 20))]
    pub attempts: u32,
    /// Seconds that one attempt may take, 1 to 300, so that a silent server leaves time for another one.
    #[serde(default = "default_attempt_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub attempt_seconds: u64,
    /// Address of an HTTP proxy, http://user:password@host:port; the environment is not asked for one.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub proxy: Option<String>,
    /// File with the PEM certificates to trust for https, instead of the public authorities.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

fn default_attempts() -> u32 {
    4
}

fn default_attempt_seconds() -> u64 {
    5
}

/// One checked endpoint.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) settings: Settings,
    pub(crate) method: Method,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Body,
    pub(crate) keys: Vec<Key>,
    pub(crate) expect_status: Vec<u16>,
    pub(crate) id_pointer: Option<String>,
    pub(crate) attempts: u32,
    pub(crate) attempt_time: Duration,
    verify_url: Option<String>,
    /// Texts that must not be repeated when the endpoint does so.
    secrets: Vec<String>,
}

impl Config {
    /// Checks what the schema cannot.
    pub(crate) fn targets(self) -> Result<Vec<Target>, Error> {
        if self.endpoints.is_empty() || self.endpoints.len() > MAX_ENDPOINTS {
            return Err(Error::new(format!("endpoints must name 1 to {MAX_ENDPOINTS}")).code(Code::Config));
        }
        let checked = self.endpoints.into_iter().enumerate().map(|(index, config)| {
            Target::new(config).map_err(|text| Error::new(format!("endpoints[{index}].{text}")).code(Code::Config))
        });
        checked.collect()
    }
}

impl Target {
    fn new(config: EndpointConfig) -> Result<Self, String> {
        let endpoint = Endpoint::parse(&config.url).map_err(|error| format!("url {error}"))?;
        if let Some(url) = &config.verify_url {
            let sample = url.replace(EVENT_ID, "0").replace(ANSWER_ID, "0");
            endpoint.join(&sample).map_err(|error| format!("verify_url {error}"))?;
            if url.contains(ANSWER_ID) && config.id_pointer.is_none() {
                return Err("verify_url names {answer_id}; say in id_pointer where it stands in the answer".into());
            }
        }
        if config.id_pointer.as_deref().is_some_and(|pointer| !pointer.starts_with('/')) {
            return Err("id_pointer is not a JSON pointer, such as /data/id".into());
        }
        if config.expect_status.iter().any(|status| !(200..=299).contains(status)) {
            return Err("expect_status holds a status that is not within 200 and 299".into());
        }
        if !(1..=20).contains(&config.attempts) {
            return Err("attempts is not within 1 and 20".into());
        }
        if !(1..=300).contains(&config.attempt_seconds) {
            return Err("attempt_seconds is not within 1 and 300".into());
        }
        let headers = headers(&config.headers)?;
        let keys = config
            .signing_keys
            .iter()
            .enumerate()
            .map(|(index, text)| Key::parse(text).map_err(|error| format!("signing_keys[{index}] {error}")));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let body = body(config.mode, config.template.as_deref(), config.content_type.as_deref())?;
        let path = endpoint.secret();
        let token = path.rsplit('/').next().unwrap_or_default();
        let mut secrets = vec![path.to_owned(), token.to_owned()];
        secrets.extend(config.headers.into_values().chain(config.signing_keys));
        let user_agent = concat!("cloudsnooze-webhook-notifier/", env!("CARGO_PKG_VERSION")).to_owned();
        Ok(Self {
            settings: Settings { ca_file: config.ca_file, proxy: config.proxy, user_agent },
            method: match config.method {
                HttpMethod::Post => Method::POST,
                HttpMethod::Put => Method::PUT,
                HttpMethod::Patch => Method::PATCH,
            },
            endpoint,
            headers,
            body,
            keys,
            expect_status: config.expect_status,
            id_pointer: config.id_pointer,
            attempts: config.attempts,
            attempt_time: Duration::from_secs(config.attempt_seconds),
            verify_url: config.verify_url,
            secrets,
        })
    }

    /// Where to ask whether the event is there; None when there is no such address, or when it needs an id that is not
    /// known.
    pub(crate) fn verify_url(&self, event_id: &str, answer_id: Option<&str>) -> Option<Result<Endpoint, BadEndpoint>> {
        let url = self.verify_url.as_deref()?.replace(EVENT_ID, &percent_encoded(event_id));
        let url = if url.contains(ANSWER_ID) { url.replace(ANSWER_ID, &percent_encoded(answer_id?)) } else { url };
        Some(self.endpoint.join(&url))
    }

    /// Whether an answer alone confirms nothing, because there is an address to ask.
    pub(crate) fn needs_asking(&self) -> bool {
        self.verify_url.is_some()
    }

    /// The secrets, for the functions that replace them.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        self.secrets.iter().map(String::as_str).collect()
    }
}

fn body(mode: Option<Mode>, template: Option<&str>, content_type: Option<&str>) -> Result<Body, String> {
    let Some(source) = template else {
        if content_type.is_some() {
            return Err("content_type is for template; a CloudEvent has its own".into());
        }
        return Ok(match mode.unwrap_or_default() {
            Mode::Structured => Body::Structured,
            Mode::Binary => Body::Binary,
        });
    };
    if mode.is_some() {
        return Err("mode is for CloudEvents; leave it out where there is a template".into());
    }
    let content_type = content_type.unwrap_or("application/json");
    let header = HeaderValue::try_from(content_type).map_err(|_| "content_type: cannot be sent in a header")?;
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let markup = match kind.as_str() {
        "text/html" | "application/xml" | "text/xml" => Markup::Html,
        "application/json" | "text/json" => Markup::Json,
        kind if kind.ends_with("+json") => Markup::Json,
        kind if kind.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()) => Markup::None,
        _ => return Err("content_type is none, such as text/plain".into()),
    };
    let template = Template::new(source, markup).map_err(|error| format!("template: {error}"))?;
    Ok(Body::Template { template: Box::new(template), content_type: header })
}

fn headers(config: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for (name, value) in config {
        let header = HeaderName::try_from(name).map_err(|_| format!("headers: {name:?} is not a header's name"))?;
        let is_ours = RESERVED_PREFIXES.iter().any(|prefix| header.as_str().starts_with(prefix));
        if RESERVED.contains(&header) || is_ours {
            return Err(format!("headers: {name} is set by the plugin"));
        }
        let value = HeaderValue::try_from(value).map_err(|_| format!("headers: the value of {name} cannot be sent"))?;
        headers.push((header, value));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn targets(mut endpoint: Value) -> Result<Vec<Target>, Error> {
        if endpoint.get("url").is_none() {
            endpoint["url"] = json!("https://hooks.example.com/in/hush");
        }
        serde_json::from_value::<Config>(json!({ "endpoints": [endpoint] })).unwrap().targets()
    }

    #[test]
    fn configurations_that_cannot_work_are_refused_by_key_and_without_secrets() {
        for (config, text) in [
            (json!({"url": "hooks.example.com/hush"}), "endpoints[0].url is not"),
            (json!({"url": "ftp://hooks.example.com/hush"}), "url is neither http nor https"),
            (json!({"url": "https://u:hush@hooks.example.com/"}), "url holds credentials"),
            (json!({"verify_url": "ftp://example.com/hush"}), "verify_url is neither"),
            (json!({"verify_url": "/sent/{answer_id}"}), "verify_url names {answer_id}; say in id_pointer"),
            (json!({"id_pointer": "data.id"}), "id_pointer is not a JSON pointer"),
            (json!({"expect_status": [200, 302]}), "expect_status"),
            (json!({"attempts": 0}), "attempts is not within 1 and 20"),
            (json!({"attempt_seconds": 301}), "attempt_seconds is not within 1 and 300"),
            (json!({"headers": {"a b": "hush"}}), "headers: \"a b\""),
            (json!({"headers": {"X-Key": "hush\n"}}), "headers: the value of X-Key"),
            (json!({"headers": {"Webhook-Id": "1"}}), "headers: Webhook-Id is set by the plugin"),
            (json!({"headers": {"ce-type": "1"}}), "headers: ce-type is set by the plugin"),
            (json!({"headers": {"Content-Type": "1"}}), "headers: Content-Type is set by the plugin"),
            (json!({"signing_keys": ["hush!"]}), "signing_keys[0] is not base64"),
            (json!({"content_type": "text/plain"}), "content_type is for template"),
            (json!({"template": "{}", "mode": "binary"}), "mode is for CloudEvents"),
            (json!({"template": "x", "content_type": "plain"}), "content_type is none"),
            (json!({"template": "{\"text\": {{ headline }"}), "template: line 1: "),
            (json!({"template": "{\"text\": \"{{ headline }}\"}"}), "template: its text is not JSON"),
        ] {
            let error = targets(config.clone()).err().map(|e| e.message().to_owned()).unwrap_or_default();
            assert!(error.contains(text) && !error.contains("hush"), "{config}: {error}");
        }
        for count in [0, 17] {
            let endpoints: Vec<Value> = (0..count).map(|_| json!({"url": "http://localhost/"})).collect();
            let config: Config = serde_json::from_value(json!({ "endpoints": endpoints })).unwrap();
            assert!(config.targets().err().unwrap().message().contains("1 to 16"));
        }
    }

    #[test]
    fn the_content_type_says_what_values_become() {
        for (kind, source) in [
            ("application/json", "{\"a\": {{ headline }}}"),
            ("application/vnd.x+json; charset=utf-8", "[{{ headline }}]"),
            ("text/html", "<p>{{ headline }}</p>"),
            ("text/plain; charset=utf-8", "\"{{ headline }}"),
        ] {
            assert!(targets(json!({"template": source, "content_type": kind})).is_ok(), "{kind}");
        }
    }

    #[test]
    fn an_id_cannot_lead_the_verify_address_elsewhere() {
        let target = &targets(json!({"verify_url": "/sent/{event_id}/{answer_id}", "id_pointer": "/id"})).unwrap()[0];
        let url = |answer| target.verify_url("e-1", answer).map(|url| url.unwrap().secret().to_owned());
        assert_eq!(url(Some("7")).as_deref(), Some("/sent/e-1/7"));
        assert_eq!(url(Some("../../x?y#z")).as_deref(), Some("/sent/e-1/%2E%2E%2F%2E%2E%2Fx%3Fy%23z"));
        assert_eq!(url(None), None);
    }

    #[test]
    fn the_schema_marks_secrets_and_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        assert_eq!(schema["required"], json!(["endpoints"]));
        let properties = schema["$defs"]["EndpointConfig"]["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 14);
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
            let is_secret = ["url", "headers", "signing_keys", "verify_url", "proxy"].contains(&key.as_str());
            assert_eq!(property["writeOnly"] == json!(true), is_secret, "{key}");
        }
    }
}
