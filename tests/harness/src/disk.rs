//! A file system of a test's own, on a loop device.
//!
//! Responsibilities: make and mount one, freeze and thaw it, give what its disk would hold if the power failed now. Inputs: a
//! type, a size, mount options. Outputs: a mounted file system that is unmounted when the value is dropped, also by a process
//! that outlives a killed test. It must never leave a file system frozen: who writes to it could not even be killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{program, wait};

/// How long one of the tools may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;

/// Thaws now and then, whatever a test has forgotten, and cleans up behind a test that was killed.
const GUARD: &str = "trap '' HUP INT TERM; n=0
    while kill -0 \"$1\" 2>/dev/null && [ -d \"$2\" ]; do
        sleep 1; n=$((n + 1)); [ $((n % 90)) = 0 ] && fsfreeze -u \"$2\"
    done
    fsfreeze -u \"$2\"; umount -l \"$2\"";

/// A mounted file system.
#[derive(Debug)]
pub struct Disk {
    directory: TempDir,
    image: PathBuf,
    mount_point: PathBuf,
    guard: Child,
}

impl Disk {
    /// Makes one of `mib` MiB and mounts it with these options besides `loop`.
    ///
    /// # Errors
    /// What the machine lacks, or refuses.
    pub fn new(file_system: &str, mib: u64, options: &str) -> Result<Self, String> {
        Self::new_in(&std::env::temp_dir(), file_system, mib, options)
    }

    /// The same, with what stands for its disk as a file below `parent`: on another such file system, it hangs when that is
    /// frozen.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn new_in(parent: &Path, file_system: &str, mib: u64, options: &str) -> Result<Self, String> {
        let directory = directory(parent)?;
        let image = directory.path().join("image");
        let made = File::create(&image).and_then(|file| file.set_len(mib * MIB));
        made.map_err(|error| format!("{}: {error}", image.display()))?;
        let tool = format!("mkfs.{file_system}");
        run(&tool, &["-q".as_ref(), image.as_ref()])?;
        Self::mount(directory, image, options)
    }

    /// Mounts a copy of a disk, as the machine that it is attached to next would.
    ///
    /// # Errors
    /// It cannot be copied or mounted.
    pub fn restored(copy: &Path, options: &str) -> Result<Self, String> {
        let directory = directory(&std::env::temp_dir())?;
        let image = directory.path().join("image");
        fs::copy(copy, &image).map_err(|error| format!("{}: {error}", copy.display()))?;
        Self::mount(directory, image, options)
    }

    fn mount(directory: TempDir, image: PathBuf, options: &str) -> Result<Self, String> {
        let mount_point = directory.path().join("mounted");
        fs::create_dir(&mount_point).map_err(|error| format!("{}: {error}", mount_point.display()))?;
        let options = if options.is_empty() { "loop".to_owned() } else { format!("loop,{options}") };
        run("mount", &["-o".as_ref(), options.as_ref(), image.as_ref(), mount_point.as_ref()])?;
        let mut guard = Command::new("setsid");
        guard.args(["sh", "-c", GUARD, "guard", &std::process::id().to_string()]).arg(&mount_point).current_dir("/");
        guard.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match guard.spawn() {
            Ok(guard) => Ok(Self { directory, image, mount_point, guard }),
            Err(error) => {
                // Unguarded it would not be safe to use.
                let _unmounted = run("umount", &[mount_point.as_ref()]);
                Err(format!("setsid: {error}"))
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// A path on it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.mount_point.join(name)
    }

    /// The file that stands for its disk.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// A directory beside it, on the file system that holds the image.
    pub fn beside(&self) -> &Path {
        self.directory.path()
    }

    /// Copies what its disk holds at this moment: what would be found if the power failed now.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn as_after_power_failure(&self, name: &str) -> Result<PathBuf, String> {
        let copy = self.beside().join(name);
        fs::copy(&self.image, &copy).map_err(|error| format!("{}: {error}", copy.display()))?;
        Ok(copy)
    }

    /// Makes writers wait; the guard ends that after 90 s at the latest.
    ///
    /// # Errors
    /// It cannot be frozen, or is.
    pub fn freeze(&self) -> Result<(), String> {
        run("fsfreeze", &["-f".as_ref(), self.mount_point.as_ref()])
    }

    /// Lets writers go on.
    ///
    /// # Errors
    /// It was not frozen.
    pub fn thaw(&self) -> Result<(), String> {
        run("fsfreeze", &["-u".as_ref(), self.mount_point.as_ref()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // That it was not frozen is as it should be.
        let _thawed = self.thaw();
        if run("umount", &[self.mount_point.as_ref()]).is_err() {
            let _detached = run("umount", &["-l".as_ref(), self.mount_point.as_ref()]);
        }
        program::kill_and_reap(&mut self.guard);
    }
}

/// A disk that does not answer: its image lies on a file system that is frozen. It has a file that is not written out.
#[derive(Debug)]
pub struct Hung {
    // Dropped in this order, when the outer one is thawed.
    inner: Disk,
    outer: Disk,
}

impl Hung {
    /// Makes one; it hangs from now on.
    ///
    /// # Errors
    /// As [`Disk::new`].
    pub fn new() -> Result<Self, String> {
        let outer = Disk::new("ext4", 128, "")?;
        let inner = Disk::new_in(outer.path(), "ext4", 32, "commit=300")?;
        let file = inner.join("unwritten");
        fs::write(&file, "x".repeat(1 << 20)).map_err(|error| format!("{}: {error}", file.display()))?;
        outer.freeze()?;
        Ok(Self { inner, outer })
    }

    /// The file system whose disk hangs.
    pub fn disk(&self) -> &Disk {
        &self.inner
    }

    /// Has the disk answer again.
    ///
    /// # Errors
    /// It did.
    pub fn recover(&self) -> Result<(), String> {
        self.outer.thaw()
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Unmounting the inner one would wait for it.
        let _recovered = self.recover();
    }
}

/// A process that writes number after number to a file `numbers` of a disk, and notes each beside the disk when it is written.
#[derive(Debug)]
pub struct Writer {
    child: Child,
    acknowledged: PathBuf,
}

/// `$0` is the disk, `$1` where the last number is noted.
const WRITES: &str = "n=0; while :; do n=$((n + 1)); echo $n >> \"$0/numbers\"; echo $n > \"$1\"; sleep 0.002; done";

impl Writer {
    /// Starts it, and waits until it writes.
    ///
    /// # Errors
    /// It cannot be started, or writes nothing.
    pub fn start(disk: &Disk) -> Result<Self, String> {
        let acknowledged = disk.beside().join("acknowledged");
        let mut command = Command::new("sh");
        command.args(["-c", WRITES]).arg(disk.path()).arg(&acknowledged).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|error| format!("cannot start sh: {error}"))?;
        let writer = Self { child, acknowledged };
        writer.goes_on().map(|()| writer)
    }

    /// The last number that was written.
    pub fn last(&self) -> u64 {
        fs::read_to_string(&self.acknowledged).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Waits until it has written more.
    ///
    /// # Errors
    /// It does not.
    pub fn goes_on(&self) -> Result<(), String> {
        let before = self.last();
        wait::until("the writer to go on", LIMIT / 2, || (self.last() > before).then_some(()))
    }

    /// Waits until it is held up because its disk is frozen, rather than for a moment by the disk itself.
    ///
    /// # Errors
    /// It is not.
    pub fn stalls(&self) -> Result<(), String> {
        let place = format!("/proc/{}/wchan", self.child.id());
        let is_held = || fs::read_to_string(&place).is_ok_and(|place| place.contains("percpu_rwsem_wait"));
        wait::until("the writer to be held up", LIMIT / 2, || is_held().then_some(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It cannot end before its disk is thawed; the disk's guard sees to that.
        program::kill_and_reap(&mut self.child);
    }
}

fn directory(parent: &Path) -> Result<TempDir, String> {
    tempfile::Builder::new().prefix("snz-disk-").tempdir_in(parent).map_err(|error| format!("no directory: {error}"))
}

/// Runs one of the tools.
///
/// # Errors
/// It is not there, or what it said.
fn run(tool: &str, args: &[&std::ffi::OsStr]) -> Result<(), String> {
    let found = program::find(tool).ok_or_else(|| format!("there is no {tool}"))?;
    program::run(Command::new(found).args(args), LIMIT)?.success(tool).map(drop)
}
