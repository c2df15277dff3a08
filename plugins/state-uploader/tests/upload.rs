//! What the plugin puts into a real store, judged by what another client finds there.

mod store;

use cloudsnooze_plugin::abi;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::{MIB, PLENTY, Stage, event, failed, handled, interrupt, names, sha256};

#[test]
fn everything_is_in_the_store_as_it_is_on_the_disk_and_the_manifest_comes_last() {
    let Some(stage) = Stage::open("an upload") else { return };
    let large = stage.write("model/step-2.ckpt", 12 * MIB + 5, 10);
    let small = stage.write("config with blanks & ü.json", 700, 20);
    let empty = stage.write("empty", 0, 30);
    stage.write("model/step-2.tmp", 100, 1);
    symlink("step-2.ckpt", stage.data().join("model/latest")).unwrap();
    symlink("/etc/passwd", stage.data().join("passwords")).unwrap();
    let uploader = stage.plugin(&json!({ "exclude": ["*.tmp"] }));
    let result = handled(uploader.deliver(&interrupt(1), PLENTY));
    assert_eq!(result["durable"], "yes", "{result:#}");
    assert_eq!(result["to"], "s3://bucket/states/i-0123456789abcdef0");
    assert_eq!(result["evidence"]["before"]["in_store"], json!({ "files": 0, "bytes": 0 }));
    assert_eq!(result["evidence"]["after"]["in_store"]["files"], 3);
    assert_eq!(names(&result["skipped"]), ["data/passwords"]);

    assert!(stage.holds("data/model/step-2.ckpt", &large));
    let manifest = stage.manifest();
    assert_eq!(manifest["complete"], true);
    assert_eq!(manifest["links"], json!([{ "name": "data/model/latest", "target": "step-2.ckpt" }]));
    let files = manifest["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    for (name, content) in
        [("data/model/step-2.ckpt", &large), ("data/config with blanks & ü.json", &small), ("data/empty", &empty)]
    {
        let file = files.iter().find(|file| file["name"] == name).unwrap_or_else(|| panic!("{name}: {files:#?}"));
        assert_eq!((&file["sha256"], &file["bytes"]), (&json!(sha256(content)), &json!(content.len())));
    }
    assert_eq!(stage.keys().len(), 4, "{:?}", stage.keys());
    let puts = stage.put_since(0);
    assert!(puts.last().unwrap().starts_with("manifest.json"), "{puts:?}");
    assert_eq!(uploader.verify(&interrupt(1), PLENTY).status, abi::SNOOZE_OK);
}

#[test]
fn a_second_event_uploads_only_what_is_new_also_after_a_restart() {
    let Some(stage) = Stage::open("a second upload") else { return };
    stage.write("a", 6 * MIB, 30);
    stage.write("b", 1000, 20);
    let uploader = stage.plugin(&json!({}));
    let early = handled(uploader.deliver(&event("cloud.spot.rebalance", 1), PLENTY));
    assert_eq!((&early["durable"], stage.keys().len()), (&json!("yes"), 3));
    drop(uploader);

    let fresh = stage.write("c", 2000, 10);
    let asked = stage.relay.asked().len();
    let uploader = stage.plugin(&json!({}));
    let result = handled(uploader.deliver(&interrupt(2), PLENTY));
    assert_eq!(result["evidence"]["before"]["in_store"]["files"], 2, "{result:#}");
    assert_eq!(stage.put_since(asked), ["data/c", "manifest.json"]);
    assert!(stage.holds("data/c", &fresh));
    assert_eq!(stage.manifest()["files"].as_array().unwrap().len(), 3);

    // Without the instance's own record there is still the manifest: the disk is read, nothing is sent.
    drop(uploader);
    std::fs::remove_dir_all(stage.dir.path().join("state")).unwrap();
    let asked = stage.relay.asked().len();
    let result = handled(stage.plugin(&json!({})).deliver(&interrupt(3), PLENTY));
    assert_eq!((&result["durable"], stage.put_since(asked)), (&json!("yes"), vec!["manifest.json".to_owned()]));

    // The same size at the same time, but another file: its hash tells.
    let other: Vec<u8> = stage.get("data/b").unwrap().iter().map(|byte| byte ^ 1).collect();
    let time = std::fs::metadata(stage.data().join("b")).unwrap().modified().unwrap();
    std::fs::write(stage.data().join("new"), &other).unwrap();
    std::fs::File::open(stage.data().join("new")).unwrap().set_modified(time).unwrap();
    std::fs::rename(stage.data().join("new"), stage.data().join("b")).unwrap();
    handled(stage.plugin(&json!({})).deliver(&interrupt(4), PLENTY));
    assert!(stage.holds("data/b", &other));
}

#[test]
fn verification_finds_what_is_gone_and_what_is_another() {
    let Some(stage) = Stage::open("verification") else { return };
    stage.write("a", 1000, 30);
    stage.write("b", 1000, 20);
    let uploader = stage.plugin(&json!({}));
    handled(uploader.deliver(&interrupt(1), PLENTY));
    let verified = uploader.verify(&interrupt(1), PLENTY);
    assert_eq!((verified.status, &verified.result.unwrap()["files"]), (abi::SNOOZE_OK, &json!(2)));
    assert_eq!(uploader.verify(&interrupt(2), PLENTY).status, abi::SNOOZE_SKIPPED, "of that event nothing is known");
    // Also after a restart of the daemon.
    drop(uploader);
    let uploader = stage.plugin(&json!({}));
    assert_eq!(uploader.verify(&interrupt(1), PLENTY).status, abi::SNOOZE_OK);

    let path = "/bucket/states/i-0123456789abcdef0/data/a";
    stage.moto.ask("PUT", path, &[], &[7; 1000]);
    let other = uploader.verify(&interrupt(1), PLENTY);
    assert!(failed(&other, abi::SNOOZE_E_STATE).contains("another version"), "{other:?}");
    stage.moto.ask("PUT", path, &[], &[7; 999]);
    assert!(failed(&uploader.verify(&interrupt(1), PLENTY), abi::SNOOZE_E_STATE).contains("999 bytes"));
    stage.moto.ask("DELETE", path, &[], b"");
    assert!(failed(&uploader.verify(&interrupt(1), PLENTY), abi::SNOOZE_E_IO).contains("no such bucket or object"));
}

#[test]
fn a_drill_puts_looks_and_deletes_and_uploads_nothing() {
    let Some(stage) = Stage::open("a drill") else { return };
    stage.write("a", 1000, 30);
    let uploader = stage.plugin(&json!({}));
    let mut drill = interrupt(1);
    drill["drill"] = json!(true);
    let result = handled(uploader.deliver(&drill, PLENTY));
    assert_eq!((&result["action"], &result["evidence"]["files"]), (&json!("drill"), &json!(1)), "{result:#}");
    let asked = stage.relay.asked().join("\n");
    for method in ["PUT", "HEAD", "DELETE"] {
        assert!(asked.contains(&format!("{method} /bucket/states/i-0123456789abcdef0/.cloudsnooze-drill-")), "{asked}");
    }
    assert_eq!((stage.keys(), stage.put_since(0).len()), (Vec::new(), 1));
}

#[test]
fn a_withdrawal_and_an_empty_directory_are_declined() {
    let Some(stage) = Stage::open("what is declined") else { return };
    let uploader = stage.plugin(&json!({}));
    let withdrawn = event("cloud.spot.interrupt.cancelled", 1);
    assert_eq!(uploader.deliver(&withdrawn, PLENTY).status, abi::SNOOZE_SKIPPED);
    assert_eq!(uploader.deliver(&interrupt(1), PLENTY).status, abi::SNOOZE_SKIPPED);
    assert_eq!(stage.keys(), Vec::<String>::new(), "a manifest of nothing would hide an earlier one");
}

#[test]
fn a_file_that_changes_all_the_time_is_there_and_marked() {
    let Some(stage) = Stage::open("a file that changes") else { return };
    stage.write("busy.log", 6 * MIB, 0);
    stage.write("quiet", 1000, 10);
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (path, is_over) = (stage.data().join("busy.log"), Arc::clone(&is_over));
        std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
            while !is_over.load(Ordering::Acquire) {
                file.write_all(b"one more line\n").unwrap();
                std::thread::park_timeout(Duration::from_millis(1));
            }
        })
    };
    stage.relay.slow(8_000_000);
    let delivered = stage.plugin(&json!({})).deliver(&interrupt(1), PLENTY);
    is_over.store(true, Ordering::Release);
    writer.join().unwrap();
    let result = handled(delivered);
    assert_eq!(
        (&result["durable"], names(&result["changed_while_read"])),
        (&json!("unknown"), vec!["data/busy.log".to_owned()])
    );
    let manifest = stage.manifest();
    let busy = manifest["files"].as_array().unwrap().iter().find(|file| file["name"] == "data/busy.log").unwrap();
    assert_eq!(busy["changed_while_read"], true);
    let there = stage.get("data/busy.log").unwrap();
    assert_eq!((busy["bytes"].as_u64(), &busy["sha256"]), (Some(there.len() as u64), &json!(sha256(&there))));
}
