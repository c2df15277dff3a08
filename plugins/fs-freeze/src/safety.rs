//! What may be frozen.
//!
//! Inputs: mount points, what is mounted, what this process uses. Outputs: [`Target`]s, or why not. A process that writes to a
//! frozen file system waits until it is thawed, and cannot be killed: were it the daemon, nobody would thaw. Must never
//! allow a file system that the daemon or the system itself writes to.

use cloudsnooze_plugin::mounts::{self, Mount};
use cloudsnooze_plugin::{Code, Error};
use std::fs;
use std::path::{Path, PathBuf};

/// Types that Linux can freeze.
const FREEZABLE: [&str; 9] = ["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "xfs"];
/// CAP_SYS_ADMIN, as a bit of what /proc shows.
const SYS_ADMIN: u64 = 1 << 21;

/// A file system that may be frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) mount: Mount,
}

/// Looks at all of them.
///
/// # Errors
/// Which of them may not be frozen, and why: `Config` when that is so whatever else changes, `State` when it is not mounted or
/// not of a type that can be frozen.
pub(crate) fn targets(mount_points: &[PathBuf], state_dir: &Path) -> Result<Vec<Target>, Error> {
    let mounted = mounts::mounted().map_err(|e| Error::from(e).context("read what is mounted").code(Code::Io))?;
    let own = own_places(state_dir);
    let checked = mount_points.iter().map(|path| target(path, &mounted, &own));
    let targets = checked.collect::<Result<Vec<_>, _>>()?;
    for (at, one) in targets.iter().enumerate() {
        if targets.iter().take(at).any(|earlier| earlier.mount.device == one.mount.device) {
            let text = format!("{} is the same file system as one before it", one.mount.mount_point.display());
            return Err(Error::new(text).code(Code::Config));
        }
    }
    Ok(targets)
}

fn target(path: &Path, mounted: &[Mount], own: &[(String, PathBuf)]) -> Result<Target, Error> {
    let shown = path.display();
    let Some(mount) = mounted.iter().find(|mount| mount.mount_point == path) else {
        return Err(Error::new(format!("nothing is mounted on {shown}")).code(Code::State));
    };
    let clash = own.iter().find(|(_, place)| mounts::of(mounted, place).is_some_and(|m| m.device == mount.device));
    if let Some((what, place)) = clash {
        let text = format!("{shown} may not be frozen: {what} ({}) is on the same file system", place.display());
        return Err(Error::new(text).code(Code::Config));
    }
    if !mount.is_writable {
        return Err(Error::new(format!("{shown} is read-only: there is nothing to freeze")).code(Code::State));
    }
    if !FREEZABLE.contains(&mount.file_system.as_str()) {
        let text = format!("{shown} is of type {}, which cannot be frozen", mount.file_system);
        return Err(Error::new(text).code(Code::State));
    }
    Ok(Target { mount: mount.clone() })
}

/// Places that must stay writable, without links in their paths.
fn own_places(state_dir: &Path) -> Vec<(String, PathBuf)> {
    let mut places: Vec<(String, PathBuf)> = [
        ("the root", "/"),
        ("the system's programs", "/usr"),
        ("the system's settings", "/etc"),
        ("temporary files", "/tmp"),
        ("the system's state", "/run"),
        ("the system's logs", "/var/log"),
        ("the system's state", "/var/lib"),
        ("temporary files", "/var/tmp"),
    ]
    .map(|(what, place)| (what.to_owned(), PathBuf::from(place)))
    .into();
    if !state_dir.as_os_str().is_empty() {
        places.push(("this instance's state".to_owned(), state_dir.to_owned()));
    }
    places.extend(std::env::current_dir().ok().map(|place| ("the daemon's working directory".to_owned(), place)));
    places.extend(std::env::current_exe().ok().map(|place| ("the daemon's program".to_owned(), place)));
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        // Its log, its history, its lock files. What is no file (a pipe) has no path.
        let open = fs::read_link(entry.path()).ok().filter(|path| path.is_absolute());
        places.extend(open.map(|place| ("a file that the daemon has open".to_owned(), place)));
    }
    places.into_iter().map(|(what, place)| (what, without_links(&place))).collect()
}

/// The path without links; of one that is not there, that of what is there above it.
fn without_links(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|ancestor| fs::canonicalize(ancestor).ok());
    found.unwrap_or_else(|| path.to_owned())
}

/// Whether this process may freeze at all.
pub(crate) fn has_capability() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    bits.is_some_and(|bits| bits & SYS_ADMIN != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &str, device: &str, file_system: &str, is_writable: bool) -> Mount {
        let (file_system, source) = (file_system.to_owned(), "/dev/x".to_owned());
        Mount { mount_point: point.into(), device: device.to_owned(), file_system, source, is_writable }
    }

    #[test]
    fn what_the_daemon_needs_what_is_not_there_and_what_cannot_be_frozen_is_refused() {
        let mounted = [
            mount("/", "8:1", "ext4", true),
            mount("/srv/again", "8:1", "ext4", true),
            mount("/var/lib", "8:2", "xfs", true),
            mount("/data", "8:3", "xfs", true),
            mount("/cd", "8:4", "ext4", false),
            mount("/stick", "8:5", "vfat", true),
        ];
        let own = [("the root".to_owned(), "/".into()), ("this instance's state".to_owned(), "/var/lib/snooze".into())];
        let check =
            |path: &str| target(Path::new(path), &mounted, &own).map_err(|e| (e.kind(), e.message().to_owned()));
        assert_eq!(check("/data").unwrap().mount, mounted[3]);
        for (path, code, said) in [
            ("/srv/again", Code::Config, "the root (/) is on the same file system"),
            ("/var/lib", Code::Config, "this instance's state (/var/lib/snooze) is on the same file system"),
            ("/nowhere", Code::State, "nothing is mounted on /nowhere"),
            ("/cd", Code::State, "is read-only"),
            ("/stick", Code::State, "is of type vfat, which cannot be frozen"),
        ] {
            let (kind, text) = check(path).unwrap_err();
            assert!(kind == code && text.contains(said), "{path}: {kind:?} {text}");
        }
    }

    #[test]
    fn a_file_that_this_process_has_open_protects_its_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        let _open = fs::File::create(&file).unwrap();
        let places = own_places(&dir.path().join("not/there/yet"));
        let real = fs::canonicalize(&file).unwrap();
        assert!(places.contains(&("a file that the daemon has open".to_owned(), real)));
        let state = ("this instance's state".to_owned(), fs::canonicalize(dir.path()).unwrap());
        assert!(places.contains(&state), "{places:?}");
    }
}
