//! The metadata server of Google Compute Engine, as types.
//!
//! Inputs: none. Outputs: the type. Must never hold a setting that the server itself answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The metadata server of Google Compute Engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GcpSource {
    /// Whether it is asked; absent: when the machine is found to be one of that cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Address of the server: `http://`, host, and port where it is not 80.
    pub endpoint: String,
    /// Seconds from the change of `preempted` to the end of the machine, which the server does not say: 30; 150 where the
    /// machine has a `preemptionNoticeDuration` of 120 s.
    #[schemars(range(min = 1, max = 3600.0))]
    pub preemption_notice_seconds: f64,
    /// Most seconds that the server is asked to hold an answer back while nothing changes.
    #[schemars(range(min = 1, max = 300))]
    pub hold_seconds: u32,
    /// Most milliseconds one request may take; an answer that is held back may take five times as long on top of
    /// `hold_seconds`.
    #[schemars(range(min = 50, max = 60_000))]
    pub request_timeout_ms: u32,
    /// Seconds between two questions to a server that does not hold its answers back, and first pause after an error.
    #[schemars(range(min = 0.05, max = 3600.0))]
    pub polling_interval_seconds: f64,
    /// The same for maintenance that is announced long before.
    #[schemars(range(min = 0.05, max = 3600.0))]
    pub upcoming_interval_seconds: f64,
}

impl Default for GcpSource {
    /// Address: Compute Engine, "Query VM metadata"; 30 s: Compute API, `scheduling.skipGuestOsShutdown`; 60 s and ten more:
    /// what Google's guest agent does.
    fn default() -> Self {
        Self {
            enabled: None,
            endpoint: "http://169.254.169.254".to_owned(),
            preemption_notice_seconds: 30.0,
            hold_seconds: 60,
            request_timeout_ms: 2_000,
            polling_interval_seconds: 1.0,
            upcoming_interval_seconds: 30.0,
        }
    }
}

impl GcpSource {
    /// What the configuration says: on, off, or nothing. An endpoint of its own, which is a rehearsal, is "on".
    pub fn wanted(&self) -> Option<bool> {
        self.enabled.or_else(|| (self.endpoint != Self::default().endpoint).then_some(true))
    }
}
