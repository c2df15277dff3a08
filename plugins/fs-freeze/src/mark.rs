//! Which file systems may be frozen, as a later start of the daemon needs to know.
//! Inputs: mount points, the instance's state directory. Outputs: a file in it. Must never be written while they are frozen to
//! a place that is.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// None: nothing outlives the process.
    file: Option<PathBuf>,
}

impl Mark {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { file: (!state_dir.as_os_str().is_empty()).then(|| state_dir.join("frozen")) }
    }

    /// Those that were noted and not cleared.
    pub(crate) fn read(&self) -> Vec<PathBuf> {
        let bytes = self.file.as_ref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
        let parts = bytes.split(|byte| *byte == 0).filter(|part| part.starts_with(b"/"));
        parts.map(|part| PathBuf::from(OsString::from_vec(part.to_vec()))).collect()
    }

    /// Notes them, before they are frozen.
    pub(crate) fn set<'a>(&self, mount_points: impl Iterator<Item = &'a Path>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let bytes: Vec<u8> = mount_points.flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect();
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(file, bytes)
    }

    /// They are thawed.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match self.file.as_ref().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_there_after_a_restart_until_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("not/there/yet");
        let points = [Path::new("/srv/a\nb"), Path::new("/srv/c")];
        assert!(Mark::new(&state).read().is_empty());
        Mark::new(&state).set(points.into_iter()).unwrap();
        assert_eq!(Mark::new(&state).read(), points);
        Mark::new(&state).clear().unwrap();
        Mark::new(&state).clear().unwrap();
        assert!(Mark::new(&state).read().is_empty());
        let nowhere = Mark::new(Path::new(""));
        nowhere.set(points.into_iter()).unwrap();
        assert!(nowhere.read().is_empty());
    }
}
