//! A private Redis server.
//!
//! Responsibilities: run a server with a socket of its own and a free port of 127.0.0.1, stop, kill and restart it on the same
//! data. Inputs: its options. Outputs: where it is reached. It must never touch a server that it has not started, and speaks no
//! more of its protocol than to see that it answers: tests have a client for the rest.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use tempfile::TempDir;

use crate::mariadb::free_port;
use crate::{processes, program, wait};

/// The program needed.
const PROGRAM: &str = "redis-server";

/// Debian's package.
const PACKAGE: &str = "redis-server";

/// Loading the data after a kill takes a while on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Under these options nothing reaches the disk by itself.
pub const MEMORY_ONLY: [&str; 4] = ["--save", "", "--appendonly", "no"];

/// The package to install when something needed is not there.
pub fn missing() -> Option<&'static str> {
    program::find(PROGRAM).is_none().then_some(PACKAGE)
}

/// A server. Dropping it kills it and removes its files.
pub struct Redis {
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Starts a server with these options. Blocks until it answers.
    ///
    /// # Errors
    /// What is missing, or how it failed, with the end of its log.
    pub fn start(options: &[&str]) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("redis-").tempdir();
        let directory = directory.map_err(|error| format!("cannot make a directory for Redis: {error}"))?;
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { directory, port: free_port()?, options, child: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts it (again) on the same data and the same addresses; one that still runs is killed first. Blocks until it
    /// answers.
    ///
    /// # Errors
    /// When it does not come up: with the end of its log.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill9();
        let program =
            program::find(PROGRAM).ok_or_else(|| format!("Redis is not installed (Debian package {PACKAGE})"))?;
        let failed = |error: std::io::Error| format!("cannot start {PROGRAM}: {error}");
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--daemonize", "no", "--unixsocket"]);
        command.arg(self.socket()).arg("--dir").arg(self.directory()).args(&self.options);
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        self.child = Some(command.spawn().map_err(failed)?);
        let up = wait::until("Redis to answer", START_LIMIT, || {
            if self.has_ended() {
                return Some(Err(format!("{PROGRAM} ended")));
            }
            self.answers().then_some(Ok(()))
        });
        up.flatten().map_err(|error| format!("{error}; its log ends:\n{}", program::tail(&self.log_file(), 15)))
    }

    /// Whether it answers; while it loads its data it answers everything with an error.
    fn answers(&self) -> bool {
        let asked = UnixStream::connect(self.socket()).and_then(|mut stream| {
            stream.set_read_timeout(Some(START_LIMIT))?;
            stream.write_all(b"PING\r\n")?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(line)
        });
        asked.is_ok_and(|line| line.starts_with("+PONG"))
    }

    /// Kills it as a loss of the machine would, except that the kernel's cache survives. Does nothing when it is not running.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            program::kill_and_reap(&mut child);
        }
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Stops it in its tracks; its sockets stay open.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn freeze(&self) -> Result<(), String> {
        processes::freeze(&self.pids())
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        processes::thaw(&self.pids());
    }

    /// Everything of it is below: data, socket, log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory().join("s")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        program::tail(&self.log_file(), usize::MAX)
    }

    fn log_file(&self) -> PathBuf {
        self.directory().join("log")
    }

    fn pids(&self) -> Vec<Pid> {
        self.child.iter().map(|child| Pid::from_raw(child.id().cast_signed())).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Its children end with it.
        self.kill9();
    }
}
