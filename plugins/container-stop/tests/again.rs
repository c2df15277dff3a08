//! A withdrawn notice: what was stopped runs again, in reverse order, and nothing else does.

mod podman;

use cloudsnooze_plugin::abi;
use podman::{NOTICE, ORDERLY, PLENTY, WITHDRAWN, declined, drill, event, handled, of, start_or_say};
use serde_json::{Value, json};

fn groups() -> Value {
    json!({ "groups": [{ "names": ["web"] }, { "names": ["db"] }] })
}

#[test]
fn a_withdrawn_notice_starts_what_was_stopped_in_reverse_order_after_a_restart_too() {
    let Some(podman) = start_or_say() else { return };
    podman.run("db", ORDERLY, &[]);
    podman.run("web", ORDERLY, &[]);
    podman.run("other", ORDERLY, &[]);
    podman.podman(&["stop", "other"]).unwrap();
    let state = podman.dir.path().join("state");
    let plugin = podman.plugin_with_state(&groups(), &state);
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert!(!podman.is_running("db") && !podman.is_running("web"));
    drop(plugin);

    let plugin = podman.plugin_with_state(&groups(), &state);
    let mut another = event(WITHDRAWN);
    another["data"]["cancels"] = json!("01936b7e-5b3a-7000-8000-0000000000aa");
    assert!(declined(&plugin.deliver(&another, PLENTY)).contains("has stopped no container"));
    assert!(!podman.is_running("db"));

    let withdrawn = event(WITHDRAWN);
    let report = handled(plugin.deliver(&withdrawn, PLENTY));
    assert!(podman.is_running("db") && podman.is_running("web") && !podman.is_running("other"));
    assert_eq!(of(&report, "db")["after"]["status"], "running", "{report:#}");
    let started = |name: &str| podman.inspect(name, ".State.StartedAt.UnixNano").parse::<i64>().unwrap();
    assert!(started("db") < started("web"), "the database first: {report:#}");
    assert_eq!(handled(plugin.verify(&withdrawn, PLENTY))["running"], 2);
    podman.podman(&["stop", "web"]).unwrap();
    assert_eq!(plugin.verify(&withdrawn, PLENTY).status, abi::SNOOZE_E_STATE);
    assert!(declined(&plugin.deliver(&withdrawn, PLENTY)).contains("has stopped no container"));
    assert!(!podman.is_running("web"));
}

#[test]
fn one_that_was_removed_meanwhile_is_named_and_the_others_start() {
    let Some(podman) = start_or_say() else { return };
    podman.run("db", ORDERLY, &[]);
    podman.run("web", ORDERLY, &[]);
    let plugin = podman.plugin(&groups());
    let report = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert!(!podman.is_running("db"), "{report:#}");
    podman.podman(&["rm", "web"]).unwrap();
    let delivered = plugin.deliver(&event(WITHDRAWN), PLENTY);
    assert_eq!(delivered.status, abi::SNOOZE_E_STATE, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("1 of 2 containers: web: it is not there any more"), "{report:#}");
    assert!(podman.is_running("db"));
    assert!(declined(&plugin.deliver(&event(WITHDRAWN), PLENTY)).contains("has stopped no container"));
}

#[test]
fn a_drill_that_may_restart_stops_them_and_its_end_starts_them_again() {
    let Some(podman) = start_or_say() else { return };
    let out = podman.run("db", ORDERLY, &[]);
    let mut config = groups();
    config["drill"] = json!("restart");
    let plugin = podman.plugin(&config);
    let report = handled(plugin.deliver(&drill(), PLENTY));
    assert_eq!(report["action"], "stop", "{report:#}");
    assert!(!podman.is_running("db") && out.join("ended").exists());
    let mut end = event(WITHDRAWN);
    end["drill"] = json!(true);
    handled(plugin.deliver(&end, PLENTY));
    assert!(podman.is_running("db"));
}
