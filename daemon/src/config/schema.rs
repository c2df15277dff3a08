//! The configuration as types: every setting, its default, its limits and its meaning.
//!
//! Responsibilities: the one place where a setting is named; the JSON Schema that editors and the
//! loader check against is generated from here. Inputs: none. Outputs: the types, [`json_schema`].
//! Must never read a file, resolve a secret, or show the content of a handler's `config`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

mod clouds;
mod dashboard;
mod insight;
mod report;
mod source_plugin;
mod system;

pub use clouds::{DetectEndpoints, DetectSource, Sources};
pub use dashboard::{Dashboard, is_token, loopback};
pub use insight::Insight;
pub use report::{Report, ReportPost};
pub use source_plugin::SourcePlugin;
pub use system::{
    ClockWatch, DiskWatch, HardwareWatch, MemoryWatch, NameCheck, NetworkWatch, OnTerminate, SystemSource, UnitWatch,
};

pub use crate::settings::{AwsSource, AzureSource, GcpSource, SpotTimeSource};

use super::scrub::redacted_config;
use crate::event::{Action, EventType, Pattern};

/// Longest time any handler may be given, seconds: one day.
pub const TIMEOUT_SECONDS_MAX: f64 = 86_400.0;

/// Key of [`Config::deadlines`] that stands for "the cloud begins at once" rather than for an event type.
pub const IMMEDIATE: &str = "immediate";

/// Seconds assumed when a notice names no time and the configuration says nothing.
///
/// A spot notice comes two minutes ahead (EC2 user guide, "Spot Instance interruption notices"). A scaling group tells the
/// target state but no time, so the same two minutes are assumed although a lifecycle hook may allow far more. A rebalance
/// recommendation has no deadline at all: ten minutes only bound what its handlers may take.
const DEADLINE_SECONDS: [(&str, f64); 3] =
    [("cloud.spot.interrupt", 120.0), ("cloud.spot.rebalance", 600.0), ("cloud.autoscaling.terminate", 120.0)];

/// Seconds assumed for every other type.
const OTHER_SECONDS: f64 = 300.0;

/// Seconds assumed when the cloud acts at once. EC2 hibernation starts with its notice (EC2 user guide, "Hibernate
/// interrupted Spot Instances"), and what can be done in about ten seconds mostly still happens.
const IMMEDIATE_SECONDS: f64 = 10.0;

/// The whole configuration of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "CloudSnooze configuration")]
pub struct Config {
    /// Address of the JSON Schema, for editors; the daemon ignores it.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// What to call for which events. A key is an event type (`cloud.spot.interrupt`), a prefix with `*` (`cloud.spot.*`),
    /// or `*`; of several that match an event, the most specific one counts.
    pub event_handlers: BTreeMap<String, EventHandlers>,
    /// Where notices come from.
    pub sources: Sources,
    /// Absolute directories searched for plugins, in this order; absent: those built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_directories: Option<Vec<PathBuf>>,
    /// Absolute directory for what must survive a restart: the journal, the history, the plugins' state.
    pub state_directory: PathBuf,
    /// The socket that `snooze` talks to.
    pub control: Control,
    /// How applications of this machine learn of notices.
    pub apps: Apps,
    /// How handlers are run.
    pub dispatch: Dispatch,
    /// Seconds assumed until the cloud acts when a notice names no time. A key is an event type, a prefix with `*`, or `*`;
    /// `immediate` is for actions that begin at once (hibernation). Built in: cloud.spot.interrupt 120,
    /// cloud.autoscaling.terminate 120, cloud.spot.rebalance 600, immediate 10, all others 300; any key given here
    /// that matches counts before those.
    #[schemars(extend("additionalProperties" = {"type": "number", "minimum": 1, "maximum": TIMEOUT_SECONDS_MAX}))]
    pub deadlines: BTreeMap<String, f64>,
    /// What is kept of past events.
    pub history: History,
    /// How likely an interruption is soon, and from when on that is told.
    pub insight: Insight,
    /// Where the report of an event goes when it is over, besides the history.
    pub report: Report,
    /// The group of machines that this one belongs to; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "cloudsnooze_fleet::Settings")]
    pub fleet: Option<cloudsnooze_fleet::Settings>,
    /// What is logged, and how.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            schema: None,
            event_handlers: BTreeMap::new(),
            sources: Sources::default(),
            plugin_directories: None,
            state_directory: PathBuf::from("/var/lib/cloudsnooze"),
            control: Control::default(),
            apps: Apps::default(),
            dispatch: Dispatch::default(),
            deadlines: BTreeMap::new(),
            history: History::default(),
            insight: Insight::default(),
            report: Report::default(),
            fleet: None,
            log: Log::default(),
        }
    }
}

impl Config {
    /// The settings of an instance, "EVENT_TYPE/NAME"; None when this configuration has no such instance.
    pub fn handler_of(&self, instance_name: &str) -> Option<&Handler> {
        let (key, called) = instance_name.rsplit_once('/')?;
        self.event_handlers.get(key)?.plugins.iter().find(|handler| handler.called() == called)
    }

    /// Seconds until the cloud acts, to be assumed when the notice names no time.
    pub fn assumed_seconds(&self, event_type: &EventType, action: Action) -> f64 {
        if action == Action::Hibernate {
            return self.deadlines.get(IMMEDIATE).copied().unwrap_or(IMMEDIATE_SECONDS);
        }
        let given =
            self.deadlines.iter().filter(|(key, _)| *key != IMMEDIATE).map(|(key, value)| (key.as_str(), *value));
        most_specific(given, event_type)
            .or_else(|| most_specific(DEADLINE_SECONDS, event_type))
            .unwrap_or(OTHER_SECONDS)
    }

    /// Where applications register; None: nowhere.
    pub fn apps_socket(&self) -> Option<PathBuf> {
        self.apps.socket.clone().unwrap_or_else(|| Some(self.control.socket.with_file_name("apps.sock")))
    }

    /// Where the open notices are listed; None: nowhere.
    pub fn apps_state_file(&self) -> Option<PathBuf> {
        self.apps.state_file.clone().unwrap_or_else(|| Some(self.control.socket.with_file_name("notice.json")))
    }

    /// Seconds between two polls for this type as `event_handlers` asks for them: those of the most specific enabled key that
    /// matches and names an interval. None: the source's own interval.
    pub fn polling_interval_seconds(&self, event_type: &EventType) -> Option<f64> {
        let enabled = self.event_handlers.iter().filter(|(_, handlers)| handlers.enabled);
        let given = enabled.filter_map(|(key, handlers)| Some((key.as_str(), handlers.polling_interval_seconds?)));
        most_specific(given, event_type)
    }
}

/// The value of the most specific pattern that matches. A key that is no pattern matches nothing: `check` has refused it before.
fn most_specific<'a>(given: impl IntoIterator<Item = (&'a str, f64)>, event_type: &EventType) -> Option<f64> {
    let patterns = given.into_iter().filter_map(|(key, value)| Some((Pattern::parse(key).ok()?, value)));
    let matching = patterns.filter(|(pattern, _)| pattern.matches(event_type));
    matching.max_by_key(|(pattern, _)| pattern.specificity()).map(|(_, value)| value)
}

/// What to do for the events that one key of `event_handlers` matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventHandlers {
    /// Whether these handlers are called at all.
    pub enabled: bool,
    /// Seconds between two looks for such a notice, fractions allowed; absent: the source's own interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.05, max = 3600.0))]
    pub polling_interval_seconds: Option<f64>,
    /// The handlers. Their order here means nothing: priorities order them.
    pub plugins: Vec<Handler>,
}

impl Default for EventHandlers {
    fn default() -> Self {
        Self { enabled: true, polling_interval_seconds: None, plugins: Vec::new() }
    }
}

/// One plugin called for an event.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handler {
    /// Name of the plugin: that of its file without `.so` or `.plugin.json`.
    pub name: String,
    /// What this handler is called, where one plugin stands several times under one key; absent: as the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Higher runs first, equal ones run at the same time; absent: what the plugin asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 999))]
    pub priority: Option<u32>,
    /// Most seconds one call may take, fractions allowed; absent: what the plugin asks for, within the time left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = TIMEOUT_SECONDS_MAX), extend("exclusiveMinimum" = 0))]
    pub timeout_seconds: Option<f64>,
    /// Seconds kept for this handler when handlers of higher priority want the time too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = TIMEOUT_SECONDS_MAX))]
    pub minimum_seconds: Option<f64>,
    /// When it starts.
    #[serde(default)]
    pub start: Start,
    /// Whether it is called at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When it is called; absent: for every event of the types that it stands under.
    #[serde(default, skip_serializing_if = "When::is_always")]
    pub when: When,
    /// What becomes of handlers of lower priority when this one did not do its work.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Whether it takes part in drills; a plugin that does not know drills never does.
    #[serde(default = "yes")]
    pub drill: bool,
    /// How often a failed call is made again while time is left.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
    /// SHA-256 of the plugin's file, 64 hexadecimal digits; another file is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether the plugin is asked afterwards if its effect really holds.
    #[serde(default = "yes")]
    pub verify: bool,
    /// Where the plugin's code runs.
    #[serde(default)]
    pub isolation: Isolation,
    /// User that the process of an isolated plugin becomes, with the groups of that user; takes a daemon that runs as
    /// root. Absent: the daemon's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Absolute directories below which an isolated plugin may write, make and remove files, besides its own state
    /// directory and `/dev`; kept by Landlock, where the kernel has it. Absent: wherever its user may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable_directories: Option<Vec<PathBuf>>,
    /// The plugin's own settings. An object `{"credential": NAME}`, `{"env": NAME}` or `{"file": PATH}` anywhere inside
    /// stands for a secret kept elsewhere.
    #[serde(default = "empty_object")]
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub config: Value,
}

impl fmt::Debug for Handler {
    /// Written by hand because `config` may hold passwords: they are shown as `[redacted]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("name", &self.name)
            .field("priority", &self.priority)
            .field("timeout_seconds", &self.timeout_seconds)
            .field("minimum_seconds", &self.minimum_seconds)
            .field("start", &self.start)
            .field("enabled", &self.enabled)
            .field("retries", &self.retries)
            .field("sha256", &self.sha256)
            .field("verify", &self.verify)
            .field("isolation", &self.isolation)
            .field("user", &self.user)
            .field("writable_directories", &self.writable_directories)
            .field("config", &redacted_config(&self.config))
            .finish()
    }
}

fn yes() -> bool {
    true
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Handler {
    /// What it is called: its `id`, else the plugin's name.
    pub fn called(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.name)
    }
}

/// Which events a handler is called for, of those that it stands under. A withdrawal goes to whoever had what it withdraws.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Only for these types and patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Only when the cloud will do one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

impl When {
    /// Whether it excludes nothing.
    pub fn is_always(&self) -> bool {
        self.types.is_empty() && self.actions.is_empty()
    }
}

/// What becomes of handlers of lower priority when one did not do its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// They are called all the same.
    #[default]
    Continue,
    /// They are not called, except those that start at once. A failure is whatever is neither handled nor declined, and an
    /// effect that was seen not to hold.
    Stop,
}

/// When a handler starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// When all handlers of higher priority have ended.
    #[default]
    InOrder,
    /// With the first handler, whatever its priority.
    AtOnce,
}

/// Where a plugin's code runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In the daemon: the shortest way, and a crash of the plugin is one of the daemon.
    #[default]
    None,
    /// In a process of its own, for `.so` plugins: a crash ends its own call only, a hang is killed, and the process is
    /// started again. It gets no new privileges, none of the daemon's environment, and none of the system calls that
    /// change the kernel, the clock, mounts or other processes' memory (seccomp); no device files can be made (Landlock).
    /// `snooze status --json` says what the kernel really enforces.
    Process,
}

/// The socket that `snooze` talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Absolute path of the socket, at most 107 bytes.
    pub socket: PathBuf,
    /// Group that may use it besides root and the daemon's own user, who always may: it has every right for which no group
    /// of its own is named below. Absent: the daemon's own group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Group that may look: status, plan, events, reports, watch, metrics. Absent: as `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_group: Option<String>,
    /// Group that may emit events of types custom.*, which calls the handlers of those, and may look: for scripts of a
    /// monitoring user. Absent: as `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emit_group: Option<String>,
    /// Group that may simulate events, which calls their handlers, and may emit and look. Absent: as `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulate_group: Option<String>,
    /// Group that may do everything: `reload`, and emitting events of any type, too. Absent: as `group`. Where not all rights
    /// are one group's, every local user can connect to the socket, and the daemon refuses whoever has no right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub administer_group: Option<String>,
    /// The dashboard on a port of this machine, for browsers and Prometheus: looking and drills, nothing else. Absent: only on
    /// the socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Dashboard")]
    pub dashboard: Option<Dashboard>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/cloudsnooze/control.sock"),
            group: None,
            read_group: None,
            emit_group: None,
            simulate_group: None,
            administer_group: None,
            dashboard: None,
        }
    }
}

/// How applications of this machine learn of notices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Apps {
    /// Absolute path of the socket at which applications register, at most 107 bytes. Absent: `apps.sock` beside
    /// `control.socket`, which is /run/cloudsnooze/apps.sock. null: there is none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<PathBuf>")]
    pub socket: Option<Option<PathBuf>>,
    /// Absolute path of the file that lists the open notices, for scripts. Absent: `notice.json` beside `control.socket`,
    /// which is /run/cloudsnooze/notice.json. null: there is none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<PathBuf>")]
    pub state_file: Option<Option<PathBuf>>,
    /// Group that may register applications besides root and the daemon's own user. Absent: every local user may; what one
    /// user may take is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Tells a setting that is null from one that is absent.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<PathBuf>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// How handlers are run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dispatch {
    /// Real-time threads; absent: as many as the handlers need.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub threads: Option<u32>,
    /// Real-time priority of those threads; the one that keeps deadlines stands one above. Beyond 49 they would hold
    /// up interrupt threads.
    #[schemars(range(min = 1, max = 49))]
    pub rt_priority: u32,
    /// The CPU on which notices are read and handlers begin; absent: one is chosen. Handlers that would wait for each
    /// other there move to other CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1023))]
    pub cpu: Option<u32>,
    /// Whether there is such a CPU. Without one the kernel puts the threads where it likes, which takes ten times as
    /// long.
    pub one_cpu: bool,
    /// Whether every round of polls sends an event that no handler sees the whole way, while the answer is waited for:
    /// it keeps the way warm and measures it.
    pub self_test: bool,
    /// Whether the daemon's memory is kept from being swapped out.
    pub lock_memory: bool,
    /// Seconds before the deadline at which everything must have ended.
    #[schemars(range(min = 0, max = 60))]
    pub finish_before_seconds: f64,
    /// Milliseconds between telling a handler to cancel and giving it up.
    #[schemars(range(min = 0, max = 60_000))]
    pub cancel_grace_ms: u32,
    /// What becomes of a plugin whose code ended the daemon.
    pub on_crash: OnCrash,
}

/// What becomes of a plugin whose code ended the daemon, at the daemon's next start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnCrash {
    /// It runs in a process of its own (`isolation`) until its file is another one or `snooze plugin release` was said.
    #[default]
    Isolate,
    /// It is not loaded again until then; its handlers fail.
    Disable,
    /// It is loaded again, and its handlers are called as if nothing had been.
    Allow,
}

impl Default for Dispatch {
    fn default() -> Self {
        Self {
            threads: None,
            rt_priority: 10,
            cpu: None,
            one_cpu: true,
            self_test: true,
            lock_memory: true,
            finish_before_seconds: 1.0,
            cancel_grace_ms: 250,
            on_crash: OnCrash::default(),
        }
    }
}

/// What is kept of past events. Whatever is beyond either limit is dropped, the oldest first. How long this machine has lived is
/// kept whatever they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Days that an event is kept.
    #[schemars(range(min = 1, max = 36_500))]
    pub keep_days: u32,
    /// Most events kept; more than can be in progress at once.
    #[schemars(range(min = 5_000, max = 1_000_000))]
    pub keep_events: u32,
}

impl Default for History {
    /// A year of rare events and a month to look back on it; some tens of megabytes of frequent ones.
    fn default() -> Self {
        Self { keep_days: 400, keep_events: 20_000 }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important level that is logged.
    pub level: LogLevel,
    /// The form.
    pub format: LogFormat,
}

/// Levels, most important first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something is lost.
    Error,
    /// Something may be lost.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// How it happened.
    Debug,
    /// Every step.
    Trace,
}

/// Forms of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// The journal where systemd has connected it, else text.
    #[default]
    Auto,
    /// The journal of systemd.
    Journal,
    /// Lines for people, on standard error.
    Text,
    /// One JSON object a line, on standard error.
    Json,
}

/// The JSON Schema (draft 2020-12) of [`Config`], for editors and for the loader itself: the committed file, so that no program
/// carries the code that makes it.
pub fn json_schema() -> Value {
    serde_json::from_str(include_str!("../../dist/config.schema.json")).unwrap_or_default()
}

/// The same from the types, anew: what the committed file is made from, and has to be equal to.
pub fn generated_json_schema() -> Value {
    schemars::schema_for!(Config).to_value()
}
