//! Scripts of the documents, run as somebody who reads them would.
//!
//! Responsibilities: run one with the built programs in the path, and end with it whatever it left in the background. Inputs: a
//! script, a directory. Outputs: what it wrote. Must never leave a process behind.

use crate::documents;
use harness::{paths, program};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs a script of bash in a directory, and gives what it wrote to standard output and standard error. The script finds the
/// built programs, and the repository at `CLOUDSNOOZE_SRC`; `environment` is added.
///
/// # Errors
/// It failed, or did not end in time: with what it wrote.
pub fn run(script: &str, directory: &Path, environment: &[(&str, &Path)], limit: Duration) -> Result<String, String> {
    let bin = paths::bin_dir()?;
    let path = std::env::join_paths(
        std::iter::once(bin).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    // A file and no pipe: what is left in the background would keep a pipe open.
    let log = directory.with_extension("output");
    let output = File::create(&log).map_err(|error| error.to_string())?;
    let mut command = Command::new("bash");
    command.args(["-eu", "-c", script]).current_dir(directory).env_remove("SNOOZE_SOCKET").env_remove("PYTHONPATH");
    command.env("PATH", path.map_err(|error| error.to_string())?).env("CLOUDSNOOZE_SRC", documents::repository());
    command.envs(environment.iter().copied());
    command.stdin(Stdio::null()).stderr(output.try_clone().map_err(|error| error.to_string())?).stdout(output);
    // A group of its own: the daemon that the script leaves in the background goes with it.
    let mut child = command.process_group(0).spawn().map_err(|error| format!("bash: {error}"))?;
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).map_err(|error| error.to_string())?);
    let ended = program::wait_for_exit(&mut child, limit);
    let _gone = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    program::kill_and_reap(&mut child);
    let text = fs::read_to_string(&log).unwrap_or_default();
    match ended {
        Ok(status) if status.success() => Ok(text),
        other => Err(format!("{other:?}\n{text}")),
    }
}
