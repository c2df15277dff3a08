//! Which cloud is this: a daemon that nobody told, its firmware played by files and the services by stand-ins.

use std::path::Path;
use std::time::Duration;

use e2e::simple::{Plugins, status_when};
use fake_metadata::{Action, FakeMetadata, Options, Provider};
use harness::daemon::Daemon;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// What nobody answers at: a port that was free a moment ago.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound"))
}

/// A configuration that says nothing of any cloud but where to look.
fn looking(plugins: &Plugins, sys: &Path, asked: &str) -> Value {
    let endpoints: Value = ["aws", "azure", "gcp", "alibaba", "tencent", "oracle"]
        .into_iter()
        .map(|cloud| (cloud.to_owned(), json!(asked)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({
        "event_handlers": {
            "cloud.spot.interrupt": {
                "polling_interval_seconds": 0.05,
                "plugins": [{"name": "recorder", "timeout_seconds": 30, "config": plugins.config("it")}],
            },
        },
        "sources": {"detect": {"sys_directory": sys, "probe_timeout_ms": 2000, "endpoints": endpoints}},
    })
}

fn firmware(sys: &Path, texts: &[(&str, &str)]) {
    let id = sys.join("class/dmi/id");
    std::fs::create_dir_all(&id).expect("made");
    texts.iter().for_each(|(name, text)| std::fs::write(id.join(name), format!("{text}\n")).expect("written"));
}

fn until_detection(daemon: &Daemon, state: &str) -> Value {
    status_when(daemon, &format!("detection says {state}"), |status| status["detection"]["state"] == state)
}

#[test]
fn each_clouds_service_is_known_by_its_answers_and_its_notices_are_seen() {
    for (provider, source) in [
        (Provider::Aws, "aws.ec2.metadata-service"),
        (Provider::Alibaba, "alibaba.ecs.metadata-service"),
        (Provider::Tencent, "tencent.cvm.metadata-service"),
    ] {
        let (fake, plugins) =
            (FakeMetadata::start(Options::of(provider)).expect("a port"), Plugins::recorders(&["recorder"]));
        let config = looking(&plugins, plugins.directory(), &fake.base_url());
        let daemon = plugins.daemon(config).start().expect("it starts");
        let status = status_when(&daemon, "a source that sees", |status| status["sources"][0]["state"] == "seeing");
        assert_eq!(status["sources"][0]["name"], source, "{status:#}");
        assert_eq!(status["detection"]["provider"], provider.name(), "{status:#}");
        let summary = status["detection"]["summary"].as_str().expect("a sentence");
        assert!(summary.contains("because") && summary.contains(&fake.base_url()), "{summary}");
        fake.notice(Action::Terminate, Duration::from_secs(120));
        let report = daemon.report_of("cloud.spot.interrupt", LIMIT).expect("it is handled");
        assert_eq!(report["event"]["data"]["provider"], provider.name(), "{report:#}");
    }
}

#[test]
fn clouds_that_this_version_does_not_watch_are_named_all_the_same() {
    for provider in [Provider::Azure, Provider::Gcp] {
        if cloudsnooze::source::detect::Provider::WATCHED.iter().any(|watched| watched.as_str() == provider.name()) {
            continue;
        }
        let (fake, plugins) =
            (FakeMetadata::start(Options::of(provider)).expect("a port"), Plugins::recorders(&["recorder"]));
        let config = looking(&plugins, plugins.directory(), &fake.base_url());
        let daemon = plugins.daemon(config).start().expect("it starts");
        let status = until_detection(&daemon, "found");
        assert_eq!(status["detection"]["provider"], provider.name(), "{status:#}");
        assert_eq!(status["sources"][0]["state"], "off", "{status:#}");
        assert!(status["problems"].to_string().contains("does not watch"), "{status:#}");
    }
}

#[test]
fn the_firmware_is_believed_and_nobody_is_asked() {
    let fake = FakeMetadata::start(Options::of(Provider::Aws)).expect("a port");
    let own = FakeMetadata::start(Options::of(Provider::Tencent)).expect("a port");
    let plugins = Plugins::recorders(&["recorder"]);
    let sys = plugins.file("sys");
    firmware(&sys, &[("sys_vendor", "Tencent Cloud"), ("product_name", "CVM")]);
    let mut config = looking(&plugins, &sys, &fake.base_url());
    config["sources"]["detect"]["endpoints"]["tencent"] = json!(own.base_url());
    let daemon = plugins.daemon(config).start().expect("it starts");
    let status = until_detection(&daemon, "found");
    assert_eq!(status["detection"]["provider"], "tencent", "{status:#}");
    assert_eq!(status["sources"][0]["name"], "tencent.cvm.metadata-service", "{status:#}");
    own.notice(Action::Terminate, Duration::from_secs(120));
    daemon.report_of("cloud.spot.interrupt", LIMIT).expect("it is handled");
    assert!(fake.requests().is_empty(), "{:?}", fake.requests());
}

#[test]
fn where_nothing_answers_the_daemon_works_says_so_and_finds_a_service_that_comes_late() {
    let (asked, plugins) = (nobody(), Plugins::recorders(&["recorder"]));
    let mut config = looking(&plugins, plugins.directory(), &asked);
    config["event_handlers"]["custom.thing"] = config["event_handlers"]["cloud.spot.interrupt"].clone();
    let daemon = plugins.daemon(config).start().expect("it starts");
    let status = until_detection(&daemon, "nothing");
    assert!(status["problems"].to_string().contains("not known which cloud this is"), "{status:#}");
    let details = status["detection"]["details"].to_string();
    assert!(details.contains("the firmware says nothing") && details.contains("refuses connections"), "{details}");
    let id = e2e::simple::simulate(&daemon, "custom.thing", &["--in", "60s"]);
    assert_eq!(e2e::simple::finished(&daemon, &id)["state"], "completed");
    let doctor = daemon.snooze(&["doctor"]).expect("it runs").stdout;
    assert!(doctor.contains("not known which cloud this is") && doctor.contains("refuses connections"), "{doctor}");
    let address = asked.trim_start_matches("http://").parse().expect("an address");
    let late =
        FakeMetadata::start(Options { listen: address, ..Options::of(Provider::Alibaba) }).expect("the same port");
    let status = until_detection(&daemon, "found");
    assert_eq!(status["detection"]["provider"], "alibaba", "{status:#}");
    late.notice(Action::Terminate, Duration::from_secs(120));
    daemon.report_of("cloud.spot.interrupt", LIMIT).expect("it is handled");
}

#[test]
fn what_the_configuration_says_counts_before_what_is_found() {
    let fake = FakeMetadata::start(Options::of(Provider::Alibaba)).expect("a port");
    let plugins = Plugins::recorders(&["recorder"]);
    let sys = plugins.file("sys");
    firmware(&sys, &[("sys_vendor", "Alibaba Cloud"), ("product_name", "Alibaba Cloud ECS")]);
    let mut config = looking(&plugins, &sys, &fake.base_url());
    config["sources"]["alibaba"] = json!({"enabled": false});
    let daemon = plugins.daemon(config).start().expect("it starts");
    let status = until_detection(&daemon, "found");
    assert_eq!(status["sources"][0]["state"], "off", "{status:#}");
    let summary = status["sources"][0]["summary"].as_str().expect("a sentence");
    assert!(summary.contains("Alibaba Cloud") && summary.contains("sources.alibaba.enabled"), "{summary}");
    drop(daemon);
    // An address of one's own is a rehearsal: it is watched, and strangers are not asked.
    let asked = FakeMetadata::start(Options::of(Provider::Aws)).expect("a port");
    let mut config = looking(&plugins, &plugins.file("nothing"), &asked.base_url());
    config["sources"]["alibaba"] = json!({"endpoint": fake.base_url()});
    let daemon = plugins.daemon(config).start().expect("it starts");
    let status = status_when(&daemon, "a source that sees", |status| status["sources"][0]["state"] == "seeing");
    assert_eq!(status["sources"][0]["name"], "alibaba.ecs.metadata-service", "{status:#}");
    assert!(asked.requests().is_empty(), "{:?}", asked.requests());
}

#[test]
fn doctor_finds_out_by_itself_while_no_daemon_runs() {
    let fake = FakeMetadata::start(Options::of(Provider::Tencent)).expect("a port");
    let plugins = Plugins::recorders(&["recorder"]);
    let config = looking(&plugins, plugins.directory(), &fake.base_url());
    let daemon = plugins.daemon(config).prepare().expect("prepared");
    let file = daemon.config_file();
    let doctor = daemon.snooze(&["doctor", "--config", file.to_str().expect("UTF-8")]).expect("it runs").stdout;
    assert!(doctor.contains("Tencent Cloud") && doctor.contains("this is ins-"), "{doctor}");
}
