//! The group that this machine belongs to, put together with the rest.
//!
//! Inputs: the settings, what the sources know of the machine, what was told before a restart. Outputs: the member, events of the group,
//! sentences about what is not as it should be. Must never keep the daemon from its work: whatever fails here is a problem that the status
//! tells.

use super::daemon::Shared;
use super::seen::Seen;
use crate::config::Config;
use crate::dispatch::plan::Plans;
use crate::event::{Event, EventId};
use crate::fleet::delegate::{Delegate, Ear, Home};
use crate::fleet::mirror::Scribe;
use crate::fleet::{HANDLER, SOURCE, events};
use crate::history::recorder::Recorder;
use crate::sys::clock;
use arc_swap::ArcSwap;
use cloudsnooze_fleet::{Local, Member, Settings, Status, Told};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often it is looked whether a source knows what the cloud calls this machine, and the pause between; then the host's name serves.
const NAME_LOOKS: u32 = 50;
const NAME_PAUSE: Duration = Duration::from_millis(200);
/// Events of the group that are known to have been told.
const TOLD_MAX: usize = 1024;

/// The group, or none.
#[derive(Default)]
pub(super) struct Fleet {
    delegate: Option<Arc<Delegate>>,
    /// What has been published of what the group told.
    told: Mutex<BTreeSet<EventId>>,
    problem: Mutex<Option<String>>,
}

struct Here {
    config: Config,
    plans: Arc<ArcSwap<Plans>>,
    recorder: Arc<Recorder>,
}

impl Home for Here {
    fn assumed_seconds(&self, event: &Event) -> f64 {
        self.config.assumed_seconds(&event.event_type, event.action)
    }

    fn has_waiting_handler(&self, event: &Event) -> bool {
        self.plans.load().of(&event.event_type).handlers().any(|handler| handler.plugin == HANDLER)
    }

    fn scrub(&self, text: &str) -> String {
        self.recorder.scrub(text)
    }
}

impl Fleet {
    /// Has the recorder tell what happens. `seen` are events of before a restart.
    pub(super) fn follow(
        config: &Config,
        recorder: &Arc<Recorder>,
        plans: &Arc<ArcSwap<Plans>>,
        seen: &[Seen],
    ) -> Self {
        if config.fleet.is_none() {
            return Self::default();
        }
        let here = Here { config: config.clone(), plans: Arc::clone(plans), recorder: Arc::clone(recorder) };
        let delegate = Delegate::new(Box::new(here));
        recorder.tell_to(Arc::new(Ear(Arc::clone(&delegate))));
        let scribe = Scribe::new(Arc::clone(&delegate));
        recorder.tell_to(Arc::clone(&scribe) as _);
        recorder.copy_to(scribe);
        let told = seen.iter().filter(|(event, _)| event.source == SOURCE).map(|(event, _)| event.id).collect();
        Self { delegate: Some(delegate), told: Mutex::new(told), problem: Mutex::default() }
    }

    /// Who speaks for this machine; None without a group.
    pub(super) fn delegate(&self) -> Option<&Arc<Delegate>> {
        self.delegate.as_ref()
    }

    /// What the group looks like from here.
    pub(super) fn status(&self) -> Option<Status> {
        self.delegate.as_ref()?.status()
    }

    /// What is not as it should be.
    pub(super) fn problems(&self) -> Vec<String> {
        let own = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of_group = self.status().map(|status| status.problems).unwrap_or_default();
        own.into_iter().chain(of_group).map(|problem| format!("fleet: {problem}")).collect()
    }

    /// Whether it is told for the first time.
    fn is_news(&self, id: EventId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX {
            told.pop_first();
        }
        told.insert(id)
    }

    /// Leaves the group: whoever leads next hears of it at once. Takes three seconds at most.
    pub(super) async fn leave(&self) {
        if let Some(member) = self.delegate.as_ref().and_then(|delegate| delegate.member()) {
            member.leave().await;
        }
    }
}

struct Listener(Arc<Shared>);

impl Local for Listener {
    fn told(&self, told: Told) {
        let shared = &self.0;
        let Some(delegate) = shared.fleet.delegate() else { return };
        match &told {
            Told::Leaving { event, details, .. } => delegate.departures().note(*event, &details.value()),
            Told::Completed { departed, missing, .. } if missing.is_empty() => {
                let really = departed.iter().filter(|one| !one.drill);
                delegate.departures().are_over(&really.map(|one| one.event).collect::<Vec<_>>());
            }
            _ => {}
        }
        let Some(event) = events::event_of(&told, delegate.departures(), clock::now()) else { return };
        let is_wanted = events::is_kept(&event) || !shared.plans.load().of(&event.event_type).is_empty();
        if is_wanted && shared.fleet.is_news(event.id) {
            shared.publish(event);
        }
    }
}

/// Joins the group that the configuration names, and stays in it for as long as the daemon runs.
pub(super) async fn join(shared: Arc<Shared>) {
    let Some(settings) = shared.loaded.load().config.fleet.clone() else { return };
    let Some(delegate) = shared.fleet.delegate().cloned() else { return };
    let name = name(&shared, &settings).await;
    let state = shared.loaded.load().config.state_directory.join("fleet");
    match Member::start(settings, name, state, Arc::new(Listener(Arc::clone(&shared)))) {
        Ok(member) => delegate.join(member, tokio::runtime::Handle::current()),
        Err(error) => {
            tracing::error!(%error, "this machine cannot join its group; it acts alone");
            let mut problem = shared.fleet.problem.lock().unwrap_or_else(PoisonError::into_inner);
            *problem = Some(format!("this machine acts alone: {error}"));
        }
    }
}

/// The name in the group: as configured, else what the cloud calls the machine, else the host's.
async fn name(shared: &Shared, settings: &Settings) -> String {
    if let Some(name) = &settings.member {
        return name.clone();
    }
    for _ in 0..NAME_LOOKS {
        let machine = shared.machine().instance_id;
        if !machine.is_empty() {
            return machine;
        }
        tokio::time::sleep(NAME_PAUSE).await;
    }
    nix::unistd::gethostname().map_or_else(|_| "unnamed".to_owned(), |name| name.to_string_lossy().into_owned())
}
