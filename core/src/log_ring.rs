//! Lines that plugins log, on their way from a real-time thread to the log.
//!
//! Inputs: borrowed text. Outputs: copies, in order. Must never allocate, lock or wait on the pushing
//! side: when the ring is full the line is dropped and counted.

use crossbeam_queue::ArrayQueue;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::{self, Thread};

/// Longest line kept, bytes; longer ones are cut at a character.
pub const LINE_BYTES_MAX: usize = 480;
/// Lines the ring holds.
pub const LINES_MAX: usize = 512;

/// One line.
pub struct Line {
    /// `SNOOZE_LOG_*`.
    pub level: u32,
    /// Name of the instance that logged it.
    pub instance: &'static str,
    text: [u8; LINE_BYTES_MAX],
    len: u16,
    is_cut: bool,
}

impl Line {
    /// The text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.len)]).unwrap_or_default()
    }

    /// Whether the plugin's line was longer.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// Takes lines to another process. Must not block: it is called on any thread of a plugin.
pub type Elsewhere = Box<dyn Fn(u32, &str) + Send + Sync>;

/// The ring. One for the process; any thread pushes, one takes.
pub struct LogRing {
    /// Where lines go in place of the ring: the process of an isolated plugin keeps none.
    elsewhere: Option<Elsewhere>,
    lines: ArrayQueue<Line>,
    dropped: AtomicU64,
    level: AtomicU32,
    reader: OnceLock<Thread>,
}

impl LogRing {
    /// A ring that keeps levels up to `level` (`SNOOZE_LOG_*`).
    pub fn new(level: u32) -> Self {
        Self::with_room(level, LINES_MAX, None)
    }

    /// One that keeps nothing: each line of a level up to `level` goes elsewhere, uncut.
    pub fn passing_on(level: u32, elsewhere: Elsewhere) -> Self {
        Self::with_room(level, 1, Some(elsewhere))
    }

    fn with_room(level: u32, lines: usize, elsewhere: Option<Elsewhere>) -> Self {
        Self {
            elsewhere,
            lines: ArrayQueue::new(lines),
            dropped: AtomicU64::new(0),
            level: AtomicU32::new(level),
            reader: OnceLock::new(),
        }
    }

    /// Whether a line of this level would be kept.
    pub fn enabled(&self, level: u32) -> bool {
        level <= self.level()
    }

    /// The least important level that is kept, `SNOOZE_LOG_*`.
    pub fn level(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    /// Copies a line in.
    pub fn push(&self, instance: &'static str, level: u32, text: &str) {
        if !self.enabled(level) {
            return;
        }
        if let Some(elsewhere) = &self.elsewhere {
            return elsewhere(level, text);
        }
        let end = text.floor_char_boundary(LINE_BYTES_MAX);
        let mut line = Line { level, instance, text: [0; LINE_BYTES_MAX], len: end as u16, is_cut: end < text.len() };
        line.text[..end].copy_from_slice(&text.as_bytes()[..end]);
        if self.lines.push(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    /// Names the calling thread as the one to wake when a line comes: a system call at most, and only
    /// when that thread sleeps.
    pub fn read_here(&self) {
        let _ = self.reader.set(thread::current());
    }

    /// Takes the oldest line.
    pub fn pop(&self) -> Option<Line> {
        self.lines.pop()
    }

    /// How many lines were dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_in_order_cut_at_a_character_and_overflow_is_counted() {
        let ring = LogRing::new(cloudsnooze_abi::SNOOZE_LOG_INFO);
        ring.push("a", cloudsnooze_abi::SNOOZE_LOG_DEBUG, "not kept");
        ring.push("a", 1, &"ü".repeat(300));
        let line = ring.pop().expect("line");
        assert_eq!((line.text(), line.is_cut()), (&*"ü".repeat(240), true));
        for n in 0..LINES_MAX + 7 {
            ring.push("a", 1, &n.to_string());
        }
        let line = ring.pop().expect("line");
        assert_eq!((line.text(), line.is_cut()), ("0", false));
        assert_eq!((ring.take_dropped(), ring.take_dropped()), (7, 0));
    }
}
