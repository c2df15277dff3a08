//! What the plugin does to real containers, judged by `podman inspect` and by what their programs wrote when they ended.

mod podman;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use podman::{DEAF, NOTICE, ORDERLY, PATIENCE, PLENTY, declined, drill, event, handled, of, start_or_say, wait_for};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn groups_end_in_their_order_and_the_engine_and_the_programs_say_so() {
    let Some(podman) = start_or_say() else { return };
    // Started in the other order.
    let database = podman.run("db", ORDERLY, &[]);
    let worker = podman.run("worker-1", ORDERLY, &["--label", "tier=worker"]);
    let web = podman.run("web", ORDERLY, &["--label", "public"]);
    podman.run("agent", ORDERLY, &[]);
    let plugin = podman.plugin(&json!({
        "groups": [
            { "name": "intake", "labels": ["public"], "grace_seconds": 20 },
            { "name": "workers", "names": ["worker-?"], "grace_seconds": 20 },
            { "name": "rest", "all": true },
        ],
        "except": { "names": ["agent"] },
    }));
    let notice = event(NOTICE);
    let report = handled(plugin.deliver(&notice, PLENTY));

    assert!(podman.is_running("agent"), "{report:#}");
    let ended = |name: &str| podman.inspect(name, ".State.FinishedAt.UnixNano").parse::<i64>().unwrap();
    assert!(ended("web") < ended("worker-1") && ended("worker-1") < ended("db"), "{report:#}");
    assert!([database, worker, web].iter().all(|out| out.join("ended").exists()), "by themselves: {report:#}");
    for (name, group, grace) in [("web", "intake", 20), ("worker-1", "workers", 20), ("db", "rest", 10)] {
        assert!(!podman.is_running(name), "{name}");
        let one = of(&report, name);
        assert_eq!((&one["group"], &one["grace_seconds"]), (&json!(group), &json!(grace)), "{one}");
        assert_eq!(one["before"]["status"], "running");
        assert_eq!((&one["after"]["status"], &one["after"]["exit_code"]), (&json!("exited"), &json!(0)), "{one}");
        assert_eq!(one["after"]["oom_killed"], false);
        assert!(podman.inspect(name, ".Id").starts_with(one["id"].as_str().unwrap()));
    }
    assert_eq!(
        (&report["evidence"]["before"]["running"], &report["evidence"]["after"]["running"]),
        (&json!(3), &json!(0))
    );
    assert_eq!((&report["durable"], &report["skipped"]), (&json!("unknown"), &json!([])));

    let verified = handled(plugin.verify(&notice, PLENTY));
    assert_eq!(verified["stopped"], 3, "{verified}");
    podman.podman(&["start", "web"]).unwrap();
    let verified = plugin.verify(&notice, PLENTY);
    assert_eq!(verified.status, abi::SNOOZE_E_STATE, "{verified:?}");
    assert!(verified.error.unwrap().contains("started again: web"));
}

#[test]
fn one_that_does_not_hear_is_killed_at_its_grace_and_that_is_no_success_unless_it_is_allowed() {
    let Some(podman) = start_or_say() else { return };
    podman.run("deaf", DEAF, &["--stop-timeout", "2"]);
    let orderly = podman.run("orderly", ORDERLY, &[]);
    let plugin = podman.plugin(&json!({ "groups": [{ "all": true }] }));
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_INTERNAL, "{delivered:?}");
    let error = delivered.error.unwrap();
    assert!(
        error.contains("1 of 2 containers: deaf: did not end on its stop signal and was killed after 2 s"),
        "{error}"
    );
    let report = delivered.result.unwrap();
    assert_eq!((&report["durable"], &of(&report, "deaf")["after"]["exit_code"]), (&json!("no"), &json!(137)));
    assert_eq!(podman.inspect("deaf", ".State.ExitCode"), "137");
    assert!(orderly.join("ended").exists());

    podman.podman(&["start", "deaf"]).unwrap();
    let lenient = podman.plugin(&json!({ "groups": [{ "all": true, "exit_codes": [0, 137] }] }));
    assert_eq!(handled(lenient.deliver(&event(NOTICE), PLENTY))["durable"], "unknown");
    assert!(!podman.is_running("deaf"));
    let nobody = lenient.deliver(&event(NOTICE), PLENTY);
    assert!(declined(&nobody).contains("no container that runs"), "{nobody:?}");
}

#[test]
fn with_too_little_time_graces_are_shortened_and_the_report_says_so() {
    let Some(podman) = start_or_say() else { return };
    podman.run("first", DEAF, &[]);
    podman.run("second", DEAF, &[]);
    let plugin = podman.plugin(&json!({
        "groups": [{ "names": ["first"], "grace_seconds": 300 }, { "names": ["second"], "grace_seconds": 300 }],
    }));
    let began = Instant::now();
    let left = Duration::from_secs(16);
    let delivered = plugin.deliver(&event(NOTICE), left);
    assert!(began.elapsed() <= left, "{:?}", began.elapsed());
    let report = delivered.result.unwrap();
    for name in ["first", "second"] {
        let grace = of(&report, name)["grace_seconds"].as_u64().unwrap();
        assert!((1..=14).contains(&grace), "{report:#}");
        assert_eq!(of(&report, name)["after"]["exit_code"], 137, "{report:#}");
    }
    assert!(report["skipped"][0]["reason"].as_str().unwrap().starts_with("300 s are wanted, "), "{report:#}");
}

#[test]
fn a_recommendation_to_leave_stops_nothing_and_a_drill_only_looks() {
    let Some(podman) = start_or_say() else { return };
    podman.run("db", ORDERLY, &["--stop-timeout", "30"]);
    podman.run("web", ORDERLY, &["--rm", "--label", "public"]);
    let plugin = podman.plugin(&json!({ "groups": [{ "labels": ["public"], "grace_seconds": 5 }, { "all": true }] }));
    assert!(declined(&plugin.deliver(&event("cloud.spot.rebalance"), PLENTY)).contains("may stay"));
    let report = handled(plugin.deliver(&drill(), PLENTY));
    assert_eq!((&report["action"], &report["evidence"]["fits"]), (&json!("check"), &json!(true)), "{report:#}");
    let would: Vec<_> = report["evidence"]["would_stop"].as_array().unwrap().iter().collect();
    let shown: Vec<_> =
        would.iter().map(|one| (&one["name"], &one["wish_seconds"], &one["can_be_started_again"])).collect();
    assert_eq!(shown, [(&json!("web"), &json!(5), &json!(false)), (&json!("db"), &json!(30), &json!(true))]);
    let tight = handled(plugin.deliver(&drill(), Duration::from_secs(20)));
    assert_eq!((&tight["evidence"]["fits"], &tight["evidence"]["wished_seconds"]), (&json!(false), &json!(35)));
    assert!(podman.is_running("db") && podman.is_running("web"));
}

#[test]
fn where_no_checkpoint_can_be_made_it_is_stopped_instead_and_that_is_said() {
    let Some(podman) = start_or_say() else { return };
    let out = podman.run("app", ORDERLY, &[]);
    let archives = podman.dir.path().join("archives");
    let plugin = podman.plugin(&json!({ "groups": [{ "all": true, "checkpoint": { "directory": archives } }] }));
    let told_ahead = plugin.log();
    let report = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert!(!podman.is_running("app"));
    if of(&report, "app")["checkpoint"].is_null() {
        // On a busy machine Podman may take longer than an activation waits.
        let is_told =
            |line: &String| line.contains("no checkpoint can be made here") || line.contains("no container engine");
        assert!(told_ahead.iter().any(is_told), "{told_ahead:?}");
        let reason = report["skipped"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("criu") && reason.contains("stopped instead"), "{report:#}");
        assert!(out.join("ended").exists(), "{report:#}");
        harness::require::not_for_this_machine(&format!("a checkpoint of a container: {reason}"));
    } else {
        assert_eq!(report["durable"], "yes", "{report:#}");
        let file = of(&report, "app")["checkpoint"]["file"].as_str().unwrap();
        assert!(fs::metadata(file).unwrap().len() > 0);
    }
}

#[test]
fn a_cancelled_call_comes_back_at_once() {
    let Some(podman) = start_or_say() else { return };
    podman.run("deaf", DEAF, &[]);
    podman.run("later", ORDERLY, &[]);
    let plugin = podman.plugin(&json!({ "groups": [{ "names": ["deaf"], "grace_seconds": 60 }, { "all": true }] }));
    let cancel = Canceller::default();
    let began = Instant::now();
    let delivered = std::thread::scope(|scope| {
        scope.spawn(|| {
            // While it waits for the first.
            wait_for("the stop", || {
                podman.inspect("deaf", ".State.Status") != "running" || began.elapsed() > PATIENCE / 20
            });
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
        });
        plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel)
    });
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    assert!(podman.is_running("later"));
}
