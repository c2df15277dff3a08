//! Whether a command has run that could be undone.
//! Inputs: the instance's state directory. Outputs: a mark in it, which outlives the daemon. Must never keep a command from
//! being run because the disk cannot be written.

use cloudsnooze_plugin::Host;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The mark.
pub(crate) struct Due {
    /// None: kept in memory only.
    file: Option<PathBuf>,
    is_due: AtomicBool,
}

impl Due {
    pub(crate) fn new(state_dir: &Path) -> Self {
        let file = (!state_dir.as_os_str().is_empty()).then(|| state_dir.join("undo-is-due"));
        Self { file, is_due: AtomicBool::new(false) }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.is_due.load(Ordering::Acquire) || self.file.as_ref().is_some_and(|file| file.exists())
    }

    /// Before the command: a crash in between must not lose it.
    pub(crate) fn mark(&self, host: Host, event_id: &str) {
        self.is_due.store(true, Ordering::Release);
        let Some(file) = &self.file else { return };
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| fs::write(file, format!("{event_id}\n"))) {
            host.warn(format_args!("what was done will not be undone after a restart: {}: {error}", file.display()));
        }
    }

    pub(crate) fn clear(&self, host: Host) {
        self.is_due.store(false, Ordering::Release);
        let Some(file) = self.file.as_ref().filter(|file| file.exists()) else { return };
        if let Err(error) = fs::remove_file(file) {
            host.warn(format_args!("what was undone may be undone again: {}: {error}", file.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_outlives_the_instance_and_is_taken_away_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/there/yet");
        let host = cloudsnooze_plugin::testing::host();
        assert!(!Due::new(&state).is_due());
        Due::new(&state).mark(host, "event");
        assert!(Due::new(&state).is_due());
        Due::new(&state).clear(host);
        assert!(!Due::new(&state).is_due());
        let memory = Due::new(Path::new(""));
        memory.mark(host, "event");
        assert!(memory.is_due());
    }
}
