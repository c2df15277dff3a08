//! The control socket in the file system: who may connect is said by its owner, group and mode.
//!
//! Inputs: a path, a group, a mode. Outputs: a listening socket. Must never take over a socket on which somebody
//! still listens.

use nix::unistd::{Gid, Group, chown};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Listens at `path` with this mode, for `group` when one is named. A stale socket is replaced.
///
/// # Errors
/// Text that says which step failed: another daemon listens, the directory is missing, no such group.
pub fn listen(path: &Path, group: Option<&str>, mode: u32) -> Result<UnixListener, String> {
    let fail = |what: &str, error: io::Error| format!("{what} {}: {error}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|e| fail("cannot make the directory of", e))?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(format!("another daemon listens on {}", path.display()));
    }
    // A path that was mistyped must not cost a file.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(format!("{} is there and is no socket; it is left alone", path.display()));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(fail("cannot replace the stale socket", error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(|e| fail("cannot listen on", e))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| fail("cannot set the mode of", e))?;
    if let Some(name) = group {
        chown(path, None, Some(Gid::from_raw(gid_of(name)?)))
            .map_err(|e| fail("cannot give to its group", e.into()))?;
    }
    listener.set_nonblocking(true).map_err(|e| fail("cannot prepare", e))?;
    Ok(listener)
}

/// The number of a group.
///
/// # Errors
/// There is none of this name.
pub fn gid_of(name: &str) -> Result<u32, String> {
    let found = Group::from_name(name).ok().flatten();
    found.map(|group| group.gid.as_raw()).ok_or_else(|| format!("there is no group '{name}'"))
}
