//! The running service's state, shared by its sockets and its owner.
//!
//! Responsibilities: keep the cloud's answers, the faults and the request log under one lock; wake those who wait for a
//! request; tell watchers what happens. Inputs: changes, requests. Outputs: plans, replies, log entries. The lock is
//! held only for work in memory; it must never be held across a wait or a write.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::aws::{Aws, Instance, Moment, TokenUse, names_of, page};
use crate::change::{Applied, Change, ChangeError};
use crate::clock::{Clock, boot_ns};
use crate::faults::{FaultId, Faults, Plan};
use crate::http::{Incoming, Reply};

/// The log keeps this many requests, the newest: a drill that polls each second for a day fits.
const LOG_LENGTH: usize = 100_000;

/// The paths whose presence announces something.
const NEWS_PATHS: [&str; 4] = [
    "spot/instance-action",
    "spot/termination-time",
    "events/recommendations/rebalance",
    "autoscaling/target-lifecycle-state",
];

/// Whether a reply of that status to that path announces something.
pub(crate) fn is_news(path: &str, status: u16) -> bool {
    status == 200 && names_of(path).iter().any(|name| NEWS_PATHS.contains(name))
}

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
    /// The status answered; `None` when nothing was (a hang or a reset).
    pub status: Option<u16>,
    /// What its token was worth. The token itself is not kept.
    pub token: TokenUse,
    /// The names of the faults that struck it.
    pub faults: Vec<&'static str>,
}

fn as_text<Output: Serializer>(time: &Timestamp, serializer: Output) -> Result<Output::Ok, Output::Error> {
    serializer.collect_str(time)
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
    aws: Aws,
    faults: Faults,
    log: VecDeque<Request>,
    watchers: Vec<Sender<Activity>>,
    news: NewsWrites,
}

/// The state and what is needed to wait on it.
pub(crate) struct Service {
    state: Mutex<State>,
    logged: Condvar,
    pub(crate) clock: Clock,
    pub(crate) control: bool,
}

impl Service {
    pub(crate) fn new(instance: Instance, tokens_required: bool, control: bool) -> Self {
        let clock = Clock::default();
        let state = State {
            aws: Aws::new(instance, tokens_required, clock.now()),
            faults: Faults::default(),
            log: VecDeque::new(),
            watchers: Vec::new(),
            news: NewsWrites::default(),
        };
        Self { state: Mutex::new(state), logged: Condvar::new(), clock, control }
    }

    /// A thread that panicked while it held the lock left whole values behind: every change is one assignment or one
    /// insertion. So the state stays usable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn apply(&self, change: Change) -> Result<Applied, ChangeError> {
        let now = self.clock.now();
        let shown = change.to_string();
        let mut state = self.lock();
        let applied = match change {
            Change::Fault(fault) => Applied::Fault(state.faults.set(fault)),
            Change::ClearFaults => {
                state.faults.clear_all();
                Applied::Done
            }
            change => {
                state.news = NewsWrites::default();
                state.aws.apply(change, now)?
            }
        };
        state.tell(&Activity::Changed(shown));
        Ok(applied)
    }

    pub(crate) fn clear_fault(&self, id: FaultId) -> bool {
        self.lock().faults.clear(id)
    }

    pub(crate) fn plan(&self, request: &Incoming) -> Plan {
        self.lock().faults.plan(&request.method, &request.path)
    }

    /// Answers a request that is to be answered, and logs it as received at `received`.
    pub(crate) fn answer(&self, request: &Incoming, plan: &Plan, received: (u64, Timestamp)) -> Reply {
        let moment = self.moment(plan);
        let mut state = self.lock();
        let answer = state.aws.answer(request, &moment);
        let mut reply = answer.reply;
        if let Some(status) = plan.status {
            reply = page(status);
        }
        if let Some(location) = &plan.redirect {
            reply = Reply::new(302, "text/plain", "").with_header("Location", location);
        }
        if let Some(garbage) = &plan.garbage {
            reply = Reply::new(200, "text/plain", garbage.clone());
        }
        if let Some(content_type) = &plan.content_type {
            reply.content_type.clone_from(content_type);
        }
        self.log(state, request, Some(reply.status), answer.token, plan, received);
        reply
    }

    /// Logs a request that is never answered.
    pub(crate) fn leave_unanswered(&self, request: &Incoming, plan: &Plan, received: (u64, Timestamp)) {
        let moment = self.moment(plan);
        let mut state = self.lock();
        let token = state.aws.answer(request, &moment).token;
        self.log(state, request, None, token, plan, received);
    }

    fn moment(&self, plan: &Plan) -> Moment {
        Moment {
            boot_ns: self.clock.shifted_boot_ns(),
            now: self.clock.now(),
            drift: plan.drift,
            token_storm: plan.token_storm,
        }
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
        self.logged.notify_all();
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
        self.lock().aws.instance().clone()
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
            .logged
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
    fn tell(&mut self, activity: &Activity) {
        self.watchers.retain(|watcher| watcher.send(activity.clone()).is_ok());
    }
}
