//! What this machine says in its group: its events, when it has to go, when its work is over.
//!
//! Inputs: events as the recorder tells them, questions of handlers. Outputs: calls of the member, turns. Threads: the recorder's, the
//! daemon's main one. Must never wait where the recorder calls, nor tell the group of what the group has told.

use super::departures::Departures;
use super::{SOURCE, events};
use crate::event::fleet::OF_GROUP;
use crate::event::{Action, Event, EventId, EventType, Moment, NoticeKind};
use crate::history::recorder::Follower;
use crate::sys::clock;
use cloudsnooze_fleet::{Member, Notice, Outcome, Status, Turn};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::event::told::Over;

/// Events of this machine that are remembered: those that the group may still ask about.
const EVENTS_MAX: usize = 64;

/// Longest wait for the recorder to tell of an event that a handler asks about.
const RECORDER_WAIT: Duration = Duration::from_secs(1);

/// What the delegate has to know of the daemon.
pub trait Home: Send + Sync + 'static {
    /// Seconds until the cloud acts, to be assumed when a notice names no time.
    fn assumed_seconds(&self, event: &Event) -> f64;
    /// Whether a handler of this event waits for its turn.
    fn has_waiting_handler(&self, event: &Event) -> bool;
    /// Takes secrets out of a text.
    fn scrub(&self, text: &str) -> String;
}

/// Speaks for this machine.
pub struct Delegate {
    home: Box<dyn Home>,
    member: OnceLock<(Member, Handle)>,
    known: Mutex<BTreeMap<EventId, Known>>,
    /// What is to be kept, from before this machine joined its group.
    early: Mutex<Vec<Notice>>,
    /// Something became known.
    news: Notify,
    departures: Departures,
}

/// An event whose end the group may wait for.
#[derive(Clone)]
struct Known {
    event: Arc<Event>,
    /// What the group knows it by: this machine's own notice, or a step that it was given.
    answer: Uuid,
    /// Because of it this machine has to go, as far as it is its own.
    goes: bool,
    /// Since when its work runs; None before its turn.
    since: Option<Since>,
    /// How it ended.
    over: Option<Result<(), String>>,
    /// The group was told.
    is_answered: bool,
}

impl Known {
    /// The group waits for its end.
    fn is_waited_for(&self) -> bool {
        !self.is_answered && (self.goes || self.answer != self.event.id.0)
    }
}

/// Since when work runs.
#[derive(Clone, Copy)]
enum Since {
    /// CLOCK_BOOTTIME, nanoseconds.
    At(i64),
    /// A process before this one began it.
    Before,
}

impl Since {
    /// What it took, seconds; below zero where that is not known.
    fn took(self) -> f64 {
        match self {
            Self::At(began) => Duration::from_nanos(u64::try_from(clock::boot_ns() - began).unwrap_or(0)).as_secs_f64(),
            Self::Before => -1.0,
        }
    }
}

/// Whether the cloud, or the system, ends what runs on this machine: then the group has to know.
fn has_to_go(event: &Event) -> bool {
    let ends = matches!(
        event.action,
        Action::Terminate | Action::Stop | Action::Hibernate | Action::Reboot | Action::Redeploy
    );
    (ends && event.notice_kind == NoticeKind::Deadline) || event.event_type == EventType::SYSTEM_SHUTDOWN
}

impl Delegate {
    /// Nobody's member yet.
    pub fn new(home: Box<dyn Home>) -> Arc<Self> {
        Arc::new(Self {
            home,
            member: OnceLock::new(),
            known: Mutex::default(),
            early: Mutex::default(),
            news: Notify::new(),
            departures: Departures::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<EventId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks for this member from now on, and tells the group first of what happened before. `runtime` is where questions wait.
    pub fn join(self: &Arc<Self>, member: Member, runtime: Handle) {
        if self.member.set((member, runtime)).is_ok() {
            let before: Vec<Known> = self.known().values().filter(|known| known.over.is_none()).cloned().collect();
            before.iter().for_each(|known| self.tell(known));
            let early = std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner));
            early.into_iter().for_each(|notice| self.keep(notice));
        }
    }

    /// Has something kept for the group's history.
    pub fn keep(&self, notice: Notice) {
        // The lock first: whoever joins empties the list after there is a member.
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        match self.member.get() {
            Some((member, _)) => member.keep(notice),
            None if early.len() < EVENTS_MAX => early.push(notice),
            None => {}
        }
    }

    /// Takes secrets out of a text.
    pub fn scrub(&self, text: &str) -> String {
        self.home.scrub(text)
    }

    /// What the cloud announced to those who go.
    pub fn departures(&self) -> &Departures {
        &self.departures
    }

    /// What the group looks like from here; None before this machine has joined it.
    pub fn status(&self) -> Option<Status> {
        self.member.get().map(|(member, _)| member.status())
    }

    /// The member, once there is one.
    pub fn member(&self) -> Option<&Member> {
        self.member.get().map(|(member, _)| member)
    }

    /// Waits until the local work for an event may begin; see [`Member::turn`].
    pub async fn turn(&self, id: EventId) -> Turn {
        let Some((member, _)) = self.member.get() else {
            return Turn::Alone { why: "this machine has not joined its group yet".to_owned() };
        };
        // A handler may ask before the recorder has told of its event.
        if tokio::time::timeout(RECORDER_WAIT, self.until_known(id)).await.is_err() {
            return Turn::Alone { why: "the daemon has not told the group of the event".to_owned() };
        }
        let turn = member.turn(id.0).await;
        let since = match &turn {
            Turn::Go { .. } | Turn::Alone { .. } => Some(Since::At(clock::boot_ns())),
            Turn::Begun { .. } => Some(Since::Before),
            Turn::Withdrawn => None,
        };
        if let Some(known) = self.known().get_mut(&id) {
            known.since = known.since.or(since);
        }
        self.answer(id);
        turn
    }

    async fn until_known(&self, id: EventId) {
        loop {
            let news = self.news.notified();
            if self.known().contains_key(&id) {
                return;
            }
            news.await;
        }
    }

    /// The local work for an event is over; the first word counts.
    pub fn done(&self, id: EventId, result: Result<(), String>) {
        if let Some(known) = self.known().get_mut(&id) {
            known.over.get_or_insert(result);
        }
        self.answer(id);
    }

    /// Tells the group of the end, once it began.
    fn answer(&self, id: EventId) {
        let Some((member, _)) = self.member.get() else { return };
        let mut all = self.known();
        let Some(known) = all.get_mut(&id).filter(|known| !known.is_answered) else { return };
        if let (Some(since), Some(over)) = (known.since, &known.over) {
            known.is_answered = true;
            let (ok, error) = (over.is_ok(), over.as_ref().err().cloned());
            member.done(known.answer, Outcome { ok, seconds: since.took(), error });
        }
    }

    /// Tells the group of an event, once there is a member; again is nothing new.
    fn tell(self: &Arc<Self>, known: &Known) {
        let Some((member, runtime)) = self.member.get() else { return };
        if known.event.source == SOURCE {
            return;
        }
        let notice = self.notice(&known.event);
        if !known.goes {
            return member.publish(notice);
        }
        self.departures.note(notice.event, &notice.details);
        member.leaving(notice);
        if !self.home.has_waiting_handler(&known.event) {
            // Nobody here waits, and the others have to know that this machine acts.
            let (delegate, id) = (Arc::clone(self), known.event.id);
            runtime.spawn(async move { delegate.turn(id).await });
        }
    }

    fn notice(&self, event: &Event) -> Notice {
        let now = clock::now();
        let assumed = Duration::try_from_secs_f64(self.home.assumed_seconds(event)).unwrap_or_default();
        let left = event.seconds_left(now).and_then(|left| Duration::try_from_secs_f64(left).ok()).unwrap_or(assumed);
        let text = self.home.scrub(&event.to_json(now).to_string());
        Notice {
            event: event.id.0,
            event_type: event.event_type.to_string(),
            detected: event.detected.wall_ns,
            deadline: event.effective.map(|moment| moment.wall_ns),
            left,
            details: serde_json::from_str(&text).unwrap_or(Value::Null),
        }
    }

    fn remember(&self, known: Known) {
        let mut all = self.known();
        while all.len() >= EVENTS_MAX {
            // What nobody waits for goes first, the oldest before the others: identities are ordered by time.
            let oldest = all.iter().find(|(_, known)| !known.is_waited_for()).or_else(|| all.iter().next());
            let Some(id) = oldest.map(|(id, _)| *id) else { break };
            all.remove(&id);
        }
        all.insert(known.event.id, known);
    }
}

/// The recorder's way in. It holds the delegate, which has to hand out copies of itself.
pub struct Ear(pub Arc<Delegate>);

impl Follower for Ear {
    fn published(&self, event: &Arc<Event>) {
        let is_own_drill =
            event.drill && event.source != SOURCE && event.extra.get(OF_GROUP) != Some(&Value::Bool(true));
        if event.is_self_test() || is_own_drill {
            return;
        }
        let step = events::answer_of(event);
        if event.source == SOURCE && step.is_none() {
            return;
        }
        if let (Some(withdrawn), Some(member)) = (event.cancels, self.0.member()) {
            member.stays(withdrawn.0);
        }
        let known = Known {
            event: Arc::clone(event),
            answer: step.unwrap_or(event.id.0),
            goes: step.is_none() && event.cancels.is_none() && has_to_go(event),
            // A step has begun when it is told.
            since: step.map(|_| Since::At(clock::boot_ns())),
            over: None,
            is_answered: false,
        };
        // Told first: whoever waits for it to be known asks the member next.
        let was_early = self.0.member.get().is_none();
        self.0.tell(&known);
        self.0.remember(known.clone());
        if was_early {
            // Whoever joined meanwhile may have looked at what is known a moment too soon.
            self.0.tell(&known);
        }
        self.0.news.notify_waiters();
    }

    fn moved(&self, id: EventId, effective: Moment) {
        let moved = self.0.known().get_mut(&id).map(|known| {
            known.event = Arc::new(Event { effective: Some(effective), ..(*known.event).clone() });
            known.clone()
        });
        if let (Some(known), Some(member)) = (moved.filter(|known| known.goes), self.0.member()) {
            member.leaving(self.0.notice(&known.event));
        }
    }

    fn done(&self, _: EventId) {}

    fn over(&self, id: EventId, over: Over) {
        let result = match over {
            Over::Handled => Ok(()),
            Over::Failed => Err("a handler did not do its work; the machine's report says which".to_owned()),
            Over::Withdrawn => Err("it was withdrawn while handlers ran".to_owned()),
            Over::Refused => Err("the daemon did not take the event in".to_owned()),
        };
        self.0.done(id, result);
    }
}
