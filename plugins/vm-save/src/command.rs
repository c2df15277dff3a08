//! Runs a program to its end, within a time.
//!
//! Inputs: words. Outputs: its exit code, the end of what it wrote. What it writes goes to memory rather than to a pipe: a
//! program may leave a child behind (a QEMU that detaches itself) that keeps the pipe open. Must never leave a program
//! running whose time is over.

use crate::clock::{Clock, SLICE};
use cloudsnooze_plugin::{Code, Error};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::fcntl_dupfd_cloexec;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ENVIRONMENT: [&CStr; 4] = [
    c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    c"LANG=C.UTF-8",
    c"LC_ALL=C.UTF-8",
    c"HOME=/",
];
/// From SIGTERM to SIGKILL: the host waits for a quarter of a second.
const GRACE: Duration = Duration::from_millis(100);
/// Bytes of output that are kept.
const OUTPUT_BYTES: u64 = 65_536;

/// What became of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output of a program that succeeded.
    ///
    /// # Errors
    /// It did not: its last words.
    pub(crate) fn success(self, what: &str) -> Result<String, Error> {
        if self.code == Some(0) {
            return Ok(self.stdout);
        }
        let how = self.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        let said = self.stderr.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        Err(Error::new(format!("{what}: {how}: {said}")).code(Code::State))
    }
}

/// Runs it with an environment of its own.
///
/// # Errors
/// It cannot be started, or does not end in time: it is killed then.
pub(crate) fn run(words: &[String], clock: &Clock) -> Result<Ran, Error> {
    let Some(name) = words.first() else { return Err(Error::new("no program")) };
    let failed = |error: io::Error| Error::from(error).code(Code::Io).context(name);
    let (stdout, stderr) = (memory().map_err(failed)?, memory().map_err(failed)?);
    let leader = start(words, &stdout, &stderr).map_err(failed)?;
    let code = wait(leader, name, clock)?;
    Ok(Ran { code, stdout: text(stdout), stderr: text(stderr) })
}

/// Starts it as the leader of a group, with nothing of the daemon's: no blocked or ignored signal, no descriptor but the first
/// three. By posix_spawn(3), because the daemon's own threads may hold any lock at a fork.
fn start(words: &[String], stdout: &File, stderr: &File) -> io::Result<Pid> {
    let words: Vec<CString> = words.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?;
    let name = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let program = CString::new(found(&name))?;
    let stdin = above_standard(File::open("/dev/null")?.into())?;
    let ours = |file: &File| file.try_clone().and_then(|file| above_standard(file.into()));
    let (stdout, stderr) = (ours(stdout)?, ours(stderr)?);
    let mut actions = PosixSpawnFileActions::init()?;
    for (ours, standard) in [&stdin, &stdout, &stderr].into_iter().zip(0..) {
        actions.add_dup2(ours.as_raw_fd(), standard)?;
    }
    for fd in descriptors() {
        actions.add_close(fd)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let words: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    Ok(posix_spawn(program.as_c_str(), &actions, &attributes, &words, &ENVIRONMENT)?)
}

/// Where a program is that is named without a directory.
fn found(name: &str) -> String {
    let mut places = PROGRAM_PATH.split(':').map(|place| format!("{place}/{name}"));
    let found = if name.contains('/') { None } else { places.find(|path| Path::new(path).is_file()) };
    found.unwrap_or_else(|| name.to_owned())
}

/// A host that has closed its own standard streams is given their numbers; there they would be in each other's way.
fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { Ok(fcntl_dupfd_cloexec(&fd, 3)?) }
}

/// All there are, also those whose owner forgot that they are handed down.
fn descriptors() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect()
}

/// Its exit code; None: a signal ended it.
fn wait(leader: Pid, program: &str, clock: &Clock) -> Result<Option<i32>, Error> {
    loop {
        if let Some(code) = ended(leader) {
            return Ok(code);
        }
        if let Err(error) = clock.go_on(&format!("the end of {program}")) {
            end(leader);
            return Err(error);
        }
        thread::sleep(SLICE);
    }
}

/// Waits for it if it has ended.
fn ended(leader: Pid) -> Option<Option<i32>> {
    match waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
        Ok(WaitStatus::StillAlive) => None,
        Ok(WaitStatus::Exited(_, code)) => Some(Some(code)),
        _ => Some(None),
    }
}

fn end(leader: Pid) {
    // It may have ended meanwhile.
    let _sent = killpg(leader, Signal::SIGTERM);
    let until = Instant::now() + GRACE;
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while Instant::now() < until && matches!(waitid(Id::Pid(leader), flags), Ok(WaitStatus::StillAlive)) {
        thread::sleep(Duration::from_millis(5));
    }
    // While it is not waited for, nobody else can get its number: so the rest of its group is reached too.
    let _sent = killpg(leader, Signal::SIGKILL);
    let until = Instant::now() + GRACE;
    while Instant::now() < until && ended(leader).is_none() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create("output", MemfdFlags::CLOEXEC)?))
}

fn text(mut file: File) -> String {
    let mut bytes = Vec::new();
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let read = file
        .seek(SeekFrom::Start(length.saturating_sub(OUTPUT_BYTES)))
        .and_then(|_| file.take(OUTPUT_BYTES).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, left: Duration) -> Result<Ran, Error> {
        run(&["/bin/sh", "-c", script].map(str::to_owned), &Clock::apart(left))
    }

    const PLENTY: Duration = Duration::from_secs(60);

    #[test]
    fn a_programs_code_and_last_words_are_told() {
        assert_eq!(shell("echo a; echo b >&2", PLENTY).unwrap().success("it").unwrap(), "a\n");
        let error =
            shell("echo first >&2; echo last >&2; echo >&2; exit 3", PLENTY).unwrap().success("it").unwrap_err();
        assert_eq!(error.message(), "it: exit code 3: last");
        assert!(
            run(&["/nonexistent/x".to_owned()], &Clock::apart(PLENTY))
                .unwrap_err()
                .message()
                .contains("/nonexistent/x")
        );
    }

    #[test]
    fn who_detaches_a_child_is_not_waited_for_longer_than_itself() {
        let begun = Instant::now();
        assert_eq!(shell("sleep 50 & echo done", PLENTY).unwrap().stdout, "done\n");
        assert!(begun.elapsed() < Duration::from_secs(40));
    }

    #[test]
    fn a_program_whose_time_is_over_is_killed_with_its_group() {
        let begun = Instant::now();
        let error = shell("trap '' TERM; sleep 60 & wait", Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.kind(), Code::Deadline);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
