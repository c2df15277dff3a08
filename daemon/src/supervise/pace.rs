//! How often each metadata service is asked: what `event_handlers` wants of a type of event, else what `sources` says.
//!
//! Inputs: the configuration. Outputs: the pace of a source. Must never ask more often than a service allows.

use crate::config::{Config, SpotTimeSource};
use crate::event::EventType;
use crate::source::azure::{self, Azure};
use crate::source::cloud::{Cloud, Item, Pace};
use crate::source::gcp::{MaintenanceEvent, Preempted, UpcomingMaintenance};

/// Seconds between two looks for events of a type, where the source's own are `own`.
fn seconds(config: &Config, event_type: &EventType, own: f64) -> f64 {
    config.polling_interval_seconds(event_type).unwrap_or(own)
}

/// Each item of EC2's service has an interval of its own.
pub(super) fn aws(config: &Config) -> Pace {
    let aws = &config.sources.aws;
    let spot = seconds(config, &EventType::SPOT_INTERRUPT, aws.polling_interval_seconds);
    Pace {
        seconds: vec![
            spot,
            spot,
            seconds(config, &EventType::SPOT_REBALANCE, aws.polling_interval_seconds),
            seconds(config, &EventType::AUTOSCALING_TERMINATE, aws.polling_interval_seconds),
            seconds(config, &EventType::MAINTENANCE_REBOOT, aws.maintenance_interval_seconds),
        ],
        hurried_seconds: aws.hurried_interval_seconds,
    }
}

/// Azure's one document is read as the most impatient of its types wants it.
pub(super) fn azure(config: &Config) -> Pace {
    let own = config.sources.azure.polling_interval_seconds;
    let wanted = azure::TYPES.into_iter().map(|event_type| seconds(config, &event_type, own));
    Pace::every(wanted.fold(f64::INFINITY, f64::min).max(azure::INTERVAL_SECONDS_MIN), &Azure::ITEMS[..1])
}

/// Google's `preempted`.
pub(super) fn preempted(config: &Config) -> Pace {
    let own = config.sources.gcp.polling_interval_seconds;
    Pace::every(seconds(config, &EventType::SPOT_INTERRUPT, own), &Preempted::ITEMS[..1])
}

/// Google's `maintenance-event`.
pub(super) fn maintenance_event(config: &Config) -> Pace {
    let own = config.sources.gcp.polling_interval_seconds;
    Pace::every(seconds(config, &EventType::MAINTENANCE_FREEZE, own), &MaintenanceEvent::ITEMS[..1])
}

/// Google's `upcoming-maintenance`.
pub(super) fn upcoming_maintenance(config: &Config) -> Pace {
    let own = config.sources.gcp.upcoming_interval_seconds;
    Pace::every(seconds(config, &EventType::MAINTENANCE_STOP, own), &UpcomingMaintenance::ITEMS[..1])
}

/// A service whose only notice is the time at which a spot instance ends.
pub(super) fn spot_time(config: &Config, settings: &SpotTimeSource, items: &[Item]) -> Pace {
    Pace::every(seconds(config, &EventType::SPOT_INTERRUPT, settings.polling_interval_seconds), items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_impatient_type_sets_azures_pace_within_what_the_service_allows() {
        let of = |text: &str| azure(&serde_json::from_str(text).expect("a configuration")).seconds;
        assert_eq!(of("{}"), [1.0]);
        assert_eq!(of(r#"{"event_handlers": {"cloud.spot.interrupt": {"polling_interval_seconds": 0.5}}}"#), [0.5]);
        assert_eq!(of(r#"{"event_handlers": {"cloud.spot.interrupt": {"polling_interval_seconds": 9}}}"#), [1.0]);
        assert_eq!(of(r#"{"event_handlers": {"*": {"polling_interval_seconds": 9}}}"#), [9.0]);
        assert_eq!(of(r#"{"event_handlers": {"*": {"polling_interval_seconds": 0.05}}}"#), [0.5]);
    }
}
