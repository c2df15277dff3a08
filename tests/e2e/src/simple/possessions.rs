//! What a process holds of the machine, as the kernel counts it.
//! Inputs: a process id. Outputs: counts. Must never take a process that is gone for one that holds nothing.

/// Threads, descriptors and memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Possessions {
    /// Threads.
    pub threads: usize,
    /// File descriptors.
    pub descriptors: usize,
    /// Memory that is not shared with files (`RssAnon` of proc_pid_status(5)), KiB.
    pub memory_kib: u64,
}

impl Possessions {
    /// Those of this process now.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn of(pid: u32) -> Self {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).expect("it runs").count();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let memory =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
        Self { threads: count("task"), descriptors: count("fd"), memory_kib: memory.expect("a kernel that tells") }
    }
}
