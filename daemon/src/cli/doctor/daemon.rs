//! Checks of the daemon and of what it sees of the cloud.
//!
//! Inputs: the daemon's status, or the metadata service itself when no daemon runs. Outputs: checks.
//! Must never ask the service for more than the machine's name.

use super::super::duration::human;
use super::super::fault::Fault;
use super::Check;
use crate::config::{AwsSource, Config};
use crate::control::wire::{SourceStatus, Status};
use crate::source::aws_token::TokenKeeper;
use crate::source::imds::MetadataClient;
use crate::source::system;
use crate::sys::bell::Bell;
use crate::sys::clock;
use std::sync::Arc;

const DAEMON: &str = "Daemon";
const CLOUD: &str = "Cloud";

/// The checks.
pub(super) fn checks(asked: &Result<Status, Fault>, config: &Config) -> Vec<Check> {
    match asked {
        Ok(status) => running(status),
        Err(fault) => {
            let hint = match fault {
                Fault::Unreachable(_) => "start it: systemctl start snoozed; why it stopped: journalctl -u snoozed",
                Fault::Forbidden(_) => "the checks that need the daemon are left out; try with sudo",
                _ => "is another version of snoozed running? systemctl restart snoozed",
            };
            vec![
                Check::bad(DAEMON, fault.to_string(), hint),
                probed(&config.sources.aws, &Metadata(&config.sources.aws)),
            ]
        }
    }
}

fn running(status: &Status) -> Vec<Check> {
    let since = human(status.uptime_seconds);
    let mut checks = vec![Check::good(DAEMON, format!("snoozed {} answers, running for {since}", status.version))];
    if status.version != env!("CARGO_PKG_VERSION") {
        let text = format!("the daemon is version {}, this command {}", status.version, env!("CARGO_PKG_VERSION"));
        checks.push(Check::doubtful(DAEMON, text, "systemctl restart snoozed"));
    }
    for problem in &status.problems {
        checks.push(Check::doubtful(
            DAEMON,
            format!("it says: {problem}"),
            "see: snooze status, journalctl -u snoozed",
        ));
    }
    if status.sources.is_empty() {
        checks.push(Check::bad(CLOUD, "no source is watched: no notice would be seen", "see the setting 'sources'"));
    }
    checks.extend(status.sources.iter().map(source));
    checks
}

fn source(source: &SourceStatus) -> Check {
    let text = format!("{}: {}: {}", source.name, source.state, source.summary);
    match source.state.as_str() {
        "seeing" | "watching" => Check::good(CLOUD, text),
        // What the kernel does not tell takes no cloud's notice away.
        "blind" if source.name == system::SOURCE => Check::doubtful(CLOUD, text, "see: journalctl -u snoozed"),
        "blind" => Check::bad(CLOUD, text, HINT_BLIND),
        "off" => Check::doubtful(CLOUD, text, "see the setting 'sources'"),
        _ => Check::doubtful(CLOUD, text, "look again in a minute"),
    }
}

const HINT_BLIND: &str = "does a firewall or a container stand between? On EC2 the service may be switched off for the instance, \
    and in a container its hop limit must be 2 (aws ec2 modify-instance-metadata-options)";

/// Asks a metadata service once.
trait Probe {
    /// The machine's name.
    fn machine(&self) -> Result<String, String>;
}

/// The one of the configuration.
struct Metadata<'c>(&'c AwsSource);

impl Probe for Metadata<'_> {
    fn machine(&self) -> Result<String, String> {
        let timeout_ms = u64::from(self.0.request_timeout_ms);
        let bell = Arc::new(Bell::new().map_err(|e| e.to_string())?);
        let mut client = MetadataClient::new(&self.0.endpoint, timeout_ms, bell).map_err(|e| e.to_string())?;
        let mut token = TokenKeeper::new(self.0.allow_imds_v1);
        let header = token.header(&mut client, clock::boot_ns()).map_err(|e| e.to_string())?;
        let header: Option<(&str, &str)> = header;
        let found = client.get("/latest/meta-data/instance-id", header.as_slice()).map_err(|e| e.to_string())?;
        let body = found.ok_or("it does not know this machine's name")?.body;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

fn probed(aws: &AwsSource, probe: &impl Probe) -> Check {
    if aws.enabled == Some(false) {
        return Check::doubtful(
            CLOUD,
            "the metadata service of EC2 is switched off",
            "see the setting sources.aws.enabled",
        );
    }
    match (probe.machine(), aws.enabled) {
        (Ok(name), _) => {
            Check::good(CLOUD, format!("the metadata service at {} answers; this is {name}", aws.endpoint))
        }
        (Err(why), Some(true)) => {
            Check::bad(CLOUD, format!("the metadata service at {}: {why}", aws.endpoint), HINT_BLIND)
        }
        (Err(why), _) => Check::doubtful(
            CLOUD,
            format!("no metadata service of EC2 at {}: {why}", aws.endpoint),
            "elsewhere than on EC2 that is as it should be (a rehearsal: snooze mock-metadata)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    struct Says(Result<&'static str, &'static str>);

    impl Probe for Says {
        fn machine(&self) -> Result<String, String> {
            self.0.map(str::to_owned).map_err(str::to_owned)
        }
    }

    #[test]
    fn a_silent_service_is_bad_only_where_it_must_be_there() {
        let mark = |enabled, says| probed(&AwsSource { enabled, ..AwsSource::default() }, &Says(says)).mark;
        assert_eq!(mark(None, Ok("i-1")), Mark::Good);
        assert_eq!(mark(None, Err("refused")), Mark::Doubtful);
        assert_eq!(mark(Some(true), Err("refused")), Mark::Bad);
        assert_eq!(mark(Some(false), Ok("i-1")), Mark::Doubtful);
    }

    #[test]
    fn a_real_service_is_asked_and_a_dead_port_is_named_with_the_reason() {
        let service = fake_metadata::FakeMetadata::start(fake_metadata::Options::default()).unwrap();
        let aws = AwsSource { endpoint: service.base_url(), ..AwsSource::default() };
        let check = probed(&aws, &Metadata(&aws));
        assert_eq!(check.mark, Mark::Good, "{check:?}");
        assert!(check.text.contains("i-"), "{check:?}");
        drop(service);
        let check = probed(&aws, &Metadata(&aws));
        assert_eq!(check.mark, Mark::Doubtful, "{check:?}");
    }

    #[test]
    fn what_a_source_says_of_itself_decides_its_mark() {
        let named = |name: &str, state: &str| {
            let (name, summary) = (name.into(), "why".into());
            source(&SourceStatus { name, state: state.into(), summary, polls: 1, errors: 0, interval_seconds: 5.0 })
                .mark
        };
        let of = |state: &str| named("aws", state);
        assert_eq!((named("system", "blind"), named("system.logind", "watching")), (Mark::Doubtful, Mark::Good));
        assert_eq!(
            [of("seeing"), of("partial"), of("blind"), of("off")],
            [Mark::Good, Mark::Doubtful, Mark::Bad, Mark::Doubtful]
        );
    }
}
