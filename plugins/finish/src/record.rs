//! What was scheduled, should the notice be withdrawn.
//! Inputs: the instance's state directory. Outputs: a note in it, which outlives the daemon and not the machine's running. Must
//! never hold what another program scheduled.

use crate::logind::Scheduled;
use cloudsnooze_plugin::kept::Kept;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const FILE: &str = "scheduled.json";

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Event for which it was scheduled.
    pub(crate) event: String,
    kind: String,
    at_us: u64,
}

impl Note {
    /// What was scheduled.
    pub(crate) fn scheduled(&self) -> Scheduled {
        Scheduled { kind: self.kind.clone(), at_us: self.at_us }
    }
}

/// Where it is kept.
pub(crate) struct Record {
    file: Kept,
    note: Mutex<Option<Note>>,
}

impl Record {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { file: Kept::new(state_dir, FILE), note: Mutex::default() }
    }

    /// Notes it down.
    ///
    /// # Errors
    /// It is kept in memory only.
    pub(crate) fn put(&self, event: &str, scheduled: &Scheduled) -> io::Result<()> {
        let Scheduled { kind, at_us } = scheduled.clone();
        let note = Note { event: event.to_owned(), kind, at_us };
        let written = self.file.write(&note);
        *self.note() = Some(note);
        written
    }

    /// What stands in it, if it is of this boot.
    pub(crate) fn get(&self) -> Option<Note> {
        let kept = self.note().clone();
        kept.or_else(|| self.file.read().ok().flatten())
    }

    /// Takes it out.
    pub(crate) fn clear(&self) {
        *self.note() = None;
        // One that stays behind names a time that passes.
        let _removed = self.file.clear();
    }

    fn note(&self) -> MutexGuard<'_, Option<Note>> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_outlives_the_process_but_not_the_boot() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/there/yet");
        let scheduled = Scheduled { kind: "poweroff".to_owned(), at_us: 7 };
        Record::new(&state).put("e", &scheduled).unwrap();
        let note = Record::new(&state).get().unwrap();
        assert_eq!((note.event.as_str(), note.scheduled()), ("e", scheduled));
        let other = Record { file: Kept::of_boot(&state, FILE, "another"), ..Record::new(&state) };
        assert_eq!(other.get(), None);
        Record::new(&state).clear();
        assert_eq!(Record::new(&state).get(), None);
    }
}
