//! Where capacity comes from: machines that the provider takes back for the same reasons.

use serde::{Deserialize, Serialize};

/// One kind of machine in one zone. Any part may be empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Pool {
    /// `aws`, `azure`, `gcp`, …
    pub provider: String,
    /// `us-east-1`.
    pub region: String,
    /// `us-east-1a`.
    pub zone: String,
    /// `m5.large`, `n1-highcpu-8`.
    pub instance_type: String,
}

/// How much a pool has in common with those that it is counted with, from the closest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The same type in the same zone.
    Pool,
    /// The same family of types in the same region: the parent that explains most of what pools have in common.
    FamilyInRegion,
    /// The same family at the same provider.
    Family,
    /// The same provider.
    Provider,
    /// All there is.
    Everything,
}

impl Pool {
    /// The pool that stands for everything this one is counted with at a level; equal for two pools exactly if they share it.
    #[must_use]
    pub fn at(&self, level: Level) -> Self {
        let Self { provider, region, .. } = self;
        match level {
            Level::Pool => self.clone(),
            Level::FamilyInRegion => Self {
                provider: provider.clone(),
                region: region.clone(),
                zone: String::new(),
                instance_type: self.family(),
            },
            Level::Family => Self { provider: provider.clone(), instance_type: self.family(), ..Self::default() },
            Level::Provider => Self { provider: provider.clone(), ..Self::default() },
            Level::Everything => Self::default(),
        }
    }

    /// The family of the instance type: `m5` of `m5.large` and `ecs.g7` of `ecs.g7.large` (AWS, Tencent, Alibaba), `n1-highcpu` of
    /// `n1-highcpu-8` (GCP), `Standard_Ds_v5` of `Standard_D4s_v5` (Azure: the name without the number of processors). The whole type
    /// where it has no such form.
    #[must_use]
    pub fn family(&self) -> String {
        let name = self.instance_type.as_str();
        if let Some((family, _size)) = name.rsplit_once('.') {
            return family.to_owned();
        }
        if let Some((family, size)) = name.rsplit_once('-')
            && size.bytes().all(|byte| byte.is_ascii_digit())
        {
            return family.to_owned();
        }
        match name.strip_prefix("Standard_") {
            Some(rest) => {
                let (size, version) =
                    rest.split_once('_').map_or((rest, String::new()), |(size, v)| (size, format!("_{v}")));
                let letters: String = size.chars().filter(|letter| !letter.is_ascii_digit()).collect();
                format!("Standard_{letters}{version}")
            }
            None => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(instance_type: &str) -> String {
        Pool { instance_type: instance_type.to_owned(), ..Pool::default() }.family()
    }

    #[test]
    fn families_are_those_of_each_provider() {
        assert_eq!(family("m5.large"), "m5");
        assert_eq!(family("ecs.g7.large"), "ecs.g7");
        assert_eq!(family("n1-highcpu-8"), "n1-highcpu");
        assert_eq!(family("e2-medium"), "e2-medium");
        assert_eq!(family("Standard_D4s_v5"), "Standard_Ds_v5");
        assert_eq!(family("Standard_M128"), "Standard_M");
        assert_eq!(family(""), "");
    }

    #[test]
    fn pools_that_share_a_level_are_equal_there() {
        let pool = |zone: &str, instance_type: &str| Pool {
            provider: "aws".to_owned(),
            region: "us-east-1".to_owned(),
            zone: zone.to_owned(),
            instance_type: instance_type.to_owned(),
        };
        let (one, other) = (pool("us-east-1a", "m5.large"), pool("us-east-1b", "m5.xlarge"));
        assert_ne!(one.at(Level::Pool), other.at(Level::Pool));
        assert_eq!(one.at(Level::FamilyInRegion), other.at(Level::FamilyInRegion));
        assert_ne!(one.at(Level::Family), pool("us-east-1a", "c5.large").at(Level::Family));
        assert_eq!(one.at(Level::Provider), pool("us-east-1a", "c5.large").at(Level::Provider));
    }
}
