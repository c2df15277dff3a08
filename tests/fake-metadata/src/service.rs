//! The running service's state, shared by its sockets and its owner.
//!
//! Responsibilities: keep the cloud's answers, the faults, the request log and the times of changes under one lock; wake
//! those who wait for a request or a change; tell watchers what happens. Inputs: changes, requests. Outputs: plans, replies,
//! log entries. The lock is held only for work in memory; it must never be held across a wait or a write.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::change::{Applied, Change, ChangeError};
use crate::clock::{Clock, boot_ns, monotonic_ns};
use crate::cloud::{Answer, Cloud, Hold, Moment, Outcome, Provider, play};
use crate::faults::{FaultId, Faults, Plan};
use crate::http::{Incoming, Reply};
use crate::instance::Instance;
use crate::settings::Settings;
use crate::token::TokenUse;

/// The log keeps this many requests, the newest: a drill that polls each second for a day fits.
const LOG_LENGTH: usize = 100_000;
/// So many changes are kept with their times, the newest.
const CHANGES_LENGTH: usize = 10_000;

/// One request the service received.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// When it had been read, in nanoseconds on CLOCK_BOOTTIME.
    pub boot_ns: u64,
    /// The same moment on the service's own wall clock.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    /// `GET`, `PUT`…
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, as sent; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// The status answered; `None` when nothing was (a hang, a reset, a client that left while it waited for a change).
    pub status: Option<u16>,
    /// What its token was worth. The token itself is not kept.
    pub token: TokenUse,
    /// The names of the faults that struck it.
    pub faults: Vec<&'static str>,
}

fn as_text<Output: Serializer>(time: &Timestamp, serializer: Output) -> Result<Output::Ok, Output::Error> {
    serializer.collect_str(time)
}

/// A change that took effect, with the moment from which on every answer shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// The moment, in nanoseconds on CLOCK_BOOTTIME.
    pub boot_ns: u64,
    /// The same moment, in nanoseconds on CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// The same moment on the service's own wall clock.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    /// The change's name and main setting, as [`Activity::Changed`] shows it.
    pub change: String,
    /// The id of the event it announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// Something that happened while the service ran.
#[derive(Clone, Debug)]
pub enum Activity {
    /// A request was received.
    Request(Request),
    /// A change took effect, by script, control request or the owner; shown as its name and main setting.
    Changed(String),
    /// A step of the script could not be applied; shown with the reason.
    Failed(String),
}

/// Boot-time stamps of the replies that carried news since the last change to it.
#[derive(Clone, Copy, Debug, Default)]
struct NewsWrites {
    first_ns: Option<u64>,
    last_ns: Option<u64>,
}

struct State {
    cloud: Box<dyn Cloud>,
    settings: Settings,
    /// Off, the service forbids everything.
    enabled: bool,
    faults: Faults,
    log: VecDeque<Request>,
    watchers: Vec<Sender<Activity>>,
    news: NewsWrites,
    changes: VecDeque<Changed>,
    /// How many requests hang until something changes.
    held: usize,
}

/// What a service is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) provider: Provider,
    pub(crate) instance: Instance,
    pub(crate) settings: Settings,
    pub(crate) tokens_required: bool,
    pub(crate) control: bool,
}

/// What to do about a request.
pub(crate) enum Verdict {
    /// Answer it; the flag says that the reply announces something.
    Reply(Reply, bool),
    /// Let it wait.
    Hold(Hold),
    /// End its connection without a reply.
    Cut,
}

/// The state and what is needed to wait on it.
pub(crate) struct Service {
    state: Mutex<State>,
    /// A request was logged, or began to hang.
    arrived: Condvar,
    /// Counts changes, for requests that wait for one.
    changed: watch::Sender<u64>,
    pub(crate) provider: Provider,
    pub(crate) server: Option<&'static str>,
    pub(crate) clock: Clock,
    pub(crate) control: bool,
}

impl Service {
    pub(crate) fn new(setup: Setup) -> Self {
        let clock = Clock::default();
        let cloud = play(setup.provider, setup.instance, setup.tokens_required, clock.now());
        let server = cloud.server();
        let state = State {
            cloud,
            settings: setup.settings,
            enabled: true,
            faults: Faults::default(),
            log: VecDeque::new(),
            watchers: Vec::new(),
            news: NewsWrites::default(),
            changes: VecDeque::new(),
            held: 0,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            changed: watch::Sender::new(0),
            provider: setup.provider,
            server,
            clock,
            control: setup.control,
        }
    }

    /// A thread that panicked while it held the lock left whole values behind: every change is one assignment or one
    /// insertion. So the state stays usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn apply(&self, change: Change) -> Result<Applied, ChangeError> {
        if let Some(error) = change.misfit(self.provider) {
            return Err(error);
        }
        let shown = change.to_string();
        let mut state = self.lock();
        let applied = state.apply(change, &self.clock)?;
        let event_id = match &applied {
            Applied::Event(event_id) => Some(event_id.clone()),
            Applied::Done | Applied::Fault(_) => None,
        };
        if state.changes.len() == CHANGES_LENGTH {
            state.changes.pop_front();
        }
        // Nobody can read the new state before the lock is released, which follows at once.
        let (boot_ns, monotonic_ns) = (boot_ns(), monotonic_ns());
        let changed = Changed { boot_ns, monotonic_ns, time: self.clock.now(), change: shown.clone(), event_id };
        state.changes.push_back(changed);
        state.tell(&Activity::Changed(shown));
        drop(state);
        self.changed.send_modify(|count| *count += 1);
        Ok(applied)
    }

    /// The changes so far with their times, oldest first.
    pub(crate) fn changes(&self) -> Vec<Changed> {
        self.lock().changes.iter().cloned().collect()
    }

    /// Tells when something changes from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn clear_fault(&self, id: FaultId) -> bool {
        self.lock().faults.clear(id)
    }

    pub(crate) fn plan(&self, request: &Incoming) -> Plan {
        self.lock().faults.plan(&request.method, &request.path)
    }

    /// Says what becomes of a request, and logs it as received at `received` once that is settled. `held` is what it was
    /// told to wait for the last time: it counts as hanging from the first time to the moment at which it is settled.
    pub(crate) fn answer(
        &self,
        request: &Incoming,
        plan: &Plan,
        received: (u64, Timestamp),
        held: Option<&Hold>,
    ) -> Verdict {
        let mut state = self.lock();
        let answer = state.answer(request, plan, &self.clock, held);
        let overridden = state.overridden(plan);
        let hangs = overridden.is_none() && matches!(answer.outcome, Outcome::Hold(_));
        match (held.is_some(), hangs) {
            (false, true) => {
                state.held += 1;
                self.arrived.notify_all();
            }
            (true, false) => state.held = state.held.saturating_sub(1),
            _ => {}
        }
        let (mut reply, news) = match (overridden, answer.outcome) {
            (Some(reply), _) => (reply, false),
            (None, Outcome::Reply(reply)) => (reply, answer.news),
            (None, Outcome::Hold(hold)) => return Verdict::Hold(hold),
            (None, Outcome::Cut) => {
                self.log(state, request, None, answer.token, plan, received);
                return Verdict::Cut;
            }
        };
        if let Some(content_type) = &plan.content_type {
            reply.content_type.clone_from(content_type);
        }
        self.log(state, request, Some(reply.status), answer.token, plan, received);
        Verdict::Reply(reply, news)
    }

    /// Logs a request that is never answered. What the cloud would have said of its token is logged too.
    pub(crate) fn leave_unanswered(&self, request: &Incoming, plan: &Plan, received: (u64, Timestamp)) {
        let mut state = self.lock();
        let token = state.answer(request, plan, &self.clock, None).token;
        self.log(state, request, None, token, plan, received);
    }

    /// Logs a request whose client left, or whose time ended, while it waited for a change.
    pub(crate) fn leave_held(&self, request: &Incoming, plan: &Plan, received: (u64, Timestamp)) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(1);
        self.log(state, request, None, TokenUse::None, plan, received);
    }

    /// Waits until `count` requests hang, at most for `timeout`; whether they do.
    pub(crate) fn wait_for_held(&self, count: usize, timeout: Duration) -> bool {
        let (state, _) = self
            .arrived
            .wait_timeout_while(self.lock(), timeout, |state| state.held < count)
            .unwrap_or_else(PoisonError::into_inner);
        state.held >= count
    }

    /// The page of an error status, as the provider makes it.
    pub(crate) fn refusal(&self, status: u16) -> Reply {
        self.lock().cloud.refusal(status)
    }

    /// Logged before the reply is written, so that a client that has its reply finds its request in the log.
    fn log(
        &self,
        mut state: MutexGuard<'_, State>,
        request: &Incoming,
        status: Option<u16>,
        token: TokenUse,
        plan: &Plan,
        (boot_ns, time): (u64, Timestamp),
    ) {
        let entry = Request {
            boot_ns,
            time,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            status,
            token,
            faults: plan.faults.clone(),
        };
        if state.log.len() == LOG_LENGTH {
            state.log.pop_front();
        }
        state.tell(&Activity::Request(entry.clone()));
        state.log.push_back(entry);
        drop(state);
        self.arrived.notify_all();
    }

    /// To be called just before a reply with news is written.
    pub(crate) fn about_to_write_news(&self) {
        let mut state = self.lock();
        let now_ns = boot_ns();
        state.news.first_ns.get_or_insert(now_ns);
        state.news.last_ns = Some(now_ns);
    }

    /// When the first and the last reply with news since the latest change were written.
    pub(crate) fn news_writes(&self) -> (Option<u64>, Option<u64>) {
        let news = self.lock().news;
        (news.first_ns, news.last_ns)
    }

    pub(crate) fn instance(&self) -> Instance {
        self.lock().cloud.instance().clone()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().log.iter().cloned().collect()
    }

    /// Waits until `count` logged requests are `wanted`, at most for `timeout`; the requests that are, or nothing.
    pub(crate) fn wait_for(
        &self,
        count: usize,
        timeout: Duration,
        wanted: impl Fn(&Request) -> bool,
    ) -> Option<Vec<Request>> {
        let enough = |state: &State| state.log.iter().filter(|request| wanted(request)).count() >= count;
        let (state, _) = self
            .arrived
            .wait_timeout_while(self.lock(), timeout, |state| !enough(state))
            .unwrap_or_else(PoisonError::into_inner);
        enough(&state).then(|| state.log.iter().filter(|request| wanted(request)).cloned().collect())
    }

    /// From now on, everything that happens is sent there too.
    pub(crate) fn watch(&self) -> Receiver<Activity> {
        let (sender, receiver) = channel();
        self.lock().watchers.push(sender);
        receiver
    }

    pub(crate) fn tell(&self, activity: &Activity) {
        self.lock().tell(activity);
    }
}

impl State {
    fn apply(&mut self, change: Change, clock: &Clock) -> Result<Applied, ChangeError> {
        match change {
            Change::Fault(fault) => return Ok(Applied::Fault(self.faults.set(fault))),
            Change::ClearFaults => {
                self.faults.clear_all();
                return Ok(Applied::Done);
            }
            Change::AdvanceClock { by } => {
                clock.advance(by);
                return Ok(Applied::Done);
            }
            _ => {}
        }
        self.news = NewsWrites::default();
        match change {
            Change::Endpoint { enabled } => self.enabled = enabled,
            Change::Settings(patch) => self.settings = patch.over(&self.settings),
            change => {
                let moment = moment(&self.settings, clock, &Plan::default(), None);
                return self.cloud.apply(change, &moment);
            }
        }
        Ok(Applied::Done)
    }

    fn answer(&mut self, request: &Incoming, plan: &Plan, clock: &Clock, held: Option<&Hold>) -> Answer {
        let moment = moment(&self.settings, clock, plan, held);
        let answer = self.cloud.answer(request, &moment);
        if self.enabled {
            return answer;
        }
        Answer { outcome: Outcome::Reply(self.cloud.off()), news: false, ..answer }
    }

    /// What faults have sent instead of the cloud's answer.
    fn overridden(&self, plan: &Plan) -> Option<Reply> {
        if let Some(garbage) = &plan.garbage {
            return Some(Reply::new(200, "text/plain", garbage.clone()));
        }
        if let Some(location) = &plan.redirect {
            return Some(Reply::new(302, "text/plain", "").with_header("Location", location));
        }
        plan.status.map(|status| self.cloud.refusal(status))
    }

    fn tell(&mut self, activity: &Activity) {
        self.watchers.retain(|watcher| watcher.send(activity.clone()).is_ok());
    }
}

fn moment<'a>(settings: &'a Settings, clock: &Clock, plan: &Plan, held: Option<&'a Hold>) -> Moment<'a> {
    Moment {
        boot_ns: clock.shifted_boot_ns(),
        now: clock.now(),
        settings,
        drift: plan.drift,
        token_storm: plan.token_storm,
        held,
    }
}
