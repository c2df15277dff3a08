//! Who follows what happens, line by line.
//!
//! Inputs: lines without secrets. Outputs: the same, numbered, to everybody who follows. Must never wait for one who is
//! slow: who falls behind by too much loses the oldest lines, and the numbers show it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::broadcast;

/// Lines that a slow one may fall behind before it loses some.
const LINES_MAX: usize = 1024;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Counted from 1 since the daemon's start.
    pub number: u64,
    /// `event`, `started`, `finished`, `completed`, `log`.
    pub kind: String,
    /// All of it, one line of JSON.
    pub json: String,
}

/// Those who follow.
pub struct Watchers {
    lines: broadcast::Sender<Arc<Happening>>,
    count: AtomicU64,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { lines: broadcast::channel(LINES_MAX).0, count: AtomicU64::new(0) }
    }
}

impl Watchers {
    /// Follows from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Happening>> {
        self.lines.subscribe()
    }

    /// Tells everybody; `json` is asked only when there is somebody.
    pub fn tell(&self, kind: &str, json: impl FnOnce() -> String) {
        // Counted also when nobody follows: a gap is what one missed.
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if self.lines.receiver_count() > 0 {
            let _ = self.lines.send(Arc::new(Happening { number, kind: kind.to_owned(), json: json() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_missed_shows_as_a_gap_in_the_numbers() {
        let watchers = Watchers::default();
        watchers.tell("log", || unreachable!("nobody follows"));
        let mut lines = watchers.follow();
        watchers.tell("event", || "{}".into());
        let line = lines.try_recv().expect("a line");
        assert_eq!((line.number, line.kind.as_str(), line.json.as_str()), (2, "event", "{}"));
    }
}
