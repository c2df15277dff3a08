//! How soon a notice is seen, for every provider: what is watched, who watches, and what is a good figure.
//!
//! `ours` runs the daemon's source, `bare` the least that a client can do, `lane` makes notices visible at random moments and
//! takes the time, `judge` says what is good enough. Inputs: a provider, an interval. Outputs: delays, verdicts. Must never
//! time anything by another clock than CLOCK_BOOTTIME, which the service and the source share.

pub mod bare;
pub mod judge;
pub mod lane;
pub mod ours;

use fake_metadata::Provider;

/// What a bare client asks for in each round, and with which headers: the paths of the daemon's source.
#[derive(Clone, Copy, Debug)]
pub struct Questions {
    /// Paths, the one with the notice first.
    pub paths: &'static [&'static str],
    /// Header lines of every request, each with its CRLF.
    pub headers: &'static str,
    /// The service holds the answer back until something changes.
    pub is_held: bool,
}

/// Those of a provider.
pub const fn questions(provider: Provider) -> Questions {
    match provider {
        Provider::Aws => Questions {
            paths: &[
                "/latest/meta-data/spot/instance-action",
                "/latest/meta-data/spot/termination-time",
                "/latest/meta-data/events/recommendations/rebalance",
                "/latest/meta-data/autoscaling/target-lifecycle-state",
                "/latest/meta-data/events/maintenance/scheduled",
                "/latest/meta-data/events/maintenance/history",
            ],
            headers: "",
            is_held: false,
        },
        Provider::Azure => Questions {
            paths: &["/metadata/scheduledevents?api-version=2020-07-01"],
            headers: "Metadata: true\r\n",
            is_held: false,
        },
        // Without a query: the client adds what it knows already.
        Provider::Gcp => Questions {
            paths: &["/computeMetadata/v1/instance/preempted"],
            headers: "Metadata-Flavor: Google\r\n",
            is_held: true,
        },
        Provider::Alibaba => {
            Questions { paths: &["/latest/meta-data/instance/spot/termination-time"], headers: "", is_held: false }
        }
        Provider::Tencent => {
            Questions { paths: &["/latest/meta-data/spot/termination-time"], headers: "", is_held: false }
        }
    }
}

impl Questions {
    /// Whether a path is the one of the notice.
    pub fn is_notice(&self, path: &str) -> bool {
        self.paths.first().is_some_and(|notice| notice.split('?').next() == Some(path))
    }
}
