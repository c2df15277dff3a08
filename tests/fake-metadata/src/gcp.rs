//! The Compute Engine metadata server, as a value that answers requests.
//!
//! Responsibilities: the rules every request must keep, requests that hang until a value changes, maintenance and
//! preemption; what stands where is in `values`. Inputs: changes, requests, the time. Outputs: answers. Sources: "About VM
//! metadata", "Query VM metadata", "Get live migration notices" and "Troubleshoot the metadata server" of Google's
//! documentation. It does no I/O and reads no clock. It must never invent a behaviour: what is not documented or recorded is
//! marked so.
//!
//! How a test drives it:
//!
//! ```
//! use fake_metadata::{Action, FakeMetadata, Maintenance, Options, Provider, When};
//!
//! let fake = FakeMetadata::start(Options::of(Provider::Gcp))?;
//! // A client hangs: GET /computeMetadata/v1/instance/preempted?wait_for_change=true; `fake.wait_for_held(1, …)` sees it.
//! fake.notice(Action::Terminate, When::Usual); // it is answered TRUE at once
//! // maintenance-event warns only clients that asked for it before, as in reality (Settings::gcp).
//! let event_id = fake.maintenance(Maintenance::new("MIGRATE_ON_HOST_MAINTENANCE", When::Usual)).unwrap();
//! fake.start_maintenance(&event_id).unwrap();    // 503 everywhere, hanging requests are cut
//! fake.complete_maintenance(&event_id).unwrap(); // NONE
//! # Ok::<(), fake_metadata::StartError>(())
//! ```

mod values;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::change::{Applied, Body, Change, ChangeError, Maintenance};
use crate::cloud::{Answer, Cloud, Hold, Moment, Outcome};
use crate::http::{Incoming, Reply, reason};
use crate::instance::Instance;
use crate::settings::NoUpcoming;
use crate::token::TokenUse;
use values::{Upcoming, Values};

const ROOT: &str = "/computeMetadata/v1/";
const FLAVOR: &str = "Metadata-Flavor";
const GOOGLE: &str = "Google";
const MAINTENANCE: &str = "instance/maintenance-event";
const PREEMPTED: &str = "instance/preempted";
const UPCOMING: &str = "instance/upcoming-maintenance";
const TERMINATE: &str = "TERMINATE_ON_HOST_MAINTENANCE";
/// The body of 503 while no maintenance was ever announced, as recorded.
const NOT_RECEIVED: &str = r#"{"error":"no notifications have been received yet, try again later"}"#;

/// A maintenance that is going to be or is going on.
#[derive(Debug)]
struct Running {
    event_id: String,
    code: String,
    /// `maintenance-event` tells of it.
    announced: bool,
    started: bool,
}

/// One instance's server.
#[derive(Debug)]
pub(crate) struct Gcp {
    instance: Instance,
    preempted: bool,
    maintenance: Option<Running>,
    upcoming: Option<Upcoming>,
    bodies: BTreeMap<String, Body>,
    /// `maintenance-event` was asked for since the last event.
    asked: bool,
    events_made: u64,
    /// How often each value has changed. A value that went and came back has another ETag than before.
    changes: BTreeMap<String, u64>,
}

impl Gcp {
    pub(crate) fn new(instance: Instance) -> Self {
        Self {
            instance,
            preempted: false,
            maintenance: None,
            upcoming: None,
            bodies: BTreeMap::new(),
            asked: false,
            events_made: 0,
            changes: BTreeMap::new(),
        }
    }

    /// Every value at this moment.
    fn values(&self, moment: &Moment) -> Values {
        let mut values = Values::standing(&self.instance);
        values.put(PREEMPTED, if self.preempted { "TRUE" } else { "FALSE" });
        let announced = self.maintenance.as_ref().filter(|running| running.announced);
        values.put(MAINTENANCE, announced.map_or("NONE", |running| &running.code));
        match (&self.upcoming, moment.settings.gcp.no_upcoming) {
            (Some(upcoming), _) => values.put_json(UPCOMING, upcoming.shown(moment.settings.gcp.upcoming_form, moment)),
            (None, NoUpcoming::None) => values.put(UPCOMING, "NONE"),
            (None, NoUpcoming::Empty) => values.put(UPCOMING, "{ }"),
            (None, NoUpcoming::Unavailable | NoUpcoming::NotFound) => {}
        }
        for (path, body) in &self.bodies {
            match body {
                Body::Text(text) => values.put(path, text),
                Body::Absent | Body::Usual => values.remove(path),
            }
        }
        values
    }

    fn schedule(&mut self, event: Maintenance, moment: &Moment) -> Result<String, ChangeError> {
        if let Some(running) = &self.maintenance {
            return Err(ChangeError::DuplicateEvent { event_id: running.event_id.clone() });
        }
        self.events_made += 1;
        let event_id = event.event_id.unwrap_or_else(|| format!("maintenance-{}", self.events_made));
        // "The 60 s warning is only given if the key was queried at least once since the last event."
        let announced = self.asked || !moment.settings.gcp.warns_only_when_asked || event.started;
        self.maintenance =
            Some(Running { event_id: event_id.clone(), code: event.code, announced, started: event.started });
        Ok(event_id)
    }

    fn running(&mut self, event_id: &str) -> Result<&mut Running, ChangeError> {
        let found = self.maintenance.as_mut().filter(|running| running.event_id == event_id);
        found.ok_or_else(|| ChangeError::UnknownEvent { event_id: event_id.to_owned() })
    }

    fn end(&mut self, event_id: &str) -> Result<(), ChangeError> {
        self.running(event_id)?;
        self.maintenance = None;
        self.asked = false;
        Ok(())
    }

    fn change(&mut self, change: Change, moment: &Moment) -> Result<Applied, ChangeError> {
        match change {
            Change::Notice { .. } => self.preempted = true,
            Change::Withdraw => self.preempted = false,
            Change::Maintenance(event) => return self.schedule(event, moment).map(Applied::Event),
            // `maintenance-event` tells no time.
            Change::MoveMaintenance { event_id, .. } => drop(self.running(&event_id)?),
            Change::StartMaintenance { event_id } => {
                let running = self.running(&event_id)?;
                running.announced = true;
                running.started = true;
            }
            Change::CancelMaintenance { event_id } | Change::CompleteMaintenance { event_id } => self.end(&event_id)?,
            Change::UpcomingMaintenance(upcoming) => self.upcoming = Some(Upcoming::new(upcoming, moment.now)),
            Change::ClearUpcomingMaintenance => self.upcoming = None,
            Change::Body { path, body: Body::Usual } => drop(self.bodies.remove(&path)),
            Change::Body { path, body } => drop(self.bodies.insert(path, body)),
            _ => {}
        }
        Ok(Applied::Done)
    }

    /// A live migration is going on: "503 during metadata-server boot, migration, host maintenance".
    fn is_migrating(&self) -> bool {
        self.maintenance.as_ref().is_some_and(|running| running.started && running.code != TERMINATE)
    }

    /// 16 hexadecimal digits, as in the documentation's examples, which change whenever a value below `path` does.
    fn etag(&self, path: &str) -> String {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let is_below = |leaf: &str| leaf == path || path.is_empty() || leaf.starts_with(&format!("{path}/"));
        let changes: u64 = self.changes.iter().filter(|(leaf, _)| is_below(leaf)).map(|(_, count)| count).sum();
        changes.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Nothing when the request may be answered now; else what it waits for. Without `last_etag` it waits for the next change
    /// after its arrival; with it, only while nothing has changed since.
    fn hold(&self, request: &Incoming, etag: &str, moment: &Moment) -> Option<Hold> {
        if request.parameter("wait_for_change").as_deref() != Some("true") {
            return None;
        }
        let hold = moment.held.cloned().unwrap_or_else(|| {
            let timeout = request.parameter("timeout_sec").and_then(|seconds| seconds.parse::<u64>().ok());
            Hold {
                etag: request.parameter("last_etag").unwrap_or_else(|| etag.to_owned()),
                until_ns: timeout.map(|seconds| moment.boot_ns.saturating_add(seconds.saturating_mul(1_000_000_000))),
            }
        });
        (hold.etag == etag && !hold.is_over(moment.boot_ns)).then_some(hold)
    }

    fn get(&mut self, request: &Incoming, moment: &Moment) -> Answer {
        let path = request.path.strip_prefix(ROOT).unwrap_or_default();
        let is_directory = path.is_empty() || path.ends_with('/');
        let path = path.trim_end_matches('/');
        let values = self.values(moment);
        // A value in a parent that is read whole has been asked for as well.
        let is_recursive = request.parameter("recursive").as_deref() == Some("true");
        if path == MAINTENANCE || (is_recursive && (path.is_empty() || path == "instance")) {
            self.asked = true;
        }
        let json = match request.parameter("alt").as_deref() {
            Some("json") => true,
            Some("text") => false,
            _ => is_recursive,
        };
        let body = match values.read(path, is_recursive, json) {
            Some(_) if values.is_directory(path) && !is_directory && !is_recursive => {
                return Answer::plain(moved(request));
            }
            Some(body) => body,
            None if path == UPCOMING
                && moment.settings.gcp.no_upcoming == NoUpcoming::Unavailable
                && !self.bodies.contains_key(path) =>
            {
                return Answer::plain(Reply::new(503, "application/json", NOT_RECEIVED));
            }
            None => return Answer::plain(page(404)),
        };
        let etag = self.etag(path);
        if let Some(hold) = self.hold(request, &etag, moment) {
            return Answer { outcome: Outcome::Hold(hold), token: TokenUse::None, news: false };
        }
        let content_type = if json { "application/json" } else { "application/text" };
        let news = self.is_news(path, is_recursive);
        Answer { news, ..Answer::plain(Reply::new(200, content_type, body).with_header("ETag", etag)) }
    }

    /// Whether what was read at `path` announces something.
    fn is_news(&self, path: &str, is_recursive: bool) -> bool {
        let maintenance = self.maintenance.as_ref().is_some_and(|running| running.announced);
        match path {
            PREEMPTED => self.preempted,
            MAINTENANCE => maintenance,
            UPCOMING => self.upcoming.is_some(),
            "" | "instance" => is_recursive && (self.preempted || maintenance || self.upcoming.is_some()),
            _ => false,
        }
    }
}

impl Cloud for Gcp {
    fn instance(&self) -> &Instance {
        &self.instance
    }

    fn apply(&mut self, change: Change, moment: &Moment) -> Result<Applied, ChangeError> {
        let before = self.values(moment);
        let applied = self.change(change, moment)?;
        for path in self.values(moment).differing(&before) {
            *self.changes.entry(path).or_default() += 1;
        }
        Ok(applied)
    }

    fn answer(&mut self, request: &Incoming, moment: &Moment) -> Answer {
        if self.is_migrating() {
            // "During live migration a hanging GET may be cut": the connection does not survive the move.
            let outcome = if moment.held.is_some() { Outcome::Cut } else { Outcome::Reply(self.flavored(page(503))) };
            return Answer { outcome, token: TokenUse::None, news: false };
        }
        let mut answer = if request.header("X-Forwarded-For").is_some() {
            Answer::plain(page(403))
        } else if request.header(FLAVOR).is_none_or(|flavor| !flavor.eq_ignore_ascii_case(GOOGLE)) {
            Answer::plain(Reply::new(403, "text/plain", "Missing Metadata-Flavor:Google header."))
        } else if !matches!(request.method.as_str(), "GET" | "HEAD") {
            // Not documented for values that only the server sets.
            Answer::plain(page(405))
        } else if request.path == "/" {
            Answer::plain(Reply::new(200, "application/text", "0.1/\ncomputeMetadata/\n"))
        } else if request.path == "/computeMetadata/v1" {
            Answer::plain(moved(request))
        } else if request.path.starts_with(ROOT) {
            self.get(request, moment)
        } else {
            Answer::plain(page(404))
        };
        if let Outcome::Reply(reply) = answer.outcome {
            answer.outcome = Outcome::Reply(self.flavored(reply));
        }
        answer
    }

    fn server(&self) -> Option<&'static str> {
        Some("Metadata Server for VM")
    }

    fn refusal(&self, status: u16) -> Reply {
        self.flavored(page(status))
    }

    fn off(&self) -> Reply {
        self.flavored(page(403))
    }
}

impl Gcp {
    /// The headers that every reply of the real server has.
    fn flavored(&self, reply: Reply) -> Reply {
        reply
            .with_header(FLAVOR, GOOGLE)
            .with_header("X-XSS-Protection", "0")
            .with_header("X-Frame-Options", "SAMEORIGIN")
    }
}

/// A directory is reached at its name with a slash; the query goes along.
fn moved(request: &Incoming) -> Reply {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    Reply::new(301, "text/html", "").with_header("Location", format!("{}/{query}", request.path))
}

/// The page of an error; that it looks so is not documented, only that 404 and its like come as HTML.
fn page(status: u16) -> Reply {
    let body =
        format!("<!DOCTYPE html>\n<html lang=en>\n<title>Error {status} ({})!!1</title>\n</html>\n", reason(status));
    Reply::new(status, "text/html; charset=UTF-8", body)
}
