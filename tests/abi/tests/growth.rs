//! The golden surfaces, one a minor version, follow each other by the growth rule.

use abi_tests::repository;
use cloudsnooze_abi::growth::{Growth, compare};
use cloudsnooze_abi::{DIGEST_OF_MINOR, SNOOZE_ABI_DIGEST, SNOOZE_ABI_MAJOR, SNOOZE_ABI_MINOR, surface};
use std::collections::BTreeMap;

/// Every golden surface by its minor version.
fn golden() -> BTreeMap<u16, String> {
    let folder = repository().join("abi/surface");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let minor = name.strip_prefix(&format!("{SNOOZE_ABI_MAJOR}.")).and_then(|rest| rest.strip_suffix(".txt"));
            (
                minor.and_then(|minor| minor.parse().ok()).unwrap_or_else(|| panic!("{name} is no golden surface")),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

/// What is wrong with a row of surfaces.
fn wrong(golden: &BTreeMap<u16, String>, newest: u16) -> Vec<String> {
    let mut wrong = Vec::new();
    if !golden.keys().copied().eq(0..=newest) {
        wrong.push(format!("1.0 to 1.{newest} are wanted, there are {:?}", golden.keys()));
    }
    for ((minor, old), new) in golden.iter().zip(golden.values().skip(1)) {
        match compare(old, new) {
            Growth::Grew => {}
            Growth::Same => wrong.push(format!("1.{} is 1.{minor} again", minor + 1)),
            Growth::Broke(why) => wrong.push(format!("1.{} breaks 1.{minor}: {why}", minor + 1)),
        }
    }
    wrong
}

#[test]
fn every_minor_version_has_a_surface_that_only_adds_to_the_one_before() {
    let golden = golden();
    assert_eq!(wrong(&golden, SNOOZE_ABI_MINOR), Vec::<String>::new());
    assert_eq!(golden[&SNOOZE_ABI_MINOR], surface::surface(), "the types are not what the golden surface says");
}

#[test]
fn a_row_with_a_gap_a_repetition_or_a_break_is_found() {
    let first = golden()[&0].clone();
    let second = first
        .replace("snooze_call 56:8", "snooze_call 64:8")
        .replace("snooze_log_record 40:8", "snooze_call.more @56 8:8 u64\nsnooze_log_record 40:8");
    let row = |texts: &[&String]| (0..).zip(texts.iter().map(ToString::to_string)).collect::<BTreeMap<u16, String>>();
    assert_eq!(wrong(&row(&[&first, &second]), 1), Vec::<String>::new());
    assert_eq!(wrong(&row(&[&first, &first]), 1), ["1.1 is 1.0 again"]);
    assert_eq!(wrong(&row(&[&second, &first]), 1), ["1.1 breaks 1.0: snooze_call.more is gone"]);
    assert_eq!(wrong(&row(&[&first]), 1).len(), 1, "1.1 is missing");
}

#[test]
fn the_digests_are_those_of_the_golden_surfaces() {
    let digests: Vec<u64> = golden().values().map(|text| surface::digest(text)).collect();
    assert_eq!((&digests[..], digests.last()), (DIGEST_OF_MINOR, Some(&SNOOZE_ABI_DIGEST)));
}
