//! The host's services that are not about one event. Usable from any thread, for the life of the
//! process. Must never block: the log copies into a ring and drops when it is full.
#![allow(unsafe_code)]

use crate::raw::lend;
use cloudsnooze_abi::{snooze_host, snooze_log_record, snooze_status};
use std::fmt;

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// Something failed.
    Error = cloudsnooze_abi::SNOOZE_LOG_ERROR,
    /// Something is not as it should be.
    Warning = cloudsnooze_abi::SNOOZE_LOG_WARNING,
    /// Worth knowing.
    Info = cloudsnooze_abi::SNOOZE_LOG_INFO,
    /// For debugging.
    Debug = cloudsnooze_abi::SNOOZE_LOG_DEBUG,
}

/// Calls member `$member` of the host's table when the host is new enough to have it.
macro_rules! service {
    ($table:expr, $member:ident) => {{
        let table: *const cloudsnooze_abi::snooze_host = $table;
        let end = std::mem::offset_of!(cloudsnooze_abi::snooze_host, $member) + size_of::<usize>();
        // SAFETY: the host's table outlives every instance, and `struct_size` says how much of it is there.
        unsafe { if (*table).struct_size as usize >= end { (*table).$member } else { None } }
    }};
}
pub(crate) use service;

/// The host, as seen by one plugin. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Host {
    pub(crate) table: *const snooze_host,
}

// SAFETY: the table is immutable, lives as long as the process, and its functions used here are tagged
// [any].
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// Logs one line, unless the level is off: formats into a buffer on the stack first, so that it is
    /// safe in a real-time handler; longer than 480 bytes is cut.
    pub fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        let enabled = service!(self.table, log_enabled)
            // SAFETY: table and function are the host's own.
            .is_none_or(|enabled| unsafe { enabled(self.table, level as u32) != 0 });
        let Some(log) = service!(self.table, log).filter(|_| enabled) else { return };
        let mut line = Line { bytes: [0; 480], len: 0 };
        // A full buffer is the only "error", and the cut line is what is wanted then.
        let _ = fmt::Write::write_fmt(&mut line, message);
        let text = line.text();
        let record = snooze_log_record {
            struct_size: size_of::<snooze_log_record>() as u32,
            level: level as u32,
            message: lend(text),
            fields: std::ptr::null(),
            field_count: 0,
        };
        // SAFETY: the record lives until the call returns.
        unsafe { log(self.table, &raw const record) };
    }

    /// Logs at level info.
    pub fn info(&self, message: fmt::Arguments<'_>) {
        self.log(Level::Info, message);
    }

    /// Logs at level warning.
    pub fn warn(&self, message: fmt::Arguments<'_>) {
        self.log(Level::Warning, message);
    }

    pub(crate) fn report_error(&self, code: snooze_status, text: &str) -> snooze_status {
        if let Some(report) = service!(self.table, report_error) {
            // SAFETY: the text lives until the call returns.
            unsafe { report(self.table, code, lend(text)) };
        }
        code
    }
}

struct Line {
    bytes: [u8; 480],
    len: usize,
}

impl Line {
    fn text(&self) -> &str {
        let bytes = &self.bytes[..self.len];
        // Cutting may have split a character; what stands before it is valid.
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.len;
        let take = text.len().min(room);
        self.bytes[self.len..self.len + take].copy_from_slice(&text.as_bytes()[..take]);
        self.len += take;
        if take == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
