//! The server settings this instance changed, so that a withdrawn notice can be undone: those, and
//! nothing that others did.
//!
//! Inputs: settings to make, a [`Link`]. Outputs: what was set, what was restored; a file in the
//! instance's state directory, so that a restart of the daemon does not leave a server read-only.
//! Must never restore a setting that someone else changed in the meantime.

use crate::link::{Fault, Link};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Every setting this plugin ever changes.
const VARIABLES: [&str; 9] = [
    "read_only",
    "super_read_only",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
    "innodb_io_capacity_max",
    "innodb_io_capacity",
    "innodb_max_dirty_pages_pct_lwm",
    "innodb_max_dirty_pages_pct",
    "innodb_fast_shutdown",
];

/// One setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Global variable.
    pub variable: String,
    /// Its value before this instance changed it first.
    pub before: String,
    /// Its value as this instance left it.
    pub set: String,
}

/// What became of one setting on the way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Global variable.
    pub variable: String,
    /// Its value before restoring.
    pub before: String,
    /// Its value after restoring, asked of the server.
    pub after: String,
    /// Why it was left alone; absent when it was restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_alone: Option<String>,
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
        if !list.iter().all(|c| VARIABLES.contains(&c.variable.as_str()) && is_plain(&c.before) && is_plain(&c.set)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a record of this plugin"));
        }
        Ok(Self { list, file: Some(file) })
    }

    /// How many there are; later changes can be restored apart with [`Changes::restore_since`].
    pub fn mark(&self) -> usize {
        self.list.len()
    }

    /// Whether this instance has set the variable and not restored it.
    pub fn holds(&self, variable: &str) -> bool {
        self.list.iter().any(|c| c.variable == variable)
    }

    /// Forgets them all: a server that was shut down has forgotten them too.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn clear(&mut self) -> io::Result<()> {
        self.list.clear();
        self.save()
    }

    /// Sets a global variable unless it has that value, and remembers what it was.
    ///
    /// # Errors
    /// The refusal, or the lost connection.
    pub fn set(&mut self, link: &mut Link, variable: &str, value: &str) -> Result<(), Fault> {
        let before = read(link, variable)?;
        if same(&before, value) {
            return Ok(());
        }
        let known = self.list.iter().position(|c| c.variable == variable);
        let index = known.unwrap_or(self.list.len());
        if known.is_none() {
            self.list.push(Change { variable: variable.to_owned(), before, set: value.to_owned() });
            // Recorded ahead of the change: a crash in between must not lose it. A disk that cannot be
            // written must not keep the database from being made safe, so that failing is no error here.
            let _ = self.save();
        }
        if let Err(fault) = link.run(&format!("SET GLOBAL {variable}={}", literal(value))) {
            if known.is_none() && matches!(fault, Fault::Refused { .. }) {
                self.list.remove(index);
                let _ = self.save();
            }
            return Err(fault);
        }
        // Servers adjust values (rounding, limits); what counts later is what it really became.
        self.list[index].set = read(link, variable)?;
        let _ = self.save();
        Ok(())
    }

    /// Restores what was changed after `mark`, newest first. A setting whose restoring is refused stays
    /// recorded, for another attempt.
    ///
    /// # Errors
    /// The lost connection.
    pub fn restore_since(&mut self, link: &mut Link, mark: usize) -> Result<Vec<Restored>, Fault> {
        let mut restored = Vec::new();
        for index in (mark..self.list.len()).rev() {
            let change = self.list[index].clone();
            let now = read(link, &change.variable)?;
            let mut left_alone = None;
            if !same(&now, &change.set) {
                left_alone = Some(format!("someone else changed it since: this plugin had set {}", change.set));
                self.list.remove(index);
            } else if !same(&now, &change.before) {
                match link.run(&format!("SET GLOBAL {}={}", change.variable, literal(&change.before))) {
                    Ok(()) => drop(self.list.remove(index)),
                    Err(Fault::Refused { code, message }) => left_alone = Some(format!("{message} (error {code})")),
                    Err(lost) => return Err(lost),
                }
            } else {
                self.list.remove(index);
            }
            let _ = self.save();
            let after = read(link, &change.variable)?;
            restored.push(Restored { variable: change.variable, before: now, after, left_alone });
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
        fs::write(&beside, serde_json::to_vec(&self.list)?)?;
        fs::rename(&beside, file)
    }
}

/// Reads a global variable; empty when the server does not know a value.
///
/// # Errors
/// The refusal (also of an unknown variable), or the lost connection.
pub fn read(link: &mut Link, variable: &str) -> Result<String, Fault> {
    Ok(link.first_row(&format!("SELECT @@GLOBAL.{variable} AS value"))?.remove("value").unwrap_or_default())
}

/// Whether two values of a setting are the same: `0` and `0.000000` are, and `ON` and `1`.
fn same(a: &str, b: &str) -> bool {
    fn number(text: &str) -> Option<f64> {
        match text {
            _ if text.eq_ignore_ascii_case("ON") => Some(1.0),
            _ if text.eq_ignore_ascii_case("OFF") => Some(0.0),
            _ => text.parse().ok(),
        }
    }
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a.eq_ignore_ascii_case(b),
    }
}

fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_')
}

/// Numbers stand bare, names (`NO_LOCK`) in quotes.
fn literal(value: &str) -> String {
    if value.parse::<f64>().is_ok() { value.to_owned() } else { format!("'{value}'") }
}

#[cfg(test)]
mod tests {
    use super::{Change, Changes, same};
    use std::fs;

    #[test]
    fn values_are_compared_by_meaning() {
        assert!(same("0", "0.000000") && same("ON", "1") && same("off", "0") && same("NO_LOCK", "no_lock"));
        assert!(!same("0", "90.000000") && !same("NO_LOCK", "ON"));
    }

    #[test]
    fn the_record_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not-there-yet");
        let mut first = Changes::load(&state).unwrap();
        first.list.push(Change { variable: "read_only".into(), before: "0".into(), set: "1".into() });
        first.save().unwrap();
        let mut second = Changes::load(&state).unwrap();
        assert_eq!(second.list, first.list);
        second.clear().unwrap();
        assert_eq!(Changes::load(&state).unwrap().mark(), 0);
    }

    #[test]
    fn a_record_with_foreign_names_or_values_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (variable, before) in [("secure_auth", "0"), ("read_only", "0; DROP TABLE t"), ("read_only", "'")] {
            let list = serde_json::json!([{ "variable": variable, "before": before, "set": "1" }]);
            fs::write(dir.path().join("changed-settings.json"), list.to_string()).unwrap();
            assert!(Changes::load(dir.path()).is_err(), "{variable} {before}");
        }
    }
}
