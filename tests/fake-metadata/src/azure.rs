//! The Azure Instance Metadata Service with its Scheduled Events, as a value that answers requests.
//!
//! Responsibilities: the rules every request must keep, the versions, the limit of requests, the first slow reply; what
//! events say is in `events`, what the machine is in `compute`. Inputs: changes, requests, the time. Outputs: answers.
//! Sources: "Scheduled Events for Linux VMs" and "Azure Instance Metadata Service" of Microsoft's documentation. It does no
//! I/O and reads no clock. It must never invent a behaviour: what is not documented is marked so.
//!
//! How a test drives it:
//!
//! ```
//! use fake_metadata::{FakeMetadata, Maintenance, Options, Provider, When};
//!
//! let fake = FakeMetadata::start(Options::of(Provider::Azure))?;
//! let event_id = fake.maintenance(Maintenance::new("Freeze", When::Usual)).unwrap(); // Scheduled, 15 minutes ahead
//! fake.start_maintenance(&event_id).unwrap();                                         // Started, no NotBefore
//! fake.complete_maintenance(&event_id).unwrap();                                      // gone
//! # Ok::<(), fake_metadata::StartError>(())
//! ```

mod compute;
mod events;

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::change::{Applied, Body, Change, ChangeError, Maintenance};
use crate::cloud::{Answer, Cloud, Hold, Moment, Outcome};
use crate::http::{Incoming, Reply};
use crate::instance::Instance;
use crate::settings::AzureSettings;
use crate::token::TokenUse;
pub(crate) use events::usual_description;
use events::{Approval, Events, Shape, Times};

const SECOND_NS: u64 = 1_000_000_000;
/// After so long without a request the service is off for the machine, and starts over at the next.
const FORGETS_NS: u64 = 24 * 3600 * SECOND_NS;
const PREFIX: &str = "/metadata/";
const EVENTS: &str = "scheduledevents";
/// What a request without a version is told ("Azure Instance Metadata Service", "Versioning").
const NO_VERSION: &str =
    "Bad request. api-version was not specified in the request. For more information refer to aka.ms/azureimds";
/// What a request with a wrong one is told, as clients' own test data have it.
const UNKNOWN_VERSION: &str = "Bad request. api-version is invalid or was not specified in the request.";
const JSON: &str = "application/json; charset=utf-8";

/// The versions of Scheduled Events, by the documentation's table, without the one that only some regions serve.
const EVENT_VERSIONS: [&str; 7] =
    ["2017-03-01", "2017-08-01", "2017-11-01", "2019-01-01", "2019-04-01", "2019-08-01", "2020-07-01"];
/// Adds SpotRebalanceRecommendation; not generally available in 2026.
const REBALANCE_VERSION: &str = "2024-07-09";
/// Some of the versions of instance data, 2025-04-07 the newest in 2026; the last three are what a refusal names.
const INSTANCE_VERSIONS: [&str; 12] = [
    "2017-04-02",
    "2017-08-01",
    "2018-10-01",
    "2019-06-01",
    "2020-09-01",
    "2020-12-01",
    "2021-02-01",
    "2021-12-13",
    "2023-07-01",
    "2023-11-15",
    "2024-07-17",
    "2025-04-07",
];

/// One machine's service.
#[derive(Debug)]
pub(crate) struct Azure {
    instance: Instance,
    events: Events,
    bodies: BTreeMap<String, Body>,
    /// When the requests of the last second came.
    recent_ns: VecDeque<u64>,
    /// When scheduled events were last asked for; `None` until they are, and again after a day of silence.
    asked_ns: Option<u64>,
    /// When the first reply, which enables the service, is ready.
    ready_ns: u64,
}

impl Azure {
    pub(crate) fn new(instance: Instance) -> Self {
        Self {
            instance,
            events: Events::default(),
            bodies: BTreeMap::new(),
            recent_ns: VecDeque::new(),
            asked_ns: None,
            ready_ns: 0,
        }
    }

    fn announce(&mut self, event: Maintenance, moment: &Moment) -> Result<Applied, ChangeError> {
        self.events.announce(event, &self.instance.name, moment.now).map(Applied::Event)
    }

    /// Whether this request is one too many in its second.
    fn is_excess(&mut self, moment: &Moment) -> bool {
        let limit = moment.settings.azure.requests_per_second as usize;
        while self.recent_ns.front().is_some_and(|at_ns| at_ns.saturating_add(SECOND_NS) <= moment.boot_ns) {
            self.recent_ns.pop_front();
        }
        if limit == 0 || self.recent_ns.len() < limit {
            self.recent_ns.push_back(moment.boot_ns);
            return false;
        }
        true
    }

    fn scheduled_events(&mut self, request: &Incoming, version: &str, moment: &Moment) -> Answer {
        if let Some(hold) = self.enable(moment) {
            return Answer { outcome: Outcome::Hold(hold), token: TokenUse::None, news: false };
        }
        match request.method.as_str() {
            "GET" | "HEAD" => {
                let azure = &moment.settings.azure;
                let times = if azure.iso_times { Times::Iso } else { Times::Rfc1123 };
                let shape = Shape { version, times, drift: moment.drift };
                let (body, has_events) = self.events.document(&shape);
                Answer { news: has_events, ..Answer::plain(Reply::new(200, JSON, body)) }
            }
            "POST" => Answer::plain(self.approve(&request.body, moment)),
            _ => Answer::plain(refusal(405, "Method not allowed.")),
        }
    }

    /// The first request in a day enables the service, resets the document's number, and waits for its reply as long as
    /// the settings say.
    fn enable(&mut self, moment: &Moment) -> Option<Hold> {
        let is_first = self.asked_ns.is_none_or(|asked_ns| asked_ns.saturating_add(FORGETS_NS) <= moment.boot_ns);
        if is_first {
            if self.asked_ns.is_some() {
                self.events.start_over();
            }
            self.ready_ns = moment.boot_ns.saturating_add(ns(moment.settings.azure.first_reply_seconds));
        }
        self.asked_ns = Some(moment.boot_ns);
        (moment.boot_ns < self.ready_ns).then(|| Hold { etag: String::new(), until_ns: Some(self.ready_ns) })
    }

    /// `{"StartRequests": [{"EventId": …}]}`: 200 for every id that is or was an event's, 400 for anything else.
    fn approve(&mut self, body: &[u8], moment: &Moment) -> Reply {
        let Some(ids) = start_requests(body) else { return refusal(400, "Bad request. The body is malformed.") };
        if !ids.iter().all(|event_id| self.events.knows(event_id)) {
            return refusal(400, "Bad request. An EventId is unknown.");
        }
        let AzureSettings { approved_starts_seconds, approved_ends_seconds, .. } = moment.settings.azure;
        let starts_ns = moment.boot_ns.saturating_add(ns(approved_starts_seconds));
        let approval = Approval { starts_ns, ends_ns: starts_ns.saturating_add(ns(approved_ends_seconds)) };
        for event_id in ids {
            self.events.approve(&event_id, approval);
        }
        self.events.settle(moment.boot_ns);
        Reply::new(200, JSON, "")
    }
}

impl Cloud for Azure {
    fn instance(&self) -> &Instance {
        &self.instance
    }

    fn apply(&mut self, change: Change, moment: &Moment) -> Result<Applied, ChangeError> {
        self.events.settle(moment.boot_ns);
        match change {
            Change::Notice { time, .. } => {
                return match self.events.of_type("Preempt") {
                    Some(event_id) => {
                        let time = time.resolve_or(moment.now, usual_warning("Preempt"));
                        self.events.put_to(&event_id, time).map(|()| Applied::Event(event_id))
                    }
                    None => self.announce(Maintenance::new("Preempt", time), moment),
                };
            }
            Change::Withdraw => self.events.remove_type("Preempt"),
            Change::Rebalance { time } => {
                return self.announce(Maintenance::new("SpotRebalanceRecommendation", time), moment);
            }
            Change::ClearRebalance => self.events.remove_type("SpotRebalanceRecommendation"),
            Change::Maintenance(event) => return self.announce(event, moment),
            Change::MoveMaintenance { event_id, time } => self.events.put_to(&event_id, time.resolve(moment.now))?,
            Change::StartMaintenance { event_id } => self.events.start(&event_id)?,
            Change::CancelMaintenance { event_id } | Change::CompleteMaintenance { event_id } => {
                self.events.end(&event_id)?;
            }
            Change::Incarnation { value } => self.events.incarnation = value,
            Change::Body { path, body: Body::Usual } => drop(self.bodies.remove(&path)),
            Change::Body { path, body } => drop(self.bodies.insert(path, body)),
            _ => {}
        }
        Ok(Applied::Done)
    }

    fn answer(&mut self, request: &Incoming, moment: &Moment) -> Answer {
        self.events.settle(moment.boot_ns);
        let Some(item) = request.path.strip_prefix(PREFIX) else { return Answer::plain(refusal(404, "Not found")) };
        let item = item.trim_end_matches('/');
        // A request that is looked at again was counted before.
        if moment.held.is_none() && self.is_excess(moment) {
            return Answer::plain(refusal(429, "Too many requests"));
        }
        let version = match admitted(request, item, &moment.settings.azure) {
            Ok(version) => version,
            Err(reply) => return Answer::plain(*reply),
        };
        match self.bodies.get(item) {
            Some(Body::Text(text)) => {
                return Answer { news: true, ..Answer::plain(Reply::new(200, JSON, text.clone())) };
            }
            Some(Body::Absent | Body::Usual) => return Answer::plain(refusal(404, "Not found")),
            None => {}
        }
        if item == EVENTS {
            return self.scheduled_events(request, &version, moment);
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Answer::plain(refusal(405, "Method not allowed."));
        }
        Answer::plain(match item {
            "versions" => {
                let mut versions: Vec<&str> = INSTANCE_VERSIONS.iter().chain(&EVENT_VERSIONS).copied().collect();
                versions.sort_unstable();
                versions.dedup();
                json_reply(&json!({"apiVersions": versions}))
            }
            _ => compute::answer(&self.instance, item, request.parameter("format").as_deref()),
        })
    }

    /// As published in a reply of February 2026; the last number differs from host to host.
    fn server(&self) -> Option<&'static str> {
        Some("IMDS/150.870.65.1854")
    }

    fn refusal(&self, status: u16) -> Reply {
        refusal(status, crate::http::reason(status))
    }
}

fn ns(seconds: f64) -> u64 {
    // A float that does not fit is saturated by the cast, which is what "for ever" means here.
    (seconds.max(0.0) * SECOND_NS as f64) as u64
}

fn json_reply(value: &Value) -> Reply {
    Reply::new(200, JSON, value.to_string())
}

/// An error with the body that errors of this service have: an object with `error`.
fn refusal(status: u16, why: &str) -> Reply {
    Reply::new(status, JSON, json!({"error": why}).to_string())
}

/// The version that a request asks for, when the request keeps the rules; `versions` needs none.
fn admitted(request: &Incoming, item: &str, settings: &AzureSettings) -> Result<String, Box<Reply>> {
    let refused = |status, why: &str| Err(Box::new(refusal(status, why)));
    let versions: Vec<String> = request.parameters("api-version");
    let version = versions.first().cloned().unwrap_or_default();
    // The preview did not ask for the header; every version since 2017-08-01 does.
    let is_preview = item == EVENTS && version == "2017-03-01";
    let is_marked = request.header("Metadata").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !is_marked && !is_preview {
        return refused(400, "Bad request. Required metadata header not specified");
    }
    if request.header("X-Forwarded-For").is_some() {
        return refused(400, "Bad request. The request went through a proxy (X-Forwarded-For).");
    }
    if request.has_repeated_parameter() {
        return refused(400, "Bad request. A query parameter is given twice.");
    }
    if item == "versions" {
        return Ok(version);
    }
    if item == EVENTS && version == REBALANCE_VERSION && !settings.serves_2024_07_09 {
        return Err(Box::new(match settings.unserved_version_status {
            400 => wrong_version(UNKNOWN_VERSION),
            status => refusal(status, "Not found"),
        }));
    }
    let known: &[&str] = if item == EVENTS { &EVENT_VERSIONS } else { &INSTANCE_VERSIONS };
    if !known.contains(&version.as_str()) && version != REBALANCE_VERSION {
        return Err(Box::new(wrong_version(if version.is_empty() { NO_VERSION } else { UNKNOWN_VERSION })));
    }
    Ok(version)
}

/// The refusal that tells which versions there are.
fn wrong_version(why: &str) -> Reply {
    let newest: Vec<&str> = INSTANCE_VERSIONS.iter().rev().take(3).copied().collect();
    Reply::new(400, JSON, json!({"error": why, "newest-versions": newest}).to_string())
}

/// The ids in the body of an approval; nothing when it is not of the documented form.
fn start_requests(body: &[u8]) -> Option<Vec<String>> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let requests = document.get("StartRequests")?.as_array().filter(|requests| !requests.is_empty())?;
    requests.iter().map(|request| Some(request.get("EventId")?.as_str()?.to_owned())).collect()
}

/// The least notice that each type is documented to give.
fn usual_warning(event_type: &str) -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(match event_type {
        "Preempt" => 30,
        "Terminate" => 300,
        "Redeploy" => 600,
        _ => 900,
    })
}

/// `Mon, 19 Sep 2016 18:29:47 GMT`, or ISO 8601.
fn shown(time: Timestamp, times: Times) -> String {
    match times {
        Times::Rfc1123 => crate::http::http_date(time),
        Times::Iso => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}
