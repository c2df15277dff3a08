//! Which file systems are to be synced.
//! Inputs: a [`Config`], what is mounted. Outputs: mounts, and named ones that are not there. Must never choose a file system
//! twice because it is mounted twice.

use crate::config::Config;
use cloudsnooze_plugin::mounts::Mount;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What was chosen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) mounts: Vec<Mount>,
    /// Named in the configuration, and nothing is mounted there.
    pub(crate) missing: Vec<PathBuf>,
}

/// Chooses.
pub(crate) fn choose(config: &Config, mounted: &[Mount]) -> Choice {
    match &config.mount_points {
        Some(named) => {
            let mut choice = Choice::default();
            for path in named {
                match at(mounted, path) {
                    Some(mount) => choice.mounts.push(mount.clone()),
                    None => choice.missing.push(path.clone()),
                }
            }
            choice
        }
        None => Choice { mounts: found(config, mounted), missing: Vec::new() },
    }
}

fn at<'a>(mounted: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounted.iter().find(|mount| mount.mount_point == path)
}

fn found(config: &Config, mounted: &[Mount]) -> Vec<Mount> {
    // By device: excluded in one place, a file system is not wanted by way of another either.
    let excluded = config.exclude.iter().filter_map(|path| at(mounted, path)).map(|mount| mount.device.as_str());
    let mut seen: HashSet<&str> = excluded.collect();
    let usable = mounted.iter().filter(|mount| mount.is_writable && mount.is_local());
    usable.filter(|mount| seen.insert(&mount.device)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn mount(point: &str, device: &str, is_writable: bool) -> Mount {
        let (file_system, source) = ("ext4".to_owned(), "/dev/x".to_owned());
        Mount { mount_point: point.into(), device: device.to_owned(), file_system, source, is_writable }
    }

    fn chosen(config: Value) -> (Vec<String>, Vec<String>) {
        let mounted = [
            mount("/proc", "0:5", true),
            mount("/", "8:1", true),
            mount("/boot", "8:2", false),
            mount("/srv", "8:3", true),
            mount("/srv/again", "8:3", true),
            mount("/mnt/share", "0:50", true),
        ];
        let choice = choose(&serde_json::from_value(config).unwrap(), &mounted);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        (choice.mounts.iter().map(|m| text(&m.mount_point)).collect(), choice.missing.iter().map(|p| text(p)).collect())
    }

    #[test]
    fn writable_file_systems_on_disks_are_found_once_each() {
        assert_eq!(chosen(json!({})).0, ["/", "/srv"]);
        assert_eq!(chosen(json!({ "exclude": ["/srv/again"] })).0, ["/"]);
        assert_eq!(chosen(json!({ "exclude": ["/nowhere"] })).0, ["/", "/srv"]);
    }

    #[test]
    fn named_ones_are_taken_whatever_they_are_and_missing_ones_are_told() {
        let (mounts, missing) = chosen(json!({ "mount_points": ["/mnt/share", "/boot/", "/srv/data"] }));
        assert_eq!((mounts, missing), (vec!["/mnt/share".into(), "/boot".into()], vec!["/srv/data".into()]));
    }
}
