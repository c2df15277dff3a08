//! The server settings this instance changed, so that a withdrawn notice can be undone: those, and nothing that others did.
//!
//! Inputs: settings to make, a [`Link`]. Outputs: what was set, what was restored; a file in the instance's state directory,
//! so that a restart of the daemon does not leave a server read-only. Must never leave a setting in the server's files: its next
//! start, here or with the same disk on another machine, is to be as its owner wants it.
//!
//! The way there: ALTER SYSTEM SET writes the value into `postgresql.auto.conf`, a reload makes the running server take it,
//! and at the end of the call ALTER SYSTEM RESET takes it out of the file again, without a reload. So the value holds for as
//! long as this server runs and is not told to reload, which is what undoing it is.

use crate::link::{Fault, Link, Watch};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every setting this plugin ever changes.
const SETTINGS: [&str; 3] = ["default_transaction_read_only", "synchronous_commit", "fsync"];
/// How often the server is asked whether it has taken a value.
const POLL: Duration = Duration::from_millis(10);
/// How long a reload may take; it takes milliseconds.
const RELOAD: Duration = Duration::from_secs(2);

/// One setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Its name.
    pub setting: String,
    /// The server's value before this instance changed it first.
    pub before: String,
    /// Its value in `postgresql.auto.conf` then; None when it was not there.
    pub in_file: Option<String>,
    /// The value this instance gave it.
    pub set: String,
    /// Whether that may still be in the file.
    pub is_in_file: bool,
}

/// What became of one setting on the way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Its name.
    pub setting: String,
    /// Its value before restoring.
    pub before: String,
    /// Its value after restoring, asked of the server.
    pub after: String,
}

/// All settings changed and not yet restored, oldest first.
#[derive(Debug, Default)]
pub struct Changes {
    list: Vec<Change>,
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
        let file = state_dir.join("changed-settings.json");
        let list: Vec<Change> = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        // Names and values go into statements: nothing but what this plugin writes itself may pass.
        let is_ours = |c: &Change| {
            SETTINGS.contains(&c.setting.as_str()) && is_plain(&c.set) && c.in_file.as_deref().is_none_or(is_plain)
        };
        if !list.iter().all(is_ours) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a record of this plugin"));
        }
        Ok(Self { list, file: Some(file) })
    }

    /// Whether there is nothing to undo.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether this instance has set it and not restored it.
    pub fn holds(&self, setting: &str) -> bool {
        self.list.iter().any(|change| change.setting == setting)
    }

    /// Forgets them all: a server that was shut down has forgotten them too.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn clear(&mut self) -> io::Result<()> {
        self.list.clear();
        self.save()
    }

    /// Gives a setting a value unless it has that, and waits until the server has taken it.
    ///
    /// # Errors
    /// The refusal, the lost connection, or that the server did not take it in time.
    pub fn set(&mut self, link: &mut Link, setting: &str, value: &str, watch: &Watch<'_>) -> Result<(), Fault> {
        let now = Value::read(link, setting, watch)?;
        if now.value == value {
            return Ok(());
        }
        if !self.holds(setting) {
            let in_file = now.is_from_auto_file.then(|| now.value.clone()).filter(|value| is_plain(value));
            let change = Change {
                setting: setting.to_owned(),
                before: now.value,
                in_file,
                set: value.to_owned(),
                is_in_file: true,
            };
            // Recorded ahead of the change: a crash in between must not lose it. A disk that cannot be written must not keep
            // the database from being made safe, so that failing is no error here.
            self.list.push(change);
            let _ = self.save();
        }
        if let Err(fault) = link.rows(&format!("ALTER SYSTEM SET {setting} = '{value}'"), watch) {
            if !fault.is_final() {
                self.list.retain(|change| change.setting != setting);
                let _ = self.save();
            }
            return Err(fault);
        }
        self.mark(setting, true);
        let taken = reload_until(link, watch, |link, watch| Ok(Value::read(link, setting, watch)?.value == value));
        if taken.as_ref().is_err_and(|fault| !fault.is_final()) {
            // The server was not made to take it, so there is nothing of it to undo but the line in the file.
            self.take_out_of_file(link, watch)?;
            self.list.retain(|change| change.setting != setting);
            let _ = self.save();
        }
        taken
    }

    /// Takes every value out of the server's file that this instance has put there; the running server keeps them.
    ///
    /// # Errors
    /// The refusal or the lost connection: a value may be left there, and the record says so.
    pub fn take_out_of_file(&mut self, link: &mut Link, watch: &Watch<'_>) -> Result<(), Fault> {
        let left: Vec<Change> = self.list.iter().filter(|change| change.is_in_file).cloned().collect();
        for change in left {
            let Change { setting, in_file, .. } = change;
            let sql = match in_file {
                Some(value) => format!("ALTER SYSTEM SET {setting} = '{value}'"),
                None => format!("ALTER SYSTEM RESET {setting}"),
            };
            link.rows(&sql, watch)?;
            self.mark(&setting, false);
        }
        Ok(())
    }

    /// Restores everything: the file first, then a reload. What the server has after it is what its owner wants, even if that
    /// is the same.
    ///
    /// # Errors
    /// The refusal or the lost connection; then the record stays, for another attempt.
    pub fn restore(&mut self, link: &mut Link, watch: &Watch<'_>) -> Result<Vec<Restored>, Fault> {
        self.take_out_of_file(link, watch)?;
        let mut restored = Vec::new();
        for change in &self.list {
            let before = Value::read(link, &change.setting, watch)?.value;
            restored.push(Restored { setting: change.setting.clone(), before, after: String::new() });
        }
        let wanted = self.list.clone();
        let is_back = |link: &mut Link, watch: &Watch<'_>| {
            for change in &wanted {
                if Value::read(link, &change.setting, watch)?.value == change.set {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        match reload_until(link, &watch.at_most(RELOAD), is_back) {
            // Someone else may have given it the same value for good; the report shows it.
            Ok(()) | Err(Fault::Late) => {}
            Err(fault) => return Err(fault),
        }
        for setting in &mut restored {
            setting.after = Value::read(link, &setting.setting, watch)?.value;
        }
        let _ = self.clear();
        Ok(restored)
    }

    fn mark(&mut self, setting: &str, is_in_file: bool) {
        for change in self.list.iter_mut().filter(|change| change.setting == setting) {
            change.is_in_file = is_in_file;
        }
        let _ = self.save();
    }

    /// Writes the record beside and renames it, so that there is always a whole one.
    fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        let beside = file.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&self.list)?)?;
        fs::rename(&beside, file)
    }
}

/// Tells the server to read its files, and waits until `is_taken`: the postmaster passes it on to its processes.
fn reload_until(
    link: &mut Link,
    watch: &Watch<'_>,
    is_taken: impl Fn(&mut Link, &Watch<'_>) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let watch = watch.at_most(RELOAD);
    link.rows("SELECT pg_reload_conf()", &watch)?;
    while !is_taken(link, &watch)? {
        if !watch.pause(POLL) {
            return Err(watch.over().unwrap_or(Fault::Late));
        }
    }
    Ok(())
}

/// A setting as the server has it.
pub struct Value {
    /// What new sessions get, whatever this one has set for itself.
    pub value: String,
    is_from_auto_file: bool,
}

impl Value {
    /// Reads it.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn read(link: &mut Link, setting: &str, watch: &Watch<'_>) -> Result<Self, Fault> {
        let sql = format!(
            "SELECT reset_val AS value, coalesce(sourcefile LIKE '%postgresql.auto.conf', false) AS auto \
             FROM pg_settings WHERE name = '{setting}'"
        );
        let mut row = link.row(&sql, watch)?;
        let is_from_auto_file = row.get("auto").is_some_and(|value| value == "t");
        Ok(Self { value: row.remove("value").unwrap_or_default(), is_from_auto_file })
    }
}

fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::{Change, Changes};
    use std::fs;

    fn change() -> Change {
        Change {
            setting: "default_transaction_read_only".to_owned(),
            before: "off".to_owned(),
            in_file: None,
            set: "on".to_owned(),
            is_in_file: true,
        }
    }

    #[test]
    fn the_record_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not-there-yet");
        let mut first = Changes::load(&state).unwrap();
        first.list.push(change());
        first.mark("default_transaction_read_only", false);
        let mut second = Changes::load(&state).unwrap();
        assert_eq!(second.list, [Change { is_in_file: false, ..change() }]);
        assert!(second.holds("default_transaction_read_only"));
        second.clear().unwrap();
        assert!(Changes::load(&state).unwrap().is_empty());
    }

    #[test]
    fn a_record_with_foreign_names_or_values_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = [
            Change { setting: "archive_command".to_owned(), ..change() },
            Change { set: "on'; DROP TABLE t; --".to_owned(), ..change() },
            Change { in_file: Some("'".to_owned()), ..change() },
        ];
        for change in foreign {
            fs::write(dir.path().join("changed-settings.json"), serde_json::to_vec(&[&change]).unwrap()).unwrap();
            assert!(Changes::load(dir.path()).is_err(), "{change:?}");
        }
    }
}
