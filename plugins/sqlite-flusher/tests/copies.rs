//! Copies of databases: whole while the application goes on, replaced at once or not at all, not begun when they cannot fit.

mod stage;

use cloudsnooze_plugin::abi;
use harness::disk::Disk;
use serde_json::json;
use stage::{CARELESS, NOTICE, PLENTY, Writer, event, failed, handled, must_have_python, plugin, rows, told};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

struct Place {
    dir: tempfile::TempDir,
    path: PathBuf,
    copies: PathBuf,
}

impl Place {
    fn new(test: &str) -> Option<Self> {
        told(test, must_have_python())?;
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        Some(Self { dir, path: root.join("app.db"), copies: root.join("copies") })
    }

    fn copy(&self) -> PathBuf {
        self.copies.join(self.path.strip_prefix("/").unwrap())
    }

    /// What lies beside the copy.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.copy().parent().unwrap()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

#[test]
fn a_copy_holds_every_row_that_was_committed_before_and_the_application_goes_on() {
    let test = "a_copy_holds_every_row_that_was_committed_before_and_the_application_goes_on";
    let Some(place) = Place::new(test) else { return };
    let writer = Writer::start(&place.path, place.dir.path(), CARELESS);
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o640)).unwrap();
    let plugin = plugin(&json!({ "paths": [place.path], "backup_directory": place.copies }));
    for _ in 0..2 {
        writer.has_written(100);
        let committed = writer.last();
        let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
        assert_eq!(result["action"], "checkpoint-and-backup", "{result:#}");
        let verified = handled(plugin.verify(&event(NOTICE), PLENTY));
        let seen = &verified["databases"][0];
        assert_eq!(
            (&seen["quick_check"], &seen["backup"]["quick_check"]),
            (&json!("ok"), &json!("ok")),
            "{verified:#}"
        );
        assert_eq!(place.files(), ["app.db"], "something was left beside the copy");
        let mode = fs::metadata(place.copy()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640, "{mode:o}");
        let elsewhere = place.dir.path().join("elsewhere.db");
        fs::copy(place.copy(), &elsewhere).unwrap();
        let found = rows(&elsewhere);
        assert!(found >= Some(committed), "{found:?} of {committed}: {result:#}");
        let backup = &result["evidence"]["databases"][0]["backup"];
        assert_eq!(backup["bytes"], fs::metadata(place.copy()).unwrap().len(), "{result:#}");
        writer.has_written(10);
    }
}

#[test]
fn a_copy_that_is_gone_or_spoilt_does_not_pass_verification() {
    let test = "a_copy_that_is_gone_or_spoilt_does_not_pass_verification";
    let Some(place) = Place::new(test) else { return };
    let writer = Writer::start(&place.path, place.dir.path(), CARELESS);
    writer.kill();
    let plugin = plugin(&json!({ "paths": [place.path], "backup_directory": place.copies }));
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED, "nothing was done yet");
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    handled(plugin.verify(&event(NOTICE), PLENTY));
    let spoil = |path: &Path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let middle = file.metadata().unwrap().len() / 2;
        file.write_all_at(&[0xFF; 9000], middle).unwrap();
    };
    spoil(&place.copy());
    let text = failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.starts_with(&*place.copy().to_string_lossy()), "{text}");
    fs::remove_file(place.copy()).unwrap();
    let text = failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.ends_with("is gone or another one"), "{text}");
    spoil(&place.path);
    let text = failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.starts_with(&*place.path.to_string_lossy()), "{text}");
}

#[test]
fn a_copy_that_cannot_fit_is_not_begun_and_the_checkpoint_stands() {
    let test = "a_copy_that_cannot_fit_is_not_begun_and_the_checkpoint_stands";
    let Some(place) = Place::new(test) else { return };
    let writer = Writer::start(&place.path, place.dir.path(), CARELESS);
    writer.kill();
    let small = plugin(&json!({ "paths": [place.path], "backup_directory": place.copies }));
    handled(small.deliver(&event(NOTICE), PLENTY));
    let kept = fs::read(place.copy()).unwrap();
    // A database that says it has 8 GiB: its file has a hole of that size. The disk has to have as much room, or that is the reason.
    let file = fs::OpenOptions::new().read(true).write(true).open(&place.path).unwrap();
    let mut size = [0; 2];
    file.read_exact_at(&mut size, 16).unwrap();
    let pages = (8_u64 << 30) / u64::from(u16::from_be_bytes(size));
    file.write_all_at(&u32::try_from(pages).unwrap().to_be_bytes(), 28).unwrap();
    file.set_len(8 << 30).unwrap();
    drop(file);
    let (begun, left) = (Instant::now(), Duration::from_secs(2));
    let result = handled(small.deliver(&event(NOTICE), left));
    assert!(begun.elapsed() < left + Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((&result["action"], &result["durable"]), (&json!("checkpoint"), &json!("yes")), "{result:#}");
    assert_eq!(result["skipped"][0]["step"], "backup", "{result:#}");
    let reason = result["skipped"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("it may take ") && reason.ends_with(" s are left"), "{reason}");
    assert_eq!(fs::read(place.copy()).unwrap(), kept, "the copy from before is gone");
    assert_eq!(place.files(), ["app.db"]);
}

#[test]
fn a_target_without_room_is_refused_and_one_that_cannot_be_written_fails_the_event() {
    let test = "a_target_without_room_is_refused_and_one_that_cannot_be_written_fails_the_event";
    let Some(place) = Place::new(test) else { return };
    let Some(disk) = told(test, Disk::new("ext4", 8, "")) else { return };
    let writer = Writer::start(&place.path, place.dir.path(), CARELESS);
    writer.has_written(200);
    writer.kill();
    // All but a little of it.
    let mut filling = fs::File::create(disk.join("filling")).unwrap();
    let _full = std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 64 << 20), &mut filling);
    drop(filling);
    let full = plugin(&json!({ "paths": [place.path], "backup_directory": disk.path() }));
    let result = handled(full.deliver(&event(NOTICE), PLENTY));
    assert!(result["skipped"][0]["reason"].as_str().unwrap().ends_with("are free"), "{result:#}");
    let blocked = place.dir.path().join("file");
    fs::write(&blocked, "").unwrap();
    let plugin = plugin(&json!({ "paths": [place.path], "backup_directory": blocked }));
    let delivered = plugin.deliver(&event(NOTICE), PLENTY);
    let text = failed(&delivered, abi::SNOOZE_E_IO);
    assert!(text.contains("backup: make its directory"), "{text}");
    assert_eq!(delivered.result.unwrap()["durable"], "yes", "the database itself is");
}

#[test]
fn a_drill_checkpoints_and_leaves_the_copy_before_it_alone() {
    let Some(place) = Place::new("a_drill_checkpoints_and_leaves_the_copy_before_it_alone") else { return };
    let writer = Writer::start(&place.path, place.dir.path(), CARELESS);
    let plugin = plugin(&json!({ "paths": [place.path], "backup_directory": place.copies }));
    let mut drill = event(NOTICE);
    drill["drill"] = json!(true);
    let result = handled(plugin.deliver(&drill, PLENTY));
    assert!(result["skipped"].as_array().unwrap().iter().any(|skipped| skipped["step"] == "backup"), "{result:#}");
    assert!(!place.copies.exists());
    drop(writer);
}
