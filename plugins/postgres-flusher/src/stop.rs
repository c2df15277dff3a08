//! The server's process: its orderly end, and whether it really came; and its files, brought to the disk past it.
//!
//! Inputs: the data directory of a server on this machine. Outputs: [`Exit`]. Must never signal a process that is not the
//! postmaster of that directory, and must never take a closed port for an orderly end: what proves it is the state that the
//! server writes into its control file last.

use crate::link::Watch;
use cloudsnooze_plugin::process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, syncfs};
use serde::Serialize;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{Builder, JoinHandle};

/// Where `pg_control` has the state of the database (`ControlFileData.state`: behind the system identifier and two versions, in
/// all versions since 8.0), in the byte order of the machine.
const STATE_AT: usize = 16;
/// `DB_SHUTDOWNED` and, on a replica, `DB_SHUTDOWNED_IN_RECOVERY`.
const SHUT_DOWN: [u32; 2] = [1, 2];

/// How the server left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Its process ended, and its control file says that it was shut down.
    Orderly,
    /// Its process ended, and its control file says that it was not.
    Broken,
    /// It is still there, or again.
    Running,
}

/// The postmaster, found by its data directory.
#[derive(Clone, Debug)]
pub struct Process {
    pid: i32,
    data_directory: PathBuf,
}

impl Process {
    /// Finds it.
    ///
    /// # Errors
    /// Why it cannot be seen from here, and what to do.
    pub fn find(data_directory: Option<&str>) -> Result<Self, String> {
        let directory =
            data_directory.ok_or("where its data are may not be read: it needs GRANT pg_monitor TO this account")?;
        let unseen = |e: io::Error| {
            format!(
                "its process cannot be seen from here ({directory}: {e}): run the daemon as root or as the server's user, on its machine"
            )
        };
        let data_directory = fs::canonicalize(directory).map_err(unseen)?;
        let pid = pid_in(&data_directory).map_err(unseen)?;
        // The postmaster works in its data directory. A pid of another pid namespace would name some other process, or none.
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).map_err(unseen)?;
        if works_in != data_directory {
            return Err(format!("process {pid} is not the server of {directory}: does it run in a container?"));
        }
        Ok(Self { pid, data_directory })
    }

    /// Tells it to end in the fast way: sessions are ended, everything is written, nobody is waited for.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn tell_to_end(&self) -> Result<(), String> {
        kill(Pid::from_raw(self.pid), Signal::SIGINT)
            .map_err(|e| format!("SIGINT to process {}: {e}: run the daemon as root or as the server's user", self.pid))
    }

    /// Looks once.
    pub fn look(&self) -> Exit {
        // One that runs again has written its pid anew.
        if !process::has_ended(self.pid.unsigned_abs()) || pid_in(&self.data_directory).is_ok_and(|pid| pid != self.pid)
        {
            return Exit::Running;
        }
        let state = fs::read(self.data_directory.join("global/pg_control")).ok().and_then(|bytes| state_in(&bytes));
        if state.is_some_and(|state| SHUT_DOWN.contains(&state)) { Exit::Orderly } else { Exit::Broken }
    }

    /// Where its files are: the data, the log, and tablespaces may each be on a file system of their own.
    fn places(&self) -> Vec<PathBuf> {
        let tablespaces = fs::read_dir(self.data_directory.join("pg_tblspc")).into_iter().flatten().flatten();
        let own = [self.data_directory.clone(), self.data_directory.join("pg_wal")];
        own.into_iter().chain(tablespaces.map(|entry| entry.path())).collect()
    }
}

fn pid_in(data_directory: &Path) -> io::Result<i32> {
    let text = fs::read_to_string(data_directory.join("postmaster.pid"))?;
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).filter(|pid| *pid > 1);
    pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "postmaster.pid names no process"))
}

fn state_in(control: &[u8]) -> Option<u32> {
    let bytes = control.get(STATE_AT..STATE_AT + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Brings files to the disk that a server with `fsync` off has left in the kernel's memory. The kernel gives no way to bound
/// that, so a thread of the instance does it.
#[derive(Default)]
pub struct Syncer {
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Syncs the server's file systems, and waits for it as long as the watch lasts.
    ///
    /// # Errors
    /// Why they are not known to be on the disk.
    pub fn sync(&mut self, process: &Process, watch: &Watch<'_>) -> Result<(), String> {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err("an earlier sync of the server's files has not ended yet".to_owned());
        }
        let places = process.places();
        let (tell, told) = channel();
        let work = move || {
            let sync = |place: &PathBuf| {
                let at = |e: io::Error| format!("sync {}: {e}", place.display());
                syncfs(File::open(place).map_err(at)?).map_err(|e| at(e.into()))
            };
            // Nobody listens any more when it took too long.
            let _told = tell.send(places.iter().try_for_each(sync));
        };
        let spawned = Builder::new().name("sync-postgres".to_owned()).spawn(work);
        self.thread = Some(spawned.map_err(|e| format!("cannot start a thread: {e}"))?);
        loop {
            match told.recv_timeout(watch.left().min(std::time::Duration::from_millis(20))) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Disconnected) => return Err("the sync ended without a word".to_owned()),
                Err(RecvTimeoutError::Timeout) if watch.over().is_some() => {
                    return Err("the server's files were not on the disk in time".to_owned());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits for a sync that is under way.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and there would be nobody to tell.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, Process, state_in};
    use std::fs;

    #[test]
    fn the_state_is_read_from_a_control_file() {
        let mut control = vec![0; 24];
        control[16..20].copy_from_slice(&6_u32.to_ne_bytes());
        assert_eq!(state_in(&control), Some(6));
        assert_eq!(state_in(&[0; 19]), None);
    }

    #[test]
    fn only_a_process_that_works_in_the_directory_is_taken_for_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str();
        assert!(Process::find(path).unwrap_err().contains("cannot be seen"));
        fs::write(dir.path().join("postmaster.pid"), format!("{}\n/x\n", std::process::id())).unwrap();
        assert!(Process::find(path).unwrap_err().contains("is not the server"));
        fs::write(dir.path().join("postmaster.pid"), "-1\n").unwrap();
        assert!(Process::find(path).unwrap_err().contains("names no process"));
        assert!(Process::find(None).unwrap_err().contains("pg_monitor"));
    }

    #[test]
    fn an_end_without_the_word_of_the_control_file_is_a_broken_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process { pid: child.id().cast_signed(), data_directory: dir.path().to_owned() };
        child.wait().unwrap();
        assert_eq!(process.look(), Exit::Broken);
        fs::create_dir(dir.path().join("global")).unwrap();
        let mut control = vec![0; 24];
        control[16..20].copy_from_slice(&1_u32.to_ne_bytes());
        fs::write(dir.path().join("global/pg_control"), control).unwrap();
        assert_eq!(process.look(), Exit::Orderly);
    }
}
