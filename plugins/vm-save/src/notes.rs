//! What was done to each machine, for whoever has to undo it or to look again.
//!
//! Inputs: the instance's state directory. Outputs: notes that outlive the daemon. Must never keep a machine from being saved
//! because the disk cannot be written.

use crate::machine::Kept;
use crate::process::Process;
use cloudsnooze_plugin::Host;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// It is being stopped and saved.
    Begun,
    /// It is saved, and still there.
    Kept,
    /// It is saved, and ended.
    Ended,
    /// It could not be saved, and is stopped.
    Paused,
    /// It could not be saved, and was told to shut down.
    Down,
}

/// What was done to one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) event: String,
    pub(crate) stage: Stage,
    /// Whether it ran before.
    pub(crate) was_running: bool,
    pub(crate) process: Option<Process>,
    pub(crate) kept: Option<Kept>,
}

/// All of them, by the machine's name.
pub(crate) struct Notes {
    host: Host,
    /// None: kept in memory only.
    file: Option<PathBuf>,
    all: Mutex<BTreeMap<String, Note>>,
}

impl Notes {
    pub(crate) fn new(host: Host, state_dir: &Path) -> Self {
        let file = (!state_dir.as_os_str().is_empty()).then(|| state_dir.join("machines.json"));
        Self { host, file, all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Note>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads those that were written before a restart.
    pub(crate) fn load(&self) {
        let Some(file) = &self.file else { return };
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.host.warn(format_args!("{}: {error}", file.display())),
        };
        match serde_json::from_slice(&text) {
            Ok(notes) => *self.all() = notes,
            Err(error) => self.host.warn(format_args!("{}: {error}; what was done is forgotten", file.display())),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Note> {
        self.all().get(name).cloned()
    }

    pub(crate) fn put(&self, name: &str, note: Note) {
        let mut all = self.all();
        all.insert(name.to_owned(), note);
        self.write(&all);
    }

    pub(crate) fn remove(&self, name: &str) {
        let mut all = self.all();
        if all.remove(name).is_some() {
            self.write(&all);
        }
    }

    fn write(&self, all: &BTreeMap<String, Note>) {
        let Some(file) = &self.file else { return };
        if let Err(error) = replace(file, all) {
            self.host.warn(format_args!("what was done will be forgotten by a restart: {}: {error}", file.display()));
        }
    }
}

/// Whole at every moment, and on the disk.
fn replace(file: &Path, all: &BTreeMap<String, Note>) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let next = file.with_extension("json.next");
    let mut writer = File::create(&next)?;
    writer.write_all(&serde_json::to_vec(all)?)?;
    writer.sync_all()?;
    fs::rename(next, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_outlive_the_instance_and_a_broken_file_is_no_reason_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/there/yet");
        let host = cloudsnooze_plugin::testing::host();
        let kept = Kept { how: "file".to_owned(), path: Some("/a".into()), bytes: 7, ..Kept::default() };
        let note =
            Note { event: "e".to_owned(), stage: Stage::Kept, was_running: true, process: None, kept: Some(kept) };
        let notes = Notes::new(host, &state);
        notes.load();
        notes.put("a", note.clone());
        notes.put("b", Note { stage: Stage::Down, kept: None, ..note.clone() });
        notes.remove("b");
        let again = Notes::new(host, &state);
        again.load();
        assert_eq!((again.get("a"), again.get("b")), (Some(note.clone()), None));
        fs::write(state.join("machines.json"), "{").unwrap();
        let broken = Notes::new(host, &state);
        broken.load();
        assert_eq!(broken.get("a"), None);
        broken.put("a", note.clone());
        again.load();
        assert_eq!(again.get("a"), Some(note.clone()));
        let memory = Notes::new(host, Path::new(""));
        memory.put("a", note);
        assert!(memory.get("a").is_some());
    }
}
