//! Where the built programs and plugins are.
//!
//! Responsibilities: find the directory that cargo (or a package) put the programs into. Inputs: `CLOUDSNOOZE_BIN_DIR`, the
//! path of the running test or demo. Outputs: paths of files that exist. It must never build anything.

use std::path::{Path, PathBuf};

/// Set to a directory, this environment variable says where the programs are: an installation, a package under test.
pub const BIN_DIR: &str = "CLOUDSNOOZE_BIN_DIR";

/// The directory that holds `snoozed` and `snooze`; the plugins' libraries lie there too, as `lib*.so`.
///
/// # Errors
/// A text that says where it looked and how to build the programs.
pub fn bin_dir() -> Result<PathBuf, String> {
    let given = std::env::var_os(BIN_DIR).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = match given {
        Some(directory) => directory,
        None => {
            let this =
                std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
            directory_of_builds(&this).ok_or_else(|| format!("{} lies in no directory", this.display()))?
        }
    };
    for name in ["snoozed", "snooze"] {
        program(&directory, name)?;
    }
    Ok(directory)
}

/// `target/PROFILE` for `target/PROFILE/deps/NAME-HASH` (a test), `target/PROFILE/examples/NAME` and
/// `target/PROFILE/NAME` (a program).
fn directory_of_builds(this: &Path) -> Option<PathBuf> {
    let directory = this.parent()?;
    let is_inner = directory.file_name().is_some_and(|name| name == "deps" || name == "examples");
    if is_inner { directory.parent().map(Path::to_owned) } else { Some(directory.to_owned()) }
}

/// The program `name` in `directory`.
///
/// # Errors
/// A text that says how to build it, when it is not there.
pub fn program(directory: &Path, name: &str) -> Result<PathBuf, String> {
    existing(directory, name)
}

/// The library of the plugin `name` (`mysql-flusher`) as cargo builds it: `libmysql_flusher.so` in `directory`.
///
/// # Errors
/// A text that says how to build it, when it is not there.
pub fn plugin(directory: &Path, name: &str) -> Result<PathBuf, String> {
    existing(directory, &format!("lib{}.so", name.replace('-', "_")))
}

fn existing(directory: &Path, file: &str) -> Result<PathBuf, String> {
    let path = directory.join(file);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!(
        "there is no {}: run `make build` or `cargo build --workspace` first, or set {BIN_DIR} to where it is",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_found_from_a_test_an_example_and_a_program() {
        for this in ["/t/debug/deps/notice-0123", "/t/debug/examples/watch", "/t/debug/snooze-demo"] {
            assert_eq!(directory_of_builds(Path::new(this)), Some(PathBuf::from("/t/debug")), "{this}");
        }
    }

    #[test]
    fn a_missing_program_is_told_with_the_command_that_builds_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = program(directory.path(), "snoozed").expect_err("nothing is there");
        assert!(error.contains("snoozed: run `make build`"), "{error}");
    }

    #[test]
    fn a_plugins_library_has_cargos_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("libmysql_flusher.so");
        std::fs::write(&file, "").expect("written");
        assert_eq!(plugin(directory.path(), "mysql-flusher"), Ok(file));
    }
}
