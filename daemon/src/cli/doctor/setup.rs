//! Checks of what an operator has set up: configuration, secrets, plugins.
//!
//! Inputs: the configuration's files, plugin files. Outputs: checks. Must never show a secret, nor make
//! an instance of a plugin.

use super::super::config;
use super::super::fault::Fault;
use super::super::render::count;
use super::super::session::Session;
use super::Check;
use crate::assemble;
use crate::config::{Loaded, Scrubber, SecretSources};
use crate::host::refusal::Refusal;
use crate::host::{InstanceSpec, discover, instance};

/// The checks, and the configuration when it can be used.
pub(super) fn checks(session: &Session<'_>) -> (Vec<Check>, Option<Loaded>) {
    let about = "Configuration";
    let path = session.config_path();
    match config::load(&path) {
        Ok(loaded) => {
            let (summary, warnings) = config::told(&loaded);
            let mut checks = vec![match handlers(&loaded).count() {
                0 => Check::bad(
                    about,
                    format!("{}: no handler is enabled, so nothing would be done", path.display()),
                    "name a plugin under event_handlers (snooze plugin list)",
                ),
                _ => Check::good(about, format!("{}: {summary}", path.display())),
            }];
            let doubtful = |warning| Check::doubtful(about, warning, "see: snooze config check");
            checks.extend(warnings.into_iter().map(doubtful));
            checks.extend(plugins(&loaded, &SecretSources::system()));
            (checks, Some(loaded))
        }
        Err(fault) => {
            let hint = match &fault {
                Fault::Missing(_) => "create it, or name another with --config".to_owned(),
                Fault::Configuration { details, .. } => {
                    let first = details.first().map_or("", String::as_str);
                    format!("{} to mend (all: snooze config check); the first: {first}", count(details.len(), "error"))
                }
                _ => "try with sudo".to_owned(),
            };
            (vec![Check::bad(about, fault.to_string(), hint)], None)
        }
    }
}

/// Key, index and handler of everything enabled.
fn handlers(loaded: &Loaded) -> impl Iterator<Item = (&str, usize, &crate::config::Handler)> {
    let enabled = loaded.config.event_handlers.iter().filter(|(_, handlers)| handlers.enabled);
    let all = enabled.flat_map(|(key, handlers)| {
        handlers.plugins.iter().enumerate().map(move |(index, handler)| (key.as_str(), index, handler))
    });
    all.filter(|(_, _, handler)| handler.enabled)
}

fn plugins(loaded: &Loaded, sources: &SecretSources) -> Vec<Check> {
    let directories = assemble::directories(&loaded.config);
    let mut checks = Vec::new();
    for (key, index, handler) in handlers(loaded) {
        let name = format!("{key}/{}", handler.called());
        match loaded.resolve(key, index, sources) {
            Err(errors) => {
                let hint = "daemon and doctor must be able to read it; try with sudo, or see the setting's place above";
                checks.extend(errors.iter().map(|error| Check::bad("Secrets", error.to_string(), hint)));
                let found = discover::find(&handler.name, &directories);
                let read = match assemble::isolation(&loaded.config, handler) {
                    // What it says of itself can be looked at without its settings; an isolated one is not mapped here.
                    None => found
                        .and_then(|found| instance::inspect(&found))
                        .map(|_| "loads (its settings wait for the secret)"),
                    Some(_) => found.map(|_| "is there (its settings wait for the secret)"),
                };
                checks.push(plugin((&name, &handler.name), read, &Scrubber::default()));
            }
            Ok((config, secrets)) => {
                if !secrets.is_empty() {
                    let number = count(secrets.len(), "secret");
                    checks.push(Check::good("Secrets", format!("{name}: {number} can be read")));
                }
                let scrubber = Scrubber::new(&secrets, [&config]);
                let spec = InstanceSpec {
                    name: name.clone(),
                    config,
                    sha256: handler.sha256.clone(),
                    state_dir: instance::state_dir(&loaded.config.state_directory, &name),
                    isolation: assemble::isolation(&loaded.config, handler),
                };
                let found = discover::find(&handler.name, &directories);
                let checked = found.and_then(|found| instance::check(&found, &spec));
                checks.push(plugin(
                    (&name, &handler.name),
                    checked.map(|()| "loads and takes its settings"),
                    &scrubber,
                ));
            }
        }
    }
    // Grouped, each group in the order of the configuration.
    checks.sort_by_key(|check| check.about == "Secrets");
    checks
}

fn plugin((name, plugin): (&str, &str), result: Result<&str, Refusal>, scrubber: &Scrubber) -> Check {
    let about = "Plugins";
    match result {
        Ok(text) => Check::good(about, format!("{name} {text}")),
        Err(refusal) => {
            let hint = match &refusal {
                Refusal::NotFound { .. } => "install it, or name its directory in plugin_directories".to_owned(),
                Refusal::Config(_) => format!("what it takes: snooze plugin info {plugin}"),
                Refusal::Permissions { .. } => "give file and directories to root, writable for nobody else".to_owned(),
                _ => format!("try it alone: snooze plugin load-test {plugin}"),
            };
            let text = scrubber.scrub(&refusal.to_string()).into_owned();
            Check::bad(about, format!("{name} is refused ({}): {text}", refusal.code()), hint)
        }
    }
}
