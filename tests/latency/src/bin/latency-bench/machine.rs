//! What machine the figures are from.
//!
//! Inputs: /proc. Outputs: names and numbers. Must never tell the machine's own name.

use serde::Serialize;
use std::fs;
use std::thread;

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Kernel release.
    pub(crate) kernel: String,
    /// Model of the processor.
    pub(crate) cpu: String,
    /// Processors this program may use.
    pub(crate) cores: usize,
    /// Scheduling that the floor and ours got.
    pub(crate) granted: String,
}

impl Machine {
    /// This machine.
    pub(crate) fn here(granted: String) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: model.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            granted,
        }
    }
}
