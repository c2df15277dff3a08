//! Processes as the kernel shows them: whose child, in which state.
//!
//! Responsibilities: find the children of a process, stop processes in their tracks, end them, and wait until that is so.
//! Inputs: process numbers, `/proc`. Outputs: process numbers, states. It must never signal a process that it was not given.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// The kernel does these things at once, but a busy machine may take its time.
const LIMIT: Duration = Duration::from_secs(60);

/// The letter of its state, such as `T` for stopped and `Z` for ended but not collected; `None` when there is no such process.
pub fn state(pid: Pid) -> Option<char> {
    after_name(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?.chars().next()
}

/// Its command line with arguments joined by blanks, or the title that it has given itself; empty when there is none.
pub fn title(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

/// The processes that `parent` has started and that are still there.
pub fn children(parent: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    after_name(&stat)?.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}

/// What follows the name in `/proc/PID/stat`; a name may hold anything, parentheses too.
fn after_name(stat: &str) -> Option<&str> {
    Some(stat.rsplit_once(") ")?.1)
}

/// Stops processes in their tracks, each with all its threads. Returns when all have stopped.
///
/// # Errors
/// When one does not stop.
pub fn freeze(pids: &[Pid]) -> Result<(), String> {
    for pid in pids {
        // A process that is just ending is as good as stopped.
        let _sent = kill(*pid, Signal::SIGSTOP);
    }
    for pid in pids {
        wait::until(&format!("process {pid} to stop"), LIMIT, || is_still(*pid).then_some(()))?;
    }
    Ok(())
}

/// True when no thread of it runs.
fn is_still(pid: Pid) -> bool {
    let is_still = |stat: String| after_name(&stat).is_none_or(|rest| rest.starts_with(['T', 'Z', 'X']));
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| task.path().join("stat")).all(|stat| std::fs::read_to_string(stat).map_or(true, is_still))
}

/// Lets processes go on.
pub fn thaw(pids: &[Pid]) {
    for pid in pids {
        // One may have ended meanwhile.
        let _sent = kill(*pid, Signal::SIGCONT);
    }
}

/// Ends processes at once (SIGKILL). Those of other parents are gone when this returns; collecting its own is the caller's.
///
/// # Errors
/// When one is still there in the end.
pub fn kill_all(pids: &[Pid]) -> Result<(), String> {
    for pid in pids {
        // One may have ended by itself.
        let _sent = kill(*pid, Signal::SIGKILL);
    }
    for pid in pids {
        let is_gone = || state(*pid).is_none_or(|state| state == 'Z').then_some(());
        wait::until(&format!("the end of process {pid}"), LIMIT, is_gone)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program;
    use std::process::{Child, Command, Stdio};

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep")
    }

    fn pid_of(child: &Child) -> Pid {
        Pid::from_raw(child.id().cast_signed())
    }

    #[test]
    fn a_process_is_stopped_goes_on_and_is_ended() {
        let mut child = sleeper();
        let pid = pid_of(&child);
        assert!(children(Pid::this()).contains(&pid));
        wait::until("its title", LIMIT, || (title(pid).trim() == "sleep 60").then_some(())).expect("it has begun");
        freeze(&[pid]).expect("it stops");
        assert_eq!(state(pid), Some('T'));
        thaw(&[pid]);
        wait::until("it to go on", LIMIT, || (state(pid) != Some('T')).then_some(())).expect("it goes on");
        kill_all(&[pid]).expect("it ends");
        assert_eq!(state(pid), Some('Z'));
        program::kill_and_reap(&mut child);
        assert_eq!((state(pid), title(pid).as_str()), (None, ""));
        assert!(freeze(&[pid]).is_ok() && kill_all(&[pid]).is_ok(), "who is gone is no trouble");
    }
}
