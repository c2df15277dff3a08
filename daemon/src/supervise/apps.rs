//! What tells the applications of this machine, made from the settings and put together with the rest.
//!
//! Inputs: the settings, what the history knows to be open. Outputs: the socket, the file, sentences about what is not as
//! it should be. Must never keep the daemon from its work: whatever fails here is a problem that the status tells.

use super::seen::Seen;
use crate::apps::notices::Notices;
use crate::apps::registry::Registry;
use crate::apps::state_file::StateFile;
use crate::apps::wire::AppStatus;
use crate::apps::{Desk, HANDLER, server};
use crate::config::Config;
use crate::dispatch::plan::Plans;
use crate::event::Pattern;
use crate::history::recorder::Recorder;
use crate::sys::{clock, socket};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;

/// Known once the plans are made, which is after the handler's first connection.
type Known = Arc<OnceLock<Arc<ArcSwap<Plans>>>>;

/// The socket and the file.
pub(super) struct Apps {
    registry: Option<Arc<Registry>>,
    socket: Option<PathBuf>,
    file: Option<Arc<StateFile>>,
    plans: Known,
    refused: Vec<String>,
}

/// Whether a handler is configured for events that one of these patterns wants.
fn is_waited_for(plans: &Known, wanted: &[Pattern]) -> bool {
    plans.get().is_some_and(|plans| {
        let plans = plans.load();
        let mut ours = plans.handlers().iter().filter(|handler| handler.plugin == HANDLER);
        ours.any(|handler| wanted.iter().any(|pattern| pattern.overlaps(&handler.pattern)))
    })
}

impl Apps {
    /// Listens, before any instance is made: the handler connects ahead.
    pub(super) fn listen(config: &Config) -> Self {
        let plans = Known::default();
        let mut apps =
            Self { registry: None, socket: None, file: None, plans: Arc::clone(&plans), refused: Vec::new() };
        let Some(path) = config.apps_socket() else { return apps };
        let group = config.apps.group.as_deref();
        let mode = if group.is_some() { 0o660 } else { 0o666 };
        let registry = Arc::new(Registry::new(Box::new(move |wanted| is_waited_for(&plans, wanted))));
        let started = socket::listen(&path, group, mode).and_then(|listener| {
            server::start(listener, Arc::clone(&registry)).map_err(|e| format!("cannot start its thread: {e}"))
        });
        match started {
            Ok(()) => (apps.registry, apps.socket) = (Some(registry), Some(path)),
            Err(error) => {
                tracing::error!("applications cannot register: {error}");
                apps.refused.push(format!("applications cannot register: {error} (setting apps.socket)"));
            }
        }
        apps
    }

    /// Has the recorder tell what happens, and the file written. `seen` are events of before a restart, and whether
    /// they were withdrawn.
    pub(super) fn follow(&mut self, config: &Config, recorder: &Recorder, seen: &[Seen]) {
        if let Some(path) = config.apps_state_file() {
            let file = Arc::new(StateFile::new(path, open_before(seen)));
            let writer = Arc::clone(&file);
            match thread::Builder::new().name("snooze-notice".into()).spawn(move || writer.run()) {
                Ok(_) => self.file = Some(file),
                Err(error) => self.refused.push(format!("the open notices are not written down: {error}")),
            }
        }
        recorder.tell_to(Arc::new(Desk { registry: self.registry.clone(), file: self.file.clone() }));
    }

    /// Which handlers there are, now and after each reload.
    pub(super) fn know(&self, plans: &Arc<ArcSwap<Plans>>) {
        let _ = self.plans.set(Arc::clone(plans));
    }

    /// Who is registered.
    pub(super) fn list(&self) -> Vec<AppStatus> {
        self.registry.as_ref().map(|registry| registry.list()).unwrap_or_default()
    }

    /// What is not as it should be.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.refused.iter().cloned().chain(self.file.as_ref().and_then(|file| file.problem()))
    }

    /// Nobody can connect any more; the file stays as it is.
    pub(super) fn leave(&self) {
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
        if let Some(file) = &self.file {
            file.stop();
        }
    }
}

impl Drop for Apps {
    /// For a start that fails behind it.
    fn drop(&mut self) {
        self.leave();
    }
}

/// The notices that still stand after a restart. What the journal has open is published again.
fn open_before(seen: &[Seen]) -> Notices {
    let (now, mut notices) = (clock::now(), Notices::default());
    let withdrawn: Vec<_> = seen.iter().filter_map(|(event, _)| event.cancels).collect();
    for (event, is_withdrawn) in seen {
        if !is_withdrawn && !withdrawn.contains(&event.id) {
            notices.known(event.clone(), now);
        }
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::super::seen;
    use super::*;
    use serde_json::json;

    #[test]
    fn after_a_restart_only_what_is_neither_withdrawn_nor_past_is_open() {
        let now = clock::now();
        let told = |number: u32, seconds: i64, cancels: Option<u32>| {
            let id = |number: u32| format!("019a1b2c-3d4e-7f60-8182-{number:012x}");
            let mut json = json!({
                "id": id(number), "type": "cloud.maintenance.reboot", "severity": "warning", "time": now.rfc3339(),
                "data": {"action": "reboot", "noticeKind": "deadline", "time": now.plus_ns(seconds * 1_000_000_000).rfc3339()},
            });
            if let Some(cancels) = cancels {
                json["type"] = json!("cloud.maintenance.reboot.cancelled");
                json["data"]["cancels"] = json!(id(cancels));
            }
            json.to_string()
        };
        let seen = [
            (told(1, 600, None), false),
            (told(2, 600, None), true),
            (told(3, -600, None), false),
            (told(4, 600, None), false),
            (told(5, 600, Some(4)), false),
            ("no event".to_owned(), false),
        ];
        let open = open_before(&seen::read(&seen)).document(now).events;
        assert_eq!(
            open.iter().map(|notice| notice.id.as_str()).collect::<Vec<_>>(),
            ["019a1b2c-3d4e-7f60-8182-000000000001"]
        );
    }
}
