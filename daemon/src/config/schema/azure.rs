//! Azure's Scheduled Events, as settings.
//!
//! Inputs: none. Outputs: the type. Must never name a setting that the source does not read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scheduled Events of Azure's metadata service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AzureSource {
    /// Whether it is asked; absent: when the machine is found to be one of Azure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Address of the service: `http://`, host, and port where it is not 80.
    pub endpoint: String,
    /// Most milliseconds one request may take. The first one, which may take minutes, is waited for all the same.
    #[schemars(range(min = 50, max = 60_000))]
    pub request_timeout_ms: u32,
    /// Seconds between two polls, where `event_handlers` gives no interval. All events stand in one document, so the
    /// shortest interval counts; at most two requests a second, since the machine as a whole may make five.
    #[schemars(range(min = 0.5, max = 3600.0))]
    pub polling_interval_seconds: f64,
}

impl Default for AzureSource {
    /// Address: "Azure Instance Metadata Service"; one second: "Scheduled Events for Linux VMs", "Polling frequency".
    fn default() -> Self {
        Self {
            enabled: None,
            endpoint: "http://169.254.169.254".to_owned(),
            request_timeout_ms: 2_000,
            polling_interval_seconds: 1.0,
        }
    }
}

impl AzureSource {
    /// What the configuration says: on, off, or nothing. An endpoint of its own, which is a rehearsal, is "on".
    pub fn wanted(&self) -> Option<bool> {
        self.enabled.or_else(|| (self.endpoint != Self::default().endpoint).then_some(true))
    }
}
