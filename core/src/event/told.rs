//! What a plugin that is a source tells, checked: plain values that the way from the border to the sources shares.
//!
//! Inputs: what `host::source` found to be well formed. Outputs: values. Must never do I/O, read a clock or know which
//! plugin it was.

use super::{Action, EventId, EventType, Machine, NoticeKind, Severity};
use serde_json::Value;

/// When the cloud acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It does not say.
    Unknown,
    /// At this wall-clock time, nanoseconds since 1970 UTC.
    At(i64),
    /// So many nanoseconds after it was told.
    In(i64),
    /// At once.
    Now,
}

/// One telling of one notice.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Provider, such as `aws`.
    pub provider: String,
    /// The provider's own identifier of the notice; empty where it has none.
    pub notice_id: String,
    /// Type of the event that it becomes; never a withdrawal's.
    pub event_type: EventType,
    /// The machine it is about; empty: this one.
    pub instance_id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What the cloud will do.
    pub action: Action,
    /// Whether it will act or warns of risk.
    pub notice_kind: NoticeKind,
    /// When.
    pub when: When,
    /// The time in the document, nanoseconds since 1970 UTC; None: that of `when`.
    pub stated_wall_ns: Option<i64>,
    /// Further machines or resources.
    pub resources: Vec<String>,
    /// The provider's document.
    pub raw: Value,
}

/// What became of a telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This event was published, or its deadline moved.
    News(EventId),
    /// This event had been told.
    Known(EventId),
    /// Its time has passed.
    Past,
    /// There was nothing to withdraw.
    Nothing,
}

/// Who a source says this machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// Provider.
    pub provider: String,
    /// The machine.
    pub machine: Machine,
}

/// Whether a source sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Why it is blind; None: it sees.
    pub blind: Option<String>,
    /// It shows itself again within so many milliseconds.
    pub next_within_ms: u64,
}

/// How an event ended, for whoever told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Every handler did its work, or had none.
    Handled,
    /// One did not.
    Failed,
    /// It was withdrawn before its handlers had ended.
    Withdrawn,
    /// It was not taken in.
    Refused,
}
