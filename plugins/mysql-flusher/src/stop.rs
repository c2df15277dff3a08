//! The orderly shutdown of the server, and whether it really went.
//!
//! Inputs: a [`Link`] to a server on this machine. Outputs: [`Exit`]. Must never take a closed port for
//! an orderly end: the server closes its sockets first and writes its last pages afterwards. It removes
//! its pid file once InnoDB is closed (seen on MariaDB 10.11), and only in an orderly end; the end of the
//! process without that was a crash.

use crate::dsn::Target;
use crate::link::{Fault, Link, greets};
use cloudsnooze_plugin::process;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the server left, as far as can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Its process ended after it had removed its pid file, which it does only in an orderly end.
    Orderly,
    /// Its process ended and left the pid file behind: it was killed or crashed.
    Broken,
    /// It refuses connections; its process cannot be seen from here.
    Refusing,
    /// It is still there.
    Running,
}

/// The process of the server, found by its pid file.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    pid_file: PathBuf,
}

impl Process {
    /// Finds it; None when it runs where this process cannot see it (another machine, a container).
    ///
    /// # Errors
    /// The lost connection, or the refusal.
    pub fn find(link: &mut Link) -> Result<Option<Self>, Fault> {
        let row = link.first_row("SELECT @@GLOBAL.pid_file AS pid_file, @@GLOBAL.datadir AS datadir")?;
        let value = |name: &str| Path::new(row.get(name).map_or("", String::as_str)).to_owned();
        // A relative path counts from the data directory; joining an absolute one gives that one.
        let pid_file = value("datadir").join(value("pid_file"));
        let process = pid_in(&pid_file).map(|pid| Self { pid, pid_file });
        // A pid of another pid namespace would name some other process, or none.
        Ok(process.filter(|p| p.comm().is_some_and(|name| name.contains("mariadbd") || name.contains("mysqld"))))
    }

    fn comm(&self) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/comm", self.pid)).ok()
    }
}

fn pid_in(pid_file: &Path) -> Option<u32> {
    fs::read_to_string(pid_file).ok()?.trim().parse().ok()
}

/// Looks once.
pub fn look(target: &Target, process: Option<&Process>, patience: Duration) -> Exit {
    match process {
        Some(process) if process::has_ended(process.pid) => match pid_in(&process.pid_file) {
            None => Exit::Orderly,
            Some(pid) if pid == process.pid => Exit::Broken,
            // A new server has written it.
            Some(_) => Exit::Running,
        },
        Some(_) => Exit::Running,
        None if greets(&target.address, patience).is_ok() => Exit::Running,
        None => Exit::Refusing,
    }
}
