//! What the firmware says the machine is: DMI (SMBIOS), as the kernel shows it in sysfs.
//!
//! Inputs: where sysfs is. Outputs: texts, empty where there is none. Must never fail, or believe a file to be short.
//!
//! Source: Documentation/ABI/testing/sysfs-class-dmi (Linux), sysfs-hypervisor-xen. `product_uuid` needs root.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most that is read of a file, bytes: SMBIOS 3 allows long strings, and every known one is far below.
const TEXT_BYTES_MAX: u64 = 256;

/// The texts; each is empty where the firmware says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the file of that name in /sys/class/dmi/id")]
pub struct Dmi {
    pub sys_vendor: String,
    pub product_name: String,
    pub bios_vendor: String,
    pub bios_version: String,
    pub board_vendor: String,
    pub chassis_asset_tag: String,
    pub product_uuid: String,
    /// `/sys/hypervisor/uuid`, which Xen has.
    pub hypervisor_uuid: String,
}

/// Reads them below `sys`, which is `/sys`. Some microseconds.
pub fn read(sys: &Path) -> Dmi {
    let text = |name: &str| text(&sys.join("class/dmi/id").join(name));
    Dmi {
        sys_vendor: text("sys_vendor"),
        product_name: text("product_name"),
        bios_vendor: text("bios_vendor"),
        bios_version: text("bios_version"),
        board_vendor: text("board_vendor"),
        chassis_asset_tag: text("chassis_asset_tag"),
        product_uuid: text("product_uuid"),
        hypervisor_uuid: self::text(&sys.join("hypervisor/uuid")),
    }
}

fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    text.trim().chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_empty() {
        let sys = tempfile::tempdir().expect("a directory");
        assert_eq!(read(sys.path()), Dmi::default());
        let id = sys.path().join("class/dmi/id");
        std::fs::create_dir_all(&id).expect("made");
        std::fs::create_dir_all(id.join("product_name")).expect("a directory where a file should be");
        std::fs::write(id.join("sys_vendor"), "Amazon EC2\n").expect("written");
        std::fs::write(id.join("bios_version"), vec![b'x'; 10_000]).expect("written");
        std::fs::write(id.join("bios_vendor"), b"a\x1b[2J\xff").expect("written");
        let found = read(sys.path());
        assert_eq!((&*found.sys_vendor, &*found.product_name), ("Amazon EC2", ""));
        assert_eq!((found.bios_version.len(), &*found.bios_vendor), (256, "a[2J\u{fffd}"));
    }
}
