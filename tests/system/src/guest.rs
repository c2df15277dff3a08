//! A booted guest.
//! Inputs: commands and files for it. Outputs: what they wrote. It is killed when it is dropped, and has no network but its own
//! loopback.

use crate::root;
use harness::program::{self, Output};
use harness::{paths, require, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where the programs are in the guest: `bin` and `plugins`.
pub const HOME: &str = "/opt/cloudsnooze";
/// Where in the guest everybody may write what is to outlive it.
pub const KEPT: &str = "/mnt/kept";
/// The same outside, in the directory of programs and plugins.
const KEPT_IN: &str = "kept";
/// From its start to all services running.
const BOOT: Duration = Duration::from_secs(120);
/// One command in it.
const COMMAND: Duration = Duration::from_secs(120);
/// What has to be on this machine.
const TOOLS: [(&str, &str); 3] =
    [("systemd-nspawn", "systemd-container"), ("debootstrap", "debootstrap"), ("nsenter", "util-linux")];

/// A Debian with systemd as its first process.
pub struct Guest {
    nspawn: Child,
    leader: i32,
    log: PathBuf,
    home: TempDir,
}

impl Guest {
    /// Boots one with the built programs and these plugins in it. None, told loudly, where that is not possible: `what` is
    /// what does not run then. Its root file system is kept in `kept_in`.
    ///
    /// # Panics
    /// When the programs are not built, or where nothing may be missing.
    pub fn boot(what: &str, kept_in: &Path, plugins: &[&str]) -> Option<Self> {
        let files = programs(plugins).unwrap_or_else(|error| panic!("{error}"));
        Self::boot_with(what, kept_in, &files)
    }

    /// Boots one with these files in it, each in a folder of [`HOME`], and nothing else of ours. None as for [`Self::boot`].
    ///
    /// # Panics
    /// When a file is not there, or where nothing may be missing.
    pub fn boot_with(what: &str, kept_in: &Path, files: &[(PathBuf, String)]) -> Option<Self> {
        let home = furnish(kept_in, files).unwrap_or_else(|error| panic!("{error}"));
        match try_boot(kept_in, home) {
            Ok(guest) => Some(guest),
            Err(reason) => {
                require::missing_means_skip(&format!("{what}: {reason}"));
                None
            }
        }
    }

    /// Where what is written to [`KEPT`] lies outside, also when it has ended.
    pub fn kept(&self) -> PathBuf {
        self.home.path().join(KEPT_IN)
    }

    /// Runs a program in it, as root.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub fn run(&self, words: &[&str]) -> Result<Output, String> {
        program::run(Command::new("nsenter").args(self.entry()).args(words), COMMAND)
    }

    /// Runs a line of shell in it, and gives what it wrote, without the last line break.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, script: &str) -> String {
        let output = self.run(&["sh", "-c", script]).and_then(|output| output.success(script));
        output.unwrap_or_else(|error| panic!("{error}\n{}", self.tail())).trim_end().to_owned()
    }

    /// Writes a file in it, and the directories above it.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, path: &str, text: &str) {
        let script = "mkdir -p \"$(dirname \"$0\")\" && cat > \"$0\"";
        let mut command = Command::new("nsenter");
        command.args(self.entry()).args(["sh", "-c", script, path]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{path}: {error}"));
        let written = child.stdin.take().map(|mut pipe| pipe.write_all(text.as_bytes()));
        let ended = program::wait_for_exit(&mut child, COMMAND);
        let is_written = written.is_some_and(|w| w.is_ok()) && ended.as_ref().is_ok_and(|status| status.success());
        assert!(is_written, "{path}: {ended:?}");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It has not, in this time.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<(), String> {
        program::wait_for_exit(&mut self.nspawn, limit).map(|_| ())
    }

    /// The end of what it wrote to its console.
    pub fn tail(&self) -> String {
        program::tail(&self.log, 30)
    }

    fn entry(&self) -> [String; 8] {
        let [m, u, i, n, p, c] = ["-m", "-u", "-i", "-n", "-p", "-C"].map(str::to_owned);
        [format!("--target={}", self.leader), m, u, i, n, p, c, "--".to_owned()]
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if !matches!(self.nspawn.try_wait(), Ok(None)) {
            return;
        }
        // Its first process, which is there as long as nspawn is, takes everything in it along; then nspawn ends by itself.
        if self.leader > 0 {
            let _killed = kill(Pid::from_raw(self.leader), Signal::SIGKILL);
        }
        if program::wait_for_exit(&mut self.nspawn, Duration::from_secs(20)).is_err() {
            program::kill_and_reap(&mut self.nspawn);
        }
    }
}

/// The built programs and these plugins: each file, and where it is in the guest below [`HOME`].
fn programs(plugins: &[&str]) -> Result<Vec<(PathBuf, String)>, String> {
    let built = paths::bin_dir()?;
    let mut files = Vec::new();
    for name in ["snoozed", "snooze", "snooze-plugin-host"] {
        files.push((paths::program(&built, name)?, format!("bin/{name}")));
    }
    for name in plugins {
        files.push((paths::plugin(&built, name)?, format!("plugins/{name}.so")));
    }
    Ok(files)
}

/// A directory with these files, which everybody may read and run.
fn furnish(kept_in: &Path, files: &[(PathBuf, String)]) -> Result<TempDir, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", kept_in.display());
    fs::create_dir_all(kept_in).map_err(failed)?;
    let home = tempfile::Builder::new().prefix("guest-").tempdir_in(kept_in).map_err(failed)?;
    // Also where there is no plugin.
    for (folder, mode) in [("", 0o755), ("bin", 0o755), ("plugins", 0o755), (KEPT_IN, 0o777)] {
        let folder = home.path().join(folder);
        fs::create_dir_all(&folder).map_err(failed)?;
        fs::set_permissions(&folder, Permissions::from_mode(mode)).map_err(failed)?;
    }
    for (from, name) in files {
        let to = home.path().join(name);
        let folder = to.parent().unwrap_or(home.path());
        let made = fs::create_dir_all(folder);
        let opened = made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)));
        opened
            .and_then(|()| fs::copy(from, &to))
            .and_then(|_| fs::set_permissions(&to, Permissions::from_mode(0o755)))
            .map_err(failed)?;
    }
    Ok(home)
}

fn try_boot(kept_in: &Path, home: TempDir) -> Result<Guest, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root may boot a guest".to_owned());
    }
    if let Some((tool, package)) = TOOLS.iter().find(|(tool, _)| program::find(tool).is_none()) {
        return Err(format!("there is no {tool} (Debian package {package})"));
    }
    let root = root::root(kept_in)?;
    let log = home.path().join("console.log");
    let file = File::create(&log).map_err(|error| error.to_string())?;
    let nspawn = Command::new("systemd-nspawn")
        .arg("--directory")
        .arg(&root)
        // What it writes goes to memory.
        .arg("--volatile=overlay")
        // Neither registered with machined nor put into a scope, so that no system bus is needed out here.
        .args(["--register=no", "--keep-unit", "--private-network", "--boot", "--console=read-only"])
        // Without it nspawn forbids mlockall to everything inside, whatever a unit says.
        .arg("--capability=CAP_IPC_LOCK")
        // Its own list of system calls is older than Landlock, by which isolated plugins are confined.
        .arg("--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self")
        .arg(format!("--bind-ro={}:{HOME}", home.path().display()))
        .arg(format!("--bind={}:{KEPT}", home.path().join(KEPT_IN).display()))
        .stdin(Stdio::null())
        .stdout(file.try_clone().map_err(|error| error.to_string())?)
        .stderr(file)
        .spawn()
        .map_err(|error| format!("systemd-nspawn: {error}"))?;
    let mut guest = Guest { nspawn, leader: 0, log, home };
    let booted = wait::until("the guest to boot", BOOT, || {
        if let Ok(Some(status)) = guest.nspawn.try_wait() {
            return Some(Err(format!("systemd-nspawn ended with {status}")));
        }
        // Anew each time: its first child is one that only prepares, and goes.
        let id = guest.nspawn.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        guest.leader = children.split_whitespace().next()?.parse().ok()?;
        let is_up = guest.run(&["systemctl", "-q", "is-active", "multi-user.target"]);
        is_up.is_ok_and(|output| output.code == Some(0)).then_some(Ok(()))
    });
    booted.flatten().map_err(|error| format!("{error}: {}", guest.tail()))?;
    Ok(guest)
}
