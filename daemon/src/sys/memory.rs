//! Memory that is there when it is needed: locked pages and touched stacks.
//!
//! Inputs: none. Outputs: what was granted. Must never fail the daemon: without permission the pages
//! are only touched.

#![allow(unsafe_code)]

use nix::sys::mman::{MlockAllFlags, mlockall};
use serde::Serialize;

/// Bytes of stack a pool thread touches before its first event.
pub const STACK_TOUCHED_BYTES: usize = 64 * 1024;

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

/// Touches the next part of the calling thread's stack, so that a handler's first steps find it mapped.
#[inline(never)]
pub fn touch_stack() {
    let mut pages = [0u8; STACK_TOUCHED_BYTES];
    for page in pages.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&mut pages);
}
