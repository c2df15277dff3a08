//! The event as a handler sees it: borrowed from the host for the duration of the call.
//! Inputs: the host's event. Outputs: its fields. Must never keep what it borrows.
#![allow(unsafe_code)]

use crate::host::{Host, service};
use crate::raw::{EMPTY, text};
use cloudsnooze_abi as abi;
use std::marker::PhantomData;

/// How bad the event is. An unknown number reads as the nearest known one below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Prepare.
    Warning,
    /// The machine is about to go away.
    Urgent,
    /// It is going away now.
    Critical,
}

/// One event. Lives as long as the call it came with.
pub struct Event<'a> {
    host: Host,
    raw: *const abi::snooze_event,
    life: PhantomData<&'a ()>,
}

impl<'a> Event<'a> {
    /// # Safety
    /// `raw` is a live event of `host` for `'a`.
    pub(crate) unsafe fn new(host: Host, raw: *const abi::snooze_event) -> Self {
        Self { host, raw, life: PhantomData }
    }

    fn head(&self) -> &'a abi::snooze_event {
        // SAFETY: promised at construction.
        unsafe { &*self.raw }
    }

    /// Type, such as `cloud.spot.interrupt`.
    pub fn event_type(&self) -> &'a str {
        self.field(abi::SNOOZE_FIELD_TYPE).unwrap_or_default()
    }

    /// Number of the type (`abi::SNOOZE_KIND_*`).
    pub fn kind(&self) -> u32 {
        self.head().kind
    }

    /// Identity, UUID text.
    pub fn id(&self) -> &'a str {
        self.field(abi::SNOOZE_FIELD_ID).unwrap_or_default()
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self.head().severity {
            0..=abi::SNOOZE_SEVERITY_INFO => Severity::Info,
            abi::SNOOZE_SEVERITY_WARNING => Severity::Warning,
            abi::SNOOZE_SEVERITY_URGENT => Severity::Urgent,
            _ => Severity::Critical,
        }
    }

    /// Whether an operator made it for practice.
    pub fn is_simulated(&self) -> bool {
        self.head().flags & abi::SNOOZE_EVENT_SIMULATED != 0
    }

    /// Whether it is a drill: do only what its withdrawal lets you undo, and check, instead of doing, the rest. Comes only
    /// to a class with [`abi::SNOOZE_CAP_DRILL`].
    pub fn is_drill(&self) -> bool {
        self.head().flags & abi::SNOOZE_EVENT_DRILL != 0
    }

    /// Whether it withdraws an earlier event.
    pub fn is_cancellation(&self) -> bool {
        self.head().flags & abi::SNOOZE_EVENT_CANCELLED != 0
    }

    /// Provider, such as `aws`.
    pub fn provider(&self) -> &'a str {
        self.field(abi::SNOOZE_FIELD_PROVIDER).unwrap_or_default()
    }

    /// What the cloud will do: terminate stop hibernate reboot redeploy freeze none.
    pub fn action(&self) -> &'a str {
        self.field(abi::SNOOZE_FIELD_ACTION).unwrap_or_default()
    }

    /// Identifier of the machine; empty when not known.
    pub fn instance_id(&self) -> &'a str {
        self.field(abi::SNOOZE_FIELD_INSTANCE_ID).unwrap_or_default()
    }

    /// When the cloud acts, RFC 3339; None when not known.
    pub fn deadline(&self) -> Option<&'a str> {
        self.field(abi::SNOOZE_FIELD_DEADLINE)
    }

    /// Seconds until the cloud acts, as of now; None when not known.
    pub fn seconds_left(&self) -> Option<f64> {
        let read = service!(self.host.table, event_f64)?;
        let mut value = 0.0;
        // SAFETY: host and event are live, `value` is writable.
        let status = unsafe { read(self.host.table, self.raw, abi::SNOOZE_FIELD_TIME_REMAINING, &raw mut value) };
        (status == abi::SNOOZE_OK).then_some(value)
    }

    /// Text of a field (`abi::SNOOZE_FIELD_*`); None when absent.
    pub fn field(&self, field: u32) -> Option<&'a str> {
        let read = service!(self.host.table, event_str)?;
        let mut out = EMPTY;
        // SAFETY: host and event are live, `out` is writable.
        let status = unsafe { read(self.host.table, self.raw, field, &raw mut out) };
        // SAFETY: the host lends the text as long as the event lives.
        (status == abi::SNOOZE_OK).then(|| unsafe { text(out) })
    }

    /// The whole event as CloudEvents JSON text.
    pub fn json(&self) -> &'a str {
        let Some(read) = service!(self.host.table, event_json) else { return "{}" };
        let mut out = EMPTY;
        // SAFETY: host and event are live, `out` is writable.
        let status = unsafe { read(self.host.table, self.raw, &raw mut out) };
        // SAFETY: the host lends the text as long as the event lives.
        if status == abi::SNOOZE_OK { unsafe { text(out) } } else { "{}" }
    }
}
