//! What the kernel says of unwritten memory, and of errors of a file system.
//! Inputs: /proc/meminfo, /sys. Outputs: numbers. Must never ask the file system itself.

use serde::Serialize;
use std::fs;
use std::path::Path;

/// What is not on any disk yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Unwritten {
    /// Changed in memory only.
    dirty_kib: u64,
    /// On its way.
    writeback_kib: u64,
}

impl Unwritten {
    /// Now; None when the kernel does not say.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/meminfo").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut fields =
                text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split_whitespace();
            fields.next()?.parse().ok()
        };
        Some(Self { dirty_kib: value("Dirty")?, writeback_kib: value("Writeback")? })
    }
}

/// How many errors a file system has met since it was made, where its type counts them (ext4).
pub(crate) fn errors(device: &str) -> Option<u64> {
    let block = fs::read_link(Path::new("/sys/dev/block").join(device)).ok()?;
    let counter = Path::new("/sys/fs/ext4").join(block.file_name()?).join("errors_count");
    fs::read_to_string(counter).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_numbers_are_found_among_the_others() {
        let text = "MemTotal:  10 kB\nDirty:             176 kB\nWritebackTmp:      9 kB\nWriteback:         4 kB\n";
        assert_eq!(Unwritten::parse(text), Some(Unwritten { dirty_kib: 176, writeback_kib: 4 }));
        assert_eq!(Unwritten::parse("Dirty: x kB\nWriteback: 4 kB\n"), None);
        assert!(Unwritten::now().is_some());
        assert_eq!(errors("0:0"), None);
    }
}
