//! Runs a program to its end, within a time.
//!
//! Inputs: words. Outputs: its exit code, the end of what it wrote. What it writes goes to memory rather than to a pipe: a
//! program may leave a child behind (a QEMU that detaches itself) that keeps the pipe open. Must never leave a program
//! running whose time is over.

use crate::clock::{Clock, SLICE};
use cloudsnooze_plugin::{Code, Error};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
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
    let Some((program, arguments)) = words.split_first() else { return Err(Error::new("no program")) };
    let failed = |error: io::Error| Error::from(error).code(Code::Io).context(program);
    let (stdout, stderr) = (memory().map_err(failed)?, memory().map_err(failed)?);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs([("PATH", PROGRAM_PATH), ("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("HOME", "/")])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(failed)?)
        .stderr(stderr.try_clone().map_err(failed)?)
        .process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let status = wait(&mut child, program, clock)?;
    Ok(Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) })
}

fn wait(child: &mut Child, program: &str, clock: &Clock) -> Result<ExitStatus, Error> {
    loop {
        if let Some(status) = child.try_wait().map_err(|error| Error::from(error).context(program))? {
            return Ok(status);
        }
        if let Err(error) = clock.go_on(&format!("the end of {program}")) {
            end(child);
            return Err(error);
        }
        thread::sleep(SLICE);
    }
}

fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    // It may have ended meanwhile.
    let _sent = signal(Signal::TERM);
    let until = Instant::now() + GRACE;
    while Instant::now() < until && !matches!(child.try_wait(), Ok(Some(_))) {
        thread::sleep(Duration::from_millis(5));
    }
    let _sent = signal(Signal::KILL);
    let _status = child.wait();
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
