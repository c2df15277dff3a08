//! What the firmware says of the machine.
//!
//! Inputs: `/sys/class/dmi/id`, which everybody may read in part. Outputs: which cloud it is, where that is said. Must never
//! take a missing file for an answer about anything else.

use std::fs;
use std::path::Path;

/// The chassis asset tag of every virtual machine of Azure, as cloud-init and walinuxagent know it.
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

/// Whether this is a virtual machine of Azure.
pub fn is_azure() -> bool {
    is_azure_at(Path::new("/sys/class/dmi/id"))
}

fn is_azure_at(directory: &Path) -> bool {
    fs::read_to_string(directory.join("chassis_asset_tag")).is_ok_and(|tag| tag.trim() == AZURE_TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_makes_it_azure() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(!is_azure_at(directory.path()), "nothing is said");
        for (tag, expected) in [("7783-7084-3265-9085-8269-3286-77\n", true), ("Amazon EC2\n", false), ("", false)] {
            fs::write(directory.path().join("chassis_asset_tag"), tag).expect("written");
            assert_eq!(is_azure_at(directory.path()), expected, "{tag:?}");
        }
    }
}
