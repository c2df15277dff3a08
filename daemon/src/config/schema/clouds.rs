//! The clouds that can be watched, as types.
//!
//! Inputs: none. Outputs: the types. Must never name a setting that no source reads.

use super::{SourcePlugin, SystemSource};
use crate::settings::{AwsSource, AzureSource, GcpSource, SpotTimeSource};
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
