//! Every input that was ever worth keeping is played again: what the engine found to be different, and what once broke.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Most that all inputs together may take, bytes: they are part of every checkout.
const CORPUS_BYTES_MAX: u64 = 300_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = read.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn no_input_that_was_kept_breaks_a_promise() {
    let mut broken = Vec::new();
    for (name, target) in fuzz::TARGETS {
        let inputs = files(&corpus().join(name));
        assert!(inputs.len() >= 3, "{name}: only {} inputs are kept", inputs.len());
        for input in inputs {
            let data = fs::read(&input).expect("readable");
            if catch_unwind(|| target(&data)).is_err() {
                broken.push(input);
            }
        }
    }
    assert!(broken.is_empty(), "broken by {broken:#?}");
}

#[test]
fn nothing_at_all_and_single_bytes_break_no_promise() {
    for (_, target) in fuzz::TARGETS {
        target(b"");
        (0..=u8::MAX).for_each(|byte| target(&[byte]));
    }
}

#[test]
fn the_inputs_are_small_and_each_folder_has_its_target() {
    let mut bytes = 0;
    for folder in files(&corpus()) {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(fuzz::target(name).is_some(), "{} belongs to no target", folder.display());
        bytes += files(&folder).iter().map(|file| file.metadata().expect("there").len()).sum::<u64>();
    }
    assert!(bytes < CORPUS_BYTES_MAX, "{bytes} bytes are kept");
}

#[test]
fn the_inputs_reach_what_lies_behind_the_first_check() {
    let read = |name: &str| fs::read(corpus().join(name)).expect("readable");
    let taken = cloudsnooze::host::peek::peek(&read("elf/seed-01"));
    // A library of an earlier layout stays a good input, but one of today belongs here too.
    assert!(taken.is_ok(), "{taken:?}: write the digest of today into the entry record of elf/seed-01");
    let event = serde_json::from_slice(&read("event/seed-01")).expect("JSON");
    let now = cloudsnooze::event::Moment { boot_ns: 0, wall_ns: 0 };
    assert!(cloudsnooze::event::Event::from_json(&event, now).is_some());
    assert!(cloudsnooze::config::Config::from_text(Path::new("x"), &read("config/seed-01")).is_ok());
}
