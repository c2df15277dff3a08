//! What watching costs: the daemon as it is shipped, at rest, with one cloud's sources at one second.
//!
//! Inputs: a provider, a time. Outputs: CPU time as the kernel counts it, what the process held near the beginning and at the
//! end. Must never count the service's share: it lives in this process, the daemon in one of its own.

use fake_metadata::{FakeMetadata, Options, Provider};
use latency::notices::judge::{self, Holdings};
use latency::notices::questions;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Seconds between polls.
const INTERVAL_SECONDS: f64 = 1.0;
/// Start and first rounds are not rest. After ten seconds the daemon lets go of the code that only its start needed, and what is
/// used again, by what is done once a minute too, comes back within the next two.
const SETTLE: Duration = Duration::from_secs(150);

/// What was found of one provider.
pub(crate) struct Rest {
    pub(crate) percent: f64,
    pub(crate) before: Holdings,
    pub(crate) after: Holdings,
    pub(crate) requests: usize,
    pub(crate) wrong: Vec<String>,
}

impl Rest {
    pub(crate) fn json(&self) -> Value {
        json!({
            "percent_of_a_core": self.percent, "cpu_seconds_a_day": self.percent / 100.0 * 86_400.0,
            "before": self.before, "after": self.after, "requests": self.requests, "wrong": self.wrong,
        })
    }
}

/// Measures one provider for that long.
pub(crate) fn measure(provider: Provider, time: Duration) -> io::Result<Rest> {
    let fake = FakeMetadata::start(Options::of(provider)).map_err(io::Error::other)?;
    let daemon = Daemon::start(provider, &fake)?;
    thread::sleep(SETTLE);
    let (before, cpu, started) = (daemon.holdings(&fake)?, daemon.cpu()?, Instant::now());
    let requests = fake.requests().len();
    thread::sleep(time);
    let (used, took) = (daemon.cpu()?.saturating_sub(cpu), started.elapsed());
    let after = daemon.holdings(&fake)?;
    let percent = 100.0 * used.as_secs_f64() / took.as_secs_f64();
    let requests = fake.requests().len() - requests;
    let mut wrong = judge::cost(percent, before, after);
    // A daemon that does not watch costs nothing; one that hangs at the service hardly asks.
    if before.connections == 0 || (requests == 0 && !questions(provider).is_held) {
        wrong.push("it does not watch".into());
    }
    Ok(Rest { percent, before, after, requests, wrong })
}

/// Killed with this value.
struct Daemon {
    child: Child,
    _home: TempDir,
}

impl Daemon {
    fn start(provider: Provider, fake: &FakeMetadata) -> io::Result<Self> {
        let home = tempfile::Builder::new().prefix("notice-bench-").tempdir()?;
        let mut source =
            json!({ "enabled": true, "endpoint": fake.base_url(), "polling_interval_seconds": INTERVAL_SECONDS });
        match provider {
            Provider::Aws => source["maintenance_interval_seconds"] = json!(INTERVAL_SECONDS),
            Provider::Gcp => source["upcoming_interval_seconds"] = json!(INTERVAL_SECONDS),
            _ => {}
        }
        let config = json!({
            "event_handlers": {},
            "sources": { provider.name(): source },
            "state_directory": home.path().join("state"),
            "control": { "socket": home.path().join("control.sock") },
        });
        let file = home.path().join("cloudsnooze.json");
        fs::write(&file, config.to_string())?;
        let program = std::env::current_exe()?.with_file_name("snoozed");
        let log = fs::File::create(home.path().join("log"))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).stdout(Stdio::null()).stderr(log);
        let daemon = Self { child: command.spawn()?, _home: home };
        let is_notice = |request: &fake_metadata::Request| {
            questions(provider).is_notice(&request.path) || request.path.ends_with("instance/id")
        };
        match fake.wait_for(1, Duration::from_secs(20), is_notice) {
            Some(_) => Ok(daemon),
            None => Err(io::Error::other(format!("snoozed does not watch {provider}; run it by hand to see why"))),
        }
    }

    fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id()))
    }

    /// CPU time of all its threads (schedstat, nanoseconds: the ticks of stat are too coarse). No thread ends at rest.
    fn cpu(&self) -> io::Result<Duration> {
        let mut ns = 0;
        for task in fs::read_dir(self.proc().join("task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            ns += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(ns))
    }

    fn holdings(&self, fake: &FakeMetadata) -> io::Result<Holdings> {
        let status = fs::read_to_string(self.proc().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let rss_kib = line.trim().trim_end_matches("kB").trim().parse().map_err(io::Error::other)?;
        let descriptors = i64::try_from(fs::read_dir(self.proc().join("fd"))?.count()).unwrap_or(i64::MAX);
        Ok(Holdings { rss_kib, descriptors, connections: connections(fake.address().port())? })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Established connections (01) whose own end is this port (proc_net_tcp in the kernel's documentation).
fn connections(port: u16) -> io::Result<i64> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let (local, established) = (format!(":{port:04X}"), "01");
    let is_one = |line: &&str| {
        let mut words = line.split_whitespace();
        words.nth(1).is_some_and(|own| own.ends_with(&local)) && words.nth(1) == Some(established)
    };
    Ok(i64::try_from(table.lines().filter(is_one).count()).unwrap_or(i64::MAX))
}
