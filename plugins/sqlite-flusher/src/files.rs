//! Sizes of a database's files, and their way to the disk.
//!
//! Inputs: the path of a database. Outputs: bytes; whether they are on the disk. Must never open a database's file in this
//! process but by way of SQLite: POSIX gives all of a process's locks on a file back when any descriptor of it is closed, and
//! with its locks a database loses its safety. So `sync` of coreutils, a process of its own, does the fsync.

use cloudsnooze_plugin_commands::{Cut, Ended, Order, Stragglers, bare_environment, run};
use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of the program's words that are kept.
const OUTPUT_BYTES: usize = 400;

/// A file that SQLite puts beside a database.
pub(crate) fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(end);
    PathBuf::from(name)
}

/// Bytes of the write-ahead log; 0 when there is none.
pub(crate) fn wal_bytes(database: &Path) -> u64 {
    fs::metadata(beside(database, "-wal")).map_or(0, |file| file.len())
}

/// Whether this process has it open.
pub(crate) fn is_open_here(database: &Path) -> bool {
    let Ok(wanted) = fs::metadata(database) else { return false };
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let mut open = entries.filter_map(|entry| fs::metadata(entry.path()).ok());
    open.any(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino()))
}

/// Has the database, its log or journal, and their names written to the disk.
///
/// # Errors
/// What was not, and why. After that nothing is known.
pub(crate) fn sync(database: &Path, limit: Duration, stragglers: &Stragglers) -> Result<(), String> {
    // The log first: a database that has more of it than the log on the disk says could not be put right.
    let mut paths = vec![beside(database, "-wal"), database.to_owned(), beside(database, "-journal")];
    paths.retain(|path| path == database || path.exists());
    paths.extend(database.parent().map(Path::to_owned));
    let mut words = vec![c"sync".to_owned(), c"--".to_owned()];
    // A path that exists holds no zero byte.
    words.extend(paths.iter().map(|path| CString::new(path.as_os_str().as_bytes()).unwrap_or_default()));
    let order = Order {
        words,
        env: bare_environment(),
        directory: PathBuf::from("/"),
        input: Vec::new(),
        term_at: Instant::now() + limit,
        grace: Duration::ZERO,
        output_bytes: OUTPUT_BYTES,
        stop: Arc::default(),
    };
    let ran = run(&order).map_err(|error| format!("sync {error}"))?;
    stragglers.note(&ran);
    match (ran.ended, ran.cut) {
        (Ended::Exited(0), _) => Ok(()),
        (Ended::Stuck, _) | (_, Some(Cut::Time | Cut::Cancelled)) => {
            Err(format!("fsync had not come back after {:.1} s", ran.took.as_secs_f64()))
        }
        (Ended::Exited(code), None) => {
            let said = ran.stderr.last_line();
            Err(if said.is_empty() { format!("sync: exit code {code}") } else { said })
        }
        (Ended::Killed(signal), None) => Err(format!("sync: killed by {signal}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_this_process_has_open_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        fs::write(&path, "x").unwrap();
        assert!(!is_open_here(&path));
        let file = fs::File::open(&path).unwrap();
        assert!(is_open_here(&path));
        drop(file);
        assert!(!is_open_here(&dir.path().join("none")));
    }

    #[test]
    fn files_are_synced_with_their_log_and_a_missing_one_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        fs::write(&path, "x").unwrap();
        fs::write(beside(&path, "-wal"), "four").unwrap();
        assert_eq!(wal_bytes(&path), 4);
        let limit = Duration::from_secs(60);
        assert_eq!(sync(&path, limit, &Stragglers::default()), Ok(()));
        let error = sync(&dir.path().join("none"), limit, &Stragglers::default()).unwrap_err();
        assert!(error.contains("none"), "{error}");
    }
}
