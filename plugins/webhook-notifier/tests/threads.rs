//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.
#![allow(missing_docs)]

mod server;

use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt, threads, threads_left};
use serde_json::json;
use server::Receiver;
use webhook_notifier::WebhookNotifier;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

#[test]
fn neither_a_call_nor_an_instance_leaves_a_thread_behind() {
    let Some(receiver) = Receiver::start(json!([{"status": 200}])) else { return };
    let endpoints = [receiver.url("/a"), receiver.url("/b"), "http://127.0.0.1:1/".to_owned()];
    let endpoints: Vec<_> = endpoints.iter().map(|url| json!({"url": url, "attempts": 1})).collect();
    let plugin = TestInstance::<WebhookNotifier>::new(&json!({ "endpoints": endpoints })).unwrap();
    assert_eq!(threads("keep-"), 3);
    assert_eq!(receiver.requests(0).len(), 0, "keeping a connection ready must not send anything");
    plugin.deliver(&spot_interrupt(), PATIENCE);
    assert_eq!(receiver.requests(2).len(), 2);
    assert_eq!(threads_left("webhook-send", PATIENCE), 0);
    drop(plugin);
    assert_eq!(threads_left("keep-", PATIENCE), 0);
}
