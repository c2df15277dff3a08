//! Control requests: the changes of a script, one at a time, over HTTP.
//!
//! Responsibilities: answer what comes in under `/_control/`. Inputs: requests with JSON bodies. Outputs: JSON replies.
//! It must never be reachable when the owner turned it off, and never run a change that a web page in somebody's browser
//! could have posted.

use serde_json::{Value, json};

use crate::change::{Applied, names};
use crate::http::{Incoming, Reply};
use crate::script::{ScriptError, parse_change};
use crate::service::Service;

/// All control paths begin so; no path of a real service does.
pub(crate) const PREFIX: &str = "/_control/";

/// Answers one control request.
pub(crate) fn answer(service: &Service, request: &Incoming) -> Reply {
    let name = request.path.strip_prefix(PREFIX).unwrap_or_default();
    match (request.method.as_str(), name) {
        ("GET", "") => {
            let changes = names(service.provider);
            json_reply(200, &json!({"provider": service.provider, "changes": changes, "read": READ}))
        }
        ("GET", "changes") => {
            let (first, last) = service.news_writes();
            let written = json!({"first_boot_ns": first, "last_boot_ns": last});
            json_reply(200, &json!({"changes": service.changes(), "notice_written": written}))
        }
        ("GET", "requests") => json_reply(200, &json!(service.requests())),
        ("GET", "instance") => {
            let instance = service.instance();
            let shown = json!({"id": instance.id, "name": instance.name, "type": instance.instance_type, "zone": instance.zone,
                "region": instance.region(), "life_cycle": instance.life_cycle});
            json_reply(200, &shown)
        }
        // A browser sends this content type to another site only after that site allowed it, which this one never does.
        ("POST", _) if !is_json(request) => refusal(415, "send the change as Content-Type: application/json"),
        ("POST", name) => post(service, &name.replace('-', "_"), &request.body),
        _ => refusal(405, "GET requests, changes or instance, or POST a change; GET /_control/ lists them"),
    }
}

/// What can be read besides the list of changes.
const READ: [&str; 3] = ["requests", "changes", "instance"];

fn is_json(request: &Incoming) -> bool {
    let content_type = request.header("Content-Type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn post(service: &Service, name: &str, body: &[u8]) -> Reply {
    let Ok(body) = std::str::from_utf8(body) else { return refusal(400, "the body is not UTF-8") };
    let change = match parse_change(service.provider, name, body) {
        Ok(change) => change,
        Err(error @ ScriptError::Syntax { .. }) => return refusal(400, &error.to_string()),
        Err(error) => return refusal(422, &error.to_string()),
    };
    match service.apply(change) {
        Ok(Applied::Done) => json_reply(200, &json!({"applied": name})),
        Ok(Applied::Event(event_id)) => json_reply(200, &json!({"applied": name, "event_id": event_id})),
        Ok(Applied::Fault(id)) => json_reply(200, &json!({"applied": name, "fault": id.0})),
        Err(error) => refusal(422, &error.to_string()),
    }
}

fn refusal(status: u16, why: &str) -> Reply {
    json_reply(status, &json!({"error": why}))
}

fn json_reply(status: u16, value: &Value) -> Reply {
    Reply::new(status, "application/json", format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Provider;

    #[test]
    fn every_listed_change_is_known_and_no_other() {
        for provider in Provider::ALL {
            for name in names(provider) {
                // An unknown field is refused by every change, so the error is about the field, not about the name.
                let error = parse_change(provider, name, r#"{"no_such_field": 1}"#).expect_err("an unknown field");
                let error = error.to_string();
                assert!(!error.contains("unknown variant") && !error.contains("means nothing"), "{name}: {error}");
            }
        }
        let error = parse_change(Provider::Aws, "explode", "{}").expect_err("an unknown change").to_string();
        let mut all: Vec<&str> = Provider::ALL.into_iter().flat_map(names).collect();
        all.sort_unstable();
        all.dedup();
        for name in &all {
            assert!(error.contains(&format!("`{name}`")), "{name} is missing from: {error}");
        }
        assert_eq!(error.matches('`').count(), 2 * (all.len() + 1), "{error}");
    }

    #[test]
    fn a_change_that_means_nothing_to_the_provider_is_refused() {
        let error = parse_change(Provider::Tencent, "rebalance", "{}").expect_err("no such thing").to_string();
        assert_eq!(error, "request: rebalance: rebalance means nothing to tencent");
    }
}
