//! What a group costs a daemon that is in it: memory, CPU, connections, and the way from the group to a handler.
//!
//! Inputs: the built daemon and the plugin notify-apps, a real server. Outputs: a table or JSON, `promises/fleet-cost.json`; the exit code
//! says whether the bars are kept. Two daemons run side by side, one with the group and one without; the other members are of this process.
//! Must never measure a build without optimisation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use cloudsnooze_fleet::{Local, Member, Notice, Told};
use fleet_faults::propagation::{EVENT_TYPE, settings};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::{nats, paths, wait};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// What the group may cost: megabytes, percent of a core, milliseconds, connections.
const MEMORY_BAR: f64 = 2.0;
const CPU_BAR: f64 = 0.1;
const HANDLER_BAR: f64 = 1.0;
const CONNECTIONS_BAR: usize = 1;
/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures what belonging to a group costs a daemon, and how soon a handler begins after the group has told of an event.
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
struct Args {
    /// Other members of the group.
    #[arg(long, value_name = "N", default_value_t = 10)]
    members: usize,
    /// Events whose handlers are timed.
    #[arg(long, value_name = "N", default_value_t = 500)]
    events: usize,
    /// Time between two of them, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pause_ms: u64,
    /// How long the daemons settle, seconds.
    #[arg(long, value_name = "S", default_value_t = 60)]
    settle: u64,
    /// How long they are then watched at rest, seconds.
    #[arg(long, value_name = "S", default_value_t = 120)]
    rest: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Found {
    members: usize,
    events: u64,
    /// From what the member tells to the handler's first instruction, milliseconds.
    handler_p50_ms: f64,
    handler_p99_ms: f64,
    /// Resident memory and CPU, with the group and without.
    memory_mb: f64,
    memory_alone_mb: f64,
    memory_more_mb: f64,
    cpu_percent: f64,
    cpu_alone_percent: f64,
    cpu_more_percent: f64,
    connections: usize,
}

impl Found {
    fn is_kept(&self) -> bool {
        self.memory_more_mb <= MEMORY_BAR
            && self.cpu_more_percent <= CPU_BAR
            && self.handler_p99_ms <= HANDLER_BAR
            && self.connections == CONNECTIONS_BAR
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if cfg!(debug_assertions) {
        bail!("a build without optimisation says nothing; `make bench-fleet-cost` makes the right one");
    }
    ensure!(args.events > 0 && args.rest > 0, "nothing to measure");
    let server = nats::Server::start("").context("without a server there is nothing to measure")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(measure(&args, &server.address()))?;
    let out = fleet_faults::target().join("promises");
    std::fs::create_dir_all(&out)?;
    let text = serde_json::to_string_pretty(&found)?;
    std::fs::write(out.join("fleet-cost.json"), format!("{text}\n"))?;
    if args.json {
        println!("{text}");
    } else {
        let Found { handler_p50_ms, handler_p99_ms, connections, .. } = found;
        println!("to a handler: p50 {handler_p50_ms:.3} ms, p99 {handler_p99_ms:.3} ms (at most {HANDLER_BAR})");
        println!(
            "memory: {:.2} MB in a group, {:.2} alone: {:.2} more (at most {MEMORY_BAR})",
            found.memory_mb, found.memory_alone_mb, found.memory_more_mb
        );
        println!(
            "CPU: {:.3} % of a core in a group, {:.3} alone: {:.3} more (at most {CPU_BAR}); {connections} connection",
            found.cpu_percent, found.cpu_alone_percent, found.cpu_more_percent
        );
    }
    Ok(if found.is_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Hears and does nothing: the other members' owner.
struct Deaf;

impl Local for Deaf {
    fn told(&self, _: Told) {}
}

async fn measure(args: &Args, address: &str) -> Result<Found> {
    let state = tempfile::Builder::new().prefix("snz-cost-").tempdir()?;
    let urls = vec![address.to_owned()];
    let mut members = Vec::new();
    for number in 0..args.members.max(1) {
        let name = format!("other-{number}");
        let own = state.path().join(&name);
        let settings = cloudsnooze_fleet::Settings { replicas: 1, ..settings(&urls, number == 0) };
        members.push(Member::start(settings, name, own, Arc::new(Deaf))?);
    }
    // The daemons are asked from another thread: the members run on this one.
    let (address, pauses) = (address.to_owned(), (args.settle, args.rest));
    let at_rest = tokio::task::spawn_blocking(move || at_rest(&address, pauses)).await??;
    let mut clock = tokio::time::interval(Duration::from_millis(args.pause_ms));
    for _ in 0..args.events {
        clock.tick().await;
        members[0].publish(notice());
    }
    let (wanted, mut found) = (args.events as u64, at_rest.found);
    let (daemon, _home) = (at_rest.with, at_rest._home);
    let timed = tokio::task::spawn_blocking(move || {
        let seen = wait::until("the last handler", PATIENCE, || {
            let first = started(&daemon).ok()?;
            (first["count"].as_u64()? >= wanted).then_some(first)
        });
        seen.map_err(|error| anyhow::anyhow!("{error}: {:?}; {}", started(&daemon), daemon.log_tail()))
    });
    let timed = timed.await??;
    let ms = |name: &str| timed[name].as_f64().map_or(f64::NAN, |us| us / 1000.0);
    (found.events, found.members) = (wanted, members.len());
    (found.handler_p50_ms, found.handler_p99_ms) = (ms("p50"), ms("p99"));
    for member in members {
        member.leave().await;
    }
    Ok(found)
}

fn notice() -> Notice {
    Notice {
        event: Uuid::now_v7(),
        event_type: EVENT_TYPE.to_owned(),
        detected: harness::clock::wall_ns(),
        deadline: None,
        left: Duration::from_secs(120),
        details: json!({ "specversion": "1.0", "type": EVENT_TYPE, "data": { "filler": "x".repeat(120) } }),
    }
}

/// From detection to the first instruction of a handler, as the daemon tells it.
fn started(daemon: &Daemon) -> Result<Value> {
    let status = daemon.snooze_json(&["status", "--json"]).map_err(anyhow::Error::msg)?;
    Ok(status.pointer("/dispatch/first_start_us").cloned().unwrap_or(Value::Null))
}

/// The daemon in the group, and what both cost while nothing happened.
struct AtRest {
    with: Daemon,
    _home: TempDir,
    found: Found,
}

fn at_rest(address: &str, (settle, rest): (u64, u64)) -> Result<AtRest> {
    let ((with, home), (alone, _alone)) = (daemon(Some(address))?, daemon(None)?);
    wait::until("the daemon to find the leader", PATIENCE, || {
        let status = with.snooze_json(&["fleet", "status", "--json"]).ok()?;
        status["leader"].is_string().then_some(())
    })
    .map_err(|error| anyhow::anyhow!("{error}: {}", with.log_tail()))?;
    let pids = [with.pid().context("a process")?, alone.pid().context("a process")?];
    std::thread::sleep(Duration::from_secs(settle));
    let (began, before) = (Instant::now(), pids.map(cpu_ns));
    std::thread::sleep(Duration::from_secs(rest));
    let (took, after) = (began.elapsed().as_secs_f64(), pids.map(cpu_ns));
    let percent = |of: usize| (after[of] - before[of]) as f64 / took / 1e7;
    let memory = pids.map(|pid| fleet_faults::servers::resident_kb(pid) as f64 / 1000.0);
    let (cpu_percent, cpu_alone_percent) = (percent(0), percent(1));
    let found = Found {
        members: 0,
        events: 0,
        handler_p50_ms: f64::NAN,
        handler_p99_ms: f64::NAN,
        memory_mb: memory[0],
        memory_alone_mb: memory[1],
        memory_more_mb: memory[0] - memory[1],
        cpu_percent,
        cpu_alone_percent,
        cpu_more_percent: cpu_percent - cpu_alone_percent,
        connections: connections(pids[0], address)?,
    };
    Ok(AtRest { with, _home: home, found })
}

/// A daemon whose one handler takes the group's events; without an address it is in no group.
fn daemon(address: Option<&str>) -> Result<(Daemon, TempDir)> {
    let home = tempfile::Builder::new().prefix("snz-").tempdir()?;
    let socket = home.path().join("apps.sock");
    let mut config = json!({ "event_handlers": { "fleet.member.event": { "plugins": [
        { "name": "notify-apps", "config": { "socket": socket } },
    ] } } });
    if let Some(address) = address {
        let fleet = cloudsnooze_fleet::Settings { replicas: 1, ..settings(&[address.to_owned()], false) };
        config["fleet"] = serde_json::to_value(fleet)?;
        // What is not set is not written down either.
        config["fleet"].as_object_mut().context("settings")?.retain(|_, value| !value.is_null());
        config["fleet"]["member"] = json!("measured");
    }
    let bin: PathBuf = paths::bin_dir().map_err(anyhow::Error::msg)?;
    let started = DaemonBuilder::new(bin).config(config).root(home.path()).start();
    Ok((started.map_err(anyhow::Error::msg)?, home))
}

/// CPU time of all threads of a process (schedstat, nanoseconds: the ticks of stat are too coarse). No thread ends at rest.
fn cpu_ns(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

/// How many connections a process has to a server of this machine (/proc/net/tcp: proc(5)).
fn connections(pid: u32, address: &str) -> Result<usize> {
    let port: u16 = address.rsplit_once(':').context("an address with a port")?.1.parse()?;
    let links = std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    let targets = links.filter_map(|link| Some(std::fs::read_link(link.path()).ok()?.to_str()?.to_owned()));
    let own: Vec<String> =
        targets.filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let to = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = fields.get(9).copied().unwrap_or_default();
        fields.get(2).is_some_and(|remote| remote.ends_with(&to)) && own.iter().any(|one| one == inode)
    };
    Ok(table.lines().filter(is_one).count())
}
