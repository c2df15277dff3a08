//! Plugins that bring notices: the safe face of the extension `cloudsnooze.source/1`.
//!
//! Implement [`Source`] beside [`Plugin`], and set `Plugin::SOURCE`. Inputs: what a provider says. Outputs: notices to the
//! host, the end of each event to the plugin. Must never keep what belongs to one run beyond it: [`Watching`] cannot leave
//! its thread.
//!
//! ```
//! use cloudsnooze_plugin::source::{Action, Notice, Over, EventId, Source, SourceTable, Watching, When};
//! # use cloudsnooze_plugin::{Call, Error, Event, Host, Instance, Outcome, Plugin, Severity, c_str};
//! struct Nimbus;
//!
//! impl Plugin for Nimbus {
//!     const SOURCE: Option<SourceTable> = Some(SourceTable::of::<Self>());
//! #   const ID: &'static std::ffi::CStr = c"org.example.nimbus";
//! #   const NAME: &'static std::ffi::CStr = c"nimbus";
//! #   const VERSION: &'static std::ffi::CStr = c_str!(env!("CARGO_PKG_VERSION"));
//! #   const DESCRIPTION: &'static std::ffi::CStr = c"Brings the notices of nimbus";
//! #   type Config = serde_json::Map<String, serde_json::Value>;
//! #   fn new(_host: Host, _config: Self::Config, _instance: Instance) -> Result<Self, Error> { Ok(Self) }
//!     // ... and what every plugin has
//!     fn on_event(&self, _event: &Event<'_>, _call: &Call<'_>) -> Result<Outcome, Error> {
//!         Ok(Outcome::declined("it only brings notices"))
//!     }
//! }
//!
//! impl Source for Nimbus {
//!     fn run(&self, watching: &Watching) -> Result<(), Error> {
//!         watching.seeing(std::time::Duration::from_secs(30))?;
//!         watching.notice(&Notice {
//!             notice_id: "storm-7",
//!             action: Action::Reboot,
//!             when: When::In(std::time::Duration::from_secs(120)),
//!             ..Notice::new("nimbus", "cloud.maintenance.reboot", Severity::Warning)
//!         })?;
//!         // Then wait for the provider and for `watching.stop_fd()`, whichever comes first.
//!         Ok(())
//!     }
//! }
//! ```
#![allow(unsafe_code)]

use crate::export::SourceOf;
use crate::plugin::Plugin;
use crate::raw::{EMPTY, lend};
use crate::{Code, Error, Severity};
use cloudsnooze_abi as abi;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Identity of an event, 16 bytes of a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

/// What the cloud will do to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Deleted.
    Terminate = abi::SNOOZE_ACTION_TERMINATE,
    /// Stopped, may be started again.
    Stop = abi::SNOOZE_ACTION_STOP,
    /// Memory saved, then stopped.
    Hibernate = abi::SNOOZE_ACTION_HIBERNATE,
    /// Restarted in place.
    Reboot = abi::SNOOZE_ACTION_REBOOT,
    /// Moved to another host, local disks lost.
    Redeploy = abi::SNOOZE_ACTION_REDEPLOY,
    /// Paused for seconds.
    Freeze = abi::SNOOZE_ACTION_FREEZE,
    /// Nothing known.
    None = abi::SNOOZE_ACTION_NONE,
}

/// When the cloud acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It does not say.
    Unknown,
    /// At this time, nanoseconds since 1970-01-01 UTC.
    At(i64),
    /// So long from now.
    In(Duration),
    /// At once.
    Now,
}

/// A notice, as a provider gives it. The host takes `provider`, `event_type`, `instance_id` and `notice_id` together for what
/// makes it the same notice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Notice<'n> {
    /// Name of the provider: 1 to 64 lower-case letters, digits, '-', '_', '.'.
    pub provider: &'n str,
    /// Type of the event that it becomes.
    pub event_type: &'n str,
    /// How bad it is.
    pub severity: Severity,
    /// The provider's own identifier of the notice, at most 1024 bytes; empty where it has none.
    pub notice_id: &'n str,
    /// The machine that it is about, at most 256 bytes; empty: this machine.
    pub instance_id: &'n str,
    /// What the cloud will do.
    pub action: Action,
    /// Whether the cloud only warns of risk.
    pub is_advisory: bool,
    /// When the cloud acts.
    pub when: When,
    /// The time that the provider wrote into the notice, nanoseconds since 1970; None: that of `when`.
    pub stated_wall_ns: Option<i64>,
    /// Further machines or resources, at most 256.
    pub resources: &'n [String],
    /// The provider's document, at most 1 MiB.
    pub raw: &'n str,
}

impl<'n> Notice<'n> {
    /// A notice of which nothing else is known.
    pub const fn new(provider: &'n str, event_type: &'n str, severity: Severity) -> Self {
        Self {
            provider,
            event_type,
            severity,
            notice_id: "",
            instance_id: "",
            action: Action::None,
            is_advisory: false,
            when: When::Unknown,
            stated_wall_ns: None,
            resources: &[],
            raw: "",
        }
    }
}

/// What became of a notice that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is news, or its time is another now.
    News(EventId),
    /// It had been told.
    Known(EventId),
    /// Its time has passed.
    Past,
    /// There was nothing to withdraw.
    Nothing,
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Every handler did its work, or had none.
    Handled,
    /// One did not.
    Failed,
    /// It was withdrawn before its handlers had ended.
    Withdrawn,
    /// The host was too busy to take it in.
    Refused,
}

impl Over {
    pub(crate) fn from_raw(outcome: u32) -> Self {
        match outcome {
            abi::SNOOZE_OVER_HANDLED => Self::Handled,
            abi::SNOOZE_OVER_WITHDRAWN => Self::Withdrawn,
            abi::SNOOZE_OVER_REFUSED => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// Who this machine is; empty texts mean "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine<'m> {
    /// Name of the provider.
    pub provider: &'m str,
    /// The provider's identifier of the machine.
    pub instance_id: &'m str,
    /// The provider's name of the machine type.
    pub instance_type: &'m str,
    /// Availability zone.
    pub zone: &'m str,
    /// Region.
    pub region: &'m str,
}

/// A plugin that brings notices. `run` is on a real-time thread of the host's that nothing else needs; `stop` and `over` on
/// other threads, possibly beside it.
pub trait Source: Plugin {
    /// Watches until `watching.stop_fd()` turns readable or [`Self::stop`] is called. May block; must not compute for long.
    ///
    /// # Errors
    /// Why it cannot see: the host says so, waits and calls it again.
    fn run(&self, watching: &Watching) -> Result<(), Error>;

    /// `run` is to return within two seconds. May come before it, and more than once. Must not block.
    fn stop(&self) {}

    /// An event that this instance told is over. May come before [`Watching::notice`] has returned its id, and more than
    /// once; never beside itself.
    fn over(&self, _event: EventId, _over: Over) {}
}

/// That a plugin is a source, for `Plugin::SOURCE`.
#[derive(Clone, Copy)]
pub struct SourceTable(pub(crate) &'static abi::snooze_source);

impl SourceTable {
    /// The one of this type.
    pub const fn of<P: Source>() -> Self {
        Self(SourceOf::<P>::TABLE)
    }
}

/// What the host offers during one run, on its thread.
pub struct Watching {
    table: *const abi::snooze_source_host,
    on_this_thread: PhantomData<*const ()>,
}

/// Calls member `$member` of the host's table when the host is new enough to have it.
macro_rules! service {
    ($table:expr, $member:ident) => {{
        let table: *const abi::snooze_source_host = $table;
        let end = std::mem::offset_of!(abi::snooze_source_host, $member) + size_of::<usize>();
        // SAFETY: the host's table outlives the run, and `struct_size` says how much of it is there.
        unsafe { if (*table).struct_size as usize >= end { (*table).$member } else { None } }
            .ok_or_else(|| Error::new(concat!("the host does not offer ", stringify!($member))))
    }};
}

impl Watching {
    /// # Safety
    /// `table` is the host's, on the thread that is inside of `run`, as long as the value lives.
    pub(crate) unsafe fn new(table: *const abi::snooze_source_host) -> Self {
        Self { table, on_this_thread: PhantomData }
    }

    /// Turns readable when `run` is to return. Never to be read.
    pub fn stop_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: owned by the host, and open as long as the run.
        unsafe { BorrowedFd::borrow_raw((*self.table).stop_fd) }
    }

    /// The same as a number, for libraries that want one.
    pub fn stop_raw_fd(&self) -> RawFd {
        self.stop_fd().as_raw_fd()
    }

    /// Tells a notice. Handlers may already run when it returns.
    ///
    /// # Errors
    /// The host refuses it: something of it is not as its description says.
    pub fn notice(&self, notice: &Notice<'_>) -> Result<Heard, Error> {
        let tell = service!(self.table, notice)?;
        // SAFETY: the host's own function, on the thread of the run.
        self.tell(notice, |record, id| unsafe { tell(self.table, record, id) })
    }

    /// The provider withdraws a notice. What makes it the same notice must be as it was.
    ///
    /// # Errors
    /// As [`Self::notice`].
    pub fn withdrawn(&self, notice: &Notice<'_>) -> Result<Heard, Error> {
        let tell = service!(self.table, withdrawn)?;
        // SAFETY: as in `notice`.
        let heard = self.tell(notice, |record, id| unsafe { tell(self.table, record, id) })?;
        Ok(if matches!(heard, Heard::Known(_)) { Heard::Nothing } else { heard })
    }

    fn tell(
        &self,
        notice: &Notice<'_>,
        tell: impl FnOnce(*const abi::snooze_notice, *mut u8) -> abi::snooze_status,
    ) -> Result<Heard, Error> {
        let resources: Vec<abi::snooze_str> = notice.resources.iter().map(|text| lend(text)).collect();
        let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let (when, when_ns) = match notice.when {
            When::Unknown => (abi::SNOOZE_WHEN_UNKNOWN, 0),
            When::At(wall_ns) => (abi::SNOOZE_WHEN_AT, wall_ns),
            When::In(duration) => (abi::SNOOZE_WHEN_IN, nanoseconds(duration)),
            When::Now => (abi::SNOOZE_WHEN_NOW, 0),
        };
        let record = abi::snooze_notice {
            struct_size: size_of::<abi::snooze_notice>() as u32,
            severity: severity(notice.severity),
            action: notice.action as u32,
            notice_kind: if notice.is_advisory { abi::SNOOZE_NOTICE_ADVISORY } else { abi::SNOOZE_NOTICE_DEADLINE },
            when,
            reserved: 0,
            when_ns,
            stated_wall_ns: notice.stated_wall_ns.unwrap_or(0),
            provider: lend(notice.provider),
            notice_id: lend(notice.notice_id),
            event_type: lend(notice.event_type),
            instance_id: lend(notice.instance_id),
            resources: resources.as_ptr(),
            resource_count: resources.len(),
            raw: lend(notice.raw),
        };
        let mut id = [0_u8; 16];
        match tell(&raw const record, id.as_mut_ptr()) {
            abi::SNOOZE_OK => Ok(Heard::News(EventId(id))),
            abi::SNOOZE_SKIPPED => Ok(Heard::Known(EventId(id))),
            abi::SNOOZE_E_DEADLINE => Ok(Heard::Past),
            status => Err(refused("the notice", status)),
        }
    }

    /// Says who this machine is.
    ///
    /// # Errors
    /// The host refuses it.
    pub fn machine(&self, machine: &Machine<'_>) -> Result<(), Error> {
        let tell = service!(self.table, machine)?;
        let record = abi::snooze_machine {
            struct_size: size_of::<abi::snooze_machine>() as u32,
            reserved: 0,
            provider: lend(machine.provider),
            instance_id: lend(machine.instance_id),
            instance_type: lend(machine.instance_type),
            zone: lend(machine.zone),
            region: lend(machine.region),
        };
        // SAFETY: the record lives until the call returns; as in `notice`.
        match unsafe { tell(self.table, &raw const record) } {
            abi::SNOOZE_OK => Ok(()),
            status => Err(refused("who this machine is", status)),
        }
    }

    /// A notice would be seen. The next word comes within this time.
    ///
    /// # Errors
    /// The host refuses it: a time that is not 1 ms to an hour.
    pub fn seeing(&self, next_within: Duration) -> Result<(), Error> {
        self.health(abi::SNOOZE_SOURCE_SEEING, next_within, EMPTY)
    }

    /// A notice would be missed, and why. The next word comes within this time.
    ///
    /// # Errors
    /// As [`Self::seeing`].
    pub fn blind(&self, next_within: Duration, why: &str) -> Result<(), Error> {
        self.health(abi::SNOOZE_SOURCE_BLIND, next_within, lend(why))
    }

    fn health(&self, state: u32, next_within: Duration, text: abi::snooze_str) -> Result<(), Error> {
        let tell = service!(self.table, health)?;
        let next_within_ms = u64::try_from(next_within.as_millis()).unwrap_or(u64::MAX);
        let struct_size = size_of::<abi::snooze_source_health>() as u32;
        let record = abi::snooze_source_health { struct_size, state, next_within_ms, text };
        // SAFETY: as in `machine`.
        match unsafe { tell(self.table, &raw const record) } {
            abi::SNOOZE_OK => Ok(()),
            status => Err(refused("its health", status)),
        }
    }
}

const fn severity(severity: Severity) -> u32 {
    match severity {
        Severity::Info => abi::SNOOZE_SEVERITY_INFO,
        Severity::Warning => abi::SNOOZE_SEVERITY_WARNING,
        Severity::Urgent => abi::SNOOZE_SEVERITY_URGENT,
        Severity::Critical => abi::SNOOZE_SEVERITY_CRITICAL,
    }
}

fn refused(what: &str, status: abi::snooze_status) -> Error {
    let words = match status {
        abi::SNOOZE_E_STATE => "this is no time for it, or another thread",
        abi::SNOOZE_E_BUSY => "told from within a handler of what is being told",
        _ => "something of it is not as described; the host's log says what",
    };
    Error::new(format!("the host refused {what} (status {status}): {words}")).code(Code::State)
}
