//! What this instance changed on the server, so that a withdrawn notice can be undone: that, and nothing that others did.
//!
//! Inputs: settings to make, a [`Link`]. Outputs: what was set, what was restored; a file in the instance's state directory,
//! so that a restart of the daemon does not leave writers waiting. Must never restore a setting that someone else changed in the
//! meantime.

use crate::link::{Fault, Link, Watch};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Every setting this plugin ever changes.
const SETTINGS: [&str; 2] = ["appendfsync", "no-appendfsync-on-rewrite"];

/// One setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Its name.
    pub setting: String,
    /// Its value before this instance changed it first.
    pub before: String,
    /// The value this instance gave it.
    pub set: String,
}

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Whether writers were told to wait.
    paused: bool,
    settings: Vec<Change>,
}

/// What became of one change on the way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// A setting, or `pause_writes`.
    pub setting: String,
    /// Its value before restoring.
    pub before: String,
    /// Its value after restoring, asked of the server where it can be.
    pub after: String,
    /// Why it was left alone; absent when it was restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_alone: Option<String>,
}

/// All that was changed and not yet restored.
#[derive(Debug, Default)]
pub struct Changes {
    record: Record,
    file: Option<PathBuf>,
}

impl Changes {
    /// Those an earlier process left behind. An empty path keeps everything in memory.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is not ours.
    pub fn load(state_dir: &Path) -> io::Result<Self> {
        if state_dir.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let file = state_dir.join("changes.json");
        let record: Record = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(e) => return Err(e),
        };
        if !record.settings.iter().all(|change| SETTINGS.contains(&change.setting.as_str())) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a record of this plugin"));
        }
        Ok(Self { record, file: Some(file) })
    }

    /// Whether there is nothing to undo.
    pub fn is_empty(&self) -> bool {
        self.record == Record::default()
    }

    /// Whether writers were told to wait and not to go on.
    pub fn has_paused(&self) -> bool {
        self.record.paused
    }

    /// Forgets it all: a server that was shut down has forgotten it too.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn clear(&mut self) -> io::Result<()> {
        self.record = Record::default();
        self.save()
    }

    /// Makes writers wait for so long at most; the server lets them go on by itself then, so that a daemon that dies leaves none
    /// waiting for ever.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn pause_writes(&mut self, link: &mut Link, millis: u64, watch: &Watch<'_>) -> Result<(), Fault> {
        // Recorded ahead of the change: a crash in between must not lose it. A disk that cannot be written must not keep the
        // database from being made safe, so that failing is no error here.
        let was_paused = std::mem::replace(&mut self.record.paused, true);
        let _ = self.save();
        let asked = link.ask::<String>(&["CLIENT", "PAUSE", &millis.to_string(), "WRITE"], watch);
        if asked.as_ref().is_err_and(|fault| !fault.is_final()) {
            self.record.paused = was_paused;
            let _ = self.save();
        }
        asked.map(drop)
    }

    /// Gives a setting a value unless it has that.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn set(&mut self, link: &mut Link, setting: &str, value: &str, watch: &Watch<'_>) -> Result<(), Fault> {
        let before = read(link, setting, watch)?;
        if before == value {
            return Ok(());
        }
        let is_known = self.record.settings.iter().any(|change| change.setting == setting);
        if !is_known {
            self.record.settings.push(Change { setting: setting.to_owned(), before, set: value.to_owned() });
            let _ = self.save();
        }
        let asked = link.ask::<String>(&["CONFIG", "SET", setting, value], watch);
        if !is_known && asked.as_ref().is_err_and(|fault| !fault.is_final()) {
            self.record.settings.retain(|change| change.setting != setting);
            let _ = self.save();
        }
        asked.map(drop)
    }

    /// Restores everything, writers last: they are to find the settings that their owner wants.
    ///
    /// # Errors
    /// The refusal or the lost connection; what is not restored then stays recorded, for another attempt.
    pub fn restore(&mut self, link: &mut Link, watch: &Watch<'_>) -> Result<Vec<Restored>, Fault> {
        let mut restored = Vec::new();
        while let Some(change) = self.record.settings.last().cloned() {
            let now = read(link, &change.setting, watch)?;
            let mut left_alone = None;
            if now == change.set {
                link.ask::<String>(&["CONFIG", "SET", &change.setting, &change.before], watch)?;
            } else {
                left_alone = Some(format!("someone else changed it since: this plugin had set {}", change.set));
            }
            let after = read(link, &change.setting, watch)?;
            self.record.settings.pop();
            let _ = self.save();
            restored.push(Restored { setting: change.setting, before: now, after, left_alone });
        }
        if self.record.paused {
            link.ask::<String>(&["CLIENT", "UNPAUSE"], watch)?;
            self.record.paused = false;
            let _ = self.save();
            restored.push(Restored {
                setting: "pause_writes".to_owned(),
                before: "paused".to_owned(),
                after: "unpaused".to_owned(),
                left_alone: None,
            });
        }
        Ok(restored)
    }

    /// Writes the record beside and renames it, so that there is always a whole one.
    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        let beside = file.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&self.record)?)?;
        fs::rename(&beside, file)
    }
}

/// Reads a setting; empty when the server does not know it.
///
/// # Errors
/// The refusal, or the lost connection.
pub fn read(link: &mut Link, setting: &str, watch: &Watch<'_>) -> Result<String, Fault> {
    let mut found = link.ask::<HashMap<String, String>>(&["CONFIG", "GET", setting], watch)?;
    Ok(found.remove(setting).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Change, Changes};
    use std::fs;

    #[test]
    fn the_record_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not-there-yet");
        let mut first = Changes::load(&state).unwrap();
        assert!(first.is_empty());
        first.record.paused = true;
        first.record.settings.push(Change {
            setting: "appendfsync".to_owned(),
            before: "no".to_owned(),
            set: "always".to_owned(),
        });
        first.save().unwrap();
        let mut second = Changes::load(&state).unwrap();
        assert!(second.has_paused() && second.record == first.record);
        second.clear().unwrap();
        assert!(Changes::load(&state).unwrap().is_empty());
    }

    #[test]
    fn a_record_with_foreign_names_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let record = r#"{"paused":false,"settings":[{"setting":"requirepass","before":"","set":"x"}]}"#;
        fs::write(dir.path().join("changes.json"), record).unwrap();
        assert!(Changes::load(dir.path()).is_err());
    }
}
