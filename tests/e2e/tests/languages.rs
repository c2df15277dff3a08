//! One real notice, one plugin in each language that plugins are written in: all see the same event.

use std::time::Duration;

use e2e::zoo::{Zoo, repository};
use fake_metadata::{Action, FakeMetadata, Options};
use harness::daemon::DaemonBuilder;
use serde_json::{Map, Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// The plugins of the four languages, in the order of their priorities.
const PLUGINS: [(&str, u32); 4] = [("minimal", 90), ("cpp", 70), ("recorder-rs", 50), ("recorder-py", 30)];

/// What the line of one plugin holds besides the plugin's name.
fn line_of(zoo: &Zoo, plugin: &str) -> Map<String, Value> {
    let text = std::fs::read_to_string(zoo.join(&format!("{plugin}.lines"))).expect("the plugin wrote");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{plugin}: {text}");
    let mut line: Map<String, Value> = serde_json::from_str(lines[0]).expect("a JSON object");
    assert_eq!(line.remove("plugin"), Some(json!(plugin)));
    line
}

#[test]
fn plugins_in_c_cpp_rust_and_python_see_the_same_event_in_order_of_priority() {
    let needed = ["make", "cc", "c++", "python3"];
    let Some(zoo) = Zoo::open("plugins of four languages see the same event", &needed) else { return };
    zoo.example("minimal");
    zoo.example("cpp");
    zoo.rust("recorder-rs");
    zoo.python("recorder.py", "recorder-py", json!({"PYTHONPATH": repository().join("plugins/python/src")}), &[]);
    let fake = FakeMetadata::start(Options::default()).expect("a metadata service");
    // Told in another order than that of the priorities.
    let handler = |(name, priority): &(&str, u32)| {
        let file = zoo.join(&format!("{name}.lines"));
        json!({"name": name, "priority": priority, "config": {"file": file}})
    };
    let handlers: Vec<Value> = PLUGINS.iter().rev().map(handler).collect();
    let watched = json!({"polling_interval_seconds": 0.1, "plugins": handlers});
    let daemon = DaemonBuilder::new(zoo.bin())
        .config(json!({"event_handlers": {"cloud.spot.interrupt": watched}}))
        .plugin_directory(zoo.path())
        .endpoint(fake.base_url())
        .start()
        .expect("the daemon started");

    fake.notice(Action::Terminate, Duration::from_secs(120));
    let report = daemon.report_of("cloud.spot.interrupt", LIMIT).expect("a report");

    let handlers = report["handlers"].as_array().expect("handlers");
    let text = |handler: &Value, key: &str| handler[key].as_str().unwrap_or("none").to_owned();
    let ran: Vec<_> = handlers.iter().map(|h| (text(h, "handler"), text(h, "status"), text(h, "verified"))).collect();
    let expected = PLUGINS.map(|(name, _)| (name.to_owned(), "handled".to_owned(), "yes".to_owned()));
    assert_eq!(ran, expected, "{report:#}");
    let (start, length) = (|h: &Value| h["start_ms"].as_f64(), |h: &Value| h["duration_ms"].as_f64());
    for pair in handlers.windows(2) {
        let end = start(&pair[0]).zip(length(&pair[0])).map(|(start, length)| start + length).expect("times");
        assert!(start(&pair[1]).expect("a start") >= end, "{} did not wait: {report:#}", pair[1]["handler"]);
    }

    let instance = Options::default().instance;
    let seen = line_of(&zoo, "minimal");
    let expected = json!({
        "type": "cloud.spot.interrupt", "id": report["event_id"], "source": "aws.ec2.metadata-service",
        "severity": "urgent", "provider": "aws", "action": "terminate", "deadline": report["deadline"],
        "instanceID": instance.id, "instanceType": instance.instance_type, "zone": instance.zone,
        "region": instance.region(), "noticeKind": "deadline",
    });
    assert_eq!(Value::Object(seen.clone()), expected);
    for (plugin, _) in &PLUGINS[1..] {
        assert_eq!(line_of(&zoo, plugin), seen, "{plugin} saw another event than minimal");
    }
}
