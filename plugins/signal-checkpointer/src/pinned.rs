//! One process, held by a descriptor, so that its number cannot come to mean another.
//!
//! Inputs: a number. Outputs: a process that signals reach, or nobody. Must never send a signal by number.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Ticks a second in which the kernel tells start times (USER_HZ, 100 on every architecture that this runs on).
const TICKS: f64 = 100.0;

/// What `/proc/PID/stat` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) name: String,
    /// R, S, D, T and so on, as ps(1) shows it.
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// Ticks since the machine was started.
    pub(crate) started: u64,
}

impl Stat {
    /// Reads it; None when there is no such process.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    /// proc_pid_stat(5): the name stands in parentheses, and may hold some and blanks itself.
    fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.rsplit_once(") ")?;
        let (_, name) = head.split_once(" (")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: number(1)?,
            group: number(2)?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// Seconds from the start of the machine to that of the process.
    pub(crate) fn started_s(&self) -> f64 {
        self.started as f64 / TICKS
    }
}

/// A process that cannot be confused with another.
pub(crate) struct Pinned {
    pidfd: OwnedFd,
    pub(crate) pid: i32,
    /// As it was when it was pinned.
    pub(crate) stat: Stat,
}

impl Pinned {
    /// Pins it; None when it has ended or there is none.
    ///
    /// # Errors
    /// Neither: there are no descriptors left, or the kernel is older than 5.3.
    pub(crate) fn open(pid: i32) -> io::Result<Option<Self>> {
        let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // EINVAL, in newer kernels ENOENT: the number of a thread, which is no process.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(stat) = Stat::of(pid) else { return Ok(None) };
        let pinned = Self { pidfd, pid, stat };
        // Alive after /proc was read: so what was read is about the process that the descriptor holds, because a
        // number is not given away before its process was waited for.
        Ok((!pinned.has_ended()).then_some(pinned))
    }

    /// Whether it has ended. One that its parent has not waited for yet has.
    pub(crate) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Its state now; None when it has ended.
    pub(crate) fn state(&self) -> Option<char> {
        let stat = Stat::of(self.pid)?;
        (!self.has_ended()).then_some(stat.state)
    }

    /// Signals it; false when it has ended.
    ///
    /// # Errors
    /// It may not be signalled.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// For people: `python3 (4711)`.
    pub(crate) fn shown(&self) -> String {
        format!("{} ({})", self.stat.name, self.pid)
    }

    /// For the report.
    pub(crate) fn report(&self) -> Value {
        let after = self.state().map_or("ended", state_name);
        json!({
            "pid": self.pid, "name": self.stat.name, "started_s_after_boot": self.stat.started_s(),
            "state_before": state_name(self.stat.state), "state_after": after,
        })
    }
}

/// What ps(1)'s letter means.
fn state_name(letter: char) -> &'static str {
    match letter {
        'R' => "running",
        'S' | 'I' => "sleeping",
        'D' => "uninterruptible",
        'T' => "stopped",
        't' => "traced",
        'Z' | 'X' => "ended",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_is_no_trap() {
        let text = "7 (a) b (c) S 1 6 6 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1 18446744073709551615";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat, Stat { name: "a) b (c".to_owned(), state: 'S', parent: 1, group: 6, started: 12345 });
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_can_be_pinned_and_no_process_cannot() {
        let own = i32::try_from(std::process::id()).unwrap();
        let pinned = Pinned::open(own).unwrap().unwrap();
        assert!(!pinned.has_ended() && pinned.state().is_some());
        assert!(Pinned::open(i32::MAX).unwrap().is_none());
        assert!(Pinned::open(0).unwrap().is_none());
    }
}
