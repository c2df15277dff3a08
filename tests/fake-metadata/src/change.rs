//! Everything that can change while the fake service runs, as values.
//!
//! Responsibilities: one vocabulary for the Rust interface, the control requests and the steps of a script. Inputs:
//! none. Outputs: [`Change`] and its parts. It must never do I/O or read a clock: a [`When`] is resolved by whoever
//! applies the change.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::azure;
use crate::cloud::Provider::{self, Alibaba, Aws, Azure, Gcp, Tencent};
use crate::faults::Fault;
use crate::settings::SettingsPatch;

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
    /// As long after the change is applied as the cloud usually warns ([`Provider::usual_warning`]).
    Usual,
}

impl When {
    /// The moment itself, given the time at which the change is applied; where nothing is usual, that is now.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        self.resolve_or(now, SignedDuration::ZERO)
    }

    /// The same where `usual` after the change is what is usual.
    pub(crate) fn resolve_or(self, now: Timestamp, usual: SignedDuration) -> Timestamp {
        match self {
            Self::In(offset) => now.saturating_add(offset).unwrap_or(now),
            Self::At(moment) => moment,
            Self::Usual => now.saturating_add(usual).unwrap_or(now),
        }
    }

    /// The same moment where time runs `speed` times as fast. A fixed moment stays.
    pub(crate) fn accelerated(self, speed: f64) -> Self {
        match self {
            Self::In(offset) => {
                Self::In(SignedDuration::try_from_secs_f64(offset.as_secs_f64() / speed).unwrap_or(offset))
            }
            Self::At(_) | Self::Usual => self,
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

/// The types of Azure's scheduled events (Scheduled Events for Linux VMs, "Event properties").
pub const AZURE_EVENT_TYPES: [&str; 6] =
    ["Freeze", "Reboot", "Redeploy", "Preempt", "Terminate", "SpotRebalanceRecommendation"];

/// What GCP's `maintenance-event` says (Compute Engine, "Get live migration notices").
pub const GCP_MAINTENANCE_EVENTS: [&str; 2] = ["MIGRATE_ON_HOST_MAINTENANCE", "TERMINATE_ON_HOST_MAINTENANCE"];

/// The codes of a provider's [`Maintenance`].
pub fn maintenance_codes(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Aws => &MAINTENANCE_CODES,
        Provider::Azure => &AZURE_EVENT_TYPES,
        Provider::Gcp => &GCP_MAINTENANCE_EVENTS,
        Provider::Alibaba | Provider::Tencent => &[],
    }
}

/// A scheduled event to announce: AWS's scheduled event, Azure's scheduled event of any type, GCP's `maintenance-event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// One of [`maintenance_codes`]; others are served as given.
    pub code: String,
    /// Shown to people; AWS's history prefixes it with `[Canceled] ` or `[Completed] `.
    pub description: String,
    /// `None` has the service make one: `instance-event-…` on AWS, a GUID on Azure. GCP shows none.
    pub event_id: Option<String>,
    /// Azure: the names of the machines it strikes; empty is this machine. `{name}` in a name stands for this machine's.
    pub resources: Vec<String>,
    /// Azure: `Platform` or `User`; left out, `Platform`.
    pub source: Option<String>,
    /// Azure: `DurationInSeconds`; left out, -1, unknown.
    pub impact_seconds: Option<i64>,
    /// Azure: it begins as it appears, as after a failure of hardware.
    pub started: bool,
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
        let description = azure::usual_description(code)
            .map_or_else(|| format!("scheduled {}", code.rsplit('-').next().unwrap_or(code)), str::to_owned);
        Self {
            code: code.to_owned(),
            description,
            event_id: None,
            resources: Vec::new(),
            source: None,
            impact_seconds: None,
            started: false,
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

/// An announcement of GCP's `upcoming-maintenance`, days ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// When the window opens.
    pub window_start: When,
    /// How long it stays open.
    pub window: SignedDuration,
    /// The latest moment to which its opening may be put off.
    pub latest_window_start: Option<When>,
    /// `SCHEDULED` or `UNSCHEDULED`.
    pub kind: String,
    /// `PENDING` or `ONGOING`.
    pub status: String,
    /// Whether its owner may move it.
    pub can_reschedule: bool,
    /// Such as `HARDWARE_REPAIR`.
    pub reasons: Vec<String>,
}

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
    /// The spot notice disappears. The services of AWS, Alibaba and Tencent are not known to do that.
    Withdraw,
    /// A rebalance recommendation appears, emitted then. Azure: an event of type SpotRebalanceRecommendation.
    Rebalance {
        /// AWS's `noticeTime`: when it was emitted, not a deadline. Azure's `NotBefore`.
        time: When,
    },
    /// The recommendation disappears. AWS keeps it for good.
    ClearRebalance,
    /// A scheduled event is announced.
    Maintenance(Maintenance),
    /// A scheduled event is put to another time.
    MoveMaintenance {
        /// Which.
        event_id: String,
        /// Its new time.
        time: When,
    },
    /// A scheduled event begins. Azure: Started. GCP: a migration makes everything 503 and ends waits without a reply; what
    /// had not been announced ahead is announced now. AWS shows nothing of it.
    StartMaintenance {
        /// Which.
        event_id: String,
    },
    /// A scheduled event is called off. AWS: it moves to the history as canceled. Elsewhere it disappears.
    CancelMaintenance {
        /// Which.
        event_id: String,
    },
    /// A scheduled event is over. AWS: it moves to the history as completed. Elsewhere it disappears.
    CompleteMaintenance {
        /// Which.
        event_id: String,
    },
    /// The Auto Scaling target lifecycle state; `None` plays an instance outside any group.
    LifecycleState {
        /// One of [`LIFECYCLE_STATES`]; others are served as given.
        state: Option<String>,
    },
    /// GCP: a maintenance is announced days ahead, or the announcement changes.
    UpcomingMaintenance(Upcoming),
    /// GCP: no maintenance is announced any more.
    ClearUpcomingMaintenance,
    /// Azure: the number of the document, as when the service was off for a day and starts over at 1.
    Incarnation {
        /// `DocumentIncarnation` from now on, until the next change.
        value: u64,
    },
    /// The service behaves otherwise from now on.
    Settings(SettingsPatch),
    /// One path answers something else.
    Body {
        /// Below `meta-data/`, such as `spot/termination-time`; GCP: below `v1/`, such as `instance/preempted`; Azure: below
        /// `metadata/`, such as `scheduledevents`.
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
    /// The service's clocks move forward.
    AdvanceClock {
        /// How far.
        by: std::time::Duration,
    },
}

/// Every change by the name that scripts and control requests use, with the providers it means something to.
const NAMES: [(&str, &[Provider]); 22] = [
    ("notice", &Provider::ALL),
    ("withdraw", &Provider::ALL),
    ("rebalance", &[Aws, Azure]),
    ("clear_rebalance", &[Aws, Azure]),
    ("maintenance", &[Aws, Azure, Gcp]),
    ("move_maintenance", &[Aws, Azure, Gcp]),
    ("start_maintenance", &[Aws, Azure, Gcp]),
    ("cancel_maintenance", &[Aws, Azure, Gcp]),
    ("complete_maintenance", &[Aws, Azure, Gcp]),
    ("upcoming_maintenance", &[Gcp]),
    ("clear_upcoming_maintenance", &[Gcp]),
    ("lifecycle_state", &[Aws]),
    ("termination_time", &[Aws, Alibaba, Tencent]),
    ("incarnation", &[Azure]),
    ("settings", &[Azure, Gcp]),
    ("body", &Provider::ALL),
    ("tokens", &[Aws, Alibaba]),
    ("revoke_tokens", &[Aws, Alibaba]),
    ("endpoint", &Provider::ALL),
    ("fault", &Provider::ALL),
    ("clear_faults", &Provider::ALL),
    ("advance_clock", &Provider::ALL),
];

/// The names of the changes that mean something to that provider.
pub(crate) fn names(provider: Provider) -> Vec<&'static str> {
    NAMES.iter().filter(|(_, providers)| providers.contains(&provider)).map(|(name, _)| *name).collect()
}

impl Change {
    /// The name that scripts and control requests use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Notice { .. } => "notice",
            Self::Withdraw => "withdraw",
            Self::Rebalance { .. } => "rebalance",
            Self::ClearRebalance => "clear_rebalance",
            Self::Maintenance(_) => "maintenance",
            Self::MoveMaintenance { .. } => "move_maintenance",
            Self::StartMaintenance { .. } => "start_maintenance",
            Self::CancelMaintenance { .. } => "cancel_maintenance",
            Self::CompleteMaintenance { .. } => "complete_maintenance",
            Self::UpcomingMaintenance(_) => "upcoming_maintenance",
            Self::ClearUpcomingMaintenance => "clear_upcoming_maintenance",
            Self::LifecycleState { .. } => "lifecycle_state",
            Self::Incarnation { .. } => "incarnation",
            Self::Settings(_) => "settings",
            Self::Body { .. } => "body",
            Self::Tokens { .. } => "tokens",
            Self::RevokeTokens => "revoke_tokens",
            Self::Endpoint { .. } => "endpoint",
            Self::Fault(_) => "fault",
            Self::ClearFaults => "clear_faults",
            Self::AdvanceClock { .. } => "advance_clock",
        }
    }

    /// Nothing, or why this change means nothing to that provider.
    pub(crate) fn misfit(&self, provider: Provider) -> Option<ChangeError> {
        let name = self.name();
        (!names(provider).contains(&name)).then_some(ChangeError::Unsupported { provider, change: name })
    }

    /// The same change where time runs `speed` times as fast.
    pub(crate) fn accelerated(mut self, speed: f64) -> Self {
        let faster = |when: &mut When| *when = when.accelerated(speed);
        match &mut self {
            Self::Notice { time, .. } | Self::Rebalance { time } | Self::MoveMaintenance { time, .. } => faster(time),
            Self::Maintenance(event) => {
                faster(&mut event.not_before);
                event.not_after.iter_mut().for_each(faster);
                event.not_before_deadline.iter_mut().for_each(faster);
            }
            Self::UpcomingMaintenance(upcoming) => {
                faster(&mut upcoming.window_start);
                upcoming.latest_window_start.iter_mut().for_each(faster);
                let window_seconds = upcoming.window.as_secs_f64() / speed;
                upcoming.window = SignedDuration::try_from_secs_f64(window_seconds).unwrap_or(upcoming.window);
            }
            _ => {}
        }
        self
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        match self {
            Self::Notice { action, .. } => write!(formatter, " {action}"),
            Self::Maintenance(event) => write!(formatter, " {}", event.code),
            Self::MoveMaintenance { event_id, .. }
            | Self::StartMaintenance { event_id }
            | Self::CancelMaintenance { event_id }
            | Self::CompleteMaintenance { event_id } => write!(formatter, " {event_id}"),
            Self::UpcomingMaintenance(upcoming) => write!(formatter, " {} {}", upcoming.kind, upcoming.status),
            Self::LifecycleState { state } => write!(formatter, " {}", state.as_deref().unwrap_or("none")),
            Self::Incarnation { value } => write!(formatter, " {value}"),
            Self::Body { path, .. } => write!(formatter, " {path}"),
            Self::Tokens { required } => formatter.write_str(if *required { " required" } else { " optional" }),
            Self::Endpoint { enabled } => formatter.write_str(if *enabled { " on" } else { " off" }),
            Self::Fault(fault) => write!(formatter, " {}", fault.effect().name()),
            Self::AdvanceClock { by } => write!(formatter, " {} s", by.as_secs_f64()),
            _ => Ok(()),
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
    /// The provider's service has nothing of the kind.
    #[error("{change} means nothing to {provider}")]
    Unsupported {
        /// Whose service it is.
        provider: Provider,
        /// The name of the change.
        change: &'static str,
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
