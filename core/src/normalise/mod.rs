//! From a provider's document to a notice, and from notices to events.
//!
//! Responsibilities: one parser a provider (`aws`, `azure`, `gcp`; `alibaba` and `tencent`
//! share `spot_time`), times and clocks (`deadline`), and the decision
//! whether a notice is new, known, moved or withdrawn (`revise`). Inputs: bytes a source has read,
//! the instance they are about, a `Moment`. Outputs: `Notice`s, `Verdict`s. Must never do I/O, read a
//! clock, log or panic, whatever the bytes are.

pub mod alibaba;
pub mod aws;
pub mod azure;
pub mod deadline;
pub mod gcp;
pub mod revise;
pub mod spot_time;
pub mod tencent;

use crate::event::{Action, Event, EventType, Machine, Moment, NoticeKind, Severity};
use serde_json::Value;
use std::borrow::Cow;
use thiserror::Error;

/// What makes two readings the same notice, whatever else differs in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeKey {
    /// Provider, such as `aws`.
    pub provider: Cow<'static, str>,
    /// Type of the event that the notice becomes.
    pub kind: EventType,
    /// The instance it is about; empty while the source does not know its own instance yet.
    pub instance: String,
    /// The provider's own identifier of the notice, where there is one.
    pub provider_id: Option<String>,
}

impl NoticeKey {
    /// The key of the notice an event was made from, to remember notices across a restart. The
    /// provider's identifier is taken from the member `EventId` of the document: the name that both
    /// AWS scheduled events and Azure scheduled events give it. GCP has none; there the plan of a maintenance is told
    /// apart from its beginning, which is no advice.
    pub fn of(event: &Event) -> Self {
        let given = event.raw.as_ref().and_then(|raw| raw.get("EventId")).and_then(Value::as_str);
        let is_plan = event.provider == gcp::PROVIDER && event.notice_kind == NoticeKind::Advisory;
        let provider_id = if is_plan { Some(gcp::PLANNED) } else { given };
        Self {
            provider: event.provider.clone(),
            kind: event.event_type.clone(),
            instance: event.machine.instance_id.clone(),
            provider_id: provider_id.map(str::to_owned),
        }
    }

    /// Whether both name the same notice. An unknown instance matches any: notices may arrive before
    /// the source has learnt which machine it runs on, and must not fire again once it has.
    pub fn matches(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.provider == other.provider
            && self.is_of_one_id(other)
            && (self.instance == other.instance || self.instance.is_empty() || other.instance.is_empty())
    }

    /// Azure writes the same identifier now in capitals, now in small letters.
    fn is_of_one_id(&self, other: &Self) -> bool {
        match (&self.provider_id, &other.provider_id) {
            (Some(one), Some(two)) => one.eq_ignore_ascii_case(two),
            (one, two) => one == two,
        }
    }
}

/// One reading of one notice, before it is known whether it is news.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Type of the event it becomes.
    pub kind: EventType,
    /// What makes it the same notice as another reading.
    pub key: NoticeKey,
    /// What the cloud will do.
    pub action: Action,
    /// Whether the cloud will act or warns of risk.
    pub notice_kind: NoticeKind,
    /// The time written in the document (nanoseconds since 1970 UTC), which need not be the time of the
    /// action. It tells readings apart, and does not change when the local clock is set.
    pub stated_wall_ns: Option<i64>,
    /// When the cloud acts, if it says so.
    pub effective: Option<Moment>,
    /// The cloud acts at once: the stated time gives no time to use.
    pub immediate: bool,
    /// Further machines that the notice is about.
    pub resources: Vec<String>,
    /// The provider's document, untouched.
    pub raw: Value,
    /// How bad it is.
    pub severity: Severity,
    /// The provider withdraws the notice or says that it is over.
    pub cancelled: bool,
}

/// What a parser needs to know besides the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The machine the document was read on; empty while unknown.
    pub machine: &'a Machine,
    /// The reading of both clocks, the wall clock as the cloud has it (see [`deadline::cloud_now`]).
    pub now: Moment,
}

/// Why a body could not be read as the document its path promises. The body itself is never quoted:
/// it may be anything, of any length.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Not JSON.
    #[error("expected JSON, found something else at line {line}, column {column} of {bytes} bytes")]
    NotJson {
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error, from 1.
        column: usize,
        /// Length of the body.
        bytes: usize,
    },
    /// Not UTF-8 text.
    #[error("expected text, found bytes that are not UTF-8")]
    NotText,
    /// JSON or text, of another shape.
    #[error("expected {expected}")]
    Shape {
        /// What was expected, in words.
        expected: &'static str,
    },
}

fn json_value(body: &[u8]) -> Result<Value, ParseError> {
    serde_json::from_slice(body).map_err(|e| ParseError::NotJson {
        line: e.line(),
        column: e.column(),
        bytes: body.len(),
    })
}
