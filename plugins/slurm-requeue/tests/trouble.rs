//! Drills, a recommendation to leave, calls that are cancelled, and a controller that does not answer.

mod cluster;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, TestInstance};
use cluster::{NODE, NOTICE, PLENTY, WITHDRAWN, declined, event, handled, of, start_or_say, wait_for};
use serde_json::json;
use slurm_requeue::SlurmRequeue;
use std::time::{Duration, Instant};

const SLEEPS: &str = "trap 'echo saved > saved' USR1; while :; do sleep 0.1; done";

#[test]
fn a_drill_checks_and_changes_nothing_and_a_recommendation_to_leave_is_declined() {
    let Some(cluster) = start_or_say() else { return };
    let id = cluster.submit(SLEEPS, &["--no-requeue"]);
    let plugin = cluster.plugin(&json!({}));
    assert!(declined(&plugin.deliver(&event("cloud.spot.rebalance"), PLENTY)).contains("may stay"));
    let mut drill = event(NOTICE);
    drill["drill"] = json!(true);
    let report = handled(plugin.deliver(&drill, PLENTY));
    let evidence = &report["evidence"];
    assert_eq!(
        (&report["action"], &evidence["rights"], &evidence["fits"]),
        (&json!("check"), &json!("yes"), &json!(true))
    );
    assert!(evidence["controller"].as_str().unwrap().contains("is UP"), "{report:#}");
    assert!(of(&report, &id)["obstacle"].as_str().unwrap().contains("--no-requeue"), "{report:#}");
    assert_eq!(handled(plugin.deliver(&drill, Duration::from_secs(30)))["evidence"]["fits"], false);
    let mut end = event(WITHDRAWN);
    end["drill"] = json!(true);
    assert!(declined(&plugin.deliver(&end, PLENTY)).contains("has not drained the node"));
    assert_eq!((cluster.job(&id, "JobState"), cluster.job(&id, "Restarts")), ("RUNNING".to_owned(), "0".to_owned()));
    assert!(!cluster.is_drained());
    assert!(cluster.lines("saved").is_empty());
}

#[test]
fn a_call_that_is_cancelled_while_jobs_save_themselves_requeues_none_and_can_be_undone() {
    let Some(cluster) = start_or_say() else { return };
    let id = cluster.submit(SLEEPS, &[]);
    let plugin = cluster.plugin(&json!({ "save_seconds": 60 }));
    let cancel = Canceller::default();
    let began = Instant::now();
    let delivered = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for("the save", || !cluster.lines("saved").is_empty());
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
        });
        plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel)
    });
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    assert_eq!((cluster.job(&id, "JobState"), cluster.job(&id, "Restarts")), ("RUNNING".to_owned(), "0".to_owned()));
    handled(plugin.deliver(&event(WITHDRAWN), PLENTY));
    assert!(!cluster.is_drained());
}

#[test]
fn a_controller_that_is_gone_holds_no_call_beyond_its_deadline() {
    let Some(mut cluster) = start_or_say() else { return };
    cluster.kill_controller();
    let plugin = cluster.plugin(&json!({}));
    assert!(plugin.log()[0].contains(&format!("node {NODE}: scontrol")), "{:?}", plugin.log());
    let (began, left) = (Instant::now(), Duration::from_secs(3));
    let delivered = plugin.deliver(&event(NOTICE), left);
    assert!(began.elapsed() <= left, "{:?}", began.elapsed());
    assert!([abi::SNOOZE_E_DEADLINE, abi::SNOOZE_E_IO].contains(&delivered.status), "{delivered:?}");
    assert!(delivered.error.unwrap().contains("scontrol"));
}

#[test]
fn commands_that_are_not_there_are_named_ahead_and_in_the_event() {
    let config = json!({ "node": NODE, "bin_directory": "/nonexistent" });
    let plugin = TestInstance::<SlurmRequeue>::new(&config).unwrap();
    assert!(plugin.log()[0].contains("scontrol: cannot be started"), "{:?}", plugin.log());
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_IO, "{delivered:?}");
    assert!(TestInstance::<SlurmRequeue>::new(&json!({ "node": "n[1-2]" })).err().unwrap().contains("node: "));
}
