//! The plugin against a receiver in trouble: patience, silence, resets, redirects, TLS, cancels.
#![allow(missing_docs)]

mod server;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, TestInstance, spot_interrupt};
use serde_json::{Value, json};
use server::{Receiver, SOON, plugin};
use std::time::{Duration, Instant};
use webhook_notifier::WebhookNotifier;

const PATH: &str = "/in/hushhushhush";

/// The ids under which the messages came.
fn ids(requests: &[Value]) -> Vec<&str> {
    requests.iter().map(|request| request["headers"]["webhook-id"].as_str().unwrap()).collect()
}

#[test]
fn patience_asked_for_is_given_and_the_message_keeps_its_id() {
    let answers = json!([{"status": 503, "headers": {"Retry-After": "1"}}, {"status": 200}]);
    let Some(receiver) = Receiver::start(answers) else { return };
    let started = Instant::now();
    let delivered = plugin(&receiver.url(PATH), json!({})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(delivered.result.unwrap()["evidence"]["endpoints"][0]["attempts"], 2);
    let requests = receiver.requests(2);
    let id = spot_interrupt()["id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&requests), [id.as_str(), id.as_str()]);
    assert_eq!(requests[0]["body"], requests[1]["body"]);
}

#[test]
fn more_patience_than_there_is_time_for_is_a_retry_at_once() {
    let Some(receiver) = Receiver::start(json!([{"status": 503, "headers": {"Retry-After": "50"}}])) else { return };
    let started = Instant::now();
    let delivered = plugin(&receiver.url(PATH), json!({})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_RETRY, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("asks to wait 50 s, longer than the time left"));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(receiver.requests(1).len(), 1);
}

#[test]
fn a_server_in_trouble_is_asked_as_often_as_configured() {
    let Some(receiver) = Receiver::start(json!([{"status": 500, "body": "oops"}])) else { return };
    let delivered = plugin(&receiver.url(PATH), json!({"attempts": 3})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_RETRY, "{delivered:?}");
    assert!(delivered.error.unwrap().contains("answered 500: oops"));
    assert_eq!(receiver.requests(3).len(), 3);
}

#[test]
fn a_reset_is_overcome_under_the_same_id() {
    // The client repeats a request once by itself when a connection breaks, since a kept one may be stale.
    let answers = json!([{"do": "reset"}, {"do": "reset"}, {"status": 200}]);
    let Some(receiver) = Receiver::start(answers) else { return };
    let delivered = plugin(&receiver.url(PATH), json!({})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["evidence"]["endpoints"][0]["attempts"], 2);
    let requests = receiver.requests(3);
    assert!(ids(&requests).iter().all(|id| *id == spot_interrupt()["id"]), "{requests:?}");
}

#[test]
fn a_silent_server_leaves_time_for_another_attempt_and_never_costs_more_than_the_time_granted() {
    let Some(receiver) = Receiver::start(json!([{"do": "hang"}, {"status": 200}, {"do": "hang"}])) else { return };
    let delivered = plugin(&receiver.url(PATH), json!({"attempt_seconds": 1})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_OK, "{delivered:?}");
    assert_eq!(receiver.requests(2).len(), 2);
    let started = Instant::now();
    let delivered = plugin(&receiver.url(PATH), json!({})).deliver(&spot_interrupt(), Duration::from_millis(600));
    assert_eq!(delivered.status, abi::SNOOZE_E_DEADLINE, "{delivered:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn redirects_and_refusals_end_it_with_what_to_do() {
    for (status, code, text) in [
        (301, abi::SNOOZE_E_CONFIG, "redirects are not followed; put the final address into url"),
        (308, abi::SNOOZE_E_CONFIG, "redirects are not followed"),
        (401, abi::SNOOZE_E_DENIED, "check headers and signing_keys"),
        (404, abi::SNOOZE_E_CONFIG, "check url"),
        (422, abi::SNOOZE_E_CONFIG, "check mode, template and headers"),
        (200, abi::SNOOZE_E_IO, "expect_status"),
    ] {
        let body = format!("no such page {PATH}");
        let answer = json!([{"status": status, "body": body, "headers": {"Location": "/elsewhere"}}]);
        let Some(receiver) = Receiver::start(answer) else { return };
        let plugin = plugin(&receiver.url(PATH), json!({"expect_status": [202]}));
        let delivered = plugin.deliver(&spot_interrupt(), SOON);
        assert_eq!(delivered.status, code, "{delivered:?}");
        assert!(delivered.error.as_ref().unwrap().contains(text), "{delivered:?}");
        assert!(!format!("{delivered:?} {:?}", plugin.log()).contains("hush"), "{delivered:?}");
        assert_eq!(receiver.requests(1).len(), 1, "{status} is not tried again");
    }
}

#[test]
fn nobody_there_is_a_retry() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let delivered =
        plugin(&format!("http://127.0.0.1:{port}{PATH}"), json!({"attempts": 2})).deliver(&spot_interrupt(), SOON);
    assert_eq!(delivered.status, abi::SNOOZE_E_RETRY, "{delivered:?}");
    assert_eq!(delivered.result.unwrap()["evidence"]["endpoints"][0]["attempts"], 2);
}

#[test]
fn a_cancel_ends_hanging_requests_and_pauses_of_all_endpoints_at_once() {
    let Some(hangs) = Receiver::start(json!([{"do": "hang"}])) else { return };
    let Some(waits) = Receiver::start(json!([{"status": 503, "headers": {"Retry-After": "30"}}])) else { return };
    let endpoints = json!([{"url": hangs.url(PATH), "attempt_seconds": 60}, {"url": waits.url(PATH)}]);
    let plugin = TestInstance::<WebhookNotifier>::new(&json!({ "endpoints": endpoints })).unwrap();
    let cancel = Canceller::default();
    let started = Instant::now();
    let delivered = std::thread::scope(|scope| {
        scope.spawn(|| {
            hangs.requests(1);
            waits.requests(1);
            cancel.cancel(abi::SNOOZE_CANCEL_SUPERSEDED);
        });
        plugin.deliver_cancellable(&spot_interrupt(), 6 * SOON, &cancel)
    });
    assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn https_needs_the_authority_and_the_name_of_the_server() {
    let Some((receiver, ca)) = Receiver::with_tls(json!({"answers": [{"status": 200}]})) else { return };
    let deliver = |url: &str, more: Value| plugin(url, more).deliver(&spot_interrupt(), SOON);
    let distrust = deliver(&receiver.url(PATH), json!({}));
    assert_eq!(distrust.status, abi::SNOOZE_E_IO, "{distrust:?}");
    assert!(distrust.error.unwrap().contains("TLS"));
    let other_name = deliver(&receiver.url(PATH).replace("localhost", "127.0.0.1"), json!({ "ca_file": ca }));
    assert_eq!(other_name.status, abi::SNOOZE_E_IO, "{other_name:?}");
    assert!(other_name.error.unwrap().contains("TLS"));
    assert_eq!(receiver.requests(0).len(), 0, "nothing is told to a server that cannot prove who it is");
    let trusting = deliver(&receiver.url(PATH), json!({ "ca_file": ca }));
    assert_eq!(trusting.status, abi::SNOOZE_OK, "{trusting:?}");
    assert_eq!(receiver.requests(1).len(), 1);
}
