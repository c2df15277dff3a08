//! The event and the call as a plugin sees them: a fixed head that is read without a call, and the
//! field ids that the accessors of `snooze_host` take. Times are CLOCK_BOOTTIME nanoseconds (they
//! go on while the machine is suspended) and wall-clock nanoseconds since 1970 for display.

use core::ffi::c_void;

/// Unknown to this version of the ABI, or a `custom.*` type: read field SNOOZE_FIELD_TYPE.
pub const SNOOZE_KIND_OTHER: u32 = 0;
/// `cloud.spot.interrupt`: the cloud takes the machine back.
pub const SNOOZE_KIND_SPOT_INTERRUPT: u32 = 1;
/// `cloud.spot.rebalance`: elevated risk, no deadline.
pub const SNOOZE_KIND_SPOT_REBALANCE: u32 = 2;
/// `cloud.maintenance.freeze`
pub const SNOOZE_KIND_MAINTENANCE_FREEZE: u32 = 3;
/// `cloud.maintenance.reboot`
pub const SNOOZE_KIND_MAINTENANCE_REBOOT: u32 = 4;
/// `cloud.maintenance.redeploy`
pub const SNOOZE_KIND_MAINTENANCE_REDEPLOY: u32 = 5;
/// `cloud.maintenance.stop`
pub const SNOOZE_KIND_MAINTENANCE_STOP: u32 = 6;
/// `cloud.maintenance.retire`
pub const SNOOZE_KIND_MAINTENANCE_RETIRE: u32 = 7;
/// `cloud.instance.terminate`
pub const SNOOZE_KIND_INSTANCE_TERMINATE: u32 = 8;
/// `cloud.autoscaling.terminate`
pub const SNOOZE_KIND_AUTOSCALING_TERMINATE: u32 = 9;
/// `system.shutdown`: the operating system is going down.
pub const SNOOZE_KIND_SYSTEM_SHUTDOWN: u32 = 10;

/// Severity: worth knowing.
pub const SNOOZE_SEVERITY_INFO: u32 = 1;
/// Severity: prepare.
pub const SNOOZE_SEVERITY_WARNING: u32 = 2;
/// Severity: the machine is about to go away.
pub const SNOOZE_SEVERITY_URGENT: u32 = 3;
/// Severity: it is going away now.
pub const SNOOZE_SEVERITY_CRITICAL: u32 = 4;

/// Flag: withdraws an earlier event, whose id is in field `data.cancels`.
pub const SNOOZE_EVENT_CANCELLED: u32 = 0x1;
/// Flag: made by `snooze simulate`, not by a cloud. Handlers do their real work all the same.
pub const SNOOZE_EVENT_SIMULATED: u32 = 0x2;
/// Flag: `effective_boot_ns` is known.
pub const SNOOZE_EVENT_DEADLINE_KNOWN: u32 = 0x4;
/// Flag: a drill. Do only what the withdrawal that ends the drill lets you undo, and check, instead of doing, the rest. Only
/// classes with SNOOZE_CAP_DRILL are given such an event.
pub const SNOOZE_EVENT_DRILL: u32 = 0x8;

/// Field `type`, text.
pub const SNOOZE_FIELD_TYPE: u32 = 1;
/// Field `id` (UUID v7), text.
pub const SNOOZE_FIELD_ID: u32 = 2;
/// Field `source`, text.
pub const SNOOZE_FIELD_SOURCE: u32 = 3;
/// Field `time` of detection, RFC 3339 text.
pub const SNOOZE_FIELD_TIME: u32 = 4;
/// Field `subject`, text.
pub const SNOOZE_FIELD_SUBJECT: u32 = 5;
/// Field `severity`, text.
pub const SNOOZE_FIELD_SEVERITY: u32 = 6;
/// Field `data.provider`, text.
pub const SNOOZE_FIELD_PROVIDER: u32 = 16;
/// Field `data.action`, text: terminate stop hibernate reboot redeploy freeze none.
pub const SNOOZE_FIELD_ACTION: u32 = 17;
/// Field `data.time`, the deadline as RFC 3339 text; absent when unknown.
pub const SNOOZE_FIELD_DEADLINE: u32 = 18;
/// Field `data.timeRemaining`, seconds as a number, computed at the moment of the call.
pub const SNOOZE_FIELD_TIME_REMAINING: u32 = 19;
/// Field `data.instanceID`, text.
pub const SNOOZE_FIELD_INSTANCE_ID: u32 = 20;
/// Field `data.instanceType`, text.
pub const SNOOZE_FIELD_INSTANCE_TYPE: u32 = 21;
/// Field `data.zone`, text.
pub const SNOOZE_FIELD_ZONE: u32 = 22;
/// Field `data.region`, text.
pub const SNOOZE_FIELD_REGION: u32 = 23;
/// Field `data.noticeKind`, text: deadline or advisory.
pub const SNOOZE_FIELD_NOTICE_KIND: u32 = 24;
/// Field `data.cancels`, text: the id of the withdrawn event.
pub const SNOOZE_FIELD_CANCELS: u32 = 25;
/// Field `data.raw`, the provider's document untouched, as JSON text or plain text.
pub const SNOOZE_FIELD_RAW: u32 = 26;

/// Not cancelled: value of `*snooze_call.cancelled`.
pub const SNOOZE_CANCEL_NONE: u32 = 0;
/// The daemon is shutting down or the instance is being replaced.
pub const SNOOZE_CANCEL_SHUTDOWN: u32 = 1;
/// The time granted is over.
pub const SNOOZE_CANCEL_DEADLINE: u32 = 2;
/// A more severe event needs the instance.
pub const SNOOZE_CANCEL_SUPERSEDED: u32 = 3;
/// The cloud withdrew its notice, or an operator cancelled.
pub const SNOOZE_CANCEL_WITHDRAWN: u32 = 4;

/// The fixed head of an event. Lives until `on_event` returns (or until `complete`, for a call that
/// answered SNOOZE_ASYNC); to keep it longer, `snooze_host.event_retain`. 64 bytes: one cache line.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_event {
    /// Size of this struct in the host's version, bytes.
    pub struct_size: u32,
    /// SNOOZE_KIND_*; an unknown number is to be read as SNOOZE_KIND_OTHER.
    pub kind: u32,
    /// SNOOZE_SEVERITY_*.
    pub severity: u32,
    /// SNOOZE_EVENT_* bits; unknown bits are to be ignored.
    pub flags: u32,
    /// Number of the event since the daemon started, from 1.
    pub seq: u64,
    /// UUID v7, big-endian bytes.
    pub id: [u8; 16],
    /// Detection, CLOCK_BOOTTIME nanoseconds.
    pub detected_boot_ns: i64,
    /// Detection, nanoseconds since 1970-01-01 UTC.
    pub detected_wall_ns: i64,
    /// When the cloud acts, CLOCK_BOOTTIME nanoseconds; 0 unless SNOOZE_EVENT_DEADLINE_KNOWN.
    pub effective_boot_ns: i64,
}

/// One delivery of an event to one instance. Lives as long as its event. 56 bytes.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_call {
    /// Size of this struct in the host's version, bytes.
    pub struct_size: u32,
    /// 1 for the first attempt, 2 for the first retry, and so on.
    pub attempt: u32,
    /// Unique in the life of the daemon.
    pub call_id: u64,
    /// The same for every attempt of this delivery, also after a crash of the daemon: bytes of a
    /// UUID made from the event's id and the instance's name. Use it to make work idempotent.
    pub idempotency_key: [u8; 16],
    /// When the granted time ends, CLOCK_BOOTTIME nanoseconds. See `snooze_host.left_ns`.
    pub deadline_boot_ns: i64,
    /// Points at SNOOZE_CANCEL_*; turns non-zero once. Read it with acquire order. Never NULL.
    pub cancelled: *const u32,
    /// `snooze_subscription.handler` of the subscription that matched, or NULL.
    pub handler: *mut c_void,
}

const _: () = assert!(size_of::<snooze_event>() == 64);
const _: () = assert!(size_of::<snooze_call>() == 56);
