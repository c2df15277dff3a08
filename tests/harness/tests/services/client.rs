//! A plain HTTP client for asking the services.

use std::time::Duration;

use serde_json::Value;

/// Longer than any answer takes.
pub const SOON: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<String>,
    pub location: Option<String>,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }
}

fn agent(limit: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).timeout_global(Some(limit));
    config.build().into()
}

/// POSTs a text, with headers. Errors are texts: no connection, no answer in time.
pub fn post_within(limit: Duration, url: &str, body: &str, headers: &[(&str, &str)]) -> Result<Reply, String> {
    let request = headers.iter().fold(agent(limit).post(url), |request, (name, value)| request.header(*name, *value));
    read(request.send(body))
}

pub fn post(url: &str, body: &str) -> Reply {
    post_within(SOON, url, body, &[]).expect("an answer")
}

pub fn get(url: &str) -> Reply {
    read(agent(SOON).get(url).call()).expect("an answer")
}

fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, String> {
    let mut response = response.map_err(|error| error.to_string())?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, location) = (header("Retry-After"), header("Location"));
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok(Reply { status, retry_after, location, text })
}
