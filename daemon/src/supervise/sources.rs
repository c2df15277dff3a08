//! The sources' threads: each real-time, on its own, feeding the pool.
//!
//! Inputs: the configuration, what was seen before a restart. Outputs: running sources and their handles.
//! Must never run a source on a thread that anything else needs.

use crate::config::Config;
use crate::control::wire::SourceStatus;
use crate::dispatch::plan::{Plan, Plans};
use crate::dispatch::pool::Pool;
use crate::event::{Event, EventId, EventType, Machine, Moment};
use crate::history::recorder::Recorder;
use crate::host::probe;
use crate::log::ring::LogRing;
use crate::normalise::NoticeKey;
use crate::normalise::revise::Reviser;
use crate::source::aws::{self, Aws};
use crate::source::azure::{self, Azure};
use crate::source::cloud::{Cloud, Pace};
use crate::source::health::Report;
use crate::source::poller::Poller;
use crate::source::{Control, Health, Sink, Told};
use crate::sys::bell::Bell;
use crate::sys::{clock, dmi};
use arc_swap::{ArcSwap, Cache};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How long a completed notice is remembered across a restart, nanoseconds: a day.
pub(super) const REMEMBER_NS: i64 = 86_400 * 1_000_000_000;

/// A cloud that can be watched.
struct Offer {
    /// Its name in events and in the configuration.
    provider: &'static str,
    /// What the configuration says of it; None: nothing.
    wanted: fn(&Config) -> Option<bool>,
    start: fn(&Config, &Ways<'_>) -> Result<Running, String>,
}

/// Every cloud that this version knows.
const CLOUDS: &[Offer] = &[
    Offer {
        provider: crate::normalise::aws::PROVIDER,
        wanted: |config| config.sources.aws.enabled.or_else(|| dmi::is_azure().then_some(false)),
        start: |config, ways| {
            let settings = &config.sources.aws;
            let make = |bell| Aws::new(settings, bell).map_err(|e| format!("sources.aws.endpoint: {e}"));
            start_thread("snooze-aws", config, ways, aws::pace, make)
        },
    },
    Offer {
        provider: crate::normalise::azure::PROVIDER,
        // Both have the same address: what the firmware says decides.
        wanted: |config| config.sources.azure.enabled.or_else(|| Some(dmi::is_azure())),
        start: |config, ways| {
            let settings = &config.sources.azure;
            let make = |bell| Azure::new(settings, bell).map_err(|e| format!("sources.azure.endpoint: {e}"));
            start_thread("snooze-azure", config, ways, azure::pace, make)
        },
    },
];

/// One running source.
pub(super) struct Running {
    /// Name of its thread.
    pub(super) thread_name: &'static str,
    /// Whether it can see.
    pub(super) health: Arc<Health>,
    control: Arc<Control<Pace>>,
    pace: fn(&Config) -> Pace,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// The running sources of clouds.
pub(super) struct Sources {
    running: Vec<(&'static str, Running)>,
}

impl Sources {
    /// The sources that run.
    pub(super) fn running(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().map(|(_, running)| running)
    }

    /// The machine and the provider that knows it, once one does.
    pub(super) fn machine(&self) -> Option<(&'static str, &Arc<Machine>)> {
        self.running.iter().find_map(|(provider, running)| Some((*provider, running.health.machine()?)))
    }

    /// What each of them sees now.
    pub(super) fn reports(&self) -> Vec<Report> {
        let now_boot_ns = clock::boot_ns();
        self.running().map(|running| running.health.report(now_boot_ns)).collect()
    }

    /// The same for the wire; says so when there is none, and how often one would look.
    pub(super) fn statuses(&self, config: &Config) -> Vec<SourceStatus> {
        if self.running.is_empty() {
            return vec![SourceStatus {
                name: Aws::SOURCE.into(),
                state: "off".into(),
                summary: "switched off in the configuration (sources.aws.enabled)".into(),
                polls: 0,
                errors: 0,
                interval_seconds: aws::pace(config).seconds.first().copied().unwrap_or_default(),
            }];
        }
        let intervals = self.running().map(|running| running.health.interval_seconds());
        self.reports()
            .into_iter()
            .zip(intervals)
            .map(|(report, interval_seconds)| status(&report, interval_seconds))
            .collect()
    }

    /// Other intervals from now on.
    pub(super) fn set_intervals(&self, config: &Config) {
        self.running().for_each(|running| running.control.set((running.pace)(config)));
    }

    /// Ends the sources, also in the middle of a request, and waits for them.
    pub(super) fn stop(&self) {
        self.running().for_each(|running| running.control.bell.stop());
        for running in self.running() {
            let thread = running.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
    }
}

fn status(report: &Report, interval_seconds: f64) -> SourceStatus {
    SourceStatus {
        name: report.name.into(),
        state: report.state.as_str().into(),
        summary: report.to_string(),
        polls: report.polls,
        errors: report.errors,
        interval_seconds,
    }
}

/// Publishes what a source finds: the plan is ready, the pool takes it at once.
struct ToPool {
    pool: Pool,
    recorder: Arc<Recorder>,
    plans: Cache<Arc<ArcSwap<Plans>>, Arc<Plans>>,
    self_tests: [Arc<Plan>; 2],
}

impl Sink for ToPool {
    fn publish(&mut self, event: Arc<Event>) {
        if let Some(withdrawn) = event.cancels {
            self.pool.withdrawn(withdrawn);
        }
        let plan = self.plans.load().of(&event.event_type);
        self.pool.publish(event, plan);
    }

    fn approach(&mut self, event_type: &EventType) {
        if let Some(plan) = self.plans.load().ready(event_type) {
            self.pool.approach(plan);
        }
    }

    fn moved(&mut self, id: EventId, effective: Moment) {
        self.pool.moved(id, effective);
        self.recorder.moved(id, effective);
    }

    fn round_begins(&mut self) {
        // Lets go of the plans before a reload, whose plugins wait to be retired.
        self.plans.load();
    }

    fn self_test(&mut self, event: Arc<Event>) {
        // What runs matters more, and would be measured along with it.
        for plan in &self.self_tests {
            if self.pool.events_busy() == 0 {
                self.pool.publish(Arc::clone(&event), Arc::clone(plan));
            }
        }
        self.plans.load().handlers().iter().for_each(|handler| handler.instance.touch());
    }
}

/// What every source needs to start and to tell.
pub(super) struct Ways<'a> {
    pub(super) pool: &'a Pool,
    pub(super) recorder: &'a Arc<Recorder>,
    pub(super) plans: &'a Arc<ArcSwap<Plans>>,
    pub(super) log: &'a Arc<LogRing>,
    /// Events of before a restart, as JSON, and whether they were withdrawn.
    pub(super) seen: &'a [(String, bool)],
}

impl Ways<'_> {
    fn sink(&self) -> Result<ToPool, String> {
        let probe = probe::instance(self.log).map_err(|e| format!("cannot make the self-test: {e}"))?;
        Ok(ToPool {
            pool: self.pool.clone(),
            recorder: Arc::clone(self.recorder),
            plans: Cache::new(Arc::clone(self.plans)),
            self_tests: Plan::self_tests(&probe),
        })
    }
}

/// Starts the sources that are on.
///
/// # Errors
/// Text: an endpoint that cannot be used, a thread that does not start.
pub(super) fn start(config: &Config, ways: &Ways<'_>) -> Result<Sources, String> {
    let is_on = |offer: &&Offer| (offer.wanted)(config) != Some(false);
    let started = CLOUDS.iter().filter(is_on).map(|offer| Ok((offer.provider, (offer.start)(config, ways)?)));
    Ok(Sources { running: started.collect::<Result<_, String>>()? })
}

fn start_thread<C: Cloud + 'static>(
    thread_name: &'static str,
    config: &Config,
    ways: &Ways<'_>,
    pace: fn(&Config) -> Pace,
    make: impl FnOnce(Arc<Bell>) -> Result<C, String>,
) -> Result<Running, String> {
    let control = Control::new(pace(config)).map_err(|e| format!("cannot make the source's bell: {e}"))?;
    let cloud = make(Arc::clone(&control.bell))?;
    let poller = Poller::new(cloud, remembering(C::SOURCE, ways.seen), Arc::clone(&control), config.dispatch.self_test);
    let health = Poller::<C>::health();
    let mut sink = ways.sink()?;
    let (publisher, seen_by, log) = (ways.pool.clone(), Arc::clone(&health), Arc::clone(ways.log));
    health.lives_until(clock::boot_ns());
    let body = move || {
        publisher.join_publishers();
        poller.run(&mut sink, Told { health: &seen_by, log: &log });
    };
    let thread = thread::Builder::new().name(thread_name.into()).spawn(body);
    let thread = thread.map_err(|e| format!("cannot start the source's thread: {e}"))?;
    Ok(Running { thread_name, health, control, pace, thread: Mutex::new(Some(thread)) })
}

/// A restart must not run a completed event again: the notice still stands in the metadata.
fn remembering(source: &'static str, seen: &[(String, bool)]) -> Reviser {
    let mut reviser = Reviser::new(source);
    let now = clock::now();
    let read = |(text, is_withdrawn): &(String, bool)| {
        Some((Event::from_json(&serde_json::from_str(text).ok()?, now)?, *is_withdrawn))
    };
    let events: Vec<(Event, bool)> = seen.iter().filter_map(read).filter(|(e, _)| e.source == source).collect();
    // One that was over when its withdrawal came is withdrawn all the same: that was told, too.
    let withdrawn: HashSet<EventId> = events.iter().filter_map(|(event, _)| event.cancels).collect();
    for (event, is_withdrawn) in events.iter().filter(|(event, _)| !event.event_type.is_cancelled()) {
        let is_withdrawn = *is_withdrawn || withdrawn.contains(&event.id);
        reviser.seed(NoticeKey::of(event), event.id, event.effective, is_withdrawn);
    }
    reviser
}
