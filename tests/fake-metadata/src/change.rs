//! Everything that can change while the fake service runs, as values.
//!
//! Responsibilities: one vocabulary for the Rust interface, the control requests and the steps of a script. Inputs:
//! none. Outputs: [`Change`] and its parts. It must never do I/O or read a clock: a [`When`] is resolved by whoever
//! applies the change.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::faults::Fault;

/// What a spot notice says will happen (EC2 user guide, "Spot Instance interruption notices").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The instance is terminated two minutes after the notice.
    Terminate,
    /// The instance is stopped two minutes after the notice.
    Stop,
    /// Hibernation begins at once: this notice gives no time.
    Hibernate,
}

impl Action {
    /// How long before the action the real service gives notice: 120 s, or 0 s for a hibernation.
    pub fn usual_warning(self) -> SignedDuration {
        match self {
            Self::Terminate | Self::Stop => SignedDuration::from_secs(120),
            Self::Hibernate => SignedDuration::ZERO,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Terminate => "terminate",
            Self::Stop => "stop",
            Self::Hibernate => "hibernate",
        })
    }
}

/// A moment, fixed or counted from when the change is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This long after the change is applied; negative for the past.
    In(SignedDuration),
    /// Exactly then.
    At(Timestamp),
}

impl When {
    /// The moment itself, given the time at which the change is applied.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(offset) => now.saturating_add(offset).unwrap_or(now),
            Self::At(moment) => moment,
        }
    }
}

impl From<Timestamp> for When {
    fn from(moment: Timestamp) -> Self {
        Self::At(moment)
    }
}

impl From<std::time::Duration> for When {
    fn from(offset: std::time::Duration) -> Self {
        Self::In(SignedDuration::try_from(offset).unwrap_or(SignedDuration::MAX))
    }
}

/// The codes of scheduled events (EC2 user guide, "Scheduled events for your instances").
pub const MAINTENANCE_CODES: [&str; 5] =
    ["instance-stop", "instance-retirement", "instance-reboot", "system-reboot", "system-maintenance"];

/// A scheduled event to announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// One of [`MAINTENANCE_CODES`]; others are served as given.
    pub code: String,
    /// Shown to people; the history prefixes it with `[Canceled] ` or `[Completed] `.
    pub description: String,
    /// `instance-event-…`; `None` has the service make one.
    pub event_id: Option<String>,
    /// When it may begin.
    pub not_before: When,
    /// When it has ended at the latest.
    pub not_after: Option<When>,
    /// How far an operator may push it back.
    pub not_before_deadline: Option<When>,
}

impl Maintenance {
    /// An event with that code and start, described as the documentation's own example is.
    pub fn new(code: &str, not_before: impl Into<When>) -> Self {
        let description = format!("scheduled {}", code.rsplit('-').next().unwrap_or(code));
        Self {
            code: code.to_owned(),
            description,
            event_id: None,
            not_before: not_before.into(),
            not_after: None,
            not_before_deadline: None,
        }
    }
}

/// The target lifecycle states of an Auto Scaling instance (EC2 Auto Scaling user guide, "Retrieve the target lifecycle
/// state through instance metadata").
pub const LIFECYCLE_STATES: [&str; 8] = [
    "Detached",
    "InService",
    "Standby",
    "Terminated",
    "Warmed:Hibernated",
    "Warmed:Running",
    "Warmed:Stopped",
    "Warmed:Terminated",
];

/// What a path answers instead of its usual body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// 200 with this text.
    Text(String),
    /// 404, as on an instance that lacks the category.
    Absent,
    /// Its usual body again.
    Usual,
}

/// One change to what the service answers.
#[derive(Debug)]
pub enum Change {
    /// A spot notice appears, or replaces the one before it.
    Notice {
        /// What will happen.
        action: Action,
        /// When, as the notice tells it.
        time: When,
    },
    /// The spot notice disappears. The real service never does that; other clouds' services do.
    Withdraw,
    /// A rebalance recommendation appears, emitted then.
    Rebalance {
        /// `noticeTime`: when it was emitted, not a deadline.
        time: When,
    },
    /// The recommendation disappears. The real service keeps it for good.
    ClearRebalance,
    /// A scheduled event is announced.
    Maintenance(Maintenance),
    /// A scheduled event moves to the history as canceled.
    CancelMaintenance {
        /// Which.
        event_id: String,
    },
    /// A scheduled event moves to the history as completed.
    CompleteMaintenance {
        /// Which.
        event_id: String,
    },
    /// The Auto Scaling target lifecycle state; `None` plays an instance outside any group.
    LifecycleState {
        /// One of [`LIFECYCLE_STATES`]; others are served as given.
        state: Option<String>,
    },
    /// One path below `meta-data/` answers something else.
    Body {
        /// Such as `spot/termination-time`.
        path: String,
        /// What it answers.
        body: Body,
    },
    /// Whether requests without a token are refused (`HttpTokens` required) or served (optional).
    Tokens {
        /// True for required.
        required: bool,
    },
    /// Every token issued so far becomes unknown, as after a resume on another host.
    RevokeTokens,
    /// Whether the service is on; off, everything is 403.
    Endpoint {
        /// True for on.
        enabled: bool,
    },
    /// A fault begins.
    Fault(Fault),
    /// All faults end.
    ClearFaults,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice { action, .. } => write!(formatter, "notice {action}"),
            Self::Withdraw => formatter.write_str("withdraw"),
            Self::Rebalance { .. } => formatter.write_str("rebalance"),
            Self::ClearRebalance => formatter.write_str("clear_rebalance"),
            Self::Maintenance(event) => write!(formatter, "maintenance {}", event.code),
            Self::CancelMaintenance { event_id } => write!(formatter, "cancel_maintenance {event_id}"),
            Self::CompleteMaintenance { event_id } => write!(formatter, "complete_maintenance {event_id}"),
            Self::LifecycleState { state: Some(state) } => write!(formatter, "lifecycle_state {state}"),
            Self::LifecycleState { state: None } => formatter.write_str("lifecycle_state none"),
            Self::Body { path, .. } => write!(formatter, "body {path}"),
            Self::Tokens { required: true } => formatter.write_str("tokens required"),
            Self::Tokens { required: false } => formatter.write_str("tokens optional"),
            Self::RevokeTokens => formatter.write_str("revoke_tokens"),
            Self::Endpoint { enabled: true } => formatter.write_str("endpoint on"),
            Self::Endpoint { enabled: false } => formatter.write_str("endpoint off"),
            Self::Fault(fault) => write!(formatter, "fault {}", fault.effect().name()),
            Self::ClearFaults => formatter.write_str("clear_faults"),
        }
    }
}

/// Why a change was not applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeError {
    /// A cancellation or completion named an event that is not scheduled.
    #[error("no scheduled event has the id {event_id:?}")]
    UnknownEvent {
        /// The id that was given.
        event_id: String,
    },
    /// An event was announced under an id that is already scheduled.
    #[error("an event with the id {event_id:?} is already scheduled")]
    DuplicateEvent {
        /// The id that was given.
        event_id: String,
    },
}

/// What applying a change brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing that has a name.
    Done,
    /// A scheduled event with this id.
    Event(String),
    /// A fault with this number.
    Fault(crate::faults::FaultId),
}
