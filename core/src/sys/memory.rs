//! Memory that is there when it is needed: locked pages and touched stacks.
//!
//! Inputs: none. Outputs: what was granted. Must never fail the daemon: without permission the pages
//! are only touched.

#![allow(unsafe_code)]

use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;
use std::ffi::CStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of stack a pool thread touches before its first event.
pub const STACK_TOUCHED_BYTES: usize = 32 * 1024;

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

/// Lets go of the code and constants that plugins needed to be made and switched on; what their `warm_up` and their own threads touch
/// afterwards comes back. To be called before anything is locked.
pub fn let_go_of_plugins_start() {
    let_go_where(|object| !is_ours_or_glibc(object));
}

/// Lets go of what the start alone needed: code and constants of the program and of glibc, and memory that the allocator holds without
/// need. What is used again of code comes back from the page cache with the next touch, before it is locked. The kernel lets locked
/// pages go only when they are unlocked first, so for a moment nothing is locked; and the allocator's locks are taken: not for a time
/// when somebody waits. Plugins' code stays as their `warm_up` left it: nobody goes through it before the event does.
pub fn let_go_of_start(locked: &Locked) {
    let was_locked = *locked == Locked::Yes && munlockall().is_ok();
    let_go_where(is_ours_or_glibc);
    give_back();
    if was_locked && lock_all() != Locked::Yes {
        // It was granted before, to the same process with the same limits.
        tracing::error!("the memory was unlocked for a moment, and cannot be locked again");
    }
}

/// Lets go of the segments that are never written (elf(5), PT_LOAD without PF_W) of those loaded objects whose path is wanted, as the
/// loader has it (dl_iterate_phdr(3)), where every page is still the file's: so nothing is lost (madvise(2), MADV_DONTNEED). The
/// loader's lock is held meanwhile, so that nothing is unloaded.
fn let_go_where(is_wanted: fn(&[u8]) -> bool) {
    unsafe extern "C" fn look(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        wanted: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader hands out a valid description with `dlpi_phnum` headers and a name, for the duration of the call, and
        // what was given below.
        let (base, headers, name, wanted) = unsafe {
            let (info, wanted) = (&*info, &*wanted.cast::<Wanted>());
            let name = (!info.dlpi_name.is_null()).then(|| CStr::from_ptr(info.dlpi_name));
            (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()), name, wanted)
        };
        if !(wanted.is_wanted)(name.map_or(&[], CStr::to_bytes)) {
            return 0;
        }
        let is_read_only =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        for header in headers.iter().filter(is_read_only) {
            let page = wanted.page_bytes;
            let start = (base + header.p_vaddr) & !(page - 1);
            let end = (base + header.p_vaddr + header.p_memsz).next_multiple_of(page);
            if is_all_of_file(&wanted.pagemap, start / page..end / page) {
                // SAFETY: these pages are a mapping of a file, and none of them is a changed copy, so what comes back at the next
                // touch is what was there. Failure changes nothing.
                unsafe { libc::madvise(start as *mut libc::c_void, (end - start) as usize, libc::MADV_DONTNEED) };
            }
        }
        0
    }
    // Without it nobody can tell what was changed, and everything stays.
    let (Ok(pagemap), Some(page_bytes)) = (File::open("/proc/self/pagemap"), page_bytes()) else { return };
    let mut wanted = Wanted { is_wanted, pagemap, page_bytes };
    // SAFETY: the callback keeps nothing of what it is given.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut wanted).cast()) };
}

/// What [`let_go_where`] looks for.
struct Wanted {
    is_wanted: fn(&[u8]) -> bool,
    /// /proc/self/pagemap: 8 bytes a page.
    pagemap: File,
    page_bytes: u64,
}

fn page_bytes() -> Option<u64> {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u64::try_from(bytes).ok())
}

/// Whether none of these pages is memory of the process's own: a copy of a page of the file that somebody changed, as relocations in
/// code do, or a debugger (Linux, admin-guide/mm/pagemap: bit 63 says that there is a page, 62 that it is swapped out, which only a
/// copy can be; 61 that it is the file's).
fn is_all_of_file(pagemap: &File, pages: Range<u64>) -> bool {
    let Ok(count) = usize::try_from(pages.end.saturating_sub(pages.start)) else { return false };
    let mut entries = vec![0_u8; count * 8];
    if pagemap.read_exact_at(&mut entries, pages.start * 8).is_err() {
        return false;
    }
    let is_of_file = |entry: &[u8; 8]| matches!(u64::from_ne_bytes(*entry) >> 61, 0 | 0b001 | 0b101);
    entries.as_chunks::<8>().0.iter().all(is_of_file)
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
    use super::{is_all_of_file, is_ours_or_glibc, page_bytes};
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
    use std::fs::File;
    use std::num::NonZeroUsize;

    /// Two pages of this program, mapped as the loader does it: read they are the file's, written to one of them is not.
    #[test]
    fn a_changed_page_is_told_from_the_files() {
        let (pagemap, program) = (File::open("/proc/self/pagemap").unwrap(), File::open("/proc/self/exe").unwrap());
        let page = page_bytes().unwrap();
        let length = NonZeroUsize::new(2 * page as usize).unwrap();
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, which nobody else knows of.
        let start = unsafe { mmap(None, length, rights, MapFlags::MAP_PRIVATE, &program, 0) }.unwrap();
        let first = start.addr().get() as u64 / page;
        assert!(is_all_of_file(&pagemap, first..first + 2), "nothing is there yet");
        // SAFETY: within the mapping.
        let read = unsafe { start.cast::<u8>().read_volatile() };
        assert_eq!(read, 0x7f, "ELF's magic number");
        assert!(is_all_of_file(&pagemap, first..first + 2), "read only");
        // SAFETY: within the mapping, which may be written.
        unsafe { start.cast::<u8>().add(page as usize).write_volatile(1) };
        assert!(!is_all_of_file(&pagemap, first..first + 2), "the second was written to");
        assert!(is_all_of_file(&pagemap, first..first + 1), "the first was not");
        // SAFETY: the mapping of above, of which nothing is used any more.
        unsafe { munmap(start, length.get()) }.unwrap();
    }

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
