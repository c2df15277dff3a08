//! What can be set about a cloud's metadata service, as types: the members of `sources` in the configuration.
//!
//! Inputs: none. Outputs: the types. Must never hold a setting that the service itself answers, or name one that no source reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The metadata service of Amazon EC2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AwsSource {
    /// Whether it is asked; absent: when the machine is found to be one of EC2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Address of the service: `http://`, host, and port where it is not 80; `http://[fd00:ec2::254]` for IPv6.
    pub endpoint: String,
    /// Whether version 1 of the service (no token) is used where version 2 is not offered.
    pub allow_imds_v1: bool,
    /// Most milliseconds one request may take.
    #[schemars(range(min = 50, max = 60_000))]
    pub request_timeout_ms: u32,
    /// Seconds between two polls, for all notices that `event_handlers` gives no interval.
    #[schemars(range(min = 0.05, max = 3600.0))]
    pub polling_interval_seconds: f64,
    /// Seconds between two polls for scheduled maintenance, which is announced long before.
    #[schemars(range(min = 0.05, max = 3600.0))]
    pub maintenance_interval_seconds: f64,
    /// Seconds between polls while a notice is more likely than usual: for half an hour after a recommendation to
    /// leave. Counts where it is shorter than the usual interval.
    #[schemars(range(min = 0.05, max = 3600.0))]
    pub hurried_interval_seconds: f64,
}

impl Default for AwsSource {
    /// Address: EC2 user guide, "Access instance metadata"; five seconds: what its page on interruption notices recommends.
    fn default() -> Self {
        Self {
            enabled: None,
            endpoint: "http://169.254.169.254".to_owned(),
            allow_imds_v1: false,
            request_timeout_ms: 2_000,
            polling_interval_seconds: 5.0,
            maintenance_interval_seconds: 30.0,
            hurried_interval_seconds: 1.0,
        }
    }
}

impl AwsSource {
    /// Whether it is watched: as configured; None: when the machine is found to be one of that cloud. An address of one's
    /// own is meant to be asked.
    pub fn wanted(&self) -> Option<bool> {
        self.enabled.or_else(|| (self.endpoint != Self::default().endpoint).then_some(true))
    }
}

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

/// A metadata service whose only notice is the time at which a spot instance ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpotTimeSource {
    /// Whether it is asked; absent: when the machine is found to be one of that cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Address of the service: `http://`, host, and port where it is not 80; absent: the cloud's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Most milliseconds one request may take.
    #[schemars(range(min = 50, max = 60_000))]
    pub request_timeout_ms: u32,
    /// Seconds between two polls, where `event_handlers` gives no interval.
    #[schemars(range(min = 0.05, max = 3600.0))]
    pub polling_interval_seconds: f64,
}

impl Default for SpotTimeSource {
    /// Five seconds: what EC2 recommends for the same item; neither cloud names a number.
    fn default() -> Self {
        Self { enabled: None, endpoint: None, request_timeout_ms: 2_000, polling_interval_seconds: 5.0 }
    }
}

impl SpotTimeSource {
    /// As for [`AwsSource::wanted`].
    pub fn wanted(&self) -> Option<bool> {
        self.enabled.or_else(|| self.endpoint.is_some().then_some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_is_looked_for_unless_it_is_switched_or_has_an_address_of_its_own() {
        let aws =
            |enabled, endpoint: &str| AwsSource { enabled, endpoint: endpoint.into(), ..AwsSource::default() }.wanted();
        let own = "http://127.0.0.1:1338";
        let usual = AwsSource::default().endpoint;
        assert_eq!([aws(None, &usual), aws(None, own)], [None, Some(true)]);
        assert_eq!([aws(Some(true), &usual), aws(Some(false), own)], [Some(true), Some(false)]);
        let other = |enabled, endpoint: Option<&str>| {
            SpotTimeSource { enabled, endpoint: endpoint.map(str::to_owned), ..SpotTimeSource::default() }.wanted()
        };
        assert_eq!(
            [other(None, None), other(None, Some(own)), other(Some(false), Some(own))],
            [None, Some(true), Some(false)]
        );
    }
}
