//! What was stopped and has to be started again, should the notice be withdrawn.
//!
//! Inputs: the instance's state directory; what is stopped for which event. Outputs: what is due when an event is withdrawn.
//! It outlives the daemon, but not the machine's running: after a boot, systemd starts what is to run. Must never hold what
//! this instance did not stop.

use cloudsnooze_plugin::kept::Kept;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const FILE: &str = "stopped-units.json";
/// By name.
type Units = BTreeMap<String, Entry>;

/// The record.
pub(crate) struct Record {
    file: Kept,
    /// None: not read yet.
    units: Mutex<Option<Units>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Entry {
    /// Its place in the order of stopping.
    step: usize,
    /// Events for which it has to stay stopped; when there is none left, it is due.
    events: BTreeSet<String>,
}

/// A unit that is to be started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) name: String,
    pub(crate) step: usize,
}

impl Record {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { file: Kept::new(state_dir, FILE), units: Mutex::default() }
    }

    /// Notes what is about to be stopped for an event, and that what is stopped already has to stay so for it too.
    ///
    /// # Errors
    /// It is kept in memory only.
    pub(crate) fn note(&self, event: &str, stopping: &[Due], resting: &[String]) -> io::Result<()> {
        self.change(|units| {
            for Due { name, step } in stopping {
                // It ran: an event for which it was stopped before, and somebody started it, has no claim any more.
                let events = BTreeSet::from([event.to_owned()]);
                units.insert(name.clone(), Entry { step: *step, events });
            }
            for name in resting {
                if let Some(entry) = units.get_mut(name) {
                    entry.events.insert(event.to_owned());
                }
            }
        })
    }

    /// Notes that an event was withdrawn, or all of them when it is not known which, and gives what is due now, the last that
    /// was stopped first.
    ///
    /// # Errors
    /// The record cannot be written; what is due is known all the same.
    pub(crate) fn withdraw(&self, event: Option<&str>) -> (Vec<Due>, io::Result<()>) {
        let mut due = Vec::new();
        let written = self.change(|units| {
            for (name, entry) in units {
                match event {
                    Some(event) => {
                        entry.events.remove(event);
                    }
                    None => entry.events.clear(),
                }
                if entry.events.is_empty() {
                    due.push(Due { name: name.clone(), step: entry.step });
                }
            }
        });
        due.sort_by(|one, other| (other.step, &one.name).cmp(&(one.step, &other.name)));
        (due, written)
    }

    /// Takes out what runs again.
    ///
    /// # Errors
    /// The record cannot be written: what runs may be found due again, and is left alone then.
    pub(crate) fn started(&self, names: &[String]) -> io::Result<()> {
        self.change(|units| units.retain(|name, _| !names.contains(name)))
    }

    fn change(&self, change: impl FnOnce(&mut Units)) -> io::Result<()> {
        let mut units = self.units();
        // One that is broken is void.
        let units = units.get_or_insert_with(|| self.file.read().ok().flatten().unwrap_or_default());
        change(units);
        if units.is_empty() { self.file.clear() } else { self.file.write(units) }
    }

    fn units(&self) -> MutexGuard<'_, Option<Units>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record(dir: &Path, boot: &str) -> Record {
        Record { file: Kept::of_boot(dir, FILE, boot), units: Mutex::default() }
    }

    fn due(name: &str, step: usize) -> Due {
        Due { name: name.to_owned(), step }
    }

    fn withdrawn(record: &Record, event: Option<&str>) -> Vec<Due> {
        let (due, written) = record.withdraw(event);
        written.unwrap();
        due
    }

    #[test]
    fn what_was_stopped_is_due_in_reverse_also_for_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/there/yet");
        record(&state, "b").note("e", &[due("web", 0), due("db", 1), due("cache", 1)], &[]).unwrap();
        let next = record(&state, "b");
        assert_eq!(withdrawn(&next, Some("e")), [due("cache", 1), due("db", 1), due("web", 0)]);
        next.started(&["cache".to_owned(), "web".to_owned()]).unwrap();
        assert_eq!(withdrawn(&record(&state, "b"), Some("e")), [due("db", 1)], "what failed is still due");
        record(&state, "b").started(&["db".to_owned()]).unwrap();
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0, "nothing is left behind");
        assert_eq!(withdrawn(&record(&state, "b"), None), []);
    }

    #[test]
    fn a_unit_stays_stopped_while_another_event_wants_it_so() {
        let record = record(Path::new(""), "b");
        record.note("one", &[due("web", 0)], &[]).unwrap();
        record.note("two", &[], &["web".to_owned(), "never-ours".to_owned()]).unwrap();
        assert_eq!(withdrawn(&record, Some("one")), []);
        assert_eq!(withdrawn(&record, Some("unknown")), []);
        assert_eq!(withdrawn(&record, Some("two")), [due("web", 0)]);
    }

    #[test]
    fn a_unit_that_somebody_started_belongs_to_the_next_event_only() {
        let record = record(Path::new(""), "b");
        record.note("one", &[due("web", 0)], &[]).unwrap();
        record.note("two", &[due("web", 3)], &[]).unwrap();
        assert_eq!(withdrawn(&record, Some("two")), [due("web", 3)]);
    }

    #[test]
    fn another_boot_makes_it_void_and_so_does_a_broken_file() {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path(), "b").note("e", &[due("web", 0)], &[]).unwrap();
        assert_eq!(withdrawn(&record(dir.path(), "c"), None), []);
        fs::write(dir.path().join("stopped-units.json"), "{").unwrap();
        assert_eq!(withdrawn(&record(dir.path(), "b"), None), []);
    }
}
