//! The configuration, and what it means once it is checked.
//!
//! Inputs: the operator's JSON. Outputs: a [`Target`] whose addresses and headers are known to be usable.
//! Must never repeat a header's value or the token in an error.

use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_http::{Endpoint, HeaderName, HeaderValue, Settings, header, percent_encoded};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Stands in `status_url` for the checkpoint's id.
const PLACEHOLDER: &str = "{checkpoint_id}";
/// Headers that the plugin or the protocol sets.
const RESERVED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    HeaderName::from_static("idempotency-key"),
];

/// Configuration of the application checkpointer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address that starts a checkpoint when it is sent a POST, http or https.
    pub app_endpoint: String,
    /// Follow the checkpoint until the application says that it is saved, and ask again afterwards.
    #[serde(default)]
    pub verify_success: bool,
    /// Address that tells how the checkpoint is doing, absolute or relative to app_endpoint.
    /// {checkpoint_id} in it is replaced by the id the application gave. Without it, the application may
    /// name one in its reply, on its own origin.
    #[serde(default)]
    pub status_url: Option<String>,
    /// Milliseconds between two questions for the status, 50 to 60000.
    #[serde(default = "default_poll_interval_ms")]
    #[schemars(range(min = 50, max = 60_000))]
    pub poll_interval_ms: u64,
    /// Headers sent with every request, for example for authentication.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub headers: BTreeMap<String, String>,
    /// Token sent as "Authorization: Bearer".
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub token: Option<String>,
    /// Reason told to the application; by default it follows from the event, such as spot_termination.
    #[serde(default)]
    pub reason: Option<String>,
    /// Statuses, 200 to 299, that mean the application took the request; empty: all of them.
    #[serde(default)]
    #[schemars(inner(range(min = 200, max = 299)))]
    pub expect_status: Vec<u16>,
    /// File with the PEM certificates to trust for https, instead of the public authorities.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

fn default_poll_interval_ms() -> u64 {
    500
}

impl Config {
    /// The client's settings. An application is local or in the same network: no proxy.
    pub(crate) fn settings(&self) -> Settings {
        let user_agent = concat!("cloudsnooze-app-checkpointer/", env!("CARGO_PKG_VERSION")).to_owned();
        Settings { ca_file: self.ca_file.clone(), proxy: None, user_agent }
    }
}

/// The checked configuration.
pub(crate) struct Target {
    pub(crate) app_endpoint: Endpoint,
    pub(crate) verify_success: bool,
    pub(crate) poll_interval: Duration,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) reason: Option<String>,
    pub(crate) expect_status: Vec<u16>,
    /// Texts that must not be repeated when the application does so.
    pub(crate) secrets: Vec<String>,
    status_url: Option<String>,
}

impl Target {
    /// Checks what the schema cannot.
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let refuse = |text: String| Error::new(text).code(Code::Config);
        let app_endpoint =
            Endpoint::parse(&config.app_endpoint).map_err(|error| refuse(format!("app_endpoint {error}")))?;
        if let Some(url) = &config.status_url {
            app_endpoint.join(&url.replace(PLACEHOLDER, "0")).map_err(|error| refuse(format!("status_url {error}")))?;
        }
        if !(50..=60_000).contains(&config.poll_interval_ms) {
            return Err(refuse("poll_interval_ms is not within 50 and 60000".into()));
        }
        if config.expect_status.iter().any(|status| !(200..=299).contains(status)) {
            return Err(refuse("expect_status holds a status that is not within 200 and 299".into()));
        }
        Ok(Self {
            headers: headers(&config).map_err(refuse)?,
            app_endpoint,
            verify_success: config.verify_success,
            poll_interval: Duration::from_millis(config.poll_interval_ms),
            reason: config.reason,
            expect_status: config.expect_status,
            secrets: config.headers.into_values().chain(config.token).collect(),
            status_url: config.status_url,
        })
    }

    /// The configured status address; None when there is none, or when it needs an id that is not known.
    pub(crate) fn status_url(&self, checkpoint_id: Option<&str>) -> Option<Endpoint> {
        let url = self.status_url.as_deref()?;
        if !url.contains(PLACEHOLDER) {
            return self.app_endpoint.join(url).ok();
        }
        self.app_endpoint.join(&url.replace(PLACEHOLDER, &percent_encoded(checkpoint_id?))).ok()
    }

    /// The secrets, for the functions that replace them.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        self.secrets.iter().map(String::as_str).collect()
    }
}

fn headers(config: &Config) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for (name, value) in &config.headers {
        let header = HeaderName::try_from(name).map_err(|_| format!("headers: {name:?} is not a header's name"))?;
        if RESERVED.contains(&header) {
            return Err(format!("headers: {name} is set by the plugin"));
        }
        if config.token.is_some() && header == header::AUTHORIZATION {
            return Err("headers: authorization is set by token".into());
        }
        let value = HeaderValue::try_from(value).map_err(|_| format!("headers: the value of {name} cannot be sent"))?;
        headers.push((header, value));
    }
    if let Some(token) = &config.token {
        let value =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "token: cannot be sent in a header")?;
        headers.push((header::AUTHORIZATION, value));
    }
    if !headers.iter().any(|(name, _)| name == header::ACCEPT) {
        headers.push((header::ACCEPT, HeaderValue::from_static("application/json")));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn target(mut config: Value) -> Result<Target, Error> {
        if config.get("app_endpoint").is_none() {
            config["app_endpoint"] = json!("http://localhost:8080/api/checkpoint");
        }
        Target::new(serde_json::from_value(config).unwrap())
    }

    #[test]
    fn configurations_that_cannot_work_are_refused_by_key_and_without_secrets() {
        for (config, text) in [
            (json!({"app_endpoint": "localhost:8080"}), "app_endpoint is neither http nor https"),
            (json!({"app_endpoint": "http://u:hunter2@app/"}), "app_endpoint holds credentials"),
            (json!({"status_url": "ftp://app/{checkpoint_id}"}), "status_url is neither"),
            (json!({"poll_interval_ms": 0}), "poll_interval_ms"),
            (json!({"expect_status": [200, 302]}), "expect_status"),
            (json!({"headers": {"a b": "hunter2"}}), "headers: \"a b\""),
            (json!({"headers": {"X-Key": "hunter2\n"}}), "headers: the value of X-Key"),
            (json!({"headers": {"Idempotency-Key": "1"}}), "headers: Idempotency-Key is set"),
            (json!({"headers": {"Authorization": "hunter2"}, "token": "hunter2"}), "headers: authorization"),
            (json!({"token": "hunter2\r\n"}), "token: "),
        ] {
            let error = target(config.clone()).err().map(|e| e.message().to_owned()).unwrap_or_default();
            assert!(error.contains(text) && !error.contains("hunter2"), "{config}: {error}");
        }
    }

    #[test]
    fn an_id_cannot_lead_the_status_address_elsewhere() {
        let target = target(json!({"status_url": "/checkpoints/{checkpoint_id}/state"})).unwrap();
        let url = |id| target.status_url(id).map(|url| url.secret().to_owned());
        assert_eq!(url(Some("ck-7")).as_deref(), Some("/checkpoints/ck-7/state"));
        assert_eq!(url(Some("../../x?y#z")).as_deref(), Some("/checkpoints/%2E%2E%2F%2E%2E%2Fx%3Fy%23z/state"));
        assert_eq!(url(None), None);
    }

    #[test]
    fn the_schema_marks_secrets_and_describes_every_key() {
        let schema = schemars::schema_for!(Config).to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 9);
        for (key, property) in properties {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{key}");
            assert_eq!(property["writeOnly"] == json!(true), ["headers", "token"].contains(&key.as_str()), "{key}");
        }
    }
}
