//! The processes of the members: each at a site of its own, started, ordered, paused, killed.
//!
//! Inputs: who there is, the servers' addresses. Outputs: their one log. It must never judge, and leaves no process behind: all end with
//! the thread that started them, also when they are paused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cloudsnooze_fleet::{Settings, Step};
use harness::processes;
use harness::program::{self, Signal};
use nix::unistd::Pid;
use uuid::Uuid;

use crate::lines::{Line, Order, Said};
use crate::log::Log;
use crate::network::Network;
use crate::servers;

/// How long a process may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// One process, before it runs.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name; that of its members where it has several: with a dash and a number.
    pub name: String,
    /// Their role.
    pub role: String,
    /// Where it stands.
    pub site: usize,
    /// How many members it has.
    pub count: usize,
    /// Whether they may lead.
    pub may_lead: bool,
    /// File with a seed, where it has a name of its own for the servers.
    pub nkey_file: Option<PathBuf>,
    /// Whether its wall clock can be set.
    pub own_clock: bool,
}

/// What is the same for all.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The group.
    pub group: String,
    /// The order.
    pub steps: Vec<Step>,
    /// Of a leader, seconds.
    pub lease_seconds: f64,
    /// Whether the fence is left out.
    pub without_fencing: bool,
    /// The servers.
    pub urls: Vec<String>,
    /// How long a step takes a member that stays, milliseconds.
    pub reacts_ms: u64,
    /// Where everything is.
    pub directory: PathBuf,
    /// The library that lets a process have a wall clock of its own.
    pub clock_library: Option<PathBuf>,
}

struct Process {
    spec: Spec,
    child: Child,
    stdin: ChildStdin,
    /// False once somebody killed it.
    is_alive: bool,
}

/// All of them.
pub struct Fleet {
    shared: Shared,
    program: PathBuf,
    processes: BTreeMap<String, Process>,
    writer: Option<PipeWriter>,
    /// What they say.
    pub log: Log,
}

impl Fleet {
    /// Nobody yet.
    ///
    /// # Errors
    /// The member's program is not built.
    pub fn new(shared: Shared) -> Result<Self> {
        let here = std::env::current_exe().context("where this program is")?;
        let folder = here.parent().context("the folder of this program")?;
        let program = harness::paths::program(folder, "fleet-member").map_err(|error| anyhow!(error))?;
        let (reader, writer) = std::io::pipe().context("a pipe")?;
        std::fs::create_dir_all(&shared.directory)?;
        Ok(Self { shared, program, processes: BTreeMap::new(), writer: Some(writer), log: Log::of(reader) })
    }

    /// Starts one, again where it has run before: with what it kept on its disk.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, network: &Network, spec: &Spec) -> Result<()> {
        let shared = &self.shared;
        let mut command = network.namespace(spec.site).command(&self.program);
        let settings = serde_json::to_string(&settings(shared, spec))?;
        let state = shared.directory.join("state");
        command.arg("--settings").arg(settings).arg("--state").arg(&state).arg("--name").arg(&spec.name);
        command.args(["--count", &spec.count.to_string(), "--reacts-ms", &shared.reacts_ms.to_string()]);
        if shared.without_fencing {
            command.arg("--without-fencing");
        }
        if let Some(library) = shared.clock_library.as_ref().filter(|_| spec.own_clock) {
            set_clock(&self.clock_file(&spec.name), 0)?;
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.clock_file(&spec.name));
            // Timers of a machine do not leap with its wall clock. The file is read at every look at the clock.
            command.envs([
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                ("FAKETIME_NO_CACHE", "1"),
                ("FAKETIME_DISABLE_SHM", "1"),
            ]);
        }
        let stdout = self.writer.as_ref().context("the fleet is over")?.try_clone()?;
        let errors = File::options().create(true).append(true).open(self.errors(&spec.name))?;
        let piped = command.stdin(Stdio::piped()).stdout(stdout).stderr(errors);
        let mut child = piped.spawn().context("cannot start fleet-member")?;
        let stdin = child.stdin.take().context("its standard input")?;
        let process = Process { spec: spec.clone(), child, stdin, is_alive: true };
        self.processes.insert(spec.name.clone(), process);
        Ok(())
    }

    fn errors(&self, name: &str) -> PathBuf {
        self.shared.directory.join(format!("{name}.err"))
    }

    fn clock_file(&self, name: &str) -> PathBuf {
        self.shared.directory.join(format!("{name}.clock"))
    }

    /// Orders one something.
    ///
    /// # Errors
    /// It does not run.
    pub fn order(&mut self, name: &str, order: &Order) -> Result<()> {
        let text = serde_json::to_string(order)? + "\n";
        let process = self.processes.get_mut(name).with_context(|| format!("there is no {name}"))?;
        process.stdin.write_all(text.as_bytes()).with_context(|| format!("cannot tell {name}"))
    }

    /// Gives a notice to one.
    ///
    /// # Errors
    /// As for [`Self::order`].
    pub fn notify(&mut self, name: &str, event: Uuid, left: Duration, work_ms: u64) -> Result<()> {
        let left_ms = u64::try_from(left.as_millis())?;
        self.order(name, &Order::Leaving { event, left_ms, work_ms })
    }

    /// Kills one (SIGKILL).
    pub fn kill(&mut self, name: &str) {
        if let Some(process) = self.processes.get_mut(name) {
            program::kill_and_reap(&mut process.child);
            process.is_alive = false;
        }
    }

    /// Waits until one has died by itself, and starts it again.
    ///
    /// # Errors
    /// It lives on.
    pub fn revive(&mut self, network: &Network, name: &str) -> Result<()> {
        let process = self.processes.get_mut(name).with_context(|| format!("there is no {name}"))?;
        program::wait_for_exit(&mut process.child, PATIENCE).map_err(|error| anyhow!("{name}: {error}"))?;
        let spec = process.spec.clone();
        self.start(network, &spec)
    }

    /// Stops one in its tracks; returns when it stands.
    ///
    /// # Errors
    /// It does not stop.
    pub fn pause(&self, name: &str) -> Result<()> {
        processes::freeze(&[self.pid(name)?]).map_err(|error| anyhow!(error))
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn resume(&self, name: &str) -> Result<()> {
        processes::thaw(&[self.pid(name)?]);
        Ok(())
    }

    fn pid(&self, name: &str) -> Result<Pid> {
        let process = self.processes.get(name).with_context(|| format!("there is no {name}"))?;
        Ok(Pid::from_raw(process.child.id().cast_signed()))
    }

    /// Sets the wall clock of one so many seconds away from the machine's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_clock(&self, name: &str, seconds: i64) -> Result<()> {
        set_clock(&self.clock_file(name), seconds)
    }

    /// Who runs, as far as is known.
    pub fn specs(&self) -> impl Iterator<Item = &Spec> {
        self.processes.values().filter(|process| process.is_alive).map(|process| &process.spec)
    }

    /// Where one stands.
    pub fn site(&self, name: &str) -> Option<usize> {
        Some(self.processes.get(name)?.spec.site)
    }

    /// The one whose lease is the newest that anybody has heard of, and its epoch.
    pub fn leader(lines: &[Line]) -> Option<(String, u64)> {
        let leaders = lines.iter().filter_map(|line| match &line.said {
            Said::Leader { name, epoch } => Some((name.clone(), *epoch)),
            _ => None,
        });
        leaders.max_by_key(|(_, epoch)| *epoch)
    }

    /// Waits until every process says that its members are connected, and a leader that it knows all members but `unknown` of them.
    ///
    /// # Errors
    /// That is not so in time: what is missing.
    pub fn wait_until_complete(&mut self, unknown: usize, limit: Duration) -> Result<()> {
        let names: Vec<String> = self.specs().map(|spec| spec.name.clone()).collect();
        let expected: usize = self.specs().map(|spec| spec.count).sum();
        let begun = std::time::Instant::now();
        loop {
            let told = self.statuses(&names)?;
            let connected: usize = told.iter().map(|(connected, _)| connected).sum();
            let known = told.iter().map(|(_, known)| *known).max().unwrap_or(0);
            if connected >= expected && known + unknown >= expected {
                return Ok(());
            }
            if begun.elapsed() > limit {
                anyhow::bail!("of {expected} members {connected} are connected, and the leader knows {known}");
            }
            // As often as a status changes on a busy machine; nothing is said when it does.
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// How many members say that they are connected.
    ///
    /// # Errors
    /// Not all processes answer.
    pub fn connected(&mut self, names: &[String]) -> Result<usize> {
        Ok(self.statuses(names)?.iter().map(|(connected, _)| connected).sum())
    }

    fn statuses(&mut self, names: &[String]) -> Result<Vec<(usize, usize)>> {
        let before = self.log.len();
        names.iter().try_for_each(|name| self.order(name, &Order::Status))?;
        let all = |lines: &[Line]| {
            let told: Vec<(usize, usize)> = lines[before..].iter().filter_map(status).collect();
            (told.len() >= names.len()).then_some(told)
        };
        self.log.wait("the status of all", PATIENCE, all)
    }

    /// Who ended though nobody killed it, with the end of what it wrote to standard error.
    pub fn fallen(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, process) in &mut self.processes {
            if process.is_alive && matches!(process.child.try_wait(), Ok(Some(_)) | Err(_)) {
                let errors = self.shared.directory.join(format!("{name}.err"));
                found.push(format!("{name} ended by itself: {}", program::tail(&errors, 3)));
            }
        }
        found
    }

    /// Resident memory of the largest process that has one member, kB.
    pub fn memory_kb(&self) -> u64 {
        let small = self.processes.values().filter(|process| process.is_alive && process.spec.count == 1);
        small.map(|process| servers::resident_kb(process.child.id())).max().unwrap_or(0)
    }

    /// Ends all; gives everything they have said.
    pub fn end(mut self) -> Vec<Line> {
        self.kill_all();
        self.log.lines()
    }

    fn kill_all(&mut self) {
        self.writer = None;
        // First all are told, then all are awaited.
        for process in self.processes.values() {
            let _gone = program::signal(&process.child, Signal::SIGKILL);
        }
        for process in self.processes.values_mut() {
            program::kill_and_reap(&mut process.child);
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// How many members are connected, and how many the leader knows (0 where it does not lead).
fn status(line: &Line) -> Option<(usize, usize)> {
    match &line.said {
        Said::Status { connected, known, .. } => Some((*connected, *known)),
        _ => None,
    }
}

fn settings(shared: &Shared, spec: &Spec) -> Settings {
    Settings {
        group: shared.group.clone(),
        role: spec.role.clone(),
        member: None,
        servers: shared.urls.clone(),
        credentials: None,
        nkey_file: spec.nkey_file.clone(),
        tls: None,
        steps: shared.steps.clone(),
        may_lead: spec.may_lead,
        lease_seconds: shared.lease_seconds,
        heartbeat_seconds: 5.0,
        replicas: 3,
        gather_seconds: 1.0,
        work_seconds: 0.5,
        unfenced: false,
    }
}

/// The file is replaced as a whole: it may be read at any time.
fn set_clock(file: &Path, seconds: i64) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{seconds:+}\n")).and_then(|()| std::fs::rename(&new, file)).context("a clock's file")
}
