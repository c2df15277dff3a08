//! What the host offers to a plugin: one size-prefixed table of functions. The table lives as long
//! as the process. A member is read only when `offset + size <= struct_size` and it is not NULL
//! (`SNOOZE_HAS` in plugin_util.h).

use crate::{snooze_bytes, snooze_call, snooze_event, snooze_pair, snooze_status, snooze_str};
use core::ffi::{c_char, c_void};

/// One line for the log. Borrowed for the duration of `snooze_host.log`.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_log_record {
    /// Size of this struct in the plugin's version, bytes.
    pub struct_size: u32,
    /// SNOOZE_LOG_*.
    pub level: u32,
    /// One line of text; longer than 480 bytes is cut.
    pub message: snooze_str,
    /// Structured fields, or NULL.
    pub fields: *const snooze_pair,
    /// Number of fields.
    pub field_count: usize,
}

/// What an instance can handle. The configuration decides what it is sent; a handler configured for
/// a type that no subscription matches is refused. An instance without any subscription takes what
/// the configuration sends it.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_subscription {
    /// Size of this struct in the plugin's version, bytes.
    pub struct_size: u32,
    /// 0 to 999, used when the configuration names no priority: >= 70 critical data, 40-69
    /// checkpoints, < 40 notification and logging.
    pub priority: u32,
    /// NULL-ended list of event types, exact or a dotted prefix with `*` ("cloud.spot.*", "*").
    pub kinds: *const *const c_char,
    /// None defined; 0.
    pub flags: u64,
    /// Given back as `snooze_call.handler`.
    pub handler: *mut c_void,
    /// Time wanted, microseconds, used when the configuration names no timeout; 0 = the host's default.
    pub budget_us: u64,
}

/// The host's services. Every function takes the table itself first.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_host {
    /// Size of this table in the host's version, bytes.
    pub struct_size: u32,
    /// The host's SNOOZE_ABI_MINOR.
    pub abi_minor: u32,
    /// The host's own; do not touch.
    pub ctx: *mut c_void,
    /// [any, rt] Logs one line. Copies; never blocks: when the ring is full the line is dropped and
    /// counted.
    pub log: Option<unsafe extern "C" fn(host: *const snooze_host, record: *const snooze_log_record)>,
    /// [any, rt] Non-zero when a line of this level would be kept: ask before formatting.
    pub log_enabled: Option<unsafe extern "C" fn(host: *const snooze_host, level: u32) -> u32>,
    /// [any] Attaches text to the error that the function in progress on this thread is about to
    /// return, and returns `code`: `return h->report_error(h, SNOOZE_E_IO, text);`. Copies.
    pub report_error:
        Option<unsafe extern "C" fn(host: *const snooze_host, code: snooze_status, text: snooze_str) -> snooze_status>,
    /// [any] The table of an optional service ("cloudsnooze.name/1"), or NULL when not offered. The
    /// table lives as long as the process.
    pub get_extension: Option<unsafe extern "C" fn(host: *const snooze_host, id: *const c_char) -> *const c_void>,
    /// [main] Inside create or activate: says what the instance can handle. Copies `sub`; writes an
    /// id to `out_id` (which may be NULL).
    pub subscribe: Option<
        unsafe extern "C" fn(
            host: *const snooze_host,
            sub: *const snooze_subscription,
            out_id: *mut u64,
        ) -> snooze_status,
    >,
    /// [main] Takes a subscription back, inside the same function that made it.
    pub unsubscribe: Option<unsafe extern "C" fn(host: *const snooze_host, id: u64) -> snooze_status>,
    /// [main] The id of a field by its JSON path ("data.instanceID", "data.my.own"); 0 when the table
    /// of names is full. Ids stay valid for the life of the process.
    pub field_id: Option<unsafe extern "C" fn(host: *const snooze_host, path: snooze_str) -> u32>,
    /// [any, rt] Text of a field, borrowed as long as the event lives.
    pub event_str: Option<
        unsafe extern "C" fn(
            host: *const snooze_host,
            event: *const snooze_event,
            field: u32,
            out: *mut snooze_str,
        ) -> snooze_status,
    >,
    /// [any, rt] A whole number.
    pub event_i64: Option<
        unsafe extern "C" fn(
            host: *const snooze_host,
            event: *const snooze_event,
            field: u32,
            out: *mut i64,
        ) -> snooze_status,
    >,
    /// [any, rt] A number.
    pub event_f64: Option<
        unsafe extern "C" fn(
            host: *const snooze_host,
            event: *const snooze_event,
            field: u32,
            out: *mut f64,
        ) -> snooze_status,
    >,
    /// [any, rt] The bytes of a text field.
    pub event_bytes: Option<
        unsafe extern "C" fn(
            host: *const snooze_host,
            event: *const snooze_event,
            field: u32,
            out: *mut snooze_bytes,
        ) -> snooze_status,
    >,
    /// [any] The whole event as one CloudEvents 1.0 JSON object, made at the first request of this
    /// delivery and borrowed as long as the event lives.
    pub event_json: Option<
        unsafe extern "C" fn(
            host: *const snooze_host,
            event: *const snooze_event,
            out: *mut snooze_str,
        ) -> snooze_status,
    >,
    /// [any, rt] Keeps the event alive beyond the call; to be paired with event_release.
    pub event_retain: Option<unsafe extern "C" fn(host: *const snooze_host, event: *const snooze_event)>,
    /// [any] Gives a retained event back.
    pub event_release: Option<unsafe extern "C" fn(host: *const snooze_host, event: *const snooze_event)>,
    /// [any, rt] Nanoseconds until the call's granted time ends; 0 when it is over.
    pub left_ns: Option<unsafe extern "C" fn(host: *const snooze_host, call: *const snooze_call) -> i64>,
    /// [any] A descriptor that turns readable when the call is cancelled, for poll(); owned by the
    /// host, valid as long as the call. -1 when none can be had.
    pub cancel_fd: Option<unsafe extern "C" fn(host: *const snooze_host, call: *const snooze_call) -> i32>,
    /// [any, rt] How far the work is, 0 to 1000, with a short text. Copies.
    pub progress: Option<
        unsafe extern "C" fn(host: *const snooze_host, call: *const snooze_call, permille: u32, text: snooze_str),
    >,
    /// [any] Attaches a JSON object to the call for the report: evidence, counts, identifiers. Copies;
    /// at most 64 KiB (SNOOZE_E_TOO_SMALL beyond); SNOOZE_E_INVALID when it is not a JSON object.
    pub set_result: Option<
        unsafe extern "C" fn(host: *const snooze_host, call: *const snooze_call, json: snooze_str) -> snooze_status,
    >,
    /// [any] Ends a call that answered SNOOZE_ASYNC, exactly once, with its status and an error text
    /// (used when `code` is negative). SNOOZE_E_STATE when the call is over or unknown.
    pub complete: Option<
        unsafe extern "C" fn(
            host: *const snooze_host,
            call: *const snooze_call,
            code: snooze_status,
            text: snooze_str,
        ) -> snooze_status,
    >,
}
