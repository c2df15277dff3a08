//! Tests of the commands that work without a daemon, on files of their own.
//! Must never use the configuration, the plugins or the socket of this machine.

use super::{fixture, golden, snooze};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Whether what is shown holds every one of the texts.
fn holds(shown: &str, texts: &[&str]) {
    for text in texts {
        assert!(shown.contains(text), "{text}: {shown}");
    }
}

/// A directory with the plugin of c-examples/minimal, built as its Makefile does; None, loudly, without
/// a C compiler.
fn with_plugin() -> Option<(TempDir, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let directory = tempfile::tempdir().expect("a directory");
    let plugin = directory.path().join("minimal.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,now,-z,nodelete", "-I"])
        .arg(root.join("include"))
        .arg("-o")
        .args([&plugin, &root.join("c-examples/minimal/minimal.c")])
        .output();
    match built {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            Some((directory, plugin))
        }
        Err(error) => {
            eprintln!("NOT RUN: loading a plugin, because there is no C compiler (cc: {error})");
            None
        }
    }
}

fn configuration(directory: &Path, handler: &Value) -> PathBuf {
    let path = directory.join("cloudsnooze.json");
    let config = json!({
        "plugin_directories": [directory],
        "event_handlers": { "cloud.spot.interrupt": { "plugins": [handler] } },
        "control": { "socket": directory.join("s") },
        "sources": { "aws": { "enabled": false }, "detect": { "enabled": false } },
    });
    std::fs::write(&path, config.to_string()).expect("written");
    path
}

#[test]
fn a_plugin_is_described_tried_and_put_away_without_a_daemon() {
    let Some((directory, plugin)) = with_plugin() else { return };
    let settings = directory.path().join("settings.json");
    std::fs::write(&settings, json!({ "file": directory.path().join("out") }).to_string()).expect("written");

    let ran = snooze(&["plugin", "info", text(&plugin)]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    holds(&ran.out, &["minimal", "native (ABI 1.0)", "SETTING", "file", "(required)"]);

    let ran = snooze(&["plugin", "load-test", text(&plugin), "--config-file", text(&settings)]);
    assert_eq!((ran.code, ran.talk.as_str()), (0, ""), "{}", ran.out);
    holds(
        &ran.out,
        &["✓ read and load", "✓ check settings", "✓ create and activate", "✓ warm up", "✓ deactivate and destroy"],
    );

    let ran = snooze(&["plugin", "load-test", text(&plugin)]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    holds(&ran.out, &["✗ check settings", "refused (CONFIG)", "file"]);

    let ran = snooze(&["--json", "plugin", "load-test", text(&plugin), "--config-file", text(&settings)]);
    let value: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&value["ok"], value["steps"].as_array().map(Vec::len)), (&json!(true), Some(5)));
}

#[test]
fn a_secret_of_a_tried_plugin_is_shown_nowhere() {
    let Some((directory, plugin)) = with_plugin() else { return };
    let (settings, secret) = (directory.path().join("settings.json"), directory.path().join("secret"));
    std::fs::write(&secret, "/nowhere/hunter2/out").expect("written");
    std::fs::write(&settings, json!({ "file": { "file": secret } }).to_string()).expect("written");
    let ran = snooze(&["plugin", "load-test", text(&plugin), "--config-file", text(&settings)]);
    holds(&ran.out, &["check settings"]);
    assert!(!ran.out.contains("hunter2") && !ran.talk.contains("hunter2"), "{ran:?}");
}

#[test]
fn a_configuration_alone_gives_its_plan_and_its_check() {
    let Some((directory, plugin)) = with_plugin() else { return };
    let handler = json!({ "name": "minimal", "priority": 90, "timeout_seconds": 30, "config": { "file": directory.path().join("out") } });
    let config = configuration(directory.path(), &handler);
    let ran = snooze(&["plan", "cloud.spot.interrupt", "--left", "20s", "--config", text(&config)]);
    assert_eq!((ran.code, ran.talk.as_str()), (0, ""), "{}", ran.out);
    golden("plan-offline", &ran.out);
    let socket = directory.path().join("s");
    let ran = snooze(&["plan", "cloud.spot.interrupt", "--config", text(&config), "--socket", text(&socket)]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    holds(&ran.talk, &["snoozed is not running", "cloudsnooze.json"]);
    holds(&ran.out, &["AT 120 S"]);

    let ran = snooze(&["config", "check", "--config", text(&config)]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    holds(&ran.out, &["1 handler in 1 event type; OK"]);
    let ran = snooze(&["plugin", "list", "--config", text(&config)]);
    holds(&ran.out, &["minimal", "native"]);
    let ran = snooze(&["doctor", "--config", text(&config)]);
    holds(&ran.out, &["✓ cloud.spot.interrupt/minimal loads and takes its settings", "✗ snoozed is not running"]);

    std::fs::remove_file(plugin).expect("removed");
    let ran = snooze(&["config", "check", text(&config)]);
    assert_eq!(ran.code, 78);
    holds(&ran.out, &["event_handlers[\"cloud.spot.interrupt\"].plugins[0].name", "no plugin 'minimal'"]);
    assert_eq!(snooze(&["config", "check", text(&config), "--files-only"]).code, 0);
    assert_eq!(snooze(&["plugin", "info", "minimal", "--config", text(&config)]).code, 66);
}

#[test]
fn every_error_of_a_configuration_is_shown_at_once() {
    let file = fixture("config/bad/many-at-once.json");
    let ran = snooze(&["config", "check", text(&file)]);
    assert_eq!(ran.code, 78);
    let expected = std::fs::read_to_string(fixture("config/bad/many-at-once.expected")).expect("a fixture");
    let shown = ran.out.replace(&format!("{}/", file.parent().expect("a parent").display()), "");
    for line in expected.lines() {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let ran = snooze(&["--json", "config", "check", text(&file)]);
    let value: Value = serde_json::from_str(&ran.out).expect("JSON");
    let errors = value["configurations"][0]["errors"].as_array().map(Vec::len);
    assert_eq!((&value["ok"], errors), (&json!(false), Some(expected.lines().count())));
    assert_eq!(snooze(&["config", "check", "/no/such/file.json"]).code, 66);
}

#[test]
fn further_files_count_only_where_they_are_named_or_belong() {
    let directory = tempfile::tempdir().expect("a directory");
    let main = directory.path().join("main.json");
    let conf_d = directory.path().join("conf.d");
    std::fs::create_dir(&conf_d).expect("made");
    std::fs::write(&main, "{}").expect("written");
    std::fs::write(conf_d.join("1.json"), r#"{"log": {"level": "loud"}}"#).expect("written");
    assert_eq!(snooze(&["config", "check", text(&main)]).code, 0);
    assert_eq!(snooze(&["config", "check", text(&main), "--conf-d", text(&conf_d)]).code, 78);
    assert_eq!(snooze(&["config", "check", "--config", text(&main)]).code, 78);
}

#[test]
fn the_schema_is_that_of_the_configuration() {
    let ran = snooze(&["config", "schema"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).expect("JSON"), crate::config::json_schema());
}

#[test]
fn what_is_no_plugin_is_refused_with_its_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("x.so");
    std::fs::write(&file, "not a library").expect("written");
    let ran = snooze(&["plugin", "info", text(&file)]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    holds(&ran.talk, &["was refused (NOT_ELF)"]);
    let ran = snooze(&["plugin", "load-test", text(&file)]);
    assert_eq!(ran.code, 1);
    holds(&ran.out, &["✗ read and load", "refused (NOT_ELF)"]);
    assert_eq!(snooze(&["plugin", "info", "./nothing.so"]).code, 66);
    assert_eq!(snooze(&["plugin", "info", text(directory.path())]).code, 2);
}

#[test]
fn a_named_configuration_that_is_wrong_is_told_before_the_daemon_is_asked() {
    let file = fixture("config/bad/comma-missing.json");
    let ran = snooze(&["status", "--config", text(&file)]);
    assert_eq!(ran.code, 78, "{}", ran.talk);
    holds(&ran.talk, &["is wrong", "comma-missing.json: line"]);
}
