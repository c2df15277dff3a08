//! Who is registered, whom a notice was sent to, and who has answered.
//!
//! Inputs: registrations, answers, deliveries, moved and withdrawn notices, the time. Outputs: lines into the queues of
//! connections, results. Decides without input or output: what does not fit into a connection's queue ends the connection.
//! Threads: the socket's own, the recorder, the control socket. Must never wait for an application.

use super::notices::Notice;
use super::wire::{AppStatus, Told, line};
use crate::event::{EventType, Moment, Pattern};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};

/// Notices that are remembered: of one application, for its answers and for withdrawals; of all, for who comes late.
const NOTICES_MAX: usize = 16;
/// Applications listed one by one in a result; the host takes 64 KiB.
const ROWS_MAX: usize = 128;

/// The way to one connection: lines that wait to be written, and the bell that ends it.
#[derive(Clone)]
pub struct Line {
    /// Lines on their way; full means that the other side does not read.
    pub queue: mpsc::Sender<Arc<str>>,
    /// Ends the connection.
    pub cut: Arc<Notify>,
}

impl Line {
    fn tell(&self, text: Arc<str>) {
        if self.queue.try_send(text).is_err() {
            self.cut.notify_one();
        }
    }
}

/// Who connected, as the kernel says, and as what it registers.
pub struct Applicant {
    /// As it calls itself.
    pub name: String,
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// What it wants.
    pub events: Vec<Pattern>,
    /// Seconds it needs at most.
    pub needs_seconds: Option<f64>,
}

/// What became of a notice in one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Waiting,
    Ready,
    Failed,
    Cancelled,
    Silent,
    Gone,
}

impl Answer {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Silent => "silent",
            Self::Gone => "gone",
        }
    }
}

struct App {
    who: Applicant,
    line: Line,
    since: Moment,
    /// Event ids with what it said, the newest last.
    told: VecDeque<(String, Answer, Value)>,
}

impl App {
    fn wants(&self, event_type: &EventType) -> bool {
        self.who.events.iter().any(|pattern| pattern.matches(event_type))
    }

    /// Sends it a notice, to be answered within this time.
    fn send(&mut self, notice: &Notice, answer_within_ns: i64) {
        let mut told = json!(notice);
        told["answer_within"] = json!(seconds(answer_within_ns));
        self.line.tell(line("notice", &told).into());
        self.told.retain(|(known, ..)| *known != notice.id);
        if self.told.len() == NOTICES_MAX {
            self.told.pop_front();
        }
        self.told.push_back((notice.id.clone(), Answer::Waiting, Value::Null));
    }
}

/// A notice whose delivery is over, while it stands: for who registers late. Nobody waits for an answer any more.
struct Past {
    notice: Notice,
    event_type: EventType,
    effective: Moment,
}

/// One delivery of the handler, in progress.
struct Call {
    notice: Notice,
    event_type: EventType,
    effective: Option<Moment>,
    begun: Moment,
    end_ns: i64,
    waits: BTreeMap<u64, Wait>,
    is_stopped: bool,
    changed: Arc<Notify>,
}

struct Wait {
    name: String,
    pid: i32,
    uid: u32,
    due_ns: i64,
    answer: Answer,
    ended_ns: i64,
    detail: Value,
}

impl Wait {
    fn is_open(&self, now_ns: i64) -> bool {
        self.answer == Answer::Waiting && now_ns < self.due_ns
    }
}

/// How a delivery stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nobody is waited for any more.
    Over,
    /// Somebody is, at least until this CLOCK_BOOTTIME nanosecond.
    Until(i64),
}

type IsWaitedFor = Box<dyn Fn(&[Pattern]) -> bool + Send + Sync>;

/// All of them.
pub struct Registry {
    state: Mutex<State>,
    is_waited_for: IsWaitedFor,
}

#[derive(Default)]
struct State {
    apps: BTreeMap<u64, App>,
    calls: BTreeMap<u64, Call>,
    past: VecDeque<Past>,
    numbers: u64,
}

#[allow(clippy::cast_possible_truncation, reason = "`as` saturates, and a day is far below")]
fn nanoseconds(seconds: f64) -> i64 {
    (seconds.max(0.0) * 1e9) as i64
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds for people")]
fn seconds(ns: i64) -> f64 {
    (ns.max(0) / 1_000_000) as f64 / 1_000.0
}

impl Registry {
    /// Nobody is registered. `is_waited_for` says whether a handler is configured for any of these patterns.
    pub fn new(is_waited_for: IsWaitedFor) -> Self {
        Self { state: Mutex::default(), is_waited_for }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an application in, greets it, and sends it what others are being told or have been told. Gives its number.
    pub fn register(&self, who: Applicant, wire: Line, now: Moment) -> u64 {
        let is_waited_for = (self.is_waited_for)(&who.events);
        let mut state = self.lock();
        state.numbers += 1;
        let id = state.numbers;
        let events: Vec<&str> = who.events.iter().map(Pattern::as_str).collect();
        let mut welcome = json!({
            "id": id, "name": who.name, "events": events, "needs_seconds": who.needs_seconds, "is_waited_for": is_waited_for,
        });
        if !is_waited_for {
            welcome["warning"] = "no handler notify-apps is configured for these events: nothing will be sent".into();
        }
        wire.tell(line("registered", &welcome).into());
        state.apps.insert(id, App { who, line: wire, since: now, told: VecDeque::new() });
        let State { apps, calls, past, .. } = &mut *state;
        past.retain(|past| past.effective.boot_ns > now.boot_ns);
        if let Some(app) = apps.get_mut(&id) {
            calls.values_mut().for_each(|call| call.ask(id, app, now));
            for past in past.iter() {
                if app.wants(&past.event_type) && !app.told.iter().any(|(known, ..)| *known == past.notice.id) {
                    app.send(&past.notice.clone().at(Some(past.effective), now), 0);
                }
            }
        }
        id
    }

    /// The connection of an application has ended.
    pub fn gone(&self, id: u64, now: Moment) {
        let mut state = self.lock();
        state.apps.remove(&id);
        state.calls.values_mut().for_each(|call| call.ended(id, Answer::Gone, Value::Null, now));
    }

    /// An application has answered.
    ///
    /// # Errors
    /// It was not asked.
    pub fn answered(&self, id: u64, event: &str, is_ready: bool, detail: Value, now: Moment) -> Result<(), String> {
        let mut state = self.lock();
        let State { apps, calls, .. } = &mut *state;
        let told = apps.get_mut(&id).and_then(|app| app.told.iter_mut().find(|(known, ..)| known == event));
        let Some(told) = told else { return Err("no notice with this id was sent to this application".into()) };
        if matches!(told.1, Answer::Waiting | Answer::Cancelled) {
            let answer = if is_ready { Answer::Ready } else { Answer::Failed };
            (told.1, told.2) = (answer, detail.clone());
            let same = calls.values_mut().filter(|call| call.notice.id == event);
            same.for_each(|call| call.ended(id, answer, detail.clone(), now));
        }
        Ok(())
    }

    /// An application needs longer than it said. Gives the line to answer with: what it got, within the time of the call.
    pub fn more_time(&self, id: u64, event: &str, wanted_seconds: f64, now: Moment) -> String {
        let mut state = self.lock();
        let mut granted = (0, 0);
        for call in state.calls.values_mut().filter(|call| call.notice.id == event && !call.is_stopped) {
            let end_ns = call.end_ns;
            if let Some(wait) = call.waits.get_mut(&id).filter(|wait| wait.answer == Answer::Waiting) {
                let due_ns = wait.due_ns.max(now.boot_ns);
                wait.due_ns = due_ns.saturating_add(nanoseconds(wanted_seconds)).min(end_ns).max(due_ns);
                granted = (wait.due_ns - due_ns, wait.due_ns - now.boot_ns);
                call.changed.notify_one();
            }
        }
        let (more, left) = granted;
        line("granted", &json!({ "id": event, "seconds": seconds(more), "answer_within": seconds(left) }))
    }

    /// The cloud moved the deadline: whoever knows the notice learns it.
    pub fn moved(&self, event: &str, effective: Moment, now: Moment) {
        let mut state = self.lock();
        for call in state.calls.values_mut().filter(|call| call.notice.id == event) {
            call.effective = Some(effective);
        }
        for past in state.past.iter_mut().filter(|past| past.notice.id == event) {
            past.effective = effective;
        }
        let left = seconds(effective.boot_ns.saturating_sub(now.boot_ns));
        let epoch = super::notices::epoch(effective.wall_ns);
        let moved =
            json!({ "id": event, "deadline": effective.rfc3339(), "deadline_epoch": epoch, "seconds_left": left });
        let text: Arc<str> = line("moved", &moved).into();
        for app in state.apps.values().filter(|app| app.told.iter().any(|(known, ..)| known == event)) {
            app.line.tell(Arc::clone(&text));
        }
    }

    /// The cloud withdrew the notice, by an event of this type: whoever knows the notice learns it.
    pub fn withdrawn(&self, event: &str, withdrawal: &str) {
        let event_type = withdrawal.strip_suffix(".cancelled").unwrap_or(withdrawal);
        let text: Arc<str> = line("cancelled", &json!({ "id": event, "type": event_type })).into();
        let mut state = self.lock();
        state.past.retain(|past| past.notice.id != event);
        // What is over then is not kept for late ones.
        state.calls.values_mut().filter(|call| call.notice.id == event).for_each(|call| call.effective = None);
        for app in state.apps.values_mut() {
            let told = app.told.iter_mut().find(|(known, answer, _)| known == event && *answer != Answer::Cancelled);
            if let Some(told) = told {
                told.1 = Answer::Cancelled;
                app.line.tell(Arc::clone(&text));
            }
        }
    }

    /// Sends a notice to all who want it. Gives the delivery's number and the bell that rings when something changes.
    ///
    /// # Errors
    /// The notice is none.
    pub fn deliver(&self, notice: Notice, time_seconds: f64, now: Moment) -> Result<(u64, Arc<Notify>), String> {
        let event_type = EventType::parse(&notice.event_type).map_err(|_| "the notice has no event type".to_owned())?;
        if !notice.is_sane() || !time_seconds.is_finite() {
            return Err("the notice is none".into());
        }
        let changed = Arc::new(Notify::new());
        let mut call = Call {
            effective: notice.effective(now),
            notice,
            event_type,
            begun: now,
            end_ns: now.boot_ns.saturating_add(nanoseconds(time_seconds)),
            waits: BTreeMap::new(),
            is_stopped: false,
            changed: Arc::clone(&changed),
        };
        let mut state = self.lock();
        state.apps.iter_mut().for_each(|(id, app)| call.ask(*id, app, now));
        state.numbers += 1;
        let number = state.numbers;
        state.calls.insert(number, call);
        Ok((number, changed))
    }

    /// Whether a delivery still waits for somebody.
    pub fn look(&self, call: u64, now_ns: i64) -> Look {
        let state = self.lock();
        let Some(call) = state.calls.get(&call) else { return Look::Over };
        let open = call.waits.values().filter(|wait| wait.is_open(now_ns));
        match open.map(|wait| wait.due_ns).min() {
            Some(due_ns) if !call.is_stopped && now_ns < call.end_ns => Look::Until(due_ns.min(call.end_ns)),
            _ => Look::Over,
        }
    }

    /// The handler's call was cancelled.
    pub fn stop(&self, call: u64) {
        if let Some(call) = self.lock().calls.get_mut(&call) {
            call.is_stopped = true;
            call.changed.notify_one();
        }
    }

    /// Ends a delivery. Gives what each application answered.
    pub fn finish(&self, call: u64, now: Moment) -> Value {
        let mut state = self.lock();
        let Some(call) = state.calls.remove(&call) else { return Value::Null };
        state.past.retain(|past| past.notice.id != call.notice.id && past.effective.boot_ns > now.boot_ns);
        if let Some(effective) = call.effective {
            if state.past.len() == NOTICES_MAX {
                state.past.pop_front();
            }
            let (notice, event_type) = (call.notice.clone(), call.event_type.clone());
            state.past.push_back(Past { notice, event_type, effective });
        }
        drop(state);
        call.result(now)
    }

    /// Who is registered, in the order in which they came.
    pub fn list(&self) -> Vec<AppStatus> {
        let state = self.lock();
        let status = |(id, app): (&u64, &App)| AppStatus {
            id: *id,
            name: app.who.name.clone(),
            pid: app.who.pid,
            uid: app.who.uid,
            events: app.who.events.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            needs_seconds: app.who.needs_seconds,
            since: app.since.rfc3339(),
            is_waited_for: (self.is_waited_for)(&app.who.events),
            notices: app
                .told
                .iter()
                .map(|(id, answer, _)| Told { id: id.clone(), answer: answer.as_str().into() })
                .collect(),
        };
        state.apps.iter().map(status).collect()
    }
}

impl Call {
    /// Sends the notice to an application that wants it, unless it has it already, and waits for the answer.
    fn ask(&mut self, id: u64, app: &mut App, now: Moment) {
        if self.is_stopped || !app.wants(&self.event_type) {
            return;
        }
        let due_ns = match app.who.needs_seconds {
            Some(needs) => now.boot_ns.saturating_add(nanoseconds(needs)).min(self.end_ns),
            None => self.end_ns,
        };
        let known = app.told.iter().find(|(known, answer, _)| *known == self.notice.id && *answer != Answer::Cancelled);
        let (answer, detail) = match known {
            // The handler is called again for the same event, after a crash of the daemon's, say.
            Some((_, answer, detail)) => (*answer, detail.clone()),
            None => {
                app.send(&self.notice.clone().at(self.effective, now), due_ns - now.boot_ns);
                (Answer::Waiting, Value::Null)
            }
        };
        let (name, pid, uid) = (app.who.name.clone(), app.who.pid, app.who.uid);
        self.waits.insert(id, Wait { name, pid, uid, due_ns, answer, ended_ns: now.boot_ns, detail });
    }

    /// One application is not waited for any more. What came too late for its own time still counts while others take theirs.
    fn ended(&mut self, id: u64, answer: Answer, detail: Value, now: Moment) {
        if let Some(wait) = self.waits.get_mut(&id).filter(|wait| wait.answer == Answer::Waiting) {
            (wait.answer, wait.detail, wait.ended_ns) = (answer, detail, now.boot_ns);
            self.changed.notify_one();
        }
    }

    fn result(mut self, now: Moment) -> Value {
        for wait in self.waits.values_mut().filter(|wait| wait.answer == Answer::Waiting) {
            let answer = if self.is_stopped && now.boot_ns < wait.due_ns { Answer::Cancelled } else { Answer::Silent };
            (wait.answer, wait.ended_ns) = (answer, now.boot_ns.min(wait.due_ns));
        }
        let count = |answer: Answer| self.waits.values().filter(|wait| wait.answer == answer).count();
        let kinds = [Answer::Ready, Answer::Failed, Answer::Silent, Answer::Gone, Answer::Cancelled];
        let (told, ready) = (self.waits.len(), count(Answer::Ready));
        let mut result = json!({ "told": told, "all_ready": ready == told });
        for kind in kinds {
            result[kind.as_str()] = json!(count(kind));
        }
        // Those who are not ready first: they must not be what is left out.
        let mut rows: Vec<&Wait> = self.waits.values().collect();
        rows.sort_by_key(|wait| wait.answer == Answer::Ready);
        if rows.len() > ROWS_MAX {
            result["not_listed"] = json!(rows.len() - ROWS_MAX);
        }
        let begun_ns = self.begun.boot_ns;
        let row = |wait: &&Wait| {
            json!({
                "name": wait.name, "pid": wait.pid, "uid": wait.uid, "answer": wait.answer.as_str(),
                "seconds": seconds(wait.ended_ns - begun_ns), "detail": wait.detail,
            })
        };
        result["applications"] = rows.iter().take(ROWS_MAX).map(row).collect();
        result
    }
}

#[cfg(test)]
mod tests;
