//! Checks of the daemon and of what it sees of the cloud.
//!
//! Inputs: the daemon's status, or the firmware and the metadata services themselves when no daemon runs. Outputs: checks.
//! Must never ask a service for more than the machine's name.

use super::super::duration::human;
use super::super::fault::Fault;
use super::Check;
use crate::config::{Config, SpotTimeSource};
use crate::control::wire::{Detection, SourceStatus, Status};
use crate::source::detect::{Findings, Provider, probe};
use crate::source::imds::FetchError;
use crate::source::imdsd::Refusal;
use crate::source::spot_time::Dialect;
use crate::source::{alibaba, system, tencent};
use crate::sys::dmi;

const DAEMON: &str = "Daemon";
const CLOUD: &str = "Cloud";

/// The checks.
pub(super) fn checks(asked: &Result<Status, Fault>, config: &Config) -> Vec<Check> {
    match asked {
        Ok(status) => running(status),
        Err(fault) => {
            let hint = match fault {
                Fault::Unreachable(_) => {
                    "start it: systemctl start cloudsnooze; why it stopped: journalctl -u cloudsnooze"
                }
                Fault::Forbidden(_) => "the checks that need the daemon are left out; try with sudo",
                _ => "is another version of snoozed running? systemctl restart cloudsnooze",
            };
            let mut checks = vec![Check::bad(DAEMON, fault.to_string(), hint)];
            checks.extend(looked_at(config));
            checks
        }
    }
}

fn running(status: &Status) -> Vec<Check> {
    let since = human(status.uptime_seconds);
    let mut checks = vec![Check::good(DAEMON, format!("snoozed {} answers, running for {since}", status.version))];
    if status.version != env!("CARGO_PKG_VERSION") {
        let text = format!("the daemon is version {}, this command {}", status.version, env!("CARGO_PKG_VERSION"));
        checks.push(Check::doubtful(DAEMON, text, "systemctl restart cloudsnooze"));
    }
    for problem in &status.problems {
        checks.push(Check::doubtful(
            DAEMON,
            format!("it says: {problem}"),
            "see: snooze status, journalctl -u cloudsnooze",
        ));
    }
    if status.sources.is_empty() {
        checks.push(Check::bad(CLOUD, "no source is watched: no notice would be seen", "see the setting 'sources'"));
    }
    checks.extend(status.detection.iter().flat_map(detected));
    checks.extend(status.sources.iter().map(source));
    checks
}

fn source(source: &SourceStatus) -> Check {
    let text = format!("{}: {}: {}", source.name, source.state, source.summary);
    match source.state.as_str() {
        "seeing" | "watching" => Check::good(CLOUD, text),
        // What the kernel does not tell takes no cloud's notice away.
        "blind" if source.name == system::SOURCE => Check::doubtful(CLOUD, text, "see: journalctl -u cloudsnooze"),
        "blind" => {
            let hint = hint_locked(&text).unwrap_or(HINT_BLIND);
            Check::bad(CLOUD, text, hint)
        }
        "off" => Check::doubtful(CLOUD, text, "see the setting 'sources'"),
        _ => Check::doubtful(CLOUD, text, "look again in a minute"),
    }
}

const HINT_BLIND: &str = "does a firewall or a container stand between? On EC2 the service may be switched off for the instance, \
    and in a container its hop limit must be 2 (aws ec2 modify-instance-metadata-options)";

const HINT_NOT_ALLOWED: &str = "polkit lets the user cloudsnooze read by the package's rule 50-cloudsnooze.rules, once the action \
    io.systemd.imds.get names its owner, which systemd 262 does not: docs/clouds/systemd-imdsd.md has the two steps";

const HINT_LOCKED: &str = "is systemd-imdsd.socket active? Without it boot with systemd.imds.network=unlocked, or take the \
    prohibit route away (docs/clouds/systemd-imdsd.md)";

/// What helps where direct access is locked; None: the text says nothing of that.
fn hint_locked(text: &str) -> Option<&'static str> {
    let says = |error: FetchError| text.contains(&error.to_string());
    match () {
        () if text.contains(&Refusal::NotAllowed.to_string()) => Some(HINT_NOT_ALLOWED),
        () if says(FetchError::Locked) => Some(HINT_LOCKED),
        () => None,
    }
}

const HINT_UNKNOWN: &str = "elsewhere than in a cloud that is as it should be; else say which one with sources.NAME.enabled \
    (a rehearsal: snooze mock-metadata)";

/// What was found out about the cloud, and what it rests on.
fn detected(found: &Detection) -> Vec<Check> {
    let is_watched = Provider::WATCHED.iter().any(|provider| Some(provider.as_str()) == found.provider.as_deref());
    let text = found.summary.clone();
    let first = match found.state.as_str() {
        "off" => return Vec::new(),
        "found" if is_watched => match hint_locked(&text) {
            Some(hint) => Check::bad(CLOUD, text, hint),
            None => Check::good(CLOUD, text),
        },
        "found" => Check::doubtful(CLOUD, text, "what knows of a notice can tell it: snooze emit --help"),
        "looking" => Check::doubtful(CLOUD, text, "look again in a minute"),
        _ => Check::doubtful(CLOUD, text, HINT_UNKNOWN),
    };
    let is_known = found.state == "found" && is_watched;
    // Where the cloud is known, what it rests on is in the sentence.
    let details = found.details.iter().filter(|_| !is_known);
    let details = details.map(|detail| {
        let hint = hint_locked(detail).unwrap_or("one of the reasons for the line above");
        Check::doubtful(CLOUD, detail.clone(), hint)
    });
    std::iter::once(first).chain(details).collect()
}

/// What this command finds out by itself while no daemon runs.
fn looked_at(config: &Config) -> Vec<Check> {
    let sources = &config.sources;
    let own = |spot: &SpotTimeSource, usual: &str| spot.endpoint.clone().unwrap_or_else(|| usual.to_owned());
    let clouds = [
        (Provider::Aws, sources.aws.wanted(), sources.aws.endpoint.clone(), sources.aws.request_timeout_ms),
        (Provider::Azure, sources.azure.wanted(), sources.azure.endpoint.clone(), sources.azure.request_timeout_ms),
        (Provider::Gcp, sources.gcp.wanted(), sources.gcp.endpoint.clone(), sources.gcp.request_timeout_ms),
        (
            Provider::Alibaba,
            sources.alibaba.wanted(),
            own(&sources.alibaba, alibaba::Ecs::ENDPOINT),
            sources.alibaba.request_timeout_ms,
        ),
        (
            Provider::Tencent,
            sources.tencent.wanted(),
            own(&sources.tencent, tencent::Cvm::ENDPOINT),
            sources.tencent.request_timeout_ms,
        ),
    ];
    let on = clouds.iter().filter(|(_, wanted, ..)| *wanted == Some(true));
    let mut checks: Vec<Check> = on
        .map(|(provider, _, endpoint, timeout_ms)| {
            asked_alone(*provider, endpoint, &probe::ask(*provider, endpoint, *timeout_ms, &sources.imds_socket))
        })
        .collect();
    if !sources.detect.enabled {
        if checks.is_empty() {
            let hint = "see the settings sources.NAME.enabled and sources.detect.enabled";
            checks.push(Check::doubtful(CLOUD, "no cloud is switched on and nobody looks which one this is", hint));
        }
        return checks;
    }
    let findings = Findings::of_firmware(&dmi::read(&sources.detect.sys_directory));
    let findings = match findings.is_open() && checks.is_empty() {
        true => findings.with_answers(probe::ask_all(&sources.detect, &sources.imds_socket)),
        false => findings,
    };
    if checks.is_empty() || !findings.is_open() {
        checks.extend(detected(&Detection {
            state: findings.state.as_str().into(),
            provider: findings.found.as_ref().map(|found| found.provider.as_str().into()),
            summary: findings.summary(),
            details: findings.details(),
        }));
    }
    checks
}

/// What the service of a cloud answers that is switched on.
fn asked_alone(provider: Provider, endpoint: &str, said: &Result<String, String>) -> Check {
    let title = provider.title();
    match said {
        Ok(said) => {
            let text = format!("the metadata service of {title} answers at {endpoint}: {said}");
            match hint_locked(said) {
                Some(hint) => Check::bad(CLOUD, text, hint),
                None => Check::good(CLOUD, text),
            }
        }
        Err(why) => {
            let text = format!("the metadata service of {title} at {endpoint}: {why}");
            Check::bad(CLOUD, text, hint_locked(why).unwrap_or(HINT_BLIND))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;
    use crate::config::{AwsSource, DetectEndpoints, DetectSource, Sources};

    /// A configuration that looks at no real machine and asks no real service.
    fn apart(aws: AwsSource, endpoints: DetectEndpoints) -> (tempfile::TempDir, Config) {
        let sys = tempfile::tempdir().expect("a directory");
        let detect = DetectSource { sys_directory: sys.path().into(), endpoints, ..DetectSource::default() };
        (sys, Config { sources: Sources { aws, detect, ..Sources::default() }, ..Config::default() })
    }

    fn service() -> fake_metadata::FakeMetadata {
        fake_metadata::FakeMetadata::start(fake_metadata::Options::default()).expect("a free port")
    }

    #[test]
    fn a_service_that_is_switched_on_is_asked_and_a_dead_port_is_bad_with_the_reason() {
        let service = service();
        let (_sys, config) =
            apart(AwsSource { endpoint: service.base_url(), ..AwsSource::default() }, DetectEndpoints::none());
        let checks = looked_at(&config);
        assert!(
            checks.len() == 1 && checks[0].mark == Mark::Good && checks[0].text.contains("this is i-"),
            "{checks:?}"
        );
        drop(service);
        let checks = looked_at(&config);
        assert!(checks[0].mark == Mark::Bad && checks[0].text.contains("refuses"), "{checks:?}");
    }

    #[test]
    fn without_a_word_it_is_found_out_which_cloud_this_is() {
        let service = service();
        let endpoints = DetectEndpoints { aws: Some(service.base_url()), ..DetectEndpoints::none() };
        let (sys, config) = apart(AwsSource::default(), endpoints);
        let checks = looked_at(&config);
        assert!(checks.len() == 1 && checks[0].mark == Mark::Good, "{checks:?}");
        assert!(checks[0].text.contains("Amazon EC2") && checks[0].text.contains("this is i-"), "{checks:?}");
        drop(service);
        let checks = looked_at(&config);
        assert!(checks.iter().all(|check| check.mark == Mark::Doubtful), "{checks:?}");
        let text = checks.iter().map(|check| check.text.as_str()).collect::<Vec<_>>().join("\n");
        assert!(
            text.contains("not known") && text.contains("firmware says nothing") && text.contains("refuses"),
            "{text}"
        );
        // The firmware is believed before anybody is asked.
        let id = sys.path().join("class/dmi/id");
        std::fs::create_dir_all(&id).expect("made");
        std::fs::write(id.join("sys_vendor"), "Hetzner\n").expect("written");
        let checks = looked_at(&config);
        assert!(checks[0].mark == Mark::Doubtful && checks[0].text.contains("Hetzner"), "{checks:?}");
    }

    #[test]
    fn what_nobody_may_look_for_is_said() {
        let (_sys, mut config) = apart(AwsSource::default(), DetectEndpoints::none());
        config.sources.detect.enabled = false;
        let checks = looked_at(&config);
        assert!(
            checks.len() == 1 && checks[0].mark == Mark::Doubtful && checks[0].text.contains("nobody"),
            "{checks:?}"
        );
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
