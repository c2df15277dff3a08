//! What an instance remembers beyond the daemon's process, though not beyond the machine's run: what it has to put back.
//!
//! Inputs: the instance's state directory, a value. Outputs: a file there, whole or not at all. Must never give back what was written
//! before the machine was last started: what has run since then is others' business.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The kernel's name for this run of the machine, proc_sys_kernel(5).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One file.
#[derive(Clone, Debug)]
pub struct Kept {
    /// None: nothing is written down, because there is no state directory.
    file: Option<PathBuf>,
    boot: String,
}

/// What stands in it.
#[derive(Serialize, Deserialize)]
struct Content<T> {
    boot: String,
    kept: T,
}

impl Kept {
    /// The file of this name in the state directory, [`crate::Instance::state_dir`]. Neither needs to exist.
    pub fn new(state_dir: &Path, name: &str) -> Self {
        Self::of_boot(state_dir, name, fs::read_to_string(BOOT_ID).unwrap_or_default().trim())
    }

    /// The same in a run of the machine with another name, for tests.
    pub fn of_boot(state_dir: &Path, name: &str, boot: &str) -> Self {
        let file = (!state_dir.as_os_str().is_empty()).then(|| state_dir.join(name));
        Self { file, boot: boot.to_owned() }
    }

    /// What was written in this run of the machine, also by an earlier process. None: nothing.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let Some(file) = &self.file else { return Ok(None) };
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let content: Content<T> = serde_json::from_slice(&bytes)?;
        Ok((content.boot == self.boot).then_some(content.kept))
    }

    /// Writes it in place of what is there, without fsync: it has to outlive the process, and the end of the machine is what
    /// makes it void.
    ///
    /// # Errors
    /// It cannot be written; what was there is still there.
    pub fn write(&self, kept: &impl Serialize) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = file.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&Content { boot: self.boot.clone(), kept })?)?;
        fs::rename(fresh, file)
    }

    /// Takes it away.
    ///
    /// # Errors
    /// It is still there.
    pub fn clear(&self) -> io::Result<()> {
        match self.file.as_ref().map_or(Ok(()), fs::remove_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
