//! Load on the machine while a scenario runs: stress-ng, at normal priority.
//!
//! Inputs: a scenario. Outputs: a running load that ends with its value. Must never outlive the benchmark.

use crate::scenario::Scenario;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Time until hogs are at work.
const WARM_UP: Duration = Duration::from_secs(2);

/// A running load.
#[derive(Debug)]
pub(crate) struct Load {
    child: Option<Child>,
    _files: Option<TempDir>,
}

impl Load {
    /// Starts the load of a scenario and lets it come up. `scratch` is where its files go: a real disk.
    ///
    /// # Errors
    /// Why the scenario cannot be run.
    pub(crate) fn start(scenario: &Scenario, scratch: &std::path::Path) -> Result<Self, String> {
        if scenario.load.is_empty() {
            return Ok(Self { child: None, _files: None });
        }
        let files = tempfile::Builder::new().prefix("latency-load-").tempdir_in(scratch);
        let files = files.map_err(|error| format!("no directory in {}: {error}", scratch.display()))?;
        let cpus = 2 * thread::available_parallelism().map_or(1, usize::from);
        let mut command = Command::new("stress-ng");
        for argument in scenario.load {
            match *argument {
                "{cpus}" => command.arg(cpus.to_string()),
                "{temp}" => command.arg(files.path()),
                other => command.arg(other),
            };
        }
        // A group of its own, to end it with all its children; an end of its own too, should this program be killed.
        command.args(["--timeout", "1h", "--quiet"]).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("cannot start stress-ng: {error}"))?;
        let mut load = Self { child: Some(child), _files: Some(files) };
        thread::sleep(WARM_UP);
        load.check()?;
        Ok(load)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It ended: figures would be those of an idle machine.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.child.as_mut().map(Child::try_wait) {
            None | Some(Ok(None)) => Ok(()),
            Some(ended) => Err(format!("stress-ng ended by itself: {ended:?}")),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Ok(group) = i32::try_from(child.id()) {
            let _ended = killpg(Pid::from_raw(group), Signal::SIGTERM);
        }
        // It waits for its children, and they for their files.
        let _status = child.wait();
    }
}
