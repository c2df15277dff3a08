//! What a thread does while it says that it is watched: how often it allocates, which system calls it makes.
//!
//! Allocations are seen by putting counting functions into the tables (GOT) through which the libraries of this process
//! call malloc and its kin. System calls are seen by a seccomp filter whose listener is a thread of this process, which
//! lets each go on. Inputs: none. Outputs: counts. Not seen: memory that a library maps itself, a second allocator
//! linked into a library, malloc found with dlsym, and calls of the vDSO, which enter no kernel. Must only be used in a
//! process made for it: neither can be taken back.
#![allow(unsafe_code)]

use nix::sys::mman::{ProtFlags, mprotect};
use object::{LittleEndian, elf};
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The same as `IS_WATCHED`, for the listener: one thread is watched at a time.
static IS_INSIDE: AtomicBool = AtomicBool::new(false);

fn watch(is_watched: bool) -> bool {
    IS_INSIDE.store(is_watched, Ordering::SeqCst);
    IS_WATCHED.replace(is_watched)
}

/// Runs `work` watched.
pub fn watched<T>(work: impl FnOnce() -> T) -> T {
    watch(true);
    let done = work();
    watch(false);
    done
}

/// While it lives, what the thread does is its host's doing and not counted.
pub struct Unwatched(bool);

impl Unwatched {
    /// From now on.
    pub fn begin() -> Self {
        // The common case, a thread that nobody watches, changes nothing that others see.
        Self(IS_WATCHED.get() && watch(false))
    }
}

impl Drop for Unwatched {
    fn drop(&mut self) {
        if self.0 {
            watch(true);
        }
    }
}

/// Allocations and releases that the calling thread made while it was watched.
pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}

fn note() {
    if IS_WATCHED.get() {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    }
}

/// A counting function that passes everything on.
macro_rules! counting {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(unsafe extern "C" fn $name($($argument: $kind),*) -> $result {
            note();
            // SAFETY: the arguments of whoever called, to the function it meant.
            unsafe { libc::$name($($argument),*) }
        })*
        fn counting_function(name: &[u8]) -> Option<usize> {
            $(if name == stringify!($name).as_bytes() {
                return Some($name as *const () as usize);
            })*
            None
        }
    };
}

counting! {
    malloc(size: usize) -> *mut c_void;
    calloc(count: usize, size: usize) -> *mut c_void;
    realloc(old: *mut c_void, size: usize) -> *mut c_void;
    free(old: *mut c_void) -> ();
    posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int;
    aligned_alloc(align: usize, size: usize) -> *mut c_void;
    memalign(align: usize, size: usize) -> *mut c_void;
}

/// Has every library that is loaded now, this program aside, call the counting functions. Returns how many places call
/// them; 0 means that nothing can be counted.
pub fn count_allocations() -> usize {
    let mut places = 0usize;
    // SAFETY: the callback gets records of libraries that stay loaded, and a pointer to `places`.
    unsafe { libc::dl_iterate_phdr(Some(patch_library), (&raw mut places).cast()) };
    places
}

unsafe extern "C" fn patch_library(info: *mut libc::dl_phdr_info, _size: usize, places: *mut c_void) -> c_int {
    // SAFETY: the linker lends a record whose name and headers live as long as the library.
    unsafe {
        let name = CStr::from_ptr((*info).dlpi_name).to_bytes();
        // The program itself has no name; the vDSO is the kernel's; the linker finds its malloc in another way.
        let is_ours = name.is_empty() || name.starts_with(b"linux-vdso") || name.windows(8).any(|w| w == b"ld-linux");
        if !is_ours {
            let base = usize::try_from((*info).dlpi_addr).unwrap_or(0);
            let headers = std::slice::from_raw_parts((*info).dlpi_phdr, usize::from((*info).dlpi_phnum));
            for header in headers.iter().filter(|header| header.p_type == libc::PT_DYNAMIC) {
                *places.cast::<usize>() += patch_table(base, base + usize::try_from(header.p_vaddr).unwrap_or(0));
            }
        }
    }
    0
}

type Dynamic = elf::Dyn64<LittleEndian>;
type Relocation = elf::Rela64<LittleEndian>;
type Symbol = elf::Sym64<LittleEndian>;

/// Relocations whose place holds the address of a function: R_*_GLOB_DAT and R_*_JUMP_SLOT.
const FUNCTION_PLACES: [u32; 2] = if cfg!(target_arch = "aarch64") { [1025, 1026] } else { [6, 7] };

/// # Safety
/// `dynamic` is the address of the dynamic section of a library that is loaded at `base` and stays so.
unsafe fn patch_table(base: usize, dynamic: usize) -> usize {
    let value = |wanted: elf::DynamicTag| {
        let mut at = dynamic as *const Dynamic;
        // SAFETY: the section ends with DT_NULL.
        unsafe {
            while (*at).d_tag.get(LittleEndian) != elf::DT_NULL {
                if (*at).d_tag.get(LittleEndian) == wanted {
                    return usize::try_from((*at).d_val.get(LittleEndian)).unwrap_or(0);
                }
                at = at.add(1);
            }
        }
        0
    };
    // glibc has added the base to the addresses in this section already; another linker may not.
    let address = |at: usize| if at != 0 && at < base { at + base } else { at };
    let (symbols, strings) = (address(value(elf::DT_SYMTAB)), address(value(elf::DT_STRTAB)));
    let tables = [(elf::DT_RELA, elf::DT_RELASZ), (elf::DT_JMPREL, elf::DT_PLTRELSZ)];
    let mut places = 0;
    for (start, bytes) in tables.map(|(start, bytes)| (address(value(start)), value(bytes))) {
        if start == 0 || symbols == 0 || strings == 0 {
            continue;
        }
        // SAFETY: the tables of a loaded library are mapped, as long as they say, and name its own symbols.
        unsafe {
            let relocations = std::slice::from_raw_parts(start as *const Relocation, bytes / size_of::<Relocation>());
            for one in relocations {
                let info = one.r_info.get(LittleEndian);
                let (kind, symbol) = ((info & 0xFFFF_FFFF) as u32, usize::try_from(info >> 32).unwrap_or(0));
                if !FUNCTION_PLACES.contains(&kind) {
                    continue;
                }
                let name = (*(symbols as *const Symbol).add(symbol)).st_name.get(LittleEndian) as usize;
                let name = CStr::from_ptr((strings + name) as *const _).to_bytes();
                let Some(function) = counting_function(name) else { continue };
                let place = base + usize::try_from(one.r_offset.get(LittleEndian)).unwrap_or(0);
                places += usize::from(put(place, function));
            }
        }
    }
    places
}

/// # Safety
/// `place` holds the address of a function of the same type.
unsafe fn put(place: usize, function: usize) -> bool {
    const PAGE: usize = 4096;
    let start = place & !(PAGE - 1);
    let Some(page) = NonNull::new(start as *mut c_void) else { return false };
    // SAFETY: a page of a library's table of addresses; it only becomes writable, as it was before its start.
    unsafe {
        let is_open = mprotect(page, PAGE * 2, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).is_ok()
            || mprotect(page, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).is_ok();
        if is_open {
            (*(place as *const AtomicUsize)).store(function, Ordering::Release);
        }
        is_open
    }
}

/// The system calls that the thread which began it made while it was watched.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Vec<i64>>>);

impl Witness {
    /// Sees the system calls of the calling thread, and of threads it starts, from now on for ever.
    ///
    /// # Errors
    /// The kernel has no seccomp listeners (before 5.5), or a policy forbids them.
    pub fn begin() -> io::Result<Self> {
        let witness = Self::default();
        let listener = Arc::new(AtomicI32::new(-1));
        let (seen, descriptor) = (witness.clone(), Arc::clone(&listener));
        std::thread::Builder::new().name("witness".into()).spawn(move || {
            // Without a system call on the other side: it would wait for this thread.
            while descriptor.load(Ordering::Acquire) == -1 {
                std::thread::yield_now();
            }
            let listener = descriptor.load(Ordering::Acquire);
            if listener >= 0 {
                seen.listen(listener);
            }
        })?;
        match install_filter() {
            Ok(descriptor) => listener.store(descriptor, Ordering::Release),
            Err(error) => {
                listener.store(-2, Ordering::Release);
                return Err(error);
            }
        }
        Ok(witness)
    }

    /// The numbers of the calls so far.
    pub fn calls(&self) -> Vec<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listen(&self, listener: c_int) {
        loop {
            // SAFETY: all-zero records are what the kernel asks for, and it writes no more than their size.
            unsafe {
                let mut asked: libc::seccomp_notif = std::mem::zeroed();
                if libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) != 0 {
                    // The call was given up by its thread; anything else means that nobody is watched any more.
                    if matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOENT | libc::EINTR)) {
                        continue;
                    }
                    return;
                }
                if IS_INSIDE.load(Ordering::SeqCst) {
                    self.0.lock().unwrap_or_else(PoisonError::into_inner).push(i64::from(asked.data.nr));
                }
                let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
                answer.id = asked.id;
                answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
                libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer);
            }
        }
    }
}

/// Every system call of the calling thread is told to a listener first.
fn install_filter() -> io::Result<c_int> {
    nix::sys::prctl::set_no_new_privs()?;
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut tell = libc::sock_filter { code, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF };
    let program = libc::sock_fprog { len: 1, filter: &raw mut tell };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the kernel copies the program before it returns.
    let listener = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    if listener < 0 { Err(io::Error::last_os_error()) } else { Ok(listener as c_int) }
}

/// The name of a system call, where it is one that handlers are likely to make.
pub fn system_call_name(number: i64) -> String {
    let named = [
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_close, "close"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_clock_nanosleep, "clock_nanosleep"),
        (libc::SYS_nanosleep, "nanosleep"),
        (libc::SYS_sched_yield, "sched_yield"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_munmap, "munmap"),
        (libc::SYS_brk, "brk"),
        (libc::SYS_getpid, "getpid"),
        (libc::SYS_getppid, "getppid"),
        (libc::SYS_gettid, "gettid"),
        (libc::SYS_clock_gettime, "clock_gettime"),
        (libc::SYS_socket, "socket"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_sendto, "sendto"),
        (libc::SYS_recvfrom, "recvfrom"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_fcntl, "fcntl"),
    ];
    named.iter().find(|(n, _)| *n == number).map_or_else(|| format!("number {number}"), |(_, name)| (*name).to_owned())
}
