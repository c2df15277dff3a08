//! For which notices this instance has drained the node.
//!
//! Inputs: events. Outputs: whether one still stands, after a restart of the daemon too; a file in the instance's state directory. Must
//! never count a notice from before the machine was last started.

use cloudsnooze_plugin::Host;
use cloudsnooze_plugin::kept::Kept;
use std::path::Path;

const FILE: &str = "drained.json";

/// The notices that stand.
#[derive(Debug)]
pub(crate) struct Record {
    file: Kept,
    /// Ids of events.
    events: Vec<String>,
}

impl Record {
    /// What an earlier process left behind.
    pub(crate) fn load(state_dir: &Path, host: Host) -> Self {
        let file = Kept::new(state_dir, FILE);
        let events = file.read().unwrap_or_else(|error| {
            host.warn(format_args!("{FILE} cannot be read, so the node is not resumed for it: {error}"));
            None
        });
        Self { file, events: events.unwrap_or_default() }
    }

    /// Whether the node was drained for this notice, or for any when it is not known.
    pub(crate) fn has(&self, event: Option<&str>) -> bool {
        event.map_or(!self.events.is_empty(), |event| self.events.iter().any(|one| one == event))
    }

    /// Whether another notice stands.
    pub(crate) fn has_other(&self, event: Option<&str>) -> bool {
        event.is_some_and(|event| self.events.iter().any(|one| one != event))
    }

    /// Before the node is drained: a crash in between must not lose it.
    pub(crate) fn add(&mut self, event: &str, host: Host) {
        if !self.has(Some(event)) {
            self.events.push(event.to_owned());
            self.save(host);
        }
    }

    /// It does not stand any more.
    pub(crate) fn remove(&mut self, event: Option<&str>, host: Host) {
        self.events.retain(|one| event.is_some_and(|event| one != event));
        self.save(host);
    }

    fn save(&self, host: Host) {
        let saved = if self.events.is_empty() { self.file.clear() } else { self.file.write(&self.events) };
        if let Err(error) = saved {
            host.warn(format_args!("the node may not be resumed after a restart of the daemon: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
