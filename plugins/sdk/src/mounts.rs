//! The mounted file systems of this machine, as /proc shows them.
//!
//! Inputs: /proc/self/mountinfo. Outputs: [`Mount`]s. Must never ask a file system itself: one that hangs would hold the
//! thread that asks.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Types that keep data on a disk of this machine although their device number is not that of a block device.
const LOCAL_TYPES: [&str; 5] = ["bcachefs", "btrfs", "jffs2", "ubifs", "zfs"];

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Its device, `major:minor`: the same for every mount of the same file system.
    pub device: String,
    /// Its type, such as `ext4`.
    pub file_system: String,
    /// What is mounted, such as `/dev/sda1`.
    pub source: String,
    /// Whether the file system takes writes, and by way of this mount.
    pub is_writable: bool,
}

impl Mount {
    /// Whether its data are on a disk of this machine, rather than in memory or elsewhere.
    pub fn is_local(&self) -> bool {
        !self.device.starts_with("0:") || LOCAL_TYPES.contains(&self.file_system.as_str())
    }
}

/// All that can be seen by their mount points, in the order in which they were mounted.
///
/// # Errors
/// The file cannot be read.
pub fn mounted() -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// The one that a path lies on. The path must not have links in it.
pub fn of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.mount_point));
    around.max_by_key(|mount| mount.mount_point.as_os_str().len())
}

fn parse(text: &[u8]) -> Vec<Mount> {
    let mut all: Vec<Mount> = Vec::new();
    for mount in text.split(|byte| *byte == b'\n').filter_map(line) {
        // What is mounted later over the same place hides what was there.
        all.retain(|earlier| earlier.mount_point != mount.mount_point);
        all.push(mount);
    }
    all
}

/// proc_pid_mountinfo(5): identity, parent, device, root, mount point, options, optional fields, a dash, type, source, options of
/// the file system.
fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = fields.nth(2)?;
    let mount_point = fields.nth(1)?;
    let options = fields.next()?;
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let (file_system, source, own_options) = (rest.next()?, rest.next()?, rest.next()?);
    let is_rw = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"rw");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Mount {
        mount_point: PathBuf::from(OsString::from_vec(plain(mount_point))),
        device: text(device),
        file_system: text(file_system),
        source: text(&plain(source)),
        is_writable: is_rw(options) && is_rw(own_options),
    })
}

/// The kernel writes blanks and the like as `\040`.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let number = (*first == b'\\').then(|| after.get(..3)).flatten().and_then(octal);
        out.push(number.unwrap_or(*first));
        rest = if number.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    out
}

fn octal(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: &[u8] = b"27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard\n\
        25 27 0:23 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=4k\n\
        30 27 8:17 /data /srv/a\\040b rw,relatime - xfs /dev/sdb1 ro,attr2\n\
        31 27 0:44 /@pool /pool rw - btrfs /dev/sdc rw\n\
        32 27 0:50 / /mnt/share rw - nfs4 server:/export rw\n\
        33 27 8:33 / /pool rw - ext4 /dev/sdc1 rw\n";

    #[test]
    fn mounts_are_read_with_their_devices_and_what_is_hidden_is_left_out() {
        let all = parse(SEEN);
        let shown: Vec<_> =
            all.iter().map(|m| (m.mount_point.to_string_lossy().into_owned(), m.device.as_str())).collect();
        let wanted =
            [("/", "254:0"), ("/dev/shm", "0:23"), ("/srv/a b", "8:17"), ("/mnt/share", "0:50"), ("/pool", "8:33")];
        assert_eq!(shown, wanted.map(|(point, device)| (point.to_owned(), device)));
        let flags: Vec<(bool, bool)> = all.iter().map(|m| (m.is_local(), m.is_writable)).collect();
        assert_eq!(flags, [(true, true), (false, true), (true, false), (false, true), (true, true)]);
        assert_eq!((all[2].file_system.as_str(), all[2].source.as_str()), ("xfs", "/dev/sdb1"));
        assert!(line(b"31 27 0:44 /@pool /data rw - btrfs /dev/sdc rw").unwrap().is_local());
    }

    #[test]
    fn a_path_lies_on_the_deepest_mount_around_it() {
        let all = parse(SEEN);
        for (path, point) in [("/pool/a", "/pool"), ("/pools", "/"), ("/srv/a b/c", "/srv/a b"), ("/", "/")] {
            assert_eq!(of(&all, Path::new(path)).unwrap().mount_point, Path::new(point), "{path}");
        }
    }

    #[test]
    fn this_machine_has_a_root_and_garbage_is_passed_over() {
        assert!(mounted().unwrap().iter().any(|mount| mount.mount_point == Path::new("/")));
        assert_eq!(parse(b"\n1 2\nx\n- - -\n"), []);
        assert_eq!(plain(b"a\\134\\04\\999b"), b"a\\\\04\\999b");
    }
}
