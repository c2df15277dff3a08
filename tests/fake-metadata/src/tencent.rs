//! Tencent Cloud's CVM instance metadata.
//!
//! Responsibilities: what Tencent's service has and others have not: its paths, its time. Inputs: the instance. Outputs: the
//! [`Dialect`] for `spot_time`. Source: "Querying the repossession status of a spot instance" (product/213/32487): a time in
//! UTC+8 with a space in it, 404 without one, about two minutes' notice. It must never answer requests itself.
//!
//! How a test drives it: `FakeMetadata::start(Options::of(Provider::Tencent))`, then `fake.notice(Action::Terminate, …)`.

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};

use crate::cloud::Provider;
use crate::instance::Instance;
use crate::spot_time::{Dialect, NOTICE};
use crate::tree::Leaves;

pub(crate) const DIALECT: Dialect =
    Dialect { provider: Provider::Tencent, token_headers: None, notice_path: NOTICE, shown, standing };

/// `2018-08-18 12:05:33`, eight hours ahead of UTC, which it does not say.
fn shown(time: Timestamp) -> String {
    time.to_zoned(TimeZone::fixed(offset(8))).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn standing(instance: &Instance) -> Leaves {
    [
        ("instance-id", instance.id.as_str()),
        ("instance-name", &instance.name),
        ("instance/instance-type", &instance.instance_type),
        ("local-ipv4", &instance.private_ip),
        ("placement/region", instance.region()),
        ("placement/zone", &instance.zone),
    ]
    .into_iter()
    .map(|(path, body)| (path.to_owned(), body.to_owned()))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_china_with_a_space() {
        assert_eq!(shown("2018-08-18T04:05:33Z".parse().expect("a valid time")), "2018-08-18 12:05:33");
    }
}
