//! How long to wait before a process that ended is started again: pure.
//! Inputs: how long it lived. Outputs: a pause that doubles, and is short again after a long life. Must never read a clock.

use std::time::Duration;

/// First pause; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After this long alive, a process counts as healthy again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The pauses of one plugin.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Backoff {
    /// The pause after an end; `lived` is how long the process took calls, None when it never did.
    pub fn pause_after(&mut self, lived: Option<Duration>) -> Duration {
        if lived.is_some_and(|lived| lived >= HEALTHY_AFTER) {
            self.0 = PAUSE_MIN;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_short_again_after_a_long_life() {
        let mut backoff = Backoff::default();
        let first = [None, Some(Duration::ZERO), None].map(|lived| backoff.pause_after(lived).as_millis());
        assert_eq!(first, [100, 200, 400]);
        for _ in 0..20 {
            backoff.pause_after(None);
        }
        assert_eq!(backoff.pause_after(None), PAUSE_MAX);
        assert_eq!(backoff.pause_after(Some(HEALTHY_AFTER)), PAUSE_MIN);
    }
}
