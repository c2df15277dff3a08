//! From a configuration to handlers: finds each plugin, checks its configuration, makes its instance.
//!
//! Inputs: a loaded configuration. Outputs: handlers ready for a plan, or every error with its file and
//! JSON path. Runs on normal threads. Must never leave an instance behind when it refuses: a bad
//! configuration changes nothing.

mod sources;

pub use sources::{SourceMade, make_sources};

use crate::apps;
use crate::config::{
    Config, ConfigError, Isolation as ConfigIsolation, JsonPath, Loaded, OnCrash, OnFailure, Scrubber, SecretSources,
    Start as ConfigStart,
};
use crate::dispatch::plan::{Condition, Handler, Inline, PRIORITY, Plans, Start, TIMEOUT_NS, instance_key};
use crate::event::{Action, EventType, Pattern};
use crate::fleet;
use crate::host::instance::{Abilities, Subscription};
use crate::host::isolate::Isolation;
use crate::host::quarantine::Quarantine;
use crate::host::{Instance, InstanceSpec, Refusal, discover, instance, trust};
use crate::log_ring::LogRing;
use crate::reports::courier;
use crate::reports::post::{Bad, Target};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Of a plugin that was not asked what it handles and what it can do.
const NOTHING_SAID: (&[Subscription], Abilities) = (&[], Abilities { undo: false, drill: false });

/// Handlers with their instances, and what must not be shown of them.
pub struct Assembly {
    /// The plans.
    pub plans: Plans,
    /// Knows every secret of this configuration.
    pub scrubber: Scrubber,
    /// What is allowed but hardly meant.
    pub warnings: Vec<String>,
}

/// One enabled handler of the configuration with its place in it.
struct Entry<'c> {
    key: &'c str,
    index: usize,
    handler: &'c crate::config::Handler,
    pattern: Pattern,
}

impl Entry<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.key, self.handler.called())
    }

    fn without_socket(&self, loaded: &Loaded) -> ConfigError {
        let path = JsonPath::handler(self.key, self.index).key("name");
        let expected = "apps.socket not to be null";
        loaded.error(&path, "a handler that tells applications, which cannot register", expected, "")
    }

    fn error(&self, loaded: &Loaded, refusal: &Refusal, scrubber: &Scrubber) -> Vec<ConfigError> {
        let path = JsonPath::handler(self.key, self.index);
        let say =
            |path: &JsonPath, found: &str, expected: &str| loaded.error(path, &scrubber.scrub(found), expected, "");
        let name = &self.handler.name;
        match refusal {
            Refusal::NotFound { .. } => {
                vec![say(
                    &path.key("name"),
                    &refusal.to_string(),
                    "the name of an installed plugin (snooze plugin list)",
                )]
            }
            Refusal::Config(faults) => {
                let expected = format!("what '{name}' takes (snooze plugin info {name})");
                faults.iter().map(|fault| say(&path.key("config"), fault, &expected)).collect()
            }
            Refusal::Pin { .. } => vec![say(&path.key("sha256"), &refusal.to_string(), "the file that was pinned")],
            Refusal::Isolation(_) => {
                vec![say(&path.key("isolation"), &refusal.to_string(), "a plugin that can be isolated")]
            }
            Refusal::User { .. } => {
                vec![say(&path.key("user"), &refusal.to_string(), "a user that the plugin's process can become")]
            }
            Refusal::NotSubscribed { .. } => {
                vec![say(&path.key("name"), &format!("'{name}' {refusal}"), "a type that the plugin handles")]
            }
            _ => {
                vec![say(&path.key("name"), &format!("plugin '{name}' was refused: {refusal}"), "a plugin that loads")]
            }
        }
    }
}

/// Where this configuration looks for plugins.
pub fn directories(config: &Config) -> Vec<PathBuf> {
    config.plugin_directories.clone().unwrap_or_else(discover::default_directories)
}

fn entries(config: &Config) -> Vec<Entry<'_>> {
    let enabled = config.event_handlers.iter().filter(|(_, h)| h.enabled);
    enabled
        .flat_map(|(key, handlers)| {
            handlers.plugins.iter().enumerate().map(move |(index, handler)| (key, index, handler))
        })
        .filter(|(_, _, handler)| handler.enabled)
        // A key that is no pattern was refused when the configuration was loaded.
        .filter_map(|(key, index, handler)| Some(Entry { key, index, handler, pattern: Pattern::parse(key).ok()? }))
        .collect()
}

/// Why a plugin may not be loaded: it ended the daemon, and its file is still the same. In a process of its own it may be:
/// there it goes where the configuration says so.
fn barred(
    loaded: &Loaded,
    entry: &Entry<'_>,
    quarantine: &Quarantine,
    found: &discover::Found,
    spec: &mut InstanceSpec,
) -> Option<String> {
    if quarantine.entries().is_empty() || spec.isolation.is_some() || found.kind == discover::Kind::External {
        return None;
    }
    // A file that cannot be opened has its own refusal.
    let sha256 = trust::open(&found.path, None).ok()?.sha256;
    let why = quarantine.why(&found.name, &sha256)?;
    if loaded.config.dispatch.on_crash == OnCrash::Isolate {
        spec.isolation = Some(isolated(&loaded.config, entry.handler));
        return None;
    }
    Some(why.to_owned())
}

/// Checks every handler's plugin and configuration without making an instance. Nothing of what is in quarantine is
/// mapped.
///
/// # Errors
/// Every one there is.
pub fn check(loaded: &Loaded, secrets: &SecretSources, quarantine: &Quarantine) -> Result<(), Vec<ConfigError>> {
    let made = each(loaded, secrets, |entry, found, mut spec| {
        if barred(loaded, entry, quarantine, &found, &mut spec).is_some() {
            return planned(entry, NOTHING_SAID, ());
        }
        instance::check(&found, &spec)?;
        planned(entry, NOTHING_SAID, ())
    });
    let mut errors = made.errors;
    errors.extend(sources::check(loaded, secrets, quarantine));
    errors.extend(reports(loaded, secrets).err().unwrap_or_default());
    errors.extend(loaded.resolve_dashboard(secrets).err().unwrap_or_default());
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Where reports go, with the secrets put in.
///
/// # Errors
/// Everything that is wrong with it.
pub fn reports(loaded: &Loaded, secrets: &SecretSources) -> Result<courier::Settings, Vec<ConfigError>> {
    let given = &loaded.config.report;
    let target = match (loaded.resolve_post(secrets)?, &given.post) {
        (Some((resolved, _)), Some(post)) => {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let headers = resolved["headers"].as_object().into_iter().flatten();
            let headers: Vec<(String, String)> = headers.map(|(name, value)| (name.clone(), text(value))).collect();
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let timeout = Duration::from_secs_f64(post.timeout_seconds);
            let target = Target::new(&text(&resolved["url"]), headers, timeout, post.ca_file.as_deref());
            let path = JsonPath::default().key("report").key("post");
            let place = |bad: &Bad| if bad.is_header { path.key("headers") } else { path.clone() }.key(&bad.setting);
            let told = |bad: &Bad| loaded.error(&place(bad), &bad.found, bad.expected, "");
            Some(target.map_err(|wrong| wrong.iter().map(told).collect::<Vec<_>>())?)
        }
        _ => None,
    };
    Ok(courier::Settings { directory: given.file.clone(), keep: given.keep as usize, target })
}

/// The plans as they would be, for showing: after every check, instances are made but not opened, asked
/// what they subscribe to, and freed.
///
/// # Errors
/// Every one there is.
pub fn rehearse(loaded: &Loaded, secrets: &SecretSources) -> Result<Plans<()>, Vec<ConfigError>> {
    check(loaded, secrets, &Quarantine::default())?;
    let silent = Arc::new(LogRing::new(0));
    let made = each(loaded, secrets, |entry, found, spec| {
        let (subscribed, abilities) = instance::rehearse(&found, &spec, &silent)?;
        planned(entry, (&subscribed, abilities), ())
    });
    let plans = Plans::new(made.handlers, assumed(&loaded.config));
    if made.errors.is_empty() { Ok(plans) } else { Err(made.errors) }
}

/// Makes every handler's instance; one that is in quarantine answers every call with the reason.
///
/// # Errors
/// Every error there is; instances made on the way are retired again.
pub fn make(
    loaded: &Loaded,
    secrets: &SecretSources,
    log: &Arc<LogRing>,
    quarantine: &Quarantine,
) -> Result<Assembly, Vec<ConfigError>> {
    let made = each(loaded, secrets, |entry, found, mut spec| {
        if let Some(why) = barred(loaded, entry, quarantine, &found, &mut spec) {
            return planned(entry, NOTHING_SAID, Arc::new(Instance::barred(&found, &spec, why)));
        }
        let instance = Instance::make(&found, &spec, log)?;
        let subscribed = instance.subscriptions();
        let said = (&subscribed[..], instance.abilities());
        let planned = planned(entry, said, Arc::clone(&instance)).inspect_err(|_| instance.retire())?;
        // Pauses between attempts are no affair of the thread that reads notices.
        let inline = planned.retries == 0 && instance.may_run_inline(planned.verify);
        Ok(Handler { reentrant: instance.is_reentrant(), inline: Inline::new(inline), ..planned })
    });
    if !made.errors.is_empty() {
        for handler in made.handlers {
            handler.instance.retire();
        }
        return Err(made.errors);
    }
    let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
    Ok(Assembly {
        plans: Plans::new(made.handlers, assumed(&loaded.config)),
        scrubber: scrubber(loaded, secrets),
        warnings,
    })
}

/// What came of walking over the handlers.
struct Made<I> {
    handlers: Vec<Handler<I>>,
    errors: Vec<ConfigError>,
}

/// Finds each handler's plugin, resolves its secrets, and has `one` make of it what is wanted.
fn each<I>(
    loaded: &Loaded,
    secrets: &SecretSources,
    mut one: impl FnMut(&Entry<'_>, discover::Found, InstanceSpec) -> Result<Handler<I>, Refusal>,
) -> Made<I> {
    let directories = directories(&loaded.config);
    let mut made = Made { handlers: Vec::new(), errors: Vec::new() };
    for entry in entries(&loaded.config) {
        let (config, known) = match loaded.resolve(entry.key, entry.index, secrets) {
            Ok(resolved) => resolved,
            Err(bad) => {
                made.errors.extend(bad);
                continue;
            }
        };
        let config = match with_socket(&loaded.config, entry.handler, config) {
            Some(config) => config,
            None => {
                made.errors.push(entry.without_socket(loaded));
                continue;
            }
        };
        let scrubber = Scrubber::new(&known, [&config]);
        let spec = InstanceSpec {
            name: entry.name(),
            config,
            sha256: entry.handler.sha256.clone(),
            state_dir: instance::state_dir(&loaded.config.state_directory, &entry.name()),
            isolation: isolation(&loaded.config, entry.handler),
        };
        match discover::find(&entry.handler.name, &directories).and_then(|found| one(&entry, found, spec)) {
            Ok(handler) => made.handlers.push(handler),
            Err(refusal) => made.errors.extend(entry.error(loaded, &refusal, &scrubber)),
        }
    }
    made
}

/// The settings of a handler; those of one that asks the daemon itself with the socket for that, unless they name one. None: there is none.
fn with_socket(config: &Config, handler: &crate::config::Handler, mut settings: Value) -> Option<Value> {
    let socket = match handler.name.as_str() {
        apps::HANDLER => config.apps_socket()?,
        fleet::HANDLER => config.control.socket.clone(),
        _ => return Some(settings),
    };
    if let Some(members) = settings.as_object_mut() {
        members.entry("socket").or_insert_with(|| socket.to_string_lossy().into());
    }
    Some(settings)
}

/// How the plugin of a handler is isolated; None: it is not.
pub fn isolation(config: &Config, handler: &crate::config::Handler) -> Option<Isolation> {
    (handler.isolation == ConfigIsolation::Process).then(|| isolated(config, handler))
}

fn isolated(config: &Config, handler: &crate::config::Handler) -> Isolation {
    let (user, writable) = (handler.user.clone(), handler.writable_directories.clone());
    Isolation { user, writable, lock_memory: config.dispatch.lock_memory }
}

/// Knows every secret of a configuration; a handler whose secrets cannot be read adds none.
pub fn scrubber(loaded: &Loaded, secrets: &SecretSources) -> Scrubber {
    let resolve = |entry: Entry<'_>| loaded.resolve(entry.key, entry.index, secrets).ok();
    let (mut configs, mut known): (Vec<_>, Vec<_>) = entries(&loaded.config).into_iter().filter_map(resolve).unzip();
    let sources = (0..loaded.config.sources.plugins.len()).filter_map(|n| loaded.resolve_source(n, secrets).ok());
    for (config, secrets) in sources {
        configs.push(config);
        known.push(secrets);
    }
    if let Ok(Some((post, secrets))) = loaded.resolve_post(secrets) {
        // The whole address, as that of a webhook: its path may be all the secret there is.
        configs.extend([json!({"webhook": post["url"]}), post]);
        known.push(secrets);
    }
    if let Ok(Some((_, secrets))) = loaded.resolve_dashboard(secrets) {
        known.push(secrets);
    }
    Scrubber::new(&known.concat(), &configs)
}

/// Of what the plugin subscribes to, the part that this handler is configured for. A pattern may match
/// types that the plugin does not take: any overlap will do.
fn subscribed(entry: &Entry<'_>, all: &[Subscription]) -> Result<Option<Subscription>, Refusal> {
    if all.is_empty() {
        return Ok(None);
    }
    let wants = |kind: &String| Pattern::parse(kind).is_ok_and(|p| p.overlaps(&entry.pattern));
    match all.iter().find(|s| s.kinds.iter().any(wants)) {
        Some(subscription) => Ok(Some(subscription.clone())),
        None => {
            let kinds: Vec<&str> = all.iter().flat_map(|s| s.kinds.iter().map(String::as_str)).collect();
            Err(Refusal::NotSubscribed { event_type: entry.key.to_owned(), subscribed: kinds.join(", ") })
        }
    }
}

/// A handler of what the configuration and the plugin say.
fn planned<I>(
    entry: &Entry<'_>,
    (all, abilities): (&[Subscription], Abilities),
    instance: I,
) -> Result<Handler<I>, Refusal> {
    let subscription = subscribed(entry, all)?;
    let (priority, budget_us, token) = subscription.map_or((PRIORITY, 0, 0), |s| (s.priority, s.budget_us, s.token));
    let given = entry.handler;
    let priority = given.priority.unwrap_or(priority);
    let wanted_ns = i64::try_from(budget_us.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let wanted_ns = if wanted_ns > 0 { wanted_ns } else { TIMEOUT_NS };
    let timeout_ns = given.timeout_seconds.map_or(wanted_ns, nanoseconds);
    let minimum_ns = nanoseconds(given.minimum_seconds.unwrap_or(minimum_seconds(priority)));
    Ok(Handler {
        name: given.called().to_owned(),
        instance_name: entry.name(),
        key: instance_key(&entry.name()),
        priority,
        timeout_ns,
        minimum_ns: minimum_ns.min(timeout_ns),
        start: match given.start {
            ConfigStart::InOrder => Start::InOrder,
            ConfigStart::AtOnce => Start::AtOnce,
        },
        retries: given.retries,
        verify: given.verify,
        when: Condition {
            // A type that is no pattern was refused when the configuration was loaded.
            types: given.when.types.iter().filter_map(|text| Pattern::parse(text).ok()).collect(),
            actions: given.when.actions.clone(),
        },
        stops_on_failure: given.on_failure == OnFailure::Stop,
        abilities,
        in_drills: given.drill,
        token,
        ..Handler::new(&given.name, entry.pattern.clone(), instance)
    })
}

/// What a handler needs to be of any use when nobody says, by the bands of the priority scale.
fn minimum_seconds(priority: u32) -> f64 {
    match priority {
        70.. => 5.0,
        40..=69 => 3.0,
        _ => 2.0,
    }
}

/// Seconds as nanoseconds; the configuration's limits keep them far below 2^63.
#[allow(clippy::cast_possible_truncation, reason = "`as` saturates, and settings are at most a day")]
pub fn nanoseconds(seconds: f64) -> i64 {
    (seconds * 1e9) as i64
}

/// Time assumed by type when a notice names none: built in, overlaid by the configuration.
fn assumed(config: &Config) -> Vec<(Pattern, i64)> {
    let patterns = config.deadlines.keys().filter_map(|key| Pattern::parse(key).ok());
    let known = EventType::KNOWN.into_iter().filter_map(|t| Pattern::parse(t.as_str()).ok());
    known
        .map(|pattern| {
            let event_type = EventType::parse(pattern.as_str());
            let seconds = event_type.map_or(0.0, |t| config.assumed_seconds(&t, Action::Terminate));
            (pattern, nanoseconds(seconds))
        })
        .chain(patterns.map(|pattern| {
            let seconds = config.deadlines.get(pattern.as_str()).copied().unwrap_or(0.0);
            (pattern, nanoseconds(seconds))
        }))
        .collect()
}
