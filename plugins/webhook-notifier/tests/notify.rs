//! The plugin against a receiver that shares no code with it: forms, signatures, several endpoints, verification.
#![allow(missing_docs)]

mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt};
use serde_json::{Value, json};
use server::{KEY, Receiver, SOON, plugin};
use webhook_notifier::WebhookNotifier;

const PATH: &str = "/in/hushhushhush";

fn id() -> Value {
    spot_interrupt()["id"].clone()
}

#[test]
fn the_event_arrives_as_a_cloud_event_over_the_connection_opened_ahead() {
    let Some(receiver) = Receiver::start(json!([{"status": 202, "body": "{\"data\": {\"id\": \"m-1\"}}"}])) else {
        return;
    };
    let plugin = plugin(&receiver.url(PATH), json!({"headers": {"X-Team": "hush-ops"}, "id_pointer": "/data/id"}));
    let delivered = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    let requests = receiver.requests(1);
    assert_eq!(requests.len(), 1, "{requests:?}");
    let request = &requests[0];
    assert_eq!((&request["method"], &request["path"]), (&json!("POST"), &json!(PATH)));
    assert_eq!(request["headers"]["content-type"], "application/cloudevents+json; charset=UTF-8");
    assert_eq!((&request["headers"]["webhook-id"], &request["headers"]["idempotency-key"]), (&id(), &id()));
    assert_eq!(request["headers"]["x-team"], "hush-ops");
    assert_eq!(serde_json::from_str::<Value>(request["body"].as_str().unwrap()).unwrap(), spot_interrupt());
    assert!(request["headers"].get("webhook-signature").is_none());

    let result = delivered.result.clone().unwrap();
    let evidence = &result["evidence"]["endpoints"][0];
    assert_eq!((&evidence["status"], &evidence["attempts"], &evidence["id"]), (&json!(202), &json!(1), &json!("m-1")));
    assert_eq!(evidence["bytes"], json!(spot_interrupt().to_string().len()));
    assert_eq!((&evidence["connection"], &result["durable"]), (&json!("kept"), &json!("yes")));
    assert!(!format!("{delivered:?} {:?}", plugin.log()).contains("hush"), "{delivered:?}");
}

#[test]
fn the_binary_mode_and_other_methods_are_understood_by_the_receiver() {
    let Some(receiver) = Receiver::start(json!([{"status": 200}])) else { return };
    let plugin = plugin(&receiver.url(PATH), json!({"mode": "binary", "method": "PUT"}));
    assert_eq!(plugin.deliver(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
    let request = &receiver.requests(1)[0];
    assert_eq!((&request["method"], &request["headers"]["ce-id"]), (&json!("PUT"), &id()));
    assert_eq!(request["headers"]["ce-type"], "cloud.spot.interrupt");
    assert_eq!(request["headers"]["content-type"], "application/json");
    assert_eq!(serde_json::from_str::<Value>(request["body"].as_str().unwrap()).unwrap(), spot_interrupt()["data"]);
}

#[test]
fn a_template_makes_the_body_and_no_value_can_break_out_of_it() {
    let Some(receiver) = Receiver::start(json!([{"status": 204}])) else { return };
    let template = r#"{"content": {{ headline }}, "zone": {{ data.zone }}, "none": {{ data.nothing }}}"#;
    let plugin = plugin(&receiver.url(PATH), json!({ "template": template }));
    let mut event = spot_interrupt();
    event["data"]["zone"] = json!("x\", \"evil\": \"1");
    assert_eq!(plugin.deliver(&event, SOON).status, abi::SNOOZE_OK);
    let request = &receiver.requests(1)[0];
    assert_eq!(request["headers"]["content-type"], "application/json");
    let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    assert!(
        body["content"].as_str().unwrap().starts_with("Spot interruption: i-0123456789abcdef0 (m5.large, "),
        "{body}"
    );
    assert_eq!((&body["zone"], &body["none"]), (&json!("x\", \"evil\": \"1"), &Value::Null));
}

#[test]
fn a_template_that_cannot_work_is_refused_when_it_is_configured() {
    let config = json!({"endpoints": [{"url": "http://localhost:1/", "template": "{\"a\": \"{{ headline }}\"}"}]});
    let error = TestInstance::<WebhookNotifier>::new(&config).err().unwrap();
    assert!(error.starts_with("endpoints[0].template: its text is not JSON"), "{error}");
}

#[test]
fn the_receiver_checks_the_signature_and_refuses_another_keys() {
    let Some(receiver) = Receiver::with(json!({"answers": [{"status": 200}], "key": KEY})) else { return };
    let signing = |keys: Value| plugin(&receiver.url(PATH), json!({ "signing_keys": keys }));
    let other = "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB";
    for (keys, status) in [
        (json!([format!("whsec_{KEY}")]), abi::SNOOZE_OK),
        (json!([other, KEY]), abi::SNOOZE_OK),
        (json!([other]), abi::SNOOZE_E_DENIED),
        (json!([]), abi::SNOOZE_E_DENIED),
    ] {
        let delivered = signing(keys).deliver(&spot_interrupt(), SOON);
        assert_eq!(delivered.status, status, "{delivered:?}");
        assert!(!format!("{delivered:?}").contains(KEY), "{delivered:?}");
    }
    let valid: Vec<Value> = receiver.requests(4).iter().map(|request| request["valid"].clone()).collect();
    assert_eq!(valid, [json!(true), json!(true), json!(false), json!(false)]);
}

#[test]
fn several_endpoints_are_told_at_the_same_time_and_only_those_that_failed_again() {
    let Some(slow) = Receiver::start(json!([{"do": "hang"}, {"status": 200}])) else { return };
    let Some(quick) = Receiver::start(json!([{"status": 200}])) else { return };
    let config = json!({"endpoints": [
        {"url": slow.url(PATH), "attempts": 1, "attempt_seconds": 1}, {"url": quick.url(PATH)}]});
    let plugin = TestInstance::<WebhookNotifier>::new(&config).unwrap();
    let first = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(first.status, abi::SNOOZE_E_DEADLINE, "{first:?}");
    let evidence = first.result.unwrap()["evidence"].clone();
    assert_eq!((&evidence["taken"], &evidence["of"]), (&json!(1), &json!(2)));
    assert_eq!(
        evidence["endpoints"].as_array().unwrap().iter().map(|e| e["taken"].clone()).collect::<Vec<_>>(),
        [json!(false), json!(true)]
    );
    assert!(evidence["endpoints"][1]["ms"].as_u64().unwrap() < 1000, "it did not wait for the slow one: {evidence}");
    let second = plugin.deliver(&spot_interrupt(), SOON);
    assert_eq!(second.status, abi::SNOOZE_OK, "{second:?}");
    assert_eq!((slow.requests(2).len(), quick.requests(1).len()), (2, 1), "who took it is not told again");
    let mut other = spot_interrupt();
    other["id"] = json!("01936b7e-5b3a-7000-8000-000000000002");
    assert_eq!(plugin.deliver(&other, SOON).status, abi::SNOOZE_OK);
    assert_eq!(quick.requests(2).len(), 2, "another event is");
}

#[test]
fn any_endpoint_is_enough_where_any_is_required() {
    let Some(good) = Receiver::start(json!([{"status": 200}])) else { return };
    let config = |require: &str| {
        json!({"require": require, "endpoints": [
            {"url": format!("http://127.0.0.1:1{PATH}"), "attempts": 1}, {"url": good.url(PATH)}]})
    };
    let deliver =
        |require| TestInstance::<WebhookNotifier>::new(&config(require)).unwrap().deliver(&spot_interrupt(), SOON);
    let any = deliver("any");
    assert_eq!(any.status, abi::SNOOZE_OK, "{any:?}");
    assert_eq!(any.result.unwrap()["evidence"]["taken"], 1);
    assert_eq!(deliver("all").status, abi::SNOOZE_E_RETRY);
}

#[test]
fn verification_asks_the_receiver_whether_it_has_the_event() {
    for (forgets, status) in [(false, abi::SNOOZE_OK), (true, abi::SNOOZE_E_INTERNAL)] {
        let Some(receiver) = Receiver::with(json!({"answers": [{"status": 200}], "forget": forgets})) else { return };
        let plugin =
            plugin(&receiver.url(PATH), json!({"verify_url": "/kept/{event_id}", "headers": {"X-Team": "ops"}}));
        assert_eq!(plugin.deliver(&spot_interrupt(), SOON).status, abi::SNOOZE_OK);
        let verified = plugin.verify(&spot_interrupt(), SOON);
        assert_eq!(verified.status, status, "{verified:?}");
        let asked = receiver.requests(2)[1].clone();
        assert_eq!((&asked["method"], &asked["headers"]["x-team"]), (&json!("GET"), &json!("ops")));
        assert_eq!(asked["path"], format!("/kept/{}", id().as_str().unwrap()));
        match forgets {
            false => assert_eq!(verified.result.unwrap()["endpoints"][0]["confirmed_by"], "verify_url"),
            true => assert!(verified.error.unwrap().contains("answered 404 when asked for the event")),
        }
    }
}

#[test]
fn without_an_address_to_ask_only_an_id_confirms() {
    let Some(receiver) = Receiver::start(json!([{"status": 200, "body": "{\"id\": 7}"}])) else { return };
    for (pointer, status) in [("/id", abi::SNOOZE_OK), ("/uuid", abi::SNOOZE_SKIPPED)] {
        let plugin = plugin(&receiver.url(PATH), json!({ "id_pointer": pointer }));
        assert_eq!(plugin.verify(&spot_interrupt(), SOON).status, abi::SNOOZE_SKIPPED, "nothing was sent yet");
        let delivered = plugin.deliver(&spot_interrupt(), SOON);
        assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
        let verified = plugin.verify(&spot_interrupt(), SOON);
        assert_eq!(verified.status, status, "{verified:?}");
    }
}
