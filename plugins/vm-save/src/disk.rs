//! How fast a disk is, and how much room it has.
//!
//! Inputs: directories. Outputs: bytes a second that reach the disk, as measured by writing a file without a name and waiting
//! for it, or by the last save. Must never leave a file behind, nor write longer than it was told to.

use rustix::fs::statvfs;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Written and waited for at a time.
const PIECE_BYTES: usize = 4 << 20;
/// Fewer bytes measure a cache rather than a disk.
const LEARN_BYTES: u64 = 32 << 20;
/// Bytes a second where nothing could be measured: a plain network disk's.
pub(crate) const ASSUMED: u64 = 100_000_000;

/// How fast, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed {
    pub(crate) bytes_a_second: u64,
    /// `configured`, `probe`, `save` or `assumed`.
    pub(crate) from: &'static str,
}

/// What is known of the disks, by device.
#[derive(Debug, Default)]
pub(crate) struct Disks {
    known: Mutex<BTreeMap<u64, Speed>>,
}

impl Disks {
    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, Speed>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn speed(&self, device: Option<u64>) -> Option<Speed> {
        self.known().get(&device?).copied()
    }

    /// Measures the disk below a directory, unless `is_wanted` elsewhere meanwhile.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(crate) fn measure(
        &self,
        directory: &Path,
        bytes: u64,
        limit: Duration,
        is_wanted: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let device = device(directory);
        if let (Some(bytes_a_second), Some(device)) = (probe(directory, bytes, limit, is_wanted)?, device) {
            self.known().insert(device, Speed { bytes_a_second, from: "probe" });
        }
        Ok(())
    }

    /// What a save has shown is worth more than a probe.
    pub(crate) fn learn(&self, device: Option<u64>, bytes: u64, took: Duration) {
        if let (Some(device), true) = (device, bytes >= LEARN_BYTES) {
            self.known().insert(device, Speed { bytes_a_second: rate(bytes, took), from: "save" });
        }
    }
}

/// Bytes a second, at least 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rate")]
fn rate(bytes: u64, took: Duration) -> u64 {
    ((bytes as f64 / took.as_secs_f64().max(1e-6)) as u64).max(1)
}

/// The device that a directory lies on.
pub(crate) fn device(directory: &Path) -> Option<u64> {
    fs::metadata(directory).ok().map(|metadata| metadata.dev())
}

/// Bytes that a user may still write below a directory.
pub(crate) fn room(directory: &Path) -> Option<u64> {
    let stat = statvfs(directory).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// None when it was broken off before anything was known.
fn probe(directory: &Path, bytes: u64, limit: Duration, is_wanted: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
    // What a probe takes must not be missing for what it is about.
    let bytes = bytes.min(room(directory).unwrap_or(u64::MAX) / 8);
    let mut file = nameless(directory)?;
    let piece = noise();
    let (begun, mut written) = (Instant::now(), 0);
    while written < bytes && begun.elapsed() < limit {
        if is_wanted() {
            return Ok(None);
        }
        file.write_all(&piece)?;
        file.sync_data()?;
        written += piece.len() as u64;
    }
    Ok((written > 0).then(|| rate(written, begun.elapsed())))
}

/// A file that is gone with its descriptor, whatever becomes of this process.
fn nameless(directory: &Path) -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!(".cloudsnooze-probe-{}-{number}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Bytes that no file system makes smaller.
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    while bytes.len() < PIECE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_disk_is_measured_nothing_is_left_and_a_save_knows_better() {
        let dir = tempfile::tempdir().unwrap();
        let (disks, device) = (Disks::default(), device(dir.path()));
        assert_eq!(disks.speed(device), None);
        disks.measure(dir.path(), 8 << 20, LIMIT, &|| false).unwrap();
        let speed = disks.speed(device).unwrap();
        assert!(speed.bytes_a_second > 10_000 && speed.from == "probe", "{speed:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        disks.learn(device, 1000, Duration::from_secs(1));
        assert_eq!(disks.speed(device), Some(speed), "too little to know better");
        disks.learn(device, 1 << 30, Duration::from_secs(2));
        assert_eq!(disks.speed(device), Some(Speed { bytes_a_second: 1 << 29, from: "save" }));
    }

    #[test]
    fn a_probe_gives_way_and_a_directory_that_is_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let disks = Disks::default();
        disks.measure(dir.path(), 64 << 20, LIMIT, &|| true).unwrap();
        assert_eq!(disks.speed(device(dir.path())), None);
        assert!(disks.measure(&dir.path().join("none"), 1, LIMIT, &|| false).is_err());
        assert!(room(dir.path()).unwrap() > 0);
        assert_eq!((room(&dir.path().join("none")), device(&dir.path().join("none"))), (None, None));
    }
}
