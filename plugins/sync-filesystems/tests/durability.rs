//! What is on a disk before and after, as a power failure would show it.

mod stage;

use harness::disk::Disk;
use serde_json::json;
use stage::{NOTICE, PLENTY, disk, event, handled, of, plugin};
use std::fs;

/// More than fits into one write.
fn content(salt: u8) -> Vec<u8> {
    (0..8_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ salt).collect()
}

/// What a machine that the disk is attached to next finds in the file.
fn found(disk: &Disk, name: &str) -> Option<Vec<u8>> {
    let copy = disk.as_after_power_failure(name).unwrap();
    let restored = Disk::restored(&copy, "").unwrap();
    fs::read(restored.join("file")).ok()
}

#[test]
fn what_was_only_in_memory_survives_a_power_failure_afterwards() {
    let test = "what_was_only_in_memory_survives_a_power_failure_afterwards";
    let (Some(first), Some(second)) = (disk(test), disk(test)) else { return };
    for (disk, salt) in [(&first, 1), (&second, 2)] {
        fs::write(disk.join("file"), content(salt)).unwrap();
        assert_ne!(found(disk, "before"), Some(content(salt)), "it was on the disk anyway: this shows nothing");
    }
    let plugin = plugin(&json!({ "mount_points": [first.path(), second.path()] }));
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    for (disk, salt) in [(&first, 1), (&second, 2)] {
        assert_eq!(found(disk, "after"), Some(content(salt)));
        let told = of(&result, disk.path());
        assert_eq!((&told["outcome"], &told["file_system"]), (&json!("synced"), &json!("ext4")), "{result:#}");
        assert!(told["seconds"].as_f64().unwrap() < PLENTY.as_secs_f64(), "{result:#}");
    }
    assert_eq!((&result["action"], &result["durable"]), (&json!("sync"), &json!("yes")));
    let memory = |when: &str| result["evidence"]["memory"][when]["dirty_kib"].as_u64().unwrap();
    // Others on this machine write too: that it became less is not for a test to say.
    assert!(memory("before") > 0, "{result:#} {}", memory("after"));
}

#[test]
fn a_drill_syncs_too_and_so_does_what_may_come_to_nothing() {
    let Some(disk) = disk("a_drill_syncs_too_and_so_does_what_may_come_to_nothing") else { return };
    let plugin = plugin(&json!({ "mount_points": [disk.path()] }));
    let mut drill = event(NOTICE);
    drill["drill"] = json!(true);
    for (salt, event) in [(3, drill), (4, event("cloud.spot.rebalance"))] {
        fs::write(disk.join("file"), content(salt)).unwrap();
        handled(plugin.deliver(&event, PLENTY));
        assert_eq!(found(&disk, "after"), Some(content(salt)));
    }
}

#[test]
fn what_is_on_a_disk_is_found_by_itself() {
    let test = "what_is_on_a_disk_is_found_by_itself";
    let (Some(wanted), Some(other)) = (disk(test), disk(test)) else { return };
    fs::write(wanted.join("file"), content(5)).unwrap();
    let plugin = plugin(&json!({ "exclude": [other.path()] }));
    let result = handled(plugin.deliver(&event(NOTICE), 2 * PLENTY));
    assert_eq!(found(&wanted, "after"), Some(content(5)));
    let all = result["evidence"]["file_systems"].as_array().unwrap();
    let is_there = |path: &std::path::Path| all.iter().any(|one| one["mount_point"] == json!(path));
    assert!(is_there(wanted.path()) && !is_there(other.path()), "{result:#}");
    assert!(all.iter().all(|one| one["file_system"] != "tmpfs" && one["file_system"] != "proc"), "{result:#}");
    let mut devices: Vec<&str> = all.iter().map(|one| one["device"].as_str().unwrap()).collect();
    devices.sort_unstable();
    devices.dedup();
    assert_eq!(devices.len(), all.len(), "{result:#}");
}
