//! What all code of a process shares: threads, descriptors, signal handlers, directory, locale and more.
//!
//! Inputs: the process itself. Outputs: snapshots, and sentences about what changed between two. Must never change
//! what it looks at.
#![allow(unsafe_code)]

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsString, c_int};
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What of the process a library must leave alone, as of one moment. Signal mask and floating-point mode are those of
/// the calling thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    handlers: Vec<(i32, usize)>,
    mask: BTreeSet<i32>,
    directory: PathBuf,
    umask: String,
    locale: String,
    environment: BTreeMap<OsString, OsString>,
    floating_point: u64,
    limits: Vec<String>,
}

impl Surroundings {
    /// As they are now.
    pub fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap_or_default().trim();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            handlers: (1..=64).filter_map(|signal| Some((signal, handler(signal)?))).collect(),
            mask: mask(),
            directory: std::env::current_dir().unwrap_or_default(),
            umask: umask.to_owned(),
            locale: locale(),
            environment: std::env::vars_os().collect(),
            floating_point: floating_point_mode(),
            limits: limits.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect(),
        }
    }

    /// What is not as it was, one phrase each.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (signal, handler) in &self.handlers {
            if before.handlers.iter().any(|(other, old)| other == signal && old != handler) {
                changes.push(format!("the handler of {} was replaced", signal_name(*signal)));
            }
        }
        for (verb, old, new) in [("blocks", &before.mask, &self.mask), ("lets through", &self.mask, &before.mask)] {
            let names: Vec<String> = new.difference(old).take(4).map(|signal| signal_name(*signal)).collect();
            if !names.is_empty() {
                let more = new.difference(old).count() - names.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                changes.push(format!("the calling thread now {verb} {}{more}", names.join(", ")));
            }
        }
        let mut differs = |what: &str, old: &str, new: &str| {
            if old != new {
                changes.push(format!("the {what} was {old} and is {new}"));
            }
        };
        differs("working directory", &before.directory.to_string_lossy(), &self.directory.to_string_lossy());
        differs("umask", &before.umask, &self.umask);
        differs("locale", &before.locale, &self.locale);
        let hex = |mode: u64| format!("{mode:#06x}");
        differs("floating-point mode of the thread", &hex(before.floating_point), &hex(self.floating_point));
        for name in before.environment.keys().chain(self.environment.keys()).collect::<BTreeSet<_>>() {
            // Names only: a value may be a secret.
            if before.environment.get(name) != self.environment.get(name) {
                changes.push(format!("the environment variable {} was changed", name.to_string_lossy()));
            }
        }
        for limit in self.limits.iter().filter(|limit| !before.limits.contains(limit)) {
            changes.push(format!("a resource limit is now: {limit}"));
        }
        changes
    }
}

/// The name of a signal: `SIGTERM`; its number when it has none.
pub fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |s| s.to_string())
}

/// Address of a signal's handler; 0 is the default, 1 ignores it. None where the system keeps it for itself.
fn handler(signal: i32) -> Option<usize> {
    // SAFETY: an all-zero record is a valid one, and the call only writes to it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0).then_some(action.sa_sigaction)
    }
}

fn mask() -> BTreeSet<i32> {
    let set = SigSet::thread_get_mask();
    set.map(|set| set.iter().map(|signal| signal as i32).collect()).unwrap_or_default()
}

fn locale() -> String {
    // SAFETY: asking (NULL) changes nothing; the answer is NULL or text that is copied at once.
    unsafe {
        let name = libc::setlocale(libc::LC_ALL, std::ptr::null());
        if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

/// MXCSR without its status flags; what -ffast-math changes.
#[cfg(target_arch = "x86_64")]
fn floating_point_mode() -> u64 {
    let mut mode = 0u32;
    // SAFETY: stores the register to four bytes that live here.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack)) };
    u64::from(mode & !0x3F)
}

/// FPCR; what -ffast-math changes.
#[cfg(target_arch = "aarch64")]
fn floating_point_mode() -> u64 {
    let mode: u64;
    // SAFETY: reads the register.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) mode, options(nomem, nostack)) };
    mode
}

/// Not known for other machines.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn floating_point_mode() -> u64 {
    0
}

/// How many threads the process has.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// How many threads there are once those that are ending have ended: the kernel's list keeps a thread a moment longer
/// than its join. Waits at most a second for no more than `expected`.
pub fn settled_threads(expected: usize) -> usize {
    for _ in 0..100 {
        if threads() <= expected {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    threads()
}

/// The open descriptors and what they are.
pub fn descriptors() -> BTreeMap<i32, PathBuf> {
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    let all = listed.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, std::fs::read_link(entry.path()).ok()?))
    });
    // The listing's own descriptor is gone by now.
    all.filter(|(_, target)| !target.ends_with("fd") || !target.starts_with("/proc")).collect()
}

/// Bytes that malloc has handed out and not taken back, in all its arenas (mallinfo2(3)).
pub fn heap_bytes() -> usize {
    // SAFETY: only reads the allocator's own counts.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// Bytes of memory that the process holds (proc_pid_statm(5)).
pub fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Whether the process has children that nobody has waited for.
pub fn has_children() -> bool {
    // SAFETY: asks only (WNOWAIT leaves what it finds); the record is writable.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_ALL, 0, &raw mut info, flags) == 0
    }
}

/// The version of the C library: `2.36`.
pub fn glibc_version() -> String {
    // SAFETY: static NUL-terminated text.
    unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) }.to_string_lossy().into_owned()
}

/// Has C write out what it holds back of standard output.
pub fn flush_c_output() {
    // SAFETY: NULL means every open output stream.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Standard output, caught for a while.
pub struct OutputWatch {
    caught: File,
    real: OwnedFd,
}

impl OutputWatch {
    /// From now on, what is written to standard output goes nowhere but here.
    ///
    /// # Errors
    /// There is no memory or no descriptor for it.
    pub fn begin() -> io::Result<Self> {
        flush_c_output();
        let real = io::stdout().as_fd().try_clone_to_owned()?;
        let caught = File::from(memfd_create(c"snooze-output", MFdFlags::MFD_CLOEXEC)?);
        nix::unistd::dup2_stdout(&caught)?;
        Ok(Self { caught, real })
    }

    /// What was written; standard output is what it was.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn end(mut self) -> io::Result<Vec<u8>> {
        flush_c_output();
        nix::unistd::dup2_stdout(&self.real)?;
        let mut bytes = Vec::new();
        self.caught.rewind()?;
        self.caught.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// How often the signal of a [`Listener`] came.
static HEARD: AtomicU32 = AtomicU32::new(0);

extern "C" fn hear(_signal: c_int) {
    HEARD.fetch_add(1, Ordering::SeqCst);
}

/// Counts a signal for as long as the process lives.
pub struct Listener(Signal);

impl Listener {
    /// From now on.
    ///
    /// # Errors
    /// The signal cannot be caught.
    pub fn begin(signal: Signal) -> io::Result<Self> {
        let action = SigAction::new(SigHandler::Handler(hear), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler only adds to an atomic number.
        unsafe { sigaction(signal, &action) }?;
        Ok(Self(signal))
    }

    /// Sends the signal to this process, and says whether it was heard within half a second.
    pub fn hears_one(&self) -> bool {
        let before = HEARD.load(Ordering::SeqCst);
        if kill(Pid::this(), self.0).is_err() {
            return false;
        }
        for _ in 0..100 {
            if HEARD.load(Ordering::SeqCst) > before {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_by_looking_and_a_blocked_signal_is_seen() {
        std::thread::spawn(|| {
            let before = Surroundings::now();
            assert_eq!(Surroundings::now().changes_since(&before), Vec::<String>::new());
            super::super::sched::block_all_signals();
            let changes = Surroundings::now().changes_since(&before);
            assert!(
                changes.iter().any(|c| c.starts_with("the calling thread now blocks SIGHUP, SIGINT")),
                "{changes:?}"
            );
        })
        .join()
        .expect("thread");
        assert!(threads() >= 1 && descriptors().contains_key(&2));
    }
}
