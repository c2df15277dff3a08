//! How a command is started, so that it has nothing of the daemon's.
//!
//! Inputs: words, environment, directory, input. Outputs: the leader of a new process group, and this side of its pipes.
//! What the kernel would hand down is taken away before the program runs, by posix_spawn(3): blocked signals, ignored
//! signals, real-time scheduling, every descriptor but the first three. The directory is changed by a shell that then
//! becomes the program, because posix_spawn as the standards have it cannot do that and the daemon must not. Must never
//! block for longer than starting a program takes.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, pipe2};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::fcntl_dupfd_cloexec;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const SHELL: &CStr = c"/bin/sh";
/// `$0` is the directory.
const GO_AND_BECOME: &CStr = c"cd -- \"$0\" && exec \"$@\"";
/// Standard input, output and error.
const STANDARD: [RawFd; 3] = [0, 1, 2];

/// What was started.
pub struct Started {
    pub leader: Pid,
    pub stdout: File,
    pub stderr: File,
}

/// Starts it, at normal priority whatever the calling thread has.
///
/// # Errors
/// What the system said.
pub fn start(words: &[CString], env: &[CString], directory: &Path, input: &[u8]) -> io::Result<Started> {
    let stdin = above_standard(memory(input)?)?;
    let (stdout, child_stdout) = pipe()?;
    let (stderr, child_stderr) = pipe()?;
    let mut actions = PosixSpawnFileActions::init()?;
    for (ours, standard) in [&stdin, &child_stdout, &child_stderr].into_iter().zip(STANDARD) {
        actions.add_dup2(ours.as_raw_fd(), standard)?;
    }
    // All there are, also those whose owner forgot that they are handed down. One that is closed meanwhile is passed over.
    for fd in descriptors() {
        actions.add_close(fd)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            // The attributes' policy is SCHED_OTHER, priority 0, unless one is set.
            | PosixSpawnFlags::from_bits_retain(libc::POSIX_SPAWN_SETSCHEDULER),
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let directory = CString::new(directory.as_os_str().as_bytes())?;
    let mut all = vec![SHELL, c"-c", GO_AND_BECOME, directory.as_c_str()];
    all.extend(words.iter().map(CString::as_c_str));
    let env: Vec<&CStr> = env.iter().map(CString::as_c_str).collect();
    let leader = posix_spawn(SHELL, &actions, &attributes, &all, &env)?;
    Ok(Started { leader, stdout: File::from(stdout), stderr: File::from(stderr) })
}

/// A file in memory that holds the input: unlike a pipe it needs nobody to write while the command reads, and cannot raise
/// SIGPIPE when the command does not.
fn memory(input: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("event", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

/// This side, which never blocks, and the command's.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    let flags = OFlag::from_bits_retain(fcntl(ours.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(ours.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok((ours, above_standard(theirs)?))
}

/// A host that has closed its own standard streams is given their numbers; there they would be in each other's way.
fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= 3 { Ok(fd) } else { Ok(fcntl_dupfd_cloexec(&fd, 3)?) }
}

fn descriptors() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|fd| *fd > 2).collect()
}
