//! Real events of one's own: `snooze emit` against a running daemon.

use std::io::Write;
use std::process::{Command, Stdio};

use e2e::simple::{Plugins, events, finished, handles};
use harness::daemon::Daemon;
use serde_json::{Value, json};

fn daemon(plugins: &Plugins) -> Daemon {
    plugins.daemon(handles("custom.*", "recorder", &plugins.config("it"))).start().expect("it starts")
}

fn emit(daemon: &Daemon, args: &[&str]) -> Value {
    let args: Vec<&str> = ["emit", "--json"].iter().chain(args).copied().collect();
    let told = daemon.snooze_json(&args).unwrap_or_else(|error| panic!("{error}"));
    finished(daemon, told["event_id"].as_str().expect("an id"))
}

#[test]
fn what_is_emitted_is_a_real_event_that_handlers_get_with_its_data_and_its_time() {
    let plugins = Plugins::recorders(&["recorder"]);
    let daemon = daemon(&plugins);
    let report =
        emit(&daemon, &["custom.raid.degraded", "--data", "disk=sda", "--severity", "urgent", "--deadline", "40s"]);
    assert_eq!(report["state"], "completed", "{report:#}");
    let event = &report["event"];
    assert_eq!((&event["type"], &event["source"]), (&json!("custom.raid.degraded"), &json!("local.emit")), "{event:#}");
    assert_eq!((&event["severity"], &event["data"]["disk"]), (&json!("urgent"), &json!("sda")), "{event:#}");
    assert!(event.get("simulated").is_none() && event["data"]["emitterUid"].is_u64(), "{event:#}");
    let left = event["data"]["timeRemaining"].as_f64().expect("a deadline");
    assert!(left > 0.0 && left <= 40.0, "{event:#}");
    assert_eq!(plugins.journal().all("it end").len(), 1, "{:?}", plugins.journal().story());
    assert_eq!(events(&daemon)[0]["simulated"], false);
}

#[test]
fn data_comes_from_files_and_standard_input_and_nothing_in_it_is_guessed() {
    let plugins = Plugins::recorders(&["recorder"]);
    let daemon = daemon(&plugins);
    let file = plugins.file("data.json");
    std::fs::write(&file, r#"{"hosts": ["a", "b"], "count": 3}"#).expect("written");
    let path = file.to_str().expect("UTF-8");
    let report = emit(&daemon, &["custom.x", "--data-json", path, "--data", "why=release"]);
    let data = &report["event"]["data"];
    assert_eq!((&data["hosts"], &data["count"], &data["why"]), (&json!(["a", "b"]), &json!(3), &json!("release")));
    let mut child = daemon.command();
    child.args(["emit", "custom.x", "--data-json", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = child.spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(br#"{"from": "a pipe"}"#).expect("written");
    assert!(child.wait().expect("it ends").success());
    for (args, code, says) in [
        (&["custom.x", "--data-json", "/nowhere/x.json"][..], 66, "no file /nowhere/x.json"),
        (&["custom.x", "--data-json", path, "--data", "count=4"], 2, "has 'count' twice"),
        (&["custom.x.cancelled"], 1, "cannot be emitted"),
        (&["custom.x", "--data", "provider=aws"], 1, "set by the daemon itself"),
        (&["custom.x", "--deadline", "2d"], 1, "0 to 86400"),
        (&["Custom"], 2, "is not an event type"),
    ] {
        let args: Vec<&str> = ["emit"].iter().chain(args).copied().collect();
        let output = daemon.snooze(&args).expect("it runs");
        assert_eq!((output.code, output.stdout.as_str()), (Some(code), ""), "{args:?}: {output:?}");
        assert!(output.stderr.contains(says), "{args:?}: {output:?}");
    }
    std::fs::write(&file, "[1]").expect("written");
    let output = daemon.snooze(&["emit", "custom.x", "--data-json", path]).expect("it runs");
    assert!(output.code == Some(2) && output.stderr.contains("is not a JSON object"), "{output:?}");
}

#[test]
fn waiting_shows_the_report_and_its_outcome_is_the_exit_code() {
    let plugins = Plugins::recorders(&["recorder"]);
    let daemon = daemon(&plugins);
    let output = daemon.snooze(&["emit", "custom.x", "--deadline", "30s", "--wait"]).expect("it runs");
    assert!(output.code == Some(0) && output.stdout.contains("recorder"), "{output:?}");
}

#[test]
fn the_owner_may_emit_what_a_cloud_would_say_and_it_still_names_who_said_it() {
    let plugins = Plugins::recorders(&["recorder"]);
    let config = handles("cloud.spot.interrupt", "recorder", &plugins.config("it"));
    let daemon = plugins.daemon(config).start().expect("it starts");
    let report = emit(&daemon, &["cloud.spot.interrupt", "--deadline", "2m", "--data", "reason=preempted"]);
    let event = &report["event"];
    assert_eq!((&event["data"]["action"], &event["severity"]), (&json!("terminate"), &json!("urgent")), "{event:#}");
    assert_eq!((&event["source"], &event["data"]["provider"]), (&json!("local.emit"), &json!("local")), "{event:#}");
    assert_eq!(plugins.journal().all("it end").len(), 1);
}

#[test]
fn help_teaches_who_may_emit_what() {
    let program = harness::paths::program(&e2e::simple::bin_dir(), "snooze").expect("built");
    let output = Command::new(program).args(["emit", "--help"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for said in ["custom.raid.degraded", "control.emit_group", "emitterUid", "Exit code"] {
        assert!(text.contains(said), "{said}: {text}");
    }
}
