//! What the control socket sees of the daemon: the parts put together, behind one trait.
//!
//! Inputs: requests. Outputs: wire types. Threads: the control runtime, and the tender. Must never take
//! the pool's lock: what changes the pool is an order.

use super::apps::Apps;
use super::fleet::Fleet;
use super::os_shutdown::{self, OsShutdown};
use super::plugin_sources::PluginSources;
use super::pulse::{Kind, Sign};
use super::sources::Sources;
use super::system_sources::SystemSources;
use crate::assemble::{self, Assembly};
use crate::config::{Config, Loaded, SecretSources, redacted_config};
use crate::control::server::Daemon;
use crate::control::{metrics, operator, wire};
use crate::dispatch::plan::Plans;
use crate::dispatch::pool::{Order, Pool};
use crate::dispatch::report::seconds;
use crate::event::{Event, EventType};
use crate::fleet::delegate::Delegate;
use crate::history::life::Here;
use crate::history::recorder::Recorder;
use crate::history::tallies::{Spread, Tally};
use crate::history::watchers::Happening;
use crate::host::Instance;
use crate::host::state::Lifecycle;
use crate::log_ring::LogRing;
use crate::reports::courier::Courier;
use crate::source::detect::Findings;
use crate::source::health::State;
use crate::sys::beat::Beat;
use crate::sys::clock;
use crate::sys::memory::Locked;
use crate::sys::sched::Grant;
use arc_swap::ArcSwap;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// The running daemon.
pub(super) struct Shared {
    pub(super) args: (PathBuf, Option<PathBuf>),
    pub(super) loaded: ArcSwap<Loaded>,
    pub(super) pool: Pool,
    pub(super) plans: Arc<ArcSwap<Plans>>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) apps: Apps,
    pub(super) fleet: Fleet,
    pub(super) reports: Arc<Courier>,
    pub(super) ring: Arc<LogRing>,
    pub(super) sources: Arc<Sources>,
    /// What watches the machine itself.
    pub(super) system: SystemSources,
    pub(super) plugin_sources: PluginSources,
    /// Instances of earlier configurations that may still be running an event.
    pub(super) retired: Mutex<Vec<Arc<Instance>>>,
    pub(super) problems: Vec<String>,
    /// Where the dashboard's port listens.
    pub(super) dashboard: Option<SocketAddr>,
    pub(super) locked: Locked,
    pub(super) started_boot_ns: i64,
    pub(super) reload: mpsc::Sender<super::ReloadReply>,
    /// An inline call was given up.
    pub(super) publisher_is_lost: AtomicBool,
    /// The sign of life of the thread that tends.
    pub(super) tender: Beat,
    /// What is known of the system's own shutdown.
    pub(super) os_shutdown: OsShutdown,
    /// What is stuck, in words.
    pub(super) stuck: Mutex<Vec<String>>,
}

/// Pause between two rounds while there is a process to restart or an instance to free, and otherwise.
const TEND_OFTEN: Duration = Duration::from_millis(100);
const TEND_SELDOM: Duration = Duration::from_secs(2);

/// Restarts what died and frees what is no longer used, for ever.
pub(super) fn tend_forever(shared: &Shared) {
    let long = i64::try_from(TEND_SELDOM.as_nanos()).unwrap_or(i64::MAX);
    let lives = || shared.tender.give_and_promise(clock::boot_ns().saturating_add(long));
    let mut is_machine_known = false;
    loop {
        lives();
        is_machine_known = is_machine_known || shared.tell_machine();
        let mut pause = TEND_SELDOM;
        for handler in shared.plans.load().handlers().iter().filter(|h| h.instance.is_killable()) {
            handler.instance.tend();
            lives();
            pause = TEND_OFTEN;
        }
        let free: Vec<Arc<Instance>> = {
            let mut retired = shared.retired.lock().unwrap_or_else(PoisonError::into_inner);
            // Only the list itself holds it: no plan, no running event.
            let (free, busy): (_, Vec<_>) = retired.drain(..).partition(|i| Arc::strong_count(i) == 1);
            if !busy.is_empty() {
                pause = TEND_OFTEN;
            }
            *retired = busy;
            free
        };
        for instance in free {
            instance.retire();
            lives();
        }
        shared.pool.look_after();
        if shared.pool.take_lost_publisher() {
            tracing::error!("an inline handler does not come home; the thread that published its event hangs in it");
            shared.publisher_is_lost.store(true, Ordering::Release);
        }
        std::thread::sleep(pause);
    }
}

impl Shared {
    /// Takes the files as they are now; a bad one changes nothing.
    pub(super) async fn take_configuration(self: Arc<Self>) -> Result<wire::Reloaded, wire::Failure> {
        let failed = |e: tokio::task::JoinError| wire::Failure { error: e.to_string(), ..wire::Failure::default() };
        tokio::task::spawn_blocking(move || self.take_configuration_now()).await.unwrap_or_else(|e| Err(failed(e)))
    }

    fn take_configuration_now(&self) -> Result<wire::Reloaded, wire::Failure> {
        let (file, conf_d) = &self.args;
        let refused = |errors: Vec<crate::config::ConfigError>| wire::Failure {
            error: "the new configuration was refused; the old one goes on".into(),
            details: errors.iter().map(ToString::to_string).collect(),
            ..wire::Failure::default()
        };
        let beside = file.parent().map(|p| p.join("conf.d"));
        let conf_d = conf_d.clone().or_else(|| beside.filter(|d| d.is_dir()));
        let fresh = Config::load(file, conf_d.as_deref()).map_err(refused)?;
        let changes = Config::diff(&self.loaded.load().config, &fresh.config);
        // First without making anything: an instance of a refused configuration may already do harm.
        // Read again: somebody may have been released.
        let (quarantine, _) = super::crash::quarantine(&fresh.config);
        assemble::check(&fresh, &SecretSources::system(), &quarantine).map_err(refused)?;
        let reports = assemble::reports(&fresh, &SecretSources::system()).map_err(refused)?;
        // Before an instance can tell one.
        self.recorder.learn(&assemble::scrubber(&fresh, &SecretSources::system()));
        let Assembly { plans, scrubber, warnings } =
            assemble::make(&fresh, &SecretSources::system(), &self.ring, &quarantine).map_err(refused)?;
        // The count set in the configuration is read at the start only; that of the plans follows them.
        if fresh.config.dispatch.threads.is_none()
            && let Err(error) = self.pool.grow_to(super::workers(&fresh.config, &plans))
        {
            tracing::warn!(%error, "the pool cannot grow; handlers of the new plans may wait for each other");
        }
        let instances: Vec<Arc<Instance>> = plans.handlers().iter().map(|h| Arc::clone(&h.instance)).collect();
        self.recorder.learn(&scrubber);
        self.pool.order(Order::Settings(super::settings(&fresh.config)));
        self.pool.order(Order::WarmUp(instances));
        let old = self.plans.swap(Arc::new(plans));
        let old: Vec<Arc<Instance>> = old.handlers().iter().map(|h| Arc::clone(&h.instance)).collect();
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).extend(old);
        self.sources.set_intervals(&fresh.config);
        self.recorder.keep_history(fresh.config.history);
        self.reports.follow(reports);
        self.loaded.store(Arc::new(fresh));
        let (later, now): (Vec<_>, Vec<_>) = changes.iter().partition(|c| c.needs_restart);
        Ok(wire::Reloaded {
            changes: now.into_iter().map(ToString::to_string).collect(),
            needs_restart: later.into_iter().map(ToString::to_string).collect(),
            warnings,
        })
    }

    /// The service manager's status line.
    pub(super) fn one_line(&self) -> String {
        let plans = self.plans.load();
        let reports = self.sources.reports();
        let source = match reports.is_empty() {
            true => format!("no cloud is watched: {}", self.sources.findings().summary()),
            false => reports.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        };
        let busy = self.pool.events_busy();
        format!("{} handlers, {} events in progress; {source}; {}", plans.handlers().len(), busy, self.scheduling())
    }

    /// The worst that a thread was granted speaks for the pool.
    fn scheduling(&self) -> String {
        self.pool.grants().into_iter().max().map_or_else(|| "no threads".into(), |g: Grant| g.to_string())
    }

    /// What every part that the daemon cannot do without owes of signs of life.
    pub(super) fn signs(&self) -> Vec<Sign> {
        let now = clock::boot_ns();
        let mut signs: Vec<Sign> = self.pool.signs(now).iter().map(Sign::of_pool).collect();
        signs.extend(self.sources.running().iter().map(|running| {
            let what = format!("the thread {} does not come back to read notices", running.thread_name);
            Sign::new(what, Kind::Brings, running.health.owed_ns(now))
        }));
        let recorder = self.recorder.owed_ns(now);
        signs.push(Sign::new("the thread snooze-record writes nothing down", Kind::Books, recorder));
        let tender = self.tender.owed_ns(now);
        signs.push(Sign::new("the thread snooze-tend restarts and frees nothing", Kind::Books, tender));
        signs
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        problems.extend(self.stuck.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        if let Some(grant) = self.pool.grants().into_iter().max().filter(|g| !g.is_real_time()) {
            problems.push(format!(
                "no real-time scheduling, the threads run at {grant}: under load handlers start later \
                 (grant CAP_SYS_NICE or LimitRTPRIO=; snooze doctor says more)"
            ));
        }
        if let Locked::Refused(why) = &self.locked {
            problems.push(format!("memory is not locked: {why}"));
        }
        let reports = self.sources.reports();
        let blind = reports.iter().filter(|report| matches!(report.state, State::Blind | State::Partial));
        problems.extend(blind.map(ToString::to_string));
        problems.extend(self.sources.problem());
        problems.extend(self.system.problem());
        problems.extend(self.plugin_sources.problems());
        for handler in self.plans.load().handlers() {
            if let Some(why) = handler.instance.why_barred() {
                problems.push(format!(
                    "{} is quarantined: {why}; replace its file, or say snooze plugin release {}",
                    handler.instance_name, handler.plugin
                ));
            } else if handler.instance.lifecycle() == Lifecycle::Quarantined {
                problems.push(format!(
                    "{} is quarantined after an earlier call: snooze reload makes a new instance",
                    handler.instance_name
                ));
            }
        }
        problems.extend(self.apps.problems());
        problems.extend(self.fleet.problems());
        problems.extend(self.reports.problems());
        if self.publisher_is_lost.load(Ordering::Acquire) {
            problems.push(
                "a handler that promised not to block does not come home: the thread that read the notice hangs in it, \
                 and reads no further ones (restart the daemon; snooze report says which handler)"
                    .into(),
            );
        }
        let failed = self.recorder.counts().failed_writes.load(Ordering::Relaxed);
        if self.recorder.disk_refuses() {
            problems
                .push(format!("the history cannot be written ({failed} attempts failed): what is to be written waits"));
        }
        problems
    }

    /// Has the history keep this machine's life, once a source knows which one it is.
    fn tell_machine(&self) -> bool {
        let known = self
            .sources
            .machine()
            .and_then(|(provider, machine)| Here::new(provider, &machine, self.sources.is_on_demand()));
        let here = || self.plugin_sources.here().and_then(|here| Here::new(&here.provider, &here.machine, false));
        let found = known.or_else(here);
        let is_known = found.is_some();
        if let Some(here) = found {
            self.recorder.found_machine(here);
        }
        is_known
    }

    /// This machine; its texts are empty until a source knows it.
    pub(super) fn machine(&self) -> wire::MachineInfo {
        let here = || self.plugin_sources.here().map(|here| (here.provider.to_string(), here.machine.clone().into()));
        let known = self.sources.machine().map(|(provider, machine)| (provider.to_owned(), machine)).or_else(here);
        known.map_or_else(wire::MachineInfo::default, |(provider, machine)| wire::MachineInfo {
            provider,
            instance_id: machine.instance_id.clone(),
            instance_type: machine.instance_type.clone(),
            zone: machine.zone.clone(),
            region: machine.region.clone(),
        })
    }

    fn detection(findings: &Findings) -> wire::Detection {
        wire::Detection {
            state: findings.state.as_str().into(),
            provider: findings.found.as_ref().map(|found| found.provider.as_str().into()),
            summary: findings.summary(),
            details: findings.details(),
        }
    }

    fn shutdown_status(&self) -> wire::SourceStatus {
        let (state, summary) = self.os_shutdown.status();
        wire::SourceStatus {
            name: os_shutdown::SOURCE.into(),
            state: state.into(),
            summary,
            polls: 0,
            errors: 0,
            interval_seconds: 0.0,
        }
    }

    /// Has the pool take an event in, and what it withdraws be stopped.
    pub(super) fn publish(&self, event: Event) {
        let plan = self.plans.load().of(&event.event_type);
        if let Some(withdrawn) = event.cancels {
            self.pool.order(Order::Withdraw(withdrawn));
        }
        self.pool.order(Order::Publish(Arc::new(event), plan));
    }

    fn instances(&self) -> Vec<wire::InstanceStatus> {
        let loaded = self.loaded.load();
        let config_of = |name: &str| loaded.config.handler_of(name).map(|handler| redacted_config(&handler.config));
        let plans = self.plans.load();
        let tallies = self.recorder.tallies();
        plans
            .handlers()
            .iter()
            .map(|h| {
                let state = serde_json::to_value(h.instance.lifecycle()).unwrap_or_default();
                wire::InstanceStatus {
                    name: h.instance_name.clone(),
                    plugin: h.plugin.clone(),
                    version: h.instance.version.clone(),
                    kind: h.instance.kind().into(),
                    state: state.as_str().unwrap_or_default().into(),
                    detail: h.instance.detail(),
                    path: h.instance.path.display().to_string(),
                    sha256: h.instance.sha256.clone(),
                    priority: h.priority,
                    timeout_seconds: seconds(h.timeout_ns),
                    config: config_of(&h.instance_name).unwrap_or_default(),
                    calls: calls(tallies.of(&h.instance_name)),
                }
            })
            .collect()
    }
}

fn histogram(spread: Spread) -> wire::Histogram {
    let Spread { bounds, counts, sum } = spread;
    wire::Histogram { bounds_seconds: bounds.to_vec(), counts, sum_seconds: sum }
}

fn calls(tally: Tally) -> wire::Calls {
    let results = tally.results.into_iter().map(|(name, count)| (name.to_owned(), count));
    wire::Calls { results: results.collect(), unverified: tally.unverified, took: histogram(tally.took) }
}

/// The types that have handlers: those known, those that the configuration names, and their withdrawals.
fn types_with_handlers(plans: &Plans, config: &Config) -> Vec<EventType> {
    let known = EventType::KNOWN
        .into_iter()
        .chain(EventType::OF_THE_MACHINE)
        .chain(EventType::OF_THE_GROUP)
        .chain([EventType::PREEMPTION_RISK]);
    let named = config.event_handlers.keys().filter_map(|key| EventType::parse(key).ok());
    let mut types: Vec<EventType> = Vec::new();
    for event_type in known.chain(named) {
        let withdrawal = event_type.cancelled();
        for candidate in [event_type, withdrawal] {
            if !types.contains(&candidate) && plans.of(&candidate).handlers().next().is_some() {
                types.push(candidate);
            }
        }
    }
    types
}

impl Daemon for Shared {
    fn status(&self) -> wire::Status {
        let (sources, findings) = self.sources.statuses(&self.loaded.load().config);
        let problems = self.problems();
        let counts = self.recorder.counts();
        let read = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
        let percentiles = |(count, p50, p99, max)| wire::Percentiles { count, p50, p99, max };
        let (deadlines_missed, left) = self.recorder.tallies().deadlines();
        wire::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: seconds(clock::boot_ns() - self.started_boot_ns),
            health: if problems.is_empty() { "ok" } else { "degraded" }.into(),
            problems,
            config_files: self.loaded.load().files().iter().map(|f| f.display().to_string()).collect(),
            machine: self.machine(),
            sources: sources
                .into_iter()
                .chain([self.shutdown_status(), self.system.status()])
                .chain(self.plugin_sources.status())
                .collect(),
            detection: Some(Self::detection(&findings)),
            instances: self.instances(),
            dispatch: wire::DispatchStatus {
                threads: self.pool.grants().len(),
                scheduling: self.scheduling(),
                cpu: self.pool.home_cpu(),
                memory_locked: match &self.locked {
                    Locked::Yes => "yes".into(),
                    Locked::Off => "off".into(),
                    Locked::Refused(why) => why.clone(),
                },
                events_busy: self.pool.events_busy(),
                calls_abandoned: self.pool.abandoned(),
                first_start_us: self.recorder.first_start_us().map(percentiles),
                self_test_us: self.recorder.self_tests().map(|test| wire::SelfTest {
                    count: test.count as u64,
                    p50: test.p50_us,
                    p99: test.p99_us,
                    p999: test.p999_us,
                    max: test.max_us,
                    recent_p50: test.recent_p50_us,
                }),
            },
            events: wire::EventCounts {
                published: read(&counts.published),
                completed: read(&counts.completed),
                refused: read(&counts.refused),
                notes_dropped: read(&counts.dropped),
                deadlines_missed,
                left: histogram(left),
            },
            history: wire::HistoryStatus {
                rows_waiting: self.recorder.rows_waiting() as u64,
                failed_writes: read(&counts.failed_writes),
            },
            dashboard: self.dashboard.map(|address| address.to_string()),
            fleet: self.fleet.status(),
        }
    }

    fn plan(&self, event_type: &str, left_seconds: &[f64]) -> Result<wire::PlanView, String> {
        let event_type = EventType::parse(event_type)?;
        let margin = self.loaded.load().config.dispatch.finish_before_seconds;
        Ok(wire::PlanView::new(&event_type, &self.plans.load().of(&event_type), left_seconds, margin))
    }

    fn plans(&self, left_seconds: &[f64]) -> wire::Plans {
        let loaded = self.loaded.load();
        let (plans, margin) = (self.plans.load(), loaded.config.dispatch.finish_before_seconds);
        let view = |event_type: EventType| {
            let plan = plans.of(&event_type);
            let assumed = seconds(plan.assumed_ns);
            let left: Vec<f64> = std::iter::once(assumed).chain(left_seconds.iter().copied()).collect();
            wire::PlanView::new(&event_type, &plan, &left, margin)
        };
        wire::Plans { plans: types_with_handlers(&plans, &loaded.config).into_iter().map(view).collect() }
    }

    fn simulate(&self, request: wire::Simulate) -> Result<String, String> {
        let event = operator::event(request, clock::now())?;
        let id = event.id.to_string();
        self.publish(event);
        Ok(id)
    }

    fn emit(&self, request: wire::Emit, uid: u32) -> Result<String, String> {
        let event = operator::emitted(request, uid, clock::now())?;
        let id = event.id.to_string();
        self.publish(event);
        Ok(id)
    }

    fn events(&self, limit: usize, event_type: Option<&str>) -> Result<wire::Events, String> {
        self.recorder.events(limit, event_type).map(|events| wire::Events { events })
    }

    fn report(&self, id: &str) -> Result<Option<Value>, String> {
        self.recorder.report(id)
    }

    fn apps(&self) -> wire::Apps {
        wire::Apps { applications: self.apps.list() }
    }

    fn fleet(&self) -> Option<Arc<Delegate>> {
        self.fleet.delegate().cloned()
    }

    fn watch(&self) -> broadcast::Receiver<Arc<Happening>> {
        self.recorder.watch()
    }

    async fn reload(&self) -> Result<wire::Reloaded, wire::Failure> {
        let gone = || wire::Failure { error: "the daemon is leaving".into(), ..wire::Failure::default() };
        let (reply, answer) = oneshot::channel();
        self.reload.send(reply).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    fn metrics(&self) -> String {
        metrics::text(&self.status())
    }

    fn scrub(&self, text: &str) -> String {
        self.recorder.scrub(text)
    }
}
