//! Which file systems are there, and what is free on each.
//!
//! Inputs: the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)), statvfs(3), counts of errors in `/sys`. Outputs: values.
//! Must never wait for a file system that was not asked for: without settings only those on block devices are looked at.

use nix::sys::statvfs::statvfs;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// File systems that are read-only by their nature.
const UNCHANGING: [&str; 5] = ["squashfs", "iso9660", "erofs", "cramfs", "udf"];

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub mount_point: PathBuf,
    /// Major and minor number of its device, such as `259:1`.
    pub device_number: String,
    /// Its device, such as `/dev/nvme0n1p1`, or whatever stands for it.
    pub device: String,
    /// Its type, such as `ext4`.
    pub file_system: String,
    /// Nothing can be written, whoever made it so.
    pub is_read_only: bool,
    /// The directory of the file system that is mounted here.
    root: String,
}

/// Every mount of the text; lines of another form are passed over.
pub fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn line(text: &str) -> Option<Mount> {
    let (mount, file_system) = text.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (device_number, root, mount_point, options) = (mount.next()?, mount.next()?, mount.next()?, mount.next()?);
    let mut file_system = file_system.split(' ');
    let (kind, device, super_options) = (file_system.next()?, file_system.next()?, file_system.next()?);
    // What ext4 shows after an error, since Linux 6.15 without `ro` (fs/ext4/super.c).
    let is_barred = |option: &str| matches!(option, "ro" | "emergency_ro" | "shutdown");
    Some(Mount {
        mount_point: PathBuf::from(unescaped(mount_point)),
        device_number: device_number.to_owned(),
        device: unescaped(device),
        file_system: kind.to_owned(),
        is_read_only: options.split(',').chain(super_options.split(',')).any(is_barred),
        root: unescaped(root),
    })
}

/// The kernel writes space, tab, line feed and backslash as octal numbers.
fn unescaped(text: &str) -> String {
    let of = |text: &str, code: &str, plain: &str| text.replace(code, plain);
    let text = of(&of(&of(text, "\\040", " "), "\\011", "\t"), "\\012", "\n");
    of(&text, "\\134", "\\")
}

/// Those to watch: the ones at `wanted`, or one of every block device, the one nearest to its root.
pub fn chosen(all: Vec<Mount>, wanted: Option<&[PathBuf]>) -> Vec<Mount> {
    let mut chosen: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in all {
        let key = match wanted {
            // The last mount of a place hides the others.
            Some(wanted) if wanted.contains(&mount.mount_point) => mount.mount_point.display().to_string(),
            None if is_local(&mount) => mount.device_number.clone(),
            _ => continue,
        };
        let rank = |mount: &Mount| (mount.root.len(), mount.mount_point.as_os_str().len());
        let is_nearer = chosen.get(&key).is_none_or(|known| wanted.is_some() || rank(&mount) < rank(known));
        if is_nearer {
            chosen.insert(key, mount);
        }
    }
    chosen.into_values().collect()
}

fn is_local(mount: &Mount) -> bool {
    mount.device.starts_with("/dev/") && !UNCHANGING.contains(&mount.file_system.as_str())
}

/// What a file system has and has free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that ordinary users may use in all.
    pub total_bytes: u64,
    /// Of those, free ones.
    pub free_bytes: u64,
    /// Inodes; 0: it has no fixed number.
    pub inodes: u64,
    /// Of those, free ones.
    pub free_inodes: u64,
}

/// What is free at a mount point, as df(1) counts it.
///
/// # Errors
/// statvfs(3)'s, in words.
pub fn usage(mount_point: &Path) -> Result<Usage, String> {
    let stat = statvfs(mount_point).map_err(|error| format!("{}: {}", mount_point.display(), error.desc()))?;
    // Of the width of the machine's words: the same as u64 on some, not on all.
    let of = |blocks: nix::libc::fsblkcnt_t| blocks.saturating_mul(stat.fragment_size());
    let used = stat.blocks().saturating_sub(stat.blocks_free());
    Ok(Usage {
        total_bytes: of(used.saturating_add(stat.blocks_available())),
        free_bytes: of(stat.blocks_available()),
        inodes: stat.files(),
        free_inodes: stat.files_available(),
    })
}

/// Errors counted of a file system and its disk since they were made: those of ext4 (Documentation/ABI/testing/sysfs-fs-ext4)
/// and of SCSI disks (drivers/scsi/scsi_sysfs.c). None: nobody counts.
pub fn errors(sys: &Path, mount: &Mount) -> Option<u64> {
    let name = mount.device.strip_prefix("/dev/").filter(|name| !name.contains('/'));
    // A device of many names, such as one of the device mapper, has its own here.
    let block = fs::canonicalize(sys.join("dev/block").join(&mount.device_number)).ok();
    let name = block.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).or(name)?;
    let of_file_system = number(&sys.join("fs").join(&mount.file_system).join(name).join("errors_count"));
    // That of the whole disk, where this is a part of one.
    let disk = block
        .map(|block| if block.join("partition").exists() { block.join("../device") } else { block.join("device") });
    let of_disk = disk.and_then(|disk| number(&disk.join("ioerr_cnt")));
    match (of_file_system, of_disk) {
        (None, None) => None,
        (one, two) => Some(one.unwrap_or(0).saturating_add(two.unwrap_or(0))),
    }
}

/// A number as the kernel writes it, decimal or hexadecimal.
fn number(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let text = text.trim();
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 27 254:0 /var /srv/a\\040b ro - ext4 /dev/vda rw,discard
29 27 259:1 / /data ro,relatime - xfs /dev/nvme1n1 rw
30 27 7:3 / /snap/core rw - squashfs /dev/loop3 ro
31 27 254:2 / /logs rw - ext4 /dev/mapper/a\\134b rw,emergency_ro
32 27 0:40 / /mnt/nfs rw - nfs4 server:/export rw
nonsense
33 27 0:41 / /run rw";

    #[test]
    fn block_devices_are_watched_once_each_and_what_is_read_only_shows() {
        let mounts = chosen(parse(TEXT), None);
        let seen: Vec<(&str, &str, bool)> = mounts
            .iter()
            .map(|m| (m.mount_point.to_str().unwrap_or_default(), m.device.as_str(), m.is_read_only))
            .collect();
        let expected = [("/", "/dev/vda", false), ("/logs", "/dev/mapper/a\\b", true), ("/data", "/dev/nvme1n1", true)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_was_asked_for_is_watched_whatever_it_is_and_nothing_else() {
        let wanted = ["/mnt/nfs", "/srv/a b", "/absent"].map(PathBuf::from);
        let mounts = chosen(parse(TEXT), Some(&wanted));
        let seen: Vec<&Path> = mounts.iter().map(|m| m.mount_point.as_path()).collect();
        assert_eq!(seen, [Path::new("/mnt/nfs"), Path::new("/srv/a b")]);
    }

    #[test]
    fn the_mounts_of_this_process_are_read_and_its_root_has_room() {
        let text = fs::read_to_string("/proc/self/mountinfo").expect("a mounted /proc");
        let mounts = parse(&text);
        assert_eq!(mounts.len(), text.lines().count(), "every line is understood");
        let usage = usage(Path::new("/")).expect("a root");
        assert!(usage.total_bytes >= usage.free_bytes && usage.total_bytes > 0, "{usage:?}");
    }

    #[test]
    fn errors_are_those_of_the_file_system_and_of_its_whole_disk() {
        let sys = tempfile::tempdir().expect("a directory");
        let put = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().expect("below")).and_then(|()| fs::write(path, text)).expect("written");
        };
        put("devices/sda/device/ioerr_cnt", "0x1f\n");
        put("devices/sda/sda1/partition", "1\n");
        put("fs/ext4/sda1/errors_count", "2\n");
        fs::create_dir_all(sys.path().join("dev/block")).expect("made");
        std::os::unix::fs::symlink("../../devices/sda/sda1", sys.path().join("dev/block/8:1")).expect("linked");
        let mount = line("1 2 8:1 / / rw - ext4 /dev/sda1 rw").expect("a mount");
        assert_eq!(errors(sys.path(), &mount), Some(33));
        let other = line("1 2 8:2 / / rw - ext4 /dev/sda2 rw").expect("a mount");
        assert_eq!(errors(sys.path(), &other), None);
    }
}
