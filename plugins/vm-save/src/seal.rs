//! Has a file that grows written to the disk behind its writer.
//!
//! A thread asks for it again and again, so that little is left to wait for at the end, and so that it is known all the time
//! how much really is on the disk. Inputs: an open file. Outputs: bytes on the disk, and the last word. Must never keep its
//! owner waiting for a disk that is stuck: who abandons it goes on, and the thread is joined when the instance ends.

use crate::clock::Clock;
use cloudsnooze_plugin::{Code, Error};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(50);

const GO_ON: u8 = 0;
const FINISH: u8 = 1;
const ABANDON: u8 = 2;

/// The threads that may still be at it.
#[derive(Default)]
pub(crate) struct Sealer {
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    wish: AtomicU8,
    bytes: AtomicU64,
    /// Milliseconds since the beginning, when that was so.
    at: AtomicU64,
}

/// One file that is followed. Dropping it abandons it.
pub(crate) struct Sealing {
    shared: Arc<Shared>,
    last_word: Receiver<io::Result<()>>,
}

impl Sealer {
    /// Follows a file.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn follow(&self, file: File) -> io::Result<Sealing> {
        let (shared, (sender, last_word)) = (Arc::<Shared>::default(), channel());
        let theirs = Arc::clone(&shared);
        let thread = Builder::new().name("vm-sync".to_owned()).spawn(move || {
            if let Some(last) = theirs.run(&file) {
                // Nobody may be waiting for it any more.
                let _sent = sender.send(last);
            }
        })?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(Sealing { shared, last_word })
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

impl Shared {
    /// None when it was abandoned.
    fn run(&self, file: &File) -> Option<io::Result<()>> {
        let begun = Instant::now();
        loop {
            match self.wish.load(Ordering::Acquire) {
                GO_ON => {}
                FINISH => return Some(file.sync_all()),
                _ => return None,
            }
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            if length > self.bytes.load(Ordering::Acquire) {
                if let Err(error) = file.sync_data() {
                    return Some(Err(error));
                }
                let at = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.at.store(at, Ordering::Release);
                self.bytes.store(length, Ordering::Release);
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Sealing {
    /// Bytes that are on the disk, and how long after the beginning they were.
    pub(crate) fn synced(&self) -> (u64, Duration) {
        let bytes = self.shared.bytes.load(Ordering::Acquire);
        (bytes, Duration::from_millis(self.shared.at.load(Ordering::Acquire)))
    }

    /// Waits until everything is on the disk: its writer has ended.
    ///
    /// # Errors
    /// The disk refused, or the time is over.
    pub(crate) fn finish(&self, clock: &Clock) -> Result<(), Error> {
        self.shared.wish.store(FINISH, Ordering::Release);
        loop {
            match self.last_word.recv_timeout(crate::clock::SLICE) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => return Err(Error::from(error).code(Code::Io).context("fsync")),
                Err(RecvTimeoutError::Timeout) => clock.go_on("the disk to have everything")?,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::new("fsync: its thread ended")),
            }
        }
    }
}

impl Drop for Sealing {
    fn drop(&mut self) {
        // After the last word it makes no difference.
        self.shared.wish.store(ABANDON, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_written_gets_to_the_disk_behind_the_writer_and_at_the_end_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("a")).unwrap();
        let sealer = Sealer::default();
        let sealing = sealer.follow(file.try_clone().unwrap()).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        let clock = Clock::apart(Duration::from_secs(30));
        while sealing.synced().0 < 100_000 {
            clock.go_on("the first bytes").unwrap();
            clock.pause();
        }
        file.write_all(&[7; 100_000]).unwrap();
        sealing.finish(&clock).unwrap();
        drop(sealing);
        drop(sealer.follow(file).unwrap());
        sealer.join();
    }
}
