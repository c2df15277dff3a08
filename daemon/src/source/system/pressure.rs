//! What the kernel says of memory: texts to numbers, and the files that wake whoever waits for them.
//!
//! Inputs: `/proc` and `/sys/fs/cgroup`. Outputs: numbers, open files. Must never keep the kernel measuring for nobody: a trigger
//! ends with its file.
//!
//! Facts: Documentation/accounting/psi.rst (a trigger is written as "some STALL_US WINDOW_US", and poll(2) then says POLLPRI at most
//! once a window; without CAP_SYS_RESOURCE windows are multiples of 2 s) and Documentation/admin-guide/cgroup-v2.rst
//! (`memory.events`, of a group and all below it; it says POLLPRI when a number changes, until it is read again).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Numbers of `memory.events` that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEvents {
    /// How often the group was throttled at `memory.high`.
    pub high: u64,
    /// How often it was at `memory.max`.
    pub max: u64,
    /// Processes killed.
    pub oom_kill: u64,
}

/// `low 0\nhigh 3\nmax 12\noom 1\noom_kill 1\n`; what is missing is 0.
pub fn group_events(text: &str) -> GroupEvents {
    let of = |name| value(text, name).unwrap_or(0);
    GroupEvents { high: of("high"), max: of("max"), oom_kill: of("oom_kill") }
}

/// The number after `name` on a line of its own, as in `/proc/vmstat`.
pub fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Kibibytes after `name:`, as in `/proc/meminfo`, as bytes.
pub fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// Per cent of the last ten seconds that `kind` (`some` or `full`) of the tasks waited.
pub fn waited_percent(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
    line.split(' ').find_map(|word| word.strip_prefix("avg10=")?.parse().ok())
}

/// Microseconds that some task has waited in all.
pub fn waited_us(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split(' ').find_map(|word| word.strip_prefix("total=")?.parse().ok())
}

/// Where version 2 of control groups is mounted, and the daemon's own group in it.
pub fn groups(mountinfo: &str, cgroup: &str) -> Option<(PathBuf, PathBuf)> {
    let mount = super::mounts::parse(mountinfo).into_iter().find(|mount| mount.file_system == "cgroup2")?;
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // In a container the path may lead out of what is mounted.
    let own = if own.starts_with("..") { "" } else { own };
    Some((mount.mount_point.clone(), mount.mount_point.join(own)))
}

/// A file whose trigger says when tasks wait for memory.
#[derive(Debug)]
pub struct Trigger {
    /// Its file, which is waited for with POLLPRI.
    pub file: File,
    /// The same.
    pub path: PathBuf,
}

impl Trigger {
    /// Has the kernel say when some task has waited for `stall_us` of `window_us`.
    ///
    /// # Errors
    /// In words: this kernel does not measure it, or may not be asked.
    pub fn set(path: &Path, stall_us: u64, window_us: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        file.write_all(format!("some {stall_us} {window_us}\0").as_bytes()).map_err(failed)?;
        Ok(Self { file, path: path.to_owned() })
    }
}

/// A group whose numbers are followed.
#[derive(Debug)]
pub struct Group {
    /// Its `memory.events`, which is waited for with POLLPRI.
    pub file: File,
    /// Its directory.
    pub path: PathBuf,
    /// Its numbers as they were read last.
    pub events: GroupEvents,
}

impl Group {
    /// Follows the group of a directory. None: its memory is not accounted for.
    pub fn open(path: &Path) -> Option<Self> {
        let file = File::open(path.join("memory.events")).ok()?;
        let mut group = Self { file, path: path.to_owned(), events: GroupEvents::default() };
        group.read().ok()?;
        Some(group)
    }

    /// Reads the numbers. Gives how many processes were killed since the last time.
    ///
    /// # Errors
    /// The group is gone.
    pub fn read(&mut self) -> std::io::Result<u64> {
        let mut text = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut text)?;
        let events = group_events(&text);
        let killed = events.oom_kill.saturating_sub(self.events.oom_kill);
        self.events = events;
        Ok(killed)
    }
}

/// The topmost groups below a directory; their numbers count for all below them.
pub fn topmost(mount_point: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(mount_point).into_iter().flatten().flatten();
    let mut groups: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    groups.sort();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_understood() {
        let events = group_events("low 0\nhigh 3\nmax 12\noom 2\noom_kill 1\noom_group_kill 5\n");
        assert_eq!(events, GroupEvents { high: 3, max: 12, oom_kill: 1 });
        assert_eq!(group_events("garbage"), GroupEvents::default());
        assert_eq!(value("oom_killx 3\noom_kill 7\n", "oom_kill"), Some(7));
        assert_eq!(meminfo_bytes("MemTotal:  2048 kB\nMemAvailable:\t 1 kB\n", "MemAvailable"), Some(1_024));
        let text =
            "some avg10=12.50 avg60=0.00 avg300=0.02 total=18342195\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=3\n";
        assert_eq!((waited_percent(text, "some"), waited_percent(text, "full")), (Some(12.5), Some(1.0)));
        assert_eq!(
            (waited_percent("", "some"), waited_us(text), waited_us("full total=3")),
            (None, Some(18_342_195), None)
        );
    }

    #[test]
    fn the_own_group_is_found_where_version_2_is_mounted() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let of = |cgroup| groups(mounts, cgroup).map(|(_, own)| own.display().to_string());
        assert_eq!(of("0::/system.slice/s.service\n").as_deref(), Some("/sys/fs/cgroup/system.slice/s.service"));
        assert_eq!(of("4:memory:/x\n0::/../..\n").as_deref(), Some("/sys/fs/cgroup/"));
        assert_eq!(of("4:memory:/x\n"), None);
    }

    #[test]
    fn a_group_tells_how_many_were_killed_since_and_that_it_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("memory.events");
        fs::write(&file, "oom_kill 2\n").expect("written");
        let mut group = Group::open(directory.path()).expect("a group");
        assert_eq!(group.read().expect("there"), 0, "those are old");
        fs::write(&file, "high 9\noom_kill 5\n").expect("written");
        assert_eq!((group.read().expect("there"), group.events.high), (3, 9));
        assert!(Group::open(&directory.path().join("none")).is_none());
    }

    #[test]
    fn this_kernel_takes_a_trigger_or_says_why_not() {
        let path = Path::new("/proc/pressure/memory");
        match Trigger::set(path, 400_000, 2_000_000) {
            Ok(trigger) => assert_eq!(trigger.path, path),
            Err(error) => assert!(error.starts_with("/proc/pressure/memory: "), "{error}"),
        }
    }
}
