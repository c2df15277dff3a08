//! The metrics of a daemon at which something happened, and the dashboard and rules that are made of them: held against each other,
//! and against what Prometheus' own tool says.

use e2e::simple::{Plugins, finished, simulate, socket};
use e2e::zoo::{Zoo, repository};
use fake_metadata::{FakeMetadata, Options};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::{program, require, wait};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const KEY: &str = "custom.thing";

/// A daemon at which an event was handled by one handler, and another handler failed.
fn eventful(what: &str) -> Option<(Daemon, Zoo, Plugins, FakeMetadata)> {
    let zoo = Zoo::open(what, &["cc"])?;
    let plugins = Plugins::recorders(&["first"]);
    zoo.c("misbehaves.c", "torn.so", &["-DNAME=\"torn\""]);
    let handlers = json!([
        {"name": "first", "priority": 90, "config": plugins.config("first")},
        {"name": "torn", "priority": 10, "config": {"mode": "fails", "file": zoo.join("torn.lines")}},
    ]);
    let fake = FakeMetadata::start(Options::default()).expect("a free port");
    let config = json!({"event_handlers": {KEY: {"plugins": handlers}}});
    let builder = DaemonBuilder::new(zoo.bin()).config(config).endpoint(fake.base_url());
    let daemon = builder.plugin_directory(zoo.path()).plugin_directory(plugins.directory()).start().expect("it starts");
    finished(&daemon, &simulate(&daemon, KEY, &["--in", "60s"]));
    // The self-test and the source's first looks have times of their own.
    wait::until("a source that sees and a self-test", LIMIT, || {
        let text = metrics(&daemon);
        (text.contains("state=\"seeing\"} 1") && text.contains("snooze_self_test_seconds{")).then_some(())
    })
    .expect("both");
    Some((daemon, zoo, plugins, fake))
}

fn metrics(daemon: &Daemon) -> String {
    let (status, text) = socket::ask(&daemon.socket(), "GET", "/metrics", "");
    assert_eq!(status, 200, "{text}");
    text
}

/// Prometheus' tool; None, told loudly, where it is missing.
fn promtool(what: &str) -> Option<PathBuf> {
    let found = program::find("promtool");
    if found.is_none() {
        require::missing_means_skip(&format!("{what}: there is no promtool; run tests/setup.sh test"));
    }
    found
}

/// The value of each line that is no comment, by the line without it. A line that comes twice is an error.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let value = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
        assert!(found.insert(name.to_owned(), value).is_none(), "{name} comes twice");
    }
    found
}

/// Every metric that is declared, with its type.
fn declared(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines.map(|line| line.split_once(' ').expect("a type")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// Words of a text that name one of our metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("snooze_")).map(str::to_owned).collect()
}

fn document(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_metrics_count_what_happened_and_promtool_has_nothing_to_say() {
    const WHAT: &str = "the_metrics_count_what_happened_and_promtool_has_nothing_to_say";
    let Some((daemon, _zoo, _plugins, _fake)) = eventful(WHAT) else { return };
    let text = metrics(&daemon);
    let found = samples(&text);
    let of = |line: &str| *found.get(line).unwrap_or_else(|| panic!("no {line} in {text}"));
    let calls = |name: &str, result: &str| {
        of(&format!(
            "snooze_handler_calls_total{{instance_name=\"{KEY}/{name}\",plugin=\"{name}\",result=\"{result}\"}}"
        ))
    };
    assert_eq!([calls("first", "handled"), calls("first", "failed")], [1.0, 0.0]);
    assert_eq!([calls("torn", "handled"), calls("torn", "failed")], [0.0, 1.0]);
    for name in ["first", "torn"] {
        let labels = format!("instance_name=\"{KEY}/{name}\",plugin=\"{name}\"");
        assert_eq!(of(&format!("snooze_handler_duration_seconds_count{{{labels}}}")), 1.0);
        assert_eq!(of(&format!("snooze_handler_duration_seconds_bucket{{{labels},le=\"+Inf\"}}")), 1.0);
        assert_eq!(of(&format!("snooze_plugin_state{{{labels},state=\"active\"}}")), 1.0);
    }
    assert_eq!((of("snooze_events_completed_total"), of("snooze_deadlines_missed_total")), (1.0, 0.0));
    assert_eq!(of("snooze_event_time_left_seconds_count"), 1.0);
    assert_eq!(
        (
            of("snooze_event_time_left_seconds_bucket{le=\"30\"}"),
            of("snooze_event_time_left_seconds_bucket{le=\"60\"}")
        ),
        (0.0, 1.0)
    );
    assert!(of("snooze_source_polls_total{source=\"aws.ec2.metadata-service\"}") > 0.0);

    let Some(promtool) = promtool(WHAT) else { return };
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("read");
    let said = child.wait_with_output().expect("it ends");
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && words.trim().is_empty(), "{words}");
}

#[test]
fn a_deadline_that_is_missed_is_counted() {
    let plugins = Plugins::recorders(&["first"]);
    let config = json!({
        "event_handlers": {KEY: {"plugins": [{"name": "first", "config": plugins.gated("first", "never")}]}},
        "dispatch": {"finish_before_seconds": 0},
    });
    let daemon = plugins.daemon(config).start().expect("it starts");
    finished(&daemon, &simulate(&daemon, KEY, &["--in", "500ms"]));
    let found = samples(&metrics(&daemon));
    let handler = format!("instance_name=\"{KEY}/first\",plugin=\"first\"");
    assert_eq!(found["snooze_deadlines_missed_total"], 1.0);
    assert_eq!(found["snooze_event_time_left_seconds_bucket{le=\"0\"}"], 1.0);
    assert_eq!(found[&format!("snooze_handler_calls_total{{{handler},result=\"timed-out\"}}")], 1.0);
}

#[test]
fn every_metric_that_a_panel_a_rule_or_the_manual_names_is_there_and_the_manual_has_them_all() {
    const WHAT: &str = "every_metric_that_a_panel_a_rule_or_the_manual_names_is_there";
    let Some((daemon, _zoo, _plugins, _fake)) = eventful(WHAT) else { return };
    let text = metrics(&daemon);
    let declared = declared(&text);
    let lines = named(&samples(&text).into_keys().map(|line| line + "\n").collect::<String>());
    for path in ["dist/grafana/cloudsnooze.json", "dist/prometheus/alerts.yml", "dist/prometheus/alerts_test.yml"] {
        let names = named(&document(path));
        assert!(names.len() >= 8, "{path} names {names:?}");
        let missing: Vec<&String> = names.iter().filter(|name| !lines.contains(*name)).collect();
        assert!(missing.is_empty(), "{path} names {missing:?}");
    }
    let manual = document("docs/operations/metrics.md");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `snooze_"));
    let told: BTreeMap<String, String> = rows
        .map(|row| {
            let mut cells = row.split('|').map(str::trim);
            let name = cells.next().expect("a name").trim_end_matches('`');
            (format!("snooze_{name}"), cells.next().expect("a type").to_owned())
        })
        .collect();
    assert_eq!(told, declared);
}

#[test]
fn the_dashboard_for_grafana_is_one_and_every_panel_asks_something_that_prometheus_understands() {
    const WHAT: &str = "the_dashboard_for_grafana_is_one_and_every_panel_asks_something_that_prometheus_understands";
    let mut expressions = Vec::new();
    let dashboard: Value = serde_json::from_str(&document("dist/grafana/cloudsnooze.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "ids are given once");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let asked = panel["targets"].as_array().expect("questions");
        assert!(!asked.is_empty(), "{}", panel["title"]);
        for question in asked {
            let expression = question["expr"].as_str().expect("an expression");
            assert!(!named(expression).is_empty() && expression.contains("$instance"), "{expression}");
            assert_eq!(question["datasource"]["uid"], "${datasource}", "{expression}");
            expressions.push(expression);
        }
    }
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations");
    expressions.extend(annotations.iter().filter_map(|one| one["expr"].as_str()));
    let Some(promtool) = promtool(WHAT) else { return };
    let plain = |expression: &&str| {
        let text = expression.replace("$instance", ".*").replace("$__rate_interval", "5m").replace("$__range", "6h");
        json!({"record": "x", "expr": text})
    };
    let rules: Vec<Value> = expressions.iter().map(plain).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rules.yml");
    // JSON is YAML, too.
    std::fs::write(&file, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).expect("written");
    let output = program::run(Command::new(promtool).args(["check", "rules", "--lint=none"]).arg(&file), LIMIT);
    output.and_then(|output| output.success("promtool")).expect("it understands them all");
}

#[test]
fn the_rules_are_sound_raise_what_they_should_and_are_all_in_the_manual() {
    let rules = document("dist/prometheus/alerts.yml");
    let (tests, manual) = (document("dist/prometheus/alerts_test.yml"), document("docs/operations/metrics.md"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 8, "{alerts:?}");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}")), "{alert} is not tested");
        assert!(manual.contains(&format!("| `{alert}` |")), "{alert} is not in the manual");
    }
    let Some(promtool) = promtool("the_rules_are_sound_raise_what_they_should_and_are_all_in_the_manual") else {
        return;
    };
    for args in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut command = Command::new(&promtool);
        command.args(args).current_dir(repository().join("dist/prometheus"));
        let said = program::run(&mut command, LIMIT).and_then(|output| output.success("promtool")).expect("it agrees");
        assert!(said.contains("SUCCESS"), "{said}");
    }
}
