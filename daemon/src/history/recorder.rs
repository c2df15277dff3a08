//! The normal thread behind the pool: journals notes, logs each outcome once, tells who watches.
//!
//! Inputs: the pool's outbox, the plugins' log ring. Outputs: rows in the store, lines in the log and on
//! the watch stream, the state that the control socket shows. Must never let a secret through: every
//! text is scrubbed here, once, before it goes anywhere.

use super::self_tests::{SelfTestSummary, SelfTests};
use super::store::{EventSummary, NewEvent, Store};
use crate::config::Scrubber;
use crate::dispatch::outbox::{Note, Outbox};
use crate::dispatch::report::{Ended, EventReport, HandlerReport, millis, seconds};
use crate::event::{Event, EventId, Moment};
use crate::log::ring::{Line, LogRing};
use crate::sys::clock;
use arc_swap::ArcSwap;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::broadcast;

/// Lines a slow watcher may fall behind before it loses some.
const WATCH_LINES_MAX: usize = 1024;
/// Longest pause between two looks; notes and lines wake this thread before.
const PAUSE: Duration = Duration::from_secs(10);

/// What the control socket asks of the history.
pub struct Recorder {
    store: Mutex<Store>,
    live: Mutex<HashMap<EventId, Live>>,
    scrubber: ArcSwap<Scrubber>,
    first_start_us: Mutex<Histogram<u64>>,
    self_tests: Mutex<SelfTests>,
    watchers: broadcast::Sender<Arc<str>>,
    counts: Counts,
    stop: AtomicBool,
}

/// Counts since the start.
#[derive(Default)]
pub struct Counts {
    /// Events taken in.
    pub published: AtomicU64,
    /// Events that are over.
    pub completed: AtomicU64,
    /// Events turned away.
    pub refused: AtomicU64,
    /// Notes and lines lost because this thread could not keep up.
    pub dropped: AtomicU64,
    /// Writes to the history that failed.
    pub failed_writes: AtomicU64,
}

struct Live {
    event: Arc<Event>,
    handlers: Vec<HandlerReport>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// A recorder on this store.
    ///
    /// # Errors
    /// None in practice: the histogram's bounds are constants that its library accepts.
    pub fn new(store: Store, scrubber: Scrubber) -> Result<Arc<Self>, hdrhistogram::CreationError> {
        // Three significant digits up to an hour, in microseconds.
        let histogram = Histogram::new_with_max(3_600_000_000, 3)?;
        Ok(Arc::new(Self {
            store: Mutex::new(store),
            live: Mutex::default(),
            scrubber: ArcSwap::from_pointee(scrubber),
            first_start_us: Mutex::new(histogram),
            self_tests: Mutex::default(),
            watchers: broadcast::channel(WATCH_LINES_MAX).0,
            counts: Counts::default(),
            stop: AtomicBool::new(false),
        }))
    }

    /// Knows these secrets, too, from now on. None is forgotten: an instance of the configuration before may still
    /// tell its own.
    pub fn learn(&self, scrubber: &Scrubber) {
        self.scrubber.rcu(|known| known.and(scrubber));
    }

    /// Takes secrets out of a text.
    pub fn scrub(&self, text: &str) -> String {
        self.scrubber.load().scrub(text).into_owned()
    }

    /// Lines as they happen, one JSON object each.
    pub fn watch(&self) -> broadcast::Receiver<Arc<str>> {
        self.watchers.subscribe()
    }

    /// Counts since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Detection to first instruction, microseconds: count, p50, p99 and maximum; None before the first.
    #[allow(clippy::cast_precision_loss, reason = "microseconds for people")]
    pub fn first_start_us(&self) -> Option<(u64, f64, f64, f64)> {
        let h = lock(&self.first_start_us);
        (!h.is_empty()).then(|| {
            let at = |q| h.value_at_quantile(q) as f64;
            (h.len(), at(0.5), at(0.99), h.max() as f64)
        })
    }

    /// What the self-tests of the last hour took.
    pub fn self_tests(&self) -> Option<SelfTestSummary> {
        lock(&self.self_tests).summary(clock::boot_ns())
    }

    /// The newest events.
    ///
    /// # Errors
    /// The store's, as text.
    pub fn events(&self, limit: usize, event_type: Option<&str>) -> Result<Vec<EventSummary>, String> {
        lock(&self.store).events(limit, event_type).map_err(|e| e.to_string())
    }

    /// The report of an event (`last`: of the newest one), as it stands when it is not over yet.
    ///
    /// # Errors
    /// The store's, as text.
    pub fn report(&self, id: &str) -> Result<Option<Value>, String> {
        let running = {
            let live = lock(&self.live);
            let newest = live.values().max_by_key(|l| l.event.detected.boot_ns);
            let chosen = if id == "last" { newest } else { live.values().find(|l| l.event.id.to_string() == id) };
            chosen.map(Live::report)
        };
        if let Some(report) = running {
            return Ok(Some(self.scrubbed(&report)));
        }
        let text = lock(&self.store).report(id).map_err(|e| e.to_string())?;
        text.map(|t| serde_json::from_str(&t).map_err(|e| e.to_string())).transpose()
    }

    /// Reads notes until told to stop, then what is left. Runs on a thread of its own.
    pub fn run(&self, outbox: &Outbox, log: &LogRing) {
        outbox.read_here();
        log.read_here();
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            self.take_all(outbox, log);
            if stopping {
                return;
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// Ends `run` after what is in the box now.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    fn take_all(&self, outbox: &Outbox, log: &LogRing) {
        while let Some(note) = outbox.pop() {
            self.take(note);
        }
        while let Some(line) = log.pop() {
            self.log_line(&line);
        }
        let lost = outbox.take_dropped() + log.take_dropped();
        if lost > 0 {
            self.counts.dropped.fetch_add(lost, Ordering::Relaxed);
            tracing::warn!(lost, "notes and log lines were dropped: they came faster than they could be kept");
        }
    }

    fn take(&self, note: Note) {
        // A self-test leaves nothing behind but its time; the inline one only keeps that way warm.
        if note.event().is_some_and(|event| event.is_self_test()) {
            if let Note::Done(closed) = note
                && let Some(started) = closed.first_start
                && closed.outcomes.iter().all(|outcome| !outcome.handler.inline.is_on())
            {
                lock(&self.self_tests).took(started, started - closed.event.detected.boot_ns);
            }
            return;
        }
        match note {
            Note::Published(event) => self.published(&event),
            Note::Refused(event) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(event = %event.id, r#type = %event.event_type, "event refused: the queue is full");
                let json = event.to_json(event.detected);
                self.keep(
                    |store, text| store.published(&NewEvent { event: &event, state: "refused", json: text }),
                    &json,
                );
                // Whoever waits for its end learns that there is none to wait for.
                self.tell(&json!({
                    "kind": "completed", "event_id": event.id.to_string(), "state": "refused", "duration_ms": 0.0,
                    "left_seconds": event.seconds_left(clock::now()).unwrap_or(0.0),
                }));
            }
            Note::Started(job, at_boot_ns) => {
                let id = job.event.id.to_string();
                self.keep(|store, _| store.started(&id, &job.handler.instance_name), &Value::Null);
                self.tell(&json!({
                    "kind": "started", "event_id": id, "handler": job.handler.name,
                    "instance": job.handler.instance_name, "priority": job.handler.priority,
                    "at_ms": millis(at_boot_ns - job.event.detected.boot_ns), "budget_ms": millis(job.budget_ns),
                    "left_seconds": seconds(end_ns(&job.event, job.due_boot_ns) - at_boot_ns),
                }));
            }
            Note::Ended(event, outcome) => {
                self.ended(event.id, HandlerReport::new(&outcome, event.detected.boot_ns));
            }
            Note::Done(closed) => self.done(&closed.report()),
            Note::Late { instance, text } => tracing::warn!(instance, "{}", self.scrub(&text)),
            Note::Demoted { instance } => {
                tracing::warn!(instance, "burned more CPU than its real-time budget and runs on at normal priority");
            }
            Note::Misbehaves { instance } => {
                tracing::warn!(
                    instance,
                    plugin_misbehaving = true,
                    "promised not to block, but took too long three times: it gets a thread of its own from now on"
                );
            }
        }
    }

    fn published(&self, event: &Arc<Event>) {
        self.counts.published.fetch_add(1, Ordering::Relaxed);
        let json = event.to_json(event.detected);
        self.keep(|store, text| store.published(&NewEvent { event, state: "running", json: text }), &json);
        // The pool tells of the event only after it has given its first handlers out: they may have
        // ended already.
        let mut live = lock(&self.live);
        live.entry(event.id).or_insert_with(|| Live { event: Arc::clone(event), handlers: Vec::new() });
        drop(live);
        let deadline = event.effective.map(Moment::rfc3339).unwrap_or_default();
        tracing::warn!(
            event = %event.id, r#type = %event.event_type, severity = event.severity.as_str(), action = event.action.as_str(),
            deadline, simulated = event.simulated, "event published"
        );
        self.tell(&json!({ "kind": "event", "event": json }));
    }

    fn ended(&self, id: EventId, report: HandlerReport) {
        let id_text = id.to_string();
        let state = serde_json::to_value(report.status).unwrap_or_default();
        let state = state.as_str().unwrap_or_default().to_owned();
        let value = serde_json::to_value(&report).unwrap_or_default();
        self.keep(|store, text| store.ended(&id_text, &report.instance, &state, text), &value);
        let error = report.error.as_deref().map(|e| self.scrub(e));
        let well = matches!(report.status, Ended::Handled | Ended::Declined);
        let fields = (report.duration_ms, report.left_seconds, &value["verified"]);
        if well {
            tracing::info!(
                event = %id, instance = report.instance, status = state, duration_ms = fields.0, left_seconds = fields.1,
                verified = fields.2.as_str(), "handler ended"
            );
        } else {
            tracing::error!(
                event = %id, instance = report.instance, status = state, duration_ms = fields.0, left_seconds = fields.1,
                error = error.as_deref(), "handler ended"
            );
        }
        self.tell(&json!({
            "kind": "finished", "event_id": id_text, "handler": report.handler, "instance": report.instance,
            "priority": report.priority, "status": state, "at_ms": report.start_ms.unwrap_or(0.0) + report.duration_ms,
            "duration_ms": report.duration_ms, "verified": value["verified"], "left_seconds": report.left_seconds,
            "error": error,
        }));
        if let Some(live) = lock(&self.live).get_mut(&id) {
            live.handlers.push(report);
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds, clamped")]
    fn done(&self, report: &EventReport) {
        self.counts.completed.fetch_add(1, Ordering::Relaxed);
        if let Some(us) = report.first_start_us {
            lock(&self.first_start_us).saturating_record(us.max(1.0).round() as u64);
        }
        let value = serde_json::to_value(report).unwrap_or_default();
        self.keep(|store, text| store.done(&report.event_id, &report.state, text, clock::wall_ns()), &value);
        lock(&self.live).retain(|id, _| id.to_string() != report.event_id);
        let failed = report.handlers.iter().filter(|h| !matches!(h.status, Ended::Handled | Ended::Declined)).count();
        tracing::info!(
            event = report.event_id,
            state = report.state,
            handlers = report.handlers.len(),
            failed,
            duration_ms = report.duration_ms,
            left_seconds = report.left_seconds,
            "event over"
        );
        self.tell(&json!({
            "kind": "completed", "event_id": report.event_id, "state": report.state,
            "duration_ms": report.duration_ms, "left_seconds": report.left_seconds,
        }));
    }

    fn log_line(&self, line: &Line) {
        let text = match line.is_cut() {
            true => self.scrubber.load().scrub_cut(line.text()),
            false => self.scrub(line.text()),
        };
        let level = match line.level {
            cloudsnooze_abi::SNOOZE_LOG_ERROR => {
                tracing::error!(instance = line.instance, "{text}");
                "error"
            }
            cloudsnooze_abi::SNOOZE_LOG_WARNING => {
                tracing::warn!(instance = line.instance, "{text}");
                "warning"
            }
            cloudsnooze_abi::SNOOZE_LOG_DEBUG => {
                tracing::debug!(instance = line.instance, "{text}");
                "debug"
            }
            _ => {
                tracing::info!(instance = line.instance, "{text}");
                "info"
            }
        };
        self.tell(&json!({ "kind": "log", "instance": line.instance, "level": level, "message": text }));
    }

    fn keep(&self, write: impl FnOnce(&Store, &str) -> rusqlite::Result<()>, value: &Value) {
        let text = self.scrub(&value.to_string());
        if let Err(error) = write(&lock(&self.store), &text) {
            self.counts.failed_writes.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "the history could not be written; the event goes on without");
        }
    }

    fn tell(&self, line: &Value) {
        if self.watchers.receiver_count() > 0 {
            let _ = self.watchers.send(self.scrub(&line.to_string()).into());
        }
    }

    fn scrubbed(&self, value: &impl serde::Serialize) -> Value {
        let text = serde_json::to_string(value).unwrap_or_default();
        serde_json::from_str(&self.scrub(&text)).unwrap_or_default()
    }
}

impl Live {
    fn report(&self) -> EventReport {
        let now = clock::now();
        let first = self.handlers.iter().filter_map(|h| h.start_ms).reduce(f64::min);
        let due = end_ns(&self.event, now.boot_ns);
        let mut report = EventReport::new(&self.event, "running", self.handlers.clone(), None, due, now);
        report.first_start_us = first.map(|ms| ms * 1_000.0);
        report
    }
}

fn end_ns(event: &Event, due_boot_ns: i64) -> i64 {
    event.effective.map_or(due_boot_ns, |e| e.boot_ns)
}
