//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod subject;

use cloudsnooze_plugin::testing::{threads, threads_left};
use serde_json::json;
use std::time::Duration;
use subject::{PATIENCE, PLENTY, Subject, event, failed, handled, one, plugin, save_file};

#[test]
fn no_thread_is_left_whether_the_process_saved_itself_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let subject = Subject::shell(dir.path(), "trap 'echo saved > ckpt' USR1");
    let mut config = one(dir.path(), json!({ "save": save_file(dir.path(), "ckpt") }));
    config["at_once"] = json!(true);
    let instance = plugin(&config);
    assert_eq!(threads("signal-"), 0, "there is nothing to do between events");
    handled(instance.deliver(&event("cloud.spot.interrupt"), PLENTY));
    drop(subject);
    let _silent = Subject::shell(dir.path(), "trap '' USR1");
    let late = instance.deliver(&event("cloud.spot.interrupt"), Duration::from_millis(200));
    failed(&late, cloudsnooze_plugin::abi::SNOOZE_E_DEADLINE);
    drop(instance);
    assert_eq!(threads_left("signal-", PATIENCE), 0);
}
