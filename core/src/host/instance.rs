//! One plugin with one configuration, ready for events: native, isolated or external behind one face.
//!
//! Inputs: a found plugin, a configuration. Outputs: an active instance or a refusal; answers to calls.
//! Threads: made, stopped and tended on normal threads; called from the pool. Must never call a
//! quarantined instance, nor destroy one whose code may still run.

use super::delivery::{Answer, CallCell, Delivery, Status};
use super::discover::{Found, Kind};
use super::external::{External, Manifest};
use super::isolate::{self, Isolated, Isolation, Sent};
use super::load::{self, ClassInfo, Loaded};
use super::native::Native;
use super::refusal::Refusal;
use super::services::{Context, Subscribed};
use super::state::{Lifecycle, Standing, Step};
use super::trust::{self, Trusted};
use super::{peek, schema};
use crate::event::{Event, Moment};
use crate::log_ring::LogRing;
use crate::sys::prefetch;
use cloudsnooze_abi as abi;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What an instance is made from.
#[derive(Clone, Debug)]
pub struct InstanceSpec {
    /// "EVENT_TYPE/PLUGIN".
    pub name: String,
    /// The configuration with its secrets resolved.
    pub config: Value,
    /// SHA-256 that the file must have.
    pub sha256: Option<String>,
    /// Directory of its own for what must outlive the process.
    pub state_dir: PathBuf,
    /// A process of its own for a native plugin; None: in this one.
    pub isolation: Option<Isolation>,
}

/// What can be known of a plugin file without making an instance.
#[derive(Clone, Debug, Serialize)]
pub struct PluginInfo {
    /// Name.
    pub name: String,
    /// Native or external.
    pub kind: Kind,
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Version of the plugin.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// ABI it was built against, "1.0"; the protocol's version for external ones.
    pub abi: String,
    /// Class record of a native plugin.
    pub class: Option<ClassInfo>,
    /// Command of an external plugin.
    pub command: Option<Vec<String>>,
    /// JSON Schema of its configuration.
    pub config_schema: Option<Value>,
}

/// What an instance says it can handle.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Types and patterns.
    pub kinds: Vec<String>,
    /// Priority when the configuration names none.
    pub priority: u32,
    /// Time wanted when the configuration names none, microseconds; 0 = the host's default.
    pub budget_us: u64,
    /// Given back with each call, as an address.
    pub token: usize,
}

/// What a plugin can do beyond handling an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Puts back what an event had it change, when the event is withdrawn.
    pub undo: bool,
    /// Knows drills, and does in one only what can be undone.
    pub drill: bool,
}

impl Abilities {
    /// Of a class's capabilities (`SNOOZE_CAP_*`).
    pub fn of_caps(caps: u64) -> Self {
        Self { undo: caps & abi::SNOOZE_CAP_UNDO != 0, drill: caps & abi::SNOOZE_CAP_DRILL != 0 }
    }
}

/// The protocol of external plugins has no priority; the middle of the scale.
const EXTERNAL_PRIORITY: u32 = 50;

impl From<Subscribed> for Subscription {
    fn from(s: Subscribed) -> Self {
        Self { kinds: s.kinds, priority: s.priority, budget_us: s.budget_us, token: s.handler }
    }
}

enum Body {
    Native(Native),
    Isolated(Box<Isolated>),
    External(Box<External>),
    /// Not loaded: why.
    Barred(String),
}

/// An active instance.
pub struct Instance {
    /// "EVENT_TYPE/PLUGIN".
    pub name: String,
    /// Name of the plugin.
    pub plugin: String,
    /// The file it was made from.
    pub path: PathBuf,
    /// SHA-256 of that file.
    pub sha256: String,
    /// Version of the plugin.
    pub version: String,
    body: Body,
    state: Standing,
}

/// A plugin that passed every check that runs no instance of it.
enum Checked {
    Native(&'static Loaded, &'static cloudsnooze_abi::snooze_class),
    /// Nothing of it was mapped here: the rest is checked in its process.
    Isolated(Box<Trusted>),
    External(Box<Manifest>, String),
}

fn check_file(found: &Found, pin: Option<&str>, isolation: Option<&Isolation>) -> Result<Checked, Refusal> {
    let file = trust::open(&found.path, pin)?;
    match (found.kind, isolation) {
        (Kind::Native, Some(_)) => {
            peek::peek(&file.bytes)?;
            Ok(Checked::Isolated(Box::new(file)))
        }
        (Kind::Native, None) => {
            let loaded = load::load(file)?;
            Ok(Checked::Native(loaded, loaded.class(&found.name)?))
        }
        (Kind::External, Some(_)) => Err(Refusal::Isolation(format!(
            "'{}' is a process of its own already: leave \"isolation\" out",
            found.name
        ))),
        (Kind::External, None) => {
            Ok(Checked::External(Box::new(Manifest::parse(&file.path, &file.bytes)?), file.sha256))
        }
    }
}

impl Checked {
    fn schema(&self) -> Option<String> {
        match self {
            Self::Native(_, class) => load::config_schema(class),
            Self::Isolated(_) => None,
            Self::External(manifest, _) => manifest.config_schema.as_ref().map(ToString::to_string),
        }
    }

    fn check_config(&self, config: &Value) -> Result<(), Refusal> {
        match self.schema() {
            Some(schema) => schema::check(&schema, config),
            None => Ok(()),
        }
    }
}

/// Checks a plugin file and a configuration for it, without making an instance.
///
/// # Errors
/// The first refusal.
pub fn check(found: &Found, spec: &InstanceSpec) -> Result<(), Refusal> {
    match check_file(found, spec.sha256.as_deref(), spec.isolation.as_ref())? {
        Checked::Isolated(library) => isolate::check(*library, &found.name, spec),
        checked => checked.check_config(&spec.config),
    }
}

/// Checks a plugin file and a configuration for a source, without making an instance.
///
/// # Errors
/// The first refusal.
pub fn check_source(found: &Found, spec: &InstanceSpec) -> Result<(), Refusal> {
    match check_file(found, spec.sha256.as_deref(), None)? {
        Checked::Native(_, class) if class.caps & abi::SNOOZE_CAP_SOURCE == 0 => {
            Err(Refusal::Source("its class does not claim to be one (SNOOZE_CAP_SOURCE)".into()))
        }
        checked @ Checked::Native(..) => checked.check_config(&spec.config),
        _ => Err(Refusal::Source("only a plugin of the C ABI (.so) can be one".into())),
    }
}

/// Makes a native instance without opening it, asks what it subscribes to, and frees it: a plan can then
/// show what would run. An external plugin is only checked: its process would have to be started.
///
/// # Errors
/// The first refusal.
pub fn rehearse(
    found: &Found,
    spec: &InstanceSpec,
    log: &Arc<LogRing>,
) -> Result<(Vec<Subscription>, Abilities), Refusal> {
    let checked = check_file(found, spec.sha256.as_deref(), spec.isolation.as_ref())?;
    checked.check_config(&spec.config)?;
    let class = match checked {
        Checked::Native(_, class) => class,
        Checked::Isolated(library) => return isolate::rehearse(*library, &found.name, spec),
        Checked::External(manifest, _) => return Ok((Vec::new(), manifest.abilities())),
    };
    let native = create(class, spec, log)?;
    let (subscribed, abilities) = (native.subscriptions(), native.abilities());
    native.destroy();
    Ok((subscribed.into_iter().map(Subscription::from).collect(), abilities))
}

/// Reads what a plugin file says of itself. A native one is mapped for it.
///
/// # Errors
/// The first refusal.
pub fn inspect(found: &Found) -> Result<PluginInfo, Refusal> {
    let checked = check_file(found, None, None)?;
    let config_schema = match checked.schema() {
        Some(text) => Some(serde_json::from_str(&text).map_err(|e| Refusal::BadSchema(e.to_string()))?),
        None => None,
    };
    let name = found.name.clone();
    Ok(match checked {
        Checked::Native(loaded, class) => {
            let info = loaded.info(class);
            PluginInfo {
                name,
                kind: Kind::Native,
                path: loaded.path.clone(),
                sha256: loaded.sha256.clone(),
                version: info.version.clone(),
                description: info.description.clone(),
                abi: format!("{}.{}", loaded.head.major, loaded.head.minor_built),
                class: Some(info),
                command: None,
                config_schema,
            }
        }
        Checked::Isolated(_) => {
            return Err(Refusal::Isolation("an isolated plugin is asked in its own process".into()));
        }
        Checked::External(manifest, sha256) => PluginInfo {
            name,
            kind: Kind::External,
            path: found.path.clone(),
            sha256,
            version: manifest.version.clone(),
            description: manifest.description.clone(),
            abi: "json-rpc 1".into(),
            class: None,
            command: Some(manifest.command.clone()),
            config_schema,
        },
    })
}

impl Instance {
    /// Loads, checks, creates and activates.
    ///
    /// # Errors
    /// The first refusal; nothing of the instance is left behind.
    pub fn make(found: &Found, spec: &InstanceSpec, log: &Arc<LogRing>) -> Result<Arc<Self>, Refusal> {
        let checked = check_file(found, spec.sha256.as_deref(), spec.isolation.as_ref())?;
        checked.check_config(&spec.config)?;
        let (body, path, sha256, version) = match checked {
            Checked::Native(loaded, class) => {
                let native = create(class, spec, log)?;
                if let Err(refusal) = native.activate() {
                    native.destroy();
                    return Err(refusal);
                }
                let version = loaded.info(class).version;
                (Body::Native(native), loaded.path.clone(), loaded.sha256.clone(), version)
            }
            Checked::Isolated(library) => {
                let (path, sha256) = (library.path.clone(), library.sha256.clone());
                let isolated = Isolated::start(*library, &found.name, spec, log)?;
                let version = isolated.version();
                (Body::Isolated(Box::new(isolated)), path, sha256, version)
            }
            Checked::External(manifest, sha256) => {
                let version = manifest.version.clone();
                let started = External::start(*manifest, &spec.name, &spec.config, &spec.state_dir, Arc::clone(log))?;
                (Body::External(Box::new(started)), found.path.clone(), sha256, version)
            }
        };
        Ok(Arc::new(Self {
            name: spec.name.clone(),
            plugin: found.name.clone(),
            path,
            sha256,
            version,
            body,
            state: Standing::new(Lifecycle::Active),
        }))
    }

    /// An instance of a class that is part of the daemon.
    pub(super) fn built_in(name: &str, native: Native) -> Self {
        Self {
            name: name.to_owned(),
            plugin: name.to_owned(),
            path: PathBuf::new(),
            sha256: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            body: Body::Native(native),
            state: Standing::new(Lifecycle::Active),
        }
    }

    /// An instance of a plugin that is in quarantine: nothing of it is mapped, and every call fails with the reason.
    pub fn barred(found: &Found, spec: &InstanceSpec, why: String) -> Self {
        Self {
            name: spec.name.clone(),
            plugin: found.name.clone(),
            path: found.path.clone(),
            sha256: String::new(),
            version: String::new(),
            body: Body::Barred(why),
            state: Standing::new(Lifecycle::Quarantined),
        }
    }

    /// Why the plugin is in quarantine since before the daemon's start; None when it is not.
    pub fn why_barred(&self) -> Option<&str> {
        match &self.body {
            Body::Barred(why) => Some(why),
            _ => None,
        }
    }

    /// The plugin in this process, where it is one.
    pub(super) fn native(&self) -> Option<&Native> {
        match &self.body {
            Body::Native(native) => Some(native),
            _ => None,
        }
    }

    /// Where the instance stands.
    pub fn lifecycle(&self) -> Lifecycle {
        self.state.get()
    }

    /// Notes that its code outlived a call or is poisoned: it gets no events any more.
    pub fn quarantine(&self) {
        self.state.step(Step::Misbehaved);
    }

    /// Whether a restarted process makes an instance whole again after an abandoned call.
    pub fn is_killable(&self) -> bool {
        matches!(self.body, Body::Isolated(_) | Body::External(_))
    }

    /// How it is run, in a word: native, isolated, external.
    pub fn kind(&self) -> &'static str {
        match self.body {
            Body::Native(_) | Body::Barred(_) => "native",
            Body::Isolated(_) => "isolated",
            Body::External(_) => "external",
        }
    }

    /// Whether several calls may run at the same time.
    pub fn is_reentrant(&self) -> bool {
        matches!(&self.body, Body::Native(native) if native.is_reentrant())
    }

    /// Whether it may be called on a thread that others need: its class promised not to block, it answers within the
    /// call, and nothing is asked of it afterwards that comes without that promise (`asks_to_verify`).
    pub fn may_run_inline(&self, asks_to_verify: bool) -> bool {
        let Body::Native(native) = &self.body else { return false };
        native.is_realtime() && !(asks_to_verify && native.can_verify())
    }

    /// What it can do beyond handling an event. A plugin in quarantine can do nothing.
    pub fn abilities(&self) -> Abilities {
        match &self.body {
            Body::Native(native) => native.abilities(),
            Body::Isolated(isolated) => isolated.abilities(),
            Body::External(external) => external.abilities(),
            Body::Barred(_) => Abilities::default(),
        }
    }

    /// What it said it can handle; nothing means "what the configuration sends".
    pub fn subscriptions(&self) -> Vec<Subscription> {
        match &self.body {
            Body::Native(native) => native.subscriptions().into_iter().map(Subscription::from).collect(),
            Body::Isolated(isolated) => isolated.subscriptions(),
            Body::External(external) => {
                let kinds = external.subscriptions();
                let one = Subscription { kinds, priority: EXTERNAL_PRIORITY, budget_us: 0, token: 0 };
                if one.kinds.is_empty() { Vec::new() } else { vec![one] }
            }
            Body::Barred(_) => Vec::new(),
        }
    }

    /// Touches what handling will need, on the calling pool thread.
    pub fn warm_up(&self) {
        match &self.body {
            Body::Native(native) => native.warm_up(),
            Body::Isolated(isolated) => isolated.take_place(),
            Body::External(_) | Body::Barred(_) => {}
        }
    }

    /// An event may come: has what a call touches first brought into the cache.
    pub fn approach(&self) {
        prefetch::value(self);
        if let Body::Native(native) = &self.body {
            native.approach();
        }
    }

    /// Hands an event over and waits for the answer.
    #[cfg_attr(target_os = "linux", allow(unsafe_code), unsafe(link_section = "snooze_hot"))]
    pub fn handle(&self, event: &Arc<Delivery>, call: &Arc<CallCell>, grace: Duration) -> Answer {
        if !self.lifecycle().takes_events() {
            let text = match self.why_barred() {
                Some(why) => format!("the plugin is quarantined: {why}"),
                None => "the instance is quarantined after an earlier call".into(),
            };
            return Answer::new(Status::Failed, text);
        }
        let answer = match &self.body {
            Body::Native(native) => native.handle(event, call, grace),
            Body::Isolated(isolated) => isolated.handle(event, call, grace),
            Body::External(external) => external.handle(event, call),
            Body::Barred(why) => Answer::new(Status::Failed, why.as_str()),
        };
        self.look_at(&answer);
        answer
    }

    /// A round of polls begins: wakes the process of an isolated plugin for a moment, as the self-test wakes the pool. For
    /// sources; does not wait.
    pub fn touch(&self) {
        if let Body::Isolated(isolated) = &self.body {
            isolated.touch();
        }
    }

    /// Has the call of a plugin in a process of its own put down there, for a worker to wait for;
    /// [`CallCell::posted`] then has it begun. False: nothing was put down, `handle` does it all. For publishers; does not wait.
    pub fn post(&self, event: &Event, seq: u64, made: Moment, call: &Arc<CallCell>, grace: Duration) -> bool {
        let Body::Isolated(isolated) = &self.body else { return false };
        let sent = || Sent { event: Some(event), head: Delivery::head_of(event, seq), made };
        self.lifecycle().takes_events() && isolated.post(&sent(), call, grace)
    }

    /// Asks whether the effect of a handled event holds; None when the plugin offers no answer.
    pub fn verify(&self, event: &Delivery, call: &CallCell, result: Option<&Map<String, Value>>) -> Option<Answer> {
        let said = match &self.body {
            Body::Native(native) => native.verify(event, call),
            Body::Isolated(isolated) => isolated.verify(event, call),
            Body::External(external) => external.verify(event, call, result),
            Body::Barred(_) => None,
        };
        said.inspect(|answer| self.look_at(answer))
    }

    /// A panic poisons an instance in this process; one in its own gets a fresh process.
    fn look_at(&self, answer: &Answer) {
        if answer.status == Status::Panicked && !self.is_killable() {
            self.quarantine();
        }
    }

    /// Tells it that its call was cancelled. Does not wait.
    pub fn cancel(&self, call: &CallCell, reason: u32) {
        match &self.body {
            Body::Native(native) => native.cancel(call, reason),
            Body::Isolated(isolated) => isolated.cancel(),
            Body::External(external) => external.cancel(call, reason),
            Body::Barred(_) => {}
        }
    }

    /// Its call outlived time and grace: a process of its own is killed, an instance in this one quarantined.
    pub fn give_up(&self) {
        match &self.body {
            Body::Native(_) | Body::Barred(_) => self.quarantine(),
            Body::Isolated(isolated) => isolated.kill(),
            Body::External(external) => external.kill(),
        }
    }

    /// Restarts what died; called about ten times a second from a normal thread.
    pub fn tend(&self) {
        match &self.body {
            Body::Native(_) | Body::Barred(_) => {}
            Body::Isolated(isolated) => isolated.tend(),
            Body::External(external) => external.tend(),
        }
    }

    /// Keeps a call in a real-time process of its own from starving the machine: beyond `budget_ns` of CPU time it goes on
    /// at normal priority, on these CPUs. Returns whether it just came to that. For the timer.
    pub fn curb(&self, budget_ns: i64, everywhere: &[u32]) -> bool {
        matches!(&self.body, Body::Isolated(isolated) if isolated.curb(budget_ns, everywhere))
    }

    /// What a status line says of it beyond its state.
    pub fn detail(&self) -> String {
        match &self.body {
            Body::Native(_) => "in process".into(),
            Body::Barred(why) => format!("not loaded: {why}"),
            Body::Isolated(isolated) => isolated.detail(),
            Body::External(external) => match external.pid() {
                Some(pid) => format!("process {pid}, {} restarts", external.restarts()),
                None => format!("process not running, {} restarts", external.restarts()),
            },
        }
    }

    /// Deactivates and destroys; a quarantined native instance is left alone, its code may still run.
    /// Only when no call is in progress.
    pub fn retire(&self) {
        match &self.body {
            Body::Barred(_) => return,
            Body::External(external) => external.stop(),
            Body::Isolated(isolated) => isolated.stop(),
            Body::Native(native) => {
                if self.state.step(Step::Deactivated) {
                    native.deactivate();
                }
                if self.state.step(Step::Destroyed) {
                    native.destroy();
                }
                return;
            }
        }
        self.state.step(Step::Deactivated);
        self.state.step(Step::Destroyed);
    }
}

fn create(
    class: &'static cloudsnooze_abi::snooze_class,
    spec: &InstanceSpec,
    log: &Arc<LogRing>,
) -> Result<Native, Refusal> {
    let context = Context::leak(&spec.name, Arc::clone(log));
    Native::create(class, context, &spec.name, &spec.config.to_string(), &spec.state_dir)
}

/// The directory of an instance's own: its name with what a path cannot hold replaced.
pub fn state_dir(base: &Path, instance: &str) -> PathBuf {
    let safe = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    base.join("plugins").join(instance.chars().map(safe).collect::<String>())
}
