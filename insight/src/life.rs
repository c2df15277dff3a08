//! What became of one machine: the exposure without which there are no rates.

use crate::Pool;
use serde::{Deserialize, Serialize};

/// How a machine's life ended, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The provider took it back: the event that is counted.
    Interrupted,
    /// Somebody stopped it: it would have lived at least so long (right-censored).
    Stopped,
    /// It was still there when last seen (right-censored too).
    Running,
}

/// One machine from its start to its end, or to when it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// Where it ran.
    pub pool: Pool,
    /// Its start, seconds since 1970, UTC.
    pub launched_s: f64,
    /// How long it was seen to live, hours; finite and not negative.
    pub lived_h: f64,
    /// How that ended.
    pub outcome: Outcome,
    /// Machines of one batch were started together and often end together: errors are clustered by it.
    pub batch: Option<u64>,
}

impl Life {
    /// Whether the provider ended it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.outcome == Outcome::Interrupted
    }

    /// The same life as if nobody had looked at it after an age of so many hours. Where a provider ends all machines at some age
    /// (GCP's preemptible ones at 24 hours), those ends say when machines were started and nothing on what shortens lives: an age a
    /// little below it leaves them out. A length that is none stays, and is refused later.
    #[must_use]
    pub fn until(&self, age_h: f64) -> Self {
        if self.lived_h > age_h {
            return Self { lived_h: age_h.max(0.0), outcome: Outcome::Running, ..self.clone() };
        }
        self.clone()
    }

    /// A life that ended at an unknown time between two looks (interval-censored): its length is taken to be the middle. Good enough
    /// as long as looks are minutes apart, and questions about hours.
    #[must_use]
    pub fn ended_between(pool: Pool, launched_s: f64, last_seen_h: f64, gone_h: f64, outcome: Outcome) -> Self {
        Self { pool, launched_s, lived_h: f64::midpoint(last_seen_h, gone_h), outcome, batch: None }
    }
}
