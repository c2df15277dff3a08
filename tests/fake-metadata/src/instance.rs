//! Who the fake instance is.
//!
//! Responsibilities: the facts about an instance that metadata paths show, their defaults for each provider, their check.
//! Inputs: the `instance` object of a script, or a test's own value. Outputs: an [`Instance`]. It must never hold anything
//! secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cloud::Provider;

/// What `instance-life-cycle` may say, by the EC2 user guide's list of metadata categories.
pub const LIFE_CYCLES: [&str; 4] = ["on-demand", "spot", "scheduled", "capacity-block"];

/// The instance the fake service describes. Every field has a default; `Instance::default()` is a spot `m5.large` in
/// `us-east-1a` of AWS, [`Instance::of`] one of another provider. What a provider does not show means nothing there.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Instance {
    /// AWS: `i-` and 17 hexadecimal digits. Azure: a GUID, `vmId`. GCP: a number. Alibaba `i-…`, Tencent `ins-…`.
    pub id: String,
    /// Azure and GCP: the machine's name. On Azure it is what `Resources` of a scheduled event names; that of a machine in
    /// a uniform scale set is `SCALESET_NUMBER`.
    pub name: String,
    /// Azure: the scale set the machine belongs to; `None` for a machine of its own.
    pub scale_set: Option<String>,
    /// As the provider names it, such as `m5.large`.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// Availability zone, such as `us-east-1a`; on Azure a number, or empty.
    pub zone: String,
    /// Availability zone id, such as `use1-az4`.
    pub zone_id: String,
    /// Region; left out, it is what the zone begins with. Azure's zones do not say it.
    pub region: Option<String>,
    /// One of [`LIFE_CYCLES`]; `None` plays an instance older than this category (404).
    pub life_cycle: Option<String>,
    /// AWS: 12 digits. Azure: the subscription, a GUID. GCP: the project's number.
    pub account_id: String,
    /// `ami-` and 17 hexadecimal digits.
    pub image_id: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The primary private IPv4 address.
    pub private_ip: String,
    /// Launch time in the identity document, RFC 3339.
    pub pending_time: String,
    /// Name of the instance's role; `None` plays an instance without one (404).
    pub role: Option<String>,
    /// Instance tags; `None` plays an instance whose metadata options keep tags out (404).
    pub tags: Option<BTreeMap<String, String>>,
    /// `user-data`; `None` is 404.
    pub user_data: Option<String>,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            id: "i-1234567890abcdef0".to_owned(),
            name: "worker-1".to_owned(),
            scale_set: None,
            instance_type: "m5.large".to_owned(),
            zone: "us-east-1a".to_owned(),
            zone_id: "use1-az4".to_owned(),
            region: None,
            life_cycle: Some("spot".to_owned()),
            account_id: "123456789012".to_owned(),
            image_id: "ami-0abcdef1234567890".to_owned(),
            architecture: "x86_64".to_owned(),
            private_ip: "10.0.0.5".to_owned(),
            pending_time: "2026-01-05T10:15:30Z".to_owned(),
            role: None,
            tags: None,
            user_data: None,
        }
    }
}

impl Instance {
    /// A spot instance of that provider.
    pub fn of(provider: Provider) -> Self {
        let text = str::to_owned;
        match provider {
            Provider::Aws => Self::default(),
            Provider::Azure => Self {
                id: text("02aab8a4-74ef-476e-8182-f6d2ba4166a6"),
                name: text("workers_0"),
                scale_set: Some(text("workers")),
                instance_type: text("Standard_D4s_v5"),
                zone: text("1"),
                region: Some(text("westeurope")),
                account_id: text("8d10da13-8125-4ba9-a717-bf7490507b3d"),
                ..Self::default()
            },
            Provider::Gcp => Self {
                id: text("3520447112733571046"),
                instance_type: text("n2-standard-4"),
                zone: text("us-central1-a"),
                account_id: text("123456789012"),
                ..Self::default()
            },
            Provider::Alibaba => Self {
                id: text("i-bp145cvd0exyqj80iq5h"),
                instance_type: text("ecs.g7.large"),
                zone: text("cn-hangzhou-i"),
                ..Self::default()
            },
            Provider::Tencent => Self {
                id: text("ins-nmczpx4b"),
                instance_type: text("S5.MEDIUM4"),
                zone: text("ap-guangzhou-3"),
                ..Self::default()
            },
        }
    }

    /// The region, taken from the zone when it was not given: `us-east-1a` lies in `us-east-1` (AWS), `us-central1-a` in
    /// `us-central1` (GCP, and Alibaba and Tencent alike).
    pub fn region(&self) -> &str {
        if let Some(region) = &self.region {
            return region;
        }
        match self.zone.rsplit_once('-') {
            Some((region, last)) if last.len() == 1 => region,
            _ => self.zone.trim_end_matches(|letter: char| letter.is_ascii_lowercase()),
        }
    }

    /// True for a spot or preemptible instance.
    pub fn is_spot(&self) -> bool {
        self.life_cycle.as_deref() == Some("spot")
    }

    /// The first thing wrong with this instance: the field and what it should be.
    pub(crate) fn problem(&self, provider: Provider) -> Option<(&'static str, String)> {
        let zone_is_whole = provider != Provider::Azure;
        let mut named = vec![("id", &self.id), ("name", &self.name), ("type", &self.instance_type)];
        named.extend(zone_is_whole.then_some(("zone", &self.zone)));
        for (field, value) in named {
            if value.is_empty() {
                return Some((field, "must not be empty".to_owned()));
            }
        }
        if let Some(life_cycle) = self.life_cycle.as_deref().filter(|have| !LIFE_CYCLES.contains(have)) {
            let known = LIFE_CYCLES.join(", ");
            return Some(("life_cycle", format!("unknown life cycle {life_cycle:?}; use one of {known}, or null")));
        }
        if zone_is_whole && !self.zone.starts_with(self.region()) {
            return Some(("region", format!("zone {:?} does not lie in region {:?}", self.zone, self.region())));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_follows_the_zone_unless_given() {
        let mut instance = Instance { zone: "eu-central-1b".to_owned(), ..Instance::default() };
        assert_eq!(instance.region(), "eu-central-1");
        for (zone, region) in
            [("us-central1-a", "us-central1"), ("cn-hangzhou-i", "cn-hangzhou"), ("ap-guangzhou-3", "ap-guangzhou")]
        {
            let instance = Instance { zone: zone.to_owned(), ..Instance::default() };
            assert_eq!(instance.region(), region);
        }
        instance.region = Some("eu-central-2".to_owned());
        assert_eq!(instance.problem(Provider::Aws).map(|(field, _)| field), Some("region"));
    }

    #[test]
    fn the_default_instances_have_nothing_wrong() {
        for provider in Provider::ALL {
            assert_eq!(Instance::of(provider).problem(provider), None, "{provider}");
        }
    }
}
