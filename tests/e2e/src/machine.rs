//! Parts of a machine that a test may break: control groups with little memory, a network of its own.
//!
//! Responsibilities: make them, clean them up. Inputs: the kernel, root. Outputs: paths, a thread in its own network namespace.
//! Must never touch what belongs to the machine itself.

use harness::program;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// One of the tools.
const LIMIT: Duration = Duration::from_secs(30);

/// A control group of version 2, and one for its memory where that is accounted for by version 1 (a hybrid machine).
#[derive(Debug)]
pub struct Group {
    /// Its directory in version 2.
    pub path: PathBuf,
    memory: PathBuf,
    is_hybrid: bool,
    children: Vec<Child>,
}

impl Group {
    /// Makes one whose processes may have so many bytes in all.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn with_memory(name: &str, bytes: u64) -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("only root may make control groups".into());
        }
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let place = |kind: &str, option: &str| {
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find_map(|words| match words[..] {
                [_, place, found, options, ..] if found == kind && options.split(',').any(|o| o == option) => {
                    Some(PathBuf::from(place))
                }
                _ => None,
            })
        };
        let top = place("cgroup2", "rw").ok_or("version 2 of control groups is not mounted")?;
        let name = format!("snz-{name}-{}", std::process::id());
        let path = top.join(&name);
        let older = place("cgroup", "memory").map(|memory| memory.join(&name));
        let group = Self {
            is_hybrid: older.is_some(),
            memory: older.unwrap_or_else(|| path.clone()),
            path,
            children: Vec::new(),
        };
        let failed = |error: std::io::Error| format!("no control group: {error}");
        fs::create_dir(&group.path).map_err(failed)?;
        if group.is_hybrid {
            fs::create_dir(&group.memory).map_err(failed)?;
        }
        let limit = group.memory.join(if group.is_hybrid { "memory.limit_in_bytes" } else { "memory.max" });
        fs::write(&limit, bytes.to_string()).map_err(|error| format!("{}: {error}", limit.display()))?;
        if !group.path.join("memory.pressure").exists() {
            return Err("this kernel does not measure waiting in control groups".into());
        }
        Ok(group)
    }

    /// Runs a line of shell in it until it is dropped or ends.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&mut self, script: &str) -> Result<(), String> {
        let enter = "echo $$ > \"$0/cgroup.procs\" && echo $$ > \"$1/cgroup.procs\" || exit 1";
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{enter}\n{script}")]).arg(&self.path).arg(&self.memory);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(child.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Ends what runs in it.
    pub fn end(&mut self) {
        let _killed = fs::write(self.path.join("cgroup.kill"), "1");
        self.children.iter_mut().for_each(program::kill_and_reap);
        self.children.clear();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        // Busy until the last of its processes is gone.
        let _gone = harness::wait::until("an empty group", LIMIT, || remove(&self.path).then_some(()));
        let _gone = harness::wait::until("an empty group", LIMIT, || remove(&self.memory).then_some(()));
    }
}

fn remove(group: &Path) -> bool {
    fs::remove_dir(group).is_ok() || !group.exists()
}

/// Does `work` on a thread that has a network of its own, with nothing in it but a loopback that is down. What the thread starts
/// is in that network too.
///
/// # Errors
/// The kernel refuses it.
///
/// # Panics
/// When the work does.
pub fn in_own_network(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("no network of its own: {error}"))?;
        work();
        Ok(())
    });
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs ip(8) in the network of this thread.
///
/// # Panics
/// When it fails.
pub fn ip(words: &str) {
    let output = program::run(Command::new("ip").args(words.split(' ')), LIMIT);
    output.and_then(|output| output.success(&format!("ip {words}"))).unwrap_or_else(|error| panic!("{error}"));
}
