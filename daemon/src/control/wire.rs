//! What goes over the control socket: the types that daemon and command line share.
//!
//! Inputs: none. Outputs: serde types, one JSON object a reply. Must never carry a secret: the server
//! scrubs every reply as a whole before it leaves.
#![allow(missing_docs, reason = "the names are the documentation; times carry their unit")]

pub use crate::apps::wire::{AppStatus, Told};
pub use crate::history::store::EventSummary;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use crate::dispatch::plan::{Plan, Start};
use crate::dispatch::{budget, report::seconds};
use crate::event::EventType;

/// `GET /v1/status`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub uptime_seconds: f64,
    /// `ok`, or `degraded` when something in `problems` stands.
    pub health: String,
    /// One sentence each: what is not as it should be, and what to do.
    pub problems: Vec<String>,
    pub config_files: Vec<String>,
    pub machine: MachineInfo,
    pub sources: Vec<SourceStatus>,
    /// Which cloud this machine is in, and how that is known.
    #[serde(default)]
    pub detection: Option<Detection>,
    pub instances: Vec<InstanceStatus>,
    pub dispatch: DispatchStatus,
    pub events: EventCounts,
    #[serde(default)]
    pub history: HistoryStatus,
    /// Where the dashboard's port listens; None: only the socket has it.
    #[serde(default)]
    pub dashboard: Option<String>,
    /// The group as it looks from here; None: this machine belongs to none, or has not joined it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<cloudsnooze_fleet::Status>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MachineInfo {
    pub provider: String,
    pub instance_id: String,
    pub instance_type: String,
    pub zone: String,
    pub region: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detection {
    /// `off`, `looking`, `found`, `nothing`.
    pub state: String,
    /// `aws`, `azure`, `gcp`, `alibaba`, `tencent`, `oracle`; None: not known, or another.
    pub provider: Option<String>,
    /// One sentence.
    pub summary: String,
    /// What it rests on, one sentence each: the firmware, and what each service answered.
    pub details: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceStatus {
    pub name: String,
    /// `starting`, `seeing`, `partial`, `blind`, `off`.
    pub state: String,
    /// One sentence, honest about what cannot be seen and why.
    pub summary: String,
    pub polls: u64,
    pub errors: u64,
    pub interval_seconds: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// "EVENT_TYPE/PLUGIN".
    pub name: String,
    pub plugin: String,
    pub version: String,
    /// `native`, `isolated` or `external`.
    pub kind: String,
    /// `active`, `quarantined`, ...
    pub state: String,
    pub detail: String,
    pub path: String,
    pub sha256: String,
    pub priority: u32,
    pub timeout_seconds: f64,
    /// Its configuration, secrets redacted.
    pub config: Value,
    #[serde(default)]
    pub calls: Calls,
}

/// What came of the calls of an instance since the daemon's start, drills and withdrawals included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// How many ended how: `handled`, `declined`, `failed`, ... Those of which there was none are not named.
    pub results: BTreeMap<String, u64>,
    /// Of those, where the effect was seen not to hold.
    pub unverified: u64,
    /// How long they took, every attempt included; of those that began.
    pub took: Histogram,
}

/// How often a time lay between which bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bounds, seconds, ascending.
    pub bounds_seconds: Vec<f64>,
    /// Times up to each bound and above the one before; at the end, those above all bounds.
    pub counts: Vec<u64>,
    pub sum_seconds: f64,
}

/// What is kept of past events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HistoryStatus {
    /// Rows that are still to be written down.
    pub rows_waiting: u64,
    /// Writes that failed since the start.
    pub failed_writes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DispatchStatus {
    pub threads: usize,
    /// What the threads were granted: "real-time (SCHED_RR 10)", "nice -15", "normal priority".
    pub scheduling: String,
    /// The CPU on which notices are read and handlers begin; None when it is no particular one.
    #[serde(default)]
    pub cpu: Option<u32>,
    /// `yes`, `off`, or why it was refused.
    pub memory_locked: String,
    pub events_busy: usize,
    pub calls_abandoned: usize,
    /// Detection to first instruction of the first handler, over the events since the start; None before the first.
    pub first_start_us: Option<Percentiles>,
    /// The same for the self-tests of the last hour; None before the first, or when they are off.
    #[serde(default)]
    pub self_test_us: Option<SelfTest>,
}

/// What the self-tests of the last hour took, microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelfTest {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// Half of those of the last five minutes were faster.
    pub recent_p50: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EventCounts {
    pub published: u64,
    pub completed: u64,
    pub refused: u64,
    /// Notes lost because the log could not keep up.
    pub notes_dropped: u64,
    /// Events whose notice named a time, and whose handlers had not all ended by then.
    #[serde(default)]
    pub deadlines_missed: u64,
    /// Time left when all handlers had ended, of the events whose notice named a time.
    #[serde(default)]
    pub left: Histogram,
}

/// `GET /v1/plan?type=cloud.spot.interrupt&left=120` and `snooze plan`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanView {
    #[serde(rename = "type")]
    pub event_type: String,
    /// Time assumed when a notice names none, seconds.
    pub assumed_seconds: f64,
    /// Margin kept before the cloud acts, seconds.
    pub finish_before_seconds: f64,
    pub handlers: Vec<PlannedHandler>,
    /// One column a time left asked for.
    pub budgets: Vec<Budget>,
}

/// `GET /v1/plans?left=120`: of every type that has handlers, the time assumed first among the budgets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plans {
    pub plans: Vec<PlanView>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedHandler {
    pub handler: String,
    pub instance: String,
    pub priority: u32,
    /// From 0; None for `at-once`.
    pub tier: Option<usize>,
    /// `in-order` or `at-once`.
    pub start: String,
    pub timeout_seconds: f64,
    pub minimum_seconds: f64,
    pub retries: u32,
    pub verify: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// Seconds until the cloud acts, as asked.
    pub left_seconds: f64,
    /// Seconds granted, one a handler, in the order of `PlanView::handlers`, if each tier used all it got.
    pub granted_seconds: Vec<f64>,
}

/// `POST /v1/simulate`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulate {
    #[serde(rename = "type")]
    pub event_type: String,
    /// Seconds until the cloud would act; None = no deadline named.
    #[serde(default)]
    pub in_seconds: Option<f64>,
    /// `info`, `warning`, `urgent`, `critical`; None = what the type usually has.
    #[serde(default)]
    pub severity: Option<String>,
    /// `terminate`, `stop`, `hibernate`, ...; None = what the type usually has.
    #[serde(default)]
    pub action: Option<String>,
    /// Whether it is a drill: handlers do only what can be undone, and the daemon withdraws it as soon as it is over.
    #[serde(default)]
    pub drill: bool,
    /// Id of the event that this one withdraws; its type then ends in `.cancelled`.
    #[serde(default)]
    pub cancels: Option<String>,
    /// Further members of `data`.
    #[serde(default)]
    pub data: Map<String, Value>,
}

/// `POST /v1/drill`: a simulation that is a drill, and nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    #[serde(rename = "type")]
    pub event_type: String,
    /// Seconds until the cloud would act.
    pub in_seconds: f64,
}

impl From<Drill> for Simulate {
    fn from(Drill { event_type, in_seconds }: Drill) -> Self {
        let (severity, action, cancels, data) = (None, None, None, Map::new());
        Self { event_type, in_seconds: Some(in_seconds), severity, action, drill: true, cancels, data }
    }
}

/// `POST /v1/emit`: a real event of somebody on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emit {
    #[serde(rename = "type")]
    pub event_type: String,
    /// Seconds until it happens; None = no deadline named.
    #[serde(default)]
    pub deadline_seconds: Option<f64>,
    /// `info`, `warning`, `urgent`, `critical`; None = what the type usually has.
    #[serde(default)]
    pub severity: Option<String>,
    /// `terminate`, `stop`, `hibernate`, ...; None = what the type usually has.
    #[serde(default)]
    pub action: Option<String>,
    /// Members of `data`.
    #[serde(default)]
    pub data: Map<String, Value>,
}

/// Reply to `POST /v1/simulate` and `POST /v1/emit`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Simulated {
    pub event_id: String,
}

/// `GET /v1/events?limit=20&type=...`: newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Events {
    pub events: Vec<EventSummary>,
}

/// `GET /v1/apps`: in the order in which they registered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Apps {
    pub applications: Vec<AppStatus>,
}

/// `POST /v1/reload`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// One sentence a change that is in force; empty when there is none.
    pub changes: Vec<String>,
    /// Further changes, which wait for a restart.
    pub needs_restart: Vec<String>,
    pub warnings: Vec<String>,
}

/// Every error reply, with status 4xx or 5xx.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Failure {
    pub error: String,
    /// One line each, for errors that are lists (a refused configuration).
    #[serde(default)]
    pub details: Vec<String>,
    /// With 403: the right that the caller lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
}

/// A right that a request needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// `read`, `emit`, `simulate`, `administer`.
    pub right: String,
    /// The group that has it besides root; None where that is root's own.
    pub group: Option<String>,
}

/// One line of `GET /v1/watch` (NDJSON).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Watched {
    Event {
        event: Value,
    },
    Started {
        event_id: String,
        handler: String,
        instance: String,
        priority: u32,
        at_ms: f64,
        budget_ms: f64,
        left_seconds: f64,
    },
    Finished {
        event_id: String,
        handler: String,
        instance: String,
        priority: u32,
        status: String,
        at_ms: f64,
        duration_ms: f64,
        verified: String,
        left_seconds: f64,
        error: Option<String>,
    },
    Completed {
        event_id: String,
        state: String,
        duration_ms: f64,
        left_seconds: f64,
    },
    Log {
        instance: String,
        level: String,
        message: String,
    },
}

/// `GET /v1/fleet/members`: who is in the group, as the servers have it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FleetMembers {
    pub members: Vec<cloudsnooze_fleet::Present>,
}

/// `POST /v1/fleet/turn`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetWait {
    pub event: uuid::Uuid,
}

/// The answer to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FleetTurn {
    /// `go`, `alone`, `begun` (by a process before this one), `withdrawn`.
    pub turn: String,
    /// Why it is to act alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The operation of the group; empty where it acts alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// The pass of the operation, counted from 0.
    pub step: usize,
    /// The epoch of the leader who said so.
    pub epoch: u64,
    /// Whether what was begun before has ended.
    #[serde(default)]
    pub is_over: bool,
}

impl FleetTurn {
    /// One of the four, and nothing else.
    pub fn named(turn: &str) -> Self {
        Self { turn: turn.into(), ..Self::default() }
    }
}

/// `POST /v1/fleet/done`: the local work for an event is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetDone {
    pub event: uuid::Uuid,
    /// Why it did not succeed; absent: it did.
    #[serde(default)]
    pub error: Option<String>,
}

impl PlanView {
    /// The plan of a type as people see it, with the budget at each of these times left (seconds); none:
    /// at the time assumed for the type.
    #[allow(clippy::cast_possible_truncation, reason = "seconds of a day in nanoseconds")]
    pub fn new<I>(event_type: &EventType, plan: &Plan<I>, left_seconds: &[f64], finish_before_seconds: f64) -> Self {
        let mut handlers = Vec::new();
        for handler in plan.handlers() {
            let in_order = handler.start == Start::InOrder;
            let tier = plan.tiers.iter().position(|t| in_order && t.priority == handler.priority);
            handlers.push(PlannedHandler {
                handler: handler.name.clone(),
                instance: handler.instance_name.clone(),
                priority: handler.priority,
                tier,
                start: handler.start.as_str().into(),
                timeout_seconds: seconds(handler.timeout_ns),
                minimum_seconds: seconds(handler.minimum_ns),
                retries: handler.retries,
                verify: handler.verify,
            });
        }
        let assumed_seconds = seconds(plan.assumed_ns);
        let asked = if left_seconds.is_empty() { vec![assumed_seconds] } else { left_seconds.to_vec() };
        let budgets = asked.into_iter().map(|left| {
            let whole = left.clamp(0.0, 1e6);
            let usable = (whole - finish_before_seconds.min(whole / 10.0)) * 1e9;
            let split = budget::split(usable as i64, plan.wants(0));
            let granted = handlers.iter().zip(plan.handlers()).map(|(shown, handler)| {
                let tier_ns = shown.tier.and_then(|t| split.get(t).copied()).unwrap_or(usable as i64);
                seconds(tier_ns.min(handler.timeout_ns))
            });
            Budget { left_seconds: left, granted_seconds: granted.collect() }
        });
        Self {
            event_type: event_type.to_string(),
            assumed_seconds,
            finish_before_seconds,
            budgets: budgets.collect(),
            handlers,
        }
    }
}
