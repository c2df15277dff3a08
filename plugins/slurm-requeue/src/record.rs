//! For which notices this instance has drained the node.
//!
//! Inputs: events. Outputs: whether one still stands, after a restart of the daemon too; a file in the instance's state directory. Must
//! never count a notice from before the machine was last started.

use cloudsnooze_plugin::Host;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const FILE: &str = "drained.json";

/// What is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// The kernel's name for this run of the machine.
    boot: String,
    /// Ids of events.
    events: Vec<String>,
}

/// The notices that stand.
#[derive(Debug)]
pub(crate) struct Record {
    /// None: kept in memory only.
    file: Option<PathBuf>,
    content: Content,
}

impl Record {
    /// What an earlier process left behind.
    pub(crate) fn load(state_dir: &Path, host: Host) -> Self {
        let file = (!state_dir.as_os_str().is_empty()).then(|| state_dir.join(FILE));
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let mut events = Vec::new();
        if let Some(bytes) = file.as_ref().and_then(|file| fs::read(file).ok()) {
            match serde_json::from_slice::<Content>(&bytes) {
                Ok(content) if content.boot == boot => events = content.events,
                Ok(_) => {}
                Err(error) => {
                    host.warn(format_args!("{FILE} cannot be read, so the node is not resumed for it: {error}"));
                }
            }
        }
        Self { file, content: Content { boot, events } }
    }

    /// Whether the node was drained for this notice, or for any when it is not known.
    pub(crate) fn has(&self, event: Option<&str>) -> bool {
        event.map_or(!self.content.events.is_empty(), |event| self.content.events.iter().any(|one| one == event))
    }

    /// Whether another notice stands.
    pub(crate) fn has_other(&self, event: Option<&str>) -> bool {
        event.is_some_and(|event| self.content.events.iter().any(|one| one != event))
    }

    /// Before the node is drained: a crash in between must not lose it.
    pub(crate) fn add(&mut self, event: &str, host: Host) {
        if !self.has(Some(event)) {
            self.content.events.push(event.to_owned());
            self.save(host);
        }
    }

    /// It does not stand any more.
    pub(crate) fn remove(&mut self, event: Option<&str>, host: Host) {
        self.content.events.retain(|one| event.is_some_and(|event| one != event));
        self.save(host);
    }

    fn save(&self, host: Host) {
        let Some(file) = &self.file else { return };
        if let Err(error) = self.write(file) {
            host.warn(format_args!("the node may not be resumed after a restart of the daemon: {error}"));
        }
    }

    fn write(&self, file: &Path) -> std::io::Result<()> {
        if self.content.events.is_empty() {
            return match fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // Whole or not at all, also when the process ends in between.
        let fresh = file.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&self.content)?)?;
        fs::rename(fresh, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_outlive_the_instance_until_they_are_withdrawn() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/there/yet");
        let host = cloudsnooze_plugin::testing::host();
        let mut record = Record::load(&state, host);
        record.add("e1", host);
        record.add("e2", host);
        record.add("e1", host);
        let mut record = Record::load(&state, host);
        assert!(record.has(Some("e1")) && record.has(None) && !record.has(Some("e3")));
        assert!(record.has_other(Some("e1")) && !record.has_other(None));
        record.remove(Some("e1"), host);
        assert!(record.has(Some("e2")) && !record.has(Some("e1")) && !record.has_other(Some("e2")));
        record.remove(None, host);
        assert!(!state.join(FILE).exists() && !Record::load(&state, host).has(None));
    }

    #[test]
    fn notices_from_before_the_machine_started_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let host = cloudsnooze_plugin::testing::host();
        Record::load(dir.path(), host).add("e", host);
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        fs::write(dir.path().join(FILE), text.replacen("\"boot\":\"", "\"boot\":\"another-", 1)).unwrap();
        assert!(!Record::load(dir.path(), host).has(None));
    }
}
