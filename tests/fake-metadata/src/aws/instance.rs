//! Who the fake instance is.
//!
//! Responsibilities: the facts about an instance that metadata paths show, their defaults, their check. Inputs: the
//! `instance` object of a script, or a test's own value. Outputs: an [`Instance`]. It must never hold anything secret.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What `instance-life-cycle` may say, by the EC2 user guide's list of metadata categories.
pub const LIFE_CYCLES: [&str; 4] = ["on-demand", "spot", "scheduled", "capacity-block"];

/// The instance the fake service describes. Every field has a default; `Instance::default()` is a spot `m5.large` in
/// `us-east-1a`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Instance {
    /// `i-` and 17 hexadecimal digits.
    pub id: String,
    /// As EC2 names it, such as `m5.large`.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// Availability zone, such as `us-east-1a`.
    pub zone: String,
    /// Availability zone id, such as `use1-az4`.
    pub zone_id: String,
    /// Region; left out, it is the zone without its last letter.
    pub region: Option<String>,
    /// One of [`LIFE_CYCLES`]; `None` plays an instance older than this category (404).
    pub life_cycle: Option<String>,
    /// 12 digits.
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
    /// The region, taken from the zone when it was not given.
    pub fn region(&self) -> &str {
        match &self.region {
            Some(region) => region,
            None => self.zone.trim_end_matches(|letter: char| letter.is_ascii_lowercase()),
        }
    }

    /// The first thing wrong with this instance: the field and what it should be.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        let named = [("id", &self.id), ("type", &self.instance_type), ("zone", &self.zone)];
        for (field, value) in named {
            if value.is_empty() {
                return Some((field, "must not be empty".to_owned()));
            }
        }
        if let Some(life_cycle) = self.life_cycle.as_deref().filter(|have| !LIFE_CYCLES.contains(have)) {
            let known = LIFE_CYCLES.join(", ");
            return Some(("life_cycle", format!("unknown life cycle {life_cycle:?}; use one of {known}, or null")));
        }
        if !self.zone.starts_with(self.region()) {
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
        instance.region = Some("eu-central-2".to_owned());
        assert_eq!(instance.problem().map(|(field, _)| field), Some("region"));
    }

    #[test]
    fn the_default_instance_has_nothing_wrong() {
        assert_eq!(Instance::default().problem(), None);
    }
}
