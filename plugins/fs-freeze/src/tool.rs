//! Freezing and thawing one file system.
//!
//! Inputs: a mount point, a limit. Outputs: whether it is done. The system calls cannot be interrupted, and freezing waits for
//! the disk: so they are made by `fsfreeze` of util-linux, a process of its own that can be left to itself. Must never look
//! at the mount point in this process.

use cloudsnooze_plugin_commands::{Cut, Ended, Order, Ran, Stragglers, Words, bare_environment, run};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The program.
pub(crate) const FSFREEZE: &CStr = c"fsfreeze";
const SYNC: &CStr = c"sync";
/// Bytes of its words that are kept.
const OUTPUT_BYTES: usize = 400;

/// How one of them ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Yes,
    /// The kernel refused, and what was said.
    Refused(String),
    /// It was not over in its time: it may still happen.
    Late(String),
}

/// Where the tools are run from: collects those that do not end.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    pub(crate) stragglers: Stragglers,
}

impl Bench {
    /// Writes it out, so that there is little left to do for the freeze, during which writers wait. Ends early when `stop` is
    /// set.
    pub(crate) fn sync(&self, mount_point: &Path, limit: Duration, stop: &Arc<AtomicBool>) -> Done {
        self.carry_out(&[SYNC, c"-f", c"--"], mount_point, limit, Arc::clone(stop))
    }

    /// Freezes it. Ends early when `stop` is set; then it may be frozen.
    pub(crate) fn freeze(&self, mount_point: &Path, limit: Duration, stop: &Arc<AtomicBool>) -> Done {
        self.carry_out(&[FSFREEZE, c"-f"], mount_point, limit, Arc::clone(stop))
    }

    /// Thaws it. Refused: it was not frozen.
    pub(crate) fn thaw(&self, mount_point: &Path, limit: Duration) -> Done {
        self.carry_out(&[FSFREEZE, c"-u"], mount_point, limit, Arc::default())
    }

    /// Makes a write, which waits while it is frozen, and leaves no more behind than a time of access.
    pub(crate) fn touch(&self, mount_point: &Path, limit: Duration) -> Done {
        self.carry_out(&[c"touch", c"-c", c"-a", c"--"], mount_point, limit, Arc::default())
    }

    fn carry_out(&self, words: &[&CStr], mount_point: &Path, limit: Duration, stop: Arc<AtomicBool>) -> Done {
        let path = CString::new(mount_point.as_os_str().as_bytes()).unwrap_or_default();
        let mut words: Vec<CString> = words.iter().map(|word| (*word).to_owned()).collect();
        words.push(path);
        let order = Order {
            words,
            env: bare_environment(),
            directory: PathBuf::from("/"),
            input: Vec::new(),
            term_at: Instant::now() + limit,
            grace: Duration::ZERO,
            output_bytes: OUTPUT_BYTES,
            stop,
        };
        match run(&order) {
            Err(error) => Done::Refused(format!("it {error}")),
            Ok(ran) => self.judge(&ran),
        }
    }

    fn judge(&self, ran: &Ran) -> Done {
        self.stragglers.note(ran);
        match (ran.ended, ran.cut) {
            (Ended::Exited(0), _) => Done::Yes,
            (Ended::Stuck, _) | (_, Some(Cut::Time | Cut::Cancelled)) => {
                Done::Late(format!("not done in {:.1} s", ran.took.as_secs_f64()))
            }
            (Ended::Exited(code), None) => {
                let said = ran.stderr.last_line();
                Done::Refused(if said.is_empty() { format!("exit code {code}") } else { said })
            }
            (Ended::Killed(signal), None) => Done::Refused(format!("killed by {signal}")),
        }
    }
}

/// Whether the programs are there.
///
/// # Errors
/// A sentence's worth of why not.
pub(crate) fn must_be_there() -> Result<(), String> {
    [FSFREEZE, SYNC, c"timeout", c"head"].into_iter().try_for_each(|program| {
        let words = Words { words: vec![program.to_owned()], program: program.to_string_lossy().into_owned() };
        words.must_be_startable(Path::new("/"), None)
    })
}
