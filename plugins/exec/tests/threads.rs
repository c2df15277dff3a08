//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.

mod stage;

use cloudsnooze_plugin::testing::{threads, threads_left};
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde_json::json;
use stage::{NOTICE, PATIENCE, event, failed, handled, is_alive, plugin, wait_for};
use std::time::Duration;

#[test]
fn no_thread_and_no_process_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let quick = plugin(dir.path(), json!({ "argv": ["true"] }));
    let slow = plugin(dir.path(), json!({ "shell": "trap '' TERM; sleep 300 & echo $! > pid; wait" }));
    // A thread takes its name when it begins to run.
    wait_for("the instances' threads", || threads("exec-run") == 2);
    for _ in 0..5 {
        handled(quick.deliver(&event(NOTICE), PATIENCE));
    }
    failed(&slow.deliver(&event(NOTICE), Duration::from_millis(300)), cloudsnooze_plugin::abi::SNOOZE_E_DEADLINE);
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    assert_eq!(waitid(Id::All, flags), Err(Errno::ECHILD), "a child is left");
    // Its own children would not be this process's to wait for.
    assert!(!is_alive(dir.path(), "pid"));
    drop((quick, slow));
    assert_eq!(threads_left("exec-run", PATIENCE), 0);
}
