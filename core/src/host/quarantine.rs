//! Plugins that ended the daemon, kept across restarts: who, how, and in which form of the file.
//!
//! Inputs: the last words of a process (`sys::fault`). Outputs: whether a plugin file may be used, and if not, why. Must
//! never have code of a quarantined file run: not even its constructors. A file that was replaced is another one.

use crate::sys::clock;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the file, in the state directory.
pub const FILE: &str = "quarantine.json";

/// Last words as they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    /// The signal, or `exit()`.
    pub what: String,
    /// "EVENT_TYPE/PLUGIN", or the file when it happened while it was mapped; empty: not known.
    pub instance: String,
    /// The function of the plugin; empty: not known.
    pub phase: String,
    /// The event, 32 hexadecimal digits; empty: none.
    pub event: String,
    /// The library in whose code it happened, where that is known.
    pub library: String,
}

impl LastWords {
    /// Reads what `sys::fault` wrote. None when it is not whole.
    pub fn parse(text: &str) -> Option<Self> {
        text.lines().rfind(|line| *line == "end")?;
        let value = |key: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next().unwrap_or_default().to_owned()
        };
        Some(Self {
            what: value("what"),
            instance: value("instance"),
            phase: value("phase"),
            event: Some(value("event")).filter(|id| !id.trim_matches('0').is_empty()).unwrap_or_default(),
            library: value("library"),
        })
    }

    /// Name of the plugin; None when nobody's code ran, as far as is known.
    pub fn plugin(&self) -> Option<&str> {
        let stem = |path: &str| Path::new(path).file_stem().and_then(|s| s.to_str()).map(str::len);
        match (self.instance.rsplit_once('/'), self.phase.as_str()) {
            (Some((_, file)), "load") => file.get(..stem(file)?),
            (Some((_, plugin)), _) => Some(plugin),
            (None, _) => {
                let (_, file) = self.library.rsplit_once('/')?;
                file.get(..stem(file)?)
            }
        }
        .map(|name| name.strip_prefix("lib").unwrap_or(name))
        .filter(|name| !name.is_empty())
    }

    /// One sentence.
    pub fn sentence(&self) -> String {
        let phase = if self.phase.is_empty() { "a thread of its own" } else { &self.phase };
        format!("it ended the daemon: {} in {phase}", self.what)
    }
}

/// One quarantined plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Name of the plugin.
    pub plugin: String,
    /// SHA-256 of the file that did it.
    pub sha256: String,
    /// What it did, in words.
    pub why: String,
    /// When that was found, RFC 3339.
    pub found: String,
}

/// All of them, and the file that keeps them.
#[derive(Debug, Default)]
pub struct Quarantine {
    path: Option<PathBuf>,
    entries: Vec<Entry>,
}

impl Quarantine {
    /// Reads the file; none is an empty one.
    ///
    /// # Errors
    /// A sentence: the file cannot be read or is not what this program wrote.
    pub fn open(path: &Path) -> Result<Self, String> {
        let entries = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                format!(
                    "{}: {e}; expected a list of quarantined plugins: remove the file to release them all",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(Self { path: Some(path.to_owned()), entries })
    }

    /// Why this file of a plugin may not be used; None: it may.
    pub fn why(&self, plugin: &str, sha256: &str) -> Option<&str> {
        self.entries.iter().find(|e| e.plugin == plugin && e.sha256 == sha256).map(|e| e.why.as_str())
    }

    /// Adds a plugin and writes the file.
    ///
    /// # Errors
    /// A sentence; it is in quarantine all the same, as long as this process lasts.
    pub fn add(&mut self, plugin: &str, sha256: &str, why: &str) -> Result<(), String> {
        self.entries.retain(|e| e.plugin != plugin);
        self.entries.push(Entry {
            plugin: plugin.to_owned(),
            sha256: sha256.to_owned(),
            why: why.to_owned(),
            found: clock::now().rfc3339(),
        });
        self.write()
    }

    /// Takes a plugin out and writes the file. Gives whether it was in.
    ///
    /// # Errors
    /// A sentence.
    pub fn release(&mut self, plugin: &str) -> Result<bool, String> {
        let before = self.entries.len();
        self.entries.retain(|e| e.plugin != plugin);
        self.write()?;
        Ok(self.entries.len() < before)
    }

    /// Those in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The new file takes the place of the old one at once, or not at all.
    fn write(&self) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let beside = path.with_extension("new");
        let text = serde_json::to_string_pretty(&self.entries).unwrap_or_default();
        let mut file = std::fs::File::create(&beside).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "what=SIGSEGV\naddress=0000\ninstance=cloud.spot.*/flusher\nphase=on_event\nevent=01a2\nend\n";

    #[test]
    fn last_words_name_the_plugin_and_torn_ones_are_not_believed() {
        let words = LastWords::parse(WORDS).expect("whole");
        assert_eq!((words.plugin(), words.event.as_str()), (Some("flusher"), "01a2"));
        assert_eq!(words.sentence(), "it ended the daemon: SIGSEGV in on_event");
        assert_eq!(LastWords::parse(&WORDS[..WORDS.len() - 2]), None);
        let of = |instance: &str, phase: &str, library: &str| {
            let own = |text: &str| text.to_owned();
            let words =
                LastWords { instance: own(instance), phase: own(phase), library: own(library), ..words.clone() };
            words.plugin().map(str::to_owned)
        };
        assert_eq!(of("/p/my-flusher.so", "load", "").as_deref(), Some("my-flusher"));
        assert_eq!(of("", "", "/p/libmy.so").as_deref(), Some("my"));
        assert_eq!(of("", "", ""), None);
    }

    #[test]
    fn a_quarantine_outlives_the_process_and_ends_with_the_file_it_was_for() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("quarantine.json");
        Quarantine::open(&path).expect("none yet").add("flusher", "abc", "it ended the daemon").expect("written");
        let mut kept = Quarantine::open(&path).expect("read");
        assert_eq!(kept.why("flusher", "abc"), Some("it ended the daemon"));
        assert_eq!((kept.why("flusher", "def"), kept.why("other", "abc")), (None, None));
        assert_eq!((kept.release("flusher"), kept.release("flusher")), (Ok(true), Ok(false)));
        assert!(Quarantine::open(&path).expect("read").entries().is_empty());
        std::fs::write(&path, "{").expect("written");
        assert!(Quarantine::open(&path).is_err_and(|e| e.contains("remove the file")));
    }
}
