//! A member: what its owner holds, and the task that runs it.
//!
//! Responsibilities: bring inputs to [`Core`] one at a time, do what it says, wake it. Inputs: the owner's calls, what the servers say,
//! time. Outputs: turns, tellings, the status. It must never block the runtime, nor call the owner while it holds the lock of its state.

use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::clock::Boot;
use crate::coordinator::{Coordinator, Failed, Seen, Watch};
use crate::epochs;
use crate::nats::{self, Nats, NatsWatch};
use crate::settings::{Settings, name_problem};
use crate::state::{Core, Effect, Input, present_of};
use crate::told::{Local, Notice, Outcome, Present, Status, Turn};

/// Calls of the owner and ends of effects that wait to be taken.
const MOST_WAITING: usize = 1024;
/// The longest sleep: a machine that was suspended looks at the time again.
const MOST_SLEEP: Duration = Duration::from_secs(5);
/// How long leaving may take.
const LEAVE: Duration = Duration::from_secs(3);

/// Why a member cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The settings, as sentences.
    #[error("the settings of the fleet cannot be used: {}", .0.join("; "))]
    Settings(Vec<String>),
    /// A secret, as a sentence.
    #[error("{0}")]
    Secret(String),
    /// It was not started on a tokio runtime.
    #[error(
        "a member of a fleet needs a tokio runtime with its timer and network enabled to run on, and there is none here"
    )]
    NoRuntime,
    /// The servers do not answer, or refuse; as a sentence.
    #[error("{0}")]
    Servers(String),
}

enum Call {
    Input(Input),
    Turn(Uuid, oneshot::Sender<Turn>),
    Members(oneshot::Sender<Result<Vec<Present>, Error>>),
    Leave(oneshot::Sender<()>),
}

/// This machine as a member of its group. Copies are the same member; it ends, without ceremony, when the last of them is dropped.
#[derive(Clone)]
pub struct Member {
    core: Arc<Mutex<Core>>,
    calls: mpsc::Sender<Call>,
}

impl Member {
    /// Begins to connect and returns at once; that no server answers is no error. Runs on the current tokio runtime, of which it takes no
    /// thread, only now and then one of those for blocking work while it writes its record.
    ///
    /// `name` is used where the settings have no `member`. `state` is a directory that this member alone writes to, made
    /// where it is missing; a file of some kilobytes, `fleet.json`, is kept in it. `local` is told what the group says.
    ///
    /// # Errors
    /// What is wrong with the settings, with a secret's file, or with the place it was called from.
    pub fn start(settings: Settings, name: String, state: PathBuf, local: Arc<dyn Local>) -> Result<Self, Error> {
        let name = settings.member.clone().unwrap_or(name);
        let mut problems = settings.problems();
        problems.extend(name_problem(&name).filter(|_| settings.member.is_none()));
        if !problems.is_empty() {
            return Err(Error::Settings(problems));
        }
        let secret = nats::secret_of(&settings).map_err(Error::Secret)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        // Where it cannot be made, the record cannot be written either, and that is told.
        let _made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&state);
        let (record, broken) = epochs::load(&state, &settings.group);
        let mut core = Core::new(settings.clone(), name.clone(), Uuid::now_v7(), record);
        broken.into_iter().for_each(|why| core.problem(why));
        let core = Arc::new(Mutex::new(core));
        let (calls, heard) = mpsc::channel(MOST_WAITING);
        let complaints = calls.downgrade();
        let connecting = async move {
            nats::connect(&settings, secret, &name, |why| {
                let Some(calls) = complaints.upgrade() else { return };
                // One that is not taken is followed by the same again.
                let _sent = calls.try_send(Call::Input(Input::Seen(Seen::Problem(why))));
            })
            .await
        };
        let driver = Driver { core: core.clone(), local, state, waiting: HashMap::new(), ends: calls.downgrade() };
        runtime.spawn(driver.run(heard, Box::pin(connecting)));
        Ok(Self { core, calls })
    }

    /// Tells the group of an event of this machine. Sent when there is a connection, kept by the servers for a day; the 64 newest wait for
    /// that.
    pub fn publish(&self, notice: Notice) {
        self.call(Call::Input(Input::Publish(notice)));
    }

    /// Has something kept for the group's history ([`Collector`](crate::Collector)); no member hears of it. Otherwise as [`Self::publish`].
    pub fn keep(&self, notice: Notice) {
        self.call(Call::Input(Input::Keep(notice)));
    }

    /// This machine is about to go: tells the group, which makes a plan of it. Given again with another `deadline` it is moved; the same
    /// again changes nothing. After a crash it is to be given again by the process that goes on.
    pub fn leaving(&self, notice: Notice) {
        self.call(Call::Input(Input::Leaving(notice)));
    }

    /// The notice of [`Self::leaving`] was withdrawn. Whoever waits for its turn gets [`Turn::Withdrawn`].
    pub fn stays(&self, event: Uuid) {
        self.call(Call::Input(Input::Stays(event)));
    }

    /// Waits until the local work for a notice that was given to [`Self::leaving`] may begin: no longer than until its latest start,
    /// which is its deadline less one and a half times the length that the work was measured to have, and no longer than a fifth of the
    /// notice or ten seconds for a leader. That it begins is on the disk when this returns. Several may wait for the same.
    pub async fn turn(&self, event: Uuid) -> Turn {
        let (answer, answered) = oneshot::channel();
        let alone = || Turn::Alone { why: "this member does not run any more".to_owned() };
        if self.calls.send(Call::Turn(event, answer)).await.is_err() {
            return alone();
        }
        answered.await.unwrap_or_else(|_| alone())
    }

    /// The local work for a notice, or for a [`Told::Step`](crate::Told::Step), is over. The group is told until the servers have it, also
    /// by a process that is started after a crash.
    pub fn done(&self, event: Uuid, outcome: Outcome) {
        self.call(Call::Input(Input::Done(event, outcome)));
    }

    /// What this member knows. Any thread; takes microseconds.
    #[must_use]
    pub fn status(&self) -> Status {
        locked(&self.core).status(Boot::now())
    }

    /// Who is in the group, as the servers have it.
    ///
    /// # Errors
    /// When they do not answer.
    pub async fn members(&self) -> Result<Vec<Present>, Error> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::Servers("this member does not run any more".to_owned());
        self.calls.send(Call::Members(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Leaves the group: the lease is given back, the group is told, what was sent is brought to the servers. At most three seconds. The
    /// member does nothing any more afterwards.
    pub async fn leave(&self) {
        let (answer, answered) = oneshot::channel();
        if self.calls.send(Call::Leave(answer)).await.is_ok() {
            let _left = tokio::time::timeout(LEAVE, answered).await;
        }
    }

    fn call(&self, call: Call) {
        if let Err(error) = self.calls.try_send(call) {
            let why = match error {
                mpsc::error::TrySendError::Full(_) => "more calls wait than are taken",
                mpsc::error::TrySendError::Closed(_) => "this member does not run any more",
            };
            locked(&self.core).dropped(why);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What runs a member.
struct Driver {
    core: Arc<Mutex<Core>>,
    local: Arc<dyn Local>,
    state: PathBuf,
    waiting: HashMap<Uuid, Vec<oneshot::Sender<Turn>>>,
    /// Where ends of effects go: with the owner's calls, as each further channel is looked at whenever anything comes. Only the owner's
    /// copies keep the member running.
    ends: mpsc::WeakSender<Call>,
}

impl Driver {
    /// Runs until the owner leaves, or has dropped the last copy.
    async fn run(
        mut self,
        mut calls: mpsc::Receiver<Call>,
        mut connecting: std::pin::Pin<Box<impl Future<Output = (Nats, NatsWatch)> + Send>>,
    ) {
        let mut servers: Option<Nats> = None;
        let mut watch: Option<NatsWatch> = None;
        // Set anew only when another moment is slept for: most messages change nothing about it.
        let (mut wake, mut slept_for) = (Boot::NEVER, Boot::NEVER);
        let mut sleep = std::pin::pin!(tokio::time::sleep(MOST_SLEEP));
        let mut effects = Vec::new();
        loop {
            if wake != slept_for || sleep.is_elapsed() {
                slept_for = wake;
                sleep.set(tokio::time::sleep(Boot::now().until(wake).min(MOST_SLEEP)));
            }
            let heard = async {
                match &mut watch {
                    Some(watch) => watch.next().await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                call = calls.recv() => match call {
                    None => return,
                    Some(Call::Input(input)) => input,
                    Some(Call::Turn(event, answer)) => {
                        self.waiting.entry(event).or_default().push(answer);
                        Input::Asked(event)
                    }
                    Some(Call::Members(answer)) => {
                        tell_members(servers.clone(), answer);
                        continue;
                    }
                    Some(Call::Leave(answer)) => return self.leave(servers, answer).await,
                },
                seen = heard => Input::Seen(seen),
                (connected, hears) = &mut connecting, if servers.is_none() => {
                    (servers, watch) = (Some(connected), Some(hears));
                    continue;
                }
                () = &mut sleep => Input::Tick,
            };
            wake = self.handle(input, &mut effects);
            for effect in effects.drain(..) {
                match (effect, &mut watch) {
                    (Effect::Lead(leads), Some(watch)) => {
                        if let Err(error) = watch.lead(leads).await {
                            locked(&self.core).problem(error.to_string());
                        }
                    }
                    (effect, _) => self.perform(effect, servers.as_ref()),
                }
            }
        }
    }

    /// Gives what to do, and when time itself is the next input.
    fn handle(&self, input: Input, effects: &mut Vec<Effect>) -> Boot {
        let mut core = locked(&self.core);
        core.handle(Boot::now(), input, effects);
        core.wake()
    }

    /// Gives back what is held, and closes the connection.
    async fn leave(self, servers: Option<Nats>, answer: oneshot::Sender<()>) {
        let mut effects = Vec::new();
        self.handle(Input::Leave, &mut effects);
        let Some(servers) = servers else {
            let _sent = answer.send(());
            return;
        };
        for effect in effects {
            // What cannot be given back ends by itself: the lease, the presence.
            match effect {
                Effect::ReleaseLease(revision) => drop(servers.release_lease(revision).await),
                Effect::Absent => drop(servers.absent().await),
                Effect::Tell(news) => drop(servers.tell(news).await),
                Effect::Save { bytes, .. } => {
                    let state = self.state.clone();
                    drop(tokio::task::spawn_blocking(move || save(&state, &bytes)).await);
                }
                _ => {}
            }
        }
        servers.close().await;
        let _sent = answer.send(());
    }

    /// Does what takes time beside everything else.
    fn perform<C: Coordinator>(&mut self, effect: Effect, servers: Option<&C>) {
        match effect {
            Effect::Told(told) => self.local.told(told),
            Effect::Turn(event, turn) => {
                for answer in self.waiting.remove(&event).unwrap_or_default() {
                    // Nobody may be waiting any more.
                    let _sent = answer.send(turn.clone());
                }
            }
            Effect::Save { number, bytes } => {
                let (state, ends) = (self.state.clone(), self.ends.clone());
                tokio::spawn(async move {
                    let saving = tokio::task::spawn_blocking(move || save(&state, &bytes)).await;
                    let result = saving.unwrap_or_else(|error| Err(format!("the record was not written: {error}")));
                    give(&ends, Input::Saved(number, result)).await;
                });
            }
            effect => {
                if let Some(servers) = servers {
                    let (servers, ends) = (servers.clone(), self.ends.clone());
                    tokio::spawn(async move {
                        if let Some(input) = call(&servers, effect).await {
                            give(&ends, input).await;
                        }
                    });
                }
            }
        }
    }
}

/// Nobody takes it where the owner is gone.
async fn give(ends: &mpsc::WeakSender<Call>, input: Input) {
    if let Some(ends) = ends.upgrade() {
        let _sent = ends.send(Call::Input(input)).await;
    }
}

fn save(state: &Path, bytes: &[u8]) -> Result<(), String> {
    epochs::save(state, bytes)
}

fn tell_members(servers: Option<Nats>, answer: oneshot::Sender<Result<Vec<Present>, Error>>) {
    tokio::spawn(async move {
        let found = match servers {
            Some(servers) => servers.members().await.map_err(|error| Error::Servers(error.to_string())),
            None => Err(Error::Servers("there is no connection to the servers yet".to_owned())),
        };
        let found = found.map(|found| found.iter().filter_map(present_of).collect());
        // Whoever asked may have gone.
        let _sent = answer.send(found);
    });
}

/// Makes one call; its end is the next input.
async fn call<C: Coordinator>(servers: &C, effect: Effect) -> Option<Input> {
    Some(match effect {
        Effect::Prepare => Input::Ready(servers.prepare().await),
        Effect::Send { kind, event_type, identity, letter } => {
            let result = servers.send(kind, event_type, identity.clone(), letter).await;
            Input::Sent(identity, result)
        }
        Effect::Tell(news) => return told_in_vain(servers.tell(news).await),
        Effect::Missed(after) => Input::Missed(servers.missed(after).await),
        Effect::ReadLease => Input::LeaseRead(servers.lease().await),
        Effect::TakeLease { asked, over, bytes } => Input::LeaseTaken(asked, servers.take_lease(over, bytes).await),
        Effect::RenewLease { asked, from, bytes } => {
            Input::LeaseRenewed(asked, from, servers.renew_lease(from, bytes).await)
        }
        Effect::ReleaseLease(revision) => return told_in_vain(servers.release_lease(revision).await),
        Effect::ReadPlan => Input::PlanRead(servers.plan().await),
        Effect::WritePlan { revision, bytes } => Input::PlanWritten(servers.write_plan(revision, bytes).await),
        Effect::Acknowledge { operation, pass, bytes } => {
            Input::AckKept(operation, pass, servers.acknowledge(operation, pass, bytes).await)
        }
        Effect::ReadAcks { operation, after } => Input::Acks(operation, servers.acks(operation, after).await),
        Effect::Present(bytes) => Input::Presented(servers.present(bytes).await),
        Effect::Absent => return told_in_vain(servers.absent().await),
        Effect::ReadMembers => Input::Members(servers.members().await),
        Effect::Lead(_) | Effect::Save { .. } | Effect::Told(_) | Effect::Turn(..) => return None,
    })
}

/// What need not arrive: it is said again, or ends by itself.
fn told_in_vain(result: Result<(), Failed>) -> Option<Input> {
    if let Err(error) = result {
        tracing::debug!("fleet: {error}");
    }
    None
}
