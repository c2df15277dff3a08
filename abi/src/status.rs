//! Result codes and log levels. Open sets: an unknown negative status is read as
//! SNOOZE_E_INTERNAL, an unknown level as SNOOZE_LOG_INFO. Values are given out once.

/// Outcome of a call: >= 0 done, < 0 failed. An alias, not an enum, so that a value from a newer
/// version is never undefined behaviour.
pub type snooze_status = i32;

/// Done: the event was handled.
pub const SNOOZE_OK: snooze_status = 0;
/// Accepted; `snooze_host.complete` will be called exactly once (class capability SNOOZE_CAP_ASYNC).
pub const SNOOZE_ASYNC: snooze_status = 1;
/// The handler looked at the event and declined it: nothing was to be done.
pub const SNOOZE_SKIPPED: snooze_status = 2;
/// The operation is not offered.
pub const SNOOZE_E_UNSUPPORTED: snooze_status = -1;
/// An argument is not valid.
pub const SNOOZE_E_INVALID: snooze_status = -2;
/// The named thing does not exist; for an event field: it is absent.
pub const SNOOZE_E_NOT_FOUND: snooze_status = -3;
/// Out of memory.
pub const SNOOZE_E_NO_MEMORY: snooze_status = -4;
/// Busy at the moment.
pub const SNOOZE_E_BUSY: snooze_status = -5;
/// Stopped because the call was cancelled.
pub const SNOOZE_E_CANCELLED: snooze_status = -6;
/// The deadline came first.
pub const SNOOZE_E_DEADLINE: snooze_status = -7;
/// Not legal in this state of the life cycle.
pub const SNOOZE_E_STATE: snooze_status = -8;
/// The configuration is not acceptable.
pub const SNOOZE_E_CONFIG: snooze_status = -9;
/// Input or output failed.
pub const SNOOZE_E_IO: snooze_status = -10;
/// Permission denied.
pub const SNOOZE_E_DENIED: snooze_status = -11;
/// Versions do not fit.
pub const SNOOZE_E_VERSION: snooze_status = -12;
/// The plugin panicked or threw; its instance is poisoned.
pub const SNOOZE_E_PANIC: snooze_status = -13;
/// Anything else.
pub const SNOOZE_E_INTERNAL: snooze_status = -14;
/// The buffer given is too small; the needed size was written.
pub const SNOOZE_E_TOO_SMALL: snooze_status = -15;
/// Failed now, worth another attempt while time allows.
pub const SNOOZE_E_RETRY: snooze_status = -16;

/// Log level: error.
pub const SNOOZE_LOG_ERROR: u32 = 1;
/// Log level: warning.
pub const SNOOZE_LOG_WARNING: u32 = 2;
/// Log level: information.
pub const SNOOZE_LOG_INFO: u32 = 3;
/// Log level: debugging.
pub const SNOOZE_LOG_DEBUG: u32 = 4;
