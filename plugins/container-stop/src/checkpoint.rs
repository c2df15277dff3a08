//! Images of a container's processes, where Podman and CRIU can make them.
//!
//! Inputs: a container, a directory. Outputs: an archive on the disk, or why there is none. Through `podman container checkpoint`: Docker's
//! API has nothing that leaves a file. Must never be begun when `criu check` says that this kernel and this CRIU do not go together: the
//! container would be lost rather than saved.

use crate::choose::Listed;
use crate::config::Checkpoint;
use crate::engine::{Watch, short};
use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_commands::program::Program;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time for `criu check`, which takes some milliseconds.
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// An archive that is on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    pub(crate) file: PathBuf,
    pub(crate) bytes: u64,
}

/// Whether images can be made here.
///
/// # Errors
/// A sentence's worth of why not.
pub(crate) fn must_be_possible(watch: &Watch<'_>) -> Result<(), String> {
    let checked = Program::new("criu").arg("check").run_until(CHECK_LIMIT.min(watch.left()), || watch.is_cancelled());
    match checked {
        Ok(ended) if ended.is_success() => Ok(()),
        Ok(ended) => Err(format!("criu check: {}", ended.told())),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes the image and ends the container. It is on the disk when this comes back.
///
/// # Errors
/// What `podman` said, or the disk.
pub(crate) fn write(
    socket: &Path,
    container: &Listed,
    to: &Checkpoint,
    limit: Duration,
    watch: &Watch<'_>,
) -> Result<Archive, Error> {
    fs::create_dir_all(&to.directory)?;
    let file = to.directory.join(format!("{}-{}.tar.zst", container.name.replace('/', "_"), short(&container.id)));
    let partial = file.with_extension("zst.partial");
    let program = Program::new("podman")
        .arg("--url")
        .arg(format!("unix://{}", socket.display()))
        .args(["container", "checkpoint", "--export"])
        .arg(partial.to_string_lossy())
        .arg(&container.id);
    let ended = program.run_until(limit, || watch.is_cancelled())?;
    if !ended.is_success() {
        return Err(Error::new(format!("podman container checkpoint: {}", ended.told())).code(Code::Io));
    }
    let written = File::open(&partial)?;
    written.sync_all()?;
    let bytes = written.metadata()?.len();
    if bytes == 0 {
        return Err(Error::new(format!("{} is empty", partial.display())).code(Code::Io));
    }
    fs::rename(&partial, &file)?;
    File::open(&to.directory)?.sync_all()?;
    Ok(Archive { file, bytes })
}
