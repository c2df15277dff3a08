//! The copy of a database.
//!
//! Inputs: a database, a directory, how long there is. Outputs: [`Copied`], or why it was not begun. SQLite's online backup
//! copies one state of it while the application goes on; the copy takes its name only when it is complete and on the disk.
//! Must never begin what cannot fit, nor touch the copy that was there before the new one is.

use crate::attend::Clock;
use crate::flush::open;
use cloudsnooze_plugin::serde_json::{Value, json};
use nix::sys::statvfs::statvfs;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are copied between two looks at the clock.
const PIECE_BYTES: u64 = 1 << 20;
/// Bytes that are written to see how fast the target is, at most.
const PROBE_BYTES: u64 = 4 << 20;
/// A copy may take this part of the time left: what was measured is not a promise.
const SHARE: f64 = 0.8;
/// Pause while the application has the database locked.
const PAUSE: Duration = Duration::from_millis(10);

/// A copy that is complete and on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Device and inode, by which it is known again.
    pub(crate) identity: (u64, u64),
    expected: Duration,
    took: Duration,
}

/// Why there is no new copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoCopy {
    /// It was not begun, for it would not fit.
    Refused(String),
    /// It was given up, for the time was over.
    Late(String),
    Failed(String),
}

impl Copied {
    pub(crate) fn report(&self) -> Value {
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        json!({
            "path": self.path.to_string_lossy(), "bytes": self.bytes, "expected_seconds": seconds(self.expected),
            "seconds": seconds(self.took),
        })
    }
}

/// Where the copy of a database belongs.
pub(crate) fn target(directory: &Path, database: &Path) -> PathBuf {
    directory.join(database.strip_prefix("/").unwrap_or(database))
}

/// Copies it.
///
/// # Errors
/// Why not; the copy that was there before is still there.
pub(crate) fn copy(database: &Path, bytes: u64, directory: &Path, clock: &Clock) -> Result<Copied, NoCopy> {
    let begun = Instant::now();
    let path = target(directory, database);
    let failed = |doing: &str, error: &dyn std::fmt::Display| NoCopy::Failed(format!("{doing}: {error}"));
    let folder = path.parent().unwrap_or(directory);
    // What is in the databases is nobody else's business.
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| failed("make its directory", &e))?;
    let expected = must_fit(folder, bytes, clock)?;
    let partial = partial(&path);
    let copied = write(database, &partial, clock)
        .and_then(|()| seal(database, &partial, &path).map_err(|e| failed("bring it to the disk", &e)));
    if let Err(no) = copied {
        // Gone already, or it will be replaced by the next one.
        let _removed = fs::remove_file(&partial);
        return Err(no);
    }
    let file = fs::metadata(&path).map_err(|e| failed("look at it", &e))?;
    let identity = (file.dev(), file.ino());
    Ok(Copied { path, bytes: file.len(), identity, expected, took: begun.elapsed() })
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// How long it may take, by a probe.
fn must_fit(folder: &Path, bytes: u64, clock: &Clock) -> Result<Duration, NoCopy> {
    let room = statvfs(folder).map(|fs| fs.blocks_available().saturating_mul(fs.fragment_size()));
    let room = room.map_err(|e| NoCopy::Failed(format!("{}: {e}", folder.display())))?;
    if room < bytes {
        return Err(NoCopy::Refused(format!("it needs {bytes} bytes, and {room} are free")));
    }
    if clock.is_over() {
        return Err(NoCopy::Refused("no time is left for it".to_owned()));
    }
    let size = bytes.clamp(1, PROBE_BYTES);
    let took = probe(folder, size, clock).map_err(|e| NoCopy::Failed(format!("{}: {e}", folder.display())))?;
    let expected = expected(bytes, size, took);
    let left = clock.left();
    if expected > left.mul_f64(SHARE) {
        let (expected, left) = (expected.as_secs_f64(), left.as_secs_f64());
        return Err(NoCopy::Refused(format!("it may take {expected:.1} s, and {left:.1} s are left")));
    }
    Ok(expected)
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn expected(bytes: u64, size: u64, took: Duration) -> Duration {
    Duration::try_from_secs_f64(took.as_secs_f64() * bytes as f64 / size as f64).unwrap_or(Duration::MAX)
}

/// How long the target takes for some bytes. One that is so slow that the time runs out meanwhile is not waited for.
fn probe(folder: &Path, size: u64, clock: &Clock) -> io::Result<Duration> {
    let path = folder.join(".cloudsnooze-probe.partial");
    let begun = Instant::now();
    let written = (|| {
        let mut file = fresh(&path)?;
        let piece = vec![0x5A; 64 << 10];
        let mut left = size;
        while left > 0 && !clock.is_over() {
            let now = piece.get(..usize::try_from(left).unwrap_or(usize::MAX).min(piece.len())).unwrap_or_default();
            file.write_all(now)?;
            left = left.saturating_sub(now.len() as u64);
        }
        file.sync_all()
    })();
    let took = begun.elapsed();
    let removed = fs::remove_file(&path);
    written.and(removed).map(|()| took)
}

/// A new file that nobody else can read. What was left of an earlier attempt, or put there by somebody else, is not followed.
fn fresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Copies page by page, all of one state.
fn write(database: &Path, partial: &Path, clock: &Clock) -> Result<(), NoCopy> {
    let failed = |error: rusqlite::Error| NoCopy::Failed(error.to_string());
    let late = || NoCopy::Late("it was not done in its time".to_owned());
    fresh(partial).map_err(|error| NoCopy::Failed(format!("{}: {error}", partial.display())))?;
    let source = open(database).map_err(failed)?;
    let mut copy = open(partial).map_err(failed)?;
    // Until it has its name it is worth nothing: what would protect it half done only costs time.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(failed)?;
    // A transaction that reads: otherwise the copy would begin anew with each commit of the application.
    source.execute_batch("BEGIN").map_err(failed)?;
    let page_size: u32 = source.query_row("PRAGMA page_size", [], |row| row.get(0)).map_err(failed)?;
    while let Err(error) = source.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)) {
        let is_busy = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy);
        if !is_busy || clock.is_over() {
            return Err(if is_busy { late() } else { failed(error) });
        }
    }
    let pages = i32::try_from(PIECE_BYTES / u64::from(page_size.max(512))).unwrap_or(1).max(1);
    let backup = Backup::new(&source, &mut copy).map_err(failed)?;
    loop {
        match backup.step(pages).map_err(failed)? {
            StepResult::Done => break,
            _ if clock.is_over() => return Err(late()),
            StepResult::More => {}
            _ => thread::sleep(PAUSE),
        }
    }
    drop(backup);
    copy.close().map_err(|(_, error)| failed(error))
}

/// Gives it the database's rights and its name, all on the disk.
fn seal(database: &Path, partial: &Path, path: &Path) -> io::Result<()> {
    let file = File::open(partial)?;
    let original = fs::metadata(database)?;
    // Only root can; otherwise it is this process's own user's.
    let _given = std::os::unix::fs::fchown(&file, Some(original.uid()), Some(original.gid()));
    file.set_permissions(fs::Permissions::from_mode(original.mode() & 0o777))?;
    file.sync_all()?;
    fs::rename(partial, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Whether a copy is still the one that was made.
pub(crate) fn is_still_there(copied: &Copied) -> bool {
    fs::metadata(&copied.path)
        .is_ok_and(|file| (file.dev(), file.ino()) == copied.identity && file.len() == copied.bytes)
}

/// Opens a copy without leaving anything beside it.
pub(crate) fn open_alone(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    use rusqlite::OpenFlags;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_lies_below_the_directory_as_the_database_below_the_root() {
        let path = target(Path::new("/mnt/copies"), Path::new("/srv/app/a.db"));
        assert_eq!(path, Path::new("/mnt/copies/srv/app/a.db"));
        assert_eq!(partial(&path), Path::new("/mnt/copies/srv/app/a.db.partial"));
    }

    #[test]
    fn the_time_is_worked_out_from_the_probe() {
        let second = Duration::from_secs(1);
        assert_eq!(expected(40 << 20, 4 << 20, second), 10 * second);
        assert_eq!(expected(0, 1, second), Duration::ZERO);
        assert_eq!(expected(u64::MAX, 1, Duration::MAX), Duration::MAX);
    }

    #[test]
    fn what_cannot_fit_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::new(Instant::now() + Duration::from_secs(60));
        assert!(must_fit(dir.path(), 1 << 20, &clock).is_ok());
        let Err(NoCopy::Refused(text)) = must_fit(dir.path(), u64::MAX, &clock) else { panic!("it was begun") };
        assert!(text.ends_with("are free"), "{text}");
        // As much as is certainly free, and no disk writes so fast.
        let clock = Clock::new(Instant::now() + Duration::from_millis(200));
        let refused = must_fit(dir.path(), 4 << 30, &clock);
        assert!(matches!(&refused, Err(NoCopy::Refused(text)) if text.contains("it may take")), "{refused:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
