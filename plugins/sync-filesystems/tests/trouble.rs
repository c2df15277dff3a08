//! Disks that hang, mounts that are gone, file systems that turn read-only: told, and in time.

mod stage;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Canceller, threads_left};
use harness::disk::Hung;
use harness::{program, wait};
use serde_json::json;
use stage::{NOTICE, PLENTY, disk, event, failed, handled, of, plugin, told};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn is_there(pid: i64) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn a_disk_that_hangs_is_told_in_time_and_the_others_are_synced() {
    let test = "a_disk_that_hangs_is_told_in_time_and_the_others_are_synced";
    let (Some(other), Some(hung)) = (disk(test), told(test, Hung::new())) else { return };
    let plugin = plugin(&json!({ "mount_points": [hung.disk().path(), other.path()] }));
    let (begun, left) = (Instant::now(), Duration::from_secs(3));
    let delivered = plugin.deliver(&event(NOTICE), left);
    let took = begun.elapsed();
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("it hangs in the kernel") && text.contains(&*hung.disk().path().to_string_lossy()), "{text}");
    assert!(took < left + Duration::from_secs(2), "{took:?}");
    let result = delivered.result.unwrap();
    assert_eq!((&result["durable"], &of(&result, other.path())["outcome"]), (&json!("no"), &json!("synced")));
    let stuck = of(&result, hung.disk().path());
    assert_eq!(stuck["outcome"], "stuck", "{result:#}");
    let pid = stuck["stuck_process"].as_i64().unwrap();
    assert!(is_there(pid), "{result:#}");
    assert_eq!(threads_left("sync-wait", PATIENCE), 0);
    // Nothing can be proved of what failed.
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED);

    hung.recover().unwrap();
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    wait::until("the process that was left behind", PATIENCE, || {
        plugin.deliver(&event(NOTICE), PLENTY);
        (!is_there(pid)).then_some(())
    })
    .unwrap();
}

#[test]
fn a_cancelled_call_comes_back_at_once_also_from_a_disk_that_hangs() {
    let test = "a_cancelled_call_comes_back_at_once_also_from_a_disk_that_hangs";
    let Some(hung) = told(test, Hung::new()) else { return };
    let plugin = plugin(&json!({ "mount_points": [hung.disk().path()] }));
    let cancel = Canceller::default();
    let took = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            wait::until("a process that syncs", PATIENCE, || threads_that_wait().then_some(())).unwrap();
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
            Instant::now()
        });
        let delivered = plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel);
        assert!(delivered.status < 0, "{delivered:?}");
        canceller.join().unwrap().elapsed()
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    failed(&plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel), abi::SNOOZE_E_CANCELLED);
    hung.recover().unwrap();
}

fn threads_that_wait() -> bool {
    cloudsnooze_plugin::testing::threads("sync-wait") > 0
}

#[test]
fn what_is_not_mounted_fails_and_a_withdrawn_notice_is_declined() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = plugin(&json!({ "mount_points": [dir.path()] }));
    assert!(plugin.log()[0].starts_with("nothing is mounted on /"), "{:?}", plugin.log());
    let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.ends_with(": nothing is mounted there"), "{text}");
    let withdrawn = plugin.deliver(&event("cloud.spot.interrupt.cancelled"), PLENTY);
    assert_eq!(withdrawn.status, abi::SNOOZE_SKIPPED, "{withdrawn:?}");
}

#[test]
fn a_file_system_that_turns_read_only_or_goes_does_not_pass_verification() {
    let test = "a_file_system_that_turns_read_only_or_goes_does_not_pass_verification";
    let Some(disk) = disk(test) else { return };
    let plugin = plugin(&json!({ "mount_points": [disk.path()] }));
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED, "nothing was done yet");
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    let verified = handled(plugin.verify(&event(NOTICE), PLENTY));
    assert_eq!(verified["file_systems"][0]["is_writable"], true, "{verified:#}");
    let remount = |options: &str| {
        let mut command = Command::new(program::find("mount").unwrap());
        program::run(command.args(["-o", options]).arg(disk.path()), PATIENCE).unwrap().success("mount").unwrap();
    };
    remount("remount,ro");
    let text = failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.ends_with("has become read-only since"), "{text}");
    remount("remount,rw");
    handled(plugin.verify(&event(NOTICE), PLENTY));
    // What ext4 does when its disk answers with an error.
    let mut counter = None;
    for entry in fs::read_dir("/sys/fs/ext4").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let backing = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
        if backing.trim() == disk.image().to_string_lossy() {
            counter = Some(entry.path().join("trigger_fs_error"));
        }
    }
    let counter = counter.expect("ext4 shows it");
    fs::write(&counter, "1").unwrap();
    // The kernel counts it on a thread of its own (fs/ext4/super.c, s_sb_upd_work).
    let errors = counter.with_file_name("errors_count");
    let counted = || fs::read_to_string(&errors).is_ok_and(|text| text.trim() != "0").then_some(());
    harness::wait::until("the error to be counted", PATIENCE, counted).unwrap();
    let text = failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.ends_with("has met errors since") || text.ends_with("read-only since"), "{text}");
    drop(disk);
    let text = failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.ends_with("is not mounted any more"), "{text}");
}
