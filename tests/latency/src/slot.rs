//! Slots: where handlers leave the time of their first instruction (`handler/slot.h` is the same in C).
//!
//! Inputs: a number of slots. Outputs: shared memory that a plugin, in whatever process, can map by a path, and the waiting
//! for a handler's end.
//! Must never wait with a time limit: that would start a timer between publishing and the handler's start.
#![allow(unsafe_code)]

use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use tempfile::TempPath;

/// One handler's place. The layout of `struct latency_slot`.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Slot {
    started_ns: AtomicI64,
    done: AtomicU32,
}

/// CLOCK_MONOTONIC, nanoseconds: the clock that handlers read too.
pub fn now_ns() -> i64 {
    // Fails for unknown clocks only.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| t.tv_sec() * 1_000_000_000 + t.tv_nsec())
}

impl Slot {
    /// Sleeps until the handler has ended, and makes the slot ready for the next event. The time at which it started.
    pub fn wait(&self) -> i64 {
        while self.done.load(Ordering::Acquire) == 0 {
            // SAFETY: a plain system call on a word that lives as long as the process; no time limit is given. Not
            // private: a plugin wakes through a mapping of its own.
            unsafe {
                libc::syscall(libc::SYS_futex, self.done.as_ptr(), libc::FUTEX_WAIT, 0, std::ptr::null::<u8>());
            }
        }
        self.done.store(0, Ordering::Relaxed);
        self.started_ns.load(Ordering::Relaxed)
    }

    /// Marks the slot as the C handler does, for work done in Rust.
    pub fn mark(&self) {
        self.started_ns.store(now_ns(), Ordering::Relaxed);
        self.done.store(1, Ordering::Release);
        // SAFETY: as above; waking touches no memory.
        unsafe {
            libc::syscall(libc::SYS_futex, self.done.as_ptr(), libc::FUTEX_WAKE, 1);
        }
    }
}

/// A file system in memory: a disk that writes pages back would hold handlers up.
const PLACE: &str = "/dev/shm";

/// Slots in memory that a plugin maps through [`Slots::path`]. They live as long as the process, their name as long as
/// the last clone of this value.
#[derive(Clone, Debug)]
pub struct Slots {
    slots: &'static [Slot],
    path: Arc<TempPath>,
}

impl Slots {
    /// Makes `count` slots.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(count: usize) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(count * size_of::<Slot>()).ok_or_else(|| io::Error::other("no slots"))?;
        let (file, path) = tempfile::Builder::new().prefix("latency-slots-").tempfile_in(PLACE)?.into_parts();
        nix::unistd::ftruncate(&file, i64::try_from(bytes.get()).map_err(io::Error::other)?)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a fresh mapping of a whole file of our own, which nobody shortens.
        let base = unsafe { mmap(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags, &file, 0)? };
        // SAFETY: the mapping is that long, aligned to a page, zeroed (valid for atomics) and never unmapped.
        let slots = unsafe { std::slice::from_raw_parts(base.cast::<Slot>().as_ptr(), count) };
        Ok(Self { slots, path: Arc::new(path) })
    }

    /// The file to map.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Slot `index`.
    pub fn at(&self, index: usize) -> &'static Slot {
        &self.slots[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_gets_the_time_and_the_slot_is_fresh_again() {
        let slots = Slots::new(3).expect("slots");
        for _ in 0..2 {
            let before = now_ns();
            let slot = slots.at(2);
            let marker = std::thread::spawn(move || slot.mark());
            let started = slot.wait();
            marker.join().expect("no panic");
            assert!(started >= before && started <= now_ns());
        }
    }

    #[test]
    fn slots_are_reachable_by_their_path() {
        let slots = Slots::new(2).expect("slots");
        let length = std::fs::metadata(slots.path()).expect("a file").len();
        assert_eq!(length, 2 * size_of::<Slot>() as u64);
    }
}
