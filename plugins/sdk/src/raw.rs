//! Borrowed text across the border, checked. Inputs: pointers from the host. Outputs: `&str`.
//! Holding the result proves: the bytes were valid UTF-8 at the time, and live as long as `'a`, which
//! the caller chose from the ABI's ownership rules.
#![allow(unsafe_code)]

use cloudsnooze_abi::{snooze_bytes, snooze_str};

/// Text that the other side lent for `'a`; empty when it is not valid UTF-8.
///
/// # Safety
/// `text.ptr` is NULL or points at `text.len` readable bytes that do not change during `'a`.
pub(crate) unsafe fn text<'a>(text: snooze_str) -> &'a str {
    // SAFETY: the caller's promise, passed on.
    let bytes = unsafe { bytes(snooze_bytes { ptr: text.ptr.cast(), len: text.len }) };
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Bytes that the other side lent for `'a`.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn bytes<'a>(bytes: snooze_bytes) -> &'a [u8] {
    if bytes.ptr.is_null() {
        return &[];
    }
    // SAFETY: not NULL, and the caller promises `len` readable bytes.
    unsafe { std::slice::from_raw_parts(bytes.ptr, bytes.len) }
}

/// Lends text to the other side for the duration of a call.
pub(crate) fn lend(text: &str) -> snooze_str {
    snooze_str { ptr: text.as_ptr().cast(), len: text.len() }
}

pub(crate) const EMPTY: snooze_str = snooze_str { ptr: std::ptr::null(), len: 0 };
