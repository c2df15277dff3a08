//! Borrowed text and bytes, the only way variable-length data crosses the border.
//! Ownership: what is passed in is borrowed until the function returns; nobody frees the other
//! side's memory. These layouts are frozen for ever.

use core::ffi::c_char;

/// Borrowed UTF-8 text. Not NUL-terminated; embedded NUL bytes are allowed. `ptr` may be NULL when
/// `len` is 0. Text that is not valid UTF-8 is refused with SNOOZE_E_INVALID.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_str {
    /// First byte, or NULL when empty.
    pub ptr: *const c_char,
    /// Length in bytes.
    pub len: usize,
}

/// Borrowed bytes. `ptr` may be NULL when `len` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_bytes {
    /// First byte, or NULL when empty.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}

/// A key and its value, both borrowed.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "layout", derive(abi_stable::StableAbi))]
pub struct snooze_pair {
    /// The key.
    pub key: snooze_str,
    /// The value.
    pub value: snooze_str,
}
