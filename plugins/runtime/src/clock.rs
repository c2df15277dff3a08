//! How long a call's work may take, and whether it is to stop.
//!
//! Inputs: an end, the waiting thread's word. Outputs: what is left, a future that comes true when it is over. Must never be
//! longer than what the host granted.

use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The end of a call's time. Cheap to copy.
#[derive(Clone, Debug)]
pub struct Clock {
    ends: Instant,
    stop: watch::Receiver<bool>,
}

impl Clock {
    pub(crate) fn new(left: Duration, stop: watch::Receiver<bool>) -> Self {
        Self { ends: Instant::now() + left, stop }
    }

    /// One that ends after `left` and that nobody stops: for upkeep between calls, and for tests.
    pub fn alone(left: Duration) -> Self {
        let (_nobody, stop) = watch::channel(false);
        Self::new(left, stop)
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Whether the host cancelled the call.
    pub fn is_cancelled(&self) -> bool {
        *self.stop.borrow()
    }

    /// The same with an end that is earlier by `reserve`.
    #[must_use]
    pub fn less(&self, reserve: Duration) -> Self {
        Self { ends: self.ends.checked_sub(reserve).unwrap_or(self.ends), stop: self.stop.clone() }
    }

    /// The same, but over after `limit` at the latest.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self { ends: self.ends.min(Instant::now() + limit), stop: self.stop.clone() }
    }

    /// Comes true when the time is over or the call was cancelled.
    pub async fn over(&self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep_until(self.ends.into()) => {}
            () = cancelled(&mut stop) => {}
        }
    }
}

async fn cancelled(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|is_stopped| *is_stopped).await.is_err() {
        // Nobody is left who could cancel.
        std::future::pending::<()>().await;
    }
}
