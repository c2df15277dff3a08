//! What the plugin tells Auto Scaling, judged by what the emulator knows afterwards.

mod group;

use cloudsnooze_plugin::abi;
use group::{Group, PLENTY};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_machine_that_is_held_is_let_go_and_its_state_moves_on() {
    let Some(group) = Group::open("a hook", &["save"]) else { return };
    group.set("Terminating:Wait");
    let plugin = group.plugin(&json!({ "mode": "complete" }));
    let delivered = plugin.deliver(&group.terminate(), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let evidence = &delivered.result.unwrap()["evidence"];
    assert_eq!((&evidence["before"]["state"], &evidence["group"]), (&json!("Terminating:Wait"), &json!("workers")));
    assert_eq!(evidence["after"]["state"], "Terminating:Proceed");
    assert_eq!(evidence["hooks"][0]["heartbeat_seconds"], 120);
    assert_eq!(
        (group.state(), &group.known()["answers"]["save"]),
        ("Terminating:Proceed".to_owned(), &json!("CONTINUE"))
    );
    assert_eq!(plugin.verify(&group.terminate(), PLENTY).status, abi::SNOOZE_OK);
    // The same again: there is nothing to be answered any more.
    let again = plugin.deliver(&group.terminate(), PLENTY);
    assert_eq!(again.status, abi::SNOOZE_SKIPPED, "{again:?}");
    // And a machine that is held after all fails the verification.
    group.set("Terminating:Wait");
    let verified = plugin.verify(&group.terminate(), Duration::from_secs(20));
    assert_eq!(verified.status, abi::SNOOZE_E_STATE, "{verified:?}");
}

#[test]
fn every_hook_is_answered_or_only_the_one_that_is_named() {
    let Some(group) = Group::open("two hooks", &["save", "tell"]) else { return };
    group.set("Terminating:Wait");
    let only = group.plugin(&json!({ "mode": "complete", "hook": "tell", "group": "workers" }));
    let delivered = only.deliver(&group.terminate(), Duration::from_secs(8));
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(
        (group.state(), group.known()["answers"].clone()),
        ("Terminating:Wait".to_owned(), json!({ "tell": "CONTINUE" }))
    );
    drop(only);
    let all = group.plugin(&json!({ "mode": "complete", "result": "ABANDON" }));
    let delivered = all.deliver(&group.terminate(), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let hooks = delivered.result.unwrap()["evidence"]["hooks"].clone();
    let told =
        |name: &str| hooks.as_array().unwrap().iter().find(|hook| hook["name"] == name).unwrap()["taken"].clone();
    assert_eq!((told("save"), told("tell")), (json!(true), json!(false)), "{hooks}");
    assert_eq!(group.known()["answers"]["save"], "ABANDON");
}

#[test]
fn a_heartbeat_asks_for_more_time_and_lets_nothing_go() {
    let Some(group) = Group::open("a heartbeat", &["save"]) else { return };
    group.set("Terminating:Wait");
    // The region is that of the event.
    let mut aws = group.config(&json!({}))["aws"].clone();
    aws.as_object_mut().unwrap().remove("region");
    let plugin = group.plugin(&json!({ "mode": "heartbeat", "aws": aws }));
    let delivered = plugin.deliver(&group.terminate(), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(group.known()["heartbeats"], json!([group.instance]));
    assert_eq!((group.state(), group.known()["answers"].clone()), ("Terminating:Wait".to_owned(), json!({})));
    assert_eq!(plugin.verify(&group.terminate(), PLENTY).status, abi::SNOOZE_SKIPPED);
}

#[test]
fn a_drill_and_a_machine_that_may_stay_answer_nothing() {
    let Some(group) = Group::open("a drill", &["save"]) else { return };
    group.set("Terminating:Wait");
    let plugin = group.plugin(&json!({ "mode": "complete" }));
    let mut drill = group.terminate();
    drill["drill"] = json!(true);
    let delivered = plugin.deliver(&drill, PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let result = delivered.result.unwrap();
    assert_eq!((&result["action"], &result["evidence"]["hooks"][0]["name"]), (&json!("drill"), &json!("save")));
    for kind in ["cloud.spot.rebalance", "cloud.autoscaling.terminate.cancelled"] {
        assert_eq!(plugin.deliver(&group.event(kind), PLENTY).status, abi::SNOOZE_SKIPPED, "{kind}");
    }
    assert_eq!((group.state(), group.known()["answers"].clone()), ("Terminating:Wait".to_owned(), json!({})));
}

#[test]
fn a_machine_that_waits_at_no_hook_is_declined_and_what_is_missing_is_named() {
    let Some(group) = Group::open("no hook", &[]) else { return };
    let plugin = group.plugin(&json!({ "mode": "complete" }));
    let delivered = plugin.deliver(&group.terminate(), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_SKIPPED, "{delivered:?}");
    let mut foreign = group.terminate();
    foreign["data"]["instanceID"] = json!("i-0000000000000dead");
    assert_eq!(plugin.deliver(&foreign, PLENTY).status, abi::SNOOZE_SKIPPED);
    group.set("Terminating:Wait");
    let delivered = plugin.deliver(&group.terminate(), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_CONFIG, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("the group workers has no hook for terminating machines"));
    // From now on moto looks at the keys.
    group.moto.ask("POST", "/moto-api/reset-auth", &[], b"0");
    let delivered = plugin.deliver(&group.terminate(), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_DENIED, "{delivered:?}");
    let text = delivered.error.unwrap();
    assert!(text.contains("autoscaling:DescribeAutoScalingInstances") && !text.contains("Zq9"), "{text}");
}

#[test]
fn nobody_who_answers_costs_no_more_than_the_call_and_leaves_no_thread() {
    let Some(group) = Group::open("no answer", &["save"]) else { return };
    group.set("Terminating:Wait");
    group.relay.cut();
    let plugin = group.plugin(&json!({ "mode": "complete" }));
    assert!(plugin.log().iter().any(|line| line.contains("AWS cannot be asked now")), "{:?}", plugin.log());
    let delivered = plugin.deliver(&group.terminate(), Duration::from_secs(2));
    assert!(delivered.status < 0, "{delivered:?}");
    // The way is there again: the next attempt goes through.
    group.relay.mend();
    let delivered = plugin.deliver(&group.terminate(), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(group.state(), "Terminating:Proceed");
}
