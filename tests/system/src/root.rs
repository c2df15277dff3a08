//! The root file system that guests are booted from.
//! Inputs: a directory to keep it in. Outputs: its path. It is made once and never changed by a guest: what a guest writes
//! goes to memory.

use harness::program;
use nix::fcntl::{Flock, FlockArg};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Set to a directory, this environment variable says where root file systems are kept, for several checkouts to share.
const KEPT_IN: &str = "CLOUDSNOOZE_SYSTEM_ROOT";
/// The archive to install from; without it debootstrap takes the distribution's own.
const MIRROR: &str = "CLOUDSNOOZE_SYSTEM_MIRROR";
/// What is in it: debootstrap does not know that libpam-systemd is the login manager that polkitd depends on. A root of other
/// packages is made anew.
const PACKAGES: &str = "systemd,systemd-sysv,libpam-systemd,dbus,polkitd";
/// Written last, so that a root that was made in part is not taken for a whole one.
const STAMP: &str = "etc/cloudsnooze-test-root";
/// Downloading and unpacking, on a slow line.
const LIMIT: Duration = Duration::from_secs(900);

/// The root, made now if it is not there.
///
/// # Errors
/// Why there is none.
pub(crate) fn root(kept_in: &Path) -> Result<PathBuf, String> {
    let given = std::env::var_os(KEPT_IN).filter(|value| !value.is_empty()).map(PathBuf::from);
    let kept_in = given.unwrap_or_else(|| kept_in.to_owned());
    let failed = |error: std::io::Error| format!("{}: {error}", kept_in.display());
    fs::create_dir_all(&kept_in).map_err(failed)?;
    let suite = suite();
    let root = kept_in.join(format!("root-{suite}"));
    let lock = fs::File::create(kept_in.join("lock")).map_err(failed)?;
    // Two tests may want it at once; the second waits for the first to make it.
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| format!("cannot lock it: {error}"))?;
    if fs::read_to_string(root.join(STAMP)).is_ok_and(|stamp| stamp == PACKAGES) {
        return Ok(root);
    }
    if root.exists() {
        fs::remove_dir_all(&root).map_err(failed)?;
    }
    make(&root, &suite)?;
    fs::write(root.join(STAMP), PACKAGES).map_err(failed)?;
    Ok(root)
}

fn make(root: &Path, suite: &str) -> Result<(), String> {
    let debootstrap = program::find("debootstrap").ok_or("there is no debootstrap (Debian package debootstrap)")?;
    let mut command = Command::new(debootstrap);
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), suite]).arg(root);
    command.args(std::env::var_os(MIRROR));
    let output = program::run(&mut command, LIMIT)?;
    let last = |text: &str| text.lines().last().unwrap_or_default().to_owned();
    if output.code != Some(0) {
        return Err(format!("debootstrap failed: {} {}", last(&output.stdout), last(&output.stderr)));
    }
    // The user that a packaged daemon runs as.
    let mut adduser = Command::new("chroot");
    adduser.arg(root).args(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "cloudsnooze"]);
    program::run(&mut adduser, Duration::from_secs(60))?.success("useradd")?;
    Ok(())
}

/// That of this machine, so that programs built here find their C library there.
fn suite() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map_or_else(|| "stable".to_owned(), |name| name.trim_matches('"').to_owned())
}
