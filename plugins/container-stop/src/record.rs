//! What this instance stopped and has not started again.
//!
//! Inputs: containers and the event they were stopped for. Outputs: the same, after a restart of the daemon too; a file in the
//! instance's state directory. Must never name a container that was stopped before the machine was last started: what runs since then
//! is others' business.

use cloudsnooze_plugin::Host;
use cloudsnooze_plugin::kept::Kept;
use serde::{Deserialize, Serialize};
use std::path::Path;

const FILE: &str = "stopped.json";

/// One container that was running and was told to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stopped {
    /// The event's id.
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) name: String,
    /// Number of the group; a later one was stopped later, and is started earlier.
    pub(crate) group: usize,
}

/// All that is to be started again.
#[derive(Debug)]
pub(crate) struct Record {
    file: Kept,
    stopped: Vec<Stopped>,
}

impl Record {
    /// What an earlier process left behind.
    pub(crate) fn load(state_dir: &Path, host: Host) -> Self {
        let file = Kept::new(state_dir, FILE);
        let stopped = file.read().unwrap_or_else(|error| {
            host.warn(format_args!("{FILE} cannot be read, so nothing of it is started again: {error}"));
            None
        });
        Self { file, stopped: stopped.unwrap_or_default() }
    }

    /// Those of one event, or all when the event is not known.
    pub(crate) fn of(&self, event: Option<&str>) -> Vec<Stopped> {
        let is_of = |one: &&Stopped| event.is_none_or(|event| one.event == event);
        self.stopped.iter().filter(is_of).cloned().collect()
    }

    /// Before they are stopped: a crash in between must not lose them. A disk that cannot be written keeps nobody from being stopped.
    pub(crate) fn add(&mut self, stopped: Vec<Stopped>, host: Host) {
        for one in stopped {
            self.stopped.retain(|old| (&old.id, &old.event) != (&one.id, &one.event));
            self.stopped.push(one);
        }
        self.save(host);
    }

    /// They run again, or cannot any more.
    pub(crate) fn remove(&mut self, ids: &[&str], host: Host) {
        self.stopped.retain(|one| !ids.contains(&one.id.as_str()));
        self.save(host);
    }

    fn save(&self, host: Host) {
        let saved = if self.stopped.is_empty() { self.file.clear() } else { self.file.write(&self.stopped) };
        if let Err(error) = saved {
            host.warn(format_args!("what was stopped may not be started after a restart of the daemon: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn stopped(event: &str, id: &str) -> Stopped {
        Stopped { event: event.to_owned(), id: id.to_owned(), name: id.to_owned(), group: 0 }
    }

    #[test]
    fn what_was_stopped_outlives_the_instance_by_event_until_it_runs_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/there/yet");
        let host = cloudsnooze_plugin::testing::host();
        let mut record = Record::load(&state, host);
        record.add(vec![stopped("e1", "a"), stopped("e1", "b")], host);
        record.add(vec![stopped("e2", "c"), stopped("e1", "a")], host);
        let mut record = Record::load(&state, host);
        assert_eq!((record.of(Some("e1")).len(), record.of(Some("e2")).len(), record.of(Some("e3")).len()), (2, 1, 0));
        assert_eq!(record.of(None).len(), 3);
        record.remove(&["a", "b", "c"], host);
        assert!(!state.join(FILE).exists());
        assert!(Record::load(&state, host).of(None).is_empty());
    }

    #[test]
    fn what_was_stopped_before_the_machine_started_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let host = cloudsnooze_plugin::testing::host();
        Record::load(dir.path(), host).add(vec![stopped("e", "a")], host);
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let other = text.replacen("\"boot\":\"", "\"boot\":\"another-", 1);
        fs::write(dir.path().join(FILE), other).unwrap();
        assert!(Record::load(dir.path(), host).of(None).is_empty());
        fs::write(dir.path().join(FILE), "no JSON").unwrap();
        assert!(Record::load(dir.path(), host).of(None).is_empty());
    }
}
