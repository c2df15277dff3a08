//! The system is shut down: that, too, is an event, `system.shutdown`.
//!
//! Inputs: logind's announcement, SIGTERM while the system stops. Outputs: the event, a shutdown held up while its handlers
//! run, a line for the status. Runs on the control runtime. Must never hold a shutdown up once the handlers have ended, nor
//! take the restart of this very service for the end of the machine.

use super::daemon::Shared;
use crate::config::OnTerminate;
use crate::control::operator;
use crate::event::{Action, Event, EventId, EventType, Machine, Moment, NoticeKind, Severity};
use crate::source::logind::{self, Hold};
use crate::sys::clock;
use serde_json::Map;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Name of the source in status and events.
pub(super) const SOURCE: &str = "system.logind";
/// Pause before logind is asked again.
const AGAIN: Duration = Duration::from_secs(60);
/// Pause between two looks at an event in progress.
const LOOK: Duration = Duration::from_millis(20);
/// How long an order takes to become an event at most.
const PUBLISHED: Duration = Duration::from_secs(2);
/// How long a cloud is given to say whether the shutdown is its doing.
const LOOKED: Duration = Duration::from_secs(2);

/// What is known of the system's shutdown.
#[derive(Default)]
pub(super) struct OsShutdown {
    /// For how long one would be held up; the reason why it would not.
    held: Mutex<Option<Result<Duration, String>>>,
    /// The event of the shutdown that is under way.
    event: Mutex<Option<Event>>,
}

impl OsShutdown {
    /// State and a sentence, for the status.
    pub(super) fn status(&self) -> (&'static str, String) {
        match &*self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            None => ("off", "the system's shutdown is not watched (sources.system.enabled)".into()),
            Some(Ok(longest)) => (
                "watching",
                format!(
                    "holds a shutdown up for {:.0} s at most (InhibitDelayMaxSec of logind)",
                    longest.as_secs_f64()
                ),
            ),
            Some(Err(why)) => ("off", format!("no shutdown is held up: {why}")),
        }
    }

    fn note(&self, held: Result<Duration, String>) {
        let mut known = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &held {
            Err(why) if known.as_ref().is_none_or(Result::is_ok) => tracing::info!("no shutdown is held up: {why}"),
            Ok(longest) if !matches!(&*known, Some(Ok(_))) => {
                tracing::info!(?longest, "a shutdown is held up for that long");
            }
            _ => {}
        }
        *known = Some(held);
    }
}

/// Holds every shutdown up while the handlers of its event run, for ever.
pub(super) async fn watch(shared: Arc<Shared>) {
    loop {
        match Hold::take().await {
            Ok(hold) => follow(&shared, hold).await,
            Err(why) => shared.os_shutdown.note(Err(why)),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Until the bus is gone.
async fn follow(shared: &Shared, mut hold: Hold) {
    shared.os_shutdown.note(Ok(hold.longest()));
    while let Some(begins) = hold.next().await {
        if begins {
            let began_ns = clock::boot_ns();
            shared.sources.look_at_shutdown();
            let id = publish(shared, hold.longest());
            over(shared, id, hold.longest()).await;
            cloud_is_done(shared, began_ns, hold.longest()).await;
            hold.let_go();
        } else {
            // Called off: what handlers changed is put back, and the next one is held up again.
            withdraw(shared);
            if let Err(why) = hold.renew().await {
                return shared.os_shutdown.note(Err(why));
            }
        }
    }
    shared.os_shutdown.note(Err("the system bus is gone".into()));
}

/// The daemon was told to end. Makes the event of it when that is the system's end, unless it is there already.
pub(super) async fn told_to_end(shared: &Shared) {
    let (on_terminate, seconds) = {
        let loaded = shared.loaded.load();
        let system = &loaded.config.sources.system;
        (system.on_terminate, system.terminate_seconds)
    };
    let began_ns = clock::boot_ns();
    shared.sources.look_at_shutdown();
    let is_known = shared.os_shutdown.event.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    let is_end = match on_terminate {
        _ if is_known => false,
        OnTerminate::Never => false,
        OnTerminate::Always => true,
        OnTerminate::WhenSystemStops => logind::is_system_stopping().await,
    };
    if is_end {
        let time = Duration::from_secs_f64(seconds);
        let id = publish(shared, time);
        over(shared, id, time).await;
    }
    // What the cloud says is an event like any other, and waited for with the others.
    cloud_is_done(shared, began_ns, Duration::ZERO).await;
}

/// Waits until the clouds that may be behind a shutdown that began at `began_ns` (CLOCK_BOOTTIME) have been asked; where
/// one is, until the handlers of its notice have ended, at most for `time`.
async fn cloud_is_done(shared: &Shared, began_ns: i64, time: Duration) {
    loop {
        let gone = Duration::from_nanos(u64::try_from(clock::boot_ns() - began_ns).unwrap_or(0));
        let is_asked = shared.sources.have_looked() || gone >= LOOKED;
        let is_done = !shared.sources.see_a_notice() || shared.pool.events_busy() == 0 || gone >= time;
        if is_asked && is_done {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn publish(shared: &Shared, time: Duration) -> EventId {
    let event = event(clock::now(), time);
    let id = event.id;
    *shared.os_shutdown.event.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
    tracing::warn!(event = %id, "the system is shut down");
    shared.publish(event);
    id
}

fn withdraw(shared: &Shared) {
    let event = shared.os_shutdown.event.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(event) = event {
        shared.publish(operator::withdrawal(&event, clock::now()));
    }
}

fn event(now: Moment, time: Duration) -> Event {
    Event {
        id: EventId::at(now.wall_ns),
        event_type: EventType::SYSTEM_SHUTDOWN,
        source: SOURCE.into(),
        severity: Severity::Urgent,
        detected: now,
        effective: Some(now.plus_ns(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))),
        simulated: false,
        drill: false,
        provider: "system".into(),
        action: Action::Stop,
        notice_kind: NoticeKind::Deadline,
        machine: Arc::new(Machine::default()),
        resources: Vec::new(),
        cancels: None,
        raw: None,
        extra: Map::new(),
    }
}

/// Waits until the handlers of an event have ended and it is written down, at most for `time`.
async fn over(shared: &Shared, id: EventId, time: Duration) {
    let id = id.to_string();
    let state = || shared.recorder.report(&id).ok().flatten().map(|report| report["state"] != "running");
    let began_ns = clock::boot_ns();
    let is_past = |time: Duration| {
        let gone_ns = u64::try_from(clock::boot_ns() - began_ns).unwrap_or(0);
        Duration::from_nanos(gone_ns) >= time
    };
    while !is_past(time) {
        match state() {
            Some(true) => return,
            None if is_past(PUBLISHED) => return,
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}
