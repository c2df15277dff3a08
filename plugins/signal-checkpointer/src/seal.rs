//! Has files written to the disk, and takes their SHA-256.
//!
//! Inputs: paths. Outputs: for each, what was achieved in the time there was. A disk can hold a thread for as long as it
//! likes, so the work is done on one that nobody waits for beyond the time; [`Sealer::join`] does, when the instance is put
//! away. Must never call a file durable whose fsync has not come back.

use crate::clock::{Clock, SLICE};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Bytes hashed between two looks at the flag.
const PIECE_BYTES: usize = 1 << 20;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) sync: bool,
    pub(crate) sha256: bool,
}

/// What became of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// None: not asked for, not done in time, or not to be known.
    pub(crate) synced: Option<bool>,
    pub(crate) sha256: Option<String>,
    /// What did not work.
    pub(crate) trouble: Option<String>,
}

/// The threads that may still be at it.
#[derive(Default)]
pub(crate) struct Sealer {
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Sealer {
    /// Does it; one entry for each path. What was not done in time says so.
    pub(crate) fn seal(&self, paths: Vec<PathBuf>, wish: Wish, clock: &Clock) -> Vec<Sealed> {
        if wish == (Wish { sync: false, sha256: false }) {
            return vec![Sealed::default(); paths.len()];
        }
        let late = Sealed { trouble: Some("not done in time".to_owned()), ..Sealed::default() };
        let mut all = vec![late; paths.len()];
        let (stop, (sender, receiver)) = (Arc::new(AtomicBool::new(false)), channel());
        let flag = Arc::clone(&stop);
        let spawned = Builder::new().name("signal-seal".to_owned()).spawn(move || {
            for (at, path) in paths.iter().enumerate() {
                // Nobody listens any more: the time is over.
                if sender.send((at, seal(path, wish, &flag))).is_err() {
                    break;
                }
            }
        });
        let Ok(thread) = spawned else {
            return all;
        };
        loop {
            match receiver.recv_timeout(SLICE) {
                Ok((at, sealed)) => {
                    if let Some(place) = all.get_mut(at) {
                        *place = sealed;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if clock.is_cancelled() || clock.left().is_zero() => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        stop.store(true, Ordering::Release);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        all
    }

    /// Waits for those that are still at it.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // It cannot have panicked in a way that the panic hook has not told.
            let _ended = thread.join();
        }
    }
}

fn seal(path: &Path, wish: Wish, stop: &AtomicBool) -> Sealed {
    let mut sealed = Sealed::default();
    if wish.sync {
        (sealed.synced, sealed.trouble) = sync(path);
    }
    if wish.sha256 {
        match sha256(path, stop) {
            Ok(Some(hash)) => sealed.sha256 = Some(hash),
            Ok(None) => sealed.trouble = Some("SHA-256 not done in time".to_owned()),
            Err(error) => sealed.trouble = Some(format!("SHA-256: {error}")),
        }
    }
    sealed
}

/// The file's bytes, and its name in its folder. What cannot be asked is not known; what is refused is a failure.
fn sync(path: &Path) -> (Option<bool>, Option<String>) {
    for what in [Some(path), path.parent()].into_iter().flatten() {
        let file = match File::open(what) {
            Ok(file) => file,
            Err(error) => return (None, Some(format!("open {} for fsync: {error}", what.display()))),
        };
        match file.sync_all() {
            Ok(()) => {}
            // File systems that have no such thing.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                return (None, Some(format!("fsync {}: {error}", what.display())));
            }
            Err(error) => return (Some(false), Some(format!("fsync {}: {error}", what.display()))),
        }
    }
    (Some(true), None)
}

/// None when it was stopped.
fn sha256(path: &Path, stop: &AtomicBool) -> io::Result<Option<String>> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        if stop.load(Ordering::Acquire) {
            return Ok(None);
        }
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        hash.update(piece.get(..count).unwrap_or_default());
    }
    Ok(Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_file_is_synced_and_hashed_and_a_missing_one_says_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "abc").unwrap();
        let sealer = Sealer::default();
        let clock = Clock::new(Duration::from_secs(60), Arc::default());
        let paths = vec![dir.path().join("a"), dir.path().join("b")];
        let sealed = sealer.seal(paths.clone(), Wish { sync: true, sha256: true }, &clock);
        assert_eq!(sealed[0].synced, Some(true));
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sealed[0].sha256.as_deref(), Some(known));
        assert_eq!((sealed[1].synced, sealed[1].sha256.as_ref()), (None, None));
        assert!(sealed[1].trouble.is_some());
        let nothing = sealer.seal(paths, Wish { sync: false, sha256: false }, &clock);
        assert_eq!(nothing, [Sealed::default(), Sealed::default()]);
        sealer.join();
    }

    #[test]
    fn what_takes_too_long_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        // Nobody writes into it, so opening it does not come back.
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let sealer = Sealer::default();
        let clock = Clock::new(Duration::from_millis(50), Arc::default());
        let sealed = sealer.seal(vec![pipe.clone()], Wish { sync: true, sha256: false }, &clock);
        assert_eq!((sealed[0].synced, sealed[0].trouble.as_deref()), (None, Some("not done in time")));
        drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        sealer.join();
    }
}
