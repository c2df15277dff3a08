//! Approvals, at a metadata service that is real on the wire.

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use fake_metadata::{
    AzureSettings, Effect, FakeMetadata, Fault, Maintenance, Options, Provider, Request, Settings, When,
};
use finish::Finish;
use serde_json::{Value, json};
use std::time::Duration;

const PLENTY: Duration = Duration::from_secs(60);

fn fake() -> FakeMetadata {
    let azure = AzureSettings { requests_per_second: 0, approved_ends_seconds: 3_600.0, ..AzureSettings::default() };
    let settings = Settings { azure, ..Settings::default() };
    FakeMetadata::start(Options { settings, ..Options::of(Provider::Azure) }).expect("a free port")
}

fn plugin(fake: &FakeMetadata, approve: &str) -> TestInstance<Finish> {
    let config = json!({"action": "none", "approve": approve, "metadata_endpoint": fake.base_url()});
    TestInstance::new(&config).expect("a configuration")
}

fn announce(fake: &FakeMetadata, code: &str, others: &[&str]) -> String {
    let mut resources: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
    resources.push("{name}".to_owned());
    fake.maintenance(Maintenance { resources, ..Maintenance::new(code, When::Usual) }).expect("a new id")
}

fn event(event_type: &str, action: &str, event_id: &str) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(event_type);
    event["data"]["provider"] = json!("azure");
    event["data"]["action"] = json!(action);
    event["data"]["instanceID"] = json!("Workers_0");
    event["data"]["raw"] = json!({ "EventId": event_id });
    event
}

fn reboot(event_id: &str) -> Value {
    event("cloud.maintenance.reboot", "reboot", event_id)
}

fn posts(fake: &FakeMetadata) -> Vec<Request> {
    fake.requests().into_iter().filter(|request| request.method == "POST").collect()
}

fn approval(delivered: &Delivered) -> Value {
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None), "{delivered:?}");
    delivered.result.as_ref().expect("a report")["evidence"]["approval"].clone()
}

#[test]
fn an_event_of_this_machine_alone_is_approved_and_seen_to_begin() {
    for (code, event_type, action) in [
        ("Reboot", "cloud.maintenance.reboot", "reboot"),
        ("Freeze", "cloud.maintenance.freeze", "freeze"),
        ("Terminate", "cloud.instance.terminate", "terminate"),
    ] {
        let fake = fake();
        let plugin = plugin(&fake, "alone");
        let event = event(event_type, action, &announce(&fake, code, &[]).to_lowercase());
        assert_eq!(approval(&plugin.deliver(&event, PLENTY))["accepted"], true, "{code}");
        assert_eq!(posts(&fake).iter().map(|post| post.status).collect::<Vec<_>>(), [Some(200)], "{code}");
        let verified = plugin.verify(&event, PLENTY);
        assert_eq!(verified.result.as_ref().map(|r| r["approval"].clone()), Some(json!("Started")), "{verified:?}");
    }
}

#[test]
fn an_event_that_names_others_is_approved_only_where_that_is_wanted() {
    for (policy, expected) in [("alone", 0), ("always", 1)] {
        let fake = fake();
        let plugin = plugin(&fake, policy);
        let told = approval(&plugin.deliver(&reboot(&announce(&fake, "Reboot", &["workers_1"])), PLENTY));
        assert_eq!(posts(&fake).len(), expected, "{told}");
        assert_eq!(told["resources"], json!(["workers_1", "workers_0"]));
    }
}

#[test]
fn what_has_begun_or_is_gone_is_left_alone_and_twice_is_once() {
    let fake = fake();
    let plugin = plugin(&fake, "alone");
    let id = announce(&fake, "Reboot", &[]);
    approval(&plugin.deliver(&reboot(&id), PLENTY));
    let again = approval(&plugin.deliver(&reboot(&id), PLENTY));
    assert!(again["skipped"].as_str().is_some_and(|why| why.contains("begun")), "{again}");
    fake.complete_maintenance(&id).expect("a known id");
    let gone = approval(&plugin.deliver(&reboot(&id), PLENTY));
    assert!(gone["skipped"].as_str().is_some_and(|why| why.contains("not announced")), "{gone}");
    assert_eq!(posts(&fake).len(), 1);
}

#[test]
fn a_drill_an_advice_and_another_cloud_approve_nothing() {
    let fake = fake();
    let plugin = plugin(&fake, "always");
    let id = announce(&fake, "Reboot", &[]);
    let mut drill = reboot(&id);
    drill["drill"] = json!(true);
    assert_eq!(approval(&plugin.deliver(&drill, PLENTY))["would"], "approve");
    let advice = event("cloud.spot.rebalance", "none", &id);
    let mut elsewhere = reboot(&id);
    elsewhere["data"]["provider"] = json!("aws");
    for event in [advice, elsewhere] {
        assert_eq!(plugin.deliver(&event, PLENTY).status, abi::SNOOZE_SKIPPED, "{event}");
    }
    assert!(posts(&fake).is_empty());
}

#[test]
fn errors_of_the_service_are_outwaited_and_a_refusal_is_told() {
    let fake = fake();
    let plugin = plugin(&fake, "alone");
    for status in [410, 429, 500] {
        fake.set_fault(Fault::new(Effect::Status(status)).count(1));
        let told = approval(&plugin.deliver(&reboot(&announce(&fake, "Reboot", &[])), PLENTY));
        assert_eq!(told["accepted"], true, "{status}: {told}");
    }
    fake.set_fault(Fault::new(Effect::Status(403)));
    let refused = plugin.deliver(&reboot(&announce(&fake, "Reboot", &[])), PLENTY);
    assert_ne!(refused.status, abi::SNOOZE_OK);
    assert!(refused.error.as_deref().is_some_and(|why| why.contains("status 403")), "{refused:?}");
}

#[test]
fn an_approval_that_has_no_effect_yet_is_not_called_one() {
    let azure = AzureSettings { requests_per_second: 0, approved_starts_seconds: 3_600.0, ..AzureSettings::default() };
    let settings = Settings { azure, ..Settings::default() };
    let fake = FakeMetadata::start(Options { settings, ..Options::of(Provider::Azure) }).expect("a free port");
    let plugin = plugin(&fake, "alone");
    let event = reboot(&announce(&fake, "Reboot", &[]));
    assert_eq!(approval(&plugin.deliver(&event, PLENTY))["accepted"], true);
    let verified = plugin.verify(&event, Duration::from_secs(2));
    assert!(verified.result.as_ref().is_none_or(|result| result.get("approval").is_none()), "{verified:?}");
}

/// The end of an operation of the group, for these machines and the event that Azure announced to them.
fn completed(led: bool, machines: &[&str], event_id: &str) -> Value {
    let departed =
        |machine: &&str| json!({ "provider": "azure", "machine": machine, "cloudEvent": event_id, "role": "db" });
    let mut event = event("fleet.operation.completed", "none", "");
    event["data"]["provider"] = json!("fleet");
    event["data"]["led"] = json!(led);
    event["data"]["missing"] = json!([]);
    event["data"]["departed"] = json!(machines.iter().map(departed).collect::<Vec<_>>());
    event
}

#[test]
fn the_leader_of_a_group_approves_once_when_all_that_are_named_are_done() {
    let fake = fake();
    let id = announce(&fake, "Reboot", &["other_1"]);
    let plugin = plugin(&fake, "group");
    let own = plugin.deliver(&reboot(&id), PLENTY);
    assert_eq!(own.status, abi::SNOOZE_SKIPPED, "the machine's own event is not the group's end: {own:?}");
    let partly = approval(&plugin.deliver(&completed(true, &["other_1"], &id), PLENTY));
    assert!(partly[0]["skipped"].as_str().expect("a reason").contains("no part of it"), "{partly}");
    let names = partly[0]["resources"].as_array().expect("names").clone();
    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    assert_eq!(plugin.deliver(&completed(false, &names, &id), PLENTY).status, abi::SNOOZE_SKIPPED);
    assert!(posts(&fake).is_empty());

    let mut drill = completed(true, &names, &id);
    drill["drill"] = json!(true);
    assert_eq!(approval(&plugin.deliver(&drill, PLENTY))[0]["would"], "approve");
    assert!(posts(&fake).is_empty(), "a drill");
    let all = completed(true, &names, &id);
    assert_eq!(approval(&plugin.deliver(&all, PLENTY))[0]["accepted"], true);
    assert_eq!(posts(&fake).len(), 1);
    let verified = plugin.verify(&all, PLENTY);
    assert_eq!(verified.result.as_ref().map(|r| r["approval"].clone()), Some(json!("Started")), "{verified:?}");
    assert!(approval(&plugin.deliver(&all, PLENTY))[0]["skipped"].is_string(), "it has begun: once is enough");
    assert_eq!(posts(&fake).len(), 1);
}
