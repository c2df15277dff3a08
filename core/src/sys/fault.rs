//! The last words of a process: who was running when it met its end.
//!
//! Inputs: what each thread is doing (`Doing`), the signal. Outputs: a few lines in a file that was opened before,
//! written with async-signal-safe calls only (signal-safety(7)); a moment for the other threads to write down what
//! happened; then the signal takes its course. Must never allocate, lock or format on the way, nor keep the process
//! alive for longer: its memory may be half changed.
#![allow(unsafe_code)]

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Signals that a fault of the process's own code raises.
const FAULTS: [(i32, &str); 7] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGSYS, "SIGSYS"),
    (libc::SIGTRAP, "SIGTRAP"),
];

/// Exit code after somebody's exit() was caught: an internal fault, after sysexits.h.
const EXIT_SOFTWARE: i32 = 70;

/// What a thread is doing while somebody else's code runs on it. Lives on the stack of the call.
#[derive(Clone, Copy, Debug)]
pub struct Doing {
    /// Whose code: "EVENT_TYPE/PLUGIN".
    pub instance: &'static str,
    /// Which function of it.
    pub phase: &'static str,
    /// The event, a UUID; zero when there is none.
    pub event: [u8; 16],
}

thread_local! {
    static DOING: Cell<Option<Doing>> = const { Cell::new(None) };
}

/// Says what this thread does until the result is dropped. Costs two stores, and afterwards a look at the descriptors.
pub fn doing(what: Doing) -> impl Drop {
    struct Before(Option<Doing>);
    impl Drop for Before {
        fn drop(&mut self) {
            look_at_descriptors();
            DOING.set(self.0);
        }
    }
    Before(DOING.replace(Some(what)))
}

/// The file for last words; -1: none.
static FILE: AtomicI32 = AtomicI32::new(-1);
/// Its number on its file system, by which it is known, and its path, for when it was closed.
static INODE: AtomicU64 = AtomicU64::new(0);
static PATH: OnceLock<CString> = OnceLock::new();

/// Tells the thread that waits for the `Knell`; -1: there is none.
static KNELL: AtomicI32 = AtomicI32::new(-1);
/// That thread has done what it could.
static IS_SETTLED: AtomicBool = AtomicBool::new(false);
/// Longest that a dying thread lets the others go on, nanoseconds: what it was doing is to reach the journal.
const LAST_MOMENTS_NS: i64 = 1_500_000_000;
/// How often it looks whether they have done.
const LOOK_NS: i64 = 2_000_000;

/// Libraries by the addresses of their code, for threads that say nothing: those that plugins start.
const LIBRARIES_MAX: usize = 256;
static LIBRARIES: [Library; LIBRARIES_MAX] = [const { Library::none() }; LIBRARIES_MAX];
static LIBRARY_COUNT: AtomicUsize = AtomicUsize::new(0);

struct Library {
    start: AtomicUsize,
    end: AtomicUsize,
    name: AtomicPtr<u8>,
    name_len: AtomicUsize,
}

impl Library {
    const fn none() -> Self {
        Self {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            name: AtomicPtr::new(std::ptr::null_mut()),
            name_len: AtomicUsize::new(0),
        }
    }
}

/// Remembers where a library's code lies. For normal threads, one at a time.
pub fn know_library(start: usize, end: usize, name: &'static str) {
    let at = LIBRARY_COUNT.load(Ordering::Relaxed);
    let Some(library) = LIBRARIES.get(at) else { return };
    library.start.store(start, Ordering::Relaxed);
    library.end.store(end, Ordering::Relaxed);
    library.name.store(name.as_ptr().cast_mut(), Ordering::Relaxed);
    library.name_len.store(name.len(), Ordering::Relaxed);
    LIBRARY_COUNT.store(at + 1, Ordering::Release);
}

/// First and last address of the library that is mapped around an address, from /proc/self/maps (proc(5)): every
/// mapping of the same file. None when nothing is, or it cannot be read. For normal threads.
pub fn mapping_around(address: usize) -> Option<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let parsed = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let range = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        // Permissions and offset lie between; device and inode name the file.
        Some((range, (words.nth(2)?.to_owned(), words.next()?.to_owned())))
    };
    let all: Vec<_> = maps.lines().filter_map(parsed).collect();
    let (_, file) = all.iter().find(|((start, end), _)| (*start..*end).contains(&address))?;
    let of_file = || all.iter().filter(|(_, other)| other == file).map(|(range, _)| range);
    Some((of_file().map(|r| r.0).min()?, of_file().map(|r| r.1).max()?))
}

/// From now on last words go to this file, and a plugin's exit() does not pass for an orderly end.
///
/// # Errors
/// The path cannot be a C string, or the file's number cannot be had: nothing is listened for.
pub fn listen(file: File, path: &Path) -> std::io::Result<()> {
    let _ = PATH.set(CString::new(path.as_os_str().as_bytes())?);
    INODE.store(file.metadata()?.ino(), Ordering::Relaxed);
    FILE.store(file.into_raw_fd(), Ordering::Release);
    for (signal, _) in FAULTS {
        // SAFETY: a zeroed sigaction is a valid one.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
        action.sa_sigaction = handler as *const () as usize;
        // On the alternate stack that the standard library gives its threads: the fault may be that there is no stack
        // left. Once: the second time the signal does what it does.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
        // SAFETY: the handler is async-signal-safe, see above.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
    // SAFETY: a plain function, registered once a process.
    unsafe { libc::atexit(on_exit) };
    Ok(())
}

/// Ends the process when the file for last words is no longer behind its descriptor: the code that ran just now has
/// closed what is not its own. Whatever else it closed, the journal, the sockets, gives its number to the next file that
/// anybody opens, and what is meant for one is written into another. It gets worse with every moment.
fn look_at_descriptors() {
    let file = FILE.load(Ordering::Acquire);
    if file < 0 {
        return;
    }
    // SAFETY: a zeroed stat is a valid one.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer lives until the call returns; any number is allowed.
    let is_open = unsafe { libc::fstat(file, &raw mut stat) } == 0;
    if is_open && stat.st_ino == INODE.load(Ordering::Relaxed) {
        return;
    }
    let Some(path) = PATH.get() else { return };
    // SAFETY: the path is a C string that is never freed.
    let again = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC, 0o600) };
    // Whoever comes second finds nothing to write to, and both end.
    if FILE.compare_exchange(file, again, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        write_words("closing its descriptors", 0, 0);
    }
    super::leave(EXIT_SOFTWARE);
}

/// Tells a thread that the process is about to end by its own fault.
#[derive(Debug)]
pub struct Knell(EventFd);

/// The knell of this process, which a dying thread tolls from now on, also before somebody waits for it.
///
/// # Errors
/// When there is no descriptor for it.
pub fn knell() -> std::io::Result<Knell> {
    let knell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
    KNELL.store(knell.as_raw_fd(), Ordering::Release);
    Ok(Knell(knell))
}

impl Drop for Knell {
    fn drop(&mut self) {
        // Its number may soon be another file's.
        KNELL.store(-1, Ordering::Release);
    }
}

impl Knell {
    /// Waits for it. For a thread of normal priority; what it does then must not need what the dying thread may hold.
    /// `settled` lets the process go.
    ///
    /// # Errors
    /// When the descriptor is gone.
    pub fn wait(&self) -> std::io::Result<()> {
        loop {
            match self.0.read() {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What was to be done before the end is done.
pub fn settled() {
    IS_SETTLED.store(true, Ordering::Release);
}

/// The other threads go on for a while: what happened up to now is to be written down. Async-signal-safe.
fn last_moments() {
    let knell = KNELL.load(Ordering::Acquire);
    let one: u64 = 1;
    // SAFETY: write(2) on a descriptor that is never closed; the number lives until it returns.
    let written = unsafe { libc::write(knell, (&raw const one).cast(), 8) };
    if written != 8 {
        return;
    }
    for _ in 0..LAST_MOMENTS_NS / LOOK_NS {
        if IS_SETTLED.load(Ordering::Acquire) {
            return;
        }
        let nap = libc::timespec { tv_sec: 0, tv_nsec: LOOK_NS };
        // SAFETY: the request lives until the call returns; no remainder is asked for.
        unsafe { libc::nanosleep(&raw const nap, std::ptr::null_mut()) };
    }
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let name = FAULTS.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| *name);
    // SAFETY: the kernel passes both; only the fields that these signals fill are read.
    let (address, at) = unsafe { ((*info).si_addr() as usize, instruction(context)) };
    write_words(name, address, at);
    last_moments();
    // Back to what happens without a handler: the process ends, with a core where that is wanted.
    // SAFETY: async-signal-safe; the handler was reset when it was entered.
    unsafe { libc::raise(signal) };
}

/// Runs when somebody calls exit(): the daemon itself leaves by `sys::leave`.
extern "C" fn on_exit() {
    if FILE.load(Ordering::Acquire) < 0 {
        return;
    }
    write_words("exit()", 0, 0);
    last_moments();
    super::leave(EXIT_SOFTWARE);
}

/// The address of the instruction that was interrupted; 0 where this is not known.
///
/// # Safety
/// `context` is what the kernel passed to a handler with SA_SIGINFO.
#[allow(unused_variables, reason = "on other machines")]
unsafe fn instruction(context: *mut libc::c_void) -> usize {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel passes a ucontext_t (sigaction(2)).
    unsafe {
        let context = context.cast::<libc::ucontext_t>();
        usize::try_from((*context).uc_mcontext.gregs[libc::REG_RIP as usize]).unwrap_or(0)
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        let context = context.cast::<libc::ucontext_t>();
        usize::try_from((*context).uc_mcontext.pc).unwrap_or(0)
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    0
}

/// Text in a buffer of fixed size; what does not fit is cut.
struct Words {
    bytes: [u8; 1024],
    len: usize,
}

impl Words {
    fn text(&mut self, text: &[u8]) {
        let room = self.bytes.len() - self.len;
        let taken = text.len().min(room);
        if let (Some(to), Some(from)) = (self.bytes.get_mut(self.len..self.len + taken), text.get(..taken)) {
            to.copy_from_slice(from);
            self.len += taken;
        }
    }

    fn line(&mut self, key: &str, value: &[u8]) {
        self.text(key.as_bytes());
        self.text(b"=");
        self.text(value);
        self.text(b"\n");
    }

    fn hex(&mut self, key: &str, bytes: &[u8]) {
        self.text(key.as_bytes());
        self.text(b"=");
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] {
                self.text(&[if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }]);
            }
        }
        self.text(b"\n");
    }
}

/// Async-signal-safe: write(2), fsync(2) and arithmetic.
fn write_words(what: &str, address: usize, at: usize) {
    let file = FILE.swap(-1, Ordering::AcqRel);
    if file < 0 {
        return;
    }
    let mut words = Words { bytes: [0; 1024], len: 0 };
    words.line("what", what.as_bytes());
    words.hex("address", &address.to_be_bytes());
    if let Some(doing) = DOING.get() {
        words.line("instance", doing.instance.as_bytes());
        words.line("phase", doing.phase.as_bytes());
        words.hex("event", &doing.event);
    }
    let known = LIBRARIES.get(..LIBRARY_COUNT.load(Ordering::Acquire)).unwrap_or_default();
    let library = known.iter().find(|l| (l.start.load(Ordering::Relaxed)..l.end.load(Ordering::Relaxed)).contains(&at));
    if let Some(library) = library {
        let (name, len) = (library.name.load(Ordering::Relaxed), library.name_len.load(Ordering::Relaxed));
        // SAFETY: a static text, stored before the count that was read with acquire.
        words.line("library", unsafe { std::slice::from_raw_parts(name, len) });
    }
    words.text(b"end\n");
    // SAFETY: the buffer lives; both calls are async-signal-safe.
    unsafe {
        libc::write(file, words.bytes.as_ptr().cast(), words.len);
        libc::fsync(file);
    }
}
