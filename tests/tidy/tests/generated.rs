//! Generated files are committed and equal to fresh ones.

use std::path::Path;

#[test]
fn generated_files_equal_fresh_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stale = xtask::stale(&root).unwrap();
    assert!(stale.is_empty(), "run `make generate` and commit: {}", stale.join(", "));
}

#[test]
fn a_file_that_drifted_or_is_missing_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let fresh = [("a.txt".to_owned(), "new".to_owned()), ("b.txt".to_owned(), "same".to_owned())];
    std::fs::write(empty.path().join("b.txt"), "same").unwrap();
    assert_eq!(xtask::differing(empty.path(), &fresh.clone().into()), ["a.txt"]);
    std::fs::write(empty.path().join("a.txt"), "old").unwrap();
    assert_eq!(xtask::differing(empty.path(), &fresh.into()), ["a.txt"]);
}
