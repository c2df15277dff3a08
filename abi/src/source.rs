//! The extension `cloudsnooze.source/1`: a plugin that brings notices of a cloud, a scheduler, a machine room.
//!
//! A class that claims SNOOZE_CAP_SOURCE answers `get_extension(SNOOZE_EXTENSION_SOURCE)` with a [`snooze_source`]. The
//! host calls `run` on a real-time thread made for it and gives it a [`snooze_source_host`], through which the plugin
//! tells what it sees; the host decides whether that is news, calls the handlers, and says by `over` when their work is
//! done. Thread tag `[run]`: only on the thread that is inside `run`. Must never change its core: the tables here grow
//! by appending, and a change that is none is `cloudsnooze.source/2`.

use crate::{snooze_plugin, snooze_status, snooze_str};
use core::ffi::{CStr, c_void};

/// The extension's id, for `snooze_plugin.get_extension`.
pub const SNOOZE_EXTENSION_SOURCE: &CStr = c"cloudsnooze.source/1";

/// The cloud deletes the machine.
pub const SNOOZE_ACTION_TERMINATE: u32 = 1;
/// It is stopped, and may be started again.
pub const SNOOZE_ACTION_STOP: u32 = 2;
/// Its memory is saved, then it is stopped.
pub const SNOOZE_ACTION_HIBERNATE: u32 = 3;
/// It is restarted in place.
pub const SNOOZE_ACTION_REBOOT: u32 = 4;
/// It is moved to another host and loses its local disks.
pub const SNOOZE_ACTION_REDEPLOY: u32 = 5;
/// It is paused for seconds.
pub const SNOOZE_ACTION_FREEZE: u32 = 6;
/// Nothing is known of what will be done.
pub const SNOOZE_ACTION_NONE: u32 = 7;

/// The cloud will act.
pub const SNOOZE_NOTICE_DEADLINE: u32 = 1;
/// The cloud warns of risk.
pub const SNOOZE_NOTICE_ADVISORY: u32 = 2;

/// The provider names no time.
pub const SNOOZE_WHEN_UNKNOWN: u32 = 0;
/// `when_ns` is nanoseconds since 1970-01-01 UTC.
pub const SNOOZE_WHEN_AT: u32 = 1;
/// `when_ns` is nanoseconds from now.
pub const SNOOZE_WHEN_IN: u32 = 2;
/// The cloud acts at once; `when_ns` is ignored.
pub const SNOOZE_WHEN_NOW: u32 = 3;

/// The source can see: a notice would be told.
pub const SNOOZE_SOURCE_SEEING: u32 = 1;
/// The source cannot see: a notice would be missed.
pub const SNOOZE_SOURCE_BLIND: u32 = 2;

/// Every handler of the event did its work, or had none. Unknown outcomes are to be read as SNOOZE_OVER_FAILED.
pub const SNOOZE_OVER_HANDLED: u32 = 1;
/// A handler did not do its work: it failed, was cancelled, or had no time.
pub const SNOOZE_OVER_FAILED: u32 = 2;
/// The event was withdrawn before its handlers had ended.
pub const SNOOZE_OVER_WITHDRAWN: u32 = 3;
/// The host was too busy to take the event in. The notice counts as told.
pub const SNOOZE_OVER_REFUSED: u32 = 4;

/// A notice, as a provider gives it. What tells it from others is `provider`, `event_type`, `instance_id` and
/// `notice_id`: told again with these it is the same notice, and becomes one event. Borrowed for the call. Texts are
/// UTF-8, and empty where nothing is known.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_notice {
    /// Size of this struct in the plugin's version, bytes.
    pub struct_size: u32,
    /// SNOOZE_SEVERITY_*.
    pub severity: u32,
    /// SNOOZE_ACTION_*.
    pub action: u32,
    /// SNOOZE_NOTICE_*.
    pub notice_kind: u32,
    /// SNOOZE_WHEN_*: what `when_ns` means, which is when the cloud acts.
    pub when: u32,
    /// Zero.
    pub reserved: u32,
    /// Nanoseconds, as `when` says; not negative.
    pub when_ns: i64,
    /// The time that the provider wrote into the notice, nanoseconds since 1970-01-01 UTC; 0: that of `when`. It tells
    /// a notice from a later one of the same kind, and makes the event's identity the same after a restart.
    pub stated_wall_ns: i64,
    /// Name of the provider: 1 to 64 lower-case letters, digits, '-', '_', '.'.
    pub provider: snooze_str,
    /// The provider's own identifier of the notice, at most 1024 bytes; empty where it has none.
    pub notice_id: snooze_str,
    /// Type of the event, such as "cloud.spot.interrupt"; may be one of your own, "custom.nimbus.storm".
    pub event_type: snooze_str,
    /// The machine that it is about, at most 256 bytes; empty: this machine (see `snooze_source_host.machine`).
    pub instance_id: snooze_str,
    /// Further machines or resources that the provider lists, or NULL.
    pub resources: *const snooze_str,
    /// Number of `resources`, at most 256, each at most 1024 bytes.
    pub resource_count: usize,
    /// The provider's document, untouched, at most 1 MiB: JSON where it is JSON, else text.
    pub raw: snooze_str,
}

/// Who this machine is. Borrowed for the call; texts are at most 256 bytes, and empty where nothing is known.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_machine {
    /// Size of this struct in the plugin's version, bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the provider, as in `snooze_notice`.
    pub provider: snooze_str,
    /// The provider's identifier of the machine.
    pub instance_id: snooze_str,
    /// The provider's name of the machine type.
    pub instance_type: snooze_str,
    /// Availability zone.
    pub zone: snooze_str,
    /// Region.
    pub region: snooze_str,
}

/// Whether the source sees, and when it shows itself again.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_source_health {
    /// Size of this struct in the plugin's version, bytes.
    pub struct_size: u32,
    /// SNOOZE_SOURCE_*.
    pub state: u32,
    /// The next call of `health` comes within so many milliseconds, 1 to 3600000. One that does not come makes the
    /// source count as hanging.
    pub next_within_ms: u64,
    /// Why it is blind, in words for people; at most 2000 bytes are kept.
    pub text: snooze_str,
}

/// That an event is over.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_over {
    /// Size of this struct in the host's version, bytes.
    pub struct_size: u32,
    /// SNOOZE_OVER_*.
    pub outcome: u32,
    /// The event, as `notice` or `withdrawn` gave it out.
    pub event_id: [u8; 16],
}

/// What the host offers to a source while it runs. Every function takes the table itself first, is for the thread that is
/// inside `run` only, and answers SNOOZE_E_STATE on another one or after `run` has returned. The table itself lives as
/// long as the process.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_source_host {
    /// Size of this table in the host's version, bytes.
    pub struct_size: u32,
    /// A descriptor that turns readable when `run` is to return, for poll(); owned by the host, never to be read.
    pub stop_fd: i32,
    /// The host's own; do not touch.
    pub ctx: *mut c_void,
    /// [run] Tells a notice. Handlers may already run when it returns, and one that promised not to block may have run.
    /// SNOOZE_OK: it is news, or its time is another now. SNOOZE_SKIPPED: it was told before. Both write the event's
    /// 16-byte id to `out_event_id` (which may be NULL), and `over` will be called for that event.
    /// SNOOZE_E_DEADLINE: its time has passed, nothing was done. SNOOZE_E_INVALID: a member is not as its
    /// description says, which the host's log tells.
    pub notice: Option<
        unsafe extern "C" fn(
            host: *const snooze_source_host,
            notice: *const snooze_notice,
            out_event_id: *mut u8,
        ) -> snooze_status,
    >,
    /// [run] The provider withdraws a notice. What tells notices apart must be as it was, `raw` may be of the
    /// withdrawal; the rest is checked and not used. SNOOZE_OK: handlers are told by an event of the type with
    /// ".cancelled" behind it, whose id is written out and for which `over` will be called. SNOOZE_SKIPPED: nothing is
    /// to be withdrawn, nothing is written.
    pub withdrawn: Option<
        unsafe extern "C" fn(
            host: *const snooze_source_host,
            notice: *const snooze_notice,
            out_event_id: *mut u8,
        ) -> snooze_status,
    >,
    /// [run] Says who this machine is. The first word counts for the host's status.
    pub machine:
        Option<unsafe extern "C" fn(host: *const snooze_source_host, machine: *const snooze_machine) -> snooze_status>,
    /// [run] Says whether the source can see. To be called whenever that changes, and in time for its own promise
    /// (`next_within_ms`); the first time within a minute.
    pub health: Option<
        unsafe extern "C" fn(host: *const snooze_source_host, health: *const snooze_source_health) -> snooze_status,
    >,
}

/// What a plugin offers that is a source. Alive as long as its instance. Required: run.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_source {
    /// Size of this table in the plugin's version, bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// [run] Watches until `stop_fd` turns readable or `stop` is called, between activate and deactivate, on a real-time thread
    /// of the host's that nothing else needs. It may block; it must not compute for long. SNOOZE_OK: it was told to
    /// stop. An error, with report_error: the host waits and calls it again, SNOOZE_E_PANIC excepted.
    pub run:
        Option<unsafe extern "C" fn(plugin: *const snooze_plugin, host: *const snooze_source_host) -> snooze_status>,
    /// [any] `run` is to return, within two seconds; may be called before `run` and more than once. NULL: the plugin
    /// watches `stop_fd`. Must not block.
    pub stop: Option<unsafe extern "C" fn(plugin: *const snooze_plugin)>,
    /// [any] Never beside itself: an event that this instance told is over: now is the time to acknowledge the
    /// notice. On a normal thread, possibly beside `run`, before `notice` has returned, and more than once. For a notice
    /// that was told again and whose event was over before, it follows at once. NULL: the plugin does not want to know.
    pub over: Option<unsafe extern "C" fn(plugin: *const snooze_plugin, over: *const snooze_over)>,
}

const _: () = assert!(size_of::<snooze_notice>() == 136);
const _: () = assert!(size_of::<snooze_over>() == 24);
