//! Runs the programs that plugins steer, and ends them in time.
//!
//! Responsibilities: start one, wait, end it, give what it wrote. Inputs: a [`Program`], a limit, a cancel. Outputs: [`Ended`],
//! or an error that says which program, with a code for the host. Must never return while a process of the program's group is
//! alive, unless the kernel cannot end it, and never let a program inherit what is the daemon's.
//!
//! What a program writes goes into files in memory rather than pipes: nobody has to read while it runs, so no thread is needed,
//! and it never blocks on a reader that is gone.

mod spawn;

use cloudsnooze_plugin::{Call, Code, Error};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpid};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::thread;
use std::time::{Duration, Instant};

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often everything is looked at, at first; then twice as long each time, up to [`LONGEST_SLICE`].
const FIRST_SLICE: Duration = Duration::from_millis(1);
const LONGEST_SLICE: Duration = Duration::from_millis(10);
/// From SIGKILL to giving up on a process that does not end.
const STUCK_AFTER: Duration = Duration::from_millis(200);
/// What a program may write to each of its two streams.
const OUTPUT_BYTES: u64 = 4 << 20;

/// A program and what it is given.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

/// How a program ended by itself, and what it wrote. Bytes that are not UTF-8 are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; None when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: String,
    /// The same of standard error.
    pub stderr: String,
}

impl Ended {
    /// Whether it ended with exit code 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// How it ended, and the last line it wrote, for people: "exit code 1: no such job".
    pub fn told(&self) -> String {
        let how = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        let last = [&self.stderr, &self.stdout].into_iter().find_map(|text| last_line(text));
        last.map_or_else(|| how.clone(), |line| format!("{how}: {line}"))
    }
}

/// The last line that says something, without control characters, cut to 300 characters.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(300).collect())
}

impl Program {
    /// A program by its path, or by its name for one that is in the usual places.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), args: Vec::new(), env: Vec::new() }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Its name without the directory, for people.
    pub fn shown(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Runs it to its end, at most for `limit`, and at most until the call is cancelled.
    ///
    /// # Errors
    /// It cannot be started ([`Code::Io`]), had not ended in time ([`Code::Deadline`]), was cancelled ([`Code::Cancelled`]), or
    /// wrote more than anybody would read. How it ended is no error.
    pub fn run(&self, limit: Duration, call: &Call<'_>) -> Result<Ended, Error> {
        self.run_until(limit, || call.cancelled().is_some())
    }

    /// The same with another way to cancel it.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn run_until(&self, limit: Duration, is_cancelled: impl Fn() -> bool) -> Result<Ended, Error> {
        if is_cancelled() {
            return Err(self.failed("cancelled", Code::Cancelled));
        }
        if limit.is_zero() {
            return Err(self.failed("no time is left to start it", Code::Deadline));
        }
        let ends = Instant::now() + limit;
        let io = |error: io::Error| self.failed(&format!("cannot be started: {error}"), Code::Io);
        let mut streams = [memory().map_err(io)?, memory().map_err(io)?];
        let leader = self.spawn(&streams).map_err(io)?;
        let mut slice = FIRST_SLICE;
        let cut = loop {
            if has_ended(leader) {
                break None;
            }
            if is_cancelled() {
                break Some(("cancelled; ended with SIGKILL".to_owned(), Code::Cancelled));
            }
            if Instant::now() >= ends {
                let text = format!("had not ended after {:.1} s; ended with SIGKILL", limit.as_secs_f64());
                break Some((text, Code::Deadline));
            }
            if streams.iter().any(|stream| length(stream) > OUTPUT_BYTES) {
                break Some((format!("wrote more than {OUTPUT_BYTES} bytes; ended with SIGKILL"), Code::Internal));
            }
            thread::sleep(slice.min(ends.saturating_duration_since(Instant::now())));
            slice = (slice * 2).min(LONGEST_SLICE);
        };
        // Not yet waited for, so nobody else can have got the group's number.
        // It fails only when they are all gone.
        let _sent = kill_process_group(leader, Signal::KILL);
        let status = reap(leader);
        if let Some((text, code)) = cut {
            return Err(self.failed(&text, code));
        }
        let (code, signal) = status.ok_or_else(|| self.failed("cannot be waited for", Code::Internal))?;
        let [stdout, stderr] = streams.each_mut().map(text);
        Ok(Ended { code, signal, stdout, stderr })
    }

    fn failed(&self, text: &str, code: Code) -> Error {
        Error::new(format!("{}: {text}", self.shown())).code(code)
    }

    fn spawn(&self, streams: &[File; 2]) -> io::Result<Pid> {
        let own = [("PATH", PATH), ("LANG", "C.UTF-8"), ("HOME", "/")];
        let is_given = |name: &str| self.env.iter().any(|(given, _)| given == name);
        let own = own.into_iter().filter(|(name, _)| !is_given(name)).map(|(name, value)| format!("{name}={value}"));
        let env: Vec<String> = own.chain(self.env.iter().map(|(name, value)| format!("{name}={value}"))).collect();
        let path = spawn::find(&self.name, PATH)?;
        spawn::start(&path, &self.name, &self.args, &env, streams)
    }
}

fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create("output", MemfdFlags::CLOEXEC)?))
}

fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // It is memory: what cannot be read of it is not there.
    let _read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(OUTPUT_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How it ended: code and signal.
type Status = (Option<i32>, Option<i32>);

/// Whether it has ended. It is left unreaped.
fn has_ended(leader: Pid) -> bool {
    let flags = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(leader), flags), Ok(None))
}

/// Waits for its end, which has come or is a matter of milliseconds.
fn reap(leader: Pid) -> Option<Status> {
    let ends = Instant::now() + STUCK_AFTER;
    loop {
        match waitpid(Some(leader), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => return Some((status.exit_status(), status.terminating_signal())),
            Ok(None) if Instant::now() < ends => thread::sleep(FIRST_SLICE),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const PLENTY: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Program {
        Program::new("sh").args(["-c", script])
    }

    fn is_alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    #[test]
    fn a_programs_end_and_both_its_texts_are_given() {
        let ended = shell("echo out; echo err >&2; exit 3").run_until(PLENTY, || false).unwrap();
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(3), "out\n", "err\n"));
        assert_eq!(ended.told(), "exit code 3: err");
        let killed = shell("kill -9 $$").run_until(PLENTY, || false).unwrap();
        assert_eq!((killed.code, killed.signal, killed.told().as_str()), (None, Some(9), "ended by signal 9"));
        assert!(!killed.is_success());
    }

    #[test]
    fn it_finds_an_environment_of_its_own_and_no_input() {
        let program = shell("env; cat").env("SLURM_CONF", "/x y");
        let ended = program.run_until(PLENTY, || false).unwrap();
        let names: Vec<&str> =
            ended.stdout.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
        for name in names {
            // The shell adds some.
            assert!(["PATH", "LANG", "HOME", "SLURM_CONF", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name), "{name}");
        }
        assert!(ended.stdout.contains("SLURM_CONF=/x y\n"), "{}", ended.stdout);
    }

    #[test]
    fn one_that_does_not_end_is_killed_with_its_children_at_the_limit() {
        let dir = std::env::temp_dir().join(format!("command-limit-{}", std::process::id()));
        let script = format!("trap '' TERM; sleep 60 & echo $! > {0}; wait; sleep 60", dir.display());
        let began = Instant::now();
        let error = shell(&script).run_until(Duration::from_millis(500), || false).unwrap_err();
        assert!(began.elapsed() < PLENTY, "{:?}", began.elapsed());
        assert_eq!(error.kind(), Code::Deadline, "{error}");
        assert!(error.message().contains("sh: had not ended after 0.5 s"), "{error}");
        let child = std::fs::read_to_string(&dir).unwrap();
        std::fs::remove_file(&dir).unwrap();
        let until = Instant::now() + PLENTY;
        while is_alive(&child) {
            assert!(Instant::now() < until, "its child lives on");
            thread::yield_now();
        }
    }

    #[test]
    fn it_has_normal_scheduling_a_group_of_its_own_and_three_descriptors() {
        let _open = File::open("/proc/self/stat").unwrap();
        let ended = shell("ls /proc/$$/fd; echo; cat /proc/$$/stat; echo $$").run_until(PLENTY, || false).unwrap();
        let (descriptors, rest) = ended.stdout.split_once("\n\n").unwrap();
        assert_eq!(descriptors.lines().collect::<Vec<_>>(), ["0", "1", "2"]);
        let (stat, pid) = rest.trim().split_once('\n').unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // proc_pid_stat(5): group, and policy, which is 0 for SCHED_OTHER.
        assert_eq!((fields[2], fields[38]), (pid, "0"), "{stat}");
    }

    #[test]
    fn a_cancel_ends_it_at_once_and_none_is_started_after_it() {
        let looks = Cell::new(0);
        let began = Instant::now();
        let error = shell("sleep 60").run_until(PLENTY, || looks.replace(looks.get() + 1) > 3).unwrap_err();
        assert!(began.elapsed() < PLENTY / 2 && error.kind() == Code::Cancelled, "{error}");
        assert_eq!(shell("exit 0").run_until(PLENTY, || true).unwrap_err().kind(), Code::Cancelled);
        assert_eq!(shell("exit 0").run_until(Duration::ZERO, || false).unwrap_err().kind(), Code::Deadline);
    }

    #[test]
    fn what_it_leaves_behind_does_not_outlive_it() {
        let ended = shell("sleep 60 & echo $!").run_until(PLENTY, || false).unwrap();
        let until = Instant::now() + PLENTY;
        while is_alive(&ended.stdout) {
            assert!(Instant::now() < until, "it is left behind");
            thread::yield_now();
        }
    }

    #[test]
    fn a_flood_ends_it_and_one_that_is_not_there_is_named() {
        let error = shell("exec cat /dev/zero").run_until(PLENTY, || false).unwrap_err();
        assert!(error.message().contains("wrote more than"), "{error}");
        let error = Program::new("/nonexistent/scontrol").run_until(PLENTY, || false).unwrap_err();
        assert!(error.message().starts_with("scontrol: cannot be started: No such file"), "{error}");
        assert_eq!(error.kind(), Code::Io);
    }
}
