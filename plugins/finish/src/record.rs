//! What was scheduled, should the notice be withdrawn.
//! Inputs: the instance's state directory. Outputs: a note in it, which outlives the daemon and not the machine's running. Must
//! never hold what another program scheduled.

use crate::logind::Scheduled;
use cloudsnooze_plugin::serde_json;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    boot: String,
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
    /// None: in memory only.
    file: Option<PathBuf>,
    boot: String,
    note: Mutex<Option<Note>>,
}

impl Record {
    pub(crate) fn new(state_dir: &Path) -> Self {
        let file = (!state_dir.as_os_str().is_empty()).then(|| state_dir.join("scheduled.json"));
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Self { file, boot, note: Mutex::default() }
    }

    /// Notes it down.
    ///
    /// # Errors
    /// It is kept in memory only.
    pub(crate) fn put(&self, event: &str, scheduled: &Scheduled) -> io::Result<()> {
        let Scheduled { kind, at_us } = scheduled.clone();
        let note = Note { boot: self.boot.clone(), event: event.to_owned(), kind, at_us };
        let text = serde_json::to_vec(&note)?;
        *self.note() = Some(note);
        let Some(file) = &self.file else { return Ok(()) };
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        let fresh = file.with_extension("new");
        fs::write(&fresh, text)?;
        fs::rename(&fresh, file)
    }

    /// What stands in it, if it is of this boot.
    pub(crate) fn get(&self) -> Option<Note> {
        let kept = self.note().clone();
        let read = || serde_json::from_slice(&fs::read(self.file.as_ref()?).ok()?).ok();
        kept.or_else(read).filter(|note: &Note| note.boot == self.boot)
    }

    /// Takes it out.
    pub(crate) fn clear(&self) {
        *self.note() = None;
        if let Some(file) = &self.file {
            // One that stays behind names a time that passes.
            let _removed = fs::remove_file(file);
        }
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
        let other = Record { boot: "another".to_owned(), ..Record::new(&state) };
        assert_eq!(other.get(), None);
        Record::new(&state).clear();
        assert_eq!(Record::new(&state).get(), None);
    }
}
