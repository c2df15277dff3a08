//! The files that a process writes because of the signal.
//!
//! Inputs: a pattern, the directory before the signal. Outputs: files that are new, large enough and no longer change.
//! Must never take a file for new that was there before, whatever its name or time says.

use crate::config::NewFile;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The kernel stamps files with the time of its last tick, which is up to 10 ms old.
const TICK: Duration = Duration::from_millis(20);

/// Everything by which a file that was changed differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(crate) bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Stamp {
    /// That of a plain file; None for anything else.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        })
    }

    fn modified(&self) -> SystemTime {
        let since = u64::try_from(self.modified_s).unwrap_or(0);
        UNIX_EPOCH + Duration::new(since, u32::try_from(self.modified_ns).unwrap_or(0))
    }
}

/// Files by their paths.
pub(crate) type Files = BTreeMap<PathBuf, Stamp>;

/// Waits for files.
pub(crate) struct FileWatch<'a> {
    wanted: &'a NewFile,
    before: Files,
    /// Files older than this are not of the signal, although they may have been moved here after it.
    since: SystemTime,
    latest: Files,
    unchanged_since: Instant,
}

impl<'a> FileWatch<'a> {
    /// Looks at what is there before the signal.
    pub(crate) fn begin(wanted: &'a NewFile) -> Self {
        let since = SystemTime::now() - TICK;
        Self { wanted, before: listed(wanted), since, latest: Files::new(), unchanged_since: Instant::now() }
    }

    /// The new files, once there are enough of them and none has changed for long enough.
    pub(crate) fn look(&mut self) -> Option<Files> {
        let mut now = listed(self.wanted);
        now.retain(|path, stamp| self.before.get(path) != Some(stamp) && stamp.modified() >= self.since);
        if now != self.latest {
            (self.latest, self.unchanged_since) = (now, Instant::now());
        }
        let is_enough = self.latest.values().filter(|stamp| stamp.bytes >= self.wanted.min_bytes).count();
        let is_whole = is_enough == self.latest.len() && is_enough >= self.wanted.count;
        let is_stable = self.unchanged_since.elapsed() >= Duration::from_millis(self.wanted.stable_ms);
        (is_whole && is_stable).then(|| self.latest.clone())
    }

    /// Whether what has been seen can become enough without anybody writing any more.
    pub(crate) fn is_promising(&self) -> bool {
        let whole = self.latest.values().filter(|stamp| stamp.bytes >= self.wanted.min_bytes).count();
        whole == self.latest.len() && whole >= self.wanted.count
    }

    /// What is waited for, and how much of it there is.
    pub(crate) fn waiting_for(&self) -> String {
        let Self { wanted: NewFile { path, count, min_bytes, .. }, latest, .. } = self;
        let seen: u64 = latest.values().map(|stamp| stamp.bytes).sum();
        let what = if *count == 1 { "a new file".to_owned() } else { format!("{count} new files") };
        let size = if *min_bytes > 1 { format!(" of at least {min_bytes} bytes") } else { String::new() };
        let there = match latest.len() {
            0 => "there is none".to_owned(),
            files => format!("{files} of {seen} bytes, not complete"),
        };
        format!("{what} {path}{size} ({there})")
    }
}

fn listed(wanted: &NewFile) -> Files {
    // The pattern was checked when the configuration was; folders that cannot be read hold nothing for us.
    let paths = glob::glob(&wanted.path).into_iter().flatten().flatten();
    paths.filter_map(|path| Stamp::of(&path).map(|stamp| (path, stamp))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, write};

    fn wanted(dir: &Path, stable_ms: u64) -> NewFile {
        let path = dir.join("*.ckpt").to_string_lossy().into_owned();
        NewFile { path, count: 1, min_bytes: 1, stable_ms, sync: false, sha256: false }
    }

    #[test]
    fn files_that_were_there_before_are_never_new_unless_they_change() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("old.ckpt"), "old").unwrap();
        let wanted = wanted(dir.path(), 0);
        let mut watch = FileWatch::begin(&wanted);
        assert_eq!(watch.look(), None);
        assert!(watch.waiting_for().ends_with("(there is none)"), "{}", watch.waiting_for());
        write(dir.path().join("old.ckpt"), "changed").unwrap();
        assert_eq!(watch.look().unwrap().len(), 1);
    }

    #[test]
    fn an_old_file_that_is_moved_in_is_not_new() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("elsewhere"), "old").unwrap();
        let file = File::open(dir.path().join("elsewhere")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(5)).unwrap();
        let wanted = wanted(dir.path(), 0);
        let mut watch = FileWatch::begin(&wanted);
        fs::rename(dir.path().join("elsewhere"), dir.path().join("a.ckpt")).unwrap();
        assert_eq!(watch.look(), None);
    }

    #[test]
    fn empty_small_and_changing_files_are_not_complete() {
        let dir = tempfile::tempdir().unwrap();
        let mut wanted = wanted(dir.path(), 0);
        let file = dir.path().join("a.ckpt");
        let mut watch = FileWatch::begin(&wanted);
        write(&file, "").unwrap();
        assert!(watch.look().is_none() && !watch.is_promising());
        write(&file, "1").unwrap();
        assert!(watch.look().is_some());
        wanted.min_bytes = 5;
        let mut watch = FileWatch::begin(&wanted);
        write(&file, "1234").unwrap();
        assert!(watch.look().is_none() && !watch.is_promising());
        (wanted.min_bytes, wanted.stable_ms) = (1, 60_000);
        let mut watch = FileWatch::begin(&wanted);
        write(&file, "123456").unwrap();
        assert!(watch.look().is_none() && watch.is_promising(), "it may still change");
        wanted.stable_ms = 0;
        wanted.count = 2;
        let mut watch = FileWatch::begin(&wanted);
        write(&file, "7").unwrap();
        assert!(watch.look().is_none() && !watch.is_promising(), "the other shard is missing");
        write(dir.path().join("b.ckpt"), "8").unwrap();
        assert_eq!(watch.look().unwrap().len(), 2);
    }
}
