//! The real daemon, at rest, on the service of this process.
//!
//! Inputs: an interval. Outputs: its CPU time and memory as the kernel counts them, the moment its handler starts. Must never
//! be anything but the program that is shipped, with a configuration that an operator could write.

use super::Cost;
use super::bare::PATHS;
use latency::metadata::Service;
use latency::slot::{Slots, now_ns};
use latency::workshop::Workshop;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the start costs is not what rest costs: after ten seconds the daemon lets go of what only its start needed.
const SETTLE: Duration = Duration::from_secs(15);

/// The daemon; killed with this value.
pub(super) struct Daemon {
    child: Child,
    slots: Slots,
    _home: TempDir,
}

impl Daemon {
    /// Starts it with one handler for interruptions, with or without self-tests, and waits until it has begun to poll.
    pub(super) fn start(workshop: &Workshop, service: &Service, interval: f64, self_test: bool) -> io::Result<Self> {
        let home = tempfile::Builder::new().prefix("poll-bench-").tempdir()?;
        let slots = Slots::new(1)?;
        let config = json!({
            "event_handlers": { "cloud.spot.interrupt": { "plugins": [
                { "name": "stopwatch", "priority": 50, "config": { "slots": slots.path(), "index": "0" } } ] } },
            "sources": { "aws": {
                "enabled": true, "endpoint": format!("http://{}", service.address()),
                "polling_interval_seconds": interval, "maintenance_interval_seconds": interval } },
            "plugin_directories": [workshop.path()],
            "state_directory": home.path().join("state"),
            "dispatch": { "self_test": self_test },
            "control": { "socket": home.path().join("control.sock") },
        });
        let file = home.path().join("cloudsnooze.json");
        fs::write(&file, config.to_string())?;
        let program = std::env::current_exe()?.with_file_name("snoozed");
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = Self { child: command.spawn()?, slots, _home: home };
        let started = Instant::now();
        let before = service.requests();
        while service.requests() < before + PATHS.len() as u64 {
            if started.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other("snoozed does not poll; run it by hand to see why"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(SETTLE);
        Ok(daemon)
    }

    /// What it costs while nothing happens.
    pub(super) fn cost(&self, time: Duration, service: &Service) -> io::Result<Cost> {
        let (before, started, requests) = (self.cpu()?, Instant::now(), service.requests());
        thread::sleep(time);
        let after = self.cpu()?;
        Ok(Cost {
            cpu: after.0 - before.0,
            polling: after.1 - before.1,
            wall: started.elapsed(),
            requests: service.requests() - requests,
        })
    }

    /// Stops it where it is, or lets it go on: the bare client is measured alone.
    pub(super) fn hold(&self, is_held: bool) -> io::Result<()> {
        let signal = if is_held { Signal::SIGSTOP } else { Signal::SIGCONT };
        kill(self.pid()?, signal).map_err(io::Error::from)
    }

    /// Announces a notice and waits until the handler has started.
    pub(super) fn sees(&self, service: &Service) -> io::Result<Instant> {
        service.announce();
        let started_ns = self.slots.at(0).wait();
        let age = u64::try_from(now_ns() - started_ns).unwrap_or(0);
        Ok(Instant::now() - Duration::from_nanos(age))
    }

    /// Resident memory, megabytes (VmRSS, proc(5)).
    pub(super) fn rss_mb(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().map_err(io::Error::other)?;
        Ok(kib / 1024.0)
    }

    /// CPU time of all its threads, and of the one that polls (schedstat, nanoseconds: the ticks of stat are too coarse).
    fn cpu(&self) -> io::Result<(Duration, Duration)> {
        let (mut all, mut polling) = (0, 0);
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            let ns = text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            all += ns;
            if fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "snooze-aws") {
                polling += ns;
            }
        }
        Ok((Duration::from_nanos(all), Duration::from_nanos(polling)))
    }

    fn pid(&self) -> io::Result<Pid> {
        i32::try_from(self.child.id()).map(Pid::from_raw).map_err(io::Error::other)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
