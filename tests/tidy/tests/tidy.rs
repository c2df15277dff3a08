//! Holds the whole repository to its style guide: every rule, every file, all violations in one report.

use std::path::{Path, PathBuf};

use tidy::tree::Tree;

/// The top of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_repository_keeps_its_style_guide() {
    let tree = Tree::load(&root()).unwrap();
    // A walk that missed the repository would find nothing wrong with it.
    for path in ["Cargo.toml", "tests/tidy/tests/tidy.rs"] {
        assert!(tree.sources.iter().any(|source| source.path == path), "the walk didn't see {path}");
    }
    let violations = tidy::check(&tree);
    assert!(violations.is_empty(), "\n{}", tidy::report(&violations));
}
