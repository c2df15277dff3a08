//! The sources' threads: each real-time, on its own, feeding the pool; and the search for the cloud to watch.
//!
//! Inputs: the configuration, what was seen before a restart. Outputs: running sources and their handles, what is known of
//! the cloud. Must never run a source on a thread that anything else needs, nor have the start wait for an answer.

use super::clouds::{CLOUDS, Offer};
use super::pace;
use super::seen::Seen;
use super::siblings::{self, Aliases, Siblings};
use crate::config::{Config, DetectSource};
use crate::control::wire::SourceStatus;
use crate::dispatch::plan::{Plan, Plans};
use crate::dispatch::pool::Pool;
use crate::event::{Event, EventId, EventType, Machine, Moment};
use crate::history::recorder::Recorder;
use crate::host;
use crate::log_ring::LogRing;
use crate::normalise::NoticeKey;
use crate::normalise::revise::Reviser;
use crate::source::cloud::{Cloud, Pace};
use crate::source::detect::{Findings, Found, Provider, State, probe};
use crate::source::health::Report;
use crate::source::poller::Poller;
use crate::source::{Control, Health, Sink, Told};
use crate::sys::bell::{Bell, Woken};
use crate::sys::{clock, dmi};
use arc_swap::{ArcSwap, Cache};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How long a completed notice is remembered across a restart, nanoseconds: a day.
pub(super) const REMEMBER_NS: i64 = 86_400 * 1_000_000_000;

/// One running source.
pub(super) struct Running {
    provider: Provider,
    /// Name of its thread.
    pub(super) thread_name: &'static str,
    /// Whether it can see.
    pub(super) health: Arc<Health>,
    control: Arc<Control<Pace>>,
    pace: fn(&Config) -> Pace,
    /// Whether a shutdown of the system may be the very thing that it gives notice of.
    looks_at_shutdown: bool,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Running {
    /// The same, whose notice may come with a shutdown of the system.
    pub(super) fn looking_at_shutdown(self) -> Self {
        Self { looks_at_shutdown: true, ..self }
    }
}

/// The running sources of clouds: those that are switched on, and what is found later.
pub(super) struct Sources {
    list: Mutex<List>,
    /// Changed only by who holds the list: what is found and what runs for it are seen together.
    findings: Mutex<Findings>,
    /// Ends the search.
    bell: Bell,
}

struct List {
    running: Vec<Arc<Running>>,
    /// The one in force, for what starts later.
    config: Config,
    /// The daemon leaves: nothing starts any more.
    is_closed: bool,
}

impl Sources {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sources that run.
    pub(super) fn running(&self) -> Vec<Arc<Running>> {
        self.list().running.clone()
    }

    /// What is known of the cloud that this machine is in.
    pub(super) fn findings(&self) -> Findings {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The machine and the provider that knows it, once one does.
    pub(super) fn machine(&self) -> Option<(&'static str, Arc<Machine>)> {
        let known = |running: &Arc<Running>| Some((running.provider.as_str(), Arc::clone(running.health.machine()?)));
        self.list().running.iter().find_map(known)
    }

    /// Whether a source knows that this machine was bought at the full price, and gets no spot notices.
    pub(super) fn is_on_demand(&self) -> bool {
        self.list().running.iter().any(|running| running.health.is_on_demand())
    }

    /// What each of them sees now.
    pub(super) fn reports(&self) -> Vec<Report> {
        let now_boot_ns = clock::boot_ns();
        self.running().iter().map(|running| running.health.report(now_boot_ns)).collect()
    }

    /// The same for the wire, with what is known of the cloud at that very moment; says so when there is none, and how often
    /// one would look.
    pub(super) fn statuses(&self, config: &Config) -> (Vec<SourceStatus>, Findings) {
        let (running, findings) = {
            let list = self.list();
            (list.running.clone(), self.findings())
        };
        if running.is_empty() {
            let state = if findings.is_open() { "starting" } else { "off" };
            let none = SourceStatus {
                name: "cloud".into(),
                state: state.into(),
                summary: unwatched(config, &findings),
                polls: 0,
                errors: 0,
                interval_seconds: pace::aws(config).seconds.first().copied().unwrap_or_default(),
            };
            return (vec![none], findings);
        }
        let now_boot_ns = clock::boot_ns();
        let of =
            |running: &Arc<Running>| status(&running.health.report(now_boot_ns), running.health.interval_seconds());
        (running.iter().map(of).collect(), findings)
    }

    /// That no notice would be seen although there may be some to see.
    pub(super) fn problem(&self) -> Option<String> {
        let findings = self.findings();
        let is_blind = match &findings.found {
            Some(found) => !found.provider.is_watched() && found.provider != Provider::Oracle,
            None => findings.state == State::Nothing,
        };
        is_blind.then(|| format!("no notice would be seen: {} (snooze doctor says more)", findings.summary()))
    }

    /// Other intervals from now on, also for what starts later.
    pub(super) fn set_intervals(&self, config: &Config) {
        let mut list = self.list();
        list.running.iter().for_each(|running| running.control.set((running.pace)(config)));
        list.config = config.clone();
    }

    /// The system is shut down: has the sources whose notice may come with that look once, at once.
    pub(super) fn look_at_shutdown(&self) {
        self.at_shutdown().iter().for_each(|running| running.control.look_now());
    }

    /// Whether they have, and told what they found.
    pub(super) fn have_looked(&self) -> bool {
        self.at_shutdown().iter().all(|running| running.control.has_looked())
    }

    /// Whether one of them sees its notice.
    pub(super) fn see_a_notice(&self) -> bool {
        self.at_shutdown().iter().any(|running| running.control.stands())
    }

    fn at_shutdown(&self) -> Vec<Arc<Running>> {
        self.running().into_iter().filter(|running| running.looks_at_shutdown).collect()
    }

    /// Ends the search and the sources, also in the middle of a request, and waits for the sources. The search is not
    /// waited for: it may hang in a name server.
    pub(super) fn stop(&self) {
        self.bell.stop();
        self.list().is_closed = true;
        let running = self.running();
        running.iter().for_each(|running| running.control.bell.stop());
        for running in running {
            let thread = running.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
    }

    /// Takes one more finding, and starts what it says.
    fn take(&self, findings: Findings, ways: &Ways) {
        let mut list = self.list();
        if let Some(found) = &findings.found {
            tracing::info!("{}", findings.summary());
            if let Err(error) = start_found(&mut list, found, ways) {
                tracing::error!("the cloud that was found cannot be watched: {error}");
            }
        }
        *self.findings.lock().unwrap_or_else(PoisonError::into_inner) = findings;
    }

    /// Asks the metadata services, again and again, until one answers as its own cloud's does.
    fn search(&self, settings: &DetectSource, imdsd: &Path, ways: &Ways) {
        loop {
            let findings = self.findings().with_answers(probe::ask_all(settings, imdsd));
            if findings.rounds == 1 && findings.is_open() {
                tracing::warn!(details = ?findings.details(), "{}", findings.summary());
            }
            let pause_ns = i64::try_from(findings.pause_seconds()).unwrap_or(0).saturating_mul(1_000_000_000);
            self.take(findings, ways);
            if !self.findings().is_open() || self.bell.wait(clock::boot_ns().saturating_add(pause_ns)) == Woken::Stopped
            {
                return;
            }
        }
    }
}

/// Why no cloud is watched.
fn unwatched(config: &Config, findings: &Findings) -> String {
    let found = findings.found.as_ref().map(|found| found.provider);
    let is_off = |offer: &Offer| Some(offer.provider) == found && (offer.wanted)(config) == Some(false);
    match CLOUDS.iter().find(|offer| is_off(offer)) {
        Some(offer) => format!(
            "{}; switched off in the configuration (sources.{}.enabled)",
            findings.summary(),
            offer.provider.as_str()
        ),
        None => findings.summary(),
    }
}

/// Starts the source of the cloud that was found, unless it is switched off or runs already.
fn start_found(list: &mut List, found: &Found, ways: &Ways) -> Result<(), String> {
    let offer = CLOUDS.iter().find(|offer| offer.provider == found.provider);
    let Some(offer) = offer.filter(|offer| (offer.wanted)(&list.config).is_none() && !list.is_closed) else {
        return Ok(());
    };
    let usual = probe::endpoint_of(&list.config.sources.detect.endpoints, found.provider);
    let started = (offer.start)(&list.config, ways, found.endpoint.as_deref().or(usual))?;
    list.running.extend(started.into_iter().map(Arc::new));
    Ok(())
}

fn status(report: &Report, interval_seconds: f64) -> SourceStatus {
    SourceStatus {
        name: report.name.into(),
        state: report.state.as_str().into(),
        summary: report.sees(),
        polls: report.polls,
        errors: report.errors,
        interval_seconds,
    }
}

/// Publishes what a source finds: the plan is ready, the pool takes it at once.
pub(super) struct ToPool {
    pool: Pool,
    recorder: Arc<Recorder>,
    plans: Cache<Arc<ArcSwap<Plans>>, Arc<Plans>>,
    self_tests: [Arc<Plan>; 2],
    siblings: Arc<Siblings>,
    aliases: Aliases,
}

impl ToPool {
    /// Makes the calling thread one that may publish.
    pub(super) fn join(&self) {
        self.pool.join_publishers();
    }

    /// What an event of this source is known under: another source may have told the same notice before.
    pub(super) fn known_as(&self, id: EventId) -> EventId {
        self.aliases.of(id)
    }
}

impl Sink for ToPool {
    fn publish(&mut self, mut event: Arc<Event>) {
        if !siblings::admit(&self.siblings, &mut self.aliases, &mut event) {
            return;
        }
        if let Some(withdrawn) = event.cancels {
            self.pool.withdrawn(withdrawn);
        }
        let plan = self.plans.load().of(&event.event_type);
        self.pool.publish(Arc::clone(&event), plan);
        if event.cancels.is_none() {
            self.siblings.add(&event);
        }
    }

    fn approach(&mut self, event_type: &EventType) {
        if let Some(plan) = self.plans.load().ready(event_type) {
            self.pool.approach(plan);
        }
    }

    fn moved(&mut self, id: EventId, effective: Moment) {
        let id = self.aliases.of(id);
        self.pool.moved(id, effective);
        self.recorder.moved(id, effective);
        self.siblings.moved(id, effective);
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
#[derive(Clone)]
pub(super) struct Ways {
    pub(super) pool: Pool,
    pub(super) recorder: Arc<Recorder>,
    pub(super) plans: Arc<ArcSwap<Plans>>,
    pub(super) log: Arc<LogRing>,
    /// What the other sources have told.
    pub(super) siblings: Arc<Siblings>,
    /// Events of before a restart.
    pub(super) seen: Arc<[Seen]>,
}

impl Ways {
    /// The way to the pool for one source.
    ///
    /// # Errors
    /// Text: the self-test cannot be made.
    pub(super) fn sink(&self) -> Result<ToPool, String> {
        let probe = host::probe::instance(&self.log).map_err(|e| format!("cannot make the self-test: {e}"))?;
        Ok(ToPool {
            pool: self.pool.clone(),
            recorder: Arc::clone(&self.recorder),
            plans: Cache::new(Arc::clone(&self.plans)),
            self_tests: Plan::self_tests(&probe),
            siblings: Arc::clone(&self.siblings),
            aliases: Aliases::default(),
        })
    }
}

/// What the firmware says; the configuration may say that nobody is to look.
fn first_findings(config: &Config) -> Findings {
    let detect = &config.sources.detect;
    let all_said = CLOUDS.iter().all(|offer| (offer.wanted)(config) == Some(false));
    match detect.enabled {
        false if all_said => Findings::off("switched off in the configuration (sources.NAME.enabled)"),
        false => Findings::off(
            "no cloud is named, and looking for one is switched off in the configuration (sources.detect.enabled)",
        ),
        true => Findings::of_firmware(&dmi::read(&detect.sys_directory)),
    }
}

/// Starts the sources that are on, and a search where nobody says which cloud this is: the daemon does not wait for it.
///
/// # Errors
/// Text: an endpoint that cannot be used, a thread that does not start.
pub(super) fn start(config: &Config, ways: &Ways) -> Result<Arc<Sources>, String> {
    let is_on = |offer: &&Offer| (offer.wanted)(config) == Some(true);
    let mut running = Vec::new();
    for offer in CLOUDS.iter().filter(is_on) {
        running.extend((offer.start)(config, ways, None)?.into_iter().map(Arc::new));
    }
    // Who says which cloud is watched need not have strangers asked; the firmware costs nothing.
    let is_said = !running.is_empty();
    let sources = Arc::new(Sources {
        list: Mutex::new(List { running, config: config.clone(), is_closed: false }),
        findings: Mutex::new(Findings::off("the configuration says which cloud is watched (sources.NAME)")),
        bell: Bell::new().map_err(|e| format!("cannot make the search's bell: {e}"))?,
    });
    let findings = first_findings(config);
    if findings.is_open() && is_said {
        return Ok(sources);
    }
    if findings.is_open() {
        let (searching, settings, ways) = (Arc::clone(&sources), config.sources.detect.clone(), ways.clone());
        let imdsd = config.sources.imds_socket.clone();
        let thread = thread::Builder::new().name("snooze-detect".into());
        *sources.findings.lock().unwrap_or_else(PoisonError::into_inner) = findings;
        let spawned = thread.spawn(move || searching.search(&settings, &imdsd, &ways));
        spawned.map_err(|e| format!("cannot start the thread that finds out which cloud this is: {e}"))?;
    } else {
        sources.take(findings, ways);
    }
    Ok(sources)
}

/// Starts one thread of a source.
///
/// # Errors
/// Text: an endpoint that cannot be used, a thread that does not start.
pub(super) fn start_thread<C: Cloud + 'static>(
    (provider, thread_name): (Provider, &'static str),
    config: &Config,
    ways: &Ways,
    pace: fn(&Config) -> Pace,
    make: impl FnOnce(Arc<Bell>) -> Result<C, String>,
) -> Result<Running, String> {
    let control = Control::new(pace(config)).map_err(|e| format!("cannot make the source's bell: {e}"))?;
    let mut cloud = make(Arc::clone(&control.bell))?;
    cloud.client().imdsd_at(&config.sources.imds_socket);
    let poller = Poller::new(
        cloud,
        Reviser::new(C::SOURCE).knowing(&ways.seen, NoticeKey::of),
        Arc::clone(&control),
        config.dispatch.self_test,
    );
    let health = Poller::<C>::health();
    let mut sink = ways.sink()?;
    let (seen_by, log) = (Arc::clone(&health), Arc::clone(&ways.log));
    health.lives_until(clock::boot_ns());
    let body = move || {
        sink.join();
        poller.run(&mut sink, Told { health: &seen_by, log: &log });
    };
    let thread = thread::Builder::new().name(thread_name.into()).spawn(body);
    let thread = thread.map_err(|e| format!("cannot start the source's thread: {e}"))?;
    Ok(Running {
        provider,
        thread_name,
        health,
        control,
        pace,
        looks_at_shutdown: false,
        thread: Mutex::new(Some(thread)),
    })
}
