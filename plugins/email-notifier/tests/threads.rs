//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.
#![allow(missing_docs)]

mod server;

use cloudsnooze_plugin::testing::{spot_interrupt, threads, threads_left};
use serde_json::json;
use server::Mail;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

#[test]
fn neither_a_call_nor_an_instance_leaves_a_thread_behind() {
    let Some(mail) = Mail::start(json!({})) else { return };
    let plugin = mail.plugin(json!({}));
    assert_eq!(threads("keep-"), 1);
    assert_eq!(mail.seen("message", 0).len(), 0, "keeping a connection ready must not send anything");
    plugin.deliver(&spot_interrupt(), PATIENCE);
    assert_eq!(mail.kept(1).len(), 1);
    drop(plugin);
    assert_eq!(threads_left("keep-", PATIENCE), 0);
    assert_eq!(threads_left("smtp-name", PATIENCE), 0);
}
