//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.
#![allow(missing_docs)]

#[path = "../../http/tests/server/mod.rs"]
mod server;

use cloudsnooze_plugin::testing::{TestInstance, thread_names};
use serde_json::json;
use server::{Answer, Server};
use slack_notifier::SlackNotifier;

fn keepers() -> usize {
    thread_names().iter().filter(|name| name.starts_with("keep-")).count()
}

#[test]
fn deactivating_leaves_no_thread_whether_the_server_answers_or_not() {
    let server = Server::start(|_| Answer::ok("ok"));
    let silent = Server::start(|_| Answer::Hold);
    let instances = [&server, &silent].map(|server| {
        TestInstance::<SlackNotifier>::new(&json!({ "webhook_url": server.url("/services/hush") })).unwrap()
    });
    assert_eq!(keepers(), 2);
    drop(instances);
    assert_eq!(keepers(), 0);
    assert_eq!(server.calls().len(), 0, "keeping a connection ready must not post anything");
}
