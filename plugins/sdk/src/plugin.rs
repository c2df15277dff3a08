//! The trait an author implements, and the values it speaks in.
//! Inputs: a configuration, events. Outputs: outcomes with evidence. Must never know the C tables.

use crate::source::SourceTable;
use crate::{Call, Cancel, Error, Event, Host};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ffi::CStr;
use std::path::PathBuf;
use std::time::Duration;

/// What came of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done, with evidence for the report: a JSON object.
    Handled(Value),
    /// Looked at and declined, with the reason.
    Declined(String),
}

impl Outcome {
    /// Done, with evidence for the report.
    pub fn handled(evidence: Value) -> Self {
        Self::Handled(evidence)
    }

    /// Declined, with the reason.
    pub fn declined(reason: impl Into<String>) -> Self {
        Self::Declined(reason.into())
    }
}

/// Whether the effect of a handled event really holds. That it does not is an [`Error`].
#[derive(Clone, Debug, PartialEq)]
pub enum Verification {
    /// It does, with evidence for the report: a JSON object.
    Verified(Value),
    /// It cannot be told.
    Unknown,
}

/// What an instance can handle.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub(crate) kinds: Vec<String>,
    pub(crate) priority: u32,
    pub(crate) budget: Duration,
}

impl Subscription {
    /// Wants these event types; `cloud.spot.*` and `*` are understood.
    pub fn on(kinds: &[&str]) -> Self {
        Self { kinds: kinds.iter().map(|k| (*k).to_owned()).collect(), priority: 50, budget: Duration::ZERO }
    }

    /// Priority used when the configuration names none, 0 to 999: >= 70 critical data, 40-69
    /// checkpoints, < 40 notification and logging.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority.min(999);
        self
    }

    /// Time wanted when the configuration names none.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }
}

/// Which instance this is.
#[derive(Clone, Debug)]
pub struct Instance {
    /// "EVENT_TYPE/PLUGIN".
    pub name: String,
    /// A directory of the instance's own for what must outlive the process; may not exist yet.
    pub state_dir: PathBuf,
}

/// A plugin. One value is one instance with one configuration. Methods run on threads as the ABI says:
/// `new`, `activate`, `deactivate` and the destructor on the control thread; `on_event` and `verify` on
/// a real-time pool thread, where blocking is allowed; `on_cancel` on any thread. The host makes one
/// `on_event` call at a time per instance.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Reverse-domain identifier, `c"org.example.flusher"`.
    const ID: &'static CStr;
    /// Name used in configurations; must agree with the file name.
    const NAME: &'static CStr;
    /// Version of the plugin; `c_str!(env!("CARGO_PKG_VERSION"))`.
    const VERSION: &'static CStr;
    /// One sentence for people.
    const DESCRIPTION: &'static CStr;
    /// Capabilities, `abi::SNOOZE_CAP_*`.
    const CAPS: u64 = 0;
    /// Set by a plugin that brings notices: `Some(SourceTable::of::<Self>())`, beside an implementation of
    /// [`crate::source::Source`].
    const SOURCE: Option<SourceTable> = None;
    /// The configuration. Its JSON Schema is derived, and the host checks against it before `new`.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes an instance. Must not open anything yet.
    ///
    /// # Errors
    /// Why the configuration cannot work.
    fn new(host: Host, config: Self::Config, instance: Instance) -> Result<Self, Error>;

    /// What it can handle; empty: whatever the configuration sends it.
    fn subscriptions(&self) -> Vec<Subscription> {
        Vec::new()
    }

    /// Opens what it needs ahead of the event: files, and connections, ready and logged in, so that the first byte of
    /// `on_event` is work. They must still be good hours later: [`crate::keeper`] opens one, checks it on a thread of the
    /// instance and opens it again; start it here. May block for seconds.
    ///
    /// # Errors
    /// Only when it can never work; a server that is down now is for `on_event` to find out.
    fn activate(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Called once on each pool thread, possibly beside an `on_event`: touch what that will need. Must not
    /// block.
    fn warm_up(&self) {}

    /// Handles one event, within `call.left()`.
    ///
    /// # Errors
    /// What failed, with its code.
    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error>;

    /// Asked after a handled event, with the time left: does the effect really hold?
    ///
    /// # Errors
    /// It does not, and how that shows.
    fn verify(&self, _event: &Event<'_>, _call: &Call<'_>) -> Result<Verification, Error> {
        Ok(Verification::Unknown)
    }

    /// The call was cancelled; may overlap its `on_event`. Must not block.
    fn on_cancel(&self, _call: &Call<'_>, _reason: Cancel) {}

    /// Stops and joins every thread of the instance, and closes its connections. May block for seconds.
    fn deactivate(&self) {}
}
