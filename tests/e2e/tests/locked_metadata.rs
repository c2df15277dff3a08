//! A machine that prohibits direct access to its metadata service, as systemd does from version 261 on: the kernel's own
//! `prohibit` route in a network namespace, and a stand-in for systemd-imdsd that behaves as the real one was seen to.

use cloudsnooze::config::{AwsSource, AzureSource, GcpSource, SpotTimeSource};
use cloudsnooze::normalise::revise::Reviser;
use cloudsnooze::source::alibaba::Alibaba;
use cloudsnooze::source::aws::Aws;
use cloudsnooze::source::azure::Azure;
use cloudsnooze::source::cloud::{Cloud, Pace};
use cloudsnooze::source::gcp::Preempted;
use cloudsnooze::source::health::{Report, State};
use cloudsnooze::sys::bell::Bell;
use e2e::machine::{in_own_network, ip};
use e2e::simple::{Plugins, status_when};
use e2e::watched::Watched;
use fake_metadata::{Action, Behaviour, Effect, FakeMetadata, Fault, Imdsd, Maintenance, Options, Provider, Settings};
use harness::daemon::Daemon;
use harness::require::missing_means_skip;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TWO_MINUTES: Duration = Duration::from_secs(120);
const LIMIT: Duration = Duration::from_secs(30);
const REMARK: &str = "through systemd-imdsd, because direct access is locked";

/// A service behind the lock, and the way around it. The service listens on the loopback of this network only.
struct Locked {
    fake: FakeMetadata,
    directory: TempDir,
}

impl Locked {
    fn new(provider: Provider) -> Self {
        let fake = FakeMetadata::start(Options::of(provider)).expect("a free port");
        Self { fake, directory: tempfile::Builder::new().prefix("snz-").tempdir().expect("a directory") }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("imdsd")
    }

    fn imdsd(&self, provider: Provider) -> Imdsd {
        Imdsd::start(&self.socket(), provider, self.fake.address()).expect("a socket")
    }

    fn watch<C: Cloud + 'static>(&self, make: impl FnOnce(Arc<Bell>) -> C) -> Watched {
        let socket = self.socket();
        Watched::start(Pace::every(0.1, C::ITEMS), Reviser::new(C::SOURCE), |bell| {
            let mut cloud = make(bell);
            cloud.client().imdsd_at(&socket);
            cloud
        })
    }

    fn aws(&self) -> Watched {
        self.watch(|bell| Aws::new(&AwsSource::default(), bell).expect("an endpoint"))
    }
}

/// Does `work` where the kernel refuses to connect to 169.254.169.254 with EACCES.
fn behind_the_lock(what: &str, work: impl FnOnce() + Send + 'static) {
    if std::process::Command::new("ip").arg("-V").output().is_err() {
        missing_means_skip(&format!("{what}: there is no ip (Debian package iproute2)"));
        return;
    }
    let done = in_own_network(|| {
        ip("link set lo up");
        ip("route add prohibit 169.254.169.254");
        let refused = std::net::TcpStream::connect("169.254.169.254:80").expect_err("prohibited");
        assert_eq!(refused.raw_os_error(), Some(13), "{refused}");
        work();
    });
    if let Err(why) = done {
        missing_means_skip(&format!("{what}: {why}"));
    }
}

fn is_seen_through(report: &Report) -> bool {
    report.state == State::Seeing && report.remark.as_deref().is_some_and(|remark| remark.starts_with(REMARK))
}

fn says(report: &Report, text: &str) -> bool {
    report.state == State::Blind && report.to_string().contains(text)
}

#[test]
fn the_notices_of_aws_come_through_systemd_imdsd() {
    behind_the_lock("AWS through systemd-imdsd", || {
        let locked = Locked::new(Provider::Aws);
        let imdsd = locked.imdsd(Provider::Aws);
        let mut source = locked.aws();
        source.until(is_seen_through);
        locked.fake.rebalance();
        let rebalance = source.event("cloud.spot.rebalance");
        assert_eq!(rebalance.machine.instance_id, "i-1234567890abcdef0");
        locked.fake.lifecycle_state(Some("Terminated"));
        let leaving = source.event("cloud.autoscaling.terminate");
        locked.fake.lifecycle_state(Some("InService"));
        assert_eq!(source.event("cloud.autoscaling.terminate.cancelled").cancels, Some(leaving.id));
        locked.fake.notice(Action::Terminate, TWO_MINUTES);
        source.event("cloud.spot.interrupt");
        let report = source.report();
        assert_eq!(report.errors, 0, "{report}");
        let calls = imdsd.calls();
        assert!(calls.iter().all(|call| !call.cache && call.connection == 0), "{calls:?}");
        assert!(calls[1..].iter().all(|call| call.has_interface), "a process for each interface: {calls:?}");
    });
}

#[test]
fn an_error_that_systemd_does_not_tell_is_no_absence() {
    behind_the_lock("errors through systemd-imdsd", || {
        let locked = Locked::new(Provider::Aws);
        let _imdsd = locked.imdsd(Provider::Aws);
        let mut source = locked.aws();
        source.until(is_seen_through);
        locked.fake.rebalance();
        source.event("cloud.spot.rebalance");
        let fault = locked.fake.set_fault(Fault::new(Effect::Status(500)).paths(["events/recommendations/rebalance"]));
        let report = source.until(|report| report.state == State::Partial);
        assert!(report.to_string().contains("does not tell"), "{report}");
        source.assert_silent();
        locked.fake.clear_fault(fault);
        source.until(is_seen_through);
        source.assert_silent();
    });
}

#[test]
fn a_token_that_ends_and_a_process_that_is_restarted_go_unnoticed() {
    behind_the_lock("restarts of systemd-imdsd", || {
        let locked = Locked::new(Provider::Aws);
        let imdsd = locked.imdsd(Provider::Aws);
        let mut source = locked.aws();
        source.until(is_seen_through);
        locked.fake.revoke_tokens();
        locked.fake.rebalance();
        source.event("cloud.spot.rebalance");
        let connections = || imdsd.calls().last().map_or(0, |call| call.connection);
        assert_eq!(connections(), 1, "another process with another token");
        imdsd.disconnect();
        locked.fake.notice(Action::Terminate, TWO_MINUTES);
        source.event("cloud.spot.interrupt");
        assert_eq!(source.report().errors, 0, "{}", source.report());
        assert_eq!(connections(), 2);
    });
}

#[test]
fn what_stands_in_the_way_is_named_and_ends_when_it_is_gone() {
    behind_the_lock("refusals of systemd-imdsd", || {
        let locked = Locked::new(Provider::Aws);
        let mut source = locked.aws();
        source.until(|report| {
            says(report, "locked on this machine, and systemd-imdsd") && says(report, "not at its socket")
        });
        let imdsd = locked.imdsd(Provider::Aws);
        imdsd.behave(Behaviour::Refuses);
        source.until(|report| says(report, "polkit must allow it the action io.systemd.imds.get"));
        for (garbage, text) in [
            (&b"not JSON"[..], "not a valid HTTP answer"),
            (br#"{"parameters":{"data":"%%%"}}"#, "not a valid HTTP answer"),
            (&[b'['; 100_000], "not a valid HTTP answer"),
            (&[b' '; 500_000], "longer than"),
            (br#"{"error":"io.systemd.InstanceMetadata.CommunicationFailure"}"#, "does not reach"),
        ] {
            imdsd.behave(Behaviour::Says(garbage.to_vec()));
            source.until(|report| says(report, text));
        }
        source.assert_silent();
        imdsd.behave(Behaviour::Faithful);
        source.until(is_seen_through);
        drop(imdsd);
        source.until(|report| says(report, "not at its socket"));
        assert_eq!(source.report().remark.filter(|remark| remark.contains("through")), None);
        let _imdsd = locked.imdsd(Provider::Aws);
        locked.fake.notice(Action::Terminate, TWO_MINUTES);
        source.event("cloud.spot.interrupt");
    });
}

#[test]
fn one_that_says_nothing_for_forty_seconds_is_not_waited_for() {
    behind_the_lock("a systemd-imdsd that hangs", || {
        let locked = Locked::new(Provider::Aws);
        let imdsd = locked.imdsd(Provider::Aws);
        imdsd.behave(Behaviour::Hangs);
        let settings = AwsSource { request_timeout_ms: 300, ..AwsSource::default() };
        let mut source = locked.watch(|bell| Aws::new(&settings, bell).expect("an endpoint"));
        source.until(|report| says(report, "no answer within the time limit"));
        imdsd.behave(Behaviour::Faithful);
        locked.fake.notice(Action::Terminate, TWO_MINUTES);
        source.event("cloud.spot.interrupt");
        imdsd.behave(Behaviour::Hangs);
        let patient = AwsSource { request_timeout_ms: 60_000, ..AwsSource::default() };
        let mut other = locked.watch(|bell| Aws::new(&patient, bell).expect("an endpoint"));
        let asked = imdsd.calls().len();
        let until = Instant::now() + LIMIT;
        while imdsd.calls().iter().skip(asked).filter(|call| call.key.contains("identity")).count() == 0 {
            assert!(Instant::now() < until, "{:?}", imdsd.calls());
            std::thread::yield_now();
        }
        let stopped = Instant::now();
        other.stop();
        assert!(stopped.elapsed() < Duration::from_secs(20), "it is called away: {:?}", stopped.elapsed());
    });
}

#[test]
fn azure_is_asked_in_its_own_version_and_with_nothing_behind_it() {
    behind_the_lock("Azure through systemd-imdsd", || {
        let locked = Locked::new(Provider::Azure);
        let mut settings = Settings::default();
        settings.azure.requests_per_second = 0;
        locked.fake.settings(settings);
        let _imdsd = locked.imdsd(Provider::Azure);
        let mut source = locked.watch(|bell| Azure::new(&AzureSource::default(), bell).expect("an endpoint"));
        source.until(is_seen_through);
        locked.fake.notice(Action::Terminate, Duration::from_secs(40));
        let event = source.event("cloud.spot.interrupt");
        assert!(!event.machine.instance_id.is_empty(), "{event:?}");
        let asked = locked.fake.requests();
        assert!(asked.iter().any(|request| request.status == Some(400)), "the newest version is not served: {asked:?}");
        assert!(asked.iter().all(|request| !request.query.contains("2025-04-07")), "{asked:?}");
        assert_eq!(source.report().errors, 0, "{}", source.report());
    });
}

#[test]
fn gcp_holds_its_answer_back_this_way_too() {
    behind_the_lock("GCP through systemd-imdsd", || {
        let locked = Locked::new(Provider::Gcp);
        let imdsd = locked.imdsd(Provider::Gcp);
        let mut source = locked.watch(|bell| Preempted::new(&GcpSource::default(), bell).expect("an endpoint"));
        let report = source.until(is_seen_through);
        assert!(report.remark.is_some_and(|remark| remark.contains("up to 5 s late")));
        assert!(locked.fake.wait_for_held(1, LIMIT), "{:?}", imdsd.calls());
        locked.fake.notice(Action::Terminate, Duration::from_secs(30));
        source.event("cloud.spot.interrupt");
        let held = imdsd.calls().into_iter().filter(|call| call.key.contains("wait_for_change")).count();
        assert!((1..=3).contains(&held), "{:?}", imdsd.calls());
        assert_eq!(source.report().errors, 0, "{}", source.report());
    });
}

#[test]
fn a_cloud_that_systemd_does_not_serve_is_not_asked_for_by_its_way() {
    behind_the_lock("Alibaba beside systemd-imdsd", || {
        ip("route add prohibit 100.100.100.200");
        let locked = Locked::new(Provider::Aws);
        let imdsd = locked.imdsd(Provider::Aws);
        let mut source = locked.watch(|bell| Alibaba::new(&SpotTimeSource::default(), bell).expect("an endpoint"));
        source.until(|report| says(report, "serves another cloud's metadata service"));
        assert_eq!(imdsd.calls(), []);
    });
}

/// A daemon on a machine with this lock. It finds out by itself where it is.
fn daemon(plugins: &Plugins, socket: &std::path::Path, sources: &Value) -> Daemon {
    let recorder = json!({"name": "recorder", "timeout_seconds": 30, "config": plugins.config("it")});
    let mut config = json!({
        "event_handlers": {"cloud.spot.interrupt": {"polling_interval_seconds": 0.1, "plugins": [recorder]}},
        "sources": sources,
    });
    config["sources"]["imds_socket"] = json!(socket);
    plugins.daemon(config).start().expect("it starts")
}

#[test]
fn the_daemon_finds_the_cloud_handles_its_notice_and_doctor_says_which_way() {
    let plugins = Plugins::recorders(&["recorder"]);
    behind_the_lock("a daemon on a locked machine", move || {
        let locked = Locked::new(Provider::Aws);
        let imdsd = locked.imdsd(Provider::Aws);
        let looking = json!({"aws": {"polling_interval_seconds": 0.1, "maintenance_interval_seconds": 0.1},
            "detect": {"sys_directory": locked.directory.path(), "probe_timeout_ms": 2_000,
            "endpoints": {"alibaba": null, "tencent": null}}});
        let daemon = daemon(&plugins, &locked.socket(), &looking);
        let status = status_when(&daemon, "a source that sees", |status| status["sources"][0]["state"] == "seeing");
        assert_eq!(status["detection"]["provider"], "aws", "{status:#}");
        assert!(status["sources"][0]["summary"].as_str().is_some_and(|text| text.contains(REMARK)), "{status:#}");
        locked.fake.notice(Action::Terminate, TWO_MINUTES);
        let report = daemon.report_of("cloud.spot.interrupt", LIMIT).expect("it is handled");
        assert_eq!(report["event"]["data"]["instanceID"], "i-1234567890abcdef0", "{report:#}");
        let doctor = |daemon: &Daemon| daemon.snooze(&["doctor"]).expect("it runs").stdout;
        assert!(doctor(&daemon).contains(REMARK), "{}", doctor(&daemon));
        imdsd.behave(Behaviour::Refuses);
        imdsd.disconnect();
        status_when(&daemon, "a source that is refused", |status| status["sources"][0]["state"] == "blind");
        let told = doctor(&daemon);
        assert!(told.contains("✗") && told.contains("50-cloudsnooze.rules"), "{told}");
        drop(imdsd);
        // Of every path: as long as one still tells of the refusal, that is what doctor helps with.
        status_when(&daemon, "no socket", |status| {
            let summary = status["sources"][0]["summary"].to_string();
            summary.contains("not at its") && !summary.contains("refuses this user")
        });
        let told = doctor(&daemon);
        assert!(told.contains("systemd.imds.network=unlocked"), "{told}");
    });
}

#[test]
fn doctor_asks_systemd_imdsd_by_itself_while_no_daemon_runs() {
    let plugins = Plugins::recorders(&["recorder"]);
    behind_the_lock("doctor on a locked machine", move || {
        let locked = Locked::new(Provider::Azure);
        let sources = json!({"azure": {"enabled": true}, "imds_socket": locked.socket(),
            "detect": {"sys_directory": locked.directory.path(), "endpoints": {"alibaba": null, "tencent": null}}});
        let config = json!({"event_handlers": {"cloud.spot.interrupt": {"plugins":
            [{"name": "recorder", "config": plugins.config("it")}]}}, "sources": sources});
        let daemon = plugins.daemon(config).prepare().expect("prepared");
        let file = daemon.config_file();
        let doctor = || daemon.snooze(&["doctor", "--config", file.to_str().expect("UTF-8")]).expect("it runs").stdout;
        let told = doctor();
        assert!(told.contains("locked on this machine") && told.contains("systemd.imds.network=unlocked"), "{told}");
        let imdsd = locked.imdsd(Provider::Azure);
        let told = doctor();
        assert!(told.contains("microsoft-azure, and gives its metadata"), "{told}");
        imdsd.behave(Behaviour::Refuses);
        let told = doctor();
        assert!(told.contains("polkit must allow") && told.contains("50-cloudsnooze.rules"), "{told}");
    });
}

#[test]
fn a_maintenance_of_aws_is_listed_through_systemd_imdsd() {
    behind_the_lock("AWS maintenance through systemd-imdsd", || {
        let locked = Locked::new(Provider::Aws);
        let _imdsd = locked.imdsd(Provider::Aws);
        let mut source = locked.aws();
        source.until(is_seen_through);
        let id =
            locked.fake.maintenance(Maintenance::new("system-reboot", Duration::from_secs(86_400))).expect("announced");
        let event = source.event("cloud.maintenance.reboot");
        locked.fake.cancel_maintenance(&id).expect("known");
        let withdrawn = source.event("cloud.maintenance.reboot.cancelled");
        assert_eq!(withdrawn.cancels, Some(event.id));
    });
}
