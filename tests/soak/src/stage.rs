//! One daemon with its metadata service and its witnesses, through one interruption after the other.
//!
//! Inputs: draws. Outputs: what was found, and counts. Each worker has a stage of its own; nothing is shared. Must never
//! judge: the ledger does.

use crate::draw::{Announced, Blow, Draw, Metadata};
use crate::ledger::{self, Findings, HANDLERS, Line};
use anyhow::{Context, anyhow};
use fake_metadata::{Action, Effect, FakeMetadata, Fault, GARBAGE, Maintenance, Options};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::program::{self, Signal};
use jiff::SignedDuration;
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for the end of an event before it counts as lost: many times the time of all its handlers.
const PATIENCE: Duration = Duration::from_secs(25);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(15);
/// Several polls: the daemon has seen that a notice is gone.
const POLLS: Duration = Duration::from_millis(250);
/// Distance of two notices' times, seconds.
const APART_SECONDS: i64 = 300;
/// The file system of the state directory, where one can be mounted.
const DISK: &str = "size=4m";

/// Counts of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub interruptions: u64,
    pub handled: u64,
    pub kills: u64,
    pub crashes: u64,
    pub plugin_faults: u64,
    pub metadata_faults: u64,
    pub full_disks: u64,
    pub stops: u64,
    pub resumed: u64,
    pub withdrawn_unknown: u64,
    pub slowest_first_us: u64,
}

impl Counts {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            interruptions: self.interruptions + other.interruptions,
            handled: self.handled + other.handled,
            kills: self.kills + other.kills,
            crashes: self.crashes + other.crashes,
            plugin_faults: self.plugin_faults + other.plugin_faults,
            metadata_faults: self.metadata_faults + other.metadata_faults,
            full_disks: self.full_disks + other.full_disks,
            stops: self.stops + other.stops,
            resumed: self.resumed + other.resumed,
            withdrawn_unknown: self.withdrawn_unknown + other.withdrawn_unknown,
            slowest_first_us: self.slowest_first_us.max(other.slowest_first_us),
        }
    }
}

/// The stage.
pub struct Stage {
    directory: tempfile::TempDir,
    fake: FakeMetadata,
    daemon: Daemon,
    has_disk: bool,
    /// The journal is thrown away at each restart: what the campaign must notice.
    forgets: bool,
    number: i64,
    seen: usize,
    /// Events of earlier interruptions: a call that was given up may do its work long after.
    past: HashSet<String>,
    /// When the daemon was killed in the present interruption, CLOCK_MONOTONIC nanoseconds.
    kills_ns: Vec<i64>,
    pub counts: Counts,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.daemon.kill9();
        if self.has_disk {
            let _ = Command::new("umount").arg("-l").arg(self.directory.path().join("state")).status();
        }
    }
}

impl Stage {
    /// Compiles the witnesses and starts everything.
    ///
    /// # Errors
    /// No compiler, a program that is not built, a daemon that does not start.
    pub fn open(forgets: bool) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("snz-soak-").tempdir()?;
        let root = directory.path();
        for name in ["plugins", "effects", "state"] {
            std::fs::create_dir(root.join(name))?;
        }
        compile(&root.join("plugins"))?;
        let state = root.join("state");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&state).output();
        let has_disk = mount.is_ok_and(|output| output.status.success());
        let fake = FakeMetadata::start(Options { control: false, ..Options::default() })?;
        let bin = harness::paths::bin_dir().map_err(|e| anyhow!(e))?;
        let daemon = DaemonBuilder::new(bin)
            .config(configuration(root))
            .endpoint(fake.base_url())
            .plugin_directory(root.join("plugins"))
            .start()
            .map_err(|e| anyhow!(e))?;
        let counts = Counts::default();
        Ok(Self {
            directory,
            fake,
            daemon,
            has_disk,
            forgets,
            number: 0,
            seen: 0,
            past: HashSet::new(),
            kills_ns: Vec::new(),
            counts,
        })
    }

    /// Whether disks can be filled here.
    pub fn has_disk(&self) -> bool {
        self.has_disk
    }

    /// One interruption, from its announcement to the end of its event.
    ///
    /// # Errors
    /// The campaign itself cannot go on.
    pub fn play(&mut self, draw: &Draw) -> anyhow::Result<Findings> {
        self.number += 1;
        self.kills_ns.clear();
        self.counts.interruptions += 1;
        if !draw.mode.is_empty() {
            self.counts.plugin_faults += 1;
            std::fs::write(self.directory.path().join("mode-second"), draw.mode)?;
        }
        self.strike_metadata(draw);
        let fills = draw.blow == Blow::FullDisk && self.has_disk;
        if fills {
            self.counts.full_disks += 1;
            let _ = std::fs::write(self.directory.path().join("state/filler"), vec![0; 8 << 20]);
        }
        let announced = self.announce(draw.announced)?;
        self.strike_daemon(draw.blow)?;
        if let (Announced::Withdrawn, Some(id)) = (draw.announced, &announced) {
            thread::sleep(Duration::from_millis(60));
            self.fake.cancel_maintenance(id)?;
        }
        let findings = self.outcome(draw)?;
        if fills {
            std::fs::remove_file(self.directory.path().join("state/filler"))?;
        }
        self.tidy_up(draw, announced.as_deref())?;
        Ok(findings)
    }

    fn announce(&self, how: Announced) -> anyhow::Result<Option<String>> {
        let time = SignedDuration::from_secs(120 + self.number * APART_SECONDS);
        match how {
            Announced::Spot => {
                self.fake.notice(Action::Terminate, fake_metadata::When::In(time));
                Ok(None)
            }
            Announced::Maintenance | Announced::Withdrawn => {
                let maintenance = Maintenance::new("instance-stop", fake_metadata::When::In(time));
                Ok(Some(self.fake.maintenance(maintenance)?))
            }
            Announced::Operator => {
                let said = self.daemon.snooze_json(&["simulate", "custom.soak", "--in", "120s", "--json"]);
                said.map(|_| None).map_err(|e| anyhow!(e))
            }
        }
    }

    fn strike_metadata(&mut self, draw: &Draw) {
        let effect = match draw.metadata {
            Metadata::Well => return,
            Metadata::Clock => {
                self.counts.metadata_faults += 1;
                return self.fake.advance_clock(Duration::from_secs(3_600));
            }
            Metadata::Status(status) => Effect::Status(status),
            Metadata::Tokens => Effect::TokenStorm,
            Metadata::Reset => Effect::Reset,
            Metadata::Garbage => Effect::Garbage(GARBAGE.to_vec()),
            Metadata::Truncated => Effect::Truncated,
            Metadata::Delay => Effect::Delay(Duration::from_millis(120)),
            Metadata::Drift => Effect::Drift(SignedDuration::from_secs(3)),
        };
        self.counts.metadata_faults += 1;
        self.fake.set_fault(Fault::new(effect).count(draw.requests));
    }

    fn strike_daemon(&mut self, blow: Blow) -> anyhow::Result<()> {
        match blow {
            Blow::Kill(after_ms) => {
                thread::sleep(Duration::from_millis(after_ms));
                self.counts.kills += 1;
                self.kills_ns.push(monotonic_ns());
                self.daemon.kill9();
                self.restart()
            }
            Blow::Stop(for_ms) => {
                self.counts.stops += 1;
                self.daemon.signal(Signal::SIGSTOP).map_err(|e| anyhow!(e))?;
                thread::sleep(Duration::from_millis(for_ms));
                self.daemon.signal(Signal::SIGCONT).map_err(|e| anyhow!(e))
            }
            Blow::FullDisk | Blow::None => Ok(()),
        }
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.counts.resumed += 1;
        if self.forgets {
            for file in ["history.sqlite", "history.sqlite-wal", "history.sqlite-shm"] {
                let _ = std::fs::remove_file(self.directory.path().join("state").join(file));
            }
        }
        // It takes the event up at once, and a plugin may end it again before it has answered.
        for _ in 0..5 {
            if self.daemon.start_again().is_ok() {
                return Ok(());
            }
        }
        self.daemon.start_again().map_err(|e| anyhow!(e))
    }

    /// Waits for the end of the event and judges it.
    fn outcome(&mut self, draw: &Draw) -> anyhow::Result<Findings> {
        let begun = Instant::now();
        let mut report = Value::Null;
        while begun.elapsed() < PATIENCE {
            if self.daemon.exit_status().is_some() {
                self.counts.crashes += 1;
                self.restart()?;
            }
            let lines = self.lines();
            if let Some(line) = lines.first()
                && let Ok(said) = self.daemon.snooze_json(&["report", &line.event, "--json"])
            {
                report = said;
                if report["state"] != "running" {
                    return Ok(self.judged(draw, &report));
                }
            }
            // Withdrawn before it was ever read, or while nobody was there who had written it down: there is nothing to do.
            let is_unknown = report["state"].is_null();
            if draw.announced == Announced::Withdrawn && is_unknown && begun.elapsed() > POLLS * 8 {
                self.counts.handled += 1;
                self.counts.withdrawn_unknown += 1;
                return Ok(Findings::default());
            }
            thread::sleep(LOOK);
        }
        let lines = self.lines();
        let text = format!("{draw:?}: not over after {PATIENCE:?}: {lines:?} {report} {}", self.daemon.log_tail());
        Ok(Findings { lost: vec![text], ..Findings::default() })
    }

    fn judged(&mut self, draw: &Draw, report: &Value) -> Findings {
        let findings = ledger::judge(draw, &self.lines(), report, &self.kills_ns);
        if findings.lost.is_empty() {
            self.counts.handled += 1;
        }
        let first = report["first_start_us"].as_f64().unwrap_or(0.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds, `as` saturates")]
        if draw.blow == Blow::None && !draw.plugin_ends_daemon() {
            self.counts.slowest_first_us = self.counts.slowest_first_us.max(first as u64);
        }
        findings
    }

    /// Everything as it was, for the next one.
    fn tidy_up(&mut self, draw: &Draw, announced: Option<&str>) -> anyhow::Result<()> {
        self.fake.clear_faults();
        if let (Announced::Maintenance, Some(id)) = (draw.announced, announced) {
            self.fake.complete_maintenance(id)?;
        }
        if draw.mode == "hang" {
            // Its instance is in quarantine; a reload makes another.
            self.daemon.reload().map_err(|e| anyhow!(e))?;
        }
        let _ = std::fs::remove_file(self.directory.path().join("mode-second"));
        if draw.announced == Announced::Spot {
            self.another_machine()?;
        } else {
            thread::sleep(POLLS);
        }
        self.past.extend(self.lines().into_iter().map(|line| line.event));
        self.seen = self.all_lines().len();
        Ok(())
    }

    /// A spot notice is the last thing that a machine hears: the next one is another's. On the way, the daemon is asked
    /// to leave, and must.
    fn another_machine(&mut self) -> anyhow::Result<()> {
        self.fake.withdraw();
        let status = self.daemon.stop().map_err(|e| anyhow!(e))?;
        if status.code() != Some(0) {
            return Err(anyhow!("the daemon left with {status}: {}", self.daemon.log_tail()));
        }
        for file in std::fs::read_dir(self.directory.path().join("state"))? {
            let path = file?.path();
            if path.is_file() {
                std::fs::remove_file(path)?;
            }
        }
        self.daemon.start_again().map_err(|e| anyhow!(e))
    }

    /// Lines of the present interruption.
    fn lines(&self) -> Vec<Line> {
        let mut lines = self.all_lines().split_off(self.seen);
        lines.retain(|line| !self.past.contains(&line.event));
        lines
    }

    fn all_lines(&self) -> Vec<Line> {
        ledger::read(&std::fs::read_to_string(self.directory.path().join("lines")).unwrap_or_default())
    }
}

fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}

fn compile(to: &Path) -> anyhow::Result<()> {
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for name in HANDLERS {
        let mut command = Command::new("cc");
        command.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden"]);
        command.arg(format!("-DNAME=\"{name}\"")).arg("-I").arg(sources.join("../../include"));
        command.arg(sources.join("plugins/witness.c")).arg("-o").arg(to.join(format!("{name}.so")));
        let built = program::run(&mut command, Duration::from_secs(60)).map_err(|e| anyhow!(e))?;
        built.success("cc").map_err(|e| anyhow!(e)).context("a witness does not compile")?;
    }
    Ok(())
}

fn configuration(root: &Path) -> Value {
    let config = json!({ "directory": root });
    let handler = |name: &str, priority: u32, timeout_seconds: f64| {
        let mut handler = json!({"name": name, "priority": priority, "verify": false, "config": config});
        handler["timeout_seconds"] = json!(timeout_seconds);
        handler
    };
    let plugins = json!([handler("first", 90, 30.0), handler("second", 50, 0.5), handler("third", 10, 30.0)]);
    json!({
        "state_directory": root.join("state"),
        "event_handlers": {
            "cloud.spot.interrupt": {"plugins": plugins},
            "cloud.maintenance.stop": {"plugins": plugins},
            "custom.soak": {"plugins": plugins},
        },
        "dispatch": {"cancel_grace_ms": 200, "on_crash": "allow"},
        "sources": {"aws": {
            "polling_interval_seconds": 0.05, "maintenance_interval_seconds": 0.05, "request_timeout_ms": 300,
        }},
    })
}
