//! The clouds that can be watched, as types.
//!
//! Inputs: none. Outputs: the types. Must never name a setting that no source reads.

use super::SystemSource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where notices come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sources {
    /// The metadata service of Amazon EC2.
    pub aws: AwsSource,
    /// The metadata service of Alibaba Cloud ECS, by default http://100.100.100.200.
    pub alibaba: SpotTimeSource,
    /// The metadata service of Tencent Cloud CVM, by default http://metadata.tencentyun.com.
    pub tencent: SpotTimeSource,
    /// The system's own shutdown.
    pub system: SystemSource,
}

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
    /// Whether it is asked without anybody having found out which cloud this is: an address of one's own is meant to be.
    pub fn is_on(&self) -> bool {
        self.enabled.unwrap_or(self.endpoint.is_some())
    }
}
