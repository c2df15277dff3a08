//! Memory that two processes share, and the words in it that one of them sleeps on.
//!
//! Inputs: a size, offsets, bytes. Outputs: a sealed memfd without a name in any file system, its mapping, copies out of
//! it. The other side may be hostile: it can change every byte at any time, so nothing here lends a reference to bytes,
//! only to atomic words, and every offset is checked. Must never be resized, which would kill whoever touches a page that
//! is gone: the seals see to it.
#![allow(unsafe_code)]

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

/// Shared memory, mapped into this process until dropped.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    base: NonNull<c_void>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone, and everything in it is reached by atomics or by copying.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Zeroed memory of this size, every page of it there, which nobody can resize any more.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let fd = memfd_create("cloudsnooze-call", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        nix::unistd::ftruncate(&fd, i64::try_from(bytes).map_err(io::Error::other)?)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        Self::map(fd, bytes)
    }

    /// Memory that another process made with [`SharedMemory::new`] and this size.
    ///
    /// # Errors
    /// It has another size, or is not sealed, or the system refuses.
    pub fn open(fd: OwnedFd, bytes: usize) -> io::Result<Self> {
        let seals = SealFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GET_SEALS)?);
        let size = nix::sys::stat::fstat(&fd)?.st_size;
        if !seals.contains(SealFlag::F_SEAL_SHRINK) || usize::try_from(size) != Ok(bytes) {
            return Err(io::Error::other(format!("shared memory of {size} bytes, sealed {seals:?}, expected {bytes}")));
        }
        Self::map(fd, bytes)
    }

    fn map(fd: OwnedFd, bytes: usize) -> io::Result<Self> {
        let length = NonZeroUsize::new(bytes).ok_or_else(|| io::Error::other("no bytes to share"))?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a fresh mapping of a whole file that is sealed against shrinking.
        let base = unsafe { mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags, &fd, 0)? };
        Ok(Self { fd, base, bytes })
    }

    /// The descriptor, for handing it to the other process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The address of `bytes` bytes at `offset`; None when they do not lie within.
    fn at(&self, offset: usize, bytes: usize) -> Option<*mut u8> {
        let fits = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes);
        // SAFETY: within the mapping, as just checked.
        fits.then(|| unsafe { self.base.as_ptr().cast::<u8>().add(offset) })
    }

    /// The 32-bit word at `offset`, which must lie within and be a multiple of 4: both are constants of the caller.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        static NOWHERE: AtomicU32 = AtomicU32::new(0);
        match self.at(offset, 4).filter(|_| offset.is_multiple_of(4)) {
            // SAFETY: within a mapping that is aligned to a page and lives as long as self.
            Some(place) => unsafe { AtomicU32::from_ptr(place.cast()) },
            None => &NOWHERE,
        }
    }

    /// The 64-bit word at `offset`, which must lie within and be a multiple of 8.
    pub fn long(&self, offset: usize) -> &AtomicU64 {
        static NOWHERE: AtomicU64 = AtomicU64::new(0);
        match self.at(offset, 8).filter(|_| offset.is_multiple_of(8)) {
            // SAFETY: as in `word`.
            Some(place) => unsafe { AtomicU64::from_ptr(place.cast()) },
            None => &NOWHERE,
        }
    }

    /// Copies bytes in. False, and nothing is written, when they do not fit.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.at(offset, bytes.len()) else { return false };
        // SAFETY: the place is within the mapping; the source is memory of this process. What the other side does to the
        // same bytes meanwhile spoils the copy only.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        true
    }

    /// Copies bytes out. False, and nothing is read, when they do not lie within.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> bool {
        let Some(place) = self.at(offset, bytes.len()) else { return false };
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(place.cast_const(), bytes.as_mut_ptr(), bytes.len()) };
        true
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and nothing refers to it any more. Fails only for an address that is none.
        let _ = unsafe { munmap(self.base, self.bytes) };
    }
}

/// Sleeps while the word is `expected`, at most for `limit`; None: without a limit. May return early. The word may be
/// shared with another process (futex(2), without FUTEX_PRIVATE_FLAG).
pub fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    let time = limit.map(|limit| libc::timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    let time = time.as_ref().map_or(std::ptr::null(), |time| &raw const *time);
    // SAFETY: the word and the time live until the call returns; it reads no other memory.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, time);
    }
}

/// Wakes who sleeps on the word.
pub fn wake(word: &AtomicU32) {
    // SAFETY: waking reads and writes no memory of this process.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    #[test]
    fn nothing_is_reached_outside_of_the_memory() {
        let memory = SharedMemory::new(8192).expect("memory");
        let mut bytes = [7; 16];
        for offset in [8192 - 15, 8192, usize::MAX - 3, usize::MAX] {
            assert!(!memory.write(offset, &bytes) && !memory.read(offset, &mut bytes), "{offset}");
        }
        assert_eq!(bytes, [7; 16]);
        assert!(memory.write(8192 - 16, &bytes));
        assert_eq!(memory.word(8188).load(Ordering::Relaxed), 0x0707_0707);
        for outside in [8189, 8192, usize::MAX] {
            assert_eq!(memory.word(outside).load(Ordering::Relaxed), 0, "a word of no consequence");
            assert_eq!(memory.long(outside).load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn the_other_side_can_neither_shrink_nor_grow_it() {
        let memory = SharedMemory::new(8192).expect("memory");
        let theirs = memory.fd().try_clone_to_owned().expect("a descriptor");
        assert!(nix::unistd::ftruncate(&theirs, 0).is_err() && nix::unistd::ftruncate(&theirs, 1 << 20).is_err());
        assert!(memory.write(8191, &[1]));
        let other = SharedMemory::open(theirs, 8192).expect("opened");
        assert!(SharedMemory::open(memory.fd().try_clone_to_owned().expect("a descriptor"), 4096).is_err());
        let mut byte = [0];
        assert!(other.read(8191, &mut byte) && byte == [1], "both see the same bytes");
        let loose = memfd_create("loose", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).expect("a file");
        nix::unistd::ftruncate(&loose, 8192).expect("sized");
        assert!(SharedMemory::open(loose, 8192).is_err(), "what can shrink is not mapped");
    }

    #[test]
    fn who_sleeps_on_a_word_is_woken_or_sleeps_until_its_limit() {
        let memory = Arc::new(SharedMemory::new(4096).expect("memory"));
        wait(memory.word(0), 0, Some(Duration::from_millis(1)));
        wait(memory.word(0), 1, None);
        let other = Arc::clone(&memory);
        let sleeper = std::thread::spawn(move || {
            while other.word(0).load(Ordering::Acquire) == 0 {
                wait(other.word(0), 0, None);
            }
        });
        memory.word(0).store(1, Ordering::Release);
        wake(memory.word(0));
        sleeper.join().expect("it woke");
    }
}
