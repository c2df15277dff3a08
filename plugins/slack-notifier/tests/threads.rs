//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.
#![allow(missing_docs)]

#[path = "../../http/tests/server/mod.rs"]
mod server;

use cloudsnooze_plugin::testing::{TestInstance, threads, threads_left};
use serde_json::json;
use server::{Answer, Server};
use slack_notifier::SlackNotifier;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

#[test]
fn deactivating_leaves_no_thread_whether_the_server_answers_or_not() {
    let server = Server::start(|_| Answer::ok("ok"));
    let silent = Server::start(|_| Answer::Hold);
    let instances = [&server, &silent].map(|server| {
        TestInstance::<SlackNotifier>::new(&json!({ "webhook_url": server.url("/services/hush") })).unwrap()
    });
    assert_eq!(threads("keep-"), 2);
    drop(instances);
    assert_eq!(threads_left("keep-", PATIENCE), 0);
    assert_eq!(server.calls().len(), 0, "keeping a connection ready must not post anything");
}
