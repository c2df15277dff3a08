//! The normal thread behind the pool: has notes journalled, logs each outcome once, tells who watches.
//!
//! Inputs: the pool's outbox, the plugins' log ring. Outputs: rows in the store, lines in the log and on
//! the watch stream, the state that the control socket shows. Must never let a secret through: every
//! text is scrubbed here, once, before it goes anywhere.

use super::journal::Journal;
pub use super::journal::Mirror;
use super::keeper::Keeper;
use super::life::Here;
use super::live::{Live, end_ns, forsaken};
use super::self_tests::{SelfTestSummary, SelfTests};
use super::store::{EventSummary, Row, Store};
use super::tallies::Tallies;
use super::watchers::{Happening, Watchers};
use crate::config::{History, Scrubber};
use crate::dispatch::engine::Job;
use crate::dispatch::outbox::{Note, Outbox};
use crate::dispatch::report::{Ended, EventReport, HandlerReport, millis, seconds};
use crate::event::told::Over;
use crate::event::{Event, EventId, Moment};
use crate::host::Instance;
use crate::log_ring::{Line, LogRing};
use crate::sys::beat::Beat;
use crate::sys::clock;
use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::{self, Thread};
use std::time::Duration;
use tokio::sync::broadcast;

/// Longest pause between two looks; notes and lines wake this thread before.
const PAUSE: Duration = Duration::from_secs(10);
/// Pause between two droppings of old events, and between two steps of one, nanoseconds.
const DROP_PAUSE_NS: i64 = 1_000_000_000;
const DROP_STEP_NS: i64 = 50_000_000;
/// Moved deadlines that wait for this thread; a cloud moves one now and then. Beside the outbox: a flood there must not cost
/// one, and it has to come after what its event's own lane still holds.
const MOVES_MAX: usize = 64;
/// The pause while there is something that could not be written down.
const RETRY: Duration = Duration::from_secs(1);

/// What the control socket asks of the history.
pub struct Recorder {
    journal: Journal,
    keeper: Keeper,
    live: Mutex<HashMap<EventId, Live>>,
    scrubber: ArcSwap<Scrubber>,
    first_start_us: Mutex<Histogram<u64>>,
    self_tests: Mutex<SelfTests>,
    tallies: Mutex<Tallies>,
    watchers: Watchers,
    counts: Counts,
    stop: AtomicBool,
    disk_refuses: AtomicBool,
    beat: Beat,
    keep: ArcSwap<History>,
    /// When old events are dropped next, CLOCK_BOOTTIME nanoseconds.
    drop_boot_ns: AtomicI64,
    followers: RwLock<Vec<Arc<dyn Follower>>>,
    receiver: OnceLock<Arc<dyn Receiver>>,
    moves: ArrayQueue<(EventId, Moment)>,
    reader: OnceLock<Thread>,
}

/// Who is told what becomes of events, on the recorder's thread. Must not wait for long.
pub trait Follower: Send + Sync {
    /// An event was taken in, or taken up again after a restart; a withdrawal names what it withdraws.
    fn published(&self, event: &Arc<Event>);
    /// The cloud moved the deadline of an event.
    fn moved(&self, id: EventId, effective: Moment);
    /// The handlers of an event have ended.
    fn done(&self, id: EventId);
    /// How an event ended that is over, or was not taken in; after `done`.
    fn over(&self, _id: EventId, _over: Over) {}
}

/// Who gets the report of each event that is over, on the recorder's thread. Must not wait.
pub trait Receiver: Send + Sync {
    /// An event is over; its report is JSON without secrets.
    fn over(&self, event_id: &str, report: &str);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// A recorder on this store.
    ///
    /// # Errors
    /// None in practice: the histogram's bounds are constants that its library accepts.
    pub fn new(store: Store, scrubber: Scrubber, keep: History) -> Result<Arc<Self>, hdrhistogram::CreationError> {
        // Three significant digits up to an hour, in microseconds.
        let histogram = Histogram::new_with_max(3_600_000_000, 3)?;
        Ok(Arc::new(Self {
            journal: Journal::new(store),
            keeper: Keeper::default(),
            live: Mutex::default(),
            scrubber: ArcSwap::from_pointee(scrubber),
            first_start_us: Mutex::new(histogram),
            self_tests: Mutex::default(),
            tallies: Mutex::default(),
            watchers: Watchers::default(),
            counts: Counts::default(),
            stop: AtomicBool::new(false),
            disk_refuses: AtomicBool::new(false),
            beat: Beat::default(),
            keep: ArcSwap::from_pointee(keep),
            drop_boot_ns: AtomicI64::new(0),
            followers: RwLock::default(),
            receiver: OnceLock::new(),
            moves: ArrayQueue::new(MOVES_MAX),
            reader: OnceLock::new(),
        }))
    }

    /// Has `follower` told, too, from now on.
    pub fn tell_to(&self, follower: Arc<dyn Follower>) {
        self.followers.write().unwrap_or_else(PoisonError::into_inner).push(follower);
    }

    /// Has `mirror` hear of every row that is to be written down, from now on. Only the first counts.
    pub fn copy_to(&self, mirror: Arc<dyn Mirror>) {
        self.journal.tell_to(mirror);
    }

    /// Has `receiver` get reports from now on. Only the first counts.
    pub fn deliver_to(&self, receiver: Arc<dyn Receiver>) {
        let _ = self.receiver.set(receiver);
    }

    /// The cloud moved the deadline of an event. For real-time threads too: waits for nothing.
    pub fn moved(&self, id: EventId, effective: Moment) {
        // Should a cloud move more than there is room for, the oldest is what nobody needs any more.
        let _ = self.moves.force_push((id, effective));
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
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
    pub fn watch(&self) -> broadcast::Receiver<Arc<Happening>> {
        self.watchers.follow()
    }

    /// Whether everything that was told is written down.
    pub fn is_caught_up(&self) -> bool {
        self.journal.is_empty()
    }

    /// Whether the disk refused the last thing that was to be written down.
    pub fn disk_refuses(&self) -> bool {
        self.disk_refuses.load(Ordering::Relaxed)
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

    /// What came of calls and events since the start.
    pub fn tallies(&self) -> MutexGuard<'_, Tallies> {
        lock(&self.tallies)
    }

    /// Rows that are still to be written down.
    pub fn rows_waiting(&self) -> usize {
        self.journal.rows_waiting()
    }

    /// The newest events.
    ///
    /// # Errors
    /// The store's, as text.
    pub fn events(&self, limit: usize, event_type: Option<&str>) -> Result<Vec<EventSummary>, String> {
        self.journal.events(limit, event_type)
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
            chosen.map(Live::as_json)
        };
        if let Some(report) = running {
            return Ok(Some(self.scrubbed(&report)));
        }
        let text = self.journal.report(id)?;
        text.map(|t| serde_json::from_str(&t).map_err(|e| e.to_string())).transpose()
    }

    /// Reads notes until told to stop, then what is left. Runs on a thread of its own.
    pub fn run(&self, outbox: &Outbox, log: &LogRing) {
        outbox.read_here();
        log.read_here();
        let _ = self.reader.set(thread::current());
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            self.take_all(outbox, log);
            if stopping {
                self.look_at_life(true);
                self.write_down();
                return;
            }
            thread::park_timeout(if self.journal.is_empty() { PAUSE } else { RETRY });
        }
    }

    /// Keeps so much of past events from now on.
    pub fn keep_history(&self, keep: History) {
        self.keep.store(Arc::new(keep));
        self.drop_boot_ns.store(0, Ordering::Relaxed);
    }

    /// For how long the thread of `run` has owed a sign of life, nanoseconds; 0: it owes none.
    pub fn owed_ns(&self, now_boot_ns: i64) -> i64 {
        self.beat.owed_ns(now_boot_ns)
    }

    /// Says which machine this is: its life is kept from now on. Only the first word counts.
    pub fn found_machine(&self, here: Here) {
        self.keeper.found(here);
    }

    fn look_at_life(&self, is_last: bool) {
        if let Err(error) = self.keeper.look(&self.journal, clock::now(), is_last) {
            tracing::warn!(error, "the history does not tell what it knows of this machine's life");
        }
    }

    /// Gives the sign of life, and drops some old events when it is time to.
    fn lives(&self) {
        let now = clock::boot_ns();
        self.beat.give_and_promise(now.saturating_add(i64::try_from(PAUSE.as_nanos()).unwrap_or(i64::MAX)));
        if now < self.drop_boot_ns.load(Ordering::Relaxed) || self.disk_refuses() {
            return;
        }
        let has_more = self.journal.drop_some(&self.keep.load()).unwrap_or_else(|error| {
            self.counts.failed_writes.fetch_add(1, Ordering::Relaxed);
            tracing::error!(error, "old events could not be dropped from the history");
            false
        });
        let pause = if has_more { DROP_STEP_NS } else { DROP_PAUSE_NS };
        self.drop_boot_ns.store(clock::boot_ns().saturating_add(pause), Ordering::Relaxed);
    }

    /// Ends `run` after what is in the box now.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    fn take_all(&self, outbox: &Outbox, log: &LogRing) {
        while let Some(note) = outbox.pop() {
            self.take(note);
            if self.journal.is_due() {
                self.write_down();
                self.lives();
            }
        }
        while let Some((id, effective)) = self.moves.pop() {
            self.follow(|follower| follower.moved(id, effective));
        }
        self.look_at_life(false);
        self.write_down();
        self.lives();
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
                let json = self.scrub(&event.to_json(event.detected).to_string());
                self.journal.note(Row::Published { event: Arc::clone(&event), state: "refused", json });
                self.follow(|follower| follower.over(event.id, Over::Refused));
                // Whoever waits for its end learns that there is none to wait for.
                self.tell(&json!({
                    "kind": "completed", "event_id": event.id.to_string(), "state": "refused", "duration_ms": 0.0,
                    "left_seconds": event.seconds_left(clock::now()).unwrap_or(0.0),
                }));
            }
            Note::Resumed(event) => self.resumed(&event),
            Note::Again(job, attempt) => self.begun(&job, attempt),
            Note::Started(job, at_boot_ns) => {
                let id = job.event.id.to_string();
                self.begun(&job, job.attempts_before + 1);
                let told = json!({
                    "kind": "started", "event_id": id, "handler": job.handler.name,
                    "instance": job.handler.instance_name, "priority": job.handler.priority,
                    "at_ms": millis(at_boot_ns - job.event.detected.boot_ns), "budget_ms": millis(job.budget_ns),
                    "left_seconds": seconds(end_ns(&job.event, job.due_boot_ns) - at_boot_ns),
                });
                // It may come before the note of its event.
                let mut live = lock(&self.live);
                let own = live.entry(job.event.id).or_insert_with(|| Live::new(&job.event));
                own.begun(&job.handler.instance_name, &told);
                drop(live);
                self.tell(&told);
            }
            Note::Ended(event, outcome) => {
                self.ended(event.id, HandlerReport::new(&outcome, event.detected.boot_ns));
            }
            Note::Done(closed) => self.done(closed.event.id, closed.report()),
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

    fn follow(&self, tell: impl Fn(&dyn Follower)) {
        for follower in &*self.followers.read().unwrap_or_else(PoisonError::into_inner) {
            tell(&**follower);
        }
    }

    fn published(&self, event: &Arc<Event>) {
        self.counts.published.fetch_add(1, Ordering::Relaxed);
        self.follow(|follower| follower.published(event));
        let json = event.to_json(event.detected);
        let text = self.scrub(&json.to_string());
        self.journal.note(Row::Published { event: Arc::clone(event), state: "running", json: text });
        self.keeper.told(&self.journal, event, clock::now());
        // The pool tells of the event only after it has given its first handlers out: they may have
        // ended already.
        let mut live = lock(&self.live);
        live.entry(event.id).or_insert_with(|| Live::new(event));
        let forsaken = forsaken(&mut live);
        drop(live);
        if let Some(report) = forsaken {
            self.over(&report);
        }
        let deadline = event.effective.map(Moment::rfc3339).unwrap_or_default();
        tracing::warn!(
            event = %event.id, r#type = %event.event_type, severity = event.severity.as_str(), action = event.action.as_str(),
            deadline, simulated = event.simulated, "event published: {} ({})", event.event_type, event.action.as_str()
        );
        self.tell(&json!({ "kind": "event", "event": json }));
    }

    /// An event of an earlier process is to be taken up again, of which these handlers had ended. To be called before
    /// the pool is told.
    pub fn remember(&self, event: &Arc<Event>, handlers: Vec<HandlerReport>) {
        let earlier = handlers.len();
        lock(&self.live).insert(event.id, Live { handlers, earlier, ..Live::new(event) });
    }

    /// Writes down that an event of an earlier process is over without anything more being done for it.
    pub fn close(&self, report: &EventReport) {
        self.over(report);
        self.write_down();
    }

    /// Writes down how a handler of an earlier process ended.
    pub fn close_handler(&self, event_id: &str, report: &HandlerReport) {
        let (_, row) = self.row_of_handler(event_id, report);
        self.journal.note(row);
        self.write_down();
    }

    fn resumed(&self, event: &Arc<Event>) {
        self.counts.published.fetch_add(1, Ordering::Relaxed);
        self.follow(|follower| follower.published(event));
        let done = lock(&self.live).get(&event.id).map_or(0, |live| live.earlier);
        tracing::warn!(event = %event.id, r#type = %event.event_type, done, "event taken up again");
        self.tell(&json!({ "kind": "event", "event": event.to_json(clock::now()), "resumed": true }));
    }

    fn begun(&self, job: &Job<Arc<Instance>>, attempt: u32) {
        let (event_id, instance) = (job.event.id.to_string(), job.handler.instance_name.clone());
        self.journal.note(Row::Started { event_id, instance, attempt });
    }

    fn row_of_handler(&self, event_id: &str, report: &HandlerReport) -> (Value, Row) {
        let value = serde_json::to_value(report).unwrap_or_default();
        let row = Row::Ended {
            event_id: event_id.to_owned(),
            instance: report.instance.clone(),
            state: value["status"].as_str().unwrap_or_default().to_owned(),
            report: self.scrub(&value.to_string()),
        };
        (value, row)
    }

    /// An event is over: its report is delivered, and noted for the next commit.
    fn over(&self, report: &EventReport) {
        let text = self.scrub(&serde_json::to_string(report).unwrap_or_default());
        let (event_id, state) = (report.event_id.clone(), report.state.clone());
        // Before the commit: the machine may be about to end.
        if let Some(receiver) = self.receiver.get() {
            receiver.over(&event_id, &text);
        }
        self.journal.note(Row::Done { event_id, state, report: text });
    }

    fn ended(&self, id: EventId, report: HandlerReport) {
        lock(&self.tallies).ended(&report);
        let id_text = id.to_string();
        let (value, row) = self.row_of_handler(&id_text, &report);
        self.journal.note(row);
        let state = value["status"].as_str().unwrap_or_default();
        let error = report.error.as_deref().map(|e| self.scrub(e));
        let well = matches!(report.status, Ended::Handled | Ended::Declined);
        let fields = (report.duration_ms, report.left_seconds, &value["verified"]);
        if well {
            tracing::info!(
                event = %id, instance = report.instance, status = state, duration_ms = fields.0, left_seconds = fields.1,
                verified = fields.2.as_str(), "handler ended: {} {state}", report.instance
            );
        } else {
            tracing::error!(
                event = %id, instance = report.instance, status = state, duration_ms = fields.0, left_seconds = fields.1,
                "handler ended: {} {state}: {}", report.instance, error.as_deref().unwrap_or("no reason given")
            );
        }
        self.tell(&json!({
            "kind": "finished", "event_id": id_text, "handler": report.handler, "instance": report.instance,
            "priority": report.priority, "status": state, "at_ms": report.start_ms.unwrap_or(0.0) + report.duration_ms,
            "duration_ms": report.duration_ms, "verified": value["verified"], "left_seconds": report.left_seconds,
            "error": error,
        }));
        if let Some(live) = lock(&self.live).get_mut(&id) {
            live.ended(report);
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds, clamped")]
    fn done(&self, id: EventId, mut report: EventReport) {
        self.counts.completed.fetch_add(1, Ordering::Relaxed);
        self.follow(|follower| follower.done(id));
        let mut live = lock(&self.live);
        let known = live.get_mut(&id);
        let earlier = known.as_ref().map_or(0, |live| live.earlier);
        if let Some(us) = report.first_start_us.filter(|_| earlier == 0) {
            lock(&self.first_start_us).saturating_record(us.max(1.0).round() as u64);
        }
        if let Some(live) = known {
            report.handlers.splice(0..0, live.handlers.drain(..earlier));
            live.over = Some(report.clone());
        }
        drop(live);
        lock(&self.tallies).over(&report);
        self.over(&report);
        self.follow(|follower| follower.over(id, report.outcome()));
        let failed = report.handlers.iter().filter(|h| !matches!(h.status, Ended::Handled | Ended::Declined)).count();
        tracing::info!(
            event = report.event_id,
            state = report.state,
            handlers = report.handlers.len(),
            failed,
            duration_ms = report.duration_ms,
            left_seconds = report.left_seconds,
            "event over: {failed} of {} handlers failed",
            report.handlers.len()
        );
        self.journal.then_tell(json!({
            "kind": "completed", "event_id": report.event_id, "state": report.state,
            "duration_ms": report.duration_ms, "left_seconds": report.left_seconds,
        }));
    }

    /// Has everything noted written down in one commit. What cannot be is kept for another time: the event goes on.
    fn write_down(&self) {
        let told = self.journal.write_down();
        let failed_before = self.disk_refuses.swap(told.error.is_some(), Ordering::Relaxed);
        if let Some(error) = told.error {
            self.counts.failed_writes.fetch_add(1, Ordering::Relaxed);
            if !failed_before {
                tracing::error!(
                    error,
                    waiting = told.waiting,
                    "the history cannot be written; the events go on without"
                );
            }
        } else if failed_before {
            tracing::warn!("the history is written again, with what had to wait");
        }
        // Whoever hears of the end finds the report: written down, or, should the disk refuse it, still in here.
        for line in told.lines {
            self.tell(&line);
        }
        if told.waiting == 0 {
            lock(&self.live).retain(|_, live| live.over.is_none());
        }
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

    fn tell(&self, line: &Value) {
        let kind = line["kind"].as_str().unwrap_or_default();
        self.watchers.tell(kind, || self.scrub(&line.to_string()));
    }

    fn scrubbed(&self, value: &impl serde::Serialize) -> Value {
        let text = serde_json::to_string(value).unwrap_or_default();
        serde_json::from_str(&self.scrub(&text)).unwrap_or_default()
    }
}
