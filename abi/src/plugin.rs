//! What a plugin offers to the host: one exported data symbol, `snooze_plugin_entry_v1`, whose
//! first 64 bytes hold no pointer and are read from the file before any code of the library runs.
//!
//! Life cycle: create, activate, warm_up (on every dispatch thread), then on_event / on_cancel /
//! verify, then deactivate and destroy. When create fails, `*out` is untouched and nothing else is
//! called; when activate fails, destroy follows. Nothing may be thrown, unwound or jumped across.

use crate::{snooze_call, snooze_event, snooze_host, snooze_status, snooze_str};
use core::ffi::{c_char, c_void};

/// Capability: `on_event` neither blocks, allocates nor does I/O; it may share a thread.
pub const SNOOZE_CAP_REALTIME: u64 = 0x1;
/// Capability: several `on_event` calls of one instance may run at the same time.
pub const SNOOZE_CAP_REENTRANT: u64 = 0x2;
/// Capability: `on_event` may answer SNOOZE_ASYNC.
pub const SNOOZE_CAP_ASYNC: u64 = 0x4;
/// Capability: assumes nothing about shared addresses, so it may run in a process of its own.
pub const SNOOZE_CAP_PROCESS_OK: u64 = 0x8;
/// Capability: puts back what an event had it change. The withdrawal of an event that an instance takes is delivered to that
/// instance too, whatever it subscribes to; withdrawals run from the lowest priority up.
pub const SNOOZE_CAP_UNDO: u64 = 0x10;
/// Capability: knows drills (SNOOZE_EVENT_DRILL). Without it a class is left out of them.
pub const SNOOZE_CAP_DRILL: u64 = 0x20;
/// Capability: brings notices; instances offer the extension SNOOZE_EXTENSION_SOURCE.
pub const SNOOZE_CAP_SOURCE: u64 = 0x40;

/// How an instance is made. Borrowed for the duration of create.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_create_args {
    /// Size of this struct in the host's version, bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the instance, "EVENT_TYPE/PLUGIN".
    pub instance_name: snooze_str,
    /// The configuration as JSON text, already valid against the class's schema, secrets resolved.
    pub config: snooze_str,
    /// A directory of the instance's own for what must outlive the process; may not exist yet.
    pub state_dir: snooze_str,
}

/// One instance: a table of functions with its state in `ctx`. Owned by the plugin, alive until
/// `destroy` returns. Required: on_event, deactivate, destroy.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_plugin {
    /// Size of this table in the plugin's version, bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The instance's state.
    pub ctx: *mut c_void,
    /// [main] Opens what the instance needs: connections, files, threads. May block for seconds.
    pub activate: Option<unsafe extern "C" fn(plugin: *const snooze_plugin) -> snooze_status>,
    /// [dispatch] Called once on each pool thread after activate, possibly at the same time on several and
    /// beside an on_event: touch code and data that on_event will need, so that the first event finds them
    /// warm. Must not block.
    pub warm_up: Option<unsafe extern "C" fn(plugin: *const snooze_plugin)>,
    /// [dispatch, worker] Handles one event. On a pool thread; may block unless the class claims
    /// SNOOZE_CAP_REALTIME. Must return before the call's deadline, and soon after cancellation.
    /// Event and call are borrowed until it returns (or until complete, after SNOOZE_ASYNC).
    pub on_event: Option<
        unsafe extern "C" fn(
            plugin: *const snooze_plugin,
            event: *const snooze_event,
            call: *const snooze_call,
        ) -> snooze_status,
    >,
    /// [any] The call was cancelled (SNOOZE_CANCEL_*); may overlap its on_event. Must not block.
    pub on_cancel: Option<unsafe extern "C" fn(plugin: *const snooze_plugin, call: *const snooze_call, reason: u32)>,
    /// [main] Takes a new configuration while active. NULL or an error: the host makes a new instance.
    pub reconfigure: Option<unsafe extern "C" fn(plugin: *const snooze_plugin, config: snooze_str) -> snooze_status>,
    /// [main] Stops and joins every thread, timer and task of the instance before it returns.
    pub deactivate: Option<unsafe extern "C" fn(plugin: *const snooze_plugin)>,
    /// [main] Frees the instance; no code of it may run afterwards.
    pub destroy: Option<unsafe extern "C" fn(plugin: *const snooze_plugin)>,
    /// [main] The table of an optional power of the plugin, or NULL.
    pub get_extension: Option<unsafe extern "C" fn(plugin: *const snooze_plugin, id: *const c_char) -> *const c_void>,
    /// [worker] Asked after a handled event, with the time left: does the effect really hold (rows
    /// flushed, file there, process gone)? SNOOZE_OK it does, SNOOZE_SKIPPED cannot be told, an error
    /// with report_error when it does not; evidence through set_result.
    pub verify: Option<
        unsafe extern "C" fn(
            plugin: *const snooze_plugin,
            event: *const snooze_event,
            call: *const snooze_call,
        ) -> snooze_status,
    >,
}

/// One kind of plugin in a library. Static, alive as long as the library. Texts are NUL-terminated.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_class {
    /// Size of this struct in the plugin's version, bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// SNOOZE_CAP_* bits; unknown bits are ignored.
    pub caps: u64,
    /// Reverse-domain identifier, "org.example.flusher".
    pub id: *const c_char,
    /// The name used in configurations; must agree with the file name.
    pub name: *const c_char,
    /// Version of the plugin.
    pub version: *const c_char,
    /// One sentence for people.
    pub description: *const c_char,
    /// [main] JSON Schema (draft 2020-12) of the configuration, or NULL for "takes none". A function,
    /// so that a schema derived from the plugin's own types can never drift from them.
    pub config_schema: Option<unsafe extern "C" fn() -> *const c_char>,
    /// [main] Makes an instance. On success writes `*out`; on failure leaves it untouched and says why
    /// through report_error.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const snooze_host,
            args: *const snooze_create_args,
            out: *mut *const snooze_plugin,
        ) -> snooze_status,
    >,
}

/// The entry record, exported as `snooze_plugin_entry_v1` in a read-only or relro section. The first
/// 64 bytes are frozen for ever.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_entry {
    /// SNOOZE_ENTRY_MAGIC.
    pub magic: u64,
    /// SNOOZE_ABI_MAJOR the plugin was built against.
    pub abi_major: u16,
    /// SNOOZE_ABI_MINOR the plugin was built against.
    pub abi_minor_built: u16,
    /// The lowest minor the plugin can live with.
    pub abi_minor_required: u16,
    /// 64 on a 64-bit machine.
    pub pointer_bits: u16,
    /// Size of this struct in the plugin's version, bytes.
    pub struct_size: u32,
    /// None defined; 0.
    pub flags: u32,
    /// SNOOZE_ABI_DIGEST of the header the plugin was built against.
    pub surface_digest: u64,
    /// Zero.
    pub reserved: [u64; 4],
    /// The classes of the library.
    pub classes: *const *const snooze_class,
    /// Number of classes, at least 1.
    pub class_count: usize,
    /// Who made it, NUL-terminated.
    pub vendor: *const c_char,
    /// SPDX licence expression, NUL-terminated.
    pub license: *const c_char,
    /// Home page, NUL-terminated; may be empty.
    pub url: *const c_char,
    /// What it was built with ("c", "rust-sdk 0.1.0"), NUL-terminated.
    pub sdk: *const c_char,
}

// SAFETY: the records are written by the compiler, never changed, and point at static text only;
// the host reads them from any thread.
#[allow(unsafe_code)]
unsafe impl Sync for snooze_entry {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for snooze_class {}

const _: () = assert!(core::mem::offset_of!(snooze_entry, classes) == 64);
const _: () = assert!(size_of::<snooze_entry>() == 112);
const _: () = assert!(size_of::<snooze_class>() == 64);
