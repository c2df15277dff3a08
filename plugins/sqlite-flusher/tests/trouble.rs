//! What is no database, what is not there, what this process has open, disks that hang: told, and in time.

mod stage;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use harness::wait;
use serde_json::json;
use stage::{CARELESS, NOTICE, PATIENCE, PLENTY, Writer, disk, event, failed, handled, must_have_python, plugin, told};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn patterns_pass_over_what_is_no_database_and_names_do_not() {
    let test = "patterns_pass_over_what_is_no_database_and_names_do_not";
    if told(test, must_have_python()).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::start(&dir.path().join("a.db"), dir.path(), CARELESS);
    let text = dir.path().join("b.db");
    fs::write(&text, "this is no database, and it is long enough for one. ".repeat(20)).unwrap();
    let result = handled(plugin(&json!({ "paths": [dir.path().join("*.db")] })).deliver(&event(NOTICE), PLENTY));
    assert_eq!(result["evidence"]["databases"].as_array().unwrap().len(), 1, "{result:#}");
    let named = plugin(&json!({ "paths": [text, dir.path().join("c.db")] }));
    assert!(named.log()[0].ends_with("c.db is not there now"), "{:?}", named.log());
    let said = failed(&named.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_IO);
    assert!(said.contains("not a database") && said.ends_with("c.db: it is not there"), "{said}");
    let nothing = plugin(&json!({ "paths": [dir.path().join("*.sqlite")] }));
    assert_eq!(nothing.deliver(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED);
    let withdrawn = nothing.deliver(&event("cloud.spot.interrupt.cancelled"), PLENTY);
    assert_eq!(withdrawn.status, abi::SNOOZE_SKIPPED);
    drop(writer);
}

#[test]
fn a_database_that_this_process_has_open_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let open = fs::File::create(&path).unwrap();
    let plugin = plugin(&json!({ "paths": [path] }));
    let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_IO);
    assert!(text.contains("it is open in this very process"), "{text}");
    drop(open);
    handled(plugin.deliver(&event(NOTICE), PLENTY));
}

#[test]
fn a_disk_that_hangs_does_not_hold_the_answer() {
    let Some(disk) = disk("a_disk_that_hangs_does_not_hold_the_answer") else { return };
    let path = disk.join("app.db");
    let writer = Writer::start(&path, disk.beside(), CARELESS);
    let plugin = plugin(&json!({ "paths": [path] }));
    disk.freeze().unwrap();
    let (begun, left) = (Instant::now(), Duration::from_secs(2));
    let delivered = plugin.deliver(&event(NOTICE), left);
    assert!(begun.elapsed() < left + Duration::from_secs(2), "{:?}", begun.elapsed());
    failed(&delivered, abi::SNOOZE_E_DEADLINE);
    let cancel = Canceller::default();
    cancel.cancel(abi::SNOOZE_CANCEL_SHUTDOWN);
    failed(&plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel), abi::SNOOZE_E_CANCELLED);
    let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_RETRY);
    assert_eq!(text, "a disk has not come back from the call before");
    disk.thaw().unwrap();
    let answers = || {
        let delivered = plugin.deliver(&event(NOTICE), PLENTY);
        (delivered.status != abi::SNOOZE_E_RETRY).then_some(delivered)
    };
    handled(wait::until("the disk", PATIENCE, answers).unwrap());
    drop(writer);
}
