//! Running other programs, with a bound.
//!
//! Responsibilities: find, run, signal and await programs, and show the end of what they wrote. Inputs: commands. Outputs:
//! exit codes and texts. It must never wait for a program without a bound.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

use crate::wait;

/// Where servers are that an ordinary user's `PATH` does not name.
const SERVER_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// The same of standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output, if the program succeeded.
    ///
    /// # Errors
    /// `what` failed: its exit code and the texts it wrote.
    pub fn success(self, what: &str) -> Result<String, String> {
        self.unless_beyond(0, what)
    }

    /// Standard output of a program that says by exit code 1 that what it was asked about is bad, as `snooze` does.
    ///
    /// # Errors
    /// `what` failed with another code: that, and the texts it wrote.
    pub fn told(self, what: &str) -> Result<String, String> {
        self.unless_beyond(1, what)
    }

    fn unless_beyond(self, worst: i32, what: &str) -> Result<String, String> {
        match self.code {
            Some(code) if (0..=worst).contains(&code) => Ok(self.stdout),
            Some(code) => Err(format!("{what} failed with exit code {code}: {}{}", self.stderr, self.stdout)),
            None => Err(format!("{what} was ended by a signal: {}{}", self.stderr, self.stdout)),
        }
    }
}

/// Finds a program in `PATH` and where servers usually are.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(SERVER_DIRECTORIES.iter().map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Runs a program to its end without input and gives what it wrote. Blocks the calling thread, at most for `limit`.
///
/// # Errors
/// When it cannot be started, or takes longer than `limit`: it is killed then.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| format!("cannot start {name}: {error}"))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait_for_exit(&mut child, limit);
    if status.is_err() {
        kill_and_reap(&mut child);
    }
    let text = |reader: JoinHandle<Vec<u8>>| {
        reader.join().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    match status {
        Ok(status) => Ok(Output { code: status.code(), stdout, stderr }),
        Err(error) => Err(format!("{name}: {error}; it was killed, having written: {stderr}{stdout}")),
    }
}

/// Reads a pipe to its end on a thread of its own, so that a program never blocks on a full one.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _read = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits until the program has ended, at most for `limit`.
///
/// # Errors
/// When it has not, or cannot be asked.
pub fn wait_for_exit(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
    wait::until("the program's end", limit, || match child.try_wait() {
        Ok(status) => status.map(Ok),
        Err(error) => Some(Err(format!("cannot wait for the program: {error}"))),
    })?
}

/// Sends a signal to a program that has been started and not yet awaited.
///
/// # Errors
/// When the signal cannot be sent.
pub fn signal(child: &Child, signal: Signal) -> Result<(), String> {
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, signal).map_err(|error| format!("cannot send {signal} to process {pid}: {error}"))
}

/// Ends a program at once (SIGKILL) and collects its exit status, so that no zombie stays.
pub fn kill_and_reap(child: &mut Child) {
    // Both fail only for a program that has been collected before: nothing is left to do then.
    let _killed = child.kill();
    let _status = child.wait();
}

/// The last `lines` lines of a file; empty when it cannot be read.
pub fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_programs_code_and_both_its_texts_are_given() {
        let output = run(&mut shell("echo out; echo err >&2; exit 3"), Duration::from_secs(10)).expect("it ran");
        assert_eq!(output, Output { code: Some(3), stdout: "out\n".to_owned(), stderr: "err\n".to_owned() });
        assert_eq!(output.success("the script"), Err("the script failed with exit code 3: err\nout\n".to_owned()));
        let bad = run(&mut shell("echo bad; exit 1"), Duration::from_secs(10)).expect("it ran");
        assert_eq!(bad.clone().told("the script"), Ok("bad\n".to_owned()));
        assert!(bad.success("the script").is_err());
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_at_the_limit() {
        let started = Instant::now();
        let error = run(&mut shell("echo begun; exec sleep 60"), Duration::from_millis(200)).expect_err("no end");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert!(error.contains("was killed") && error.contains("begun"), "{error}");
    }

    #[test]
    fn more_output_than_a_pipe_holds_does_not_block_the_program() {
        let output = run(&mut shell("head -c 1000000 /dev/zero | tr '\\0' x"), Duration::from_secs(20));
        assert_eq!(output.expect("it ran").stdout.len(), 1_000_000);
    }

    #[test]
    fn the_tail_is_the_last_lines_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("log");
        std::fs::write(&file, "1\n2\n3\n").expect("written");
        assert_eq!(tail(&file, 2), "2\n3");
        assert_eq!(tail(&file, 9), "1\n2\n3");
        assert_eq!(tail(&directory.path().join("none"), 9), "");
    }

    #[test]
    fn programs_are_found_by_name_and_nothing_else_is() {
        assert!(find("sh").is_some_and(|path| path.is_file()));
        assert_eq!(find("no-program-has-this-name"), None);
    }
}
