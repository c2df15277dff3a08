//! Tells Azure that it may begin: the work of this machine is done.
//!
//! Inputs: an event of Azure or the end of a group's operation, whether other machines that it names count. Outputs: a request
//! (`StartRequests`) and what became of the event. Must never approve in a drill, before the other work is done, or for machines that
//! were not asked about: its caller sees to the first two, [`Approve::Alone`] and [`Approve::Group`] to the third.
//!
//! Facts: "Azure Metadata Service: Scheduled Events for Linux VMs", "Start an event": an approval is for all machines that the
//! event names, cannot be taken back, and is answered with 200 for a valid id however often it is sent.

use crate::config::{Approve, Config};
use crate::group::Over;
use cloudsnooze_plugin::serde_json::{self, Value, json};
use cloudsnooze_plugin::{Code, Error, Event, Host};
use cloudsnooze_plugin_dbus::{Fault, Limit};
use cloudsnooze_plugin_http::{Client, Endpoint, Failure, HeaderName, HeaderValue, Method, Request, Settings};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The version that is served everywhere. The newer one adds a type that cannot be approved.
const PATH: &str = "/metadata/scheduledevents?api-version=2020-07-01";
/// The service allows five requests a second to the whole machine, and 410 and 429 want a pause.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is waited for that an approved event begins.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);

/// What the service says of an event.
#[derive(Debug, PartialEq)]
enum Listed {
    /// Nothing.
    Gone,
    /// It has begun.
    Started,
    /// It is still ahead, for machines of these names.
    Scheduled(Vec<String>),
}

/// The client.
pub(crate) struct Approver {
    client: Client,
    endpoint: Endpoint,
    policy: Approve,
    /// The last event for which something was approved, and Azure's ids of what.
    approved: Mutex<Option<(String, Vec<String>)>>,
}

impl Approver {
    /// Asks nothing yet. None: nothing is ever to be approved.
    ///
    /// # Errors
    /// What is wrong with the endpoint.
    pub(crate) fn new(host: Host, config: &Config) -> Result<Option<Self>, Error> {
        if config.approve == Approve::Never {
            return Ok(None);
        }
        let wrong = |why: String| Error::new(format!("metadata_endpoint {why}")).code(Code::Config);
        let endpoint = Endpoint::parse(&config.metadata_endpoint).map_err(|error| wrong(error.to_string()))?;
        let endpoint = endpoint.join(PATH).map_err(|error| wrong(error.to_string()))?;
        let client = Client::new(host, &Settings::default(), &endpoint).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(Self { client, endpoint, policy: config.approve, approved: Mutex::default() }))
    }

    /// Azure's id of the event; None where there is nothing that could be approved, or the group does so.
    pub(crate) fn id_of(&self, event: &Event<'_>) -> Option<String> {
        let is_advice = event.event_type() == "cloud.spot.rebalance";
        if self.policy == Approve::Group || event.provider() != "azure" || is_advice {
            return None;
        }
        let json: Value = serde_json::from_str(event.json()).ok()?;
        json.pointer("/data/raw/EventId")?.as_str().map(str::to_owned)
    }

    /// Approves, if the event is still ahead and the policy allows it, or says in a drill what it would do; gives the evidence.
    ///
    /// # Errors
    /// The service does not answer, or refuses.
    pub(crate) fn approve(&self, event: &Event<'_>, event_id: &str, limit: &Limit<'_>) -> Result<Value, Error> {
        self.approve_unless(event, event_id, limit, |names| self.against(names, event.instance_id()))
    }

    /// Approves what an operation of the group was for, where every machine that Azure names is done; gives the evidence for each of
    /// Azure's events.
    ///
    /// # Errors
    /// The service does not answer, or refuses.
    pub(crate) fn approve_for(&self, event: &Event<'_>, over: &Over, limit: &Limit<'_>) -> Result<Value, Error> {
        let mut evidence = Vec::new();
        for event_id in over.events() {
            let mut one = self.approve_unless(event, event_id, limit, |names| over.against(event_id, names))?;
            one["event_id"] = json!(event_id);
            evidence.push(one);
        }
        Ok(json!(evidence))
    }

    fn approve_unless(
        &self,
        event: &Event<'_>,
        event_id: &str,
        limit: &Limit<'_>,
        against: impl Fn(&[String]) -> Option<String>,
    ) -> Result<Value, Error> {
        let names = match self.look(event_id, limit)? {
            Listed::Gone => return Ok(json!({ "skipped": "the event is not announced any more" })),
            Listed::Started => return Ok(json!({ "skipped": "the event has begun already" })),
            Listed::Scheduled(names) => names,
        };
        if let Some(reason) = against(&names) {
            return Ok(json!({ "skipped": reason, "resources": names }));
        }
        if event.is_drill() {
            return Ok(json!({ "would": "approve", "resources": names }));
        }
        let body = json!({ "StartRequests": [{ "EventId": event_id }] }).to_string();
        self.ask(Method::POST, body.as_bytes(), limit)?;
        let mut approved = self.approved.lock().unwrap_or_else(PoisonError::into_inner);
        match approved.as_mut().filter(|(id, _)| id == event.id()) {
            Some((_, all)) => all.push(event_id.to_owned()),
            None => *approved = Some((event.id().to_owned(), vec![event_id.to_owned()])),
        }
        Ok(json!({ "event_id": event_id, "resources": names, "accepted": true }))
    }

    /// Waits until the event that was approved has begun or is gone; None: it was not, or has not yet.
    ///
    /// # Errors
    /// The service does not answer, or the call was cancelled.
    pub(crate) fn has_begun(&self, event: &Event<'_>, limit: &Limit<'_>) -> Result<Option<Value>, Error> {
        let approved = self.approved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((_, all)) = approved.filter(|(id, _)| id == event.id()) else { return Ok(None) };
        let limit = limit.at_most(BEGINS_WITHIN);
        let mut begun = None;
        for event_id in &all {
            let Some(word) = self.wait_for(event_id, &limit)? else { return Ok(None) };
            begun = Some(json!({ "approval": word }));
        }
        Ok(begun)
    }

    fn wait_for(&self, event_id: &str, limit: &Limit<'_>) -> Result<Option<&'static str>, Error> {
        loop {
            match self.look(event_id, limit)? {
                Listed::Gone => return Ok(Some("gone")),
                Listed::Started => return Ok(Some("Started")),
                // Others whom it names may have to approve theirs first.
                Listed::Scheduled(_) if limit.left() <= PAUSE => return Ok(None),
                Listed::Scheduled(_) => limit.pause(PAUSE).map_err(Fault::into_error)?,
            }
        }
    }

    /// Ends the request that is going on.
    pub(crate) fn cancel(&self) {
        self.client.cancel();
    }

    /// Why it is not approved.
    fn against(&self, names: &[String], own: &str) -> Option<String> {
        let others = names.iter().filter(|name| own.is_empty() || !name.eq_ignore_ascii_case(own)).count();
        (self.policy == Approve::Alone && others > 0)
            .then(|| format!("an approval would be for {others} other machines too"))
    }

    fn look(&self, event_id: &str, limit: &Limit<'_>) -> Result<Listed, Error> {
        let body = self.ask(Method::GET, b"", limit)?;
        listed(&body, event_id).ok_or_else(|| Error::new("the document of scheduled events is not understood"))
    }

    /// Asks until there is an answer that is one.
    fn ask(&self, method: Method, body: &[u8], limit: &Limit<'_>) -> Result<Vec<u8>, Error> {
        let headers = [
            (HeaderName::from_static("metadata"), HeaderValue::from_static("true")),
            (HeaderName::from_static("content-type"), HeaderValue::from_static("application/json")),
        ];
        let request = Request { method, endpoint: &self.endpoint, headers: &headers, body };
        let session = self.client.begin();
        loop {
            if let Some(fault) = limit.over() {
                return Err(fault.into_error());
            }
            let failure = match session.send(&request, limit.left()) {
                Ok(reply) if reply.status == 200 => return Ok(reply.body),
                Ok(reply) if matches!(reply.status, 410 | 429 | 500..) => {
                    Error::new(format!("the metadata service answers with status {}", reply.status)).code(Code::Retry)
                }
                Ok(reply) => {
                    let text = format!("the metadata service refuses with status {}", reply.status);
                    return Err(Error::new(text).code(Code::Io));
                }
                Err(failure @ (Failure::Unreachable(_) | Failure::Broken(_))) => {
                    failure.into_error("ask the metadata service")
                }
                Err(failure) => return Err(failure.into_error("ask the metadata service")),
            };
            if limit.left() <= PAUSE {
                return Err(failure);
            }
            limit.pause(PAUSE).map_err(Fault::into_error)?;
        }
    }
}

/// What a document says of an event; None: it is none.
fn listed(body: &[u8], event_id: &str) -> Option<Listed> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let text = |event: &Value, name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_it = |event: &&Value| text(event, "EventId").eq_ignore_ascii_case(event_id);
    let Some(event) = document.get("Events")?.as_array()?.iter().find(is_it) else { return Some(Listed::Gone) };
    if text(event, "EventStatus").eq_ignore_ascii_case("Started") {
        return Some(Listed::Started);
    }
    let names = event.get("Resources").and_then(Value::as_array).into_iter().flatten();
    Some(Listed::Scheduled(names.filter_map(Value::as_str).map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_has_become_of_an_event_and_garbage_says_nothing() {
        let body = br#"{"Events": [{"EventId": "A-1", "EventStatus": "Scheduled", "Resources": ["a", "b"]},
            {"EventId": "b-2", "EventStatus": "Started", "Resources": ["a"]}]}"#;
        assert_eq!(listed(body, "a-1"), Some(Listed::Scheduled(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!((listed(body, "B-2"), listed(body, "c")), (Some(Listed::Started), Some(Listed::Gone)));
        assert_eq!((listed(b"{}", "a"), listed(b"<html>", "a")), (None, None));
    }
}
