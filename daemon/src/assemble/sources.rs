//! From a configuration to sources that are plugins, found, checked and made as handlers are.
//!
//! Inputs: a loaded configuration. Outputs: instances that can be run, or every error with its file and JSON path. Must
//! never leave an instance behind when it refuses.

use super::directories;
use crate::config::{ConfigError, JsonPath, Loaded, Scrubber, SecretSources, SourcePlugin};
use crate::host::discover::{self, Found};
use crate::host::quarantine::Quarantine;
use crate::host::source::PluginSource;
use crate::host::{Instance, InstanceSpec, Refusal, instance, trust};
use crate::log_ring::LogRing;
use std::sync::Arc;

/// A source that is a plugin.
pub struct SourceMade {
    /// What it is called.
    pub called: String,
    /// What runs; the reason where its plugin is in quarantine.
    pub source: Result<PluginSource, String>,
}

/// Everything that is wrong with the sources that are plugins, without making an instance.
pub(super) fn check(loaded: &Loaded, secrets: &SecretSources, quarantine: &Quarantine) -> Vec<ConfigError> {
    let one = |_: &SourcePlugin, found: Found, spec: InstanceSpec| match barred(&found, quarantine) {
        Some(_) => Ok(()),
        None => instance::check_source(&found, &spec),
    };
    each(loaded, secrets, one).1
}

/// Makes the instances of all sources that are plugins, active.
///
/// # Errors
/// Every error there is; instances made on the way are retired again.
pub fn make_sources(
    loaded: &Loaded,
    secrets: &SecretSources,
    log: &Arc<LogRing>,
    quarantine: &Quarantine,
) -> Result<Vec<SourceMade>, Vec<ConfigError>> {
    let (made, errors) = each(loaded, secrets, |settings, found, spec| {
        let called = settings.called().to_owned();
        if let Some(why) = barred(&found, quarantine) {
            return Ok(SourceMade { called, source: Err(why) });
        }
        instance::check_source(&found, &spec)?;
        let instance = Instance::make(&found, &spec, log)?;
        let source = PluginSource::of(&instance).inspect_err(|_| instance.retire())?;
        Ok(SourceMade { called, source: Ok(source) })
    });
    if errors.is_empty() {
        return Ok(made);
    }
    made.iter().filter_map(|made| made.source.as_ref().ok()).for_each(|source| source.instance().retire());
    Err(errors)
}

/// Why a plugin may not be loaded: it ended the daemon, and its file is still the same. A source has no process of its own
/// to go to.
fn barred(found: &Found, quarantine: &Quarantine) -> Option<String> {
    if quarantine.entries().is_empty() {
        return None;
    }
    // A file that cannot be opened has its own refusal.
    let sha256 = trust::open(&found.path, None).ok()?.sha256;
    quarantine.why(&found.name, &sha256).map(str::to_owned)
}

/// Finds each source's plugin, resolves its secrets, and has `one` make of it what is wanted.
fn each<T>(
    loaded: &Loaded,
    secrets: &SecretSources,
    mut one: impl FnMut(&SourcePlugin, Found, InstanceSpec) -> Result<T, Refusal>,
) -> (Vec<T>, Vec<ConfigError>) {
    let directories = directories(&loaded.config);
    let (mut made, mut errors) = (Vec::new(), Vec::new());
    for (index, settings) in loaded.config.sources.plugins.iter().enumerate().filter(|(_, source)| source.enabled) {
        let (config, known) = match loaded.resolve_source(index, secrets) {
            Ok(resolved) => resolved,
            Err(bad) => {
                errors.extend(bad);
                continue;
            }
        };
        let scrubber = Scrubber::new(&known, [&config]);
        let name = settings.instance_name();
        let state_dir = instance::state_dir(&loaded.config.state_directory, &name);
        let spec = InstanceSpec { name, config, sha256: settings.sha256.clone(), state_dir, isolation: None };
        match discover::find(&settings.name, &directories).and_then(|found| one(settings, found, spec)) {
            Ok(value) => made.push(value),
            Err(refusal) => errors.extend(told(loaded, index, &settings.name, &refusal, &scrubber)),
        }
    }
    (made, errors)
}

fn told(loaded: &Loaded, index: usize, name: &str, refusal: &Refusal, scrubber: &Scrubber) -> Vec<ConfigError> {
    let path = JsonPath::source(index);
    let say =
        |key: &str, found: &str, expected: &str| loaded.error(&path.key(key), &scrubber.scrub(found), expected, "");
    match refusal {
        Refusal::NotFound { .. } => {
            vec![say("name", &refusal.to_string(), "the name of an installed plugin (snooze plugin list)")]
        }
        Refusal::Config(faults) => {
            let expected = format!("what '{name}' takes (snooze plugin info {name})");
            faults.iter().map(|fault| say("config", fault, &expected)).collect()
        }
        Refusal::Pin { .. } => vec![say("sha256", &refusal.to_string(), "the file that was pinned")],
        Refusal::Source(_) => vec![say("name", &format!("plugin '{name}' {refusal}"), "a plugin that brings notices")],
        _ => vec![say("name", &format!("plugin '{name}' was refused: {refusal}"), "a plugin that loads")],
    }
}
