//! Scripts: what they do, and what is said about those that are wrong.

use std::io::Write;
use std::time::Duration;

use fake_metadata::{Activity, FakeMetadata, Options, Provider, Script};

use crate::client::{PATIENCE, item};

#[test]
fn steps_happen_in_order_of_time_and_not_before_it() {
    let text = r#"{
        "instance": {"id": "i-0aaaabbbbccccdddd", "type": "m6i.large", "zone": "eu-north-1a", "life_cycle": "spot"},
        "steps": [
            {"at_seconds": 0.2, "notice": {"action": "terminate", "in_seconds": 120}},
            {"at_seconds": 0, "rebalance": {}},
            {"at_seconds": 0.1, "lifecycle_state": {"state": "Terminated"}},
            {"at_seconds": 0.2, "fault": {"kind": "status", "code": 500, "paths": ["spot/*"], "count": 1}}
        ]
    }"#;
    let script = Script::parse(text, "drill.json").expect("a good script");
    let options = Options { tokens_required: false, ..Options::from_script(script) };
    let before = std::time::Instant::now();
    let (fake, activity) = FakeMetadata::start_watched(options).expect("the service starts");
    assert_eq!(item(&fake, "instance-id").text(), "i-0aaaabbbbccccdddd");
    assert_eq!(item(&fake, "placement/region").text(), "eu-north-1");
    let mut changes = Vec::new();
    while changes.len() < 4 {
        match activity.recv_timeout(PATIENCE).expect("the script goes on") {
            Activity::Changed(what) => changes.push(what),
            Activity::Request(_) => {}
            Activity::Failed(what) => panic!("{what}"),
        }
    }
    assert!(before.elapsed() >= Duration::from_millis(200));
    let expected = ["rebalance", "lifecycle_state Terminated", "notice terminate", "fault status"];
    assert_eq!(changes, expected);
    assert_eq!(item(&fake, "spot/instance-action").status, 500);
    assert_eq!(item(&fake, "spot/instance-action").status, 200);
}

#[test]
fn every_kind_of_step_is_accepted() {
    let text = r#"{"steps": [
        {"at_seconds": 0, "notice": {"action": "hibernate"}},
        {"at_seconds": 0, "notice": {"action": "stop", "at": "2026-01-05T18:02:00Z"}},
        {"at_seconds": 0, "notice": {"action": "stop", "in_seconds": -30}},
        {"at_seconds": 0, "withdraw": {}},
        {"at_seconds": 0, "rebalance": {"at": "2026-01-05T18:02:00Z"}},
        {"at_seconds": 0, "clear_rebalance": {}},
        {"at_seconds": 0, "maintenance": {"code": "system-reboot", "event_id": "e1", "in_seconds": 3600,
            "duration_seconds": 600, "deadline_in_seconds": 86400, "description": "x"}},
        {"at_seconds": 0.01, "cancel_maintenance": {"event_id": "e1"}},
        {"at_seconds": 0.01, "maintenance": {"code": "instance-stop", "event_id": "e1"}},
        {"at_seconds": 0.02, "complete_maintenance": {"event_id": "e1"}},
        {"at_seconds": 0, "lifecycle_state": {"state": null}},
        {"at_seconds": 0, "termination_time": {"text": "none"}},
        {"at_seconds": 0, "termination_time": {}},
        {"at_seconds": 0, "body": {"path": "instance-id", "text": "x"}},
        {"at_seconds": 0, "body": {"path": "instance-id", "absent": true}},
        {"at_seconds": 0, "body": {"path": "instance-id", "usual": true}},
        {"at_seconds": 0, "tokens": {"required": false}},
        {"at_seconds": 0, "revoke_tokens": {}},
        {"at_seconds": 0, "endpoint": {"enabled": false}},
        {"at_seconds": 0, "fault": {"kind": "delay", "delay_seconds": 0.5, "probability": 0.5, "seed": 3}},
        {"at_seconds": 0, "fault": {"kind": "token_storm", "count": 3}},
        {"at_seconds": 0, "fault": {"kind": "garbage", "text": "{"}},
        {"at_seconds": 0, "fault": {"kind": "truncated"}},
        {"at_seconds": 0, "fault": {"kind": "reset"}},
        {"at_seconds": 0, "fault": {"kind": "drip", "interval_seconds": 0.1}},
        {"at_seconds": 0, "fault": {"kind": "oversized", "bytes": 1000000}},
        {"at_seconds": 0, "fault": {"kind": "redirect", "location": "http://192.0.2.1/"}},
        {"at_seconds": 0, "fault": {"kind": "content_type", "value": "text/html"}},
        {"at_seconds": 0, "fault": {"kind": "drift", "step_seconds": -1}},
        {"at_seconds": 0, "fault": {"kind": "hop_limit"}},
        {"at_seconds": 0, "fault": {"kind": "hang"}},
        {"at_seconds": 0, "fault": {"kind": "close"}},
        {"at_seconds": 0, "clear_faults": {}}
    ]}"#;
    let script = Script::parse(text, "all.json").expect("a good script");
    assert_eq!(script.steps.len(), 33);
    let (_fake, activity) = FakeMetadata::start_watched(Options::from_script(script)).expect("the service starts");
    for _ in 0..33 {
        let happened = activity.recv_timeout(PATIENCE).expect("the script goes on");
        assert!(matches!(happened, Activity::Changed(_)), "{happened:?}");
    }
}

#[test]
fn errors_name_the_file_and_the_place() {
    let step = |step: &str| format!(r#"{{"steps": [{{"at_seconds": 0, "rebalance": {{}}}}, {step}]}}"#);
    let cases = [
        (step(r#"{"at_seconds": 1, "notice": {"action": "explode"}}"#), "steps[1].notice.action", "`terminate`"),
        (step(r#"{"at_seconds": 1, "notice": {}}"#), "steps[1].notice", "missing field `action`"),
        (
            step(r#"{"at_seconds": 1, "notice": {"action": "stop", "in": 5}}"#),
            "steps[1].notice.in",
            "unknown field `in`",
        ),
        (step(r#"{"notice": {"action": "stop"}}"#), "steps[1].at_seconds", "missing"),
        (step(r#"{"at_seconds": "1", "rebalance": {}}"#), "steps[1].at_seconds", "number"),
        (step(r#"{"at_seconds": -1, "rebalance": {}}"#), "steps[1].at_seconds", "before the start"),
        (step(r#"{"at_seconds": 1}"#), "steps[1]", "nothing to do"),
        (step(r#"{"at_seconds": 1, "rebalance": {}, "withdraw": {}}"#), "steps[1]", "2 changes (rebalance, withdraw)"),
        (step(r#"{"at_seconds": 1, "explode": {}}"#), "steps[1]", "unknown variant `explode`"),
        (step(r#"{"at_seconds": 1, "rebalance": {"at": "noon"}}"#), "steps[1].rebalance.at", "RFC 3339"),
        (
            step(r#"{"at_seconds": 1, "rebalance": {"at": "2026-01-05T18:02:00Z", "in_seconds": 1}}"#),
            "steps[1].rebalance",
            "both in_seconds and at",
        ),
        (
            step(r#"{"at_seconds": 1, "notice": {"action": "stop", "in_seconds": 120000000}}"#),
            "steps[1].notice.in_seconds",
            "milliseconds",
        ),
        (step(r#"{"at_seconds": 1, "fault": {"kind": "melt"}}"#), "steps[1].fault.kind", "unknown variant `melt`"),
        (step(r#"{"at_seconds": 1, "fault": {"kind": "status"}}"#), "steps[1].fault.code", "missing"),
        (step(r#"{"at_seconds": 1, "fault": {"kind": "status", "code": 99}}"#), "steps[1].fault.code", "200 and 599"),
        (step(r#"{"at_seconds": 1, "fault": {"kind": "reset", "code": 500}}"#), "steps[1].fault.code", "means nothing"),
        (
            step(r#"{"at_seconds": 1, "fault": {"kind": "reset", "probability": 1.5}}"#),
            "steps[1].fault.probability",
            "between 0 and 1",
        ),
        (step(r#"{"at_seconds": 1, "fault": {"kind": "reset", "seed": 1}}"#), "steps[1].fault.seed", "probability"),
        (
            step(r#"{"at_seconds": 1, "fault": {"kind": "redirect", "location": "a\r\nb"}}"#),
            "steps[1].fault.location",
            "control characters",
        ),
        (
            step(r#"{"at_seconds": 1, "lifecycle_state": {"state": "Gone"}}"#),
            "steps[1].lifecycle_state.state",
            "Standby",
        ),
        (step(r#"{"at_seconds": 1, "maintenance": {"code": "x"}}"#), "steps[1].maintenance.code", "system-reboot"),
        (step(r#"{"at_seconds": 1, "cancel_maintenance": {"event_id": "e"}}"#), "steps", "no earlier step"),
        (step(r#"{"at_seconds": 1, "body": {"path": "/x", "absent": true}}"#), "steps[1].body.path", "relative"),
        (step(r#"{"at_seconds": 1, "body": {"path": "x"}}"#), "steps[1].body", "exactly one"),
        (r#"{"instance": {"colour": "red"}}"#.to_owned(), "instance.colour", "unknown field `colour`"),
        (r#"{"instance": {"life_cycle": "spotty"}}"#.to_owned(), "instance.life_cycle", "on-demand"),
        (r#"{"instance": {"zone": "us-east-1a", "region": "eu-west-1"}}"#.to_owned(), "instance.region", "us-east-1a"),
        (r#"{"instance": {"id": ""}}"#.to_owned(), "instance.id", "empty"),
        (r#"{"steps": 3}"#.to_owned(), "steps", "invalid type"),
    ];
    for (text, path, reason) in cases {
        let error = Script::parse(&text, "drill.json").expect_err(&text).to_string();
        assert!(error.starts_with(&format!("drill.json: {path}: ")), "{path} is not the place of: {error}");
        assert!(error.contains(reason), "{reason:?} is not in: {error}");
    }
}

#[test]
fn a_file_that_is_not_json_or_not_there_is_named() {
    let error = Script::parse("{\n  \"steps\": [,]\n}", "drill.json").expect_err("not JSON").to_string();
    assert!(error.starts_with("drill.json: not JSON: ") && error.contains("line 2"), "{error}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("drill.json");
    let error = Script::load(&file).expect_err("no file").to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: ", file.display())), "{error}");
    let mut written = std::fs::File::create(&file).expect("a file");
    written.write_all(br#"{"steps": []}"#).expect("a write");
    assert!(Script::load(&file).expect("a good script").steps.is_empty());
}

#[test]
fn a_script_may_be_for_another_cloud() {
    let text = r#"{"provider": "azure", "instance": {"name": "db_3"}, "settings": {"azure": {"iso_times": true}},
        "steps": [
        {"at_seconds": 0, "maintenance": {"code": "Terminate", "event_id": "e1", "source": "User", "in_seconds": 300,
            "resources": ["{name}", "db_4"], "duration_seconds": -1}},
        {"at_seconds": 1, "start_maintenance": {"event_id": "e1"}},
        {"at_seconds": 1, "move_maintenance": {"event_id": "e1", "at": "2026-01-05T18:02:00Z"}},
        {"at_seconds": 1, "incarnation": {"value": 1}},
        {"at_seconds": 1, "settings": {"azure": {"requests_per_second": 0}}},
        {"at_seconds": 1, "advance_clock": {"seconds": 60}},
        {"at_seconds": 2, "notice": {}}
    ]}"#;
    let script = Script::parse(text, "drill.json").expect("a good script");
    assert_eq!(script.provider, Provider::Azure);
    assert_eq!((script.instance.name.as_str(), script.instance.region()), ("db_3", "westeurope"));
    assert!(script.settings.azure.iso_times);
    let step =
        |provider: &str, step: &str| format!(r#"{{"provider": "{provider}", "steps": [{{"at_seconds": 0, {step}}}]}}"#);
    for (text, path, reason) in [
        (step("azure", r#""maintenance": {"code": "system-reboot"}"#), "steps[0].maintenance.code", "Freeze, Reboot"),
        (step("gcp", r#""rebalance": {}"#), "steps[0].rebalance", "means nothing to gcp"),
        (
            step("gcp", r#""upcoming_maintenance": {"status": "MAYBE"}"#),
            "steps[0].upcoming_maintenance.status",
            "ONGOING",
        ),
        (step("gcp", r#""settings": {"gcp": {"no_upcoming": "x"}}"#), "steps[0].settings.gcp.no_upcoming", "not_found"),
        (step("aws", r#""fault": {"kind": "hang", "every": 0}"#), "steps[0].fault.every", "at least 1"),
        (step("aws", r#""start_maintenance": {"event_id": "e"}"#), "steps", "no earlier step"),
        (r#"{"provider": "azure", "settings": {"colour": 1}}"#.to_owned(), "settings.colour", "unknown field"),
        (r#"{"provider": "oracle"}"#.to_owned(), "provider", "unknown variant `oracle`"),
    ] {
        let error = Script::parse(&text, "drill.json").expect_err(&text).to_string();
        assert!(error.starts_with(&format!("drill.json: {path}: ")), "{path} is not the place of: {error}");
        assert!(error.contains(reason), "{reason:?} is not in: {error}");
    }
    let error = Script::parse_for(r#"{"provider": "gcp"}"#, "drill.json", Some(Provider::Aws)).expect_err("another's");
    assert_eq!(error.to_string(), "drill.json: provider: this script is for gcp, not for aws");
}
