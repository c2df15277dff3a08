//! What the demo has to know of the cloud that is played.
//!
//! Inputs: the provider, what happens at its stand-in. Outputs: where the daemon is to look, how the story of the looks is
//! told, which machine an event must name, when it must say that the machine ends. It must never tell the daemon more than an
//! address: the protocol, the pace and the time that is left are the daemon's own.

use std::time::Duration;

use fake_metadata::{Action, Activity, Instance, Provider, Request};
use serde_json::{Value, json};

/// The cloud that is played.
#[derive(Clone, Copy, Debug)]
pub struct Cloud(pub Provider);

/// How one cloud's notice is read.
struct Protocol {
    /// The cloud, and the protocol where it has a name.
    title: &'static str,
    /// How the path of the notice ends.
    notice: &'static str,
    /// Status and words of an answer without a notice.
    nothing: (u16, &'static str),
    /// Words of the answer, 200, with one.
    notice_is: &'static str,
    /// How often the daemon looks, with the example configuration.
    pace: &'static str,
}

impl Cloud {
    /// Facts: docs/normalisation.md and docs/clouds.
    fn protocol(self) -> Protocol {
        let every_5_s = "looks for a notice every 5 s";
        match self.0 {
            Provider::Aws => Protocol {
                title: "AWS (IMDSv2)",
                notice: "/spot/instance-action",
                nothing: (404, "404"),
                notice_is: "200",
                pace: every_5_s,
            },
            Provider::Azure => Protocol {
                title: "Azure (Scheduled Events)",
                notice: "/metadata/scheduledevents",
                nothing: (200, "200, no events"),
                notice_is: "200, Preempt",
                pace: "looks for a notice every second",
            },
            Provider::Gcp => Protocol {
                title: "GCP (metadata server)",
                notice: "/instance/preempted",
                nothing: (200, "200, FALSE; the next answer is to come when that changes"),
                notice_is: "200, TRUE",
                pace: "has the server hold its answer back until there is a notice",
            },
            Provider::Alibaba => Protocol {
                title: "Alibaba Cloud",
                notice: "/instance/spot/termination-time",
                nothing: (404, "404"),
                notice_is: "200",
                pace: every_5_s,
            },
            Provider::Tencent => Protocol {
                title: "Tencent Cloud",
                notice: "/spot/termination-time",
                nothing: (404, "404"),
                notice_is: "200",
                pace: every_5_s,
            },
        }
    }

    /// The cloud's name for people, with its protocol.
    pub fn title(self) -> &'static str {
        self.protocol().title
    }

    /// How often the daemon looks, as a predicate.
    pub fn pace(self) -> &'static str {
        self.protocol().pace
    }

    /// From the notice to the end of the machine: what the real service gives, see [`Provider::usual_warning`].
    pub fn warning(self) -> Duration {
        self.0.usual_warning(Action::Terminate).unsigned_abs()
    }

    /// What events call this machine: Azure's name it by its name, which is what a scheduled event lists.
    pub fn machine(self, instance: &Instance) -> &str {
        if self.0 == Provider::Azure { &instance.name } else { &instance.id }
    }

    /// The daemon's `sources`: this cloud is asked at that address, and no other cloud is.
    pub fn sources(self, base_url: &str) -> Value {
        json!({self.0.name(): {"enabled": true, "endpoint": base_url}})
    }
}

/// The story of the daemon's looks at the notice.
pub struct Looks {
    cloud: Cloud,
    is_up: bool,
    has_asked: bool,
    has_found: bool,
}

impl Looks {
    /// Nothing has happened yet.
    pub fn at(cloud: Cloud) -> Self {
        Self { cloud, is_up: false, has_asked: false, has_found: false }
    }

    /// What to tell about the played metadata service: its change, the first look without and with a notice.
    pub fn told(&mut self, activity: &Activity) -> Option<String> {
        match activity {
            Activity::Changed(what) => {
                self.is_up = true;
                Some(format!("the cloud (played) changes: {what}"))
            }
            Activity::Failed(what) => Some(format!("the played cloud fails: {what}")),
            Activity::Request(request) => self.look(request),
        }
    }

    fn look(&mut self, request: &Request) -> Option<String> {
        let Protocol { notice, nothing: (no_status, no_words), notice_is, .. } = self.cloud.protocol();
        let status = request.status.filter(|_| request.path.ends_with(notice))?;
        if !self.is_up && status == no_status && !std::mem::replace(&mut self.has_asked, true) {
            return Some(format!("snoozed asks for a notice: there is none ({no_words})"));
        }
        let is_found = self.is_up && status == 200 && !std::mem::replace(&mut self.has_found, true);
        is_found.then(|| format!("snoozed asks for a notice: here it is ({notice_is})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fake_metadata::{FakeMetadata, Options, When};
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// The Makefile refuses a wrong PROVIDER before it builds for minutes.
    const MAKEFILE: &str = include_str!("../../../../../Makefile");

    #[test]
    fn the_makefile_takes_the_same_clouds() {
        let listed = MAKEFILE.lines().find_map(|line| line.strip_prefix("PROVIDERS := ")).expect("a list");
        assert_eq!(listed.split(' ').collect::<Vec<_>>(), Provider::ALL.map(Provider::name));
    }

    #[test]
    fn each_cloud_gives_the_time_it_is_documented_to_give() {
        let given = Provider::ALL.map(|provider| Cloud(provider).warning().as_secs());
        assert_eq!(given, [120, 30, 30, 300, 120]);
    }

    /// Asks once, with the header that Azure wants and the one that GCP wants.
    fn asked(fake: &FakeMetadata, path: &str) {
        let mut stream = TcpStream::connect(fake.address()).expect("it listens");
        let headers = "Host: x\r\nMetadata: true\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n";
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{headers}").as_bytes()).expect("written");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
    }

    #[test]
    fn one_look_without_and_one_with_the_notice_are_told_of_every_cloud() {
        let paths = [
            "/latest/meta-data/spot/instance-action",
            "/metadata/scheduledevents?api-version=2020-07-01",
            "/computeMetadata/v1/instance/preempted",
            "/latest/meta-data/instance/spot/termination-time",
            "/latest/meta-data/spot/termination-time",
        ];
        for (provider, path) in Provider::ALL.into_iter().zip(paths) {
            let options = Options { tokens_required: false, ..Options::of(provider) };
            let (fake, activity) = FakeMetadata::start_watched(options).expect("a free port");
            (0..2).for_each(|_| asked(&fake, path));
            fake.notice(Action::Terminate, When::Usual);
            (0..2).for_each(|_| asked(&fake, path));
            drop(fake);
            let mut looks = Looks::at(Cloud(provider));
            let told: Vec<String> = activity.into_iter().filter_map(|happened| looks.told(&happened)).collect();
            let [none, _change, found] = told.as_slice() else { panic!("{provider}: {told:?}") };
            assert!(none.contains("there is none") && found.contains("here it is"), "{provider}: {told:?}");
        }
    }
}
