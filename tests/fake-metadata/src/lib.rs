//! A faithful stand-in for a cloud's instance metadata service, for tests and drills.
//!
//! Responsibilities: play the metadata service of one instance on a TCP port, byte for byte where the real one was
//! documented or recorded; change while it runs; go wrong in the ways the real one does. Inputs: [`Options`],
//! [`Change`]s, scripts, HTTP requests. Outputs: HTTP replies and a log of the requests. It plays AWS. It must never
//! reach the network itself, hand out a credential that opens anything, or log a token.
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

mod aws;
mod change;
pub mod cli;
mod clock;
mod control;
mod faults;
mod http;
mod script;
mod server;
mod service;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub use aws::{Instance, LIFE_CYCLES, MAX_TTL_SECONDS, TokenUse};
pub use change::{Action, Applied, Body, Change, ChangeError, LIFECYCLE_STATES, MAINTENANCE_CODES, Maintenance, When};
pub use faults::{Effect, Fault, FaultId, GARBAGE};
pub use script::{Script, ScriptError, Step};
use server::Server;
use service::Service;
pub use service::{Activity, Request};

/// How to start the service.
#[derive(Debug)]
pub struct Options {
    /// Where to listen. Port 0, the default, takes a free one of 127.0.0.1.
    pub listen: SocketAddr,
    /// The instance to play.
    pub instance: Instance,
    /// Whether requests without a token are refused (`HttpTokens` required, the default) or served (optional).
    pub tokens_required: bool,
    /// Whether `/_control/` is served. Default: yes.
    pub control: bool,
    /// What happens by itself, counted from the start. Default: nothing.
    pub steps: Vec<Step>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            instance: Instance::default(),
            tokens_required: true,
            control: true,
            steps: Vec::new(),
        }
    }
}

impl Options {
    /// The default options with a script's instance and steps.
    pub fn from_script(script: Script) -> Self {
        Self { instance: script.instance, steps: script.steps, ..Self::default() }
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
        let service = Arc::new(Service::new(options.instance, options.tokens_required, options.control));
        Self::serve(service, options.listen, options.steps)
    }

    /// Starts the service and sends everything that happens, from the first step on, to the receiver returned with it.
    /// The channel has no bound: read it or drop it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_watched(options: Options) -> Result<(Self, Receiver<Activity>), StartError> {
        let service = Arc::new(Service::new(options.instance, options.tokens_required, options.control));
        let activity = service.watch();
        Ok((Self::serve(service, options.listen, options.steps)?, activity))
    }

    fn serve(service: Arc<Service>, listen: SocketAddr, steps: Vec<Step>) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: listen, source };
        let server = Server::bind(listen).map_err(failed)?;
        let address = server.address().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&service);
        let thread = std::thread::Builder::new()
            .name("fake-metadata".to_owned())
            .spawn(move || server.serve(serving, steps, stopped))
            .map_err(StartError::Thread)?;
        Ok(Self { service, address, stop: Some(stop), thread: Some(thread) })
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

    /// Cancels a scheduled event: it leaves the schedule for the history.
    ///
    /// # Errors
    /// [`ChangeError::UnknownEvent`] when no such event is scheduled.
    pub fn cancel_maintenance(&self, event_id: &str) -> Result<(), ChangeError> {
        self.service.apply(Change::CancelMaintenance { event_id: event_id.to_owned() }).map(drop)
    }

    /// Completes a scheduled event: it leaves the schedule for the history.
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
        self.service.clock.advance(by);
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
