//! The machine itself as a source: its thread, the task that follows units, and what the status says of both.
//!
//! Inputs: settings, events of before a restart. Outputs: events by orders, as any normal thread publishes. Must never take the
//! pool's lock, nor keep the daemon from starting: what cannot be watched is said.

use super::daemon::Shared;
use super::seen::Seen;
use crate::config::Config;
use crate::control::wire::SourceStatus;
use crate::dispatch::plan::Plans;
use crate::dispatch::pool::{Order, Pool};
use crate::event::{Event, EventId, Moment};
use crate::source::health::State;
use crate::source::system::alarms::Alarms;
use crate::source::system::units::{UnitState, Units};
use crate::source::system::{self, Desk, SOURCE, Watched};
use crate::source::{Control, Health, Sink};
use crate::sys::clock;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Room for reading `/proc` and messages of netlink; all of it is locked.
const STACK_BYTES: usize = 256 << 10;
/// Pause before the bus is asked again.
const AGAIN: Duration = Duration::from_secs(60);

/// What watches the machine.
#[derive(Default)]
pub(super) struct SystemSources {
    running: Option<Running>,
    /// Of units, which are followed on the control runtime.
    units: Mutex<Option<Alarms>>,
    units_watched: Mutex<String>,
}

struct Running {
    health: Arc<Health>,
    watched: Arc<Watched>,
    control: Arc<Control<()>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Hands events to the clerk.
struct ToClerk {
    pool: Pool,
    plans: Arc<ArcSwap<Plans>>,
}

impl Sink for ToClerk {
    fn publish(&mut self, event: Arc<Event>) {
        let plan = self.plans.load().of(&event.event_type);
        self.pool.order(Order::Publish(event, plan));
    }

    /// Nothing of the machine's moves: what is foretold is foretold once.
    fn moved(&mut self, _id: EventId, _effective: Moment) {}
}

/// Starts watching what the settings want. `seen` are events of before a restart.
///
/// # Errors
/// Text: no descriptor, no thread.
pub(super) fn start(
    config: &Config,
    pool: &Pool,
    plans: &Arc<ArcSwap<Plans>>,
    seen: &[Seen],
) -> Result<SystemSources, String> {
    let settings = &config.sources.system;
    let ours = || seen.iter().map(|(event, _)| event).filter(|event| event.provider == "system");
    let units = (settings.units.enabled && !settings.units.names.is_empty()).then(|| system::alarms(settings, ours()));
    let control = Control::new(()).map_err(|error| format!("cannot make the bell of the machine's thread: {error}"))?;
    let round = system::round(settings, system::alarms(settings, ours()), Arc::clone(&control));
    let running = round.map(|round| {
        let (health, watched) = (Arc::clone(&round.health), Arc::clone(&round.watched));
        let mut sink = ToClerk { pool: pool.clone(), plans: Arc::clone(plans) };
        let thread = thread::Builder::new().name("snooze-system".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || round.run(&mut sink));
        let thread = thread.map_err(|error| format!("cannot start the thread snooze-system: {error}"))?;
        Ok::<_, String>(Running { health, watched, control, thread: Mutex::new(Some(thread)) })
    });
    Ok(SystemSources { running: running.transpose()?, units: Mutex::new(units), units_watched: Mutex::default() })
}

impl SystemSources {
    /// Ends the thread, and waits for it.
    pub(super) fn stop(&self) {
        let Some(running) = &self.running else { return };
        running.control.bell.stop();
        let thread = running.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// What is not seen although it should be.
    pub(super) fn problem(&self) -> Option<String> {
        let report = self.running.as_ref()?.health.report(clock::boot_ns());
        matches!(report.state, State::Blind | State::Partial).then(|| report.to_string())
    }

    pub(super) fn status(&self) -> SourceStatus {
        let units = self.units_watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let units = if units.is_empty() { "none is set".to_owned() } else { units };
        let Some(running) = &self.running else {
            let summary = format!("nothing is watched (sources.system.disk, .memory and so on); units: {units}");
            let (state, name) = ("off".into(), SOURCE.into());
            return SourceStatus { name, state, summary, polls: 0, errors: 0, interval_seconds: 0.0 };
        };
        let report = running.health.report(clock::boot_ns());
        let watched = format!("{}; units: {units}", running.watched.sentence());
        let is_well = matches!(report.state, State::Seeing | State::Starting);
        SourceStatus {
            name: SOURCE.into(),
            state: report.state.as_str().into(),
            summary: if is_well { watched } else { format!("{}; {watched}", report.sees()) },
            polls: report.polls,
            errors: report.errors,
            interval_seconds: running.health.interval_seconds(),
        }
    }

    fn note_units(&self, what: String) {
        let mut known = self.units_watched.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != what {
            tracing::info!("units: {what}");
            *known = what;
        }
    }

    /// The events of how a unit is now.
    fn judge(&self, state: &UnitState) -> Vec<Event> {
        let mut alarms = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(alarms) = alarms.as_mut() else { return Vec::new() };
        let now = clock::now();
        let subject = state.subject();
        let finding = state.judge(alarms.is_open(&subject));
        let mut desk = Desk::over(alarms);
        desk.set(&subject, finding, now);
        let mut events = desk.into_events();
        events.extend(alarms.due(now));
        events
    }
}

/// Follows the units of the settings, for ever; at once over where none is set.
pub(super) async fn watch_units(shared: Arc<Shared>) {
    let names = shared.loaded.load().config.sources.system.units.clone();
    if !names.enabled || names.names.is_empty() {
        return;
    }
    let publish = |state: &UnitState| shared.system.judge(state).into_iter().for_each(|event| shared.publish(event));
    loop {
        let lost = match Units::follow(&names.names).await {
            Ok((mut units, states)) => {
                states.iter().for_each(publish);
                shared.system.note_units(names.names.join(", "));
                while let Some(state) = units.next().await {
                    publish(&state);
                }
                "the system bus is gone".to_owned()
            }
            Err(why) => why,
        };
        shared.system.note_units(format!("not watched: {lost}"));
        tokio::time::sleep(AGAIN).await;
    }
}
