//! The file that lists the open notices.
//!
//! Inputs: changes of the list. Outputs: the file, whole at every moment: written beside its place and renamed into it.
//! Runs on a normal thread of its own. Must never be written by whoever changes the list, nor follow a link that somebody
//! else put in its way.

use super::notices::{Document, Notices};
use crate::sys::clock;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Pause after each writing: what changes meanwhile is written together.
const PAUSE: Duration = Duration::from_millis(5);
/// Longest sleep, also over a suspend of the machine, which the condition's own clock does not see.
const LOOK: Duration = Duration::from_secs(10);
/// Until a file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Anybody may read it: it holds no secret, and scripts of all users need it.
const MODE: u32 = 0o644;

/// The file and the list in it.
pub struct StateFile {
    path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    notices: Notices,
    is_stale: bool,
    is_over: bool,
    problem: Option<String>,
}

impl StateFile {
    /// A file at this place, with what is known to be open already. Nothing is written yet.
    pub fn new(path: PathBuf, notices: Notices) -> Self {
        let state = State { notices, is_stale: true, is_over: false, problem: None };
        Self { path, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Changes the list; the file follows when `change` says that it has to. Does not wait for the disk.
    pub fn change(&self, change: impl FnOnce(&mut Notices) -> bool) {
        let mut state = self.lock();
        state.is_stale |= change(&mut state.notices);
        drop(state);
        // Also when the file need not follow: what ends now may be the next to be over.
        self.changed.notify_one();
    }

    /// Why the file is not as it should be; None when it is.
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// Ends `run`. The file stays: who looks while the machine goes down must still find the notice.
    pub fn stop(&self) {
        self.lock().is_over = true;
        self.changed.notify_one();
    }

    /// Writes the file whenever the list changes, until stopped.
    pub fn run(&self) {
        while let Some(document) = self.next() {
            let failed = write(&self.path, &document).err();
            let mut state = self.lock();
            if let Some(error) = failed {
                let problem = format!("the open notices cannot be written to {}: {error}", self.path.display());
                if state.problem.is_none() {
                    tracing::error!("{problem}");
                }
                (state.problem, state.is_stale) = (Some(problem), true);
                drop(self.changed.wait_timeout(state, RETRY).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            state.problem = None;
            drop(state);
            thread::sleep(PAUSE);
        }
    }

    /// Waits until there is something to write; None when it is time to end.
    fn next(&self) -> Option<Document> {
        let mut state = self.lock();
        loop {
            let now = clock::now();
            state.is_stale |= state.notices.expire(now);
            if state.is_over && state.problem.is_some() {
                return None;
            }
            if state.is_stale {
                state.is_stale = false;
                return Some(state.notices.document(now));
            }
            if state.is_over {
                return None;
            }
            let due = state.notices.next_expiry_ns(now).and_then(|ns| u64::try_from(ns).ok());
            let pause = due.map_or(LOOK, |ns| LOOK.min(Duration::from_nanos(ns)));
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(path: &Path, document: &Document) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    fs::create_dir_all(directory)?;
    let beside = directory.join(format!(".{name}.new"));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    // Made anew: a link that waits there is not followed.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        // Whatever the umask took away.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(MODE))?;
        fs::rename(&beside, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(&beside)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn empty() -> Document {
        Notices::default().document(clock::now())
    }

    #[test]
    fn a_reader_never_finds_half_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run/notice.json");
        write(&path, &empty()).expect("written");
        let reader = {
            let path = path.clone();
            thread::spawn(move || {
                for _ in 0..2_000 {
                    let text = fs::read_to_string(&path).expect("always there");
                    serde_json::from_str::<serde_json::Value>(&text).expect("always whole");
                }
            })
        };
        while !reader.is_finished() {
            write(&path, &empty()).expect("written");
        }
        reader.join().expect("nothing else was read");
        let found = fs::metadata(&path).expect("there");
        assert_eq!(found.mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(directory.path().join("run")).expect("there").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        let path = directory.path().join("notice.json");
        std::os::unix::fs::symlink(&victim, directory.path().join(".notice.json.new")).expect("linked");
        std::os::unix::fs::symlink(&victim, &path).expect("linked");
        write(&path, &empty()).expect("written");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        assert!(fs::symlink_metadata(&path).expect("there").is_file());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_a_problem_until_it_can() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("run");
        fs::write(&place, "a file where the directory should be").expect("written");
        let file = StateFile::new(place.join("notice.json"), Notices::default());
        let problem = || file.problem();
        let wait = |wanted: bool| {
            let until_ns = clock::boot_ns() + 30_000_000_000;
            while problem().is_some() != wanted {
                assert!(clock::boot_ns() < until_ns, "problem: {:?}", problem());
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| file.run());
            wait(true);
            fs::remove_file(&place).expect("removed");
            wait(false);
            file.stop();
        });
        assert!(place.join("notice.json").exists());
    }
}
