//! Memory that is there when it is needed: locked pages and touched stacks.
//!
//! Inputs: none. Outputs: what was granted. Must never fail the daemon: without permission the pages
//! are only touched.

#![allow(unsafe_code)]

use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use serde::Serialize;
use std::ffi::CStr;

/// Bytes of stack a pool thread touches before its first event.
pub const STACK_TOUCHED_BYTES: usize = 32 * 1024;

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

/// Lets go of what the start alone needed: code and constants of the program and of glibc, and memory that the allocator holds without
/// need. What is used again of code comes back from the page cache with the next touch, before it is locked. Only segments that are
/// never written are let go (elf(5), PT_LOAD without PF_W): their pages are the file's, so nothing is lost (madvise(2),
/// MADV_DONTNEED). The kernel lets locked pages go only when they are unlocked first, so for a moment nothing is locked;
/// and the allocator's locks are taken: not for a time when somebody waits. Plugins' code stays as it is: nobody goes through it
/// before the event does.
pub fn let_go_of_start(locked: &Locked) {
    unsafe extern "C" fn let_go(info: *mut libc::dl_phdr_info, _: libc::size_t, _: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the loader hands out a valid description with `dlpi_phnum` headers and a name, for the duration of the call.
        let (base, headers, name) = unsafe {
            let info = &*info;
            let name = (!info.dlpi_name.is_null()).then(|| CStr::from_ptr(info.dlpi_name));
            (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()), name)
        };
        if !is_ours_or_glibc(name.map_or(&[], CStr::to_bytes)) {
            return 0;
        }
        let is_read_only =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        for header in headers.iter().filter(is_read_only) {
            let start = (base + header.p_vaddr) & !(PAGE_BYTES - 1);
            let end = (base + header.p_vaddr + header.p_memsz).next_multiple_of(PAGE_BYTES);
            // SAFETY: these pages are a private mapping of a file that nobody has written to, so what comes back at the next
            // touch is what was there. Failure changes nothing.
            unsafe { libc::madvise(start as *mut libc::c_void, (end - start) as usize, libc::MADV_DONTNEED) };
        }
        0
    }
    let was_locked = *locked == Locked::Yes && munlockall().is_ok();
    // SAFETY: the callback keeps nothing of what it is given.
    unsafe { libc::dl_iterate_phdr(Some(let_go), std::ptr::null_mut()) };
    give_back();
    if was_locked && lock_all() != Locked::Yes {
        // It was granted before, to the same process with the same limits.
        tracing::error!("the memory was unlocked for a moment, and cannot be locked again");
    }
}

/// Whether an object of that name, as the loader has it, is the program itself (it has none, dl_iterate_phdr(3)) or belongs to glibc.
fn is_ours_or_glibc(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let glibc: [&[u8]; 4] = [b"libc.so.", b"libm.so.", b"libgcc_s.so.", b"ld-linux-"];
    path.is_empty() || glibc.iter().any(|start| name.starts_with(start))
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

#[cfg(test)]
mod tests {
    use super::is_ours_or_glibc;

    #[test]
    fn only_the_programs_own_code_and_glibcs_is_let_go() {
        for path in ["", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2", "/usr/lib/libm.so.6"] {
            assert!(is_ours_or_glibc(path.as_bytes()), "{path}");
        }
        for path in
            ["linux-vdso.so.1", "/usr/lib/cloudsnooze/plugins/libc_flusher.so", "/opt/libc.so/exec.so", "/x/exec.so"]
        {
            assert!(!is_ours_or_glibc(path.as_bytes()), "{path}");
        }
    }
}
