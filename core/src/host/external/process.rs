//! One process and the pipe to it.
//!
//! Inputs: a manifest, lines to write. Outputs: a process in a group of its own, whether a line got
//! through, how the process ended. Must never pass on the daemon's environment, descriptors or blocked
//! signals (the standard library's spawn empties the mask), or wait longer than it is told.

use super::manifest::{Manifest, PROGRAM_PATH};
use crate::sys::clock;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// A process that was started, with this side of its pipes, which never block.
pub struct Spawned {
    /// To be waited for.
    pub child: Child,
    /// Its standard input.
    pub stdin: ChildStdin,
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
}

/// Starts the process, leader of a new group, at the calling thread's scheduling: call it from a thread
/// of normal priority.
///
/// # Errors
/// What the system said.
pub fn spawn(manifest: &Manifest, state_dir: &Path) -> io::Result<Spawned> {
    let mut command = Command::new(manifest.program());
    command.args(manifest.command.iter().skip(1)).env_clear().env("PATH", PROGRAM_PATH).env("LANG", "C.UTF-8");
    // A service has no home; what programs keep there belongs to the plugin's state.
    command.env("HOME", state_dir).envs(&manifest.env);
    command.current_dir(manifest.working_directory.as_deref().unwrap_or_else(|| Path::new("/")));
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(name) = manifest.command.first() {
        command.arg0(name);
    }
    let mut child = command.spawn()?;
    let pipes = match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok((stdin, stdout, stderr)),
        _ => Err(io::Error::other("the process has no pipes")),
    };
    let pipes = pipes.and_then(|(stdin, stdout, stderr)| {
        for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            set_nonblocking(fd)?;
        }
        Ok((stdin, stdout, stderr))
    });
    match pipes {
        Ok((stdin, stdout, stderr)) => Ok(Spawned { child, stdin, stdout, stderr }),
        Err(error) => {
            // Both fail only when it is gone already.
            let _ = killpg(number(&child), Signal::SIGKILL);
            let _ = child.wait();
            Err(error)
        }
    }
}

/// The process's number, which is also that of its group.
pub fn number(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// Whether the process ended. It is left unreaped: until it is, no other process can get its number.
pub fn has_ended(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::StillAlive))
}

/// How a process ended, as a sentence's end.
pub fn ending(status: io::Result<ExitStatus>) -> String {
    match status.map(|s| (s.code(), s.signal())) {
        Ok((Some(code), _)) => format!("exited with status {code}"),
        Ok((None, Some(signal))) => format!("killed by signal {signal}"),
        Ok((None, None)) | Err(_) => "ended, the system does not say how".to_owned(),
    }
}

/// Waits until one of `fds` is ready, at most `limit_ms`. Returns which are; none when interrupted.
pub fn wait_ready<const N: usize>(fds: [(Option<BorrowedFd<'_>>, PollFlags); N], limit_ms: u16) -> [bool; N] {
    let mut ready = [false; N];
    let (mut places, mut wanted) = (Vec::with_capacity(N), Vec::with_capacity(N));
    for (place, (fd, flags)) in fds.into_iter().enumerate() {
        if let Some(fd) = fd {
            places.push(place);
            wanted.push(PollFd::new(fd, flags));
        }
    }
    if poll(&mut wanted, PollTimeout::from(limit_ms)).is_ok_and(|count| count > 0) {
        for (place, fd) in places.into_iter().zip(&wanted) {
            // Bits this version of the library does not know mean "something happened", too.
            ready[place] = fd.any().unwrap_or(true);
        }
    }
    ready
}

/// Why a line did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The plugin did not read it in time; part of it may be written, so nothing can follow.
    Late,
    /// The pipe is closed or the process is being ended.
    Broken,
}

/// The pipe to a process, for several threads.
pub struct Writer {
    pipe: Mutex<Option<ChildStdin>>,
    stop: Arc<EventFd>,
}

impl Writer {
    /// Owns the pipe; `stop` turns readable when the process is to end.
    pub fn new(pipe: ChildStdin, stop: Arc<EventFd>) -> Self {
        Self { pipe: Mutex::new(Some(pipe)), stop }
    }

    /// Writes a whole line, waiting for the plugin to read until `until_ns` (CLOCK_BOOTTIME).
    ///
    /// # Errors
    /// That it did not get through.
    pub fn send(&self, line: &str, until_ns: i64) -> Result<(), NotSent> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pipe) = pipe.as_mut() else { return Err(NotSent::Broken) };
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match pipe.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left_ms = until_ns.saturating_sub(clock::boot_ns()) / 1_000_000;
                    if left_ms <= 0 {
                        return Err(NotSent::Late);
                    }
                    let fds = [(Some(pipe.as_fd()), PollFlags::POLLOUT), (Some(self.stop.as_fd()), PollFlags::POLLIN)];
                    if wait_ready(fds, left_ms.min(500) as u16)[1] {
                        return Err(NotSent::Broken);
                    }
                }
                Err(_) => return Err(NotSent::Broken),
            }
        }
        Ok(())
    }

    /// Writes a short line if that needs no waiting. Lines up to PIPE_BUF bytes (4096, pipe(7)) are
    /// written as a whole or not at all.
    pub fn send_at_once(&self, line: &str) {
        let mut pipe = match self.pipe.try_lock() {
            Ok(pipe) => pipe,
            Err(TryLockError::Poisoned(pipe)) => pipe.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Some(pipe) = pipe.as_mut() {
            // A plugin that reads nothing learns of it by being killed.
            let _ = pipe.write(line.as_bytes());
        }
    }

    /// Ends the plugin's standard input, unless somebody is writing.
    pub fn close(&self) {
        if let Ok(mut pipe) = self.pipe.try_lock() {
            *pipe = None;
        }
    }
}
