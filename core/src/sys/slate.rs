//! Memory that two processes share and that outlives whatever one of them does: a child's last words are still there
//! after it crashed, or closed every descriptor it had.
//!
//! Inputs: bytes. Outputs: the same bytes on the other side. Must never trust a length that the other side wrote.
#![allow(unsafe_code)]

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place on the slate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What is being done just now: at most 1 KiB, longer is cut.
    Phase,
    /// What is asked.
    Request,
    /// What came of it.
    Report,
}

/// Bytes of a place, its length of 8 bytes included.
const PHASE_BYTES: usize = 1024;
const REQUEST_BYTES: usize = 4 * 1024 * 1024;
const REPORT_BYTES: usize = 1024 * 1024;
/// What must not be touched on both sides, bytes.
const MARGIN_BYTES: usize = 64 * 1024;
const ALL_BYTES: usize = PHASE_BYTES + REQUEST_BYTES + REPORT_BYTES;

impl Place {
    const fn bounds(self) -> (usize, usize) {
        match self {
            Self::Phase => (0, PHASE_BYTES),
            Self::Request => (PHASE_BYTES, REQUEST_BYTES),
            Self::Report => (PHASE_BYTES + REQUEST_BYTES, REPORT_BYTES),
        }
    }
}

/// The memory, mapped as long as the process lives.
#[derive(Debug)]
pub struct Slate {
    base: NonNull<u8>,
    file: OwnedFd,
}

// SAFETY: the mapping is never taken away; lengths are atomic, and a torn text is only a wrong text.
unsafe impl Send for Slate {}
// SAFETY: as above.
unsafe impl Sync for Slate {}

impl Slate {
    /// Fresh memory.
    ///
    /// # Errors
    /// The system has none to give.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create(c"snooze-slate", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(ALL_BYTES as u64)?;
        Self::map(file.into())
    }

    /// The memory that the parent gave as standard input, which becomes the null device.
    ///
    /// # Errors
    /// Standard input is something else.
    pub fn adopt_stdin() -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        if file.metadata()?.len() != ALL_BYTES as u64 {
            return Err(io::Error::other("standard input is not a slate"));
        }
        let slate = Self::map(file.into())?;
        nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
        Ok(slate)
    }

    fn map(file: OwnedFd) -> io::Result<Self> {
        let size = |bytes| NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping without rights, in the middle of which the file takes the place of what nothing uses:
        // who runs over the end of a neighbour meets its margin first.
        let base = unsafe {
            let whole = size(ALL_BYTES + 2 * MARGIN_BYTES);
            let all = mmap_anonymous(None, whole, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE)?;
            let middle = Some(all.addr().saturating_add(MARGIN_BYTES));
            mmap(middle, size(ALL_BYTES), rights, MapFlags::MAP_SHARED | MapFlags::MAP_FIXED, &file, 0)
        }?;
        Ok(Self { base: base.cast(), file })
    }

    /// The descriptor to give to a child as its standard input.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.try_clone()
    }

    fn length(&self, place: Place) -> &AtomicU64 {
        // SAFETY: every place begins at a multiple of 8 inside the mapping, which lives as long as the process.
        unsafe { self.base.byte_add(place.bounds().0).cast().as_ref() }
    }

    /// Writes a place anew; what does not fit is cut. Does not allocate.
    pub fn write(&self, place: Place, bytes: &[u8]) {
        let (start, room) = place.bounds();
        let count = bytes.len().min(room - 8);
        self.length(place).store(0, Ordering::Release);
        // SAFETY: `count` bytes behind the length lie inside the place.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.byte_add(start + 8).as_ptr(), count) };
        self.length(place).store(count as u64, Ordering::Release);
    }

    /// Reads a place.
    pub fn read(&self, place: Place) -> Vec<u8> {
        let (start, room) = place.bounds();
        let count = usize::try_from(self.length(place).load(Ordering::Acquire)).unwrap_or(0).min(room - 8);
        let mut bytes = vec![0; count];
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(self.base.byte_add(start + 8).as_ptr(), bytes.as_mut_ptr(), count) };
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_false_length_reads_no_further_than_the_place() {
        let slate = Slate::new().expect("memory");
        slate.write(Place::Report, b"all is well");
        slate.write(Place::Phase, &[b'x'; 5000]);
        assert_eq!(slate.read(Place::Report), b"all is well");
        assert_eq!(slate.read(Place::Phase).len(), PHASE_BYTES - 8);
        slate.length(Place::Report).store(u64::MAX, Ordering::Release);
        assert_eq!(slate.read(Place::Report).len(), REPORT_BYTES - 8);
        assert_eq!(slate.read(Place::Request), b"");
    }
}
