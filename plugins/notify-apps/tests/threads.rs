//! What an instance leaves behind. Alone in its file: other tests have threads of the same name.
#![allow(missing_docs)]

use cloudsnooze_plugin::serde_json::json;
use cloudsnooze_plugin::testing::{TestInstance, threads, threads_left};
use notify_apps::NotifyApps;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn deactivating_leaves_no_thread_and_keeping_ready_delivers_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("apps.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let peer = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("it connects ahead");
        let (mut lines, mut writer) = (BufReader::new(stream.try_clone().expect("a copy")), stream);
        let mut heard = Vec::new();
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
            heard.push(std::mem::take(&mut line));
            writer.write_all(b"{\"pong\":{}}\n").expect("written");
        }
        heard
    });
    let instance = TestInstance::<NotifyApps>::new(&json!({ "socket": socket })).expect("made");
    assert_eq!(threads("keep-apps"), 1);
    drop(instance);
    assert_eq!(peer.join().expect("no panic"), ["{\"ping\":{}}\n"]);
    assert_eq!(threads_left("keep-apps", PATIENCE), 0);
}
