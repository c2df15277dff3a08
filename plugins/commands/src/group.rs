//! The processes of a command: its leader and whom that has started, one process group.
//!
//! Inputs: the leader's number, whose group has the same one. Outputs: who is there, signals to them. Must only be asked
//! while the leader has not been waited for: until then nobody else can get its number.

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::fs;

/// How a leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Killed(Signal),
    /// It cannot be ended: it waits for a disk, say.
    Stuck,
}

/// Signals all of them.
pub fn signal(leader: Pid, signal: Signal) {
    // It fails only when they are all gone, or have become another user's (a set-uid program), where nothing helps.
    let _sent = killpg(leader, signal);
}

/// Whether the leader has ended. It is left unreaped.
pub fn has_ended(leader: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(leader), flags), Ok(WaitStatus::StillAlive))
}

/// Waits for the leader if it has ended, which gives its number back.
pub fn reap(leader: Pid) -> Ended {
    match waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
        Ok(WaitStatus::Exited(_, code)) => Ended::Exited(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => Ended::Killed(signal),
        _ => Ended::Stuck,
    }
}

/// The others of the group that have not ended, for people: `sleep (4711)`.
pub fn others(leader: Pid) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != leader.as_raw()).filter_map(|pid| member(pid, leader)).collect()
}

fn member(pid: i32, leader: Pid) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // proc_pid_stat(5): the name stands in parentheses and may hold any; state, parent and group follow.
    let (head, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let group: i32 = fields.nth(1)?.parse().ok()?;
    let name = head.split_once(" (").map_or("", |(_, name)| name);
    (group == leader.as_raw() && !matches!(state, "Z" | "X")).then(|| format!("{name} ({pid})"))
}
