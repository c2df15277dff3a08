//! The daemon's life, as a story: read the configuration, open the history, make the plugins, start the
//! pool, the sources and the control socket, say READY; then reload, tend and watch; at the end drain
//! what runs and leave.
//!
//! Inputs: the configuration files, signals, orders from the control socket. Outputs: an exit code. May
//! import everything; nobody imports it. Must never start with a configuration that is partly wrong.

mod apps;
mod clouds;
mod crash;
mod daemon;
mod dashboard;
mod drills;
mod fleet;
mod foresight;
mod os_shutdown;
mod pace;
mod plugin_sources;
mod pulse;
mod resume;
mod seen;
mod siblings;
mod sources;
mod system_sources;

use crate::assemble::{self, Assembly, SourceMade};
use crate::config::{Config, ConfigError, Loaded, SecretSources};
use crate::control::limits::Limits;
use crate::control::rights::{self, Rights};
use crate::control::{gate, server, wire};
use crate::dispatch::engine::Settings;
use crate::dispatch::outbox::Outbox;
use crate::dispatch::plan::Plans;
use crate::dispatch::pool::{Order, Pool, PoolConfig};
use crate::event::{Action, Event};
use crate::history::recorder::Recorder;
use crate::history::store::{OpenEvent, Store};
use crate::host::quarantine::Quarantine;
use crate::log_ring::LogRing;
use crate::reports::courier::Courier;
use crate::sys::beat::Beat;
use crate::sys::{clock, memory, sched};
use crate::{event, log};
use apps::Apps;
use arc_swap::ArcSwap;
use clap::Parser;
use crash::Found;
use daemon::Shared;
use drills::Drills;
use fleet::Fleet;
use os_shutdown::OsShutdown;
use seen::Seen;
use siblings::Siblings;
use sources::Ways;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// Workers beyond what the widest plan needs: for an urgent event while another runs, and for calls that
/// were given up.
const WORKERS_SPARE: usize = 4;
/// CPU time after which a call loses its real-time priority.
const CPU_BUDGET_NS: i64 = 50_000_000;
/// Longest wait for events in progress when the daemon is asked to leave: above every cloud's notice.
const DRAIN_MAX_NS: i64 = 150 * 1_000_000_000;
/// Longest wait for cancelled events to come to rest: longer than a grace.
const STOP_MAX_NS: i64 = 2 * 1_000_000_000;

/// Pause between two looks at what lives; shorter where the service manager wants to hear more often.
const PULSE: Duration = Duration::from_secs(5);
/// After so many looks what the start alone needed is let go of.
const LOOKS_OF_START: u32 = 2;

/// Exit codes, after sysexits.h.
mod exit {
    pub(super) const OK: i32 = 0;
    pub(super) const SOFTWARE: i32 = 70;
    pub(super) const OS: i32 = 71;
    pub(super) const CONFIG: i32 = 78;
}

/// The CloudSnooze daemon: reads interruption notices and runs the configured handlers in the time left.
#[derive(Parser, Debug)]
#[command(name = "snoozed", version, max_term_width = 100)]
#[command(
    after_help = "EXIT CODES\n  0  asked to stop, and stopped\n  70 an internal fault\n  71 the system refused something \
    needed (a thread, the socket)\n  78 the configuration is wrong (each error with file and JSON path on stderr)\n\n\
    SIGNALS\n  HUP   take the configuration files as they are now; a bad one is refused and the old goes on\n  TERM  finish \
    the events in progress, then leave; a second one cancels them\n\nSee also: snooze --help, snooze doctor"
)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/cloudsnooze/cloudsnooze.json")]
    pub config: PathBuf,
    /// A directory whose *.json files are merged over it, in name order [default: conf.d beside the file]
    #[arg(long, value_name = "DIR")]
    pub conf_d: Option<PathBuf>,
    /// Check the configuration and its plugins, then leave: 0 or 78.
    #[arg(long)]
    pub check: bool,
}

/// Runs the daemon until it is asked to stop. Gives its exit code.
pub fn run(args: &Args) -> i32 {
    let loaded = match load(args) {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(&errors),
    };
    if args.check {
        return match assemble::check(&loaded, &SecretSources::system(), &Quarantine::default()) {
            Ok(_) => exit::OK,
            Err(errors) => refuse(&errors),
        };
    }
    let guard = log::start(&loaded.config.log);
    let code = match start(args, loaded) {
        Ok(started) => serve(started),
        Err(Failed::Config(errors)) => refuse(&errors),
        Err(Failed::System(text)) => {
            tracing::error!("{text}");
            exit::OS
        }
    };
    tracing::info!(code, "leaving");
    drop(guard);
    code
}

enum Failed {
    Config(Vec<ConfigError>),
    System(String),
}

/// Where the daemon can be asked.
struct Listening {
    socket: UnixListener,
    rights: Rights,
    port: Option<dashboard::Port>,
}

struct Started {
    shared: Arc<Shared>,
    listening: Listening,
    reloads: mpsc::Receiver<ReloadReply>,
    recorder_thread: thread::JoinHandle<()>,
    /// The risk of an interruption that was told before a restart.
    risk: Option<Event>,
}

/// Where the answer to a request for a reload goes.
type ReloadReply = oneshot::Sender<Result<wire::Reloaded, wire::Failure>>;

fn load(args: &Args) -> Result<Loaded, Vec<ConfigError>> {
    let beside = args.config.parent().map(|p| p.join("conf.d"));
    let conf_d = args.conf_d.clone().or_else(|| beside.filter(|d| d.is_dir()));
    Config::load(&args.config, conf_d.as_deref())
}

/// Bad configuration: every error on standard error, whatever the log is set to.
fn refuse(errors: &[ConfigError]) -> i32 {
    use std::io::Write;
    let mut err = std::io::stderr().lock();
    for error in errors {
        let _ = writeln!(err, "snoozed: {error}");
    }
    let _ = writeln!(err, "snoozed: the configuration was refused: {} error(s)", errors.len());
    exit::CONFIG
}

fn start(args: &Args, loaded: Loaded) -> Result<Started, Failed> {
    let mut found = crash::look(&loaded.config, &assemble::directories(&loaded.config));
    // Nothing is opened, made or written before everything that can be checked has been.
    assemble::check(&loaded, &SecretSources::system(), &found.quarantine).map_err(Failed::Config)?;
    // A second daemon learns here that it is one: before it makes an instance or asks a cloud.
    let control = loaded.config.control.clone();
    let (socket, rights) = rights::listen(&control).map_err(Failed::System)?;
    let port = dashboard::listen(&loaded, &SecretSources::system(), &mut found.problems).map_err(Failed::Config);
    let listening = port.map(|port| Listening { socket, rights, port });
    let started = listening.and_then(|listening| start_behind(listening, args, loaded, found));
    started.inspect_err(|_| {
        let _ = std::fs::remove_file(&control.socket);
    })
}

fn start_behind(listening: Listening, args: &Args, loaded: Loaded, found: Found) -> Result<Started, Failed> {
    let config = loaded.config.clone();
    let delivery = assemble::reports(&loaded, &SecretSources::system()).map_err(Failed::Config)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let ring = Arc::new(LogRing::new(plugin_log_level(&config)));
    let Found { quarantine, culprits, mut problems } = found;
    crash::listen(&config.state_directory);
    let mut apps = Apps::listen(&config);
    let made = assemble::make(&loaded, &SecretSources::system(), &ring, &quarantine);
    let Assembly { plans, scrubber, .. } =
        made.inspect_err(|_| crash::end(&config.state_directory)).map_err(Failed::Config)?;
    let plugins = make_sources(&loaded, &ring, &quarantine, &plans).map_err(Failed::Config)?;
    let store = open_history(&config, &mut problems)?;
    let (seen, open, drills) = left(&store);
    let recorder = Recorder::new(store, scrubber, config.history).map_err(|e| Failed::System(e.to_string()))?;
    apps.follow(&config, &recorder, &seen);
    let reports = Courier::new();
    reports.follow(delivery);
    recorder.deliver_to(Arc::clone(&reports) as _);
    let outbox = Arc::new(Outbox::default());
    let recorder_thread = record(&recorder, &outbox, &ring)?;
    let (pool, locked) = start_pool(&config, &plans, &outbox)?;
    crash::settle_before_the_end(pool.clone(), outbox, Arc::clone(&recorder));
    let plans = Arc::new(ArcSwap::from_pointee(plans));
    apps.know(&plans);
    recorder.tell_to(Arc::new(Drills::new(pool.clone(), Arc::clone(&plans), &drills)));
    let fleet = Fleet::follow(&config, &recorder, &plans, &seen);
    resume::take_up(&open, (&recorder, &pool, &plans.load()), &culprits, config.dispatch.on_crash);
    let ways = Ways {
        pool: pool.clone(),
        recorder: Arc::clone(&recorder),
        plans: Arc::clone(&plans),
        log: Arc::clone(&ring),
        siblings: Arc::new(Siblings::new(&seen)),
        seen: seen.into(),
    };
    let sources = sources::start(&config, &ways).map_err(Failed::System)?;
    let from_plugins = plugin_sources::start(plugins, &ways).inspect_err(|_| sources.stop()).map_err(Failed::System)?;
    let system = system_sources::start(&config, &ways.pool, &plans, &ways.seen).map_err(Failed::System)?;
    let risk = foresight::told_before(&ways.seen);
    let (reload, reloads) = mpsc::channel(4);
    let shared = Arc::new(Shared {
        args: (args.config.clone(), args.conf_d.clone()),
        loaded: ArcSwap::from_pointee(loaded),
        pool,
        plans,
        recorder,
        apps,
        fleet,
        reports,
        ring,
        sources,
        system,
        plugin_sources: from_plugins,
        retired: Mutex::default(),
        problems,
        dashboard: listening.port.as_ref().map(|port| port.address),
        locked,
        started_boot_ns: clock::boot_ns(),
        reload,
        publisher_is_lost: AtomicBool::new(false),
        tender: Beat::default(),
        os_shutdown: OsShutdown::default(),
        stuck: Mutex::default(),
    });
    Ok(Started { shared, listening, reloads, recorder_thread, risk })
}

/// Starts the thread that writes down what happens.
fn record(
    recorder: &Arc<Recorder>,
    outbox: &Arc<Outbox>,
    ring: &Arc<LogRing>,
) -> Result<thread::JoinHandle<()>, Failed> {
    let (recorder, outbox, ring) = (Arc::clone(recorder), Arc::clone(outbox), Arc::clone(ring));
    let thread = thread::Builder::new().name("snooze-record".into());
    thread.spawn(move || recorder.run(&outbox, &ring)).map_err(|e| Failed::System(e.to_string()))
}

/// Locks the memory and starts the pool, which warms the handlers up.
fn start_pool(config: &Config, plans: &Plans, outbox: &Arc<Outbox>) -> Result<(Pool, memory::Locked), Failed> {
    // Checking the configuration and making the handlers left much behind that nobody needs again, and what is locked cannot be given
    // back.
    memory::give_back();
    memory::let_go_of_plugins_start();
    let locked = if config.dispatch.lock_memory { memory::lock_all() } else { memory::Locked::Off };
    let threads = workers(config, plans);
    let pool = Pool::start(pool_config(config, threads), Arc::clone(outbox))
        .map_err(|e| Failed::System(format!("cannot start the pool of {threads} threads: {e}")))?;
    pool.order(Order::WarmUp(plans.handlers().iter().map(|h| Arc::clone(&h.instance)).collect()));
    Ok((pool, locked))
}

/// Makes the sources that are plugins. When that fails, nothing of the handlers is left either.
fn make_sources(
    loaded: &Loaded,
    ring: &Arc<LogRing>,
    quarantine: &Quarantine,
    plans: &Plans,
) -> Result<Vec<SourceMade>, Vec<ConfigError>> {
    assemble::make_sources(loaded, &SecretSources::system(), ring, quarantine).inspect_err(|_| {
        plans.handlers().iter().for_each(|handler| handler.instance.retire());
        crash::end(&loaded.config.state_directory);
    })
}

/// What earlier processes left: the notices that they saw, the events that were not over, the drills without an end.
fn left(store: &Store) -> (Vec<Seen>, Vec<OpenEvent>, Vec<String>) {
    let now_ns = clock::wall_ns();
    let open = store.open_events().unwrap_or_else(|error| {
        tracing::error!(%error, "what was open when the last process ended cannot be read");
        Vec::new()
    });
    let seen = store.seen_since(now_ns - sources::REMEMBER_NS).unwrap_or_default();
    (seen::read(&seen), open, store.drills_left_since(now_ns - drills::REMEMBER_NS).unwrap_or_default())
}

fn pool_config(config: &Config, threads: usize) -> PoolConfig {
    let rt_priority = u8::try_from(config.dispatch.rt_priority).unwrap_or(1);
    let home_cpu = home_cpu(config);
    PoolConfig { threads, rt_priority, home_cpu, cpu_budget_ns: CPU_BUDGET_NS, settings: settings(config) }
}

/// The CPU that sources and workers share. Chosen: the last one that the process may use, because the kernel
/// gives most interrupts to the first; none where there is only one.
fn home_cpu(config: &Config) -> Option<u32> {
    let allowed = sched::allowed_cpus();
    match config.dispatch.cpu {
        _ if !config.dispatch.one_cpu => None,
        Some(cpu) if allowed.contains(&cpu) => Some(cpu),
        Some(cpu) => {
            tracing::warn!(cpu, ?allowed, "dispatch.cpu is none that this process may use; another is chosen");
            allowed.last().copied()
        }
        None => allowed.last().copied().filter(|_| allowed.len() > 1),
    }
}

/// How many workers this configuration wants.
fn workers(config: &Config, plans: &Plans) -> usize {
    config.dispatch.threads.map_or(plans.width() + WORKERS_SPARE, |n| n as usize)
}

/// The margins that the configuration asks for.
fn settings(config: &Config) -> Settings {
    Settings {
        margin_ns: assemble::nanoseconds(config.dispatch.finish_before_seconds),
        grace_ns: i64::from(config.dispatch.cancel_grace_ms) * 1_000_000,
        immediate_ns: assemble::nanoseconds(
            config.assumed_seconds(&event::EventType::SPOT_INTERRUPT, Action::Hibernate),
        ),
    }
}

/// A history that cannot be kept must not keep the daemon from its work.
fn open_history(config: &Config, problems: &mut Vec<String>) -> Result<Store, Failed> {
    let path = config.state_directory.join("history.sqlite");
    let opened = std::fs::create_dir_all(&config.state_directory)
        .map_err(|e| e.to_string())
        .and_then(|()| Store::open(&path).map_err(|e| e.to_string()));
    match opened {
        Ok((store, mended)) => {
            if let Some(mended) = mended {
                tracing::error!("{mended}");
                problems.push(mended);
            }
            Ok(store)
        }
        Err(error) => {
            tracing::error!(path = %path.display(), error, "the history cannot be kept; it ends with this process");
            problems.push(format!("the history is not kept: {}: {error}", path.display()));
            Store::in_memory().map_err(|e| Failed::System(e.to_string()))
        }
    }
}

fn plugin_log_level(config: &Config) -> u32 {
    use crate::config::LogLevel;
    match config.log.level {
        LogLevel::Error => cloudsnooze_abi::SNOOZE_LOG_ERROR,
        LogLevel::Warn => cloudsnooze_abi::SNOOZE_LOG_WARNING,
        LogLevel::Info => cloudsnooze_abi::SNOOZE_LOG_INFO,
        LogLevel::Debug | LogLevel::Trace => cloudsnooze_abi::SNOOZE_LOG_DEBUG,
    }
}

/// The normal side of the daemon: one runtime on the main thread for the control socket and signals.
fn serve(started: Started) -> i32 {
    let Started { shared, listening, reloads, recorder_thread, risk } = started;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return exit::OS;
        }
    };
    let code = runtime.block_on(async {
        match tend_and_answer(&shared, listening, reloads, risk).await {
            Ok(()) => exit::OK,
            Err(error) => {
                tracing::error!(%error, "the control socket failed");
                exit::SOFTWARE
            }
        }
    });
    leave(&shared, recorder_thread);
    code
}

async fn tend_and_answer(
    shared: &Arc<Shared>,
    Listening { socket, rights, port }: Listening,
    mut reloads: mpsc::Receiver<ReloadReply>,
    risk: Option<Event>,
) -> std::io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(socket)?;
    let limits = Arc::new(Limits::default());
    let router = server::router(Arc::clone(shared), Arc::clone(&limits));
    let port = port.map(|port| dashboard::serve(port, router.clone(), &limits)).transpose()?;
    let mut server = tokio::spawn(gate::serve(listener, router, rights, limits));
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tending = Arc::clone(shared);
    // Restarting a process and retiring an instance take time: not on this thread.
    thread::Builder::new().name("snooze-tend".into()).spawn(move || daemon::tend_forever(&tending))?;
    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(socket = %shared.loaded.load().config.control.socket.display(), "ready");
    // Beside the loop: what it waits for, such as a configuration that takes long, must not look like the end.
    let pulse = tokio::spawn(watch_over(Arc::clone(shared)));
    let shutdown = shared.loaded.load().config.sources.system.enabled.then(|| os_shutdown::watch(Arc::clone(shared)));
    let shutdown = shutdown.map(tokio::spawn);
    let foresight = tokio::spawn(foresight::watch(Arc::clone(shared), risk));
    let units = tokio::spawn(system_sources::watch_units(Arc::clone(shared)));
    let joining = tokio::spawn(fleet::join(Arc::clone(shared)));
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                match shared.clone().take_configuration().await {
                    Ok(done) => tracing::info!(changes = ?done.changes, "configuration taken"),
                    Err(refused) => tracing::error!(details = ?refused.details, "configuration refused; the old one goes on"),
                }
            }
            Some(reply) = reloads.recv() => { let _ = reply.send(shared.clone().take_configuration().await); }
            ended = &mut server => return ended.map_err(std::io::Error::other),
            _ = terminate.recv() => {
                tokio::select! {
                    () = os_shutdown::told_to_end(shared) => {}
                    _ = terminate.recv() => {}
                }
                break;
            }
            _ = interrupt.recv() => break,
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    drain(shared, &mut terminate, &mut interrupt).await;
    joining.abort();
    shared.fleet.leave().await;
    pulse.abort();
    units.abort();
    foresight.abort();
    // Lets go of a shutdown that it still holds up.
    if let Some(watch) = shutdown {
        watch.abort();
    }
    server.abort();
    if let Some(port) = port {
        port.abort();
    }
    Ok(())
}

/// Feeds the service manager's watchdog for as long as everything lives that the daemon cannot do without, and says
/// once what does not.
async fn watch_over(shared: Arc<Shared>) {
    let wanted = sd_notify::watchdog_enabled().map_or(PULSE, |limit| limit / 3);
    let mut ticks = tokio::time::interval(PULSE.min(wanted.max(Duration::from_millis(100))));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pulse = pulse::Pulse::default();
    let mut is_lean = false;
    for look in 0_u32.. {
        ticks.tick().await;
        let verdict = pulse.look(&shared.signs(), shared.pool.events_busy() > 0);
        for what in &verdict.newly {
            tracing::error!("{what}: the service manager's watchdog is no longer fed");
        }
        for what in &verdict.again {
            tracing::warn!("no longer so: {what}");
        }
        let line = shared.one_line();
        match verdict.stuck.is_empty() {
            true => notify(&[sd_notify::NotifyState::Watchdog, sd_notify::NotifyState::Status(&line)]),
            false => notify(&[sd_notify::NotifyState::Status(&line)]),
        }
        *shared.stuck.lock().unwrap_or_else(PoisonError::into_inner) = verdict.stuck;
        shared.pool.ask_for_signs();
        if look >= LOOKS_OF_START && !is_lean && shared.pool.events_busy() == 0 {
            memory::let_go_of_start(&shared.locked);
            is_lean = true;
        }
    }
}

/// Events in progress are finished first: asked to stop is often the beginning of the very end they
/// prepare for. A second signal cancels them.
async fn drain(
    shared: &Arc<Shared>,
    terminate: &mut tokio::signal::unix::Signal,
    interrupt: &mut tokio::signal::unix::Signal,
) {
    let until_ns = clock::boot_ns() + DRAIN_MAX_NS;
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while shared.pool.events_busy() > 0 && clock::boot_ns() < until_ns {
        tokio::select! {
            _ = look.tick() => notify(&[sd_notify::NotifyState::ExtendTimeoutUsec(5_000_000)]),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    shared.pool.order(Order::ShutDown);
    let until_ns = clock::boot_ns() + STOP_MAX_NS;
    while shared.pool.events_busy() > 0 && clock::boot_ns() < until_ns {
        look.tick().await;
    }
}

fn leave(shared: &Shared, recorder_thread: thread::JoinHandle<()>) {
    shared.sources.stop();
    shared.system.stop();
    shared.plugin_sources.stop();
    for handler in shared.plans.load().handlers() {
        handler.instance.retire();
    }
    crash::end(&shared.loaded.load().config.state_directory);
    shared.recorder.stop();
    recorder_thread.thread().unpark();
    let _ = recorder_thread.join();
    shared.reports.leave();
    shared.apps.leave();
    let _ = std::fs::remove_file(&shared.loaded.load().config.control.socket);
}

/// Tells the service manager; without one there is nobody to tell.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
