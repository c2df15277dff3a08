//! Alibaba Cloud's ECS instance metadata.
//!
//! Responsibilities: what Alibaba's service has and others have not: its paths, its token headers. Inputs: the instance.
//! Outputs: the [`Dialect`] for `spot_time`. Source: "Query the interruption events of preemptible instances" and "Instance
//! metadata" of Alibaba's documentation: about five minutes' notice, the time in UTC, 404 without one; in hardened mode a
//! token. It must never answer requests itself.
//!
//! How a test drives it: `FakeMetadata::start(Options::of(Provider::Alibaba))`, then `fake.notice(Action::Terminate, …)`;
//! `fake.require_tokens(true)` is the hardened mode.

use jiff::Timestamp;

use crate::cloud::Provider;
use crate::instance::Instance;
use crate::spot_time::{Dialect, INSTANCE_NOTICE};
use crate::tree::Leaves;

pub(crate) const DIALECT: Dialect = Dialect {
    provider: Provider::Alibaba,
    token_headers: Some(("X-aliyun-ecs-metadata-token-ttl-seconds", "X-aliyun-ecs-metadata-token")),
    notice_path: INSTANCE_NOTICE,
    shown,
    standing,
};

/// `2015-01-05T18:02:00Z`.
fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn standing(instance: &Instance) -> Leaves {
    [
        ("hostname", instance.name.as_str()),
        ("image-id", &instance.image_id),
        ("instance-id", &instance.id),
        ("instance/instance-type", &instance.instance_type),
        ("private-ipv4", &instance.private_ip),
        ("region-id", instance.region()),
        ("zone-id", &instance.zone),
    ]
    .into_iter()
    .map(|(path, body)| (path.to_owned(), body.to_owned()))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        assert_eq!(shown("2015-01-05T18:02:00Z".parse().expect("a valid time")), "2015-01-05T18:02:00Z");
    }
}
