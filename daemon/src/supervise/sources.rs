//! The sources' threads: each real-time, on its own, feeding the pool.
//!
//! Inputs: the configuration, what was seen before a restart. Outputs: a running source and its handle.
//! Must never run a source on a thread that anything else needs.

use crate::config::Config;
use crate::dispatch::plan::{Plan, Plans};
use crate::dispatch::pool::Pool;
use crate::event::{Event, EventId, EventType, Moment};
use crate::history::recorder::Recorder;
use crate::host::probe;
use crate::log::ring::LogRing;
use crate::normalise::NoticeKey;
use crate::normalise::revise::Reviser;
use crate::source::aws::{self, AwsConfig, AwsIntervals, AwsSource, Told};
use crate::source::{Control, Health, Sink};
use crate::sys::clock;
use arc_swap::{ArcSwap, Cache};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How long a completed notice is remembered across a restart, nanoseconds: a day.
pub(super) const REMEMBER_NS: i64 = 86_400 * 1_000_000_000;

/// The running sources.
pub(super) struct Sources {
    /// Health of the AWS source; None when it is off.
    pub(super) aws: Option<Arc<Health>>,
    control: Arc<Control<AwsIntervals>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Sources {
    /// Other intervals from now on.
    pub(super) fn set_intervals(&self, config: &Config) {
        self.control.set(intervals(config));
    }

    /// Ends the sources, also in the middle of a request, and waits for them.
    pub(super) fn stop(&self) {
        self.control.bell.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Publishes what a source finds: the plan is ready, the pool takes it at once.
pub(super) struct ToPool {
    pool: Pool,
    recorder: Arc<Recorder>,
    plans: Cache<Arc<ArcSwap<Plans>>, Arc<Plans>>,
    self_tests: [Arc<Plan>; 2],
}

impl ToPool {
    /// A way to the pool for one source.
    ///
    /// # Errors
    /// Text: the self-test cannot be made.
    pub(super) fn new(
        (pool, recorder): (&Pool, &Arc<Recorder>),
        plans: &Arc<ArcSwap<Plans>>,
        log: &Arc<LogRing>,
    ) -> Result<Self, String> {
        let probe = probe::instance(log).map_err(|e| format!("cannot make the self-test: {e}"))?;
        let self_tests = Plan::self_tests(&probe);
        Ok(Self {
            pool: pool.clone(),
            recorder: Arc::clone(recorder),
            plans: Cache::new(Arc::clone(plans)),
            self_tests,
        })
    }

    /// Makes the calling thread one that may publish.
    pub(super) fn join(&self) {
        self.pool.join_publishers();
    }
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

/// How often each path is read: the setting of its event type, else that of the source.
pub(super) fn intervals(config: &Config) -> AwsIntervals {
    let aws = &config.sources.aws;
    let of = |t: EventType, otherwise: f64| config.polling_interval_seconds(&t).unwrap_or(otherwise);
    AwsIntervals {
        spot_interval_seconds: of(EventType::SPOT_INTERRUPT, aws.polling_interval_seconds),
        rebalance_interval_seconds: of(EventType::SPOT_REBALANCE, aws.polling_interval_seconds),
        maintenance_interval_seconds: of(EventType::MAINTENANCE_REBOOT, aws.maintenance_interval_seconds),
        autoscaling_interval_seconds: of(EventType::AUTOSCALING_TERMINATE, aws.polling_interval_seconds),
        hurried_interval_seconds: aws.hurried_interval_seconds,
    }
}

/// Starts the sources that are on. `seen` are events of before a restart, as JSON, and whether they were withdrawn.
///
/// # Errors
/// Text: an endpoint that cannot be used, a thread that does not start.
pub(super) fn start(
    config: &Config,
    (pool, recorder): (&Pool, &Arc<Recorder>),
    plans: &Arc<ArcSwap<Plans>>,
    log: &Arc<LogRing>,
    seen: &[(String, bool)],
) -> Result<Sources, String> {
    let intervals = intervals(config);
    let control = Control::new(intervals).map_err(|e| format!("cannot make the source's bell: {e}"))?;
    if config.sources.aws.enabled == Some(false) {
        return Ok(Sources { aws: None, control, thread: Mutex::default() });
    }
    let settings = AwsConfig {
        endpoint: config.sources.aws.endpoint.clone(),
        allow_imds_v1: config.sources.aws.allow_imds_v1,
        request_timeout_ms: config.sources.aws.request_timeout_ms.into(),
        intervals,
        self_test: config.dispatch.self_test,
    };
    let source = AwsSource::new(&settings, remembering(seen), Arc::clone(&control));
    let source = source.map_err(|e| format!("sources.aws.endpoint: {e}"))?;
    let health = AwsSource::health();
    let mut sink = ToPool::new((pool, recorder), plans, log)?;
    let (seen_by, log) = (Arc::clone(&health), Arc::clone(log));
    health.lives_until(clock::boot_ns());
    let body = move || {
        sink.join();
        source.run(&mut sink, Told { health: &seen_by, log: &log });
    };
    let thread = thread::Builder::new().name("snooze-aws".into()).spawn(body);
    let thread = thread.map_err(|e| format!("cannot start the source's thread: {e}"))?;
    Ok(Sources { aws: Some(health), control, thread: Mutex::new(Some(thread)) })
}

/// A restart must not run a completed event again: the notice still stands in the metadata.
fn remembering(seen: &[(String, bool)]) -> Reviser {
    let mut reviser = Reviser::new(aws::SOURCE);
    let now = clock::now();
    let read = |(text, is_withdrawn): &(String, bool)| {
        Some((Event::from_json(&serde_json::from_str(text).ok()?, now)?, *is_withdrawn))
    };
    let events: Vec<(Event, bool)> = seen.iter().filter_map(read).filter(|(e, _)| e.source == aws::SOURCE).collect();
    // One that was over when its withdrawal came is withdrawn all the same: that was told, too.
    let withdrawn: HashSet<EventId> = events.iter().filter_map(|(event, _)| event.cancels).collect();
    for (event, is_withdrawn) in events.iter().filter(|(event, _)| !event.event_type.is_cancelled()) {
        let is_withdrawn = *is_withdrawn || withdrawn.contains(&event.id);
        reviser.seed(NoticeKey::of(event), event.id, event.effective, is_withdrawn);
    }
    reviser
}
