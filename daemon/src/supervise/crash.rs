//! What the last process said when it met its end, and what follows from it.
//!
//! Inputs: the file for last words, the quarantine, the plugins of today. Outputs: a quarantine with the culprit in it,
//! the culprit by name. Runs before anything of a plugin is mapped. Must never keep the daemon from starting.

use super::resume::Culprit;
use crate::config::{Config, OnCrash};
use crate::dispatch::outbox::Outbox;
use crate::dispatch::pool::Pool;
use crate::history::recorder::Recorder;
use crate::host::quarantine::{self, LastWords, Quarantine};
use crate::host::{discover, trust};
use crate::sys::fault;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// File for last words, in the state directory.
const LAST_WORDS: &str = "last-words";
/// Last words are short; what is longer was not written by this program.
const LAST_WORDS_BYTES_MAX: u64 = 4096;

/// What was found.
pub(super) struct Found {
    pub(super) quarantine: Quarantine,
    pub(super) culprits: Vec<Culprit>,
    /// What to tell in status.
    pub(super) problems: Vec<String>,
}

/// The plugins that may not be loaded, and what is wrong with the list.
pub(super) fn quarantine(config: &Config) -> (Quarantine, Option<String>) {
    if config.dispatch.on_crash == OnCrash::Allow {
        return (Quarantine::default(), None);
    }
    match Quarantine::open(&config.state_directory.join(quarantine::FILE)) {
        Ok(quarantine) => (quarantine, None),
        Err(error) => {
            tracing::error!("{error}");
            (Quarantine::default(), Some(error))
        }
    }
}

/// Reads last words and puts the plugin that they name into quarantine, unless the policy allows it to go on.
pub(super) fn look(config: &Config, directories: &[PathBuf]) -> Found {
    let (mut quarantine, problem) = quarantine(config);
    let path = config.state_directory.join(LAST_WORDS);
    let mut culprits = Vec::new();
    if let Some(words) = read(&path) {
        let (sentence, LastWords { instance, event, library, .. }) = (words.sentence(), &words);
        tracing::error!(instance, event, library, "the last process did not end well: {sentence}");
        culprits.push(Culprit { instance: instance.clone(), what: sentence.clone() });
        if config.dispatch.on_crash != OnCrash::Allow
            && let Some(plugin) = config.plugin_of(&words.instance).or_else(|| words.plugin())
        {
            let file = discover::find(plugin, directories).and_then(|found| trust::open(&found.path, None));
            if let Ok(Err(error)) = file.map(|file| quarantine.add(plugin, &file.sha256, &sentence)) {
                tracing::error!("the quarantine cannot be kept: {error}");
            }
        }
        // Read once: the next start must not hold somebody guilty for this.
        let _ = std::fs::remove_file(path);
    }
    let mut problems: Vec<String> = problem.into_iter().collect();
    if config.dispatch.on_crash == OnCrash::Isolate {
        problems.extend(quarantine.entries().iter().map(|entry| {
            format!(
                "plugin {} of {}: {}; that file runs in a process of its own until snooze plugin release {0}",
                entry.plugin, entry.found, entry.why
            )
        }));
    }
    Found { quarantine, culprits, problems }
}

/// Whole last words; None when there are none.
fn read(path: &Path) -> Option<LastWords> {
    use std::io::Read;
    let mut text = Vec::new();
    File::open(path).ok()?.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut text).ok()?;
    LastWords::parse(&String::from_utf8_lossy(&text))
}

/// Has the last words of this process written down, should it come to that. Opened now: there is no opening then.
pub(super) fn listen(state: &Path) {
    let _ = std::fs::create_dir_all(state);
    let path = state.join(LAST_WORDS);
    let made = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path);
    match made.and_then(|file| fault::listen(file, &path)) {
        Ok(()) => {}
        Err(error) => tracing::warn!(%error, "a crash of this process will leave no word of whose it was"),
    }
}

/// Looks whether everything has reached the journal, this often.
const LOOK: Duration = Duration::from_millis(3);

/// A thread that, when the process is about to end by its own fault, sees to it that what happened reaches the
/// journal: the dying thread waits for it, for a while.
pub(super) fn settle_before_the_end(pool: Pool, outbox: Arc<Outbox>, recorder: Arc<Recorder>) {
    const UNKNOWN: &str = "a crash of this process may come before the journal knows of what led to it";
    // Here and not in the thread: what is taken up again at once may crash before that runs.
    let knell = match fault::knell() {
        Ok(knell) => knell,
        Err(error) => return tracing::warn!(%error, "{UNKNOWN}"),
    };
    let body = move || {
        if let Err(error) = knell.wait() {
            tracing::warn!(%error, "{UNKNOWN}");
            return;
        }
        let mut quiet = 0;
        // Twice: what is in nobody's hands for a moment is on its way from one to the next.
        while quiet < 2 {
            pool.hand_notes_over();
            thread::sleep(LOOK);
            let is_quiet = outbox.is_empty() && recorder.is_caught_up();
            quiet = if is_quiet { quiet + 1 } else { 0 };
        }
        fault::settled();
    };
    if let Err(error) = thread::Builder::new().name("snooze-last".into()).spawn(body) {
        tracing::warn!(%error, "no thread for the last moments");
    }
}

/// The process ends as it should: there is nothing to be said of it.
pub(super) fn end(state: &Path) {
    let _ = std::fs::remove_file(state.join(LAST_WORDS));
}
