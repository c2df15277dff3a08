//! Azure: watches Scheduled Events of the instance metadata service.
//!
//! Responsibilities: the document of events, in the newest version that is served; who this machine is; what errors mean
//! here. Inputs: the metadata service, settings. Outputs: what each look tells its round. Must never take an error for the
//! absence of a notice, let the name of the machine hold up its notices, or ask more than the service allows.
//!
//! Facts: "Scheduled Events for Linux VMs" (one document for all events; the first request enables them and may take two
//! minutes; once a second is recommended), "Azure Instance Metadata Service" (header `Metadata: true`, no proxy, five
//! requests a second, 410 for up to 70 s). What documents mean after each other is decided by `listing`, which version is
//! asked for by `versions`.

mod listing;
mod versions;

use super::cloud::{Again, CALM_NS, Cloud, Item, PollError, Role};
use super::imds::{CONNECT_TIMEOUT_NS, EndpointError, FetchError, Found, Header, MetadataClient};
use super::imdsd::Refusal;
use super::round::{Round, reading};
use crate::event::{Action, EventType};
use crate::normalise::azure as parse;
use crate::normalise::deadline::SECOND_NS;
use crate::normalise::{Notice, Reading};
use crate::settings::AzureSource;
use crate::sys::bell::Bell;
use crate::sys::clock;
use listing::Listing;
use std::sync::Arc;
use versions::{NAMES, TRIES_MAX, Versions};

const EVENTS: &str = "/metadata/scheduledevents?api-version=";

/// `priority` and `evictionPolicy` are there since 2020-12-01.
const IDENTITY: &str = "/metadata/instance/compute?api-version=2021-02-01";

const HEADERS: &[Header<'static>] = &[("metadata", "true")];

/// Shortest interval, seconds. The whole machine may make five requests a second, and this leaves more than half of them to
/// the question who this machine is and to others.
pub const INTERVAL_SECONDS_MIN: f64 = 0.5;

/// Longest that the first question is left open, nanoseconds: two minutes, and some patience.
const PENDING_MAX_NS: i64 = 150 * SECOND_NS;

/// Most milliseconds for the question who this machine is: it is answered at once or not at all, and notices wait meanwhile.
const IDENTITY_TIMEOUT_MS: u64 = 500;

/// The types of events that come from here: all of one document.
pub const TYPES: [EventType; 6] = [
    EventType::SPOT_INTERRUPT,
    EventType::INSTANCE_TERMINATE,
    EventType::SPOT_REBALANCE,
    EventType::MAINTENANCE_FREEZE,
    EventType::MAINTENANCE_REBOOT,
    EventType::MAINTENANCE_REDEPLOY,
];

/// A document as the service writes it, for the self-test. It names nobody, so it is for every machine, and its time lies
/// ahead for as long as this program lives.
const SPECIMEN: &[u8] = br#"{"DocumentIncarnation": 2, "Events": [{"EventId": "A123BC45-1234-5678-AB90-ABCDEF123456",
    "EventStatus": "Scheduled", "EventType": "Preempt", "ResourceType": "VirtualMachine", "Resources": [],
    "NotBefore": "Tue, 31 Dec 2199 23:59:59 GMT", "Description": "", "EventSource": "Platform", "DurationInSeconds": -1}]}"#;

/// The metadata service of the virtual machine it runs on.
#[derive(Debug)]
pub struct Azure {
    client: MetadataClient,
    /// Asks who this machine is, without keeping the others waiting.
    who: MetadataClient,
    /// Has put a question that timed out, and is not giving up.
    patient: MetadataClient,
    /// Until when that is left open, CLOCK_BOOTTIME; None: there is no such question.
    pending_until_boot_ns: Option<i64>,
    versions: Versions,
    listing: Listing,
    /// The last document, if it can mean nothing more. The bytes are compared, not `DocumentIncarnation`: a service that
    /// begins anew may give a number again.
    settled: Option<Vec<u8>>,
    /// What an eviction does to this machine.
    eviction: Action,
    /// There was an answer since the start.
    has_answered: bool,
    look_max_ns: i64,
}

impl Azure {
    /// Asks nothing yet; `bell` ends its waiting.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub fn new(settings: &AzureSource, bell: Arc<Bell>) -> Result<Self, EndpointError> {
        let timeout_ms = u64::from(settings.request_timeout_ms);
        let client = |timeout_ms| MetadataClient::new(&settings.endpoint, timeout_ms, Arc::clone(&bell));
        // A request may be made twice, on a connection that has died; then the machine's name, and a patient question.
        let requests = 2 * i64::try_from(TRIES_MAX).unwrap_or(i64::MAX) + 2;
        Ok(Self {
            client: client(timeout_ms)?,
            who: client(timeout_ms.min(IDENTITY_TIMEOUT_MS))?,
            patient: client(timeout_ms)?,
            pending_until_boot_ns: None,
            versions: Versions::new(),
            listing: Listing::new(),
            settled: None,
            eviction: Action::Terminate,
            has_answered: false,
            look_max_ns: (i64::from(settings.request_timeout_ms) * 1_000_000 * requests) + CONNECT_TIMEOUT_NS,
        })
    }

    fn events(&mut self, round: &mut Round<'_>) -> Result<(), PollError> {
        let found = self.fetch()?;
        if self.settled.as_ref() == Some(&found.body) {
            return Ok(());
        }
        round.approach(&EventType::SPOT_INTERRUPT);
        let mut local = clock::now();
        let mut machine = Arc::clone(round.machine());
        let mut document = parse::document(&found.body, reading(&machine, &found, local), self.eviction)?;
        if !document.undecided.is_empty() && self.identity(round).is_ok() {
            (local, machine) = (clock::now(), Arc::clone(round.machine()));
            document = parse::document(&found.body, reading(&machine, &found, local), self.eviction)?;
        }
        let malformed = document.malformed;
        let step = self.listing.read(document, local.boot_ns);
        for notice in step.tell {
            round.observe(notice, local);
        }
        let (unlisted, may_come) = self.listing.unlisted(round.standing(), local.boot_ns);
        for (key, absence) in step.gone.iter().chain(&unlisted) {
            round.absent(key, *absence);
        }
        self.settled = (!step.is_open && !may_come).then_some(found.body);
        if malformed > 0 { Err(PollError::Entries(malformed)) } else { Ok(()) }
    }

    /// The document. An answer to the question that was left open counts like any other.
    fn fetch(&mut self) -> Result<Found, PollError> {
        if let Some(found) = self.heard() {
            return Ok(found);
        }
        let mut refusal = FetchError::Status(404);
        let mut before = None;
        for version in self.versions.to_try(clock::boot_ns()) {
            if before.replace(version) == Some(version) {
                continue;
            }
            match self.client.get(&path(version), HEADERS) {
                Ok(Some(found)) => {
                    self.versions.answered(version, clock::boot_ns());
                    self.no_longer_pending();
                    return Ok(found);
                }
                Ok(None) => refusal = FetchError::Status(404),
                Err(error @ FetchError::Status(400)) => refusal = error,
                // Every status that systemd-imdsd does not tell, 400 among them.
                Err(error @ FetchError::Imdsd(Refusal::Untold | Refusal::Unsaid)) => refusal = error,
                Err(error) => {
                    if error == FetchError::Timeout {
                        self.leave_pending();
                    }
                    return Err(self.explained(error));
                }
            }
        }
        self.versions.refused();
        let meaning = match refusal {
            FetchError::Imdsd(_) => "the service is being updated, or has none of the versions that this program knows",
            _ => "the service offers none of the versions of scheduled events that this program knows",
        };
        Err(PollError::Explained { error: refusal, meaning })
    }

    /// The answer to the question that was left open.
    fn heard(&mut self) -> Option<Found> {
        let until_boot_ns = self.pending_until_boot_ns?;
        match self.patient.hear() {
            Ok(Some(found)) => {
                self.no_longer_pending();
                Some(found)
            }
            Ok(None) if clock::boot_ns() < until_boot_ns => None,
            Ok(None) | Err(_) => {
                self.pending_until_boot_ns = None;
                None
            }
        }
    }

    /// Asks once more, and leaves the question open while the others come and go: should the service be enabled by a question
    /// that is waited for only, this one is.
    fn leave_pending(&mut self) {
        let version = self.versions.best();
        if self.pending_until_boot_ns.is_none() && self.patient.begin(&path(version), HEADERS).is_ok() {
            self.pending_until_boot_ns = Some(clock::boot_ns().saturating_add(PENDING_MAX_NS));
        }
    }

    fn no_longer_pending(&mut self) {
        self.has_answered = true;
        if self.pending_until_boot_ns.take().is_some() {
            self.patient.give_up();
        }
    }

    fn explained(&self, error: FetchError) -> PollError {
        let meaning = match error {
            FetchError::Timeout if !self.has_answered => {
                "scheduled events are being enabled for this VM, which may take two minutes"
            }
            FetchError::Status(410) => "the metadata service is being updated, which takes up to 70 s",
            FetchError::Status(429) => "the programs of this VM together make more than five requests a second",
            other => return other.into(),
        };
        PollError::Explained { error, meaning }
    }

    fn identity(&mut self, round: &mut Round<'_>) -> Result<(), PollError> {
        if !round.machine().instance_id.is_empty() {
            return Ok(());
        }
        // A connection to systemd-imdsd is a process: one is enough.
        let asked =
            if self.client.is_through_imdsd() { Err(FetchError::Locked) } else { self.who.get(IDENTITY, HEADERS) };
        let asked = if asked == Err(FetchError::Locked) { self.client.get(IDENTITY, HEADERS) } else { asked };
        let found = asked.map_err(|error| self.explained(error))?;
        let identity = parse::identity(&found.ok_or(FetchError::Status(404))?.body)?;
        self.eviction = identity.eviction;
        if identity.is_regular {
            round.found_on_demand("a regular VM, which is not evicted");
        }
        round.found_machine(identity.machine);
        Ok(())
    }
}

impl Cloud for Azure {
    const SOURCE: &'static str = "azure.scheduled-events";

    const ITEMS: &'static [Item] = &[
        Item { name: "scheduledevents", role: Role::Urgent },
        Item { name: "instance/compute", role: Role::Identity },
    ];

    /// Not the patient question: systemd-imdsd gives up after 40 s (`imdsd.c`), and takes one at a time.
    fn client(&mut self) -> &mut MetadataClient {
        &mut self.client
    }

    fn look_max_ns(&self) -> i64 {
        self.look_max_ns
    }

    fn look(&mut self, number: usize, round: &mut Round<'_>) -> Result<Again, PollError> {
        match number {
            0 => self.events(round).map(|()| Again::Usual),
            // A machine does not become another one.
            _ => self.identity(round).map(|()| Again::Never),
        }
    }

    /// After a refusal of the versions, for which several were asked; systemd-imdsd does not tell that one from others.
    fn calm_ns(&self, error: &PollError) -> i64 {
        let is_untold = matches!(
            error,
            PollError::Explained { error: FetchError::Imdsd(_) | FetchError::Locked, .. }
                | PollError::Fetch(FetchError::Imdsd(_) | FetchError::Locked)
        );
        if is_untold || matches!(error.status(), Some(400 | 404 | 429)) { CALM_NS } else { 0 }
    }

    fn specimen(reading: Reading<'_>) -> Option<Notice> {
        let document = parse::document(SPECIMEN, reading, Action::Terminate).ok()?;
        document.ours.into_iter().next().map(|listed| listed.notice)
    }
}

fn path(version: usize) -> String {
    format!("{EVENTS}{}", NAMES.get(version).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests;
