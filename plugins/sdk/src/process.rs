//! Other processes of this machine, as /proc shows them.
//!
//! Inputs: a process's number. Outputs: what the kernel says of it. Must never wait, nor signal anything.

use std::fs;

/// Whether a process has ended. A dead one that its parent has not collected yet has, but for threads that outlive the first:
/// a server's may write on.
pub fn has_ended(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // proc_pid_stat(5): the state follows the name, which stands in parentheses and may hold any.
    let is_dead = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']));
    is_dead && fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().count() <= 1
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn this_process_runs_and_one_that_ended_has_collected_or_not() {
        assert!(!super::has_ended(std::process::id()));
        let mut child = Command::new("true").spawn().expect("started");
        while !super::has_ended(child.id()) {
            std::thread::yield_now();
        }
        child.wait().expect("collected");
        assert!(super::has_ended(child.id()));
    }
}
