//! The clouds that can be watched: how each one's source is started.
//!
//! Inputs: the configuration, where a service answered. Outputs: running threads. Must never decide which cloud this is.

use super::pace;
use super::sources::{Running, Ways, start_thread};
use crate::config::{Config, SpotTimeSource};
use crate::source::alibaba::Alibaba;
use crate::source::aws::Aws;
use crate::source::azure::Azure;
use crate::source::cloud::Cloud;
use crate::source::detect::Provider;
use crate::source::gcp::{self, Begun, MaintenanceEvent, Preempted, UpcomingMaintenance};
use crate::source::tencent::Tencent;
use std::sync::Arc;

/// Starts the threads of a cloud.
type Start = fn(&Config, &Ways, Option<&str>) -> Result<Vec<Running>, String>;

/// A cloud that can be watched.
pub(super) struct Offer {
    pub(super) provider: Provider,
    /// What the configuration says of it; None: it is watched when the machine is found to be one of that cloud.
    pub(super) wanted: fn(&Config) -> Option<bool>,
    /// Starts its threads, the most important first; the address is where its service answered, or would have been asked.
    pub(super) start: Start,
}

/// Every cloud that this version knows: [`Provider::WATCHED`].
pub(super) const CLOUDS: &[Offer] = &[
    Offer {
        provider: Provider::Aws,
        wanted: |config| config.sources.aws.wanted(),
        start: |config, ways, found_at| {
            let mut settings = config.sources.aws.clone();
            if let Some(endpoint) = found_at {
                endpoint.clone_into(&mut settings.endpoint);
            }
            let make = |bell| Aws::new(&settings, bell).map_err(|e| format!("sources.aws.endpoint: {e}"));
            Ok(vec![start_thread((Provider::Aws, "snooze-aws"), config, ways, pace::aws, make)?])
        },
    },
    Offer {
        provider: Provider::Azure,
        wanted: |config| config.sources.azure.wanted(),
        start: |config, ways, found_at| {
            let mut settings = config.sources.azure.clone();
            if let Some(endpoint) = found_at {
                endpoint.clone_into(&mut settings.endpoint);
            }
            let make = |bell| Azure::new(&settings, bell).map_err(|e| format!("sources.azure.endpoint: {e}"));
            Ok(vec![start_thread((Provider::Azure, "snooze-azure"), config, ways, pace::azure, make)?])
        },
    },
    Offer { provider: Provider::Gcp, wanted: |config| config.sources.gcp.wanted(), start: start_gcp },
    Offer {
        provider: Provider::Alibaba,
        wanted: |config| config.sources.alibaba.wanted(),
        start: |config, ways, found_at| {
            let settings = answering(&config.sources.alibaba, found_at);
            let make = |bell| Alibaba::new(&settings, bell).map_err(|e| format!("sources.alibaba.endpoint: {e}"));
            let pace = |config: &Config| pace::spot_time(config, &config.sources.alibaba, Alibaba::ITEMS);
            Ok(vec![start_thread((Provider::Alibaba, "snooze-alibaba"), config, ways, pace, make)?])
        },
    },
    Offer {
        provider: Provider::Tencent,
        wanted: |config| config.sources.tencent.wanted(),
        start: |config, ways, found_at| {
            let settings = answering(&config.sources.tencent, found_at);
            let make = |bell| Tencent::new(&settings, bell).map_err(|e| format!("sources.tencent.endpoint: {e}"));
            let pace = |config: &Config| pace::spot_time(config, &config.sources.tencent, Tencent::ITEMS);
            Ok(vec![start_thread((Provider::Tencent, "snooze-tencent"), config, ways, pace, make)?])
        },
    },
];

fn answering(settings: &SpotTimeSource, found_at: Option<&str>) -> SpotTimeSource {
    let endpoint = found_at.map(str::to_owned).or_else(|| settings.endpoint.clone());
    SpotTimeSource { endpoint, ..settings.clone() }
}

/// A thread for each key: the server holds its answers back.
fn start_gcp(config: &Config, ways: &Ways, found_at: Option<&str>) -> Result<Vec<Running>, String> {
    let mut settings = config.sources.gcp.clone();
    if let Some(endpoint) = found_at {
        endpoint.clone_into(&mut settings.endpoint);
    }
    settings.endpoint = gcp::endpoint(&settings, std::env::var("GCE_METADATA_HOST").ok().as_deref());
    let settings = &settings;
    let begun = Begun::new();
    let bad = |e| format!("sources.gcp.endpoint: {e}");
    let of = |name| (Provider::Gcp, name);
    let preempted = start_thread(of("snooze-gcp-spot"), config, ways, pace::preempted, |bell| {
        Preempted::new(settings, bell).map_err(bad)
    })?;
    let event = start_thread(of("snooze-gcp-host"), config, ways, pace::maintenance_event, |bell| {
        MaintenanceEvent::new(settings, bell, Arc::clone(&begun)).map_err(bad)
    })?;
    let upcoming = start_thread(of("snooze-gcp-plan"), config, ways, pace::upcoming_maintenance, |bell| {
        UpcomingMaintenance::new(settings, bell, Arc::clone(&begun)).map_err(bad)
    })?;
    // By default the machine is shut down at the very moment at which `preempted` becomes TRUE.
    Ok(vec![preempted.looking_at_shutdown(), event, upcoming])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_that_counts_as_watched_has_a_source_and_no_other() {
        let offered: Vec<Provider> = CLOUDS.iter().map(|offer| offer.provider).collect();
        assert_eq!(offered, Provider::WATCHED);
    }
}
