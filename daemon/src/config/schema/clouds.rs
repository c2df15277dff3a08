//! The clouds that can be watched, as types.
//!
//! Inputs: none. Outputs: the types. Must never name a setting that no source reads.

use super::{AzureSource, GcpSource, SourcePlugin, SystemSource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where notices come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sources {
    /// The metadata service of Amazon EC2.
    pub aws: AwsSource,
    /// Scheduled Events of Azure's metadata service.
    pub azure: AzureSource,
    /// The metadata server of Google Compute Engine.
    pub gcp: GcpSource,
    /// The metadata service of Alibaba Cloud ECS, by default http://100.100.100.200.
    pub alibaba: SpotTimeSource,
    /// The metadata service of Tencent Cloud CVM, by default http://metadata.tencentyun.com.
    pub tencent: SpotTimeSource,
    /// How it is found out which cloud this machine is in. What is found is watched, unless its `enabled` says otherwise; a
    /// cloud whose `endpoint` is given is watched without being looked for.
    pub detect: DetectSource,
    /// Absolute path of systemd-imdsd's socket. It is asked where the machine prohibits direct access to its metadata service,
    /// as systemd does from version 261 on.
    pub imds_socket: PathBuf,
    /// The machine itself: its shutdown, its disks, memory, network, clock, units and hardware.
    pub system: SystemSource,
    /// Plugins that bring notices. Read at the start.
    pub plugins: Vec<SourcePlugin>,
}

impl Default for Sources {
    /// Socket: systemd 261, `systemd-imdsd.socket`.
    fn default() -> Self {
        Self {
            aws: AwsSource::default(),
            azure: AzureSource::default(),
            gcp: GcpSource::default(),
            alibaba: SpotTimeSource::default(),
            tencent: SpotTimeSource::default(),
            detect: DetectSource::default(),
            imds_socket: PathBuf::from("/run/systemd/io.systemd.InstanceMetadata"),
            system: SystemSource::default(),
            plugins: Vec::new(),
        }
    }
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

/// How it is found out which cloud this machine is in: by what the firmware says (DMI), and where that names no cloud, by
/// asking the metadata services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DetectSource {
    /// Whether anybody looks. Without it only clouds that are switched on are watched.
    pub enabled: bool,
    /// Absolute directory where sysfs is, whose class/dmi/id holds what the firmware says.
    pub sys_directory: PathBuf,
    /// Most milliseconds that one request to a metadata service may take. All are asked at the same time, beside the daemon's
    /// work, and again after 5 s, 10 s, 20 s and so on up to 5 min until one answers as its own cloud's does.
    #[schemars(range(min = 50, max = 10_000))]
    pub probe_timeout_ms: u32,
    /// Where they are asked. The cloud that is found is watched there.
    pub endpoints: DetectEndpoints,
}

impl Default for DetectSource {
    /// A second: the service is on the same host, and the answer is not urgent.
    fn default() -> Self {
        Self {
            enabled: true,
            sys_directory: PathBuf::from("/sys"),
            probe_timeout_ms: 1_000,
            endpoints: DetectEndpoints::default(),
        }
    }
}

/// Addresses of metadata services: `http://`, host, and port where it is not 80. null: that one is not asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DetectEndpoints {
    /// Amazon EC2's.
    pub aws: Option<String>,
    /// Microsoft Azure's.
    pub azure: Option<String>,
    /// Google Compute Engine's, and Yandex Cloud's.
    pub gcp: Option<String>,
    /// Alibaba Cloud's.
    pub alibaba: Option<String>,
    /// Tencent Cloud's: a name, which is looked up.
    pub tencent: Option<String>,
    /// Oracle Cloud's: it has no notices, but it is good to know.
    pub oracle: Option<String>,
}

impl Default for DetectEndpoints {
    /// As each cloud documents it. Tencent documents a name only, so one name is looked up.
    fn default() -> Self {
        let link_local = || Some("http://169.254.169.254".to_owned());
        Self {
            aws: link_local(),
            azure: link_local(),
            gcp: link_local(),
            alibaba: Some("http://100.100.100.200".to_owned()),
            tencent: Some("http://metadata.tencentyun.com".to_owned()),
            oracle: link_local(),
        }
    }
}

impl DetectEndpoints {
    /// Nobody is asked.
    pub const fn none() -> Self {
        Self { aws: None, azure: None, gcp: None, alibaba: None, tencent: None, oracle: None }
    }
}

impl AwsSource {
    /// Whether it is watched: as configured; None: when the machine is found to be one of that cloud. An address of one's
    /// own is meant to be asked.
    pub fn wanted(&self) -> Option<bool> {
        self.enabled.or_else(|| (self.endpoint != Self::default().endpoint).then_some(true))
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
