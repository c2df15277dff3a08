//! Memory that is there when it is needed: locked pages and touched stacks.
//!
//! Inputs: none. Outputs: what was granted. Must never fail the daemon: without permission the pages
//! are only touched.

#![allow(unsafe_code)]

use nix::sys::mman::{MlockAllFlags, mlockall};
use serde::Serialize;

/// Bytes of stack a pool thread touches before its first event.
pub const STACK_TOUCHED_BYTES: usize = 64 * 1024;

/// Bytes that a segment's ends are rounded to: the largest page that a program for this machine is linked for would do, and
/// 4096 divides it; the kernel refuses what is no multiple of its own.
#[cfg(target_os = "linux")]
const PAGE_BYTES: u64 = 4096;

/// What became of the wish to keep pages in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Locked {
    /// Present and future pages stay resident once touched.
    Yes,
    /// Switched off in the configuration.
    Off,
    /// Refused, with the reason.
    Refused(String),
}

/// Locks what is mapped now and, as it is touched, what comes (MCL_ONFAULT, mlockall(2): no page is
/// brought in that is never used). Refused when the limit is low: with MCL_FUTURE a later allocation
/// beyond RLIMIT_MEMLOCK would fail, so a small limit means "do not".
pub fn lock_all() -> Locked {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
    let privileged = nix::unistd::geteuid().is_root();
    if limit != RLIM_INFINITY && !privileged {
        return Locked::Refused(format!("the limit RLIMIT_MEMLOCK is {limit} bytes (LimitMEMLOCK=infinity lifts it)"));
    }
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    match mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault) {
        Ok(()) => Locked::Yes,
        Err(error) => Locked::Refused(format!("mlockall: {error}")),
    }
}

/// Gives memory that the allocator holds without need back to the system (malloc_trim(3)). Pages that are locked stay.
/// Takes the locks of all arenas: not for a time when somebody waits.
pub fn give_back() {
    // SAFETY: the function has no preconditions and is thread-safe.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the program's own code and constants: what the start used of them and nothing uses again need not stay
/// resident, and what is used again comes back from the page cache with the next touch, before it is locked. Only segments
/// that are never written are let go (elf(5), PT_LOAD without PF_W): their pages are the file's, so nothing is lost
/// (madvise(2), MADV_DONTNEED). The kernel lets locked pages go only when they are unlocked first.
pub fn let_go_of_code(locked: &Locked) {
    unsafe extern "C" fn first(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        is_locked: *mut libc::c_void,
    ) -> libc::c_int {
        let is_locked = !is_locked.is_null();
        // SAFETY: the loader hands out a valid description with `dlpi_phnum` headers, for the duration of the call.
        let (base, headers) = unsafe {
            let info = &*info;
            (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
        };
        let is_read_only =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        for header in headers.iter().filter(is_read_only) {
            let start = (base + header.p_vaddr) & !(PAGE_BYTES - 1);
            let end = (base + header.p_vaddr + header.p_memsz).next_multiple_of(PAGE_BYTES);
            let (start, bytes) = (start as *mut libc::c_void, (end - start) as usize);
            // SAFETY: these pages are a private mapping of the program's file that nobody has written to, so what comes
            // back at the next touch is what was there. Failure changes nothing.
            unsafe {
                libc::munlock(start, bytes);
                libc::madvise(start, bytes, libc::MADV_DONTNEED);
                if is_locked {
                    libc::mlock2(start, bytes, libc::MLOCK_ONFAULT);
                }
            }
        }
        // The program comes first (dl_iterate_phdr(3)); libraries are shared with others.
        1
    }
    // Only whether it is null is looked at.
    let is_locked = if *locked == Locked::Yes { std::ptr::dangling_mut() } else { std::ptr::null_mut() };
    // SAFETY: the callback keeps nothing of what it is given.
    unsafe { libc::dl_iterate_phdr(Some(first), is_locked) };
}

/// Touches the next part of the calling thread's stack, so that a handler's first steps find it mapped.
#[inline(never)]
pub fn touch_stack() {
    let mut pages = [0u8; STACK_TOUCHED_BYTES];
    for page in pages.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&mut pages);
}
