//! Notes when a certain text first goes by after it was armed. Inputs: bytes as they are read. Outputs: the moment.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Looks for the text that only work contains, not the way to it: no log-in, no check. Any thread.
pub struct Watch {
    text: &'static [u8],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_armed: bool,
    seen: Option<Instant>,
}

impl Watch {
    /// Looks for `text`, which arrives in one piece: clients write such short requests at once.
    pub fn new(text: &'static [u8]) -> Self {
        Self { text, state: Mutex::default() }
    }

    /// Forgets what was seen, and looks from now on.
    pub fn arm(&self) {
        *self.state() = State { is_armed: true, seen: None };
    }

    /// Bytes that have just been read.
    pub fn look(&self, bytes: &[u8]) {
        let now = Instant::now();
        let mut state = self.state();
        if state.is_armed && state.seen.is_none() && bytes.windows(self.text.len()).any(|part| part == self.text) {
            *state = State { is_armed: false, seen: Some(now) };
        }
    }

    /// When the text went by, if it did since [`Self::arm`].
    pub fn seen(&self) -> Option<Instant> {
        self.state().seen
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_counts_and_only_its_first_time_after_arming() {
        let watch = Watch::new(b"POST ");
        watch.look(b"POST / HTTP/1.1");
        assert!(watch.seen().is_none());
        watch.arm();
        watch.look(b"HEAD / HTTP/1.1");
        assert!(watch.seen().is_none());
        watch.look(b"...POST / HTTP/1.1");
        let first = watch.seen();
        assert!(first.is_some());
        watch.look(b"POST / HTTP/1.1");
        assert_eq!(watch.seen(), first);
    }
}
