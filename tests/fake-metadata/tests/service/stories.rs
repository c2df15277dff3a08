//! The built-in scenarios: what a client sees after each step, and that their timelines run, however fast.

use std::time::Duration;

use fake_metadata::scenario::{SCENARIOS, Scenario};
use fake_metadata::{Activity, AzureSettings, FakeMetadata, Options, Provider, Settings};
use serde_json::Value;

use crate::client::{PATIENCE, Reply, item, request};

/// A service for the scenario without its steps; it may be asked as often as a test likes.
fn start(scenario: &Scenario) -> (FakeMetadata, Vec<fake_metadata::Step>) {
    let mut options = Options::from_script(scenario.script().expect("a good script"));
    options.tokens_required = false;
    let azure = AzureSettings { requests_per_second: 0, ..options.settings.azure };
    options.settings = Settings { azure, ..options.settings };
    let steps = std::mem::take(&mut options.steps);
    (FakeMetadata::start(options).expect("the service starts"), steps)
}

fn present(fake: &FakeMetadata, path: &str) -> Option<String> {
    let reply = item(fake, path);
    (reply.status == 200).then(|| reply.text().to_owned())
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("valid JSON")
}

/// What a client of the AWS service finds.
fn aws(fake: &FakeMetadata) -> String {
    let mut seen = Vec::new();
    if let Some(notice) = present(fake, "spot/instance-action") {
        seen.push(parsed(&notice)["action"].as_str().expect("an action").to_owned());
    }
    seen.extend(present(fake, "events/recommendations/rebalance").map(|_| "rebalance".to_owned()));
    seen.extend(present(fake, "autoscaling/target-lifecycle-state"));
    for list in ["scheduled", "history"] {
        let events = parsed(&present(fake, &format!("events/maintenance/{list}")).expect("a list"));
        for event in events.as_array().expect("a list") {
            let part = |name: &str| event[name].as_str().expect("a text");
            seen.push(format!("{} {}", part("Code"), part("State")));
        }
    }
    seen.join(", ")
}

/// What a client of Azure's service finds.
fn azure(fake: &FakeMetadata) -> String {
    let path = "/metadata/scheduledevents?api-version=";
    let mark = [("Metadata", "true")];
    let newest = request(fake, "GET", &format!("{path}2024-07-09"), &mark);
    let reply = if newest.status == 200 { newest } else { request(fake, "GET", &format!("{path}2020-07-01"), &mark) };
    let document = parsed(reply.text());
    let events = document["Events"].as_array().expect("a list").iter().map(|event| {
        let part = |name: &str| event[name].as_str().expect("a text");
        assert_eq!(part("NotBefore").is_empty(), part("EventStatus") == "Started", "{event}");
        let others = event["Resources"].as_array().expect("a list").len() - 1;
        let others = if others == 0 { String::new() } else { format!(" +{others}") };
        let source = if part("EventSource") == "User" { " by user" } else { "" };
        format!("{} {}{source}{others}", part("EventType"), part("EventStatus"))
    });
    format!("{}: {}", document["DocumentIncarnation"], events.collect::<Vec<String>>().join(", "))
}

/// What a client of GCP's service finds.
fn gcp(fake: &FakeMetadata) -> String {
    let get = |path: &str| -> Reply {
        request(fake, "GET", &format!("/computeMetadata/v1/instance/{path}"), &[("Metadata-Flavor", "Google")])
    };
    let maintenance = get("maintenance-event");
    if maintenance.status == 503 {
        return "503".to_owned();
    }
    let upcoming = get("upcoming-maintenance?alt=json");
    let announced = match upcoming.status {
        200 => parsed(upcoming.text())["maintenance_status"].as_str().expect("a status").to_owned(),
        status => status.to_string(),
    };
    format!("{} {} {announced}", get("preempted").text(), maintenance.text())
}

fn seen(provider: Provider, fake: &FakeMetadata) -> String {
    match provider {
        Provider::Aws => aws(fake),
        Provider::Azure => azure(fake),
        Provider::Gcp => gcp(fake),
        Provider::Alibaba => item(fake, "instance/spot/termination-time").status.to_string(),
        Provider::Tencent => item(fake, "spot/termination-time").status.to_string(),
    }
}

/// What a client sees after each step.
fn expected(provider: Provider, name: &str) -> &'static [&'static str] {
    match (provider, name) {
        (Provider::Aws, "spot-interruption") => &["terminate"],
        (Provider::Aws, "rebalance-then-interruption" | "early-rebalance") => &["rebalance", "terminate, rebalance"],
        (Provider::Aws, "spot-stop") => &["stop"],
        (Provider::Aws, "spot-hibernation") => &["hibernate"],
        (Provider::Aws, "reboot") => &["system-reboot active", "system-reboot active", "system-reboot completed"],
        (Provider::Aws, "cancelled-maintenance") => {
            &["system-maintenance active", "system-maintenance active", "system-maintenance canceled"]
        }
        (Provider::Aws, "retirement") => &["instance-retirement active"],
        (Provider::Aws, "scale-in") => &["InService", "Terminated"],
        (Provider::Azure, "spot-interruption") => &["2: Preempt Scheduled", "3: Preempt Started"],
        (Provider::Azure, "rebalance-then-interruption") => &[
            "2: SpotRebalanceRecommendation Scheduled",
            "3: SpotRebalanceRecommendation Scheduled, Preempt Scheduled",
            "4: SpotRebalanceRecommendation Scheduled, Preempt Started",
        ],
        (Provider::Azure, "live-migration" | "host-agent-maintenance") => {
            &["2: Freeze Scheduled", "3: Freeze Started", "4: "]
        }
        (Provider::Azure, "reboot") => &["2: Reboot Scheduled", "3: Reboot Started", "4: "],
        (Provider::Azure, "user-reboot") => &["2: Reboot Scheduled by user", "3: Reboot Started by user", "4: "],
        (Provider::Azure, "redeploy") => &["2: Redeploy Scheduled", "3: Redeploy Started", "4: "],
        (Provider::Azure, "user-redeploy") => &["2: Redeploy Scheduled by user", "3: Redeploy Started by user", "4: "],
        (Provider::Azure, "cancelled-maintenance") => &["2: Freeze Scheduled", "3: Freeze Scheduled", "4: "],
        (Provider::Azure, "terminate") => &["2: Terminate Scheduled", "3: Terminate Started"],
        (Provider::Azure, "hardware-failure") => &["2: Reboot Started", "3: "],
        (Provider::Azure, "degraded-hardware") => &["2: Redeploy Scheduled"],
        (Provider::Azure, "recorded-sequence") => &["2: Freeze Scheduled +1", "3: Freeze Started +1", "4: "],
        (Provider::Gcp, "spot-interruption" | "spot-interruption-with-notice") => &["TRUE NONE 503"],
        (Provider::Gcp, "live-migration") => &["FALSE MIGRATE_ON_HOST_MAINTENANCE 503", "503", "FALSE NONE 503"],
        (Provider::Gcp, "gpu-termination") => {
            &["FALSE TERMINATE_ON_HOST_MAINTENANCE 503", "FALSE TERMINATE_ON_HOST_MAINTENANCE 503", "FALSE NONE 503"]
        }
        (Provider::Gcp, "upcoming-maintenance") => &["FALSE NONE PENDING", "FALSE NONE ONGOING", "FALSE NONE 503"],
        (Provider::Gcp, "cancelled-maintenance") => &["FALSE NONE PENDING", "FALSE NONE PENDING", "FALSE NONE 503"],
        (Provider::Alibaba | Provider::Tencent, "spot-interruption") => &["200"],
        _ => panic!("{provider} {name}: what does a client see?"),
    }
}

#[test]
fn a_client_sees_every_step_of_every_story() {
    for scenario in SCENARIOS {
        let (fake, steps) = start(scenario);
        // GCP warns of maintenance only those who have asked for it before.
        let _before = seen(scenario.provider, &fake);
        let steps = steps.into_iter().map(|step| {
            fake.apply(step.change).expect("a change that fits");
            seen(scenario.provider, &fake)
        });
        let steps: Vec<String> = steps.collect();
        assert_eq!(steps, expected(scenario.provider, scenario.name), "{} {}", scenario.provider, scenario.name);
    }
}

/// Each timeline is told in about a third of a second, in order and never early.
#[test]
fn every_timeline_runs_accelerated() {
    const LASTS_SECONDS: f64 = 0.3;
    let mut running = Vec::new();
    for scenario in SCENARIOS {
        let script = scenario.script().expect("a good script");
        let last = script.steps.last().expect("a step").after.as_secs_f64();
        let script = script.accelerated(last / LASTS_SECONDS);
        let steps: Vec<(Duration, String)> =
            script.steps.iter().map(|step| (step.after, step.change.to_string())).collect();
        let started = FakeMetadata::start_watched(Options::from_script(script)).expect("the service starts");
        running.push((scenario, steps, started));
    }
    for (scenario, steps, (fake, activity)) in running {
        for (_, change) in &steps {
            match activity.recv_timeout(PATIENCE).expect("the story goes on") {
                Activity::Changed(what) => assert_eq!(&what, change, "{} {}", scenario.provider, scenario.name),
                other => panic!("{} {}: {other:?}", scenario.provider, scenario.name),
            }
        }
        let changes = fake.changes();
        assert!(changes.is_sorted_by_key(|changed| changed.boot_ns), "{} {}", scenario.provider, scenario.name);
        for (changed, (after, what)) in changes.iter().zip(&steps) {
            let taken = Duration::from_nanos(changed.boot_ns - fake.started_boot_ns());
            assert!(taken >= *after, "{} {}: {what} after {taken:?}", scenario.provider, scenario.name);
        }
    }
}

/// A notice two minutes ahead lies two seconds ahead where time runs sixty times as fast.
#[test]
fn deadlines_lie_nearer_where_time_runs_faster() {
    let scenario = Scenario::find(Provider::Aws, "spot-interruption").expect("it is there");
    let mut script = scenario.script().expect("a good script").accelerated(60.0);
    let before = jiff::Timestamp::now().as_second();
    let step = script.steps.pop().expect("a step");
    assert!(step.after < Duration::from_secs(1));
    let (fake, _) = start(scenario);
    fake.apply(step.change).expect("a notice");
    let notice = parsed(&present(&fake, "spot/instance-action").expect("a notice"));
    let ends: jiff::Timestamp = notice["time"].as_str().and_then(|time| time.parse().ok()).expect("a time");
    assert!((before + 2..=jiff::Timestamp::now().as_second() + 2).contains(&ends.as_second()), "{notice}");
}
