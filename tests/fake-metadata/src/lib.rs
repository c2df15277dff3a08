//! A faithful stand-in for a cloud's instance metadata service, for tests and drills.
//!
//! Responsibilities: play the metadata service of one instance on a TCP port, byte for byte where the real one was
//! documented or recorded; change while it runs; go wrong in the ways the real one does. Inputs: [`Options`],
//! [`Change`]s, scripts, HTTP requests. Outputs: HTTP replies, a log of the requests, the times of the changes. It plays
//! AWS, Azure, GCP, Alibaba and Tencent. It must never reach the network itself, hand out a credential that opens anything,
//! or log a token.
//!
//! ```
//! use fake_metadata::{Action, FakeMetadata, Options};
//!
//! let fake = FakeMetadata::start(Options::default())?;
//! fake.notice(Action::Terminate, std::time::Duration::from_secs(120));
//! // A client of the metadata service is pointed at fake.base_url() and finds the notice.
//! # assert!(fake.base_url().starts_with("http://127.0.0.1:"));
//! # Ok::<(), fake_metadata::StartError>(())
//! ```
//!
//! Another cloud is `Options::of(Provider::Azure)`; the modules `azure`, `gcp`, `alibaba` and `tencent` begin with how a test
//! drives each. What happens is the same everywhere: a [`Change`] is applied by a method, a control request or a step of a
//! script; a [`Fault`] breaks replies; [`FakeMetadata::changes`] tells when each change became visible.

mod alibaba;
mod aws;
mod azure;
mod change;
pub mod cli;
mod clock;
mod cloud;
mod control;
mod faults;
mod gcp;
mod http;
mod imdsd;
mod instance;
pub mod scenario;
mod script;
mod server;
mod service;
mod settings;
mod spot_time;
mod tencent;
mod token;
mod tree;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub use change::{
    AZURE_EVENT_TYPES, Action, Applied, Body, Change, ChangeError, GCP_MAINTENANCE_EVENTS, LIFECYCLE_STATES,
    MAINTENANCE_CODES, Maintenance, Upcoming, When, maintenance_codes,
};
pub use cloud::Provider;
pub use faults::{Effect, Fault, FaultId, GARBAGE};
pub use imdsd::{Behaviour, Call, Imdsd};
pub use instance::{Instance, LIFE_CYCLES};
pub use script::{Script, ScriptError, Step};
use server::Server;
pub use service::{Activity, Changed, Request};
use service::{Service, Setup};
pub use settings::{AzureSettings, GcpSettings, NoUpcoming, Settings, SettingsPatch, UpcomingForm};
pub use token::{MAX_TTL_SECONDS, TokenUse};

/// How to start the service.
#[derive(Debug)]
pub struct Options {
    /// Where to listen. Port 0, the default, takes a free one of 127.0.0.1.
    pub listen: SocketAddr,
    /// Whose service to play. Default: AWS.
    pub provider: Provider,
    /// The instance to play.
    pub instance: Instance,
    /// How the service behaves where the real ones differ.
    pub settings: Settings,
    /// Whether requests without a token are refused (`HttpTokens` required, the default) or served (optional).
    pub tokens_required: bool,
    /// Whether `/_control/` is served. Default: yes.
    pub control: bool,
    /// What happens by itself, counted from the start. Default: nothing.
    pub steps: Vec<Step>,
}

impl Default for Options {
    fn default() -> Self {
        Self::of(Provider::Aws)
    }
}

impl Options {
    /// The default options for that provider: a spot instance of its own, tokens where images of these years require them.
    pub fn of(provider: Provider) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            provider,
            instance: Instance::of(provider),
            settings: Settings::default(),
            tokens_required: provider.requires_tokens(),
            control: true,
            steps: Vec::new(),
        }
    }

    /// The default options with a script's provider, instance, settings and steps.
    pub fn from_script(script: Script) -> Self {
        let Script { about: _, provider, instance, settings, steps } = script;
        Self { instance, settings, steps, ..Self::of(provider) }
    }
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The service's thread cannot be started.
    #[error("cannot start the service's thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// A running fake metadata service. Dropping it closes its port and all its connections.
///
/// All methods may be called from any thread, and none of them waits for the network.
pub struct FakeMetadata {
    service: Arc<Service>,
    address: SocketAddr,
    started_boot_ns: u64,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for FakeMetadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FakeMetadata").field("address", &self.address).finish_non_exhaustive()
    }
}

impl FakeMetadata {
    /// Starts the service on a thread of its own. When this returns, the port accepts connections.
    ///
    /// # Errors
    /// [`StartError`] when the address is taken or not allowed, or when no thread can be made.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let (listen, steps, setup) = taken_apart(options);
        Self::serve(Arc::new(Service::new(setup)), listen, steps)
    }

    /// Starts the service and sends everything that happens, from the first step on, to the receiver returned with it.
    /// The channel has no bound: read it or drop it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_watched(options: Options) -> Result<(Self, Receiver<Activity>), StartError> {
        let (listen, steps, setup) = taken_apart(options);
        let service = Arc::new(Service::new(setup));
        let activity = service.watch();
        Ok((Self::serve(service, listen, steps)?, activity))
    }

    fn serve(service: Arc<Service>, listen: SocketAddr, steps: Vec<Step>) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: listen, source };
        let started_boot_ns = clock::boot_ns();
        let server = Server::bind(listen).map_err(failed)?;
        let address = server.address().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&service);
        let thread = std::thread::Builder::new()
            .name("fake-metadata".to_owned())
            .spawn(move || server.serve(serving, steps, stopped))
            .map_err(StartError::Thread)?;
        Ok(Self { service, address, started_boot_ns, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client puts before `/latest/…`: `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Applies any change.
    ///
    /// # Errors
    /// [`ChangeError`] when it names a scheduled event that does not exist, or announces one twice.
    pub fn apply(&self, change: Change) -> Result<Applied, ChangeError> {
        self.service.apply(change)
    }

    /// Applies a change that cannot fail: those which name no scheduled event.
    fn set(&self, change: Change) {
        let _applied = self.service.apply(change);
    }

    /// Puts a spot notice up: `action` will happen at `time` (a `Timestamp`, or a `Duration` from now).
    pub fn notice(&self, action: Action, time: impl Into<When>) {
        self.set(Change::Notice { action, time: time.into() });
    }

    /// Takes the spot notice down, with anything [`Self::termination_time`] set.
    pub fn withdraw(&self) {
        self.set(Change::Withdraw);
    }

    /// Puts a rebalance recommendation up, emitted now.
    pub fn rebalance(&self) {
        self.set(Change::Rebalance { time: When::In(jiff::SignedDuration::ZERO) });
    }

    /// Takes the rebalance recommendation down, which the real service never does.
    pub fn clear_rebalance(&self) {
        self.set(Change::ClearRebalance);
    }

    /// Announces a scheduled event and returns its id.
    ///
    /// # Errors
    /// [`ChangeError::DuplicateEvent`] when an event of that id is already scheduled.
    pub fn maintenance(&self, event: Maintenance) -> Result<String, ChangeError> {
        match self.service.apply(Change::Maintenance(event))? {
            Applied::Event(event_id) => Ok(event_id),
            Applied::Done | Applied::Fault(_) => Ok(String::new()),
        }
    }

    /// Has a scheduled event begin: Azure shows it as Started; on GCP a migration goes on, with 503 for everything.
    ///
    /// # Errors
    /// [`ChangeError::UnknownEvent`] when no such event is scheduled.
    pub fn start_maintenance(&self, event_id: &str) -> Result<(), ChangeError> {
        self.service.apply(Change::StartMaintenance { event_id: event_id.to_owned() }).map(drop)
    }

    /// Puts a scheduled event to another time.
    ///
    /// # Errors
    /// [`ChangeError::UnknownEvent`] when no such event is scheduled.
    pub fn move_maintenance(&self, event_id: &str, time: impl Into<When>) -> Result<(), ChangeError> {
        let change = Change::MoveMaintenance { event_id: event_id.to_owned(), time: time.into() };
        self.service.apply(change).map(drop)
    }

    /// Changes how the service behaves, all settings at once.
    pub fn settings(&self, settings: Settings) {
        self.set(Change::Settings(settings.into()));
    }

    /// Cancels a scheduled event. AWS: it leaves the schedule for the history. Elsewhere it disappears.
    ///
    /// # Errors
    /// [`ChangeError::UnknownEvent`] when no such event is scheduled.
    pub fn cancel_maintenance(&self, event_id: &str) -> Result<(), ChangeError> {
        self.service.apply(Change::CancelMaintenance { event_id: event_id.to_owned() }).map(drop)
    }

    /// Completes a scheduled event. AWS: it leaves the schedule for the history. Elsewhere it disappears.
    ///
    /// # Errors
    /// [`ChangeError::UnknownEvent`] when no such event is scheduled.
    pub fn complete_maintenance(&self, event_id: &str) -> Result<(), ChangeError> {
        self.service.apply(Change::CompleteMaintenance { event_id: event_id.to_owned() }).map(drop)
    }

    /// Sets the Auto Scaling target lifecycle state, such as `Terminated`; `None` takes the item away.
    pub fn lifecycle_state(&self, state: Option<&str>) {
        self.set(Change::LifecycleState { state: state.map(str::to_owned) });
    }

    /// Sets `spot/termination-time` apart from the notice: `Some` any text, `None` absent whatever the notice says.
    pub fn termination_time(&self, text: Option<&str>) {
        self.body("spot/termination-time", text.map_or(Body::Absent, |text| Body::Text(text.to_owned())));
    }

    /// Sets what one path below `meta-data/` answers.
    pub fn body(&self, path: &str, body: Body) {
        self.set(Change::Body { path: path.to_owned(), body });
    }

    /// Says whether requests without a token are refused.
    pub fn require_tokens(&self, required: bool) {
        self.set(Change::Tokens { required });
    }

    /// Forgets every token issued so far, as happens when an instance resumes on another host.
    pub fn revoke_tokens(&self) {
        self.set(Change::RevokeTokens);
    }

    /// Turns the service on or off; off, everything is 403.
    pub fn enable(&self, enabled: bool) {
        self.set(Change::Endpoint { enabled });
    }

    /// Starts a fault.
    pub fn set_fault(&self, fault: Fault) -> FaultId {
        match self.service.apply(Change::Fault(fault)) {
            Ok(Applied::Fault(id)) => id,
            // No other outcome exists; number 0 is never given, so clearing it does nothing.
            Ok(_) | Err(_) => FaultId(0),
        }
    }

    /// Ends a fault; false when it had ended already.
    pub fn clear_fault(&self, id: FaultId) -> bool {
        self.service.clear_fault(id)
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.set(Change::ClearFaults);
    }

    /// Moves the service's clocks forward, so that tokens expire without waiting. Script steps keep to real time.
    pub fn advance_clock(&self, by: Duration) {
        self.set(Change::AdvanceClock { by });
    }

    /// The newest 10 000 changes, oldest first, each with the moment from which on every answer shows it.
    pub fn changes(&self) -> Vec<Changed> {
        self.service.changes()
    }

    /// When the service began to be made, in nanoseconds on CLOCK_BOOTTIME: no step of a script is done before its time
    /// after this.
    pub fn started_boot_ns(&self) -> u64 {
        self.started_boot_ns
    }

    /// When the latest change became visible, in nanoseconds on CLOCK_BOOTTIME; what a delay of detection counts from.
    pub fn changed_boot_ns(&self) -> Option<u64> {
        self.service.changes().last().map(|changed| changed.boot_ns)
    }

    /// Waits until `count` requests hang until something changes (GCP's `wait_for_change`, Azure's first request), at most
    /// for `timeout`; whether they do.
    pub fn wait_for_held(&self, count: usize, timeout: Duration) -> bool {
        self.service.wait_for_held(count, timeout)
    }

    /// The newest 100 000 requests received, oldest first. Control requests are not among them.
    pub fn requests(&self) -> Vec<Request> {
        self.service.requests()
    }

    /// Waits until `count` of the requests in the log are `wanted`, and returns those; `None` after `timeout`.
    pub fn wait_for(&self, count: usize, timeout: Duration, wanted: impl Fn(&Request) -> bool) -> Option<Vec<Request>> {
        self.service.wait_for(count, timeout, wanted)
    }

    /// When the first reply that carried a notice, recommendation or lifecycle state was written since the latest
    /// change, in nanoseconds on CLOCK_BOOTTIME, taken just before the write.
    pub fn first_notice_write(&self) -> Option<u64> {
        self.service.news_writes().0
    }

    /// The same of the last such reply.
    pub fn last_notice_write(&self) -> Option<u64> {
        self.service.news_writes().1
    }
}

fn taken_apart(options: Options) -> (SocketAddr, Vec<Step>, Setup) {
    let Options { listen, provider, instance, settings, tokens_required, control, steps } = options;
    (listen, steps, Setup { provider, instance, settings, tokens_required, control })
}

impl Drop for FakeMetadata {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread listens for this as long as it lives; when it is gone, there is nothing to stop.
            let _stopped = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
