//! Who could have written this file? Checked on the open file, so that nothing can be swapped between
//! check and load.
//!
//! Inputs: a path, an optional SHA-256 pin. Outputs: an open descriptor and the bytes it holds, or a
//! refusal that names the path at fault. Must never follow a symbolic link in the last component
//! without checking where it leads, or run anything.

use super::peek::PLUGIN_BYTES_MAX;
use super::refusal::Refusal;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file that passed: the descriptor to load from, and its bytes.
#[derive(Debug)]
pub struct Trusted {
    /// Where it really lies, links resolved.
    pub path: PathBuf,
    /// Open for reading; a sealed copy in memory when a pin was given.
    pub file: File,
    /// The bytes, as of the check.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Device, inode, size and modification time: the same library, or a replaced one?
    pub identity: (u64, u64, u64, i64),
}

/// Opens a plugin file and checks owner, mode and every directory above it.
///
/// # Errors
/// The first thing that somebody else could have changed, with its path.
pub fn open(path: &Path, pin: Option<&str>) -> Result<Trusted, Refusal> {
    let real = path.canonicalize().map_err(|e| Refusal::Io(format!("{}: {e}", path.display())))?;
    check_directories(&real)?;
    // Whoever can write where a link stands chooses which of the trusted files is run.
    let named = std::path::absolute(path).map_err(|e| Refusal::Io(format!("{}: {e}", path.display())))?;
    check_directories(&named)?;
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(&real)
        .map_err(|e| Refusal::Io(format!("{}: {e}", real.display())))?;
    let meta = file.metadata().map_err(|e| Refusal::Io(e.to_string()))?;
    if !meta.is_file() {
        return Err(Refusal::Permissions { path: real, problem: "is not a regular file".into() });
    }
    if let Some(problem) = problem(meta.uid(), meta.mode(), false) {
        return Err(Refusal::Permissions { path: real, problem });
    }
    let bytes = read_all(&file)?;
    let sha256 = hex_digest(&bytes);
    let file = match pin {
        Some(expected) if !expected.eq_ignore_ascii_case(&sha256) => {
            return Err(Refusal::Pin { expected: expected.to_lowercase(), found: sha256 });
        }
        // What was hashed is what is loaded: a sealed copy that nobody can edit in place.
        Some(_) => sealed_copy(&real, &bytes)?,
        None => file,
    };
    let identity = (meta.dev(), meta.ino(), meta.size(), meta.mtime_nsec() + meta.mtime() * 1_000_000_000);
    Ok(Trusted { path: real, file, bytes, sha256, identity })
}

fn check_directories(file: &Path) -> Result<(), Refusal> {
    for directory in file.ancestors().skip(1) {
        let meta = directory.metadata().map_err(|e| Refusal::Io(format!("{}: {e}", directory.display())))?;
        if let Some(problem) = problem(meta.uid(), meta.mode(), true) {
            return Err(Refusal::Permissions { path: directory.to_owned(), problem });
        }
    }
    Ok(())
}

/// Root and the daemon itself may own it; nobody else may write to it. In a directory with the sticky
/// bit (/tmp) others cannot replace what they do not own.
fn problem(owner: u32, mode: u32, directory: bool) -> Option<String> {
    let own = nix::unistd::geteuid().as_raw();
    if owner != 0 && owner != own {
        return Some(format!("is owned by user {owner}, expected root or user {own} (the daemon)"));
    }
    let sticky = directory && mode & 0o1000 != 0;
    match mode & 0o022 {
        0 => None,
        _ if sticky => None,
        bits => {
            let who = if bits & 0o002 != 0 { "everybody" } else { "its group" };
            Some(format!("is writable for {who} (mode {:04o}); chmod go-w", mode & 0o7777))
        }
    }
}

fn read_all(file: &File) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let limit = PLUGIN_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|e| Refusal::Io(e.to_string()))?;
    if bytes.len() > PLUGIN_BYTES_MAX {
        return Err(Refusal::Io(format!("larger than {PLUGIN_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn sealed_copy(path: &Path, bytes: &[u8]) -> Result<File, Refusal> {
    // A noexec mount is a policy; a copy in memory must not get round it.
    let mount = nix::sys::statvfs::statvfs(path).map_err(|e| Refusal::Io(e.to_string()))?;
    if mount.flags().contains(nix::sys::statvfs::FsFlags::ST_NOEXEC) {
        return Err(Refusal::Permissions {
            path: path.to_owned(),
            problem: "lies on a file system mounted noexec".into(),
        });
    }
    let name = c"cloudsnooze-plugin";
    let made = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING);
    let mut copy = File::from(made.map_err(|e| Refusal::Io(format!("memfd_create: {e}")))?);
    copy.write_all(bytes).map_err(|e| Refusal::Io(e.to_string()))?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).map_err(|e| Refusal::Io(format!("seal: {e}")))?;
    Ok(copy)
}

/// SHA-256 of the bytes, lower-case hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn plugin_file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x.so");
        fs::write(&path, b"bytes").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("mode");
        (dir, path)
    }

    #[test]
    fn a_file_of_our_own_passes_and_the_pin_is_compared() {
        let (_dir, path) = plugin_file();
        let trusted = open(&path, None).expect("passes");
        assert_eq!(trusted.bytes, b"bytes");
        let pinned = open(&path, Some(&trusted.sha256)).expect("passes");
        assert!(pinned.file.set_len(0).is_err(), "the copy is sealed");
        let refused = open(&path, Some(&"0".repeat(64))).expect_err("refused");
        assert_eq!(refused.code(), "PIN");
    }

    #[test]
    fn world_writable_files_and_directories_are_refused_with_their_path() {
        let (dir, path) = plugin_file();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("mode");
        let refused = open(&path, None).expect_err("refused").to_string();
        assert!(refused.contains("x.so: is writable for everybody (mode 0666)"), "{refused}");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("mode");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o770)).expect("mode");
        let refused = open(&path, None).expect_err("refused").to_string();
        assert!(refused.contains("is writable for its group (mode 0770)"), "{refused}");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).expect("mode");
    }

    #[test]
    fn a_directory_or_a_missing_file_is_an_error_not_a_panic() {
        let (dir, path) = plugin_file();
        assert_eq!(open(dir.path(), None).expect_err("refused").code(), "PERMISSIONS");
        fs::remove_file(&path).expect("removed");
        assert_eq!(open(&path, None).expect_err("refused").code(), "IO");
    }
}
