//! The process that thaws a file system whatever becomes of this one.
//!
//! Inputs: a mount point, a time. Outputs: a process, started before the freeze, that thaws when that time is over, or at once
//! when this process ends: its standard input is a pipe whose other end only this process has. All it needs it has before the
//! freeze: the programs are loaded, the file system is open (so it is the right one even if something else is mounted over
//! it), its directory is the root, its words go nowhere that could be frozen. It goes on trying for half a minute: a freeze
//! that hung may succeed late. Must never be told that all is well before the file system is thawed.

use cloudsnooze_plugin_commands::{Ended, Started, Stragglers, bare_environment, group, start};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::CString;
use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// `$1` is the mount point, `$2` the seconds. Exit code 7: it was this process that thawed.
///
/// Signals that end a whole service are ignored, for this is the time when it is needed.
const SCRIPT: &str = "trap '' HUP INT QUIT TERM PIPE
exec 3<\"$1\" || exit 2
fsfreeze --version >/dev/null && sleep 0 && date >/dev/null || exit 3
echo ready
said=$(timeout --foreground -s KILL \"$2\" head -c 4)
[ \"$said\" = done ] && exit 0
tries=150
until fsfreeze -u /proc/self/fd/3; do
    tries=$((tries - 1))
    [ \"$tries\" -gt 0 ] || exit 1
    sleep 0.2
done
date +thawed=%s%N
exit 7";
const THAWED: i32 = 7;
/// How long one may take to be ready, on a busy machine.
const READY: Duration = Duration::from_secs(2);
/// How long one may take to end when it is told to.
const END: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(2);
/// More words than it has.
const WORDS_BYTES: usize = 1_000;

/// What it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: there was no need.
    Idle,
    /// It thawed, at this time (nanoseconds since 1970) if it could say.
    Thawed(Option<i64>),
    /// It was not there any more, or did not end.
    Gone,
}

/// A watchdog that is ready.
#[derive(Debug)]
pub(crate) struct Watchdog {
    leader: Pid,
    leash: PipeWriter,
    stdout: File,
    said: Vec<u8>,
}

impl Watchdog {
    /// Starts it, and waits until it is ready. From now on it thaws after `fuse` at the latest.
    ///
    /// # Errors
    /// Why there is none. Nothing may be frozen then.
    pub(crate) fn start(mount_point: &Path, fuse: Duration) -> Result<Self, String> {
        let (stdin, leash) = std::io::pipe().map_err(|error| format!("pipe: {error}"))?;
        let seconds = format!("{:.3}", fuse.as_secs_f64());
        let words = [b"/bin/sh", b"-c".as_slice(), SCRIPT.as_bytes(), b"thaw", mount_point.as_os_str().as_bytes()];
        let words = words.into_iter().chain([seconds.as_bytes()]).map(CString::new).collect::<Result<Vec<_>, _>>();
        let words = words.map_err(|_| "a zero byte in the mount point".to_owned())?;
        let started = start(&words, &bare_environment(), Path::new("/"), stdin.into());
        // Its complaints are about attempts that are repeated: nobody reads them.
        let Started { leader, stdout, stderr: _ } = started.map_err(|error| error.to_string())?;
        let mut watchdog = Self { leader, leash, stdout, said: Vec::new() };
        let ends = Instant::now() + READY;
        while !watchdog.hear().starts_with(b"ready\n") {
            let has_ended = group::has_ended(leader);
            if has_ended || Instant::now() >= ends {
                let why = if has_ended { "ended at once" } else { "was not ready in time" };
                watchdog.end();
                return Err(format!("the process that would thaw it {why}"));
            }
            thread::sleep(PAUSE);
        }
        Ok(watchdog)
    }

    /// What it has said so far.
    fn hear(&mut self) -> &[u8] {
        let mut piece = [0; 256];
        // That there is nothing to read now is an error too.
        if let Ok(count) = self.stdout.read(&mut piece) {
            self.said.extend(piece.get(..count).unwrap_or_default());
            self.said.truncate(WORDS_BYTES);
        }
        &self.said
    }

    /// The file system is thawed, or was never frozen: tells it to end.
    pub(crate) fn dismiss(mut self) -> Verdict {
        // Where nobody listens any more, it ends by itself.
        let _told = self.leash.write_all(b"done");
        let ends = Instant::now() + END;
        while !group::has_ended(self.leader) && Instant::now() < ends {
            thread::sleep(PAUSE);
        }
        match self.end() {
            Ended::Exited(0) => Verdict::Idle,
            Ended::Exited(THAWED) => Verdict::Thawed(time(self.hear())),
            _ => Verdict::Gone,
        }
    }

    /// The file system may be frozen, now or in a while, and nothing can be done about it here: leaves it to the watchdog,
    /// which begins at once.
    pub(crate) fn leave_to_it(self, stragglers: &Stragglers) {
        stragglers.add(self.leader);
    }

    fn end(&self) -> Ended {
        group::signal(self.leader, Signal::SIGKILL);
        let ends = Instant::now() + END;
        loop {
            match group::reap(self.leader) {
                Ended::Stuck if Instant::now() < ends => thread::sleep(PAUSE),
                ended => return ended,
            }
        }
    }
}

fn time(said: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(said).ok()?;
    text.lines().find_map(|line| line.strip_prefix("thawed="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_not_needed_ends_when_it_is_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let watchdog = Watchdog::start(dir.path(), Duration::from_secs(60)).unwrap();
        assert_eq!(watchdog.dismiss(), Verdict::Idle);
    }

    #[test]
    fn without_a_place_to_watch_there_is_none() {
        let error = Watchdog::start(Path::new("/nonexistent"), Duration::from_secs(60)).unwrap_err();
        assert_eq!(error, "the process that would thaw it ended at once");
    }

    #[test]
    fn the_time_is_read_from_its_words() {
        assert_eq!(time(b"ready\nthawed=1764136800123456789\n"), Some(1_764_136_800_123_456_789));
        assert_eq!(time(b"ready\n"), None);
    }
}
