//! One file system, written out.
//!
//! Inputs: a mount, a limit. Outputs: [`Synced`]. syncfs(2) cannot be interrupted: a disk that hangs holds whoever called it,
//! for ever. So a process of its own calls it (`sync -f` of coreutils), which is killed at the end of the time; one that the
//! kernel cannot even kill is left to its disk, and told. Must never open or look at the mount point in this process.

use cloudsnooze_plugin::mounts::Mount;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin_commands::{Cut, Ended, Order, Words, bare_environment, run};
use nix::unistd::Pid;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The program that does it.
pub(crate) const PROGRAM: &CStr = c"sync";
/// Bytes of its words that are kept.
const OUTPUT_BYTES: usize = 400;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The kernel said that everything is written.
    Synced,
    /// The kernel said that it is not.
    Failed,
    /// It was not done in its time.
    Late,
    /// The same, and the process that waits for the disk cannot be ended.
    Stuck,
    Cancelled,
    /// Nothing is mounted there.
    Missing,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Stuck => "stuck",
            Self::Cancelled => "cancelled",
            Self::Missing => "not mounted",
        }
    }
}

/// One file system's part of the report.
#[derive(Clone, Debug)]
pub(crate) struct Synced {
    pub(crate) mount_point: PathBuf,
    /// None: nothing is mounted there.
    pub(crate) mount: Option<Mount>,
    pub(crate) ending: Ending,
    pub(crate) reason: String,
    took: Duration,
    /// The process that cannot be ended.
    pub(crate) stuck: Option<Pid>,
    /// Errors the file system had met when it was done.
    pub(crate) errors: Option<u64>,
}

impl Synced {
    /// For a place where nothing is mounted.
    pub(crate) fn missing(mount_point: PathBuf) -> Self {
        let reason = "nothing is mounted there".to_owned();
        let (took, errors) = (Duration::ZERO, None);
        Self { mount_point, mount: None, ending: Ending::Missing, reason, took, stuck: None, errors }
    }

    pub(crate) fn report(&self) -> Value {
        let mut report = json!({
            "mount_point": self.mount_point.to_string_lossy(), "outcome": self.ending.name(),
            "seconds": (self.took.as_secs_f64() * 1000.0).round() / 1000.0,
        });
        if let Some(mount) = &self.mount {
            report["device"] = json!(mount.device);
            report["file_system"] = json!(mount.file_system);
            report["source"] = json!(mount.source);
        }
        if self.ending != Ending::Synced {
            report["reason"] = json!(self.reason);
        }
        if let Some(pid) = self.stuck {
            report["stuck_process"] = json!(pid.as_raw());
        }
        report
    }
}

/// What is to be run for a mount point.
pub(crate) fn order(mount_point: &Path, limit: Duration) -> Order {
    // A path of the kernel's holds no zero byte, nor does one that the configuration was accepted with.
    let path = CString::new(mount_point.as_os_str().as_bytes()).unwrap_or_default();
    Order {
        words: vec![PROGRAM.to_owned(), c"-f".to_owned(), c"--".to_owned(), path],
        env: bare_environment(),
        directory: PathBuf::from("/"),
        input: Vec::new(),
        term_at: Instant::now() + limit,
        grace: Duration::ZERO,
        output_bytes: OUTPUT_BYTES,
        stop: Arc::default(),
    }
}

/// Runs it, and comes back soon after its limit whatever the disk does.
pub(crate) fn carry_out(mount: &Mount, order: &Order) -> Synced {
    let begun = Instant::now();
    let ran = run(order);
    let (ending, reason, stuck) = match &ran {
        Err(error) => (Ending::Failed, format!("sync {error}"), None),
        Ok(ran) => {
            let late = || format!("not done in {:.1} s", ran.took.as_secs_f64());
            match (ran.ended, ran.cut) {
                (Ended::Stuck, _) => {
                    let text = format!("{}; it hangs in the kernel, which cannot end it", late());
                    (Ending::Stuck, text, Some(ran.leader))
                }
                (Ended::Exited(0), _) => (Ending::Synced, String::new(), None),
                (_, Some(Cut::Cancelled)) => (Ending::Cancelled, "cancelled".to_owned(), None),
                (_, Some(Cut::Time)) => (Ending::Late, late(), None),
                (Ended::Exited(code), None) => {
                    let said = ran.stderr.last_line();
                    (Ending::Failed, if said.is_empty() { format!("exit code {code}") } else { said }, None)
                }
                (Ended::Killed(signal), None) => (Ending::Failed, format!("killed by {signal}"), None),
            }
        }
    };
    let errors = crate::kernel::errors(&mount.device);
    let (mount_point, mount, took) = (mount.mount_point.clone(), Some(mount.clone()), begun.elapsed());
    Synced { mount_point, mount, ending, reason, took, stuck, errors }
}

/// Whether the program is there.
///
/// # Errors
/// A sentence's worth of why not.
pub(crate) fn must_be_there() -> Result<(), String> {
    let words = Words { words: vec![PROGRAM.to_owned()], program: PROGRAM.to_string_lossy().into_owned() };
    words.must_be_startable(Path::new("/"), None)
}
