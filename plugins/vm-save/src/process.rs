//! A machine's process, as /proc shows it.
//!
//! Inputs: its number, as the kernel told it of the monitor's other end. Outputs: whether it has ended, the memory it holds.
//! Must never take a process for it that only got its number.

use cloudsnooze_plugin::process::has_ended;
use serde::{Deserialize, Serialize};
use std::fs;

/// A process, by number and start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    started: u64,
}

impl Process {
    /// The process of this number, if it is a QEMU. A monitor may have been opened by somebody else (libvirt hands its QEMU
    /// an open socket), whose memory and whose end say nothing.
    pub(crate) fn qemu(pid: u32) -> Option<Self> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let is_qemu = name.starts_with("qemu") || name.starts_with("kvm");
        is_qemu.then(|| started(pid).map(|started| Self { pid, started }))?
    }

    /// Whether it has ended; also when its number is somebody else's by now.
    pub(crate) fn has_ended(self) -> bool {
        has_ended(self.pid) || started(self.pid) != Some(self.started)
    }

    /// Bytes of memory that it holds: a machine's memory that was never touched is not among them.
    pub(crate) fn memory(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        (!self.has_ended()).then(|| held(&status))?
    }
}

/// Resident, swapped out, and in huge pages, which the kernel counts apart.
fn held(status: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    let more = ["VmSwap:", "HugetlbPages:"].into_iter().filter_map(kib).sum::<u64>();
    Some((kib("VmRSS:")? + more) * 1024)
}

/// proc_pid_stat(5): the 22nd field; the name stands in parentheses and may hold any.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_no_qemu_and_a_number_that_is_anothers_has_ended() {
        let pid = std::process::id();
        assert_eq!(Process::qemu(pid), None);
        let this = Process { pid, started: started(pid).unwrap() };
        assert!(!this.has_ended() && this.memory().unwrap() > 1_000_000);
        let other = Process { started: this.started + 1, ..this };
        assert!(other.has_ended() && other.memory().is_none());
    }

    #[test]
    fn memory_is_what_is_resident_swapped_and_huge() {
        let status = "Name:\tqemu\nVmRSS:\t    1000 kB\nVmSwap:\t      24 kB\nHugetlbPages:\t    2048 kB\n";
        assert_eq!(held(status), Some((1000 + 24 + 2048) * 1024));
        assert_eq!(held("VmRSS:\t    10 kB\n"), Some(10 * 1024));
        assert_eq!(held("Name:\tkernel thread\n"), None);
    }
}
